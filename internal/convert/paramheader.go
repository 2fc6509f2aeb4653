package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// paramHeader is an argument that clients repeat in a header, so that what stands between can route by it (SEP-2243).
type paramHeader struct {
	path   []string // of property names, from the arguments down
	header string   // canonical
}

const (
	paramHeaderKey    = "x-mcp-header"
	paramHeaderPrefix = "Mcp-Param-"
)

// paramHeaders collects the x-mcp-header annotations of the input schema's properties, at any depth. One that clients may
// not follow is a warning: they leave the tool out of their lists.
func (c *toolCompiler) paramHeaders() {
	root, err := parseValue(c.def.InputSchema, true)
	if err != nil {
		return // reported by schemas
	}
	c.collectParamHeaders(root, nil)
}

func (c *toolCompiler) collectParamHeaders(schema any, path []string) {
	object, _ := schema.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		property, _ := properties[name].(map[string]any)
		at := append(slices.Clip(path), name)
		if annotation, ok := property[paramHeaderKey]; ok {
			c.addParamHeader(annotation, property["type"], at)
		}
		c.collectParamHeaders(property, at)
	}
}

func (c *toolCompiler) addParamHeader(annotation, kind any, path []string) {
	name, _ := annotation.(string)
	header := http.CanonicalHeaderKey(paramHeaderPrefix + name)
	switch {
	case !isToken(name):
		c.warn("inputSchema", 0, "%s of %s must be the name of a header: clients leave the tool out", paramHeaderKey, strings.Join(path, "."))
	case kind != "string" && kind != "integer" && kind != "boolean":
		c.warn("inputSchema", 0, "%s of %s needs the type string, integer or boolean: clients leave the tool out", paramHeaderKey, strings.Join(path, "."))
	case slices.ContainsFunc(c.tool.params, func(p paramHeader) bool { return p.header == header }):
		c.warn("inputSchema", 0, "%s %q is given twice: clients leave the tool out", paramHeaderKey, name)
	default:
		c.tool.params = append(c.tool.params, paramHeader{path, header})
	}
}

// ParamsDiffer tells which of the arguments that clients of the modern era repeat in Mcp-Param- headers is missing there,
// there without being an argument, or another one. decode gives the text of such a header. Arguments that are no object
// are no difference: Request reports them.
func (t *Tool) ParamsDiffer(arguments []byte, h http.Header, decode func(string) (string, error)) error {
	if len(t.params) == 0 {
		return nil
	}
	var root any = map[string]any{}
	if len(arguments) > 0 {
		var err error
		if root, err = parseValue(arguments, false); err != nil {
			return nil
		}
	}
	for _, p := range t.params {
		want, name := lookUp(root, p.path), strings.Join(p.path, ".")
		switch given := h[p.header]; {
		case len(given) > 1:
			return fmt.Errorf("the %s header is given more than once", p.header)
		case len(given) == 0 && want == nil:
		case len(given) == 0:
			return fmt.Errorf("the %s header is required with the argument %s", p.header, name)
		case want == nil:
			return fmt.Errorf("the %s header is given without the argument %s", p.header, name)
		default:
			text, err := decode(given[0])
			if err != nil {
				return fmt.Errorf("the %s header is not valid base64 of UTF-8", p.header)
			}
			if !sameText(text, want) {
				return fmt.Errorf("the %s header differs from the argument %s", p.header, name)
			}
		}
	}
	return nil
}

// lookUp gives the value at a path of property names; nil where there is none, or null.
func lookUp(v any, path []string) any {
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// sameText tells whether a header's text is a value: numbers are compared as such, 42.0 being 42 (SEP-2243).
func sameText(text string, v any) bool {
	switch v := v.(type) {
	case string:
		return text == v
	case bool:
		return text == strconv.FormatBool(v)
	case json.Number:
		if text == v.String() {
			return true
		}
		a, errA := strconv.ParseFloat(text, 64)
		b, errB := v.Float64()
		const exact = 1 << 53 // beyond, different integers are the same float
		return errA == nil && errB == nil && a == b && -exact < a && a < exact
	}
	return false
}
