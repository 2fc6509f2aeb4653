package registry

import (
	"encoding/json"
	"fmt"
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
				where[f.name] = s
				if !contains(positions, s) {
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

// typeAliases are what people write for JSON Schema's words.
var typeAliases = map[string]string{"int": "integer", "long": "integer", "float": "number", "double": "number", "bool": "boolean", "list": "array", "map": "object", "dict": "object", "text": "string"}

// readArg reads one argument and makes its schema.
func readArg(r *reader, n *yaml.Node, path string) (*Arg, []byte) {
	o := r.object(n, path, "name", "description", "type", "required", "default", "enum", "items", "properties", "position", "multiSegment", "explode")
	if o == nil {
		return nil, nil
	}
	a := &Arg{Name: o.str("name"), Description: o.text("description"), Type: o.text("type"), Required: o.boolean("required", false),
		MultiSegment: o.boolean("multiSegment", false), Explode: o.boolean("explode", false), Line: n.Line}
	if !o.require("name") || a.Name == "" {
		return nil, nil
	}
	if a.Type == "" {
		a.Type = "string"
	}
	if !contains(schemaTypes, a.Type) {
		hint := spelling.DidYouMean(a.Type, schemaTypes)
		if better, ok := typeAliases[strings.ToLower(a.Type)]; ok {
			hint = fmt.Sprintf(" (did you mean %q?)", better)
		}
		o.reject("type", "must be a JSON Schema type, not %q%s", shown(a.Type), hint)
	}
	if n := o.at["position"]; !isNull(n) {
		if a.Position = o.text("position"); a.Position != "" && !contains(positions, a.Position) {
			o.reject("position", "%s", positionFault(a.Position))
		}
	}
	schema := jsontext.AppendString([]byte(`{"type":`), a.Type)
	if a.Description != "" {
		schema = jsontext.AppendString(append(schema, `,"description":`...), a.Description)
	}
	for _, name := range []string{"enum", "default", "items", "properties"} {
		value := o.at[name]
		if value == nil || isNull(value) && name != "default" {
			continue
		}
		want := map[string]yaml.Kind{"enum": yaml.SequenceNode, "items": yaml.MappingNode, "properties": yaml.MappingNode}[name]
		if want != 0 && value.Kind != want {
			o.reject(name, "must be %s, not %s", kindOf(&yaml.Node{Kind: want}), kindOf(value))
			continue
		}
		raw := r.json(value, join(path, name))
		if name == "default" {
			if isNull(value) { // "default:" with nothing says nothing
				continue
			}
			a.Default = raw
		}
		schema = append(append(schema, `,"`+name+`":`...), raw...)
	}
	return a, append(schema, '}')
}
