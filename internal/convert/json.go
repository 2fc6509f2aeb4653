package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits on the JSON of arguments and schemas. They keep what validates it (big rationals, recursion) cheap whatever a client sends.
const (
	maxDepth       = 64   // objects and arrays within each other
	maxNumberBytes = 1024 // digits of one number
	maxExponent    = 400  // of ten, in either direction: float64 ends at 308
)

// member is one member of a JSON object as it was written.
type member struct {
	name  string
	raw   []byte // its value's JSON text
	value any    // the same, as validation wants it: json.Number keeps the digits
}

// reader parses JSON strictly: UTF-8 only, no duplicate names, bounded depth and numbers. encoding/json accepts all of
// these, and two readers that disagree about a document are how checks are bypassed.
type reader struct {
	s       []byte
	i       int
	depth   int
	deepest int
	lenient bool  // duplicate names: the last wins (registry documents hold such)
	tool    *Tool // whose arguments' names need no memory of their own; may be nil
}

// parseObject reads one JSON object, often the arguments of t, and puts its members in order into room, which is empty. Nothing, and null,
// are the empty object.
func parseObject(room []member, raw []byte, t *Tool) (members []member, depth int, err error) {
	r := reader{s: raw, tool: t}
	members = room
	r.space()
	if r.i == len(raw) {
		return members, 0, nil
	}
	if r.s[r.i] == 'n' {
		if err := r.word("null"); err != nil {
			return members, 0, err
		}
		return members, 0, r.end()
	}
	if r.s[r.i] != '{' {
		return members, 0, errors.New("not a JSON object")
	}
	r.depth, r.deepest = 1, 1
	const few = 32
	var known map[string]bool // of the names, where they are many
	err = r.members(func(name string) error {
		if len(members) < few {
			if slices.ContainsFunc(members, func(m member) bool { return m.name == name }) {
				return fmt.Errorf("%s is given twice", inQuotes(name))
			}
		} else {
			if known == nil {
				known = make(map[string]bool, 2*few)
				for i := range members {
					known[members[i].name] = true
				}
			}
			if known[name] {
				return fmt.Errorf("%s is given twice", inQuotes(name))
			}
			known[name] = true
		}
		start := r.i
		v, err := r.value()
		if err != nil {
			return err
		}
		members = append(members, member{name: name, raw: r.s[start:r.i:r.i], value: v})
		return nil
	})
	if err != nil {
		return members, 0, err
	}
	return members, r.deepest, r.end()
}

// parseValue reads one JSON value of any kind.
func parseValue(raw []byte, lenient bool) (any, error) {
	v, _, err := parseNested(raw, lenient)
	return v, err
}

// parseNested is parseValue, and returns how many objects and arrays are within each other at most.
func parseNested(raw []byte, lenient bool) (v any, depth int, err error) {
	r := reader{s: raw, lenient: lenient}
	r.space()
	if v, err = r.value(); err != nil {
		return nil, 0, err
	}
	return v, r.deepest, r.end()
}

func (r *reader) end() error {
	r.space()
	if r.i != len(r.s) {
		return r.wrong()
	}
	return nil
}

func (r *reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

func (r *reader) wrong() error {
	if r.i >= len(r.s) {
		return errors.New("JSON ends too early")
	}
	return fmt.Errorf("invalid JSON at byte %d", r.i)
}

func (r *reader) word(w string) error {
	if len(r.s)-r.i < len(w) || string(r.s[r.i:r.i+len(w)]) != w {
		return r.wrong()
	}
	r.i += len(w)
	return nil
}

func (r *reader) value() (any, error) {
	if r.i >= len(r.s) {
		return nil, r.wrong()
	}
	switch c := r.s[r.i]; {
	case c == '"':
		return r.str()
	case c == '{':
		if err := r.enter(); err != nil {
			return nil, err
		}
		obj := map[string]any{}
		err := r.members(func(name string) error {
			if _, dup := obj[name]; dup && !r.lenient {
				return fmt.Errorf("%s is given twice", inQuotes(name))
			}
			v, err := r.value()
			obj[name] = v
			return err
		})
		r.depth--
		return obj, err
	case c == '[':
		if err := r.enter(); err != nil {
			return nil, err
		}
		list, err := r.elements()
		r.depth--
		return list, err
	case c == 't':
		return true, r.word("true")
	case c == 'f':
		return false, r.word("false")
	case c == 'n':
		return nil, r.word("null")
	default:
		return r.number()
	}
}

func (r *reader) enter() error {
	r.depth++
	r.deepest = max(r.deepest, r.depth)
	if r.depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	return nil
}

// members reads an object from its brace on; each is called where a value begins and must consume it.
func (r *reader) members(each func(name string) error) error {
	r.i++
	r.space()
	if r.i < len(r.s) && r.s[r.i] == '}' {
		r.i++
		return nil
	}
	for {
		r.space()
		if r.i >= len(r.s) || r.s[r.i] != '"' {
			return r.wrong()
		}
		name, err := r.str()
		if err != nil {
			return err
		}
		r.space()
		if r.i >= len(r.s) || r.s[r.i] != ':' {
			return r.wrong()
		}
		r.i++
		r.space()
		if err := each(name); err != nil {
			return err
		}
		r.space()
		if r.i >= len(r.s) {
			return r.wrong()
		}
		switch r.s[r.i] {
		case ',':
			r.i++
		case '}':
			r.i++
			return nil
		default:
			return r.wrong()
		}
	}
}

func (r *reader) elements() ([]any, error) {
	list := []any{}
	r.i++
	r.space()
	if r.i < len(r.s) && r.s[r.i] == ']' {
		r.i++
		return list, nil
	}
	for {
		r.space()
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		r.space()
		if r.i >= len(r.s) {
			return nil, r.wrong()
		}
		switch r.s[r.i] {
		case ',':
			r.i++
		case ']':
			r.i++
			return list, nil
		default:
			return nil, r.wrong()
		}
	}
}

func (r *reader) number() (any, error) {
	n := numberLen(r.s[r.i:])
	if n == 0 {
		return nil, r.wrong()
	}
	num := r.s[r.i : r.i+n]
	if err := checkNumber(num); err != nil {
		return nil, err
	}
	r.i += n
	return json.Number(num), nil
}

// numberLen gives how many bytes of s are a JSON number; 0 if none are.
func numberLen(s []byte) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// checkNumber refuses numbers whose exact value takes long to work out: the schema library compares them as rationals.
func checkNumber(num []byte) error {
	if len(num) > maxNumberBytes {
		return fmt.Errorf("a number is longer than %d digits", maxNumberBytes)
	}
	for i, c := range num {
		if c == 'e' || c == 'E' {
			exp, err := strconv.Atoi(string(num[i+1:]))
			if err != nil || exp > maxExponent || exp < -maxExponent {
				return fmt.Errorf("a number's exponent is beyond %d", maxExponent)
			}
		}
	}
	return nil
}

func (r *reader) str() (string, error) {
	start := r.i + 1
	for i := start; i < len(r.s); i++ {
		switch c := r.s[i]; {
		case c == '"':
			if !utf8.Valid(r.s[start:i]) {
				return "", errors.New("JSON is not valid UTF-8")
			}
			r.i = i + 1
			return r.kept(r.s[start:i]), nil
		case c == '\\':
			return r.escaped(start, i)
		case c < 0x20:
			r.i = i
			return "", r.wrong()
		}
	}
	r.i = len(r.s)
	return "", r.wrong()
}

// kept is text as a string.
func (r *reader) kept(text []byte) string {
	if r.tool != nil && len(text) <= 64 {
		if i, ok := r.tool.index[string(text)]; ok {
			return r.tool.args[i].name
		}
	}
	return string(text)
}

// escaped reads the rest of a string whose first backslash stands at i.
func (r *reader) escaped(start, i int) (string, error) {
	out := append(make([]byte, 0, 2*(i-start)+16), r.s[start:i]...)
	for i < len(r.s) {
		c := r.s[i]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", errors.New("JSON is not valid UTF-8")
			}
			r.i = i + 1
			return string(out), nil
		case c < 0x20:
			r.i = i
			return "", r.wrong()
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		i++
		if i >= len(r.s) {
			break
		}
		if r.s[i] == 'u' {
			u, n := unicodeEscape(r.s[i-1:])
			if n == 0 {
				r.i = i
				return "", r.wrong()
			}
			out = utf8.AppendRune(out, u)
			i += n - 1
			continue
		}
		u, ok := escapes[r.s[i]]
		if !ok {
			r.i = i
			return "", r.wrong()
		}
		out = append(out, u)
		i++
	}
	r.i = len(r.s)
	return "", r.wrong()
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicodeEscape reads \uXXXX, or a surrogate pair of them, and tells how many bytes it took. A lone surrogate has no
// UTF-8 and reads as U+FFFD, as encoding/json does.
func unicodeEscape(s []byte) (rune, int) {
	u, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(u) {
		if low, ok := hex4(s[6:]); ok {
			if pair := utf16.DecodeRune(u, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return u, 6
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var u rune
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			u = u<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			u = u<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			u = u<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return u, true
}
