package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// FromGo makes a value of what decoders and functions give: nil, booleans, strings, numbers, json.Number, slices, maps
// with string keys (in the order of their keys) and Values. Times and the like become KindOther; a number that JSON
// cannot say is an error.
func FromGo(x any) (Value, error) { return fromGo(x, 0) }

func fromGo(x any, depth int) (Value, error) {
	if depth > maxJSONDepth {
		return Value{}, errors.New("value nested too deeply")
	}
	switch x := x.(type) {
	case nil:
		return Null(), nil
	case Value:
		return x, nil
	case string:
		return String(x), nil
	case bool:
		return Bool(x), nil
	case int:
		return intValue(int64(x)), nil
	case int64:
		return intValue(x), nil
	case float64:
		return floatValue(x)
	case json.Number:
		if !isNumber(string(x)) {
			return Value{}, errors.New("not a JSON number")
		}
		return number(string(x)), nil
	case json.RawMessage:
		return ParseJSON(x)
	case []byte:
		return String(string(x)), nil
	case time.Time:
		return Value{kind: KindOther, p: x}, nil
	}
	r := reflect.ValueOf(x)
	switch r.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return intValue(r.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return number(strconv.FormatUint(r.Uint(), 10)), nil
	case reflect.Float32:
		return floatValue(r.Float())
	case reflect.Slice, reflect.Array:
		l := &list{make([]Value, r.Len())}
		for i := range l.items {
			v, err := fromGo(r.Index(i).Interface(), depth+1)
			if err != nil {
				return v, err
			}
			l.items[i] = v
		}
		return Value{kind: KindArray, p: l}, nil
	case reflect.Map:
		o := &object{frozen: true}
		for _, k := range r.MapKeys() {
			o.keys = append(o.keys, fmt.Sprint(k.Interface()))
		}
		slices.Sort(o.keys)
		for _, k := range o.keys {
			kv := reflect.ValueOf(k)
			if !kv.Type().ConvertibleTo(r.Type().Key()) || r.Type().Key().Kind() != reflect.String {
				return Value{}, errors.New("a map's keys are no strings")
			}
			v, err := fromGo(r.MapIndex(kv.Convert(r.Type().Key())).Interface(), depth+1)
			if err != nil {
				return v, err
			}
			o.vals = append(o.vals, v)
		}
		return Value{kind: KindObject, p: o}, nil
	}
	return Value{kind: KindOther, p: x}, nil
}

// toGo makes what sprig's functions expect: []any, map[string]any, and int64 or float64 for a number.
func (e *exec) toGo(v Value, depth int) (any, error) {
	if err := e.charge(1); err != nil {
		return nil, err
	}
	if depth > maxJSONDepth {
		return nil, errDeep
	}
	switch v.kind {
	case KindMissing, KindNull:
		return nil, nil
	case KindBool:
		return v.n == 1, nil
	case KindNumber:
		if n, err := strconv.ParseInt(v.s, 10, 64); err == nil {
			return n, nil
		}
		if err := e.charge(len(v.s) / 64); err != nil {
			return nil, err
		}
		return float(v)
	case KindString:
		return e.text(v)
	case KindArray:
		out := make([]any, 0, min(v.Len(), 1024))
		for it := v.members(); it.next(); {
			x, err := e.toGo(it.value, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case KindObject:
		out := make(map[string]any, min(v.Len(), 1024))
		for it := v.members(); it.next(); {
			x, err := e.toGo(it.value, depth+1)
			if err != nil {
				return nil, err
			}
			key, err := e.keyOf(&it)
			if err != nil {
				return nil, err
			}
			out[key] = x
		}
		return out, nil
	}
	if v.kind == KindSecret {
		return nil, errSecretUse
	}
	return v.p, nil
}
