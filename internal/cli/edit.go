package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is a YAML or JSON document that is edited in place, so that what people wrote (comments, order, blank
// lines, quotes) stays as it is where the edit does not touch it.
type document struct {
	text string
	json bool
	node yaml.Node
}

// openDocument parses text, which holds one mapping.
func openDocument(dataID, text string) (*document, error) {
	d := &document{text: text, json: strings.HasSuffix(dataID, ".json")}
	dec := yaml.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&d.node); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if d.node.Kind == 0 || d.node.Content[0].Kind == yaml.ScalarNode && d.node.Content[0].Tag == "!!null" {
		return nil, errors.New("it is empty")
	}
	if d.node.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no mapping of fields to values")
	}
	if line := sharedAt(&d.node); line > 0 {
		return nil, fmt.Errorf("line %d: an anchor is used there, so that an edit in one place would change another: write it out", line)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds several documents, separated by ---")
	}
	return d, nil
}

// sharedAt is the line of the first alias, 0 if there is none.
func sharedAt(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		return n.Line
	}
	for _, c := range n.Content {
		if line := sharedAt(c); line > 0 {
			return line
		}
	}
	return 0
}

// root is the document's mapping.
func (d *document) root() *yaml.Node { return d.node.Content[0] }

// String gives the document with its edits.
func (d *document) String() (string, error) {
	if d.json {
		var b bytes.Buffer
		if err := writeJSON(&b, d.root()); err != nil {
			return "", err
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b.Bytes(), "", "  "); err != nil {
			return "", err
		}
		return pretty.String() + "\n", nil
	}
	edited, err := encode(&d.node)
	if err != nil {
		return "", err
	}
	var untouched yaml.Node
	if err := yaml.Unmarshal([]byte(d.text), &untouched); err != nil {
		return "", err
	}
	base, err := encode(&untouched)
	if err != nil {
		return "", err
	}
	if edited == base {
		return d.text, nil
	}
	if carried, ok := carry(d.text, base, edited); ok {
		return carried, nil
	}
	return edited, nil
}

func encode(n *yaml.Node) (string, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return "", err
	}
	return b.String(), enc.Close()
}

// carry brings the edit from base to edited, both as the encoder writes them, over to the text that people wrote, which
// differs from base in blank lines, indentation and the space before comments. It answers false where that cannot be
// done, or does not give the same values.
func carry(text, base, edited string) (string, bool) {
	lines := lines(text)
	at := make([]int, 0, len(lines)) // line of text by line of base
	for i, line := range lines {
		if squeeze(line) != "" {
			at = append(at, i)
		}
	}
	var baseLines []string
	for _, line := range strings.Split(strings.TrimSuffix(base, "\n"), "\n") {
		if squeeze(line) != "" {
			baseLines = append(baseLines, line)
		}
	}
	var editedLines []string
	for _, line := range strings.Split(strings.TrimSuffix(edited, "\n"), "\n") {
		if squeeze(line) != "" {
			editedLines = append(editedLines, line)
		}
	}
	if len(at) != len(baseLines) {
		return "", false
	}
	for i, line := range baseLines {
		if squeeze(line) != squeeze(lines[at[i]]) {
			return "", false
		}
	}
	// depth is how deep people indent what the encoder indents by n, told from the nearest line before or after.
	depth := func(n, near int) int {
		for i := near - 1; i >= 0; i-- {
			if indent(baseLines[i]) == n {
				return indent(lines[at[i]])
			}
		}
		for i := near; i < len(baseLines); i++ {
			if indent(baseLines[i]) == n {
				return indent(lines[at[i]])
			}
		}
		return n
	}
	var out []string
	next, done := 0, 0 // in base, in lines
	for _, c := range compare(baseLines, editedLines) {
		switch c.kind {
		case ' ':
			out = append(out, lines[done:at[next]+1]...)
			done, next = at[next]+1, next+1
		case '-':
			out = append(out, lines[done:at[next]]...) // blank lines before it
			done, next = at[next]+1, next+1
		case '+':
			out = append(out, strings.Repeat(" ", depth(indent(c.text), next))+strings.TrimLeft(c.text, " "))
		}
	}
	out = append(out, lines[done:]...)
	result := strings.Join(out, "\n") + "\n"
	if strings.Contains(text, "\r\n") {
		result = strings.ReplaceAll(result, "\n", "\r\n")
	}
	var have, want yaml.Node
	if yaml.Unmarshal([]byte(result), &have) != nil || yaml.Unmarshal([]byte(edited), &want) != nil || !sameValues(&have, &want) {
		return "", false
	}
	return result, true
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// squeeze leaves of a line what the encoder keeps: neither space nor quotes. That carry takes two lines for the same
// which are not shows in the values, which it compares at the end.
func squeeze(line string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\"'", r) {
			return -1
		}
		return r
	}, line)
}

func sameValues(a, b *yaml.Node) bool {
	// The encoder quotes times in flow style, which makes strings of them; whoever reads documents takes both.
	tag := func(n *yaml.Node) string { return strings.Replace(n.ShortTag(), "!!timestamp", "!!str", 1) }
	if a.Kind != b.Kind || tag(a) != tag(b) || a.Value != b.Value || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !sameValues(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// writeJSON writes a tree that was read from JSON, and edited, with its order kept.
func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeString(b, n.Content[i].Value); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, e := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!bool", "!!int", "!!float":
			if json.Valid([]byte(n.Value)) {
				b.WriteString(n.Value)
				return nil
			}
		case "!!null":
			b.WriteString("null")
			return nil
		}
		return writeString(b, n.Value)
	default:
		return fmt.Errorf("line %d: aliases cannot be written as JSON", n.Line)
	}
	return nil
}

func writeString(b *bytes.Buffer, s string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(s)
}

// What follows works on nodes.

func scalar(value string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(value)
	return n
}

// literal is a scalar that stands as it is: a boolean or a time.
func literal(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// mapping makes {key: value, …}; in one line if flow.
func mapping(flow bool, pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if flow {
		n.Style = yaml.FlowStyle
	}
	for i := 0; i < len(pairs); i += 2 {
		n.Content = append(n.Content, scalar(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return n
}

// field gives the value of a field, following an alias; nil if there is none.
func field(n *yaml.Node, name string) *yaml.Node {
	for i := 0; n != nil && i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == name {
			if v := n.Content[i+1]; v.Kind == yaml.AliasNode {
				return v.Alias
			}
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node, name string) string {
	if v := field(n, name); v != nil {
		return v.Value
	}
	return ""
}

// setField replaces or appends a field, keeping the comments at it.
func setField(n *yaml.Node, name string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			old := n.Content[i+1]
			value.LineComment = old.LineComment
			if old.Kind == value.Kind {
				value.HeadComment, value.FootComment = old.HeadComment, old.FootComment
			}
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, scalar(name), value)
}

// dropField removes a field.
func dropField(n *yaml.Node, name string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content = append(n.Content[:i], n.Content[i+2:]...)
			return
		}
	}
}

// child gives the sequence or mapping in a field, making it where it is absent or null.
func child(n *yaml.Node, name string, kind yaml.Kind) (*yaml.Node, error) {
	switch v := field(n, name); {
	case v == nil || v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null":
		made := &yaml.Node{Kind: kind}
		setField(n, name, made)
		return made, nil
	case v.Kind != kind:
		return nil, fmt.Errorf("line %d: %s has another form than expected", v.Line, name)
	default:
		if len(v.Content) == 0 {
			v.Style = 0 // what is added to "[]" is written as a list
		}
		return v, nil
	}
}
