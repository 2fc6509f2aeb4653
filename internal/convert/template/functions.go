package template

import (
	"errors"
	"fmt"
	"html"
	"net/url"
	"strings"
	texttemplate "text/template"
	"unicode/utf8"
)

// functions are all that a template may call; functionNames the same, sorted, for suggestions.
var (
	functions     = makeFunctions()
	functionNames = append(keysOf(functions), "and", "or")
)

// body is a function's code.
type body = func(e *exec, args []Value) (Value, error)

// definer adds functions under names separated by spaces, with the least and most arguments they take.
type definer func(names string, least, most int, own bool, call body)

// Kinds of result: own ones carry their own marks, since the function chooses among its arguments or takes them apart;
// made ones are new and take over their arguments' marks.
const (
	made = false
	own  = true
)

func makeFunctions() map[string]*function {
	all := map[string]*function{}
	define := func(names string, least, most int, own bool, call body) {
		for name := range strings.FieldsSeq(names) {
			all[name] = &function{name: name, min: least, max: most, own: own, call: call}
		}
	}
	defineBuiltins(define)
	defineChoices(define)
	defineNumbers(define)
	defineStrings(define)
	defineLists(define)
	defineObjects(define)
	defineJSON(define)
	defineDates(define)
	defineRegexes(define)
	defineSprig(define, all)
	for _, name := range []string{"join", "print", "println", "printf", "toString"} {
		all[name].plain = true
	}
	for name, f := range all {
		f.cost = costs[name]
	}
	return all
}

// stringFunc is a function of one text that makes one no longer than growth times it.
func stringFunc(growth int, f func(string) string) body {
	return func(e *exec, a []Value) (Value, error) {
		s, err := e.text(a[0])
		if err != nil {
			return Value{}, err
		}
		if err := e.grow(growth * len(s)); err != nil {
			return Value{}, err
		}
		return String(f(s)), nil
	}
}

// texts gives all arguments as texts.
func (e *exec) texts(a []Value) ([]string, error) {
	out := make([]string, len(a))
	for i, v := range a {
		s, err := e.text(v)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// predicate is a question about two texts.
func predicate(f func(a, b string) bool) body {
	return func(e *exec, a []Value) (Value, error) {
		s, err := e.texts(a)
		if err != nil {
			return Value{}, err
		}
		return Bool(f(s[0], s[1])), nil
	}
}

func defineBuiltins(define definer) {
	define("not", 1, 1, own, func(_ *exec, a []Value) (Value, error) { return Bool(!a[0].Truth()), nil })
	define("len", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		switch a[0].kind {
		case KindNumber, KindBool, KindOther:
			return Value{}, fmt.Errorf("%s has no length", a[0].kind)
		case KindString:
			s, err := e.text(a[0])
			return intValue(int64(len(s))), err
		}
		return intValue(int64(a[0].Len())), nil
	})
	define("index", 1, -1, own, index)
	define("eq", 2, -1, made, func(e *exec, a []Value) (Value, error) {
		for _, b := range a[1:] {
			same, err := e.equal(a[0], b, 0)
			if same || err != nil {
				return Bool(same), err
			}
		}
		return Bool(false), nil
	})
	define("ne", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		same, err := e.equal(a[0], a[1], 0)
		return Bool(!same), err
	})
	define("deepEqual", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		same, err := e.equal(a[0], a[1], 0)
		return Bool(same && a[0].kind == a[1].kind), err
	})
	order := func(name string, holds func(int) bool) {
		define(name, 2, 2, made, func(e *exec, a []Value) (Value, error) {
			c, ok, err := e.compare(a[0], a[1])
			return Bool(ok && holds(c)), err
		})
	}
	order("lt", func(c int) bool { return c < 0 })
	order("le", func(c int) bool { return c <= 0 })
	order("gt", func(c int) bool { return c > 0 })
	order("ge", func(c int) bool { return c >= 0 })
	define("html", 1, -1, made, joined(6, html.EscapeString))
	define("js", 1, -1, made, joined(6, texttemplate.JSEscapeString))
	define("urlquery", 1, -1, made, func(e *exec, a []Value) (Value, error) {
		v, err := joined(3, url.QueryEscape)(e, a)
		v.flags |= urlSafe
		return v, err
	})
	define("print", 0, -1, made, func(e *exec, a []Value) (Value, error) { return e.sprint(a, false) })
	define("println", 0, -1, made, func(e *exec, a []Value) (Value, error) { return e.sprint(a, true) })
	define("printf", 1, -1, made, sprintf)
	define("getRealIP", 0, 0, made, func(e *exec, _ []Value) (Value, error) { return String(e.env.ClientIP).Tainted(), nil })
	define("fail", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		s, err := e.text(a[0])
		if err == nil {
			err = errors.New(part(s, 0, maxFailure))
		}
		return Value{}, err
	})
}

// maxFailure bounds the text of {{fail}} in bytes.
const maxFailure = 1000

// joined escapes what print would give.
func joined(growth int, escape func(string) string) body {
	return func(e *exec, a []Value) (Value, error) {
		v, err := e.sprint(a, false)
		if err != nil {
			return v, err
		}
		return stringFunc(growth, escape)(e, []Value{v})
	}
}

// index goes into an array or object by each key in turn; where a key leads nowhere the result is missing.
func index(e *exec, a []Value) (Value, error) {
	v := a[0]
	for _, key := range a[1:] {
		work := 0
		switch v.kind {
		case KindArray:
			n, ok := toInt(key)
			if !ok || n < 0 || n >= int64(v.Len()) {
				return v.none(), nil
			}
			if err := e.charge(int(n) / 16); err != nil {
				return Value{}, err
			}
			v, _ = v.element(int(n))
		case KindObject:
			name, err := e.text(key)
			if err != nil {
				return Value{}, err
			}
			where := v.flags
			v, work = v.member(name)
			if where&(rootData|arguments) != 0 && key.flags&tainted == 0 {
				e.markArgument(&v, where, name)
			}
		default:
			return v.none(), nil
		}
		if err := e.charge(1 + work/16); err != nil {
			return Value{}, err
		}
	}
	return v, nil
}

// equal compares as JSON does: numbers by value, arrays and objects by content. A number equals the string that spells
// it: in Higress numbers are such strings, and people wrote {{eq .code "0"}}.
func (e *exec) equal(a, b Value, depth int) (bool, error) {
	if err := e.charge(1); err != nil {
		return false, err
	}
	if depth > maxJSONDepth {
		return false, errDeep
	}
	if a.kind > b.kind {
		a, b = b, a
	}
	switch {
	case b.kind == KindSecret:
		return false, errSecretUse
	case b.kind <= KindNull: // missing and null are the same nothing
		return true, nil
	case a.kind == KindNumber && b.kind == KindString:
		s, err := e.text(b)
		return a.s == s, err
	case a.kind != b.kind:
		return false, nil
	}
	switch a.kind {
	case KindBool:
		return a.n == b.n, nil
	case KindNumber:
		if err := e.charge((len(a.s) + len(b.s)) / 64); err != nil {
			return false, err
		}
		return compareNumbers(a.s, b.s) == 0, nil
	case KindString:
		s, err := e.text(a)
		if err != nil {
			return false, err
		}
		t, err := e.text(b)
		return s == t, err
	case KindOther:
		return a.goString() == b.goString(), nil
	}
	if a.Len() != b.Len() {
		return false, nil
	}
	other := b.members()
	for it := a.members(); it.next(); {
		var match Value
		if a.kind == KindArray {
			other.next()
			match = other.value
		} else {
			key, err := e.keyOf(&it)
			if err != nil {
				return false, err
			}
			var work int
			match, work = b.member(key)
			if err := e.charge(work / 16); err != nil || !match.Exists() {
				return false, err
			}
		}
		if same, err := e.equal(it.value, match, depth+1); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// compare orders numbers, strings that hold numbers against numbers, and strings. Nothing is neither more nor less than
// anything: ok is false.
func (e *exec) compare(a, b Value) (c int, ok bool, err error) {
	if a.kind <= KindNull || b.kind <= KindNull {
		return 0, false, nil
	}
	if a.kind == KindString && b.kind == KindString {
		s, err := e.texts([]Value{a, b})
		if err != nil {
			return 0, false, err
		}
		return strings.Compare(s[0], s[1]), true, nil
	}
	if a.kind == KindNumber && b.kind == KindNumber || a.kind == KindNumber && b.kind == KindString || a.kind == KindString && b.kind == KindNumber {
		x, err := numeral(a)
		if err != nil {
			return 0, false, err
		}
		y, err := numeral(b)
		if err != nil {
			return 0, false, err
		}
		if err := e.charge((len(x) + len(y)) / 64); err != nil {
			return 0, false, err
		}
		return compareNumbers(x, y), true, nil
	}
	return 0, false, fmt.Errorf("%s and %s have no order", a.kind, b.kind)
}

// sprint puts spaces between operands as fmt.Sprint does: where neither neighbour is a string.
func (e *exec) sprint(a []Value, line bool) (Value, error) {
	var b strings.Builder
	for i, v := range a {
		if i > 0 && (line || a[i-1].kind != KindString && v.kind != KindString) {
			b.WriteByte(' ')
		}
		s, err := e.text(v)
		if err != nil {
			return Value{}, err
		}
		if err := e.grow(len(s) + 1); err != nil {
			return Value{}, err
		}
		b.WriteString(s)
	}
	if line {
		b.WriteByte('\n')
	}
	return String(b.String()), nil
}

// formatted lets fmt print a value: numbers as the verb wants them, the rest as text.
type formatted struct {
	v    Value
	text string
}

func (f formatted) Format(state fmt.State, verb rune) {
	format := fmt.FormatString(state, verb)
	switch f.v.kind {
	case KindNumber:
		switch verb {
		case 'd', 'x', 'X', 'o', 'O', 'b': // not 'c': a number must not become any character
			if n, ok := toInt(f.v); ok {
				fmt.Fprintf(state, format, n)
				return
			}
		case 'e', 'E', 'f', 'F', 'g', 'G':
			if n, err := float(f.v); err == nil {
				fmt.Fprintf(state, format, n)
				return
			}
		}
	case KindString:
		switch verb { // {{printf "%d" .args.n}} where n came as "7"
		case 'd':
			if n, ok := toInt(f.v); ok {
				fmt.Fprintf(state, format, n)
				return
			}
		case 'f', 'e', 'g':
			if n, err := float(f.v); err == nil {
				fmt.Fprintf(state, format, n)
				return
			}
		}
	case KindBool:
		if verb == 't' || verb == 'v' {
			fmt.Fprintf(state, format, f.v.n == 1)
			return
		}
	}
	if verb == 'v' {
		format = strings.NewReplacer("+", "", "#", "").Replace(format)
	}
	fmt.Fprintf(state, format, f.text)
}

// maxWidth bounds width and precision in printf.
const maxWidth = 4096

func sprintf(e *exec, a []Value) (Value, error) {
	format, err := e.text(a[0])
	if err != nil {
		return Value{}, err
	}
	args := make([]any, len(a)-1)
	longest, all := 512, 0 // the longest number, 1e308 in full, has 309 digits
	for i, v := range a[1:] {
		s, err := e.text(v)
		if err != nil {
			return Value{}, err
		}
		args[i] = formatted{v, s}
		longest = max(longest, 6*len(s))
		all += len(s) + 64
	}
	total, err := formatSize(format, longest)
	if err == nil {
		err = e.grow(total + all) // those that no verb names are listed behind
	}
	if err != nil {
		return Value{}, err
	}
	if format == "%q" && len(a) == 2 { // as quote: people make JSON with it
		return quoted(args[0].(formatted).text), nil
	}
	return String(fmt.Sprintf(format, args...)), nil
}

// formatSize bounds the size of what a format makes, since the arguments may be named more than once and widths be huge.
func formatSize(format string, longest int) (int, error) {
	total := len(format)
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		width, digits := 0, 0
		for i++; i < len(format) && strings.IndexByte("+-# 0123456789.[]*", format[i]) >= 0; i++ {
			switch c := format[i]; {
			case c == '*':
				return 0, errors.New("a width of * is not available")
			case c >= '0' && c <= '9':
				digits = digits*10 + int(c-'0')
				if digits > maxWidth {
					return 0, fmt.Errorf("a width over %d", maxWidth)
				}
			default:
				width, digits = width+digits, 0
			}
		}
		total += width + digits + longest + utf8.UTFMax
		if total < 0 || total > 1<<40 {
			return 0, errMemory
		}
	}
	return total, nil
}
