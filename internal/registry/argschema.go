package registry

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// typeAliases are what people write for JSON Schema's types, in lower case.
var typeAliases = map[string]string{
	"int": "integer", "long": "integer", "short": "integer", "int32": "integer", "int64": "integer",
	"float": "number", "double": "number", "decimal": "number",
	"bool": "boolean", "list": "array", "map": "object", "dict": "object",
	"text": "string", "str": "string", "file": "string", "": "string",
}

// schemaType returns the type of an argument or of a part of one as JSON Schema has it. What it takes for another word is
// warned of: Higress shows clients whatever is there.
func (r *reader) schemaType(n *yaml.Node, path string) *yaml.Node {
	switch {
	case n.Kind == yaml.SequenceNode:
		list := *n
		list.Content = make([]*yaml.Node, len(n.Content))
		for i, one := range n.Content {
			list.Content[i] = r.schemaType(resolve(one), path)
		}
		return &list
	case n.Kind == yaml.ScalarNode && isNull(n) && n.Value == "null": // as in [string, null]
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "null", Line: n.Line, Column: n.Column}
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || contains(schemaTypes, n.Value):
		return n
	}
	lower := strings.ToLower(n.Value)
	better, ok := typeAliases[lower]
	if !ok && contains(schemaTypes, lower) {
		better, ok = lower, true
	}
	if !ok {
		return n
	}
	r.warn(n, path, "%q is no type of JSON Schema: taken for %q", shown(n.Value), better)
	named := *n
	named.Value = better
	return &named
}

// keyword returns the value of a keyword of an argument's schema with the slips of the schemas in it mended, and the names
// of the properties that say of themselves that they are required.
func (r *reader) keyword(name string, value *yaml.Node, path string) (_ *yaml.Node, required []string) {
	switch name {
	case "items", "additionalProperties", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema", "not", "if", "then", "else":
		value, _ = r.partSchema(value, path)
		return value, nil
	case "allOf", "anyOf", "oneOf", "prefixItems":
		if value.Kind != yaml.SequenceNode {
			return value, nil
		}
		list := *value
		list.Content = make([]*yaml.Node, len(value.Content))
		for i, one := range value.Content {
			list.Content[i], _ = r.partSchema(resolve(one), indexed(path, i))
		}
		return &list, nil
	case "properties", "patternProperties", "dependentSchemas":
		if value.Kind != yaml.MappingNode {
			return value, nil
		}
		out := *value
		out.Content = nil
		for _, f := range r.fields(value, path) {
			part, must := r.partSchema(f.value, join(path, shown(f.name)))
			if out.Content = append(out.Content, f.key, part); must && name == "properties" {
				required = append(required, f.name)
			}
		}
		return &out, required
	}
	return value, nil
}

// partSchema returns a schema within an argument's with its slips mended, and whether it says "required: true" of itself,
// which JSON Schema has in the list of the schema above.
func (r *reader) partSchema(n *yaml.Node, path string) (_ *yaml.Node, required bool) {
	if n.Kind != yaml.MappingNode {
		return n, false
	}
	out := *n
	out.Content = nil
	var names []string
	var listed *yaml.Node
	for _, f := range r.fields(n, path) {
		value, at := f.value, join(path, shown(f.name))
		switch {
		case f.name == "required" && value.Kind == yaml.ScalarNode && value.ShortTag() == "!!bool":
			required = strings.EqualFold(value.Value, "true")
			continue
		case f.name == "required" && value.Kind == yaml.SequenceNode:
			copied := *value
			listed = &copied
			value = listed
		case f.name == "type":
			value = r.schemaType(value, at)
		default:
			var more []string
			value, more = r.keyword(f.name, value, at)
			names = append(names, more...)
		}
		out.Content = append(out.Content, f.key, value)
	}
	if len(names) == 0 {
		return &out, required
	}
	text := func(s string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: n.Line, Column: n.Column}
	}
	if listed == nil {
		listed = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Column: n.Column}
		out.Content = append(out.Content, text("required"), listed)
	}
	listed.Content = slices.Clip(listed.Content)
	for _, name := range names {
		if !slices.ContainsFunc(listed.Content, func(one *yaml.Node) bool { return resolve(one).Value == name }) {
			listed.Content = append(listed.Content, text(name))
		}
	}
	return &out, required
}
