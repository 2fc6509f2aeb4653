package openapi

import (
	"slices"
	"strconv"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
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

	again map[string][]*node // values of keys that came twice, but for the last ones, which count
	index map[string]int     // of keys, made when there are many
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

// replace gives the key at i its value anew, as JSON decoders do: the last one counts.
func (n *node) replace(i int, value *node) {
	if n.again == nil {
		n.again = map[string][]*node{}
	}
	n.again[n.keys[i]] = append(n.again[n.keys[i]], n.items[i])
	n.items[i] = value
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

// quoted is the value as JSON, for people to read.
func (n *node) quoted() string { return string(n.appendJSON(nil)) }

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
		return jsontext.AppendString(dst, n.text)
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
			dst = append(jsontext.AppendString(dst, n.keys[i]), ':')
		}
		dst = item.appendJSON(dst)
	}
	return append(dst, shut)
}
