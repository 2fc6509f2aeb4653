package registry

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
	"go.yaml.in/yaml/v3"
)

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// jsonNumberOf gives a YAML number in JSON's grammar. What is a JSON number already keeps its spelling: 1.50 stays
// 1.50 and 12345678901234567890 stays whole.
func jsonNumberOf(n *yaml.Node) (string, bool) {
	if jsonNumber.MatchString(n.Value) {
		return n.Value, true
	}
	plain := strings.ReplaceAll(n.Value, "_", "")
	if n.ShortTag() == "!!int" {
		i, ok := new(big.Int).SetString(plain, 0)
		if !ok {
			return "", false
		}
		return i.String(), true
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return "", false
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	return text, jsonNumber.MatchString(text)
}

// json gives a value of the document as compact JSON, keys in the order they are written in.
// nil if something in it is rejected.
func (r *reader) json(n *yaml.Node, path string) json.RawMessage {
	before := r.faults
	out := r.appendJSON(nil, n, path)
	if r.faults > before {
		return nil
	}
	return out
}

func (r *reader) appendJSON(dst []byte, n *yaml.Node, path string) []byte {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		dst = append(dst, '{')
		for i, f := range r.fields(n, path) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(jsontext.AppendString(dst, f.name), ':')
			dst = r.appendJSON(dst, f.value, join(path, shown(f.name)))
		}
		return append(dst, '}')
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, child := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = r.appendJSON(dst, child, path+"["+strconv.Itoa(i)+"]")
		}
		return append(dst, ']')
	}
	switch n.ShortTag() {
	case "!!null":
		return append(dst, "null"...)
	case "!!bool":
		return append(dst, strings.ToLower(n.Value)...)
	case "!!int", "!!float":
		if text, ok := jsonNumberOf(n); ok {
			return append(dst, text...)
		}
		r.reject(n, path, "must be a number that JSON can hold")
		return append(dst, "null"...)
	case "!!str", "!!timestamp":
		return jsontext.AppendString(dst, n.Value)
	}
	r.reject(n, path, "must be plain data, not %s", kindOf(n))
	return append(dst, "null"...)
}

// value gives a value of the document as encoding/json would with UseNumber.
func (r *reader) value(n *yaml.Node, path string) any {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for _, f := range r.fields(n, path) {
			m[f.name] = r.value(f.value, join(path, shown(f.name)))
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, child := range n.Content {
			list = append(list, r.value(child, path+"["+strconv.Itoa(i)+"]"))
		}
		return list
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if text, ok := jsonNumberOf(n); ok {
			return json.Number(text)
		}
		r.reject(n, path, "must be a number that JSON can hold")
		return nil
	case "!!str", "!!timestamp":
		return n.Value
	}
	r.reject(n, path, "must be plain data, not %s", kindOf(n))
	return nil
}
