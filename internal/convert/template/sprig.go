package template

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// keyMakers are sprig's functions that are left out besides those in removed: they make keys and certificates, or
// hash passwords slowly on purpose.
var keyMakers = []string{"genPrivateKey", "derivePassword", "buildCustomCert", "genCA", "genCAWithKey", "genSelfSignedCert",
	"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "bcrypt", "htpasswd"}

// Limits of what goes into one of sprig's own functions, not all of which are linear: bytes of text (a wrap repeats its
// separator at every break) and arguments (decimals get longer with each).
const (
	maxSprigInput = 64 << 10
	maxWrapInput  = 4 << 10
	maxVersions   = 1 << 10 // semver's patterns look ahead from every place
	maxSprigArgs  = 64
)

// defineSprig takes over those of sprig's functions that are not written here for JSON values and whose cost is known:
// what a later sprig brings is looked at first.
func defineSprig(define definer, have map[string]*function) {
	for name, f := range sprig.GenericFuncMap() {
		if have[name] != nil || costs[name] != costBorrowed {
			continue
		}
		r := reflect.ValueOf(f)
		least, most := r.Type().NumIn(), r.Type().NumIn()
		if r.Type().IsVariadic() {
			least, most = least-1, -1
		}
		define(name, least, most, made, sprigFunc(r, r.Type(), name))
	}
}

func limitOf(name string) int {
	switch name {
	case "wrapWith":
		return maxWrapInput
	case "semver", "semverCompare":
		return maxVersions
	}
	return maxSprigInput
}

// workOf is what a call costs in steps besides one for each byte of its arguments, of which some take 100 ns: decimals with large exponents are slow, and so are versions.
func workOf(name string) int {
	switch name {
	case "addf", "add1f", "subf", "mulf", "divf", "semver", "semverCompare":
		return 2000
	}
	return 50
}

func sprigFunc(f reflect.Value, t reflect.Type, name string) body {
	limit, work := limitOf(name), workOf(name)
	fixed := t.NumIn()
	if t.IsVariadic() {
		fixed--
	}
	return func(e *exec, a []Value) (Value, error) {
		if len(a) > maxSprigArgs {
			return Value{}, fmt.Errorf("more than %d arguments", maxSprigArgs)
		}
		size := 0
		for i := range a {
			n, err := e.measure(&a[i], 0)
			if err != nil {
				return Value{}, err
			}
			if size += n; size > limit {
				return Value{}, fmt.Errorf("arguments over %d bytes", limit)
			}
		}
		if err := e.charge(work + size); err != nil {
			return Value{}, err
		}
		in := make([]reflect.Value, len(a))
		for i, v := range a {
			want := t.In(min(i, fixed))
			if i >= fixed {
				want = want.Elem()
			}
			x, err := e.toParameter(v, want)
			if err != nil {
				return Value{}, err
			}
			in[i] = x
		}
		made := 8*size + 1024
		if name == "wrapWith" {
			made += size * size
		}
		if err := e.grow(made); err != nil {
			return Value{}, err
		}
		return callSprig(f, in)
	}
}

// callSprig keeps panics and error texts to itself: both may quote an argument.
func callSprig(f reflect.Value, in []reflect.Value) (v Value, err error) {
	defer func() {
		if recover() != nil {
			v, err = Value{}, errUnfit
		}
	}()
	out := f.Call(in)
	if len(out) > 1 && !out[1].IsNil() {
		return Value{}, errUnfit
	}
	return FromGo(out[0].Interface())
}

var errUnfit = errors.New("it cannot work on its arguments")

// toParameter makes what a parameter of this type takes.
func (e *exec) toParameter(v Value, want reflect.Type) (reflect.Value, error) {
	var x any
	var err error
	switch want.Kind() {
	case reflect.String:
		x, err = e.text(v)
	case reflect.Bool:
		x = v.Truth()
	case reflect.Int, reflect.Int32, reflect.Int64:
		x, err = small(v)
	case reflect.Float64:
		x, err = float(v)
	case reflect.Interface:
		x, err = e.toGo(v, 0)
		if x == nil {
			return reflect.Zero(want), err
		}
	case reflect.Map:
		if x, err = e.toGo(v, 0); x == nil {
			x = map[string]any{}
		}
	case reflect.Struct:
		var t time.Time
		t, err = e.instant(v)
		x = t
	}
	if err != nil {
		return reflect.Value{}, err
	}
	r := reflect.ValueOf(x)
	if !r.IsValid() || !r.Type().ConvertibleTo(want) {
		return reflect.Value{}, errUnfit
	}
	return r.Convert(want), nil
}
