package template

import (
	"errors"
	"math"
	"strings"

	"github.com/tidwall/gjson"
)

func defineJSON(define definer) {
	toJSON := func(e *exec, a []Value) (Value, error) {
		b, ok := a[0].appendJSON(nil, 0, e.memory)
		if !ok {
			return Value{}, errMemory
		}
		return Value{kind: KindString, flags: asJSON, s: textOf(b)}, e.grow(2 * len(b))
	}
	define("toJson mustToJson toRawJson mustToRawJson", 1, 1, made, toJSON)
	define("toPrettyJson mustToPrettyJson", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		v, err := toJSON(e, a)
		if err != nil {
			return v, err
		}
		b, ok := appendPretty(nil, v.s, e.memory)
		if !ok {
			return Value{}, errMemory
		}
		v.s = textOf(b)
		return v, e.grow(2 * len(b))
	})
	define("fromJson", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		v, err := fromJSON(e, a)
		if err != nil && !errors.Is(err, ErrBudget) {
			return Value{}, nil // as sprig: what does not parse is nothing
		}
		return v, err
	})
	define("mustFromJson", 1, 1, made, fromJSON)
	define("gjson", 1, 1, own, runGJSON)
}

func fromJSON(e *exec, a []Value) (Value, error) {
	s, err := e.text(a[0])
	if err != nil {
		return Value{}, err
	}
	return e.parse(s)
}

// parse reads JSON text that an execution made or got; the tape is counted.
func (e *exec) parse(s string) (Value, error) {
	if err := e.grow(4 * len(s)); err != nil {
		return Value{}, err
	}
	if err := e.charge(len(s) / 16); err != nil {
		return Value{}, err
	}
	v, err := parseJSON(s)
	if err != nil {
		return Value{}, errors.New("its argument is no JSON")
	}
	return v, nil
}

// appendPretty indents compact JSON by two spaces a level.
func appendPretty(dst []byte, s string, limit int) ([]byte, bool) {
	depth := 0
	line := func() {
		dst = append(dst, '\n')
		for range depth {
			dst = append(dst, ' ', ' ')
		}
	}
	for i := 0; i < len(s); i++ {
		if len(dst) > limit {
			return dst, false
		}
		switch c := s[i]; c {
		case '"':
			start := i
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			dst = append(dst, s[start:i+1]...)
		case '{', '[':
			dst = append(dst, c)
			if i+1 < len(s) && s[i+1] == c+2 {
				i++
				dst = append(dst, c+2)
				continue
			}
			depth++
			line()
		case '}', ']':
			depth--
			line()
			dst = append(dst, c)
		case ',':
			dst = append(dst, c)
			line()
		case ':':
			dst = append(dst, ':', ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}

// Limits of GJSON paths: each selector may go through the whole text once, and a multipath repeats it.
const (
	maxGJSONPath      = 4096
	maxGJSONSelectors = 16
)

// unbounded are GJSON's modifiers whose result may be larger than its argument by more than a factor: they repeat
// indentation, keys or nested values.
var unbounded = []string{"@pretty", "@group", "@dig"}

// runGJSON runs a GJSON path on the root of the data.
func runGJSON(e *exec, a []Value) (Value, error) {
	path, err := e.text(a[0])
	if err != nil {
		return Value{}, err
	}
	carry := a[0].flags & carried
	if e.json == "" {
		if d, ok := e.root.p.(*document); ok {
			e.json = d.text(e.root.n)
		} else {
			b, ok := e.root.appendJSON(nil, 0, e.memory)
			if !ok {
				return Value{}, errMemory
			}
			if err := e.grow(len(b)); err != nil {
				return Value{}, err
			}
			e.json = textOf(b)
		}
	}
	if names, ok := plainGJSON(path); ok && e.root.kind == KindObject {
		if top, _ := e.root.member(names[0]); e.isTainted(&top, 0) {
			carry = tainted
		}
	} else if e.isTainted(&e.root, 0) {
		carry = tainted
	}
	if err := e.chargeGJSON(path); err != nil {
		return Value{}, err
	}
	result := gjson.Get(e.json, path)
	if !result.Exists() {
		return Value{}, nil
	}
	v, err := e.parse(result.Raw)
	if err != nil {
		if errors.Is(err, ErrBudget) {
			return v, err
		}
		return Value{}, errors.New("the path gives no JSON")
	}
	v.flags |= carry
	return v, nil
}

// chargeGJSON counts a path's work and bounds what it can make, before it runs: GJSON itself cannot be stopped. Every
// selector, query and modifier goes through the text at most once; multipaths in a row, as in
// [@this,@this]|[@this,@this], multiply it.
func (e *exec) chargeGJSON(path string) error {
	if len(path) > maxGJSONPath {
		return errors.New("a path over 4096 bytes")
	}
	for _, name := range unbounded {
		if strings.Contains(path, name) {
			return errors.New("the modifier " + name + " is not available")
		}
	}
	passes, opens, commas := 1, 0, 0
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '.', '|', '#', '@', '(', '*', '?':
			passes++
		case '[', '{':
			opens++
			passes++
		case ',':
			commas++
			passes++
		}
	}
	if opens > maxGJSONSelectors {
		return errors.New("a path with too many selectors")
	}
	growth := 1.0
	if opens > 0 {
		growth = math.Pow(float64(commas)/float64(opens)+1, float64(opens))
	}
	growth *= math.Pow(2, float64(strings.Count(path, "@tostr"))) // each doubles what it escapes
	most := growth * float64(len(e.json)+len(path))
	if opens == 0 && !strings.Contains(path, "@") {
		most = 0 // a part of the text, or an array of parts
	}
	if most > float64(e.memory) {
		return errMemory
	}
	if work := float64(passes) * growth * float64(len(e.json)) / 32; work > float64(e.steps) {
		return errSteps
	} else if err := e.charge(int(work)); err != nil {
		return err
	}
	return e.grow(int(most))
}
