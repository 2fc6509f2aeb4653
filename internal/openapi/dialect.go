package openapi

import (
	"math/big"
	"slices"
	"strings"
)

// finish puts right what depends on several keywords.
func (w *schemaWriter) finish(out *node, p place) {
	// OpenAPI 3.0: exclusiveMinimum and exclusiveMaximum are booleans beside minimum and maximum.
	for _, pair := range [][2]string{{"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}} {
		if n := out.get(pair[0]); n != nil && p.get(pair[1]).isTrue() {
			out.drop(pair[0])
			out.set(pair[1], n)
		}
	}
	// The type comes first, and is said: many clients look for it.
	t := out.get("type")
	if t == nil && out.get("properties") != nil {
		t = newText("object")
	}
	if t != nil && (len(out.keys) == 0 || out.keys[0] != "type") {
		out.drop("type")
		out.keys, out.items, out.index = slices.Insert(out.keys, 0, "type"), slices.Insert(out.items, 0, t), nil
	}
	if p.get("nullable").isTrue() || p.get("x-nullable").isTrue() {
		nullable(out)
	}
	coerce(out)
}

// nullable lets a schema take null too.
func nullable(out *node) {
	t := out.get("type")
	if t.is(text) {
		out.set("type", newList(t, newText("null")))
	}
	if e := out.get("enum"); e != nil && t != nil && !slices.ContainsFunc(e.items, func(n *node) bool { return n.kind == null }) {
		e.items = append(e.items, &node{})
	}
	if options := out.get("anyOf"); options != nil && t == nil {
		options.items = append(options.items, newObject().set("type", newText("null")))
	}
}

// coerce turns enum and default into the schema's type where they are spelt as text ("10" for an integer), and
// drops a default that is of another type, which the backend cannot mean.
func coerce(out *node) {
	types := slices.DeleteFunc(typesOf(out.get("type")), func(t string) bool { return t == "null" })
	if len(types) != 1 {
		return
	}
	t := types[0]
	if t == "array" {
		enumOfElements(out)
	}
	if e := out.get("enum"); e != nil {
		for i, n := range e.items {
			e.items[i] = fitting(n, t)
		}
	}
	if c := out.get("const"); c != nil {
		out.set("const", fitting(c, t))
	}
	if d := out.get("default"); d != nil {
		if d = fitting(d, t); fits(d, t) || d.kind == null {
			out.set("default", d)
		} else {
			out.drop("default")
		}
	}
}

// enumOfElements moves an enum of a list's elements, which would refuse every list, to where it is meant.
func enumOfElements(out *node) {
	e := out.get("enum")
	if e == nil || slices.ContainsFunc(e.items, func(n *node) bool { return n.kind == list }) {
		return
	}
	out.drop("enum")
	values := slices.DeleteFunc(e.items, func(n *node) bool { return n.kind == null }) // of the list, if it is nullable
	items := out.get("items")
	if items == nil {
		items = newObject()
		out.set("items", items)
	}
	if !items.is(object) || items.get("enum") != nil || len(values) == 0 {
		return
	}
	items.set("enum", newList(values...))
	coerce(items)
}

func fitting(n *node, t string) *node {
	switch {
	case n.kind == text && (t == "integer" || t == "number"):
		if v := asNumber(n); v != nil {
			return v
		}
	case n.kind == text && t == "boolean" && (n.text == "true" || n.text == "false"):
		return newBool(n.text == "true")
	case (n.kind == number || n.kind == boolean) && t == "string":
		return newText(n.text)
	}
	return n
}

func fits(n *node, t string) bool {
	switch t {
	case "string":
		return n.kind == text
	case "integer":
		f, ok := new(big.Float).SetString(n.text)
		return n.kind == number && len(n.text) < 40 && ok && f.IsInt()
	case "number":
		return n.kind == number
	case "boolean":
		return n.kind == boolean
	case "array":
		return n.kind == list
	case "object":
		return n.kind == object
	}
	return true
}

// asNumber takes a number, or text that spells one; else nil.
func asNumber(n *node) *node {
	if n.is(number) {
		return n
	}
	if n.is(text) && jsonNumber.MatchString(n.text) {
		return &node{kind: number, text: n.text}
	}
	return nil
}

var jsonTypes = []string{"string", "number", "integer", "boolean", "array", "object", "null"}

// otherTypes are what people write for JSON Schema's types.
var otherTypes = map[string]string{
	"int": "integer", "int32": "integer", "int64": "integer", "long": "integer", "short": "integer",
	"float": "number", "double": "number", "decimal": "number",
	"bool": "boolean", "list": "array", "map": "object", "dict": "object",
	"str": "string", "text": "string", "uuid": "string", "date": "string", "datetime": "string", "date-time": "string",
	"file": "string", "binary": "string", "byte": "string", "password": "string",
}

// typeFormats are what otherTypes would lose.
var typeFormats = map[string]string{"uuid": "uuid", "date": "date", "datetime": "date-time", "date-time": "date-time"}

// schemaType gives a valid value of "type"; nil if nothing of it is.
func schemaType(n *node) *node {
	if n.is(list) {
		var types []*node
		for _, item := range n.items {
			if t := oneType(item.scalarOrNull()); t != "" && !slices.ContainsFunc(types, func(o *node) bool { return o.text == t }) {
				types = append(types, newText(t))
			}
		}
		switch len(types) {
		case 0:
			return nil
		case 1:
			return types[0]
		}
		return newList(types...)
	}
	if t := oneType(n.str()); t != "" {
		return newText(t)
	}
	return nil
}

// scalarOrNull also takes a null for its name: in YAML, [string, null] has one.
func (n *node) scalarOrNull() string {
	if n.is(null) {
		return "null"
	}
	return n.str()
}

func oneType(s string) string {
	if slices.Contains(jsonTypes, s) {
		return s
	}
	return otherTypes[strings.ToLower(s)]
}
