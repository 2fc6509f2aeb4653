package convert

import (
	"encoding/json"
	"slices"
	"strings"
)

// quickCheck accepts, without the schema library and its allocations, what most calls are: plain arguments against a
// schema of types, enums and required names. It only ever says "valid" of what the library would call valid; anything
// else it leaves to the library, whose messages are the ones that callers see.
type quickCheck struct {
	args     []quickArg // by index into the tool's arguments
	required []int
}

type quickArg struct {
	types string    // letters of the allowed types; empty: any
	enum  []string  // sorted
	items *quickArg // of a list's elements; nil: any
}

const (
	quickString  = "s"
	quickInteger = "i"
	quickNumber  = "n"
	quickBoolean = "b"
	quickArray   = "a"
	quickObject  = "o"
	quickNull    = "0"
)

// annotations are keywords that say nothing of what is valid.
var annotations = map[string]bool{"title": true, "description": true, "default": true, "examples": true, "deprecated": true, "readOnly": true, "writeOnly": true, "$comment": true,
	"format": true, "contentEncoding": true, "contentMediaType": true} // of 2020-12; $schema, which may name another draft, is left to the library

// newQuickCheck gives nil for schemas that need the library.
func newQuickCheck(raw []byte, index map[string]int) *quickCheck {
	doc, err := parseValue(raw, true)
	root, ok := doc.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	q := &quickCheck{args: make([]quickArg, len(index))}
	described := 0
	for key, v := range root {
		switch key {
		case "type":
			if v != "object" {
				return nil
			}
		case "additionalProperties": // undeclared arguments are left to the library anyway
		case "required":
			names, _ := v.([]any)
			for _, name := range names {
				i, ok := index[asText(name)]
				if !ok {
					return nil
				}
				q.required = append(q.required, i)
			}
		case "properties":
			props, _ := v.(map[string]any)
			for name, p := range props {
				i, ok := index[name]
				if !ok || !q.args[i].read(p) {
					return nil
				}
				described++
			}
		default:
			if !annotations[key] {
				return nil
			}
		}
	}
	if described != len(index) {
		return nil
	}
	return q
}

func asText(v any) string {
	s, _ := v.(string)
	return s
}

// read takes a property's schema; false if there is more to it than types and an enum of strings.
func (a *quickArg) read(v any) bool {
	p, ok := v.(map[string]any)
	if !ok {
		return false
	}
	for key, v := range p {
		switch key {
		case "type":
			switch v {
			case "string":
				a.types = quickString
			case "integer":
				a.types = quickInteger
			case "number":
				a.types = quickInteger + quickNumber
			case "boolean":
				a.types = quickBoolean
			case "array":
				a.types = quickArray
			case "object":
				a.types = quickObject
			default:
				return false
			}
		case "items":
			a.items = &quickArg{}
			if !a.items.read(v) {
				return false
			}
		case "enum":
			list, _ := v.([]any)
			for _, e := range list {
				s, ok := e.(string)
				if !ok {
					return false
				}
				a.enum = append(a.enum, s)
			}
			if len(a.enum) == 0 {
				return false
			}
			slices.Sort(a.enum)
		default:
			if !annotations[key] {
				return false
			}
		}
	}
	return true
}

// valid tells that the arguments are surely valid.
func (q *quickCheck) valid(vals []value) bool {
	for _, i := range q.required {
		if !vals[i].set {
			return false
		}
	}
	for i := range vals {
		if v := &vals[i]; v.set && !q.args[i].valid(v.any) {
			return false
		}
	}
	return true
}

func (a *quickArg) valid(v any) bool {
	if a.types != "" && !strings.Contains(a.types, quickType(v)) {
		return false
	}
	if list, ok := v.([]any); ok && a.items != nil {
		for _, e := range list {
			if !a.items.valid(e) {
				return false
			}
		}
	}
	if a.enum == nil {
		return true
	}
	s, ok := v.(string)
	if !ok {
		return false
	}
	_, found := slices.BinarySearch(a.enum, s)
	return found
}

// quickType is the letter of a value's type; numbers such as 1.0, which may be integers, are for the library to judge.
func quickType(v any) string {
	switch x := v.(type) {
	case string:
		return quickString
	case bool:
		return quickBoolean
	case []any:
		return quickArray
	case map[string]any:
		return quickObject
	case json.Number:
		if strings.ContainsAny(string(x), ".eE") {
			return quickNumber
		}
		return quickInteger
	}
	return quickNull
}
