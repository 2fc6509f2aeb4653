package openapi

import (
	"fmt"
	"mime"
	"slices"
	"strings"
)

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

func mediaType(s string) string {
	m, _, err := mime.ParseMediaType(s)
	if err != nil {
		m, _, _ = strings.Cut(s, ";")
	}
	return strings.ToLower(strings.TrimSpace(m))
}

func isJSON(s string) bool {
	m := mediaType(s)
	return m == mediaJSON || m == "*/*" || m == "application/*" || m == "text/json" || strings.HasSuffix(m, "+json")
}

func isText(s string) bool {
	m := mediaType(s)
	return strings.HasPrefix(m, "text/") || m == "application/xml" || strings.HasSuffix(m, "+xml") ||
		m == "application/x-ndjson" || m == "application/graphql" || m == "application/yaml" || m == "application/x-yaml"
}

// requestBody makes arguments of a Request Body Object: of its JSON form if it has one, else of an HTML form, else of
// text.
func (im *importer) requestBody(t *tool, p place) error {
	if p.missing() {
		return nil
	}
	p, err := im.sources.follow(p)
	if err != nil {
		return errSkip("body: " + err.Error())
	}
	content, err := im.child(p, "content")
	if err != nil {
		return errSkip("body: " + err.Error())
	}
	required := p.get("required").isTrue()
	if !content.is(object) || len(content.items) == 0 {
		return nil
	}
	description := clean(p.get("description").str(), maxArgDescription)
	for _, fits := range []func(string) bool{
		func(m string) bool { return mediaType(m) == mediaJSON },
		isJSON,
		func(m string) bool { return mediaType(m) == mediaForm },
		isText,
	} {
		for m, media := range content.fields() {
			if fits(m) {
				if media, err = im.sources.follow(media); err != nil {
					return errSkip("body: " + err.Error())
				}
				return im.body(t, m, media.at("schema"), media.at("encoding"), required, description)
			}
		}
	}
	return errSkip(fmt.Sprintf("it needs a body of type %s, which arguments cannot fill", clean(strings.Join(content.keys, " or "), maxTitle)))
}

// body makes arguments of a body of one media type.
func (im *importer) body(t *tool, media string, at, encoding place, required bool, description string) error {
	if !isJSON(media) && mediaType(media) != mediaForm {
		schema := newObject().set("type", newText("string"))
		if description != "" {
			schema.set("description", newText(description))
		} else {
			schema.set("description", newText("the body, of type "+mediaType(media)))
		}
		a := t.argument("body", "", schema, required)
		t.body = a.optional("{{" + a.ref() + "}}")
		t.headers = append(t.headers, [2]string{"Content-Type", mediaType(media)})
		return nil
	}
	schema, err := im.schema(at, request)
	if err != nil {
		return errSkip("body: " + err.Error())
	}
	if schema == nil || schema.kind != object {
		schema = newObject()
	}
	if mediaType(media) == mediaForm {
		return t.form(schema, func(name string, field *node) style { return fieldStyle(field, encoding.at(name)) })
	}
	if contentType := mediaType(media); contentType != mediaJSON && !strings.Contains(contentType, "*") {
		t.headers = append(t.headers, [2]string{"Content-Type", contentType})
	}
	if t.flat(schema) {
		t.spread(schema)
		return nil
	}
	if description != "" && schema.get("description") == nil {
		schema.set("description", newText(description))
	}
	a := t.argument("body", "", schema, required)
	t.body = a.optional("{{toJson " + a.ref() + "}}")
	if !slices.ContainsFunc(t.headers, func(h [2]string) bool { return h[0] == "Content-Type" }) {
		t.headers = append(t.headers, [2]string{"Content-Type", mediaJSON})
	}
	return nil
}

// flatKeywords are what a body's schema may say without being more than its properties. A body that is null or has few
// properties is nothing that anybody could want to say by name.
var flatKeywords = []string{"type", "properties", "required", "description", "additionalProperties", "deprecated", "format", "default", "minProperties", "maxProperties"}

// flat tells whether the properties of a body can be arguments of the tool: easier to fill than one that
// holds them all.
func (t *tool) flat(schema *node) bool {
	properties := schema.get("properties")
	if !isObject(schema) || properties == nil {
		return false
	}
	for _, key := range schema.keys {
		if !slices.Contains(flatKeywords, key) {
			return false
		}
	}
	if extra := schema.get("additionalProperties"); extra != nil && !extra.is(boolean) {
		return false
	}
	for i, name := range properties.keys {
		taken := slices.ContainsFunc(t.args, func(a *argument) bool { return a.name == name })
		if argName(name) != name || taken || properties.items[i].kind != object {
			return false
		}
	}
	return true
}

// spread makes an argument of each property.
func (t *tool) spread(schema *node) {
	properties := schema.get("properties")
	for i, name := range properties.keys {
		required := slices.ContainsFunc(itemsOf(schema.get("required")), func(n *node) bool { return n.str() == name })
		t.argument(name, "body", properties.items[i], required)
	}
	t.jsonTemplate()
}

// form makes arguments of the fields of an HTML form; styleOf tells how each is written.
func (t *tool) form(schema *node, styleOf func(name string, field *node) style) error {
	properties := schema.get("properties")
	if properties == nil {
		return errSkip("it needs a form whose fields are not described")
	}
	simple := true
	for i, name := range properties.keys {
		field := properties.items[i]
		if field.kind != object {
			field = newObject().set("type", newText("string"))
		}
		required := slices.ContainsFunc(itemsOf(schema.get("required")), func(n *node) bool { return n.str() == name })
		a := t.argument(strings.TrimSuffix(name, "[]"), "body", field, required)
		a.wire, a.style = name, styleOf(name, field)
		a.explode = isArray(field) && a.style.explode
		simple = simple && a.simple()
	}
	t.headers = append(t.headers, [2]string{"Content-Type", mediaForm})
	names, values := t.constantMembers()
	var constants []pair
	for i, name := range names {
		constants = append(constants, pair{text: queryName(name) + "=" + queryValue(values[i].text)})
	}
	if !simple || len(names) > 0 {
		t.formTemplate(constants)
	}
	return nil
}

// fieldStyle follows the Encoding Object: lists are repeated, objects are JSON text, unless it says otherwise.
func fieldStyle(field *node, encoding place) style {
	s := style{name: "form", separator: ",", explode: isArray(field)}
	if name := encoding.get("style").str(); name != "" {
		s.name, s.explode = name, name == "form"
	}
	if e := encoding.at("explode"); e.is(boolean) && encoding.get("style") != nil {
		s.explode = e.isTrue()
	}
	if s.name == "deepObject" && isArray(field) { // a[]=1, as those write who choose this style
		s.explode = true
	}
	return s
}

// formTemplate writes the form as a template, where places are not enough to say how its fields are written.
func (t *tool) formTemplate(pairs []pair) {
	for _, a := range t.args {
		if a.position == "body" {
			pairs = append(pairs, a.pair())
			a.position, a.explode = "", false
		}
	}
	t.body = joinPairs(pairs, false)
}

// mediaTypes gives what a Swagger 2 operation consumes or produces; JSON if it does not say.
func (im *importer) mediaTypes(key string, op place) (list []string) {
	at := op.at(key)
	if at.node == nil {
		at = im.root.at(key)
	}
	for _, m := range at.each() {
		if s := m.str(); s != "" {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return []string{mediaJSON}
	}
	return list
}

// preferred chooses between media types: JSON itself, other JSON, text, and the first one if there is none of these.
func preferred(types []string) string {
	for _, fits := range []func(string) bool{func(m string) bool { return mediaType(m) == mediaJSON }, isJSON, isText} {
		if i := slices.IndexFunc(types, fits); i >= 0 {
			return types[i]
		}
	}
	return types[0]
}

// swaggerBody makes arguments of Swagger 2's parameters in body and in formData.
func (im *importer) swaggerBody(t *tool, op place, params []place) error {
	consumes := im.mediaTypes("consumes", op)
	var fields []place
	for _, p := range params {
		switch p.get("in").str() {
		case "formData":
			fields = append(fields, p)
		case "body":
			media := preferred(consumes)
			if !isJSON(media) && !isText(media) {
				return errSkip(fmt.Sprintf("it needs a body of type %s, which arguments cannot fill", clean(media, maxTitle)))
			}
			return im.body(t, media, p.at("schema"), place{}, p.get("required").isTrue(), clean(p.get("description").str(), maxArgDescription))
		}
	}
	if len(fields) == 0 {
		return nil
	}
	declared := op.at("consumes").node != nil || im.root.at("consumes").node != nil
	if declared && !slices.ContainsFunc(consumes, func(m string) bool { return mediaType(m) == mediaForm || isJSON(m) }) {
		return errSkip(fmt.Sprintf("it needs a body of type %s, which arguments cannot fill", clean(strings.Join(consumes, " or "), maxTitle)))
	}
	schema := newObject().set("type", newText("object")).set("properties", newObject())
	required, styles := newList(), map[string]style{}
	for _, p := range fields {
		name := p.get("name").str()
		if p.get("type").str() == "file" {
			return errSkip(fmt.Sprintf("it needs the file %q in its body", clean(name, maxTitle)))
		}
		field, s, err := im.parameterSchema(p, "formData")
		if err != nil {
			return errSkip(fmt.Sprintf("form field %s: %s", clean(name, maxTitle), err))
		}
		schema.get("properties").set(name, field)
		styles[name] = s
		if p.get("required").isTrue() {
			required.items = append(required.items, newText(name))
		}
	}
	schema.set("required", required)
	return t.form(schema, func(name string, _ *node) style { return styles[name] })
}
