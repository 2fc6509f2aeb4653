package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var errTooDeep = fmt.Errorf("is nested deeper than %d levels", maxDepth)

// parse reads JSON or YAML. What begins like JSON and is none is tried as YAML, whose flow style looks alike.
func parse(src []byte) (*node, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	begin := bytes.TrimLeft(src, " \t\r\n")
	if len(begin) == 0 {
		return nil, errors.New("is empty")
	}
	if begin[0] == '{' {
		n, err := parseJSON(src)
		if err == nil || errors.Is(err, errTooDeep) {
			return n, err
		}
		if n, yamlErr := parseYAML(src); yamlErr == nil {
			return n, nil
		}
		return nil, err
	}
	return parseYAML(src)
}

func parseJSON(src []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	n, err := readJSON(dec, 0)
	if err == nil {
		if _, err = dec.Token(); err == io.EOF {
			return n, nil
		}
		err = errors.New("something follows the closing brace")
	}
	if errors.Is(err, errTooDeep) {
		return nil, err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	line := 1 + bytes.Count(src[:min(int(dec.InputOffset()), len(src))], []byte("\n"))
	return nil, fmt.Errorf("is not JSON: line %d: %w", line, err)
}

func readJSON(dec *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case nil:
		return &node{}, nil
	case bool:
		return newBool(v), nil
	case json.Number:
		return &node{kind: number, text: v.String()}, nil
	case string:
		return newText(v), nil
	}
	n := &node{kind: list}
	var at map[string]int
	if token == json.Delim('{') {
		n.kind, at = object, map[string]int{}
	}
	for dec.More() {
		if n.kind == object {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			name := key.(string) // the decoder lets nothing else stand for a key
			value, err := readJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			if i, twice := at[name]; twice {
				n.replace(i, value)
				continue
			}
			at[name] = len(n.keys)
			n.keys = append(n.keys, name)
			n.items = append(n.items, value)
			continue
		}
		value, err := readJSON(dec, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, value)
	}
	_, err = dec.Token()
	return n, err
}

func parseYAML(src []byte) (*node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, fmt.Errorf("is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil, errors.New("is empty")
	}
	c := yamlReader{done: map[*yaml.Node]*node{}, open: map[*yaml.Node]bool{}}
	return c.read(doc.Content[0], 0)
}

// yamlReader turns YAML into nodes. An anchor is read once and shared by its aliases, so that no nest of
// aliases (a "YAML bomb") becomes larger here than it is written.
type yamlReader struct {
	done map[*yaml.Node]*node
	open map[*yaml.Node]bool
}

func (c *yamlReader) read(y *yaml.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	if y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	if n, ok := c.done[y]; ok {
		return n, nil
	}
	if c.open[y] {
		return nil, fmt.Errorf("has an anchor %q that contains itself (line %d)", y.Anchor, y.Line)
	}
	if y.Kind == yaml.ScalarNode {
		return yamlScalar(y), nil
	}
	c.open[y] = true
	defer delete(c.open, y)
	n := &node{kind: list}
	if y.Kind == yaml.MappingNode {
		n.kind = object
		if err := c.mapping(n, y, depth); err != nil {
			return nil, err
		}
	} else {
		for _, item := range y.Content {
			value, err := c.read(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, value)
		}
	}
	if y.Anchor != "" {
		c.done[y] = n
	}
	return n, nil
}

func (c *yamlReader) mapping(n *node, y *yaml.Node, depth int) error {
	at := map[string]int{}
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return fmt.Errorf("has a key that is not text (line %d)", key.Line)
		}
		value, err := c.read(y.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if j, twice := at[key.Value]; twice {
			n.replace(j, value)
			continue
		}
		at[key.Value] = len(n.keys)
		n.keys = append(n.keys, key.Value)
		n.items = append(n.items, value)
	}
	for len(merged) > 0 {
		m := merged[0]
		merged = merged[1:]
		if m.kind == list { // "<<: [*a, *b]"; one level, as YAML has it
			for _, item := range m.items {
				if item.kind == object {
					merged = append(merged, item)
				}
			}
			continue
		}
		for i, key := range m.keys {
			if _, has := at[key]; !has {
				at[key] = len(n.keys)
				n.keys = append(n.keys, key)
				n.items = append(n.items, m.items[i])
			}
		}
	}
	return nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func yamlScalar(y *yaml.Node) *node {
	switch y.ShortTag() {
	case "!!null":
		return &node{}
	case "!!bool":
		return newBool(strings.EqualFold(y.Value, "true"))
	case "!!int", "!!float":
		if jsonNumber.MatchString(y.Value) {
			return &node{kind: number, text: y.Value}
		}
		plain := strings.ReplaceAll(y.Value, "_", "")
		if i, ok := new(big.Int).SetString(plain, 0); ok && len(plain) < 100 {
			return &node{kind: number, text: i.String()}
		}
		if f, err := strconv.ParseFloat(plain, 64); err == nil {
			if s := strconv.FormatFloat(f, 'g', -1, 64); jsonNumber.MatchString(s) {
				return &node{kind: number, text: s}
			}
		}
	}
	return newText(y.Value)
}
