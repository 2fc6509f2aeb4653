package openapi

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mapping is a YAML mapping being written.
type mapping struct{ content []*yaml.Node }

func newMap() *mapping { return &mapping{} }

func (m *mapping) add(key string, value *yaml.Node) { m.content = append(m.content, str(key), value) }

func (m *mapping) node() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Content: m.content} }

// oldBooleans are text in YAML 1.2 and booleans in 1.1; quoted, they are text to everybody.
var oldBooleans = []string{"y", "n", "yes", "no", "on", "off"}

func str(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if slices.Contains(oldBooleans, strings.ToLower(s)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// prose is text that may have several lines.
func prose(s string) *yaml.Node {
	n := str(s)
	if strings.Contains(s, "\n") {
		n.Style = yaml.LiteralStyle
	}
	return n
}

func fromNode(v *node) *yaml.Node {
	switch v.kind {
	case null:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	case boolean:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: v.text}
	case number:
		tag := "!!int"
		if strings.ContainsAny(v.text, ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.text}
	case text:
		return prose(v.text)
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if v.kind == object {
		n.Kind = yaml.MappingNode
	}
	for i, item := range v.items {
		if v.kind == object {
			n.Content = append(n.Content, str(v.keys[i]))
		}
		n.Content = append(n.Content, fromNode(item))
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

// oneLine writes n and what is in it on one line.
func oneLine(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	} else if n.Style == yaml.LiteralStyle {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		oneLine(c)
	}
	return n
}

// compact writes on one line what is short enough for it, from the inside out.
func compact(n *yaml.Node) *yaml.Node {
	if width(n) <= flowWidth {
		return oneLine(n)
	}
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			compact(c)
		}
	}
	return n
}

// width is about how long n would be on one line; more than flowWidth if it holds several lines.
func width(n *yaml.Node) int {
	if n.Kind == yaml.ScalarNode {
		if strings.Contains(n.Value, "\n") {
			return flowWidth + 1
		}
		return len(n.Value)
	}
	total := 2
	for _, c := range n.Content {
		if total += width(c) + 2; total > flowWidth {
			break
		}
	}
	return total
}
