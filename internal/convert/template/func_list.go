package template

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// valueSize is what an element of a made list takes.
const valueSize = int(unsafe.Sizeof(Value{}))

// growList counts n elements about to be made.
func (e *exec) growList(n int) error {
	if n < 0 || n > e.memory/valueSize {
		return errMemory
	}
	e.memory -= n * valueSize
	return e.charge(n / 4)
}

// items gives an array's elements. What is missing or null is an empty one.
func (e *exec) items(v Value) ([]Value, error) {
	switch v.kind {
	case KindMissing, KindNull:
		return nil, nil
	case KindArray:
	default:
		return nil, fmt.Errorf("%s is no array", v.kind)
	}
	n := v.Len()
	if err := e.growList(n); err != nil {
		return nil, err
	}
	out := make([]Value, 0, n+1)
	for it := v.members(); it.next(); {
		out = append(out, it.value)
	}
	return out, nil
}

// listFunc is a function of a list, in last place, that makes a list.
func listFunc(f func(e *exec, items, before []Value) ([]Value, error)) body {
	return func(e *exec, a []Value) (Value, error) {
		items, err := e.items(a[len(a)-1])
		if err == nil {
			items, err = f(e, items, a[:len(a)-1])
		}
		return Array(items...), err
	}
}

func defineLists(define definer) {
	define("list tuple", 0, -1, own, func(e *exec, a []Value) (Value, error) {
		if err := e.growList(len(a)); err != nil {
			return Value{}, err
		}
		return Array(slices.Clone(a)...), nil
	})
	define("join", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		sep, v := a[0], a[1]
		if sep.kind == KindArray && v.kind != KindArray { // {{join .list ", "}}: people turn it round
			sep, v = v, sep
		}
		s, err := e.text(sep)
		if err != nil {
			return Value{}, err
		}
		return e.join(s, v)
	})
	define("toStrings", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		s, err := e.strings(a[0])
		return stringList(s), err
	})
	define("sortAlpha", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		s, err := e.strings(a[0])
		if err != nil {
			return Value{}, err
		}
		size := 0
		for i := range s {
			size += len(s[i])
		}
		if err := e.charge((len(s) + size/64) * bits.Len(uint(len(s))) / 4); err != nil {
			return Value{}, err
		}
		slices.Sort(s)
		return stringList(s), nil
	})
	define("split", 2, 2, made, func(e *exec, a []Value) (Value, error) { return e.splitNumbered(a[0], a[1], -1) })
	define("splitn", 3, 3, made, func(e *exec, a []Value) (Value, error) {
		n, err := small(a[1])
		if err != nil {
			return Value{}, err
		}
		return e.splitNumbered(a[0], a[2], n)
	})
	define("splitList", 2, 2, made, func(e *exec, a []Value) (Value, error) {
		s, err := e.split(a[0], a[1], -1)
		return stringList(s), err
	})
	define("first mustFirst", 1, 1, own, func(_ *exec, a []Value) (Value, error) {
		v, _ := a[0].element(0)
		return v, nil
	})
	define("last mustLast", 1, 1, own, func(e *exec, a []Value) (Value, error) {
		n := a[0].Len() // of a string, its length: element finds nothing there
		if a[0].kind != KindArray {
			n = 0
		}
		if err := e.charge(n / 16); err != nil {
			return Value{}, err
		}
		v, _ := a[0].element(n - 1)
		return v, nil
	})
	define("rest mustRest", 1, 1, own, listFunc(func(_ *exec, l, _ []Value) ([]Value, error) { return l[min(1, len(l)):], nil }))
	define("initial mustInitial", 1, 1, own, listFunc(func(_ *exec, l, _ []Value) ([]Value, error) { return l[:max(len(l)-1, 0)], nil }))
	define("reverse mustReverse", 1, 1, own, listFunc(func(_ *exec, l, _ []Value) ([]Value, error) {
		slices.Reverse(l)
		return l, nil
	}))
	define("compact mustCompact", 1, 1, own, listFunc(func(_ *exec, l, _ []Value) ([]Value, error) {
		return slices.DeleteFunc(l, func(v Value) bool { return !v.Truth() }), nil
	}))
	define("uniq mustUniq", 1, 1, own, listFunc(func(e *exec, l, _ []Value) ([]Value, error) {
		kept := l[:0]
		for _, v := range l {
			found, err := e.in(kept, v)
			if err != nil {
				return nil, err
			}
			if !found {
				kept = append(kept, v)
			}
		}
		return kept, nil
	}))
	define("append push mustAppend mustPush", 2, 2, own, func(e *exec, a []Value) (Value, error) {
		l, err := e.items(a[0])
		return Array(append(l, a[1])...), err
	})
	define("prepend mustPrepend", 2, 2, own, func(e *exec, a []Value) (Value, error) {
		l, err := e.items(a[0])
		return Array(slices.Insert(l, 0, a[1])...), err
	})
	define("concat", 0, -1, own, func(e *exec, a []Value) (Value, error) {
		var all []Value
		for _, v := range a {
			l, err := e.items(v)
			if err != nil {
				return Value{}, err
			}
			all = append(all, l...)
		}
		return Array(all...), nil
	})
	define("without mustWithout", 1, -1, own, func(e *exec, a []Value) (Value, error) {
		l, err := e.items(a[0])
		if err != nil {
			return Value{}, err
		}
		kept := l[:0]
		for _, v := range l {
			found, err := e.in(a[1:], v)
			if err != nil {
				return Value{}, err
			}
			if !found {
				kept = append(kept, v)
			}
		}
		return Array(kept...), nil
	})
	define("has mustHas", 2, 2, own, func(e *exec, a []Value) (Value, error) {
		l, err := e.items(a[1])
		if err != nil {
			return Value{}, err
		}
		found, err := e.in(l, a[0])
		return Bool(found), err
	})
	define("slice mustSlice", 1, 3, own, slice)
	define("chunk mustChunk", 2, 2, own, listFunc(func(e *exec, l, before []Value) ([]Value, error) {
		n, err := small(before[0])
		if err != nil {
			return nil, err
		}
		if n < 1 {
			return nil, errors.New("a chunk size below 1")
		}
		if err := e.growList(2 * (len(l)/n + 1)); err != nil {
			return nil, err
		}
		var out []Value
		for c := range slices.Chunk(l, n) {
			out = append(out, Array(c...))
		}
		return out, nil
	}))
}

func (e *exec) in(l []Value, v Value) (bool, error) {
	for _, other := range l {
		if same, err := e.equal(v, other, 0); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// slice is sprig's on arrays and the builtin on strings; positions beyond what is there stand for its ends.
func slice(e *exec, a []Value) (Value, error) {
	v := a[0]
	var text string
	n := 0
	if v.kind == KindString {
		var err error
		if text, err = e.text(v); err != nil {
			return Value{}, err
		}
		n = len(text)
	} else {
		n = v.Len()
	}
	bounds := [2]int{0, n}
	for i, b := range a[1:] {
		at, err := small(b)
		if err != nil {
			return Value{}, err
		}
		bounds[i] = min(max(at, 0), n)
	}
	bounds[1] = max(bounds[0], bounds[1])
	if v.kind == KindString {
		out := String(part(text, bounds[0], bounds[1]))
		out.flags = v.flags & carried
		return out, nil
	}
	l, err := e.items(v)
	if err != nil || len(l) == 0 {
		return Array(), err
	}
	return Array(l[bounds[0]:bounds[1]]...), nil
}

// strings gives an array's elements as texts, without nulls; of anything else its own text.
func (e *exec) strings(v Value) ([]string, error) {
	if v.kind <= KindNull {
		return nil, nil
	}
	if v.kind != KindArray {
		s, err := e.text(v)
		return []string{s}, err
	}
	if err := e.growList(v.Len()); err != nil {
		return nil, err
	}
	out := make([]string, 0, v.Len())
	for it := v.members(); it.next(); {
		if it.value.kind <= KindNull {
			continue
		}
		s, err := e.text(it.value)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func stringList(s []string) Value {
	items := make([]Value, len(s))
	for i := range s {
		items[i] = String(s[i])
	}
	return Array(items...)
}

func (e *exec) join(sep string, v Value) (Value, error) {
	s, err := e.strings(v)
	if err != nil {
		return Value{}, err
	}
	total := len(sep) * max(len(s)-1, 0)
	for i := range s {
		total += len(s[i])
	}
	if err := e.grow(total); err != nil {
		return Value{}, err
	}
	return String(strings.Join(s, sep)), nil
}

func (e *exec) split(sep, v Value, n int) ([]string, error) {
	s, err := e.texts([]Value{sep, v})
	if err != nil {
		return nil, err
	}
	pieces := strings.Count(s[1], s[0]) + 1
	if n > 0 {
		pieces = min(pieces, n)
	}
	if err := e.growList(2 * pieces); err != nil {
		return nil, err
	}
	return strings.SplitN(s[1], s[0], n), nil
}

// splitNumbered is sprig's split: {"_0": …, "_1": …}.
func (e *exec) splitNumbered(sep, v Value, n int) (Value, error) {
	s, err := e.split(sep, v, n)
	if err != nil {
		return Value{}, err
	}
	o := &object{}
	for i, p := range s {
		o.keys, o.vals = append(o.keys, "_"+strconv.Itoa(i)), append(o.vals, String(p))
	}
	return Value{kind: KindObject, p: o}, nil
}
