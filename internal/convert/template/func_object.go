package template

import (
	"fmt"
	"slices"
)

// fields gives an object's members as an object of the execution's own. What is missing or null is an empty one.
func (e *exec) fields(v Value) (*object, error) {
	switch v.kind {
	case KindMissing, KindNull:
		return &object{}, nil
	case KindObject:
	default:
		return nil, fmt.Errorf("%s is no object", v.kind)
	}
	n := v.Len()
	if err := e.growList(n); err != nil {
		return nil, err
	}
	o := &object{keys: make([]string, 0, n+1), vals: make([]Value, 0, n+1)}
	for it := v.members(); it.next(); {
		key, err := e.keyOf(&it)
		if err != nil {
			return nil, err
		}
		o.keys, o.vals = append(o.keys, key), append(o.vals, it.value)
	}
	return o, nil
}

// keyOf is the name of an iterator's member, counted.
func (e *exec) keyOf(it *iterator) (string, error) { return e.text(it.rawKey) }

// changeable is the object itself where the execution made it, as sprig's set changes its argument, else a copy.
func (e *exec) changeable(v Value) (*object, error) {
	if o, ok := v.p.(*object); ok && !o.frozen {
		return o, e.charge(1 + len(o.keys)/16)
	}
	return e.fields(v)
}

func objectValue(o *object, of Value) Value {
	return Value{kind: KindObject, flags: of.flags & carried, p: o}
}

func defineObjects(define definer) {
	define("dict", 0, -1, own, func(e *exec, a []Value) (Value, error) {
		o := &object{}
		if err := e.growList(len(a)); err != nil {
			return Value{}, err
		}
		if err := e.charge(len(a) * len(a) / 16); err != nil {
			return Value{}, err
		}
		for i := 0; i < len(a); i += 2 {
			key, err := e.text(a[i])
			if err != nil {
				return Value{}, err
			}
			v := String("")
			if i+1 < len(a) {
				v = a[i+1]
			}
			v.flags |= a[i].flags & carried // a client's key taints its member
			o.put(key, v)
		}
		return Value{kind: KindObject, p: o}, nil
	})
	define("get", 2, 2, own, func(e *exec, a []Value) (Value, error) {
		if a[0].kind != KindObject {
			return Value{}, nil
		}
		return index(e, a)
	})
	define("hasKey", 2, 2, own, func(e *exec, a []Value) (Value, error) {
		key, err := e.text(a[1])
		if err != nil || a[0].kind != KindObject {
			return Bool(false), err
		}
		v, work := a[0].member(key)
		return Bool(v.Exists()), e.charge(work / 16)
	})
	define("set", 3, 3, own, func(e *exec, a []Value) (Value, error) {
		o, err := e.changeable(a[0])
		if err != nil {
			return Value{}, err
		}
		key, err := e.text(a[1])
		if err != nil {
			return Value{}, err
		}
		v := a[2]
		v.flags |= a[1].flags & carried
		o.put(key, v)
		return objectValue(o, a[0]), e.growList(1)
	})
	define("unset", 2, 2, own, func(e *exec, a []Value) (Value, error) {
		o, err := e.changeable(a[0])
		if err != nil {
			return Value{}, err
		}
		key, err := e.text(a[1])
		if i := o.find(key); i >= 0 && err == nil {
			o.keys, o.vals = slices.Delete(o.keys, i, i+1), slices.Delete(o.vals, i, i+1)
		}
		return objectValue(o, a[0]), err
	})
	define("keys", 0, -1, own, func(e *exec, a []Value) (Value, error) {
		var out []Value
		for _, v := range a {
			o, err := e.fields(v)
			if err != nil {
				return Value{}, err
			}
			for _, k := range o.keys {
				out = append(out, Value{kind: KindString, s: k, flags: v.flags & carried})
			}
		}
		return Array(out...), e.growList(len(out))
	})
	define("values", 1, 1, own, func(e *exec, a []Value) (Value, error) {
		o, err := e.fields(a[0])
		if err != nil {
			return Value{}, err
		}
		return Array(o.vals...), nil
	})
	define("pluck", 1, -1, own, func(e *exec, a []Value) (Value, error) {
		key, err := e.text(a[0])
		if err != nil {
			return Value{}, err
		}
		var out []Value
		for _, v := range a[1:] {
			m, work := v.member(key)
			if err := e.charge(1 + work/16); err != nil {
				return Value{}, err
			}
			if m.Exists() {
				out = append(out, m)
			}
		}
		return Array(out...), e.growList(len(out))
	})
	selecting := func(keep bool) func(*exec, []Value) (Value, error) {
		return func(e *exec, a []Value) (Value, error) {
			o, err := e.fields(a[0])
			if err != nil {
				return Value{}, err
			}
			names, err := e.texts(a[1:])
			if err != nil {
				return Value{}, err
			}
			if err := e.charge(len(o.keys) * len(names) / 16); err != nil {
				return Value{}, err
			}
			out := &object{keys: make([]string, 0, len(o.keys)), vals: make([]Value, 0, len(o.keys))}
			for i, k := range o.keys {
				if slices.Contains(names, k) == keep {
					out.keys, out.vals = append(out.keys, k), append(out.vals, o.vals[i])
				}
			}
			return objectValue(out, a[0]), nil
		}
	}
	define("pick", 1, -1, own, selecting(true))
	define("omit", 1, -1, own, selecting(false))
	define("merge mustMerge", 1, -1, own, func(e *exec, a []Value) (Value, error) { return e.merge(a, false) })
	define("mergeOverwrite mustMergeOverwrite", 1, -1, own, func(e *exec, a []Value) (Value, error) { return e.merge(a, true) })
	define("dig", 3, -1, own, func(e *exec, a []Value) (Value, error) {
		v := a[len(a)-1]
		for _, key := range a[:len(a)-2] {
			name, err := e.text(key)
			if err != nil {
				return Value{}, err
			}
			if v.kind != KindObject {
				return a[len(a)-2], nil
			}
			var work int
			v, work = v.member(name)
			if err := e.charge(1 + work/16); err != nil {
				return Value{}, err
			}
			if !v.Exists() {
				return a[len(a)-2], nil
			}
		}
		return v, nil
	})
}

// merge fills the first object from the others, objects within objects too.
func (e *exec) merge(a []Value, overwrite bool) (Value, error) {
	dst, err := e.changeable(a[0])
	if err != nil {
		return Value{}, err
	}
	for _, src := range a[1:] {
		if err := e.mergeInto(dst, src, overwrite, 0); err != nil {
			return Value{}, err
		}
	}
	return objectValue(dst, a[0]), nil
}

func (e *exec) mergeInto(dst *object, src Value, overwrite bool, depth int) error {
	if depth > maxJSONDepth {
		return errDeep
	}
	from, err := e.fields(src)
	if err != nil {
		return err
	}
	for i, key := range from.keys {
		if err := e.charge(1 + len(dst.keys)/16); err != nil {
			return err
		}
		at := dst.find(key)
		switch {
		case at < 0:
			dst.put(key, from.vals[i])
		case dst.vals[at].kind == KindObject && from.vals[i].kind == KindObject:
			inner, err := e.fields(dst.vals[at])
			if err != nil {
				return err
			}
			if err := e.mergeInto(inner, from.vals[i], overwrite, depth+1); err != nil {
				return err
			}
			dst.vals[at] = objectValue(inner, dst.vals[at])
		case overwrite && from.vals[i].Truth() || !overwrite && !dst.vals[at].Truth():
			dst.vals[at] = from.vals[i]
		}
	}
	return nil
}
