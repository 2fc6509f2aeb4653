package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// kind is the JSON type of a node.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

var kindNames = [...]string{"null", "a boolean", "a number", "text", "a list", "an object"}

func (k kind) String() string { return kindNames[k] }

// node is a JSON value that keeps the order of keys and the spelling of numbers, as a map of Go values
// would not. Nodes of a description are shared (YAML aliases) and never changed; those of a schema being
// made belong to whoever makes it.
type node struct {
	kind  kind
	text  string   // the string, the number as it is spelt, "true" or "false"
	keys  []string // of an object, in order, each once
	items []*node  // elements, or values of keys

	index map[string]int // of keys, made when there are many
}

// manyKeys is where a map begins to pay.
const manyKeys = 16

func newText(s string) *node   { return &node{kind: text, text: s} }
func newBool(b bool) *node     { return &node{kind: boolean, text: strconv.FormatBool(b)} }
func newObject() *node         { return &node{kind: object} }
func newList(n ...*node) *node { return &node{kind: list, items: n} }

// get gives the value of a key; nil if n is no object or has none.
func (n *node) get(key string) *node {
	if n == nil || n.kind != object {
		return nil
	}
	if i := n.find(key); i >= 0 {
		return n.items[i]
	}
	return nil
}

func (n *node) find(key string) int {
	if len(n.keys) < manyKeys {
		return slices.Index(n.keys, key)
	}
	if n.index == nil {
		n.index = make(map[string]int, len(n.keys))
		for i, k := range n.keys {
			n.index[k] = i
		}
	}
	if i, ok := n.index[key]; ok {
		return i
	}
	return -1
}

// set gives a key a value, at its old place if it has one.
func (n *node) set(key string, value *node) *node {
	if i := n.find(key); i >= 0 {
		n.items[i] = value
		return n
	}
	if n.index != nil {
		n.index[key] = len(n.keys)
	}
	n.keys = append(n.keys, key)
	n.items = append(n.items, value)
	return n
}

func (n *node) drop(key string) {
	if i := n.find(key); i >= 0 {
		n.keys = slices.Delete(n.keys, i, i+1)
		n.items = slices.Delete(n.items, i, i+1)
		n.index = nil
	}
}

// str gives the string, or "" if n is something else.
func (n *node) str() string {
	if n == nil || n.kind != text {
		return ""
	}
	return n.text
}

// scalar gives what stands there as text: versions and status codes are often written without quotes.
func (n *node) scalar() string {
	if n == nil || n.kind == list || n.kind == object || n.kind == null {
		return ""
	}
	return n.text
}

func (n *node) isTrue() bool { return n != nil && n.kind == boolean && n.text == "true" }

func (n *node) is(k kind) bool { return n != nil && n.kind == k }

// equal compares values; the order of keys counts, which at worst makes a schema a little longer.
func equal(a, b *node) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	if a.kind != b.kind || a.text != b.text || len(a.items) != len(b.items) {
		return false
	}
	for i := range a.items {
		if a.kind == object && a.keys[i] != b.keys[i] || !equal(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}

// appendJSON appends n as compact JSON.
func (n *node) appendJSON(dst []byte) []byte {
	switch n.kind {
	case null:
		return append(dst, "null"...)
	case boolean, number:
		return append(dst, n.text...)
	case text:
		return appendString(dst, n.text)
	}
	open, shut := byte('['), byte(']')
	if n.kind == object {
		open, shut = '{', '}'
	}
	dst = append(dst, open)
	for i, item := range n.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if n.kind == object {
			dst = append(appendString(dst, n.keys[i]), ':')
		}
		dst = item.appendJSON(dst)
	}
	return append(dst, shut)
}

func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

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
			if i, twice := at[name]; twice { // as JSON decoders do: the last one counts
				n.items[i] = value
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
			n.items[j] = value
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
