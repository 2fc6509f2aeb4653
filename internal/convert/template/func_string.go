package template

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// quoted is a JSON string literal, which serves as a quoted string elsewhere too.
func quoted(s string) Value {
	b := append(jsontext.AppendEscaped(append(make([]byte, 0, len(s)+2), '"'), s), '"')
	return Value{kind: KindString, flags: asJSON, s: string(b)}
}

func defineStrings(define definer) {
	define("trim", 1, 1, made, stringFunc(0, strings.TrimSpace))
	define("upper", 1, 1, made, stringFunc(2, strings.ToUpper))
	define("lower", 1, 1, made, stringFunc(2, strings.ToLower))
	define("b64enc", 1, 1, made, stringFunc(2, func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }))
	define("toString", 1, 1, made, stringFunc(0, func(s string) string { return s }))
	define("hello", 0, 0, made, func(*exec, []Value) (Value, error) { return String("Hello!"), nil })

	define("contains", 2, 2, made, predicate(func(a, b string) bool { return strings.Contains(b, a) }))
	define("hasPrefix", 2, 2, made, predicate(func(a, b string) bool { return strings.HasPrefix(b, a) }))
	define("hasSuffix", 2, 2, made, predicate(func(a, b string) bool { return strings.HasSuffix(b, a) }))
	define("trimAll trimall", 2, 2, made, cutting(strings.Trim))
	define("trimPrefix", 2, 2, made, cutting(strings.TrimPrefix))
	define("trimSuffix", 2, 2, made, cutting(strings.TrimSuffix))

	define("quote", 0, -1, made, func(e *exec, a []Value) (Value, error) { return e.quotes(a, '"') })
	define("squote", 0, -1, made, func(e *exec, a []Value) (Value, error) { return e.quotes(a, '\'') })
	define("cat", 0, -1, made, func(e *exec, a []Value) (Value, error) {
		present := make([]Value, 0, len(a))
		for _, v := range a {
			if v.kind > KindNull {
				present = append(present, v)
			}
		}
		return e.join(" ", Array(present...))
	})
	define("repeat", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		n, err := small(a[0])
		if err != nil {
			return Value{}, err
		}
		s, err := e.text(a[1])
		if err != nil {
			return Value{}, err
		}
		if n < 0 {
			return Value{}, errors.New("a negative count")
		}
		if err := e.grow(n * len(s)); err != nil {
			return Value{}, err
		}
		return String(strings.Repeat(s, n)), nil
	})
	define("indent", 2, 2, made, func(e *exec, a []Value) (Value, error) { return e.indent("", a) })
	define("nindent", 2, 2, made, func(e *exec, a []Value) (Value, error) { return e.indent("\n", a) })
	define("replace", 3, 3, made, func(e *exec, a []Value) (Value, error) {
		s, err := e.texts(a)
		if err != nil {
			return Value{}, err
		}
		if err := e.grow(len(s[2]) + strings.Count(s[2], s[0])*len(s[1])); err != nil {
			return Value{}, err
		}
		return String(strings.ReplaceAll(s[2], s[0], s[1])), nil
	})
	define("trunc", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		n, err := small(a[0])
		if err != nil {
			return Value{}, err
		}
		s, err := e.text(a[1])
		switch {
		case n < 0 && len(s)+n > 0:
			s = part(s, len(s)+n, len(s))
		case n >= 0 && len(s) > n:
			s = part(s, 0, n)
		}
		return String(s), err
	})
	define("substr", 3, 3, made, func(e *exec, a []Value) (Value, error) {
		start, err := small(a[0])
		if err != nil {
			return Value{}, err
		}
		end, err := small(a[1])
		if err != nil {
			return Value{}, err
		}
		s, err := e.text(a[2])
		if end < 0 || end > len(s) {
			end = len(s)
		}
		return String(part(s, start, end)), err
	})
	define("plural", 3, 3, own, func(_ *exec, a []Value) (Value, error) {
		n, err := integer(a[2])
		if n == 1 {
			return a[0], err
		}
		return a[1], err
	})
	random(define, "randAlphaNum", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	random(define, "randAlpha", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	random(define, "randNumeric", "0123456789")
	random(define, "randAscii", " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~")
	define("randBytes", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		b, err := e.randomBytes(a[0])
		return String(base64.StdEncoding.EncodeToString(b)), err
	})
}

// cutting is a function whose first argument says what to take off the second.
func cutting(f func(s, cut string) string) body {
	return func(e *exec, a []Value) (Value, error) {
		s, err := e.texts(a)
		if err != nil {
			return Value{}, err
		}
		if err := e.charge(len(s[1]) / 64 * (1 + len(s[0])/64)); err != nil {
			return Value{}, err
		}
		return String(f(s[1], s[0])), nil
	}
}

// part is s[start:end] moved to where runes begin, and to what there is.
func part(s string, start, end int) string {
	end = min(max(end, 0), len(s))
	start = min(max(start, 0), end)
	for start > 0 && start < len(s) && !utf8.RuneStart(s[start]) {
		start--
	}
	for end > start && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[start:end]
}

func (e *exec) quotes(a []Value, mark byte) (Value, error) {
	var b []byte
	for _, v := range a {
		if v.kind <= KindNull {
			continue
		}
		s, err := e.text(v)
		if err != nil {
			return Value{}, err
		}
		if err := e.grow(6*len(s) + 3); err != nil {
			return Value{}, err
		}
		if mark == '"' && len(a) == 1 {
			return quoted(s), nil
		}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(b, mark)
		if mark == '"' {
			b = jsontext.AppendEscaped(b, s)
		} else {
			b = append(b, s...)
		}
		b = append(b, mark)
	}
	return String(string(b)), nil
}

func (e *exec) indent(first string, a []Value) (Value, error) {
	n, err := small(a[0])
	if err != nil {
		return Value{}, err
	}
	s, err := e.text(a[1])
	if err != nil {
		return Value{}, err
	}
	if n < 0 {
		return Value{}, errors.New("a negative count")
	}
	if err := e.grow(len(s) + (strings.Count(s, "\n")+1)*(n+1)); err != nil {
		return Value{}, err
	}
	pad := strings.Repeat(" ", n)
	return String(first + pad + strings.ReplaceAll(s, "\n", "\n"+pad)), nil
}

// maxRandom bounds what one call takes from the system's random source.
const maxRandom = 4096

func (e *exec) randomBytes(v Value) ([]byte, error) {
	n, err := small(v)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > maxRandom {
		return nil, errors.New("a count over " + strconv.Itoa(maxRandom))
	}
	if err := e.grow(16 * n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b, nil
}

func random(define definer, name, alphabet string) {
	define(name, 1, 1, made, func(e *exec, a []Value) (Value, error) {
		b, err := e.randomBytes(a[0])
		for i := range b {
			b[i] = alphabet[int(b[i])*len(alphabet)/256]
		}
		return String(string(b)), err
	})
}
