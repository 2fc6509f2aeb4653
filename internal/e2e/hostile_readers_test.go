package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf16"
)

// readings gives every tool that some backend, however careless, might execute for a request: each function below reads
// the same bytes the way that some real decoder does. A proxy is safe from all of them if none finds a denied tool.
func readings(h http.Header, body []byte) map[string][]string {
	found := map[string][]string{}
	add := func(reader, tool string) {
		if tool != "" && !slices.Contains(found[tool], reader) {
			found[tool] = append(found[tool], reader)
		}
	}
	for _, text := range decodings(h, body) {
		add("encoding/json", structReading(text.body))
		for _, v := range values(text.body) {
			for _, m := range matches {
				for _, last := range []bool{false, true} {
					add(text.name+" "+m.name, treeReading(v, m, last))
				}
			}
		}
	}
	if strings.EqualFold(strings.TrimSpace(h.Get("Mcp-Method")), "tools/call") || h.Get("Mcp-Method") == "" {
		for _, name := range h.Values("Mcp-Name") { // routes by header
			if plain, ok := strings.CutPrefix(name, "=?base64?"); ok {
				b, _ := base64.StdEncoding.DecodeString(strings.TrimSuffix(plain, "?="))
				name = string(b)
			}
			add("header", toolName(name))
		}
	}
	return found
}

type decoding struct {
	name string
	body []byte
}

// decodings are the texts that the bytes are to backends that heed a charset, skip what is no UTF-8 or what is no JSON.
func decodings(h http.Header, body []byte) []decoding {
	body = bytes.TrimLeft(body, "\ufeff\v\x00")
	all := []decoding{{"UTF-8", body}}
	if dropped := bytes.ToValidUTF8(body, nil); !bytes.Equal(dropped, body) {
		all = append(all, decoding{"invalid UTF-8 dropped", dropped})
	}
	if bytes.Contains(body, []byte{0}) {
		all = append(all, decoding{"NUL dropped", bytes.ReplaceAll(body, []byte{0}, nil)})
	}
	for _, ct := range h.Values("Content-Type") {
		_, params, _ := mime.ParseMediaType(ct)
		switch strings.ToLower(params["charset"]) {
		case "utf-7", "unicode-1-1-utf-7": // iconv-lite knows it, and with it body-parser and raw-body
			all = append(all, decoding{"UTF-7", utf7(body)})
		case "utf-16", "utf-16le":
			var units []uint16
			for i := 0; i+1 < len(body); i += 2 {
				units = append(units, uint16(body[i])|uint16(body[i+1])<<8)
			}
			all = append(all, decoding{"UTF-16", []byte(string(utf16.Decode(units)))})
		}
	}
	if i := bytes.Index(body, []byte("/*")); i >= 0 {
		all = append(all, decoding{"comments begin", bytes.ReplaceAll(bytes.ReplaceAll(body, []byte("/*"), nil), []byte("*/"), nil)})
	}
	return all
}

// utf7 decodes RFC 2152.
func utf7(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] != '+' {
			out = append(out, b[i])
			continue
		}
		end := bytes.IndexByte(b[i:], '-')
		if end < 0 {
			return out
		}
		raw, _ := base64.RawStdEncoding.DecodeString(string(b[i+1 : i+end]))
		for j := 0; j+1 < len(raw); j += 2 {
			out = append(out, string(utf16.Decode([]uint16{uint16(raw[j])<<8 | uint16(raw[j+1])}))...)
		}
		i += end
	}
	return out
}

// object is a JSON object with all that was written in it.
type object []member

type member struct {
	name  string
	value any
}

// values are the messages in a body to a backend that takes batches, lines of JSON, and whatever stands behind them.
func values(body []byte) []object {
	var all []object
	var flatten func(v any)
	flatten = func(v any) {
		switch v := v.(type) {
		case object:
			all = append(all, v)
		case []any:
			for _, e := range v {
				flatten(e)
			}
		}
	}
	for len(body) > 0 {
		d := json.NewDecoder(bytes.NewReader(body))
		v, err := tree(d, 0)
		if err != nil {
			if i := bytes.IndexByte(body[1:], '{'); i >= 0 && len(all) > 0 { // goes on at the next object
				body = body[1+i:]
				continue
			}
			break
		}
		flatten(v)
		body = bytes.TrimLeft(body[d.InputOffset():], " \t\r\n,;\x00\x1e")
	}
	return all
}

func tree(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil || depth > 5000 {
		return nil, io.ErrUnexpectedEOF
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	var o object
	var l []any
	for d.More() {
		name := ""
		if delim == '{' {
			t, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ = t.(string)
		}
		v, err := tree(d, depth+1)
		if err != nil {
			return nil, err
		}
		o, l = append(o, member{name, v}), append(l, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if delim == '{' {
		return o, nil
	}
	return l, nil
}

// match is how a decoder compares names.
type match struct {
	name string
	same func(written, wanted string) bool
}

var matches = []match{
	{"exact", func(a, b string) bool { return a == b }},
	{"without case", strings.EqualFold},
	{"loose", func(a, b string) bool { return loose(a) == loose(b) }},
	{"C strings", func(a, b string) bool { a, _, _ = strings.Cut(a, "\x00"); return a == b }},
}

// loose drops what relaxed mappers drop: case, underscores, dashes, space, controls, what stands for broken text.
func loose(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r <= ' ' || r == '_' || r == '-' || r == '\ufffd' || r == '/':
			return -1
		case r == 'ſ':
			return 's'
		case r == 'K':
			return 'k'
		case r == 'ı' || r == 'İ':
			return 'i'
		}
		return r
	}, strings.ToLower(s))
}

// treeReading finds the tool of a message by one way of comparing names, and with the first or the last duplicate.
func treeReading(o object, m match, last bool) string {
	get := func(o object, name string) any {
		var found any
		for _, e := range o {
			if m.same(e.name, name) {
				if found = e.value; !last {
					return found
				}
			}
		}
		return found
	}
	method, _ := get(o, "method").(string)
	if !m.same(method, "tools/call") {
		return ""
	}
	params, _ := get(o, "params").(object)
	name, _ := get(params, "name").(string)
	return toolName(name)
}

// toolName is the tool that a backend with no care for the rest of a name would take it for.
func toolName(name string) string {
	head, _, _ := strings.Cut(name, "\x00")
	for _, tool := range []string{"danger", "get_item", "echo", "list_items"} {
		if strings.EqualFold(strings.TrimSpace(head), tool) || loose(name) == loose(tool) {
			return tool
		}
	}
	return head
}

// structReading is encoding/json into a struct: names match without case, the last one wins, duplicate objects are merged.
func structReading(body []byte) string {
	var m struct {
		Method string
		Params struct{ Name string }
	}
	if json.NewDecoder(bytes.NewReader(body)).Decode(&m) != nil || m.Method != "tools/call" {
		return ""
	}
	return toolName(m.Params.Name)
}
