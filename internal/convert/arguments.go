package convert

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// arg is one argument of a tool, and where it goes.
type arg struct {
	name    string
	header  string // its name as a header
	pos     position
	inURL   bool // its place in the path is written in the URL
	multi   bool
	explode bool
	kind    string // integer, number or boolean: what text is read as
	initial value  // its default
}

// position is where an argument goes; what has none goes where the tool's argsTo* says.
type position uint8

const (
	nowhere position = iota // only templates see it
	toPath
	toQuery
	toHeader
	toCookie
	toBody
)

// value is an argument's value in one call.
type value struct {
	set    bool
	isText bool
	text   string // of a string
	raw    []byte // JSON text
	any    any    // for validation
}

// sent tells a value from none at all: null is sent in a JSON body only.
func (v *value) sent() bool { return v.set && v.any != nil }

func (v *value) empty() bool { return v.isText && v.text == "" }

func newValue(raw []byte, v any) value {
	text, isText := v.(string)
	return value{set: true, isText: isText, text: text, raw: raw, any: v}
}

// appendText appends the value as text: strings bare, numbers with their digits, arrays and objects as compact JSON.
func (v *value) appendText(dst []byte, escape func([]byte, string) []byte) []byte {
	switch {
	case !v.sent():
		return dst
	case v.isText:
		return escape(dst, v.text)
	default:
		return escape(dst, v.compact())
	}
}

func (v *value) plain() string {
	if v.isText {
		return v.text
	}
	return v.compact()
}

func (v *value) compact() string {
	switch v.any.(type) {
	case []any, map[string]any:
		return string(appendCompact(nil, v.raw))
	}
	return string(v.raw)
}

// elements gives the parts of an array as values of their own, for exploded parameters.
func (v *value) elements() []value {
	list, ok := v.any.([]any)
	if !ok {
		return []value{*v}
	}
	out := make([]value, 0, len(list))
	r := reader{s: v.raw, i: 1}
	for _, e := range list {
		r.space()
		start := r.i
		if _, err := r.value(); err != nil {
			return nil // cannot be: it was parsed before
		}
		out = append(out, newValue(v.raw[start:r.i], e))
		r.space()
		r.i++ // comma
	}
	return out
}

// coerce reads text as the number or boolean that the schema asks for: models write "42" for 42.
func (v value) coerce(kind string) value {
	if !v.isText {
		return v
	}
	s := strings.TrimSpace(v.text)
	switch kind {
	case "boolean":
		if s == "true" || s == "false" {
			return newValue([]byte(s), s == "true")
		}
	case "integer", "number":
		if n := numberLen([]byte(s)); n == 0 || n != len(s) || checkNumber([]byte(s)) != nil {
			return v
		}
		return newValue([]byte(s), json.Number(s))
	}
	return v
}

// fit makes a default fit its argument's type, if it can: files hold `default: "10"` for integers, and 10 for strings.
func (v value) fit(kind string) value {
	if kind == "string" && !v.isText {
		switch v.any.(type) {
		case json.Number, bool:
			s := string(v.raw)
			return newValue(jsontext.AppendString(nil, s), s)
		}
	}
	return v.coerce(kind)
}

// arguments is what a call says, checked.
type arguments struct {
	vals  []value  // by index into the tool's arguments
	few   [4]value // what vals is made of where they are enough
	all   []member // as they came
	extra []member // not declared, but allowed by the schema
}

// arguments reads what a call says into a, and checks it. Faults are the caller's.
func (t *Tool) arguments(a *arguments, raw []byte) []string {
	members, depth, err := parseObject(a.all[:0], raw, t)
	if a.all = members; err != nil {
		return []string{err.Error()}
	}
	if a.vals = a.few[:0]; len(t.args) <= len(a.few) {
		a.vals = a.few[:len(t.args)]
	} else {
		a.vals = make([]value, len(t.args))
	}
	quick := t.quick != nil
	for _, m := range members {
		i, known := t.index[m.name]
		if !known {
			quick = false
			if t.open {
				a.extra = append(a.extra, m)
			}
			continue
		}
		a.vals[i] = newValue(m.raw, m.value).coerce(t.args[i].kind)
	}
	size := len(raw)
	for i := range t.args {
		if initial := &t.args[i].initial; initial.set && !a.vals[i].set {
			a.vals[i] = *initial
			size += len(initial.raw)
		}
	}
	if quick && t.quick.valid(a.vals) {
		return nil
	}
	return t.input.validate(a.instance(t, members), max(depth, t.nested, 1), size)
}

// instance gives the arguments as the schema library wants them.
func (a *arguments) instance(t *Tool, members []member) map[string]any {
	all := make(map[string]any, len(members)+len(t.args))
	for _, m := range members {
		all[m.name] = m.value
	}
	for i := range a.vals {
		if a.vals[i].set {
			all[t.args[i].name] = a.vals[i].any
		}
	}
	return all
}

// appendJSON appends all arguments as one JSON object: what templates see as .args.
func (a *arguments) appendJSON(dst []byte, t *Tool) []byte {
	return a.appendSome(dst, t, func(*arg) bool { return true }, true)
}

// appendSome appends the arguments chosen as one JSON object.
func (a *arguments) appendSome(dst []byte, t *Tool, chosen func(*arg) bool, extra bool) []byte {
	dst = append(dst, '{')
	start := len(dst)
	comma := func() {
		if len(dst) > start {
			dst = append(dst, ',')
		}
	}
	for i := range a.vals {
		if v := &a.vals[i]; v.set && chosen(&t.args[i]) {
			comma()
			dst = append(jsontext.AppendString(dst, t.args[i].name), ':')
			dst = appendCompact(dst, v.raw)
		}
	}
	if extra {
		for _, m := range a.extra {
			comma()
			dst = append(jsontext.AppendString(dst, m.name), ':')
			dst = appendCompact(dst, m.raw)
		}
	}
	return append(dst, '}')
}

// declare works out a tool's arguments: positions, types and defaults.
func (c *toolCompiler) declare() {
	t, def := c.tool, c.def
	t.index = make(map[string]int, len(def.Args))
	for i := range def.Args {
		d := &def.Args[i]
		a := arg{name: d.Name, multi: d.MultiSegment, explode: d.Explode, kind: d.Type}
		switch d.Position {
		case registry.InPath:
			a.pos = toPath
			if strings.ContainsAny(d.Name, notInBraces) {
				c.reject("args", d.Line, "argument %q cannot have the position path: its name holds one of { } / ? #", d.Name)
			}
		case registry.InQuery:
			a.pos = toQuery
		case registry.InHeader:
			a.pos, a.header = toHeader, http.CanonicalHeaderKey(d.Name)
			if !isToken(d.Name) {
				c.reject("args", d.Line, "argument %q cannot be the name of a header", d.Name)
			}
		case registry.InCookie:
			a.pos = toCookie
			if !isToken(d.Name) {
				c.reject("args", d.Line, "argument %q cannot be the name of a cookie", d.Name)
			}
		case registry.InBody:
			a.pos = toBody
		}
		if types := c.propertyTypes(d.Name); types != nil {
			a.kind = ""
			if len(types) == 1 || len(types) == 2 && types[0] == "null" {
				a.kind = types[len(types)-1]
			}
		}
		c.initial(&a, d)
		if _, twice := t.index[a.name]; twice {
			c.reject("args", d.Line, "argument %q is declared twice", a.name)
			continue
		}
		t.index[a.name] = len(t.args)
		t.args = append(t.args, a)
	}
	t.quick = newQuickCheck(def.InputSchema, t.index)
}

// initial takes an argument's default, which must be what its schema allows, else calls without it would fail.
func (c *toolCompiler) initial(a *arg, d *registry.Arg) {
	raw := bytes.TrimSpace(d.Default)
	if len(raw) == 0 {
		return
	}
	v, depth, err := parseNested(raw, true)
	if err != nil {
		c.reject("args", d.Line, "argument %q: default: %v", d.Name, err)
		return
	}
	if v == nil {
		return // "default: null" says that there is none
	}
	a.initial = newValue(raw, v).fit(a.kind)
	c.tool.nested = max(c.tool.nested, depth+1)
	if p := c.property(d.Name); p != nil {
		if c.spent.evaluations += c.input.evaluationsOf(p, a.initial.any, depth, len(raw)); !c.spent.fits() {
			c.reject("args", d.Line, "argument %q: its default is too large to be held against its schema", d.Name)
			return
		}
		if err := p.Validate(a.initial.any); err != nil {
			c.warn("args", d.Line, "argument %q: its default is not what its schema allows, so it is not used", d.Name)
			a.initial = value{}
		}
	}
}
