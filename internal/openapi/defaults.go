package openapi

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDefault bounds a default that a description tells, in bytes of JSON.
const maxDefault = 120

// tellDefaults moves every default of a request's schema into the description beside it. A default says what the
// backend assumes where nothing is sent. Sent by us, or filled in by a client that reads the keyword, it would overwrite
// what is there: a PATCH of one member would reset all the others.
func tellDefaults(schema *node) {
	if !schema.is(object) {
		return
	}
	for i, key := range schema.keys {
		switch value := schema.items[i]; key {
		case "properties", "patternProperties", "dependentSchemas", "oneOf", "anyOf", "allOf", "prefixItems":
			for _, sub := range value.items {
				tellDefaults(sub)
			}
		case "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
			"unevaluatedProperties", "unevaluatedItems", "additionalItems":
			tellDefaults(value)
		}
	}
	value := schema.get("default")
	if value == nil {
		return
	}
	schema.drop("default")
	if value.kind == null {
		return
	}
	shown := value.quoted()
	description := schema.get("description").str()
	if len(shown) > maxDefault || tells(description, value) {
		return
	}
	sentence(schema, "Default: "+shown)
}

// sentence adds something to the description of a schema.
func sentence(schema *node, what string) {
	description := schema.get("description").str()
	last, _ := utf8.DecodeLastRuneInString(description)
	switch {
	case description == "":
		description = what + "."
	case strings.ContainsRune(".!?。", last):
		description += " " + what + "."
	default:
		first, size := utf8.DecodeRuneInString(what)
		description += " (" + string(unicode.ToLower(first)) + what[size:] + ")"
	}
	schema.set("description", newText(description))
}

// tells reports whether a description already names the default.
func tells(description string, value *node) bool {
	plain := strings.ToLower(value.scalar())
	_, after, found := strings.Cut(strings.ToLower(description), "default")
	return found && plain != "" && slices.Contains(strings.FieldsFunc(after, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("`'\"*:;,()[]{}=", r)
	}), strings.TrimSuffix(plain, "."))
}

// onlyValue returns the one value that a required argument can have, as text and as JSON; ok is false where there is
// a choice, or where the value could not stand in a template as it is.
func onlyValue(schema *node) (value *node, ok bool) {
	value = schema.get("const")
	if value == nil {
		choices := schema.get("enum")
		if choices == nil || len(choices.items) != 1 {
			return nil, false
		}
		value = choices.items[0]
	}
	switch value.kind {
	case text, number, boolean:
	default:
		return nil, false
	}
	if t := schema.get("type").str(); t != "" && !fits(value, t) {
		return nil, false
	}
	if strings.Contains(value.text, "{{") || strings.Contains(value.text, "}}") || strings.Contains(value.text, "${") ||
		strings.TrimSpace(value.text) != value.text || strings.ContainsFunc(value.text, unicode.IsControl) {
		return nil, false
	}
	return value, true
}

// constantParameter writes a required parameter that has only one value into the template, so that nobody is asked for
// it. It reports whether it did.
func (t *tool) constantParameter(name, in string, schema *node, s style) bool {
	value, ok := onlyValue(schema)
	if !ok {
		return false
	}
	switch in {
	case "path":
		segment := url.PathEscape(value.text)
		if !strings.Contains(t.path, "{"+name+"}") || segment == "" || segment == "." || segment == ".." {
			return false
		}
		t.path = strings.ReplaceAll(t.path, "{"+name+"}", s.prefix(name)+segment)
	case "query":
		t.query = append(t.query, pair{text: queryName(name) + "=" + queryValue(value.text)})
	case "header":
		if value.text == "" {
			return false
		}
		t.headers = append(t.headers, [2]string{name, value.text})
	default:
		return false
	}
	return true
}

// prefix is what a path style writes before a value that is no list.
func (s style) prefix(name string) string {
	switch s.name {
	case "label":
		return "."
	case "matrix":
		return ";" + queryName(name) + "="
	}
	return ""
}

func queryValue(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// constantMembers takes the required members that have only one value out of the arguments that stand for a body.
func (t *tool) constantMembers() (names []string, values []*node) {
	t.args = slices.DeleteFunc(t.args, func(a *argument) bool {
		if a.position != "body" || !a.required {
			return false
		}
		value, ok := onlyValue(a.schema)
		if ok && !strings.Contains(a.wire, "{{") && !strings.Contains(a.wire, "${") {
			names, values = append(names, a.wire), append(values, value)
			return true
		}
		return false
	})
	return names, values
}

// jsonTemplate writes a JSON body as a template if some of its members are constants: those come first, then the
// arguments that are given.
func (t *tool) jsonTemplate() {
	names, values := t.constantMembers()
	if len(names) == 0 {
		return
	}
	constants := newObject()
	for i, name := range names {
		constants.set(name, values[i])
	}
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(string(constants.appendJSON(nil)), "}"))
	for _, a := range t.args {
		if a.position == "body" {
			b.WriteString(a.optional("," + quote(a.wire) + ":{{toJson " + a.ref() + "}}"))
			a.position = ""
		}
	}
	b.WriteString("}")
	t.body = b.String()
}
