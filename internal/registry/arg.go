package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// readArgs reads args, or inputSchema with argsPosition, and completes the tool's schema.
func readArgs(o *object, t *Tool) {
	t.InputSchema = json.RawMessage(emptySchema)
	if given := o.at["inputSchema"]; !isNull(given) {
		if n := o.at["args"]; !isNull(n) && len(n.Content) > 0 {
			o.reject("inputSchema", "is given together with args: keep one")
			return
		}
		raw := o.mapping("inputSchema")
		if raw == nil {
			return
		}
		t.InputSchema = raw
		where := map[string]string{}
		o.eachField("argsPosition", func(f field, path string) {
			if s, ok := o.r.str(f.value, path); ok {
				where[f.name] = strings.ToLower(s) // as Higress has it
				if !contains(positions, where[f.name]) {
					o.r.reject(f.value, path, "%s", positionFault(s))
				}
			}
		})
		t.Args = argsOfSchema(raw, where, t.Request.URL)
		return
	}
	if o.has("argsPosition") {
		o.reject("argsPosition", "goes with inputSchema: give each argument its position instead")
	}
	var schemas [][]byte
	at := map[string]int{}
	o.each("args", func(path string, n *yaml.Node) {
		arg, schema := readArg(o.r, n, path)
		if arg == nil {
			return
		}
		if i, taken := at[arg.Name]; taken {
			// As in Higress; files with such slips are in use.
			o.r.warn(n, join(path, "name"), "another argument has the name %q already (line %d): this one counts", shown(arg.Name), t.Args[i].Line)
			t.Args[i], schemas[i] = *arg, schema
			return
		}
		at[arg.Name] = len(t.Args)
		t.Args, schemas = append(t.Args, *arg), append(schemas, schema)
	})
	t.InputSchema = schemaOfArgs(t.Args, schemas)
}

// schemaOfArgs makes the input schema of a tool from the schemas of its arguments, in their order.
func schemaOfArgs(args []Arg, schemas [][]byte) json.RawMessage {
	out := []byte(`{"type":"object","properties":{`)
	required := []byte(`,"required":[`)
	none := len(required)
	for i, a := range args {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(jsontext.AppendString(out, a.Name), ':'), schemas[i]...)
		if a.Required {
			if len(required) > none {
				required = append(required, ',')
			}
			required = jsontext.AppendString(required, a.Name)
		}
	}
	out = append(out, '}')
	if len(required) > none {
		out = append(append(out, required...), ']')
	}
	return append(out, '}')
}

func positionFault(s string) string {
	return fmt.Sprintf(`must be "path", "query", "header", "cookie" or "body", not %q%s`, shown(s), spelling.DidYouMean(s, positions))
}

// argFields are the fields of an argument that are ours. The other ones are keywords of JSON Schema.
var argFields = []string{"name", "description", "type", "required", "default", "enum", "items", "properties", "position", "multiSegment", "explode"}

// argKeywords are the keywords of JSON Schema 2020-12 that an argument may have besides, in the order in which its schema
// has them. References would lead nowhere.
var argKeywords = []string{
	"title", "format", "pattern", "minLength", "maxLength", "contentEncoding", "contentMediaType", "contentSchema",
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
	"minItems", "maxItems", "uniqueItems", "prefixItems", "contains", "minContains", "maxContains", "unevaluatedItems",
	"minProperties", "maxProperties", "additionalProperties", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas", "unevaluatedProperties",
	"const", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "examples", "deprecated", "readOnly", "writeOnly", "$comment",
}

// readArg reads one argument and makes its schema.
func readArg(r *reader, n *yaml.Node, path string) (*Arg, []byte) {
	o := r.object(n, path, slices.Concat(argFields, argKeywords)...)
	if o == nil {
		return nil, nil
	}
	a := &Arg{Name: o.str("name"), Description: o.text("description"),
		MultiSegment: o.boolean("multiSegment", false), Explode: o.boolean("explode", false), Line: n.Line}
	if required := o.at["required"]; required == nil || required.Kind != yaml.SequenceNode { // else it is about the argument's own members
		a.Required = o.boolean("required", false)
	}
	if !o.require("name") || a.Name == "" {
		return nil, nil
	}
	types := o.argType(a)
	if n := o.at["position"]; !isNull(n) {
		if a.Position = strings.ToLower(o.text("position")); a.Position != "" && !contains(positions, a.Position) {
			o.reject("position", "%s", positionFault(o.text("position")))
		}
	}
	schema := []byte{'{'}
	keyword := func(name string, raw []byte) {
		if len(schema) > 1 {
			schema = append(schema, ',')
		}
		schema = append(append(append(append(schema, '"'), name...), `":`...), raw...)
	}
	if types != nil {
		keyword("type", types)
	}
	if a.Description != "" {
		keyword("description", jsontext.AppendString(nil, a.Description))
	}
	members := o.memberNames()
	for _, name := range append([]string{"enum", "default", "items", "properties"}, argKeywords...) {
		value := o.at[name]
		if value == nil || isNull(value) && name != "const" { // "default:" with nothing says nothing
			continue
		}
		want := map[string]yaml.Kind{"enum": yaml.SequenceNode, "items": yaml.MappingNode, "properties": yaml.MappingNode}[name]
		if want != 0 && value.Kind != want {
			o.reject(name, "must be %s, not %s", kindOf(&yaml.Node{Kind: want}), kindOf(value))
			continue
		}
		at := join(path, name)
		value, more := r.keyword(name, value, at)
		members = appendNew(members, more...)
		raw := r.json(value, at)
		if name == "default" {
			a.Default = raw
		}
		keyword(name, raw)
	}
	if len(members) > 0 {
		keyword("required", appendNames(nil, members))
	}
	return a, append(schema, '}')
}

// argType reads the type of an argument, or the list of its types, and returns it as JSON; nil where none is given and
// other keywords say what the argument is.
func (o *object) argType(a *Arg) []byte {
	n := o.at["type"]
	if isNull(n) {
		if a.Type = o.impliedType(); a.Type == "" {
			return nil
		}
		return jsontext.AppendString(nil, a.Type)
	}
	a.Type = "string"
	n = o.r.schemaType(n, join(o.path, "type"))
	if n.Kind == yaml.SequenceNode {
		var names []string
		for _, one := range n.Content {
			names = append(names, one.Value)
			if !contains(schemaTypes, one.Value) && one.Value != "null" {
				o.reject("type", "must be JSON Schema types, not %q", shown(one.Value))
			}
		}
		if i := slices.IndexFunc(names, func(name string) bool { return name != "null" }); i >= 0 {
			a.Type = names[i]
		}
		return appendNames(nil, names)
	}
	if name, ok := o.r.str(n, join(o.path, "type")); ok && !contains(schemaTypes, name) {
		o.reject("type", "must be a JSON Schema type, not %q%s", shown(name), spelling.DidYouMean(name, schemaTypes))
	} else if ok {
		a.Type = name
	}
	return jsontext.AppendString(nil, a.Type)
}

// impliedType is the type of an argument that has none: string as in Higress, unless that could not be meant; "" where the
// type is not one.
func (o *object) impliedType() string {
	for _, name := range []string{"const", "allOf", "anyOf", "oneOf"} {
		if o.has(name) {
			return ""
		}
	}
	switch {
	case !isNull(o.at["properties"]):
		return "object"
	case !isNull(o.at["items"]):
		return "array"
	}
	return "string"
}

// memberNames are those that "required" lists, where it is about an object's members and not about the argument.
func (o *object) memberNames() []string {
	if required := o.at["required"]; required != nil && required.Kind == yaml.SequenceNode {
		return o.strings("required")
	}
	return nil
}

// appendNew appends the names that are not in list yet.
func appendNew(list []string, names ...string) []string {
	for _, name := range names {
		if !contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func appendNames(dst []byte, names []string) []byte {
	dst = append(dst, '[')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsontext.AppendString(dst, name)
	}
	return append(dst, ']')
}
