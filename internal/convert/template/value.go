package template

import (
	"fmt"
	"time"
)

// Kind is what a Value is.
type Kind uint8

// Kinds of values. Missing is what a path that leads nowhere gives; it is the zero Value.
const (
	KindMissing Kind = iota
	KindNull
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
	KindOther  // a Go value that JSON has no word for: a time, a semantic version
	KindSecret // a credential: see Secret
)

var kindNames = [...]string{"nothing", "null", "a boolean", "a number", "a string", "an array", "an object", "a Go value", "a credential"}

func (k Kind) String() string { return kindNames[k] }

// flags travel with a value.
type flags uint8

const (
	tainted   flags = 1 << iota // some of it came from a client
	multi                       // tainted, but its "/" may stay in a path (multiSegment)
	inert                       // tainted text made of numbers and booleans only: it cannot break out of anything
	asJSON                      // text that is one JSON value already (toJson, quote)
	urlSafe                     // text that is percent-encoded already (urlquery)
	escaped                     // s is the raw inside of a JSON string literal that has backslashes
	rootData                    // the data of the execution
	arguments                   // the args member of the data
)

// carried are the flags that a part has from its whole.
const carried = tainted

// Value is a JSON value. Numbers keep their digits as written and objects their key order. It is immutable, small,
// and safe for concurrent use; the zero Value is "missing".
type Value struct {
	kind  Kind
	flags flags
	n     uint32 // node of a parsed container; 1 for true
	s     string // number as written; text of a string
	p     any    // *document, *list, *object, *credential or, for KindOther, the Go value
}

// list is an array made by a function or by Array.
type list struct{ items []Value }

// object is an object made by a function or by Object.
type object struct {
	keys   []string
	vals   []Value
	frozen bool // shared between executions: set and merge work on a copy
}

func (o *object) find(key string) int {
	for i, k := range o.keys {
		if k == key {
			return i
		}
	}
	return -1
}

func (o *object) put(key string, v Value) {
	if i := o.find(key); i >= 0 {
		o.vals[i] = v
		return
	}
	o.keys, o.vals = append(o.keys, key), append(o.vals, v)
}

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// Object makes an object of members in the order given; of two with one name the last counts.
func Object(members ...Member) Value {
	o := &object{keys: make([]string, 0, len(members)), vals: make([]Value, 0, len(members)), frozen: true}
	for _, m := range members {
		o.put(m.Name, m.Value)
	}
	return Value{kind: KindObject, p: o}
}

// Array makes an array.
func Array(items ...Value) Value { return Value{kind: KindArray, p: &list{items}} }

// String makes a string.
func String(s string) Value { return Value{kind: KindString, s: s} }

// Bool makes a boolean.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.n = 1
	}
	return v
}

// Null is the JSON null.
func Null() Value { return Value{kind: KindNull} }

// number makes a number of a valid JSON spelling.
func number(spelling string) Value { return Value{kind: KindNumber, s: spelling} }

// Tainted marks the value, and all that will be read from it, as coming from a client: modes other than Text escape
// it for the place where it is printed. What is not marked is the author's: templates, config, credentials.
func (v Value) Tainted() Value {
	v.flags |= tainted
	return v
}

// With returns the object with one more member, or with that member replaced; of anything that is no object, an
// object with this member only.
func (v Value) With(name string, member Value) Value {
	o := &object{frozen: true}
	n := v.Len() + 1
	o.keys, o.vals = make([]string, 0, n), make([]Value, 0, n)
	for it := v.members(); it.next(); {
		if key := it.key(); key != name {
			o.keys, o.vals = append(o.keys, key), append(o.vals, it.value)
		}
	}
	o.keys, o.vals = append(o.keys, name), append(o.vals, member)
	return Value{kind: KindObject, flags: v.flags & carried, p: o}
}

// Kind tells what the value is.
func (v Value) Kind() Kind { return v.kind }

// Exists tells a value, null included, from a missing one.
func (v Value) Exists() bool { return v.kind != KindMissing }

// Bool is true for the boolean true only; Truth is what {{if}} asks.
func (v Value) Bool() bool { return v.kind == KindBool && v.n == 1 }

// Truth is what {{if}} asks: false for 0 in any spelling, "", null, false, [], {} and what is missing.
func (v Value) Truth() bool {
	switch v.kind {
	case KindMissing, KindNull:
		return false
	case KindBool:
		return v.n == 1
	case KindNumber:
		return !zeroNumber(v.s)
	case KindString:
		return v.s != ""
	case KindArray, KindObject:
		return v.Len() > 0
	}
	return true
}

// zeroNumber tells 0, -0, 0.0 and 0e9 from the rest.
func zeroNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '1' && c <= '9':
			return false
		case c == 'e' || c == 'E':
			return true
		}
	}
	return true
}

// Len is the number of elements or members, or of a string's bytes; 0 for the rest.
func (v Value) Len() int {
	switch v.kind {
	case KindString:
		return len(v.Text())
	case KindArray, KindObject:
		switch p := v.p.(type) {
		case *document:
			return p.count(v.n)
		case *list:
			return len(p.items)
		case *object:
			return len(p.keys)
		}
	}
	return 0
}

// Text is the value as a Text template prints it: strings bare, missing as nothing, arrays and objects as compact JSON. Of
// a credential it is a mask.
func (v Value) Text() string {
	switch v.kind {
	case KindMissing:
		return ""
	case KindString:
		if v.flags&escaped != 0 {
			return unescape(v.s)
		}
		return v.s
	case KindNumber:
		return v.s
	}
	return string(v.AppendText(nil))
}

// goString is how a KindOther value prints.
func (v Value) goString() string {
	switch p := v.p.(type) {
	case *credential:
		return "***"
	case time.Time:
		return p.String()
	case fmt.Stringer:
		return p.String()
	}
	return fmt.Sprint(v.p)
}

// Get follows member names, or array positions written in digits, and gives the missing value where they lead nowhere.
func (v Value) Get(path ...string) Value {
	for _, name := range path {
		switch v.kind {
		case KindObject:
			v, _ = v.member(name)
		case KindArray:
			i, ok := position(name)
			if !ok {
				return v.none()
			}
			v, _ = v.element(i)
		default:
			return v.none()
		}
	}
	return v
}

// position reads a decimal array position.
func position(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// member returns a member of an object and the work of finding it: one for each member passed, and more for long names.
func (v Value) member(name string) (Value, int) {
	switch p := v.p.(type) {
	case *document:
		return p.member(v.n, name, v.flags&carried)
	case *object:
		if i := p.find(name); i >= 0 {
			m := p.vals[i]
			m.flags |= v.flags & carried
			return m, i + len(name)/4
		}
		return v.none(), len(p.keys)
	}
	return v.none(), 0
}

// none is what is missing of v: that a client left something out is the client's doing too.
func (v Value) none() Value { return Value{flags: v.flags & carried} }

// element gives an element of an array and how many were passed to find it.
func (v Value) element(i int) (Value, int) {
	switch p := v.p.(type) {
	case *document:
		return p.element(v.n, i, v.flags&carried)
	case *list:
		if i >= 0 && i < len(p.items) {
			m := p.items[i]
			m.flags |= v.flags & carried
			return m, 0
		}
	}
	return v.none(), 0
}

// Members visits an object's members in the document's order until yield returns false.
func (v Value) Members(yield func(name string, value Value) bool) {
	if v.kind != KindObject {
		return
	}
	for it := v.members(); it.next(); {
		if !yield(it.key(), it.value) {
			return
		}
	}
}

// Elements visits an array's elements until yield returns false.
func (v Value) Elements(yield func(i int, value Value) bool) {
	if v.kind != KindArray {
		return
	}
	for it := v.members(); it.next(); {
		if !yield(it.i, it.value) {
			return
		}
	}
}

// iterator walks over an array or object without allocating.
type iterator struct {
	whole  Value
	i      int // of the current one
	at     uint32
	end    uint32
	rawKey Value // of an object: the name, as a value
	value  Value
}

func (v Value) members() iterator {
	it := iterator{whole: v, i: -1}
	if v.kind != KindArray && v.kind != KindObject {
		it.whole = Value{}
		return it
	}
	if d, ok := v.p.(*document); ok {
		it.at, it.end = v.n+1, d.nodes[v.n].end
	}
	return it
}

// key is the name of the current member. One with escapes is decoded each time.
func (it *iterator) key() string { return it.rawKey.Text() }

func (it *iterator) next() bool {
	it.i++
	carry := it.whole.flags & carried
	switch p := it.whole.p.(type) {
	case *document:
		if it.at >= it.end {
			return false
		}
		if it.whole.kind == KindObject {
			it.rawKey = p.value(it.at, carry)
			it.at++
		}
		it.value = p.value(it.at, carry)
		it.at = p.after(it.at)
		return true
	case *list:
		if it.i >= len(p.items) {
			return false
		}
		it.value = p.items[it.i]
	case *object:
		if it.i >= len(p.keys) {
			return false
		}
		it.rawKey = Value{kind: KindString, s: p.keys[it.i], flags: carry}
		it.value = p.vals[it.i]
	default:
		return false
	}
	it.value.flags |= carry
	return true
}
