package openapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// ignoredHeaders are no arguments: OpenAPI has other places for the first three, the rest belong to the
// connection.
var ignoredHeaders = []string{
	"Accept", "Content-Type", "Authorization",
	"Connection", "Content-Encoding", "Content-Length", "Cookie", "Expect", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// style is how the value of a parameter is written.
type style struct {
	name      string // simple, label, matrix, form, deepObject
	separator string // between elements of an array that is not exploded
	explode   bool
}

// parameter makes an argument of a Parameter Object.
func (im *importer) parameter(t *tool, p place) error {
	name, in := p.get("name").str(), p.get("in").str()
	if in == "body" || in == "formData" {
		return nil // swaggerBody's
	}
	if name == "" {
		return errSkip("a parameter has no name")
	}
	key := in + " " + name
	if in == "header" {
		name = http.CanonicalHeaderKey(name)
		key = in + " " + name
		name = p.get("name").str()
	}
	if t.carried[key] {
		return nil // the proxy sends it: it carries a credential
	}
	if in == "header" && (slices.Contains(ignoredHeaders, http.CanonicalHeaderKey(name)) || !headerName.MatchString(name)) {
		if !strings.EqualFold(name, "accept") && !strings.EqualFold(name, "content-type") {
			t.notes = append(t.notes, fmt.Sprintf("the header %s is left out: no argument may set it", clean(name, maxTitle)))
		}
		return nil
	}
	schema, s, err := im.parameterSchema(p, in)
	if err != nil {
		return errSkip(fmt.Sprintf("parameter %s: %s", clean(name, maxTitle), err))
	}
	if d := clean(p.get("description").str(), maxArgDescription); d != "" {
		schema.set("description", newText(d))
	}
	required := p.get("required").isTrue()
	if (required || in == "path") && t.constantParameter(name, in, schema, s) {
		return nil
	}
	switch in {
	case "path":
		return t.pathParameter(name, schema, s, p.get("x-multi-segment").isTrue() || p.get("allowReserved").isTrue())
	case "query":
		t.queryParameter(name, schema, s, required)
	case "header":
		a := t.argument(name, "header", schema, required)
		if isObject(schema) && s.name != "json" {
			t.headers = append(t.headers, [2]string{name, a.pairs(s)})
			a.position = ""
		} else if a.name != name || isArray(schema) {
			t.headers = append(t.headers, [2]string{name, a.optional(a.joined(","))})
			a.position = ""
		}
	case "cookie":
		a := t.argument(name, "cookie", schema, required)
		if a.name != name {
			return errSkip(fmt.Sprintf("the name of the cookie %q cannot be that of an argument", clean(name, maxTitle)))
		}
		if isArray(schema) || isObject(schema) {
			t.notes = append(t.notes, fmt.Sprintf("the cookie %s is sent as JSON text", clean(name, maxTitle)))
		}
	default:
		return errSkip(fmt.Sprintf("parameter %s: there is no place %q", clean(name, maxTitle), clean(in, maxTitle)))
	}
	return nil
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// parameterSchema gives a parameter's schema, never nil, and how its value is written.
func (im *importer) parameterSchema(p place, in string) (*node, style, error) {
	s := style{name: "simple", separator: ","}
	if in == "query" || in == "cookie" {
		s = style{name: "form", separator: ",", explode: true}
	}
	at := p.at("schema")
	if im.swagger {
		at, s.explode = p, false // the parameter is its own schema
		switch p.get("collectionFormat").str() {
		case "multi":
			s.explode = true
		case "ssv":
			s.separator = " "
		case "tsv":
			s.separator = "\t"
		case "pipes":
			s.separator = "|"
		}
	} else {
		if name := p.get("style").str(); name != "" {
			s.name, s.explode = name, name == "form"
		}
		switch s.name {
		case "spaceDelimited":
			s.separator = " "
		case "pipeDelimited":
			s.separator = "|"
		}
		if e := p.at("explode"); e.is(boolean) {
			s.explode = e.isTrue()
		}
		if content := p.at("content"); at.missing() && content.is(object) && len(content.items) > 0 {
			at = content.each()[0].at("schema")
			s = style{name: "json"}
		}
	}
	schema, err := im.schema(at, request)
	if err != nil {
		return nil, s, err
	}
	if schema == nil || schema.kind != object {
		schema = newObject().set("type", newText("string"))
	}
	if im.swagger {
		schema.drop("required")
		schema.drop("deprecated")
	}
	return schema, s, nil
}

func (t *tool) pathParameter(name string, schema *node, s style, multi bool) error {
	if !strings.Contains(t.path, "{"+name+"}") {
		t.notes = append(t.notes, fmt.Sprintf("the path parameter %s is left out: the path does not hold it", clean(name, maxTitle)))
		return nil
	}
	a := t.argument(name, "path", schema, true)
	a.multi = multi
	template := a.inPath(s)
	if template == "" {
		t.path = strings.ReplaceAll(t.path, "{"+name+"}", "{"+a.name+"}")
		return nil
	}
	a.position = ""
	template = strings.NewReplacer("{{", openMark, "}}", shutMark).Replace(template)
	t.path = strings.ReplaceAll(t.path, "{"+name+"}", template)
	return nil
}

// inPath is a template of the argument in a path (RFC 6570, sections 3.2.2, 3.2.5 and 3.2.7); nothing where the argument is
// written as it is.
func (a *argument) inPath(s style) string {
	name := ";" + queryName(a.wire) + "="
	switch {
	case s.name == "json":
		return ""
	case isArray(a.schema):
		switch {
		case s.name == "label" && s.explode:
			return "{{range " + a.ref() + "}}.{{.}}{{end}}"
		case s.name == "label":
			return "." + a.listed(",")
		case s.name == "matrix" && s.explode:
			return "{{range " + a.ref() + "}}" + name + "{{.}}{{end}}"
		case s.name == "matrix":
			return name + a.listed(",")
		}
		return a.listed(s.separator)
	case isObject(a.schema):
		each := func(before string) string {
			return "{{range $k, $v := " + a.ref() + "}}" + before + "{{$k}}={{$v}}{{end}}"
		}
		switch {
		case s.name == "label" && s.explode:
			return each(".")
		case s.name == "label":
			return "." + a.pairs(s)
		case s.name == "matrix" && s.explode:
			return each(";")
		case s.name == "matrix":
			return name + a.pairs(s)
		}
		return a.pairs(s)
	case s.name == "label", s.name == "matrix":
		return s.prefix(a.wire) + a.joined("")
	}
	return ""
}

// listed is a template of a list's elements with the separator, which is no part of any, between them.
func (a *argument) listed(separator string) string {
	return "{{range $i, $v := " + a.ref() + "}}{{if $i}}" + strings.ReplaceAll(url.QueryEscape(separator), "%2C", ",") + "{{end}}{{$v}}{{end}}"
}

// pairs is a template of an object's members: "a,1,b,2", or "a=1,b=2" if it is exploded.
func (a *argument) pairs(s style) string { return membersOf(a.ref(), s) }

// membersOf is that template for the object that ref names.
func membersOf(ref string, s style) string {
	between := map[bool]string{true: "=", false: ","}[s.explode]
	return "{{$n := 0}}{{range $k, $v := " + ref + "}}{{if $n}},{{end}}{{$k}}" + between + "{{$v}}{{$n = 1}}{{end}}"
}

func (t *tool) queryParameter(name string, schema *node, s style, required bool) {
	a := t.argument(strings.TrimSuffix(name, "[]"), "query", schema, required)
	a.wire, a.style = name, s
	if !a.simple() {
		t.query = append(t.query, a.pair())
		a.position = ""
	}
	a.explode = a.position != "" && isArray(schema) && s.explode
}

// simple tells whether a place in a query or form is enough to say how the argument is written.
func (a *argument) simple() bool {
	switch {
	case a.name != a.wire:
		return false
	case isObject(a.schema):
		return a.style.name == "json"
	case isArray(a.schema):
		return a.style.explode || a.style.name == "json"
	}
	return true
}

// pair is a part of a query or a form: name=value.
type pair struct {
	text string
	open string // begins an {{if}}, {{with}} or {{range}} around text; empty: it is always there
}

// joinPairs is a template of pairs with "&" between those that are there; before tells that something always stands before them.
// What is always there comes first, so that the others need not ask whether they are the first.
func joinPairs(pairs []pair, before bool) string {
	var always, sometimes strings.Builder
	conditional := 0
	for _, p := range pairs {
		switch {
		case p.open != "":
			conditional++
			continue
		case before:
			always.WriteByte('&')
		}
		always.WriteString(p.text)
		before = true
	}
	asks, seen := false, 0
	for _, p := range pairs {
		if p.open == "" {
			continue
		}
		seen++
		repeats := strings.HasPrefix(p.open, "{{range")
		sometimes.WriteString(p.open)
		switch {
		case before:
			sometimes.WriteByte('&')
		case seen > 1 || repeats:
			sometimes.WriteString("{{if $q}}&{{end}}")
		}
		sometimes.WriteString(p.text)
		if !before && (seen < conditional || repeats) {
			sometimes.WriteString("{{$q = 1}}")
			asks = true
		}
		sometimes.WriteString("{{end}}")
	}
	if asks {
		always.WriteString("{{$q := 0}}")
	}
	return always.String() + sometimes.String()
}

// pair is the argument in a query or a form.
func (a *argument) pair() pair {
	wire := queryName(a.wire)
	with := "{{with " + a.ref() + "}}"
	each := "{{range $k, $v := " + a.ref() + "}}"
	switch {
	case isObject(a.schema) && a.style.name == "deepObject":
		return pair{wire + "[{{$k}}]={{$v}}", each}
	case isObject(a.schema) && a.style.explode:
		return pair{"{{$k}}={{$v}}", each}
	case isObject(a.schema) && a.style.name != "json":
		return pair{wire + "=" + membersOf(".", a.style), with}
	case isArray(a.schema) && a.style.explode:
		return pair{wire + "={{.}}", "{{range " + a.ref() + "}}"}
	case isArray(a.schema) && a.style.name != "json" && a.required:
		return pair{text: wire + "=" + a.joined(a.style.separator)}
	case isArray(a.schema) && a.style.name != "json":
		return pair{wire + "={{join " + quote(a.style.separator) + " .}}", with}
	case a.required:
		return pair{text: wire + "=" + a.joined("")}
	}
	return pair{wire + "=" + a.joined(""), a.given()}
}

// ref is how a template names the argument.
func (a *argument) ref() string {
	if identifier.MatchString(a.name) {
		return ".args." + a.name
	}
	return "(index .args " + quote(a.name) + ")"
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// joined is a template of the argument's elements, or of the argument itself if it has none.
func (a *argument) joined(separator string) string {
	if isArray(a.schema) {
		return "{{join " + quote(separator) + " " + a.ref() + "}}"
	}
	return "{{" + strings.Trim(a.ref(), "()") + "}}"
}

// optional wraps a template so that it prints nothing where the argument is not given.
func (a *argument) optional(template string) string {
	if a.required {
		return template
	}
	return a.given() + template + "{{end}}"
}

// given begins what a template prints only where the argument is given.
func (a *argument) given() string { return "{{if hasKey .args " + quote(a.name) + "}}" }

// quote writes a string literal of the template language.
func quote(s string) string { return string(jsontext.AppendString(nil, s)) }

func isArray(schema *node) bool  { return schema.hasType("array") }
func isObject(schema *node) bool { return schema.hasType("object") }

// hasType tells whether a schema takes values of this type and, but for null, of no other.
func (n *node) hasType(t string) bool {
	types := typesOf(n.get("type"))
	return slices.Contains(types, t) && !slices.ContainsFunc(types, func(o string) bool { return o != t && o != "null" })
}
