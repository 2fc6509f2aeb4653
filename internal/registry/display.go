package registry

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// What documents say for people to look at. Clients check it as strictly as the rest: one icon or hint of another type than MCP
// has has them refuse the whole list of tools, those of other tools too.

// maxIcons bounds the icons that are shown of one thing.
const maxIcons = 10

// readIcons returns what can be shown of a list of icons (MCP 2025-11-25, Icons), and complains of the rest: src is needed, an
// http or https URL or an image as a data URI.
func readIcons(v gjson.Result, complain func(field, message string)) json.RawMessage {
	if !v.Exists() || v.Type == gjson.Null {
		return nil
	}
	if !v.IsArray() {
		complain("icons", "ignored: must be a list")
		return nil
	}
	out, shown, i := []byte{'['}, 0, -1
	v.ForEach(func(_, one gjson.Result) bool {
		i++
		path := indexed("icons", i)
		m := membersOf(one)
		src := m.text("src")
		switch {
		case shown == maxIcons:
			complain("icons", "only the first 10 are shown")
			return false
		case src == "":
			complain(path, `ignored: missing field "src"`)
			return true
		case !iconSource(src):
			complain(path+".src", "ignored: must be an http or https URL or a data: URI of an image")
			return true
		}
		if shown++; shown > 1 {
			out = append(out, ',')
		}
		out = jsontext.AppendString(append(out, `{"src":`...), src)
		if kind := m.text("mimeType"); kind != "" {
			out = jsontext.AppendString(append(out, `,"mimeType":`...), kind)
		}
		if sizes := iconSizes(m["sizes"]); len(sizes) > 0 {
			list, _ := json.Marshal(sizes) // of strings
			out = append(append(out, `,"sizes":`...), list...)
		}
		if theme := m.text("theme"); theme == "light" || theme == "dark" {
			out = jsontext.AppendString(append(out, `,"theme":`...), theme)
		}
		out = append(out, '}')
		return true
	})
	if shown == 0 {
		return nil
	}
	return append(out, ']')
}

func iconSource(src string) bool {
	if kind, ok := strings.CutPrefix(strings.ToLower(src[:min(len(src), 16)]), "data:"); ok {
		return strings.HasPrefix(kind, "image/")
	}
	return isWebAddress(src)
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// iconSizes reads a list of sizes, or one text with blanks between them as before MCP 2025-11-25.
func iconSizes(v gjson.Result) (sizes []string) {
	if v.Type == gjson.String {
		return strings.Fields(v.Str)
	}
	if v.IsArray() {
		v.ForEach(func(_, one gjson.Result) bool {
			if one.Type == gjson.String {
				sizes = append(sizes, one.Str)
			}
			return true
		})
	}
	return sizes
}

// readAnnotations returns the annotations of a tool without what clients would refuse: hints that are no booleans, a title that
// is no text, and nulls, which Java writes for what was not said.
func readAnnotations(raw json.RawMessage, complain func(field, message string)) json.RawMessage {
	if raw == nil {
		return nil
	}
	out := []byte{'{'}
	gjson.ParseBytes(raw).ForEach(func(k, v gjson.Result) bool {
		want := ""
		switch k.String() {
		case "title":
			if v.Type != gjson.String {
				want = "text"
			}
		case "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint":
			if !v.IsBool() {
				want = "true or false"
			}
		}
		if v.Type == gjson.Null {
			return true
		}
		if want != "" {
			complain("annotations."+k.String(), "ignored: must be "+want)
			return true
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(jsontext.AppendString(out, k.String()), ':'), v.Raw...)
		return true
	})
	if len(out) == 1 {
		return nil
	}
	return append(out, '}')
}
