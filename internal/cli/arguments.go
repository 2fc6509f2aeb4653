package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// arguments makes a call's arguments of --args and name=value, typed by the tool's input schema. Numbers keep their digits.
func (p *program) arguments(inputSchema any, in calling) (json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	if in.args != "" {
		if err := json.Unmarshal([]byte(in.args), &values); err != nil || values == nil {
			return nil, fail(exitUsage, "--args must be a JSON object such as '{\"petId\": 7}'")
		}
	}
	schema, _ := inputSchema.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	texts := map[string][]string{}
	for _, v := range in.values {
		name, value, _ := strings.Cut(v, "=")
		texts[name] = append(texts[name], value)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		property, known := properties[name]
		if !known && len(properties) > 0 {
			hint := spelling.DidYouMean(name, slices.Collect(maps.Keys(properties)))
			p.note("warning: %s of %s has no argument %q%s; it has: %s", in.tool, in.service, name, hint, strings.Join(slices.Sorted(maps.Keys(properties)), ", "))
		}
		value, err := typedAll(texts[name], property)
		if err != nil {
			return nil, fail(exitUsage, "argument %s %w", name, err)
		}
		values[name] = value
	}
	return json.Marshal(values)
}

// typedAll gives the JSON of an argument that was given once, or several times for a list.
func typedAll(texts []string, schema any) (json.RawMessage, error) {
	types := typesOf(schema)
	if len(texts) == 1 && (!slices.Contains(types, "array") || strings.HasPrefix(strings.TrimSpace(texts[0]), "[")) {
		return typed(texts[0], schema)
	}
	if len(types) > 0 && !slices.Contains(types, "array") {
		return nil, fmt.Errorf("is no list, and is given %d times", len(texts))
	}
	object, _ := schema.(map[string]any)
	list := []json.RawMessage{}
	for _, t := range texts {
		item, err := typed(t, object["items"])
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return json.Marshal(list)
}

// typed gives the JSON of a text as the schema wants it: of several types the first that fits, text last. Without a type
// it is JSON if it can be read as such, else text.
func typed(text string, schema any) (json.RawMessage, error) {
	types := typesOf(schema)
	if len(types) == 0 {
		if json.Valid([]byte(text)) {
			return json.RawMessage(text), nil
		}
		return json.Marshal(text)
	}
	for _, want := range types {
		if json.Valid([]byte(text)) && fits(strings.TrimSpace(text), want) {
			return json.RawMessage(text), nil
		}
	}
	if slices.Contains(types, "string") {
		return json.Marshal(text)
	}
	return nil, fmt.Errorf("must be %s, is %q", strings.Join(types, " or "), text)
}

// fits tells whether valid JSON is of a type. Whether a number is whole is left to the proxy.
func fits(text, want string) bool {
	switch want {
	case "integer", "number":
		return text[0] == '-' || text[0] >= '0' && text[0] <= '9'
	case "boolean":
		return text == "true" || text == "false"
	case "null":
		return text == "null"
	case "array":
		return text[0] == '['
	case "object":
		return text[0] == '{'
	}
	return false
}

// typesOf are the types that a schema names; those of its alternatives where it has some; text where it lists texts only.
func typesOf(schema any) []string {
	object, _ := schema.(map[string]any)
	switch t := object["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var types []string
		for _, one := range t {
			if s, ok := one.(string); ok {
				types = append(types, s)
			}
		}
		return types
	}
	var types []string
	for _, word := range []string{"anyOf", "oneOf"} {
		choices, _ := object[word].([]any)
		for _, c := range choices {
			of := typesOf(c)
			if len(of) == 0 {
				return nil
			}
			types = append(types, of...)
		}
	}
	if choices, _ := object["enum"].([]any); len(types) == 0 && len(choices) > 0 {
		for _, c := range choices {
			if _, ok := c.(string); !ok {
				return nil
			}
		}
		return []string{"string"}
	}
	return types
}
