package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest in a message. JSON parsers give up between 128 (Rust's serde) and
// 10,000 (Go): nothing passes here that a backend could fail on halfway.
const MaxDepth = 128

// lexer checks JSON (RFC 8259) over the bytes of a whole message. Its methods take the index they begin at and give the
// index behind what they read, or -1 after noting why not.
type lexer struct {
	b   []byte
	at  int    // where it failed
	why string // what was wrong there
}

func (l *lexer) fail(at int, why string) int {
	l.at, l.why = at, why
	return -1
}

func (l *lexer) err() *Error {
	if l.why == whyDepth {
		return errDepth
	}
	return syntaxError(l.at, l.why)
}

const (
	whyEnd     = "unexpected end"
	whyValue   = "a value was expected"
	whyDepth   = "nested too deep"
	whyUTF8    = "invalid UTF-8"
	whyControl = "unescaped control character in a string"
	whyEscape  = "invalid escape in a string"
	whyNumber  = "invalid number"
	whyName    = "a name in double quotes was expected"
	whyColon   = "a colon was expected"
	whyComma   = "a comma or a closing bracket was expected"
	whyTrail   = "something follows the message"
)

// space skips white space. Four bytes count as such, no others.
func (l *lexer) space(i int) int {
	for i < len(l.b) {
		switch l.b[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks (in the high bits) the bytes of w that end a plain run in a string: quotes, backslashes, controls.
// Marks behind the first one may be wrong: borrows run towards higher bytes.
func special(w uint64) uint64 {
	q := w ^ ones*'"'
	s := w ^ ones*'\\'
	return ((q-ones)&^q | (s-ones)&^s | (w-ones*' ')&^w) & highs
}

// str reads a string whose opening quote is before i. escaped tells whether there is a backslash in it.
func (l *lexer) str(i int) (end int, escaped bool) {
	b := l.b
	begin := i
	var high uint64 // collects the high bits: only strings may hold anything but ASCII
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			if m := special(w); m != 0 {
				n := bits.TrailingZeros64(m) / 8
				high |= w & (1<<(8*n) - 1)
				i += n
				break
			}
			high |= w
			i += 8
			if i-begin < 32 {
				continue // most strings end before the wider steps pay
			}
			for i+32 <= len(b) {
				w0 := binary.LittleEndian.Uint64(b[i:])
				w1 := binary.LittleEndian.Uint64(b[i+8:])
				w2 := binary.LittleEndian.Uint64(b[i+16:])
				w3 := binary.LittleEndian.Uint64(b[i+24:])
				if special(w0)|special(w1)|special(w2)|special(w3) != 0 {
					break
				}
				high |= w0 | w1 | w2 | w3
				i += 32
			}
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
			high |= uint64(b[i])
			i++
		}
		if i >= len(b) {
			return l.fail(i, whyEnd), false
		}
		switch b[i] {
		case '"':
			if high&highs != 0 && !utf8.Valid(b[begin:i]) {
				return l.fail(begin, whyUTF8), false
			}
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = l.escape(i); i < 0 {
				return -1, false
			}
		default:
			return l.fail(i, whyControl), false
		}
	}
}

// escape reads one escape whose backslash is at i.
func (l *lexer) escape(i int) int {
	if i+1 >= len(l.b) {
		return l.fail(len(l.b), whyEnd)
	}
	switch l.b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(l.b) {
			return l.fail(len(l.b), whyEnd)
		}
		if hex4(l.b[i+2:]) < 0 {
			return l.fail(i, whyEscape)
		}
		return i + 6
	}
	return l.fail(i, whyEscape)
}

// hex4 reads four hexadecimal digits; negative if they are none.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// number reads a number that begins at i with a digit or a minus.
func (l *lexer) number(i int) int {
	b := l.b
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && '1' <= b[i] && b[i] <= '9':
		i = digits(b, i)
	default:
		return l.fail(i, whyNumber)
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			return l.fail(j, whyNumber)
		}
		i = j
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := digits(b, i)
		if j == i {
			return l.fail(j, whyNumber)
		}
		i = j
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

func (l *lexer) literal(i int, text string) int {
	if len(l.b)-i < len(text) || string(l.b[i:i+len(text)]) != text {
		return l.fail(i, whyValue)
	}
	return i + len(text)
}

// value reads a whole value of any kind that begins at i, without white space before it, inside depth containers.
func (l *lexer) value(i, depth int) int {
	if i >= len(l.b) {
		return l.fail(i, whyEnd)
	}
	switch c := l.b[i]; {
	case c == '"':
		end, _ := l.str(i + 1)
		return end
	case c == '{' || c == '[':
		return l.container(i, depth)
	default:
		return l.scalar(i)
	}
}

// scalar reads a number or a literal.
func (l *lexer) scalar(i int) int {
	switch c := l.b[i]; c {
	case 't':
		return l.literal(i, "true")
	case 'f':
		return l.literal(i, "false")
	case 'n':
		return l.literal(i, "null")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return l.number(i)
		}
		return l.fail(i, whyValue)
	}
}

// container reads the array or object that begins at i, with a stack of its own: input must not choose how deep ours gets.
// It is longer than most because it is the inner loop over dense JSON.
func (l *lexer) container(i, depth int) int {
	b := l.b
	var object [MaxDepth + 1]bool // which kind the container at a depth is
	bottom := depth
	for {
		// A value begins at i.
		if i >= len(b) {
			return l.fail(i, whyEnd)
		}
		switch c := b[i]; c {
		case '"':
			if i, _ = l.str(i + 1); i < 0 {
				return -1
			}
		case '{', '[':
			if depth++; depth > MaxDepth {
				return l.fail(i, whyDepth)
			}
			object[depth] = c == '{'
			if i = l.space(i + 1); i >= len(b) {
				return l.fail(i, whyEnd)
			}
			if b[i] != c+2 { // '{'+2 is '}' and '['+2 is ']'
				if c == '[' {
					continue
				}
				if i = l.name(i); i < 0 {
					return -1
				}
				continue
			}
			i++
			if depth--; depth == bottom {
				return i
			}
		default:
			if i = l.scalar(i); i < 0 {
				return -1
			}
		}
		// A value ended before i: close what closes here, then go to the next one.
		for {
			if i < len(b) && b[i] <= ' ' {
				i = l.space(i)
			}
			if i >= len(b) {
				return l.fail(i, whyEnd)
			}
			if b[i] == ',' {
				break
			}
			if object[depth] && b[i] != '}' || !object[depth] && b[i] != ']' {
				return l.fail(i, whyComma)
			}
			i++
			if depth--; depth == bottom {
				return i
			}
		}
		i = l.space(i + 1)
		if object[depth] {
			if i = l.name(i); i < 0 {
				return -1
			}
		}
	}
}

// name reads a name, the colon and the white space around it; what follows is a value.
func (l *lexer) name(i int) int {
	if i >= len(l.b) {
		return l.fail(i, whyEnd)
	}
	if l.b[i] != '"' {
		return l.fail(i, whyName)
	}
	end, _ := l.str(i + 1)
	if end < 0 {
		return -1
	}
	return l.colon(end)
}

func (l *lexer) colon(i int) int {
	if i < len(l.b) && l.b[i] != ':' {
		i = l.space(i)
	}
	if i >= len(l.b) {
		return l.fail(i, whyEnd)
	}
	if l.b[i] != ':' {
		return l.fail(i, whyColon)
	}
	return l.space(i + 1)
}

// Valid tells whether b is one JSON value as Scan would accept it somewhere in a message, with white space around it.
func Valid(b []byte) bool {
	l := lexer{b: b}
	i := l.value(l.space(0), 0)
	return i >= 0 && l.space(i) == len(b)
}

// WithoutMark returns b without the byte order mark that may stand before it. Nobody may send one before JSON, but readers
// may ignore it (RFC 8259, 8.1), and some backends write with tools that put it there.
func WithoutMark(b []byte) []byte { return bytes.TrimPrefix(b, mark) }

var mark = []byte("\ufeff")
