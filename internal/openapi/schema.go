package openapi

import (
	"regexp"
	"slices"
	"strings"
)

// direction tells which way a value travels: what is readOnly is not sent, what is writeOnly not received.
type direction uint8

const (
	request direction = iota
	response
)

// schema turns the Schema Object at p into one plain JSON Schema without references: every $ref in its place,
// allOf merged, the words of OpenAPI 3.0 and Swagger 2 (nullable, boolean exclusiveMinimum, …) in those of JSON
// Schema. Where that would become too large, it is cut level by level from the bottom; what is cut
// still says its type. A missing schema is nil, an error says which reference leads nowhere.
func (im *importer) schema(p place, way direction) (*node, error) {
	if p.missing() {
		return nil, nil
	}
	target, err := im.sources.follow(p)
	if err != nil {
		return nil, err
	}
	// Large schemas are shared by many operations: begin where the last one got through.
	known := sized{target.node, way}
	levels, ok := im.levels[known]
	if !ok {
		levels = maxLevels
	}
	for ; ; levels-- {
		w := schemaWriter{im: im, way: way, levels: levels, left: im.detail.nodes[way]}
		n := w.write(p, 0)
		if w.err != nil {
			return nil, w.err
		}
		im.levels[known] = levels
		if w.left >= 0 {
			im.made += im.detail.nodes[way] - w.left
			return n, nil
		}
		if levels == 0 {
			return w.stub(p, ""), nil
		}
	}
}

// sized names a schema whose size is known for one direction.
type sized struct {
	node *node
	way  direction
}

func (p place) missing() bool { return p.node == nil || p.kind == null }

// schemaWriter makes one schema.
type schemaWriter struct {
	im     *importer
	way    direction
	levels int // how deep properties and items may nest
	left   int // how many nodes may still be made; below zero: too large
	open   []*node
	err    error
}

func (w *schemaWriter) write(p place, level int) *node {
	if w.left--; w.left < 0 || w.err != nil {
		return newObject()
	}
	if p.is(boolean) { // JSON Schema's true and false
		return newBool(p.isTrue())
	}
	if !p.is(object) { // a slip of indentation, usually: what it constrains is not known
		return newObject()
	}
	if slices.Contains(w.open, p.node) {
		return w.stub(p, "nested further in the same way")
	}
	if level > w.levels {
		return w.stub(p, "")
	}
	w.open = append(w.open, p.node)
	defer func() { w.open = w.open[:len(w.open)-1] }()

	out := newObject()
	var merged []place
	if ref := p.ref(); ref != "" {
		target, err := w.im.sources.target(p, ref)
		if err != nil {
			w.fail(err)
			return out
		}
		merged = append(merged, target)
	}
	for i, key := range p.keys {
		if w.im.work--; w.im.work < 0 {
			w.fail(errTooMuch)
			return out
		}
		if key != "allOf" {
			w.keyword(out, key, place{p.items[i], p.doc}, p, level)
		}
	}
	merged = append(merged, p.at("allOf").each()...)
	// One alternative is no alternative; generators write them to add a description to a reference.
	for _, key := range []string{"oneOf", "anyOf"} {
		if one := p.at(key).each(); len(one) == 1 {
			merged = append(merged, one[0])
		}
	}
	for _, branch := range merged {
		w.merge(out, w.write(branch, level))
	}
	w.finish(out, p)
	return out
}

func (w *schemaWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// keyword writes one keyword of the schema at p. What has no meaning to who fills in the value is left out:
// titles, examples, XML, discriminators, extensions.
func (w *schemaWriter) keyword(out *node, key string, value, p place, level int) {
	switch key {
	case "type":
		if t := schemaType(value.node); t != nil {
			out.set("type", t)
		}
		if f := typeFormats[value.str()]; f != "" && p.get("format") == nil {
			out.set("format", newText(f))
		}
	case "description":
		if s := w.im.sources.prose(value.node); s != "" {
			out.set(key, newText(s))
		}
	case "format":
		// The width of a number, or how a form would show a field, says nothing to a model.
		if f := value.str(); f != "" && !slices.Contains([]string{"int32", "int64", "float", "double", "password"}, f) {
			out.set(key, newText(f))
		}
	case "properties", "patternProperties", "dependentSchemas":
		w.schemas(out, key, value, level)
	case "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
		"unevaluatedProperties", "unevaluatedItems", "additionalItems":
		switch {
		case value.is(list): // tuples before 2020-12
			w.list(out, "prefixItems", value, level)
		case value.is(object) || value.is(boolean):
			if key != "additionalProperties" || !value.isTrue() { // true is what nothing means
				out.set(key, w.write(value, level+1))
			}
		}
	case "oneOf", "anyOf":
		w.choice(out, value, p.at("discriminator"), level)
	case "prefixItems":
		w.list(out, key, value, level)
	case "required":
		if names := w.required(value, p); len(names) > 0 {
			out.set(key, newList(names...))
		}
	case "enum":
		if value.is(list) && len(value.items) > 0 {
			out.set(key, w.copy(value.node))
		}
	case "const", "default":
		out.set(key, w.copy(value.node))
	case "minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum":
		if v := asNumber(value.node); v != nil && (key != "multipleOf" || !strings.HasPrefix(v.text, "-") && strings.ContainsAny(v.text, "123456789")) {
			out.set(key, v)
		}
	case "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties":
		if v := asNumber(value.node); v != nil && wholeNumber.MatchString(v.text) {
			out.set(key, v)
		}
	case "pattern":
		// Patterns are ECMA 262; those that RE2 cannot run could not be checked here.
		if _, err := regexp.Compile(value.str()); err == nil && value.str() != "" && len(value.str()) < 1000 {
			out.set(key, newText(value.str()))
		}
	case "uniqueItems", "deprecated":
		if value.isTrue() {
			out.set(key, newBool(true))
		}
	case "contentEncoding", "contentMediaType":
		if value.is(text) {
			out.set(key, newText(value.str()))
		}
	}
}

var wholeNumber = regexp.MustCompile(`^[0-9]{1,18}$`)

func (w *schemaWriter) schemas(out *node, key string, value place, level int) {
	value, err := w.im.sources.follow(value) // no schema may stand here, but some describe properties once for several
	if err != nil {
		w.fail(err)
		return
	}
	if !value.is(object) {
		return
	}
	made := newObject()
	for i, name := range value.keys {
		p := place{value.items[i], value.doc}
		if w.im.work--; w.im.work < 0 {
			w.fail(errTooMuch)
			return
		}
		if key == "properties" && w.hidden(p) {
			continue
		}
		if key == "patternProperties" {
			if _, err := regexp.Compile(name); err != nil {
				continue
			}
		}
		made.set(name, w.write(p, level+1))
		if w.left < 0 {
			return
		}
	}
	if len(made.keys) > 0 {
		out.set(key, made)
	}
}

func (w *schemaWriter) list(out *node, key string, value place, level int) {
	made := newList()
	for _, p := range value.each() {
		made.items = append(made.items, w.write(p, level+1))
	}
	if len(made.items) > 0 {
		out.set(key, made)
	}
}

// choice writes oneOf and anyOf, both as anyOf: alternatives that overlap, such as an integer and a number, a date and
// text, or objects that only a discriminator tells apart, are refused by oneOf whatever is given.
func (w *schemaWriter) choice(out *node, value, discriminator place, level int) {
	branches := value.each()
	if len(branches) < 2 {
		return
	}
	made := newList()
	for _, p := range branches {
		branch := w.write(p, level+1)
		w.discriminate(branch, p, discriminator)
		made.items = append(made.items, branch)
	}
	if out.get("anyOf") != nil {
		w.beside(out, "anyOf", made)
		return
	}
	out.set("anyOf", made)
}

// discriminate says in a branch which value of the discriminating property goes with it. What a mapping says holds; names
// of schemas, which stand for values where there is none, are only told: backends are not that exact about them.
func (w *schemaWriter) discriminate(branch *node, p, discriminator place) {
	name, ref := discriminator.get("propertyName").str(), p.ref()
	if name == "" || ref == "" || !branch.is(object) || branch.get("type") != nil && !isObject(branch) {
		return
	}
	schemaName := ref[strings.LastIndexAny(ref, "/#")+1:]
	var values []*node
	for value, target := range discriminator.at("mapping").fields() {
		if w.left--; w.left < 0 {
			return
		}
		if t := target.str(); t == ref || t == schemaName {
			values = append(values, newText(value))
		}
	}
	properties := branch.get("properties")
	if properties == nil {
		properties = newObject()
		branch.set("properties", properties)
	}
	property := properties.get(name)
	if !property.is(object) {
		property = newObject().set("type", newText("string"))
		properties.set(name, property)
	}
	w.left -= 4
	if property.get("enum") != nil || property.get("const") != nil {
		return // it says so itself
	}
	if len(values) > 0 {
		property.set("enum", newList(values...))
	} else {
		sentence(property, newText(schemaName).quoted()+" in this form")
	}
	required := branch.get("required")
	if required == nil {
		required = newList()
		branch.set("required", required)
	}
	if !slices.ContainsFunc(required.items, func(n *node) bool { return n.str() == name }) {
		required.items = append(required.items, newText(name))
	}
}

// hidden tells whether a property does not travel this way.
func (w *schemaWriter) hidden(p place) bool {
	target, err := w.im.sources.follow(p)
	if err != nil {
		return false // said when the property is written
	}
	mark := "readOnly"
	if w.way == response {
		mark = "writeOnly"
	}
	return p.get(mark).isTrue() || target.get(mark).isTrue()
}

// required gives the names that are required and travel this way. Swagger 1 habits ("required: true" on a
// property) are left out.
func (w *schemaWriter) required(value, p place) (names []*node) {
	seen := map[string]bool{}
	for _, n := range value.each() {
		if w.left--; w.left < 0 {
			break
		}
		name := n.str()
		property := p.at("properties").at(name)
		if name == "" || seen[name] || property.node != nil && w.hidden(property) {
			continue
		}
		seen[name] = true
		names = append(names, newText(name))
	}
	return names
}

// copy gives a value of its own to the schema.
func (w *schemaWriter) copy(n *node) *node {
	if w.left--; w.left < 0 {
		return newObject()
	}
	c := &node{kind: n.kind, text: n.text, keys: slices.Clone(n.keys)}
	for _, item := range n.items {
		c.items = append(c.items, w.copy(item))
	}
	return c
}

// stub stands for a schema that is cut.
func (w *schemaWriter) stub(p place, note string) *node {
	out := newObject()
	target, err := w.im.sources.follow(p)
	if err != nil || !target.is(object) {
		return out
	}
	if t := w.stubType(target, 0); t != nil {
		if t.kind == text && target.get("nullable").isTrue() {
			t = newList(t, newText("null"))
		}
		out.set("type", t)
	}
	description := clean(target.get("description").str(), maxStubDescription)
	if description == "" {
		description = note
	} else if note != "" {
		description += " (" + note + ")"
	}
	if description != "" {
		out.set("description", newText(description))
	}
	return out
}

// stubType looks for a type where a stub has one, also in the parts that an allOf is made of.
func (w *schemaWriter) stubType(p place, depth int) *node {
	if t := schemaType(p.get("type")); t != nil {
		return t
	}
	if p.get("properties") != nil {
		return newText("object")
	}
	all := p.at("allOf").each()
	for _, part := range all[:min(len(all), 5)] {
		if part, err := w.im.sources.follow(part); err == nil && depth < 3 {
			if t := w.stubType(part, depth+1); t != nil {
				return t
			}
		}
	}
	return nil
}
