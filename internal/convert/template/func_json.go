package template

import "errors"

func defineJSON(define definer) {
	toJSON := func(e *exec, a []Value) (Value, error) {
		s, err := e.json(a[0])
		return Value{kind: KindString, flags: asJSON, s: s}, err
	}
	define("toJson mustToJson toRawJson mustToRawJson", 1, 1, made, toJSON)
	define("toPrettyJson mustToPrettyJson", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		v, err := toJSON(e, a)
		if err != nil {
			return v, err
		}
		b, ok := appendPretty(nil, v.s, min(e.memory, 64*max(e.steps, 0)))
		if !ok {
			return Value{}, errMemory
		}
		v.s = textOf(b)
		return v, e.grow(len(b))
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
