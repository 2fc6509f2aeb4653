package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

type jsonError struct {
	line, column int
	message      string
}

// parseJSON makes the tree that the YAML parser would make, from JSON.
func parseJSON(content []byte) (*yaml.Node, *jsonError) {
	var whole json.RawMessage
	if err := json.Unmarshal(content, &whole); err != nil {
		e := &jsonError{message: err.Error()}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			e.line, e.column = position(content, int(syntax.Offset)-1)
		}
		return nil, e
	}
	b := jsonBuilder{content: content, decoder: json.NewDecoder(bytes.NewReader(content)), line: 1}
	b.decoder.UseNumber()
	return b.value(), nil
}

// jsonBuilder reads JSON that is known to be valid.
type jsonBuilder struct {
	content   []byte
	decoder   *json.Decoder
	at        int // offset up to which lines are counted
	line      int
	lineStart int
}

func (b *jsonBuilder) value() *yaml.Node {
	line, column := b.next()
	token, err := b.decoder.Token()
	if err != nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null", Line: line, Column: column}
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line, Column: column}
	switch t := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		if t == '[' {
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
		for b.decoder.More() {
			n.Content = append(n.Content, b.value())
		}
		_, _ = b.decoder.Token()
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!int", t.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n
}

// next gives the position of the next token.
func (b *jsonBuilder) next() (line, column int) {
	end := int(b.decoder.InputOffset())
	for end < len(b.content) && strings.IndexByte(" \t\r\n,:", b.content[end]) >= 0 {
		end++
	}
	for ; b.at < end; b.at++ {
		if b.content[b.at] == '\n' {
			b.line++
			b.lineStart = b.at + 1
		}
	}
	return b.line, b.at - b.lineStart + 1
}
