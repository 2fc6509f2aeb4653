package template

import (
	"math/big"
)

// defineChoices has the functions that hand one of their arguments on.
func defineChoices(define definer) {
	define("default", 1, 2, own, func(_ *exec, a []Value) (Value, error) {
		if len(a) == 2 && a[1].Truth() {
			return a[1], nil
		}
		return a[0], nil
	})
	define("coalesce", 0, -1, own, func(_ *exec, a []Value) (Value, error) {
		for _, v := range a {
			if v.Truth() {
				return v, nil
			}
		}
		return Value{}, nil
	})
	define("ternary", 3, 3, own, func(_ *exec, a []Value) (Value, error) {
		if a[2].Truth() {
			return a[0], nil
		}
		return a[1], nil
	})
	define("empty", 1, 1, own, func(_ *exec, a []Value) (Value, error) { return Bool(!a[0].Truth()), nil })
	define("all", 0, -1, own, func(_ *exec, a []Value) (Value, error) {
		for _, v := range a {
			if !v.Truth() {
				return Bool(false), nil
			}
		}
		return Bool(true), nil
	})
	define("any", 0, -1, own, func(_ *exec, a []Value) (Value, error) {
		for _, v := range a {
			if v.Truth() {
				return Bool(true), nil
			}
		}
		return Bool(false), nil
	})
	define("deepCopy mustDeepCopy", 1, 1, own, func(_ *exec, a []Value) (Value, error) { return a[0], nil })

	goKinds := map[Kind]string{KindBool: "bool", KindNumber: "float64", KindString: "string", KindArray: "slice", KindObject: "map", KindOther: "struct"}
	goTypes := map[Kind]string{KindBool: "bool", KindNumber: "float64", KindString: "string", KindArray: "[]interface {}",
		KindObject: "map[string]interface {}", KindOther: "time.Time"}
	nameIn := func(names map[Kind]string, none string) func(Value) string {
		return func(v Value) string {
			if s, ok := names[v.kind]; ok {
				return s
			}
			return none
		}
	}
	kindOf, typeOf := nameIn(goKinds, "invalid"), nameIn(goTypes, "<nil>")
	define("kindOf", 1, 1, own, func(_ *exec, a []Value) (Value, error) { return String(kindOf(a[0])), nil })
	define("typeOf", 1, 1, own, func(_ *exec, a []Value) (Value, error) { return String(typeOf(a[0])), nil })
	isNamed := func(nameOf func(Value) string) body {
		return func(e *exec, a []Value) (Value, error) {
			s, err := e.text(a[0])
			return Bool(s == nameOf(a[1])), err
		}
	}
	define("kindIs", 2, 2, own, isNamed(kindOf))
	define("typeIs typeIsLike", 2, 2, own, isNamed(typeOf))
}

// defineNumbers has sprig's integer arithmetic. Like sprig's it works on integer parts; addf and the like do not.
func defineNumbers(define definer) {
	add := arithmetic(addExact, (*big.Int).Add)
	define("add", 1, -1, made, add)
	define("add1", 1, 1, made, func(e *exec, a []Value) (Value, error) { return add(e, []Value{a[0], intValue(1)}) })
	define("sub", 2, 2, made, arithmetic(subExact, (*big.Int).Sub))
	define("mul", 1, -1, made, arithmetic(mulExact, (*big.Int).Mul))
	divide := func(z, a, b *big.Int) *big.Int {
		if b.Sign() == 0 {
			return nil
		}
		return z.Quo(a, b)
	}
	define("div", 2, 2, made, arithmetic(func(a, b int64) (int64, bool) {
		if b == 0 || b == -1 {
			return 0, false
		}
		return a / b, true
	}, divide))
	define("mod", 2, 2, made, arithmetic(func(a, b int64) (int64, bool) {
		if b == 0 || b == -1 {
			return 0, false
		}
		return a % b, true
	}, func(z, a, b *big.Int) *big.Int {
		if b.Sign() == 0 {
			return nil
		}
		return z.Rem(a, b)
	}))
	extreme := func(sign int) func(*exec, []Value) (Value, error) {
		return func(e *exec, a []Value) (Value, error) {
			best, err := integer(a[0])
			for _, v := range a[1:] {
				n, err := integer(v)
				if err != nil {
					return Value{}, err
				}
				if sign > 0 && n > best || sign < 0 && n < best {
					best = n
				}
			}
			return intValue(best), err
		}
	}
	define("max biggest", 1, -1, made, extreme(1))
	define("min", 1, -1, made, extreme(-1))
	define("int int64", 1, 1, made, func(_ *exec, a []Value) (Value, error) {
		n, err := integer(a[0])
		return intValue(n), err
	})
	define("atoi", 1, 1, made, func(_ *exec, a []Value) (Value, error) {
		n, _ := toInt(a[0])
		return intValue(n), nil
	})
	define("float64", 1, 1, made, func(_ *exec, a []Value) (Value, error) {
		f, err := float(a[0])
		if err != nil {
			return Value{}, err
		}
		return floatValue(f)
	})
	define("until", 1, 1, made, func(e *exec, a []Value) (Value, error) {
		n, err := integer(a[0])
		if err != nil {
			return Value{}, err
		}
		return e.steps64(0, n, 1-2*b2i(n < 0))
	})
	define("untilStep", 3, 3, made, func(e *exec, a []Value) (Value, error) {
		n, err := integers(a)
		if err != nil {
			return Value{}, err
		}
		return e.steps64(n[0], n[1], n[2])
	})
	define("seq", 0, 3, made, seq)
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func integers(a []Value) ([]int64, error) {
	out := make([]int64, len(a))
	for i, v := range a {
		n, err := integer(v)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// steps64 lists start, start+step … before stop.
func (e *exec) steps64(start, stop, step int64) (Value, error) {
	if step == 0 || step > 0 && start >= stop || step < 0 && start <= stop {
		return Array(), nil
	}
	span, stride := uint64(stop)-uint64(start), uint64(step)
	if step < 0 {
		span, stride = uint64(start)-uint64(stop), -uint64(step)
	}
	count := (span-1)/stride + 1
	if count > uint64(e.steps) || count > uint64(e.memory/valueSize) {
		return Value{}, errSteps
	}
	if err := e.growList(int(count)); err != nil {
		return Value{}, err
	}
	items := make([]Value, count)
	for i := range items {
		items[i] = intValue(start + int64(i)*step)
	}
	return Array(items...), nil
}

// seq is that of the shell, as text: seq last, seq first last, seq first step last.
func seq(e *exec, a []Value) (Value, error) {
	n, err := integers(a)
	if err != nil || len(n) == 0 {
		return String(""), err
	}
	first, step, last := int64(1), int64(1), n[len(n)-1]
	if len(n) > 1 {
		first = n[0]
	}
	if last < first {
		step = -1
	}
	if len(n) == 3 {
		if n[1] > 0 != (step > 0) {
			return String(""), nil
		}
		step = n[1]
	}
	stop := last + 1
	if step < 0 {
		stop = last - 1
	}
	v, err := e.steps64(first, stop, step)
	if err != nil {
		return v, err
	}
	return e.join(" ", v)
}
