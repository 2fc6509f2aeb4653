package template

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Limits of what ParseJSON reads. The tape of a document takes eight bytes a node, so maxNodes bounds it at 32 MiB.
const (
	maxJSONDepth = 512
	maxNodes     = 4 << 20
)

// document is JSON text with the tape of its values: one node each, in text order, and one more where a container
// closes. Scalars and keys say where they end; a container's end is the index of its closing node, whose end is the
// number of elements or members.
type document struct {
	raw   string
	nodes []node
}

type node struct{ off, end uint32 }

// hasEscape is set in the end of a string node that holds a backslash.
const hasEscape = 1 << 31

// ParseJSON reads one JSON value (RFC 8259), nothing after it but white space. The value refers to raw, which must not
// change while the value is in use. Errors say the position in bytes; depth is limited to 512, values to 4 Mi.
func ParseJSON(raw []byte) (Value, error) {
	return parseJSON(textOf(raw))
}

// textOf is b as a string without a copy: b must not change any more.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func parseJSON(raw string) (Value, error) { return new(document).read(raw) }

// Document is memory that one JSON text after another can be read into.
type Document struct{ d document }

// Parse is ParseJSON in d: the values of the text before must not be used any more.
func (d *Document) Parse(raw []byte) (Value, error) { return d.d.read(textOf(raw)) }

// Reset forgets the text, and the memory of a large one.
func (d *Document) Reset() {
	if d.d.raw = ""; cap(d.d.nodes) > 1<<12 {
		d.d.nodes = nil
	}
}

func (d *document) read(raw string) (Value, error) {
	if len(raw) >= math.MaxInt32 {
		return Value{}, errors.New("read JSON: text over 2 GiB")
	}
	i, need := skipSpace(raw, 0), 1
	if i == len(raw) || raw[i] == '{' || raw[i] == '[' {
		need = min(len(raw)/6+8, 1<<16) // more than most need; append does the rest
	}
	if d.raw, d.nodes = raw, d.nodes[:0]; cap(d.nodes) < need {
		d.nodes = make([]node, 0, need)
	}
	if err := d.parse(i); err != nil {
		return Value{}, err
	}
	return d.value(0, 0), nil
}

var errShort = errors.New("read JSON: text ends too early")

func bad(raw string, i int) error {
	if i >= len(raw) {
		return errShort
	}
	return fmt.Errorf("read JSON: unexpected %q at byte %d", raw[i], i)
}

func skipSpace(s string, i int) int {
	for i < len(s) {
		switch s[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// parse fills the tape. It is one loop with a stack of open containers, since recursion on hostile depth is what the
// limit is for and a loop is faster; its length is that of the grammar.
func (d *document) parse(i int) error {
	raw := d.raw
	var room [32]uint32
	open := room[:0]
	for {
		// A value is due at i.
		if i >= len(raw) {
			return errShort
		}
		if len(d.nodes) >= maxNodes {
			return fmt.Errorf("read JSON: more than %d values", maxNodes)
		}
		switch c := raw[i]; c {
		case '{', '[':
			if len(open) == maxJSONDepth {
				return fmt.Errorf("read JSON: nested deeper than %d", maxJSONDepth)
			}
			open = append(open, uint32(len(d.nodes)))
			d.nodes = append(d.nodes, node{off: uint32(i)})
			i = skipSpace(raw, i+1)
			if i < len(raw) && raw[i] == c+2 { // '}' is '{'+2 and ']' is '['+2
				open, i = d.closeTop(open, i, 0), i+1
				break
			}
			if c == '{' {
				var err error
				if i, err = d.key(i); err != nil {
					return err
				}
			}
			continue
		case '"':
			end, err := d.str(i)
			if err != nil {
				return err
			}
			i = end
		default:
			end, ok := scalarEnd(raw, i)
			if !ok {
				return bad(raw, i)
			}
			d.nodes = append(d.nodes, node{uint32(i), uint32(end)})
			i = end
		}
		// A value ended at i: what follows it closes containers or leads to the next value.
		for {
			i = skipSpace(raw, i)
			if len(open) == 0 {
				if i < len(raw) {
					return bad(raw, i)
				}
				return nil
			}
			if i >= len(raw) {
				return errShort
			}
			top := open[len(open)-1]
			c := raw[d.nodes[top].off]
			if raw[i] == c+2 {
				open, i = d.closeTop(open, i, 1), i+1
				continue
			}
			if raw[i] != ',' {
				return bad(raw, i)
			}
			d.nodes[top].end++ // counts commas until it closes
			i = skipSpace(raw, i+1)
			if c == '{' {
				var err error
				if i, err = d.key(i); err != nil {
					return err
				}
			}
			break
		}
	}
}

// closeTop writes the closing node of the innermost container; last is 1 when an element stands before the bracket.
func (d *document) closeTop(open []uint32, i int, last uint32) []uint32 {
	top := open[len(open)-1]
	count := d.nodes[top].end + last
	d.nodes[top].end = uint32(len(d.nodes))
	d.nodes = append(d.nodes, node{uint32(i), count})
	return open[:len(open)-1]
}

// key reads a member's name and colon and gives the position of the value.
func (d *document) key(i int) (int, error) {
	if i >= len(d.raw) || d.raw[i] != '"' {
		return i, bad(d.raw, i)
	}
	i, err := d.str(i)
	if err != nil {
		return i, err
	}
	i = skipSpace(d.raw, i)
	if i >= len(d.raw) || d.raw[i] != ':' {
		return i, bad(d.raw, i)
	}
	return skipSpace(d.raw, i+1), nil
}

// str reads the string literal at i and gives the position after it.
func (d *document) str(i int) (int, error) {
	raw := d.raw
	start, mark := i, uint32(0)
	for i++; ; {
		for i < len(raw) && ordinary[raw[i]] {
			i++
		}
		if i >= len(raw) {
			return i, errShort
		}
		switch raw[i] {
		case '"':
			d.nodes = append(d.nodes, node{uint32(start), uint32(i+1) | mark})
			return i + 1, nil
		case '\\':
			mark = hasEscape
			end, err := escapeEnd(raw, i+1)
			if err != nil {
				return end, err
			}
			i = end
		default:
			return i, bad(raw, i)
		}
	}
}

// ordinary are the bytes that a string literal may hold as they are.
var ordinary = func() (t [256]bool) {
	for c := ' '; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// escapeEnd gives the end of the escape sequence whose backslash stands before i.
func escapeEnd(raw string, i int) (int, error) {
	if i >= len(raw) {
		return i, errShort
	}
	switch raw[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1, nil
	case 'u':
		if len(raw)-i < 5 {
			return i, errShort
		}
		if _, ok := hex4(raw[i+1:]); ok {
			return i + 5, nil
		}
	}
	return i, bad(raw, i)
}

// scalarEnd gives the end of the number, true, false or null at i.
func scalarEnd(s string, i int) (int, bool) {
	switch s[i] {
	case 't':
		return word(s, i, "true")
	case 'f':
		return word(s, i, "false")
	case 'n':
		return word(s, i, "null")
	}
	return numberEnd(s, i)
}

func word(s string, i int, w string) (int, bool) {
	if len(s)-i >= len(w) && s[i:i+len(w)] == w {
		return i + len(w), true
	}
	return i, false
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// numberEnd gives the end of the JSON number at i.
func numberEnd(s string, i int) (int, bool) {
	if i < len(s) && s[i] == '-' {
		i++
	}
	n := digits(s, i)
	if n == i || (s[i] == '0' && n > i+1) {
		return i, false
	}
	i = n
	if i < len(s) && s[i] == '.' {
		if n = digits(s, i+1); n == i+1 {
			return i, false
		}
		i = n
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if n = digits(s, i); n == i {
			return i, false
		}
		i = n
	}
	return i, true
}

// isNumber tells whether s is one JSON number.
func isNumber(s string) bool {
	end, ok := numberEnd(s, 0)
	return ok && end == len(s)
}

func hex4(s string) (rune, bool) {
	var r rune
	for i := range 4 {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func unescape(s string) string { return string(appendUnescaped(make([]byte, 0, len(s)), s)) }

// appendUnescaped decodes the inside of a valid string literal. A lone surrogate becomes U+FFFD.
func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch s[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(s)-i > 6 && s[i+1] == '\\' && s[i+2] == 'u' {
					low, _ := hex4(s[i+3:])
					if pair = utf16.DecodeRune(r, low); pair != utf8.RuneError {
						i += 6
					}
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, s[i])
		}
	}
	return dst
}
