package template

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// maxGJSONPath bounds a GJSON path, and with it how deep its parts may stand within each other.
const maxGJSONPath = 4096

// Modifiers of GJSON paths. The list is closed: those that are left out repeat indentation, keys or nested values, so
// that what they make is larger than what they get by more than a factor.
var (
	modifiers = []string{"this", "reverse", "keys", "values", "flatten", "join", "ugly", "valid", "tostr", "fromstr"}
	barred    = []string{"pretty", "group", "dig"}
)

// barredModifier is the error for one of the modifiers that are left out. It quotes nothing of the path.
func barredModifier(name string) error {
	return errors.New("the modifier @" + name + " is not available: use one of @" + strings.Join(modifiers, ", @"))
}

var errLongPath = errors.New("a path over 4096 bytes")

// checkPath reports what is wrong with a path that is known before it runs.
func checkPath(path string) error {
	if len(path) > maxGJSONPath {
		return errLongPath
	}
	for i := 0; i < len(path); i++ {
		if path[i] != '@' || i > 0 && strings.IndexByte(".|[{(,:", path[i-1]) < 0 {
			continue
		}
		if name, _ := modifierName(path[i:]); slices.Contains(barred, name) {
			return barredModifier(name)
		}
	}
	return nil
}

// modifierName returns the name of the modifier that path, which begins with "@", may call, and where the name ends.
func modifierName(path string) (name string, end int) {
	end = strings.IndexAny(path, ".|:,)]}")
	if end < 0 {
		end = len(path)
	}
	return path[1:end], end
}

// callsModifier reports whether path begins with a modifier. Other names that begin with "@" are keys, as in what is
// made of XML attributes.
func callsModifier(path string) bool {
	if path == "" || path[0] != '@' {
		return false
	}
	name, _ := modifierName(path)
	return slices.Contains(modifiers, name) || slices.Contains(barred, name)
}

// component is the first part of a path, read as one into an object or into an array, and what follows it.
type component struct {
	name  string
	wild  bool   // of an object: name is a pattern
	count bool   // of an array: "#" alone
	each  bool   // of an array: "#." before rest
	query *query // of an array: "#(…)"

	rest  string // after "."
	more  bool   // there is a rest, to be looked up within what name leads to
	pipe  string // after "|", or after "." where a modifier or a list of paths follows
	piped bool
}

// follow notes what comes after the separator at i. Where mapped, a "." leads into each element, whatever follows it.
func (c *component) follow(path string, i int, mapped bool) {
	rest := path[i+1:]
	if path[i] == '|' || !mapped && rest != "" && (rest[0] == '[' || rest[0] == '{' || callsModifier(rest)) {
		c.pipe, c.piped = rest, true
		return
	}
	c.rest, c.more = rest, true
}

// memberComponent reads the first part of a path into an object.
func memberComponent(path string) (c component) {
	var name []byte
	start := 0
	i := 0
loop:
	for ; i < len(path); i++ {
		switch path[i] {
		case '.', '|':
			break loop
		case '*', '?':
			c.wild = true
		case '\\':
			i++ // the next byte, whatever it is
		}
	}
	i = min(i, len(path))
	c.name = path[start:i]
	if i < len(path) {
		c.follow(path, i, false)
	}
	if !c.wild && strings.IndexByte(c.name, '\\') >= 0 {
		for j := 0; j < len(c.name); j++ {
			if c.name[j] == '\\' {
				if j++; j == len(c.name) {
					break
				}
			}
			name = append(name, c.name[j])
		}
		c.name = string(name)
	}
	return c
}

// elementComponent reads the first part of a path into an array.
func elementComponent(path string) (c component) {
	i := 0
	if strings.HasPrefix(path, "#(") || strings.HasPrefix(path, "#[") {
		q, end, ok := readQuery(path)
		if !ok {
			c.name = path
			return c
		}
		if i = end; i < len(path) && path[i] == '#' {
			q.all = true
			i++
		}
		c.query = q
	}
	from := i
	hash := c.query != nil
	for ; i < len(path) && path[i] != '.' && path[i] != '|'; i++ {
		hash = hash || path[i] == '#'
	}
	c.name = path[:i]
	if c.query != nil && i > from {
		c.query, c.name = nil, path // something stands between the query and the next part
		return c
	}
	if i < len(path) {
		c.follow(path, i, hash)
	}
	if c.name == "#" {
		c.count, c.each = !c.more, c.more
	}
	return c
}

// query is the condition of "#(path op value)".
type query struct {
	path  string
	op    string // empty: the path must lead somewhere
	value string
	n     float64 // value as a number, 0 where it is none
	all   bool    // "#(…)#": all elements that match, else the first
}

var queryOps = []string{"!=", "!%", "<=", ">=", "==", "<", ">", "=", "%"}

// readQuery reads the query that path begins with and returns where it ends.
func readQuery(path string) (q *query, end int, ok bool) {
	q = &query{}
	depth, op := 1, 0
	i := 2
scan:
	for ; i < len(path); i++ {
		switch c := path[i]; {
		case depth == 1 && op == 0 && strings.IndexByte("!=<>%", c) >= 0:
			op = i
		case c == '\\':
			i++
		case c == '[' || c == '(':
			depth++
		case c == ']' || c == ')':
			if depth--; depth == 0 {
				break scan
			}
		case c == '"':
			i = literalEnd(path, i) - 1
		}
	}
	if i >= len(path) {
		return nil, 0, false
	}
	if op == 0 {
		q.path = trimBlanks(path[2:i])
		return q, i + 1, true
	}
	q.path, q.value = trimBlanks(path[2:op]), trimBlanks(path[op:i])
	for _, known := range queryOps {
		if strings.HasPrefix(q.value, known) {
			q.op, q.value = known, trimBlanks(q.value[len(known):])
			break
		}
	}
	if q.op == "==" {
		q.op = "="
	}
	if q.op == "" {
		return nil, 0, false
	}
	if n := len(q.value); n >= 2 && q.value[0] == '"' && q.value[n-1] == '"' {
		q.value = unquoted(q.value)
	}
	q.n, _ = strconv.ParseFloat(q.value, 64)
	return q, i + 1, true
}

// unquoted takes the quotes and escapes off a literal of a path; one that is no JSON string is taken as it stands.
func unquoted(s string) string {
	if v, err := parseJSON(s); err == nil && v.kind == KindString {
		return v.Text()
	}
	return s[1 : len(s)-1]
}

func trimBlanks(s string) string { return strings.Trim(s, blanks) }

const blanks = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

// literalEnd returns the position after the string literal at i, or the end of s where it is not closed.
func literalEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// balancedEnd returns the position after the bracketed text or string literal that s begins with.
func balancedEnd(s string) int {
	if s[0] == '"' {
		return literalEnd(s, 0)
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			i = literalEnd(s, i) - 1
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			if depth--; depth <= 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// readModifier splits a path that calls a modifier into its name, its argument and the rest, which keeps its separator.
func readModifier(path string) (name, arg, rest string) {
	name, end := modifierName(path)
	if end == len(path) || path[end] != ':' {
		return name, "", path[end:]
	}
	rest = path[end+1:]
	if rest != "" && strings.IndexByte(`{["`, rest[0]) >= 0 {
		n := balancedEnd(rest)
		return name, rest[:n], rest[n:]
	}
	i := 0
	for i < len(rest) && rest[i] != '|' {
		if strings.IndexByte(`{["(`, rest[i]) >= 0 {
			i += balancedEnd(rest[i:])
		} else {
			i++
		}
	}
	i = min(i, len(rest))
	return name, rest[:i], rest[i:]
}

// readStatic splits a path that begins with "!" into the JSON it stands for and the rest. ok is false where it is none.
func readStatic(path string) (json, rest string, ok bool) {
	text := path[1:]
	if text == "" {
		return "", "", false
	}
	var n int
	switch c := text[0]; {
	case c == '{' || c == '[' || c == '"':
		n = balancedEnd(text)
	case c == '-' || c >= '0' && c <= '9':
		if n, ok = numberEnd(text, 0); !ok {
			return "", "", false
		}
	default:
		if n = strings.IndexAny(text, ".|"); n < 0 {
			n = len(text)
		}
		switch strings.ToLower(text[:n]) {
		case "true", "false", "null":
			return strings.ToLower(text[:n]), text[n:], true
		}
		return "", "", false
	}
	return text[:n], text[n:], true
}

// subPath is one of the paths of "[a,b]" or "{"name":a,b}".
type subPath struct{ name, path string }

// readSubPaths splits the list of paths that path begins with, and what follows it. ok is false where it is not closed,
// or goes on without a separator: then it is a key.
func readSubPaths(path string) (subs []subPath, rest string, ok bool) {
	depth, colon, start := 1, 0, 1
	modifier := false
	push := func(end int) {
		var s subPath
		if colon == 0 {
			s.path = path[start:end]
		} else {
			s.name, s.path = path[start:colon], path[colon+1:end]
		}
		subs = append(subs, s)
		colon, modifier, start = 0, false, end+1
	}
	for i := 1; i < len(path); i++ {
		switch path[i] {
		case '\\':
			i++
		case '@':
			modifier = modifier || path[i-1] == '.' || path[i-1] == '|'
		case ':':
			if !modifier && colon == 0 && depth == 1 {
				colon = i
			}
		case ',':
			if depth == 1 {
				push(i)
			}
		case '"':
			i = literalEnd(path, i) - 1
		case '[', '(', '{':
			depth++
		case ']', ')', '}':
			if depth--; depth == 0 {
				push(i)
				rest = path[i+1:]
				return subs, rest, rest == "" || rest[0] == '|' || rest[0] == '.'
			}
		}
	}
	return nil, "", false
}

// key is the name that the path's value gets in an object.
func (s *subPath) key() string {
	if s.name != "" {
		if s.name[0] == '"' {
			if v, err := parseJSON(s.name); err == nil && v.kind == KindString {
				return v.Text()
			}
		}
		return s.name
	}
	last := s.path
	for i := len(last) - 1; i >= 0; i-- {
		if (last[i] == '|' || last[i] == '.') && (i == 0 || last[i-1] != '\\') {
			last = last[i+1:]
			break
		}
	}
	for i := 0; i < len(last); i++ {
		if last[i] < ' ' || strings.IndexByte("[]{}()#|!", last[i]) >= 0 {
			return "_"
		}
	}
	return last
}

// splitPipe splits a path that is applied to each element from what is then applied to all of them, after the first "|"
// that stands in no query.
func splitPipe(path string) (each, all string, piped bool) {
	if strings.IndexByte(path, '|') < 0 {
		return path, "", false
	}
	if path[0] == '{' {
		if n := balancedEnd(path); n < len(path) && path[n] == '|' {
			return path[:n], path[n+1:], true
		}
		return path, "", false
	}
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '\\':
			i++
		case '|':
			return path[:i], path[i+1:], true
		case '.':
			if strings.HasPrefix(path[i:], ".#(") || strings.HasPrefix(path[i:], ".#[") {
				i += 1 + queryEnd(path[i+2:])
			}
		}
	}
	return path, "", false
}

// queryEnd returns the position after the bracket that closes the one s begins with; only brackets of its kind count.
func queryEnd(s string) int {
	opening, closing := s[0], byte(')')
	if opening == '[' {
		closing = ']'
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			i = literalEnd(s, i) - 1
		case opening:
			depth++
		case closing:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
