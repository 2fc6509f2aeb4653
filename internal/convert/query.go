package convert

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
)

// What trying a URL for checkQuery may take: few optional arguments, and templates that do little.
const maxTried = 5

var trialBudget = template.Budget{Steps: 10_000, Output: 64 << 10}

// checkQuery warns of a URL whose query gets a "&" too many, as templates with conditions make easily: ?a=1& is another query
// than ?a=1 to backends that sign it, or take the empty name for a parameter. It tries the URL with all arguments, with those
// that are required, and with each of the first optional ones alone and left out.
func (c *toolCompiler) checkQuery(field string, line int) {
	if c.rejected || !strings.Contains(c.def.Request.URL, "&") {
		return
	}
	tool := *c.tool
	tool.budget = trialBudget
	var optional []int
	for i := range c.def.Args {
		if at, ok := tool.index[c.def.Args[i].Name]; ok && !c.def.Args[i].Required && !tool.args[at].initial.set {
			optional = append(optional, at)
		}
	}
	// odd reports whether the query has an empty pair when the arguments that left names are left out.
	odd := func(left func(int) bool) bool {
		given := &arguments{vals: make([]value, len(tool.args))}
		for i := range given.vals {
			if left == nil || !left(i) {
				given.vals[i] = sampleOf(tool.args[i].kind)
			}
		}
		parts := tool.url.parts
		if tool.url.template != nil {
			out, err := (&execution{tool: &tool, call: &Call{}, args: given, trial: true}).execute(tool.url.template, nil)
			if err != nil {
				return false
			}
			parts = pieces(strings.TrimSpace(string(out)))
		}
		to, err := tool.assemble(nil, nil, parts, given.vals)
		q := to.query
		return err == nil && (bytes.HasPrefix(q, []byte("&")) || bytes.HasSuffix(q, []byte("&")) || bytes.Contains(q, []byte("&&")))
	}
	isOptional := make(map[int]bool, len(optional))
	for _, i := range optional {
		isOptional[i] = true
	}
	const too = `its query gets a "&" too many`
	switch {
	case odd(nil):
		c.warn(field, line, too)
		return
	case len(optional) == 0:
		return
	case odd(func(i int) bool { return isOptional[i] }):
		c.warn(field, line, too+" where the optional arguments are left out")
		return
	}
	for _, i := range optional[:min(len(optional), maxTried)] {
		name := tool.args[i].name
		switch {
		case odd(func(j int) bool { return j == i }):
			c.warn(field, line, too+" where %q is left out", name)
			return
		case odd(func(j int) bool { return j != i && isOptional[j] }):
			c.warn(field, line, too+" where %q is the only optional argument that is given", name)
			return
		}
	}
}

// sampleOf returns some value of a type.
func sampleOf(kind string) value {
	switch kind {
	case "integer", "number":
		return newValue([]byte(`1`), json.Number("1"))
	case "boolean":
		return newValue([]byte(`true`), true)
	case "array":
		return newValue([]byte(`["x"]`), []any{"x"})
	case "object":
		return newValue([]byte(`{"x":"x"}`), map[string]any{"x": "x"})
	}
	return newValue([]byte(`"x"`), "x")
}
