package convert

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// entry writes what tools/list shows of the tool. It depends on the document alone, so that every replica and every
// restart shows the same bytes.
func (c *toolCompiler) entry() {
	d := c.def
	out := jsontext.AppendString([]byte(`{"name":`), d.Name)
	if d.Title != "" {
		out = jsontext.AppendString(append(out, `,"title":`...), d.Title)
	}
	if d.Description != "" {
		out = jsontext.AppendString(append(out, `,"description":`...), d.Description)
	}
	out = append(out, `,"inputSchema":`...)
	from := len(out)
	out = append(out, objectSchema(d.InputSchema)...)
	to := len(out)
	out = c.member(out, "outputSchema", c.outputSchema())
	if len(d.Icons) > 0 {
		out = append(append(out, `,"icons":`...), d.Icons...)
	}
	out = c.member(out, "annotations", d.Annotations)
	out = c.member(out, "_meta", d.Meta)
	out = slices.Clone(append(out, '}')) // growing has left room
	c.tool.Entry, c.tool.input.raw = out, out[from:to:to]
}

// member appends an object member; blank and null ones are left out.
func (c *toolCompiler) member(out []byte, name string, raw json.RawMessage) []byte {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return out
	}
	if v, err := parseValue(raw, true); err != nil {
		c.reject(name, 0, "%v", err)
		return out
	} else if _, ok := v.(map[string]any); !ok {
		c.reject(name, 0, "must be an object")
		return out
	}
	return appendCompact(append(out, `,"`+name+`":`...), raw)
}

// objectSchema is the schema with the type that every client insists on.
func objectSchema(raw json.RawMessage) []byte {
	out := appendCompact(nil, raw)
	var top map[string]json.RawMessage
	if json.Unmarshal(out, &top) != nil || top["type"] != nil {
		return out
	}
	if len(top) == 0 {
		return []byte(`{"type":"object"}`)
	}
	return slices.Concat([]byte(`{"type":"object",`), out[1:])
}

// outputSchema gives the output schema to show. MCP knows structured content as an object only; a list of tools that
// holds another schema is refused whole by clients, so such a one is left out.
func (c *toolCompiler) outputSchema() json.RawMessage {
	raw := bytes.TrimSpace(c.def.OutputSchema)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	s, _, err := compileSchemaWithin(raw, c.spent)
	if err != nil {
		c.reject("outputSchema", 0, "%v", err)
		return nil
	}
	var types []string
	if s.root.Types != nil {
		types = s.root.Types.ToStrings()
	}
	if len(types) != 1 || types[0] != "object" {
		c.warn("outputSchema", 0, "is not of the type object (%s), so it is not shown and results are text only", strings.Join(types, " or "))
		return nil
	}
	c.tool.response.structured = true
	return raw
}
