package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document. Whatever lies beyond them is rejected before it is looked at.
const (
	// MaxDocument bounds a document of ours, in bytes.
	MaxDocument = 1 << 20
	// MaxStored bounds a document of the Nacos MCP registry, in bytes; its console takes larger ones than we do.
	MaxStored = 4 << 20

	maxNodes = 200_000 // values of a document once its aliases are expanded
	maxDepth = 100

	maxListed = 100 // rejections that are listed of one document
)

// reader walks one document of ours and collects what is wrong with it.
type reader struct {
	group  string
	dataID string
	tool   string // set while inside tools[i]: faults then reject that tool alone
	found  []Rejection

	faults  int  // rejections so far, listed or not, warnings left out
	refused bool // one of them rejects the whole document
}

func (r *reader) add(n *yaml.Node, field, message string, warning bool) {
	if !warning {
		r.faults++
		r.refused = r.refused || r.tool == ""
	}
	switch {
	case len(r.found) > maxListed:
		return
	case len(r.found) == maxListed:
		field, message, warning = "", "there are more faults: mend these first", true
	}
	rejection := Rejection{Group: r.group, DataID: r.dataID, Tool: r.tool, Field: field, Message: message, Warning: warning}
	if n != nil {
		rejection.Line, rejection.Column = n.Line, n.Column
	}
	r.found = append(r.found, rejection)
}

func (r *reader) reject(n *yaml.Node, field, format string, args ...any) {
	r.add(n, field, fmt.Sprintf(format, args...), false)
}

func (r *reader) warn(n *yaml.Node, field, format string, args ...any) {
	r.add(n, field, fmt.Sprintf(format, args...), true)
}

// sorted gives what was found in the order of the document.
func (r *reader) sorted() []Rejection {
	listed := r.found[:min(len(r.found), maxListed)]
	slices.SortStableFunc(listed, func(a, b Rejection) int { return a.Line - b.Line })
	return r.found
}

// open starts the reading of a document: its name from the data id, and its root.
// ok is false when there is nothing to go on with; found then says why.
func open(group, dataID string, content []byte) (r *reader, name string, root *yaml.Node, ok bool) {
	r = &reader{group: group, dataID: dataID}
	name, ok = NameOf(dataID)
	if !ok {
		r.reject(nil, "", "data id is not <name>.yaml, .yml or .json with a name of letters, digits, '.', '_' and '-', at most 128")
		return r, "", nil, false
	}
	if looksLikeKey(name) {
		r.reject(nil, "", "data id looks like an API key: name the document otherwise, and revoke the key if it is one")
		return r, "", nil, false
	}
	root = r.parse(content)
	return r, name, root, root != nil
}

// parse turns the bytes into a tree of bounded size; nil if they are rejected.
func (r *reader) parse(content []byte) *yaml.Node {
	if len(content) > MaxDocument {
		r.reject(nil, "", "document is too large: %d bytes, at most %d are taken", len(content), MaxDocument)
		return nil
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if at := invalidUTF8(content); at >= 0 {
		line, column := position(content, at)
		r.reject(&yaml.Node{Line: line, Column: column}, "", "document is not UTF-8 text")
		return nil
	}
	root := r.tree(content)
	if root == nil {
		return nil
	}
	sizes := sizer{known: map[*yaml.Node]measure{}}
	if _, err := sizes.of(root, 0); err != nil {
		r.reject(err.node, "", "%s", err.message)
		return nil
	}
	return root
}

// tree parses JSON as JSON, which differs from YAML in escapes and long keys, and the rest as YAML.
func (r *reader) tree(content []byte) *yaml.Node {
	isJSON := strings.HasSuffix(r.dataID, ".json")
	if trimmed := bytes.TrimLeft(content, " \t\r\n"); len(trimmed) == 0 {
		r.reject(nil, "", "document is empty")
		return nil
	} else if isJSON || trimmed[0] == '{' {
		root, err := parseJSON(content)
		if err == nil {
			return root
		}
		if isJSON {
			r.reject(&yaml.Node{Line: err.line, Column: err.column}, "", "malformed JSON: %s", err.message)
			return nil
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	root, err := decodeYAML(decoder)
	if errors.Is(err, io.EOF) {
		r.reject(nil, "", "document is empty")
		return nil
	}
	if err != nil {
		r.syntax(content, err)
		return nil
	}
	if len(root.Content) == 0 || root.Content[0].Kind == yaml.ScalarNode && root.Content[0].ShortTag() == "!!null" {
		r.reject(nil, "", "document is empty")
		return nil
	}
	second, err := decodeYAML(decoder)
	switch {
	case errors.Is(err, io.EOF):
		return root.Content[0]
	case err != nil:
		r.syntax(content, err)
	default:
		r.reject(second, "", "second YAML document after '---': keep one document per data id")
	}
	return nil
}

// decodeYAML reads the next YAML document. The parser raises its errors as panics and means to catch them;
// one that got away must cost a document, not the process.
func decodeYAML(decoder *yaml.Decoder) (root *yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			root, err = nil, errors.New("yaml: not understood")
		}
	}()
	root = new(yaml.Node)
	return root, decoder.Decode(root)
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntax rejects the document for what the YAML parser said. Its messages hold nothing of the document but
// names of anchors, and what stands after an unquoted '*' may be a secret.
func (r *reader) syntax(content []byte, err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	at := &yaml.Node{Line: 1} // errors on the first line come without a number
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
		if strings.HasPrefix(message, "did not find expected") {
			at.Line++ // the parser counts its own errors from 0, unlike those of its scanner
		}
	}
	if name, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		at.Line, at.Column = position(content, max(bytes.Index(content, []byte("*"+name)), 0))
		message = "unknown anchor: a value that begins with '*' needs quotes"
	}
	r.reject(at, "", "malformed YAML: %s", message)
}

func invalidUTF8(content []byte) int {
	if utf8.Valid(content) {
		return -1
	}
	for i := 0; i < len(content); {
		c, size := utf8.DecodeRune(content[i:])
		if c == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// position gives the line and column, from 1, of the byte at offset.
func position(content []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(content))
	before := content[:offset]
	return 1 + bytes.Count(before, []byte{'\n'}), offset - bytes.LastIndexByte(before, '\n')
}

// sizer measures a tree with its aliases expanded, without expanding them.
type sizer struct {
	known map[*yaml.Node]measure
}

// measure is what a value takes: how many values it holds, itself included, and how many levels lie below it.
type measure struct{ size, height int }

// underway is the size of a value that is being measured.
const underway = -1

type sizeError struct {
	node    *yaml.Node
	message string
}

func tooDeep(n *yaml.Node) *sizeError {
	return &sizeError{n, fmt.Sprintf("values are nested deeper than %d levels", maxDepth)}
}

func (s *sizer) of(n *yaml.Node, depth int) (measure, *sizeError) {
	if depth > maxDepth {
		return measure{}, tooDeep(n)
	}
	if n.Kind == yaml.AliasNode {
		m, err := s.of(n.Alias, depth+1)
		m.height++
		return m, err
	}
	if m, ok := s.known[n]; ok {
		switch {
		case m.size == underway:
			return measure{}, &sizeError{n, "anchor contains itself"}
		case depth+m.height > maxDepth: // it was measured where it lay less deep
			return measure{}, tooDeep(n)
		}
		return m, nil
	}
	if len(n.Content) > 0 {
		s.known[n] = measure{size: underway}
	}
	m := measure{size: 1}
	for _, child := range n.Content {
		below, err := s.of(child, depth+1)
		if err != nil {
			return measure{}, err
		}
		m.height = max(m.height, below.height+1)
		if m.size += below.size; m.size > maxNodes {
			return measure{}, &sizeError{n, fmt.Sprintf("document holds more than %d values, aliases expanded", maxNodes)}
		}
	}
	if len(n.Content) > 0 {
		s.known[n] = m
	}
	return m, nil
}
