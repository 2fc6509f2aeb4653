package registry

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

// emptySchema is the input schema of a tool without arguments.
const emptySchema = `{"type":"object","properties":{}}`

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

var positions = []string{InPath, InQuery, InHeader, InCookie, InBody}

var schemaTypes = []string{"string", "number", "integer", "boolean", "array", "object"}

// validTool bounds what can stand in a list shown to models; the MCP specification asks for no more than
// this and many clients take less.
func validTool(name string) bool {
	return toolText.MatchString(name) && utf8.RuneCountInString(name) <= 256
}

var toolText = regexp.MustCompile(`^[^\x00-\x20\x7f]+$`)

var urlScheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)

// readTools reads the tools of a converted service; each that has a fault is rejected alone.
func readTools(r *reader, o *object, def *Definition, s *server) {
	first := map[string]int{}
	o.each("tools", func(path string, n *yaml.Node) {
		r.tool = path
		before := r.faults
		if t := readTool(r, n, def, s); t != nil {
			if line, taken := first[t.Name]; taken {
				r.reject(n, "name", "another tool has this name already (line %d)", line)
			} else {
				first[t.Name] = n.Line
			}
			if r.faults == before {
				def.Tools = append(def.Tools, *t)
			}
		}
		r.tool = ""
	})
}

func readTool(r *reader, n *yaml.Node, def *Definition, s *server) *Tool {
	before := r.faults
	o := r.tryName(n).object(n, "", "name", "description", "title", "annotations", "_meta", "icons", "args", "inputSchema", "outputSchema",
		"argsPosition", "security", "requestTemplate", "responseTemplate", "errorResponseTemplate")
	if o == nil {
		return nil
	}
	t := &Tool{Name: o.str("name"), Title: o.text("title"), Description: o.text("description"), ErrorResponse: o.text("errorResponseTemplate"), Line: n.Line}
	if o.require("name") && t.Name != "" && !validTool(t.Name) {
		o.reject("name", "must be 1 to 256 characters without blanks and control characters")
	}
	complain := func(field, message string) { r.warn(o.find(field), field, "%s", message) }
	t.Annotations = readAnnotations(o.mapping("annotations"), complain)
	if n := o.at["icons"]; !isNull(n) {
		t.Icons = readIcons(gjson.ParseBytes(r.json(n, "icons")), complain)
	}
	t.Meta = o.mapping("_meta")
	t.OutputSchema = o.mapping("outputSchema")
	t.Security = readSecurity(o, "security", "id", "passthrough")
	o.needsPassthrough("security", t.Security)
	readRequest(o, t)
	if rt := o.object("responseTemplate", "body", "prependBody", "appendBody"); rt != nil {
		t.Response = ResponseTemplate{Body: rt.text("body"), PrependBody: rt.text("prependBody"), AppendBody: rt.text("appendBody"), BodyLine: textLine(rt.at["body"])}
	}
	readArgs(o, t)
	if r.faults > before {
		return nil // more could only follow from what is said already
	}
	t.inherit(def, s.downstream, s.upstream)
	for _, f := range t.faults(def) {
		r.reject(o.find(f.field), f.field, "%s", f.message)
	}
	return t
}

// inherit gives the tool the service's own security where it has none.
func (t *Tool) inherit(def *Definition, downstream, upstream *SecurityRef) {
	if t.Security == nil && downstream != nil && def.HasScheme(downstream.ID) {
		t.Security = downstream
	}
	if t.Request.Security == nil && upstream != nil && def.HasScheme(upstream.ID) {
		t.Request.Security = upstream
	}
}

// tryName makes messages name the tool, where it has a name.
func (r *reader) tryName(n *yaml.Node) *reader {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if value := resolve(n.Content[i+1]); n.Content[i].Value == "name" && value.Kind == yaml.ScalarNode && validTool(value.Value) {
				r.tool = shown(value.Value)
				break
			}
		}
	}
	return r
}

// find gives the node of a path of the tool, or the nearest above it.
func (o *object) find(path string) *yaml.Node {
	n := o.node
	for _, name := range strings.Split(path, ".") {
		name, index, isIndexed := strings.Cut(strings.TrimSuffix(name, "]"), "[")
		var next *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				next = resolve(n.Content[i+1])
			}
		}
		if next == nil {
			break
		}
		n = next
		if i, err := strconv.Atoi(index); isIndexed && err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			n = resolve(n.Content[i])
		}
	}
	return n
}

// textLine is the line on which the text of a scalar begins: block scalars begin below their indicator.
func textLine(n *yaml.Node) int {
	switch {
	case n == nil:
		return 0
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return n.Line + 1
	}
	return n.Line
}

// mapping reads a field that holds a mapping as JSON; nil if it is absent or blank.
func (o *object) mapping(name string) json.RawMessage {
	n := o.at[name]
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		o.reject(name, "must be a mapping, not %s", kindOf(n))
		return nil
	}
	return o.r.json(n, join(o.path, name))
}

func readRequest(o *object, t *Tool) {
	q := o.object("requestTemplate", "url", "method", "headers", "body", "argsToJsonBody", "argsToUrlParam", "argsToFormBody", "security")
	if q == nil {
		return
	}
	t.Request = RequestTemplate{
		URL: q.text("url"), Method: q.text("method"), Body: q.text("body"),
		ArgsToJSONBody: q.boolean("argsToJsonBody", false), ArgsToURLParam: q.boolean("argsToUrlParam", false), ArgsToFormBody: q.boolean("argsToFormBody", false),
		Security: readSecurity(q, "security", "id", "credential"),
		URLLine:  textLine(q.at["url"]), BodyLine: textLine(q.at["body"]),
	}
	q.each("headers", func(path string, n *yaml.Node) {
		h := q.r.object(n, path, "key", "value")
		if h == nil {
			return
		}
		h.require("key")
		kv := KeyValue{Key: h.str("key"), Value: h.text("value")}
		if why := headerFault(kv.Key); kv.Key != "" && why != "" {
			// Exports of browsers and API clients are full of these; the HTTP implementation sets its own.
			h.r.warn(n, path, "ignored: %s", why)
			return
		}
		t.Request.Headers = append(t.Request.Headers, kv)
	})
}

// headerFault tells why a tool's template must not set a header; "" if it may. Host and Content-Type are the
// author's to choose (conversion, "Arguments to request").
func headerFault(name string) string {
	switch strings.ToLower(name) {
	case "host", "content-type", "content-language", "content-md5", "content-disposition":
		return ""
	}
	if why := unsafeToSend(name); why != "" {
		return fmt.Sprintf("header %q cannot be set: %s", shown(name), why)
	}
	return ""
}

type toolFault struct{ field, message string }

// faults gives what the rules of conversion find wrong with a tool that was read without faults. Templates
// and schemas are checked where they are compiled.
func (t *Tool) faults(def *Definition) []toolFault {
	var list []toolFault
	add := func(field, format string, args ...any) {
		list = append(list, toolFault{field, fmt.Sprintf(format, args...)})
	}
	q := &t.Request
	destinations := 0
	for _, set := range []bool{q.ArgsToJSONBody, q.ArgsToURLParam, q.ArgsToFormBody} {
		if set {
			destinations++
		}
	}
	if destinations > 1 {
		add("requestTemplate", "must have at most one of argsToJsonBody, argsToUrlParam and argsToFormBody")
	}
	if t.Response.Body != "" && (t.Response.PrependBody != "" || t.Response.AppendBody != "") {
		add("responseTemplate", "must have either body or prependBody and appendBody, not both")
	}
	if q.URL == "" {
		if t.Response.Body == "" {
			add("requestTemplate.url", "tool needs requestTemplate.url, or responseTemplate.body to answer without a backend")
		}
	} else if m := urlScheme.FindStringSubmatch(q.URL); m != nil && !strings.EqualFold(m[1], "http") && !strings.EqualFold(m[1], "https") {
		add("requestTemplate.url", "must begin with http:// or https://")
	} else if why := NoScheme(strings.TrimSpace(q.URL)); m == nil && why != "" {
		add("requestTemplate.url", "%s", why)
	} else if m == nil && !strings.HasPrefix(q.URL, "{{") && def.Backend.URL == "" && def.Backend.Ref == nil {
		add("requestTemplate.url", "is relative and the service has no upstream: add upstream.url or write the whole URL")
	}
	if q.Method == "" && q.URL != "" {
		q.Method = "GET"
	}
	if q.Method != "" {
		if q.Method = strings.ToUpper(q.Method); !contains(methods, q.Method) {
			add("requestTemplate.method", "must be one of %s, not %q", strings.Join(methods, ", "), shown(q.Method))
		}
	}
	for i, a := range t.Args {
		if why := unsafeToSend(a.Name); a.Position == InHeader && why != "" {
			add(indexed("args", i), "header %q cannot be an argument: %s", shown(a.Name), why)
		}
	}
	for _, ref := range []struct {
		field string
		ref   *SecurityRef
	}{{"security.id", t.Security}, {"requestTemplate.security.id", q.Security}} {
		if ref.ref != nil && !def.HasScheme(ref.ref.ID) {
			add(ref.field, "%s", noScheme(ref.ref.ID, def.Unusable, def.schemeIDs()))
		}
	}
	return list
}
