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

// maxSprigInput bounds the text that goes into one of sprig's own functions, not all of which are linear.
const maxSprigInput = 64 << 10

// defineSprig takes over sprig's functions that are not written here for JSON values.
func defineSprig() {
	for name, f := range sprig.GenericFuncMap() {
		_, out := removed[name]
		if functions[name] != nil || out {
			continue
		}
		define(name, 0, -1, made, nil)
		fn := functions[name]
		r := reflect.ValueOf(f)
		t := r.Type()
		fn.min, fn.max = t.NumIn(), t.NumIn()
		if t.IsVariadic() {
			fn.min, fn.max = t.NumIn()-1, -1
		}
		fn.call = sprigFunc(r, t)
	}
	for _, name := range keyMakers {
		delete(functions, name)
	}
}

func sprigFunc(f reflect.Value, t reflect.Type) func(*exec, []Value) (Value, error) {
	fixed := t.NumIn()
	if t.IsVariadic() {
		fixed--
	}
	return func(e *exec, a []Value) (Value, error) {
		in := make([]reflect.Value, len(a))
		size := 0
		for i, v := range a {
			size += v.size()
			var want reflect.Type
			if i < fixed {
				want = t.In(i)
			} else {
				want = t.In(fixed).Elem()
			}
			x, err := e.toParameter(v, want)
			if err != nil {
				return Value{}, err
			}
			in[i] = x
		}
		if size > maxSprigInput {
			return Value{}, fmt.Errorf("arguments over %d bytes", maxSprigInput)
		}
		if err := e.grow(8*size + 1024); err != nil {
			return Value{}, err
		}
		return callSprig(f, in)
	}
}

// size is roughly the text in a value.
func (v Value) size() int {
	switch p := v.p.(type) {
	case *document:
		return len(p.text(v.n))
	case *list, *object:
		b, _ := v.appendJSON(nil, 0, maxSprigInput)
		return len(b)
	}
	return len(v.s)
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
