package template

import (
	"errors"
	"fmt"
	"sync"
	"text/template/parse"
)

// exec is one execution.
type exec struct {
	t      *Template
	env    Env
	root   Value
	dst    []byte
	start  int // of this execution's output in dst
	limit  int // of dst
	steps  int
	memory int
	depth  int
	vars   []Value // frames of the procedures being run
	frame  int
	args   []Value // arguments being gathered
	place  place
}

var execs = sync.Pool{New: func() any { return new(exec) }}

// Execute appends the output for data to dst. On an error, which is an *Error, dst comes back as it was given. data
// must not be tainted as a whole where the Mode escapes: mark its args member. Safe for concurrent use.
func (t *Template) Execute(dst []byte, data Value, env Env, b Budget) (out []byte, err error) {
	if text, ok := t.Literal(); ok && t.opts.Mode == Text {
		return append(dst, text...), nil
	}
	b = b.orDefault()
	e := execs.Get().(*exec)
	e.t, e.env, e.root = t, env, data
	e.root.flags |= rootData
	e.dst, e.start, e.limit = dst, len(dst), len(dst)+b.Output
	e.steps, e.memory, e.depth = b.Steps, 4*b.Output, b.Depth
	e.place = place{from: len(dst)}
	defer func() {
		// Functions of others may panic on arguments they did not foresee; nothing of theirs is worth keeping.
		if r := recover(); r != nil {
			out, err = dst, &Error{Name: t.name, Line: 1, Column: 1, Message: "a function cannot work on its arguments"}
			return
		}
		e.recycle()
	}()
	if _, err = e.call(t.main, e.root); err == nil {
		err = e.finish()
	}
	if err == nil && e.steps < 0 { // used up within the last statement
		err = e.fail(0, errSteps)
	}
	if err != nil {
		return dst, err
	}
	return e.dst, nil
}

// recycle forgets the data and keeps the room.
func (e *exec) recycle() {
	clear(e.vars[:cap(e.vars)])
	clear(e.args[:cap(e.args)])
	vars, args := e.vars[:0], e.args[:0]
	if cap(vars) > 1024 || cap(args) > 1024 {
		return
	}
	*e = exec{vars: vars, args: args}
	execs.Put(e)
}

// fail gives an error its position, unless it has one.
func (e *exec) fail(pos parse.Pos, err error) error {
	var at *Error
	if errors.As(err, &at) {
		return err
	}
	return e.t.src.errorAt(pos, err, "%s", err)
}

// call runs a procedure on data.
func (e *exec) call(p *procedure, data Value) (control, error) {
	outer := e.frame
	e.frame = len(e.vars)
	for range p.slots {
		e.vars = append(e.vars, Value{})
	}
	e.vars[e.frame] = data
	_, err := e.run(p.body, data)
	e.vars, e.frame = e.vars[:e.frame], outer
	return goOn, err
}

// control is how a list of statements ended.
type control uint8

const (
	goOn control = iota
	leaveLoop
	nextTurn
)

func (e *exec) run(body []stmt, dot Value) (control, error) {
	for i := range body {
		s := &body[i]
		if e.steps--; e.steps < 0 {
			return goOn, e.fail(s.pos, errSteps)
		}
		var c control
		var err error
		switch s.op {
		case stmtText:
			err = e.author(s.text)
		case stmtPrint:
			var v Value
			if v, err = e.eval(s.e, dot); err == nil {
				if v.kind == KindSecret {
					err = e.printSecret(s.pos, v)
				} else {
					err = e.print(v)
				}
			}
		case stmtEval:
			_, err = e.eval(s.e, dot)
		case stmtIf, stmtWith:
			var v Value
			if v, err = e.eval(s.e, dot); err != nil {
				break
			}
			switch {
			case v.kind == KindSecret:
				err = errSecretUse
			case !v.Truth():
				c, err = e.run(s.els, dot)
			case s.op == stmtWith:
				c, err = e.run(s.body, v)
			default:
				c, err = e.run(s.body, dot)
			}
		case stmtRange:
			c, err = e.rangeOver(s, dot)
		case stmtTemplate:
			err = e.invoke(s, dot)
		case stmtBreak:
			return leaveLoop, nil
		case stmtContinue:
			return nextTurn, nil
		}
		if err != nil {
			return goOn, e.fail(s.pos, err)
		}
		if c != goOn {
			return c, nil
		}
	}
	return goOn, nil
}

func (e *exec) invoke(s *stmt, dot Value) error {
	var v Value
	if s.e != nil {
		var err error
		if v, err = e.eval(s.e, dot); err != nil {
			return err
		}
	}
	if e.depth--; e.depth < 0 {
		return errDepth
	}
	_, err := e.call(s.proc, v)
	e.depth++
	return err
}

// rangeOver runs a range over the elements of an array, the members of an object, or the integers below a number.
func (e *exec) rangeOver(s *stmt, dot Value) (control, error) {
	v, err := e.eval(s.e, dot)
	if err != nil {
		return goOn, err
	}
	turn := func(key, item Value) (stop bool, err error) {
		if e.steps--; e.steps < 0 {
			return true, errSteps
		}
		if s.key >= 0 {
			e.vars[e.frame+s.key] = key
		}
		if s.val >= 0 {
			e.vars[e.frame+s.val] = item
		}
		c, err := e.run(s.body, item)
		return c == leaveLoop, err
	}
	carry := v.flags & carried
	switch v.kind {
	case KindMissing, KindNull:
	case KindArray, KindObject:
		if v.Len() == 0 {
			break
		}
		for it := v.members(); it.next(); {
			key := it.rawKey
			if v.kind == KindArray {
				if s.key >= 0 {
					key = intValue(int64(it.i))
				}
			}
			if stop, err := turn(key, it.value); stop || err != nil {
				return goOn, err
			}
		}
		return goOn, nil
	case KindNumber:
		n, ok := toInt(v)
		if !ok {
			return goOn, errors.New("range over a number that is no integer")
		}
		if n <= 0 {
			break
		}
		if n > int64(e.steps) {
			return goOn, errSteps
		}
		for i := range n {
			item := intValue(i)
			item.flags |= carry
			if stop, err := turn(item, item); stop || err != nil {
				return goOn, err
			}
		}
		return goOn, nil
	default:
		return goOn, fmt.Errorf("range over %s", v.kind)
	}
	return e.run(s.els, dot)
}

// eval gives an expression's value.
func (e *exec) eval(x *expr, dot Value) (Value, error) {
	switch x.op {
	case exprConst:
		return x.val, nil
	case exprDot:
		return e.walk(dot, x.path)
	case exprVar:
		return e.walk(e.vars[e.frame+x.slot], x.path)
	case exprChain:
		v, err := e.eval(x.args[0], dot)
		if err != nil {
			return v, err
		}
		return e.walk(v, x.path)
	case exprCall:
		return e.apply(x, dot)
	case exprAnd, exprOr:
		var v Value
		var err error
		for _, arg := range x.args {
			v, err = e.eval(arg, dot)
			if err == nil && v.kind == KindSecret {
				err = e.fail(x.pos, errSecretUse)
			}
			if err != nil || v.Truth() == (x.op == exprOr) {
				break
			}
		}
		return v, err
	case exprSet:
		v, err := e.eval(x.args[0], dot)
		if err == nil {
			e.vars[e.frame+x.slot] = v
		}
		return v, err
	}
	return Value{}, nil
}

// walk follows names; where they lead nowhere the value is missing.
func (e *exec) walk(v Value, path []string) (Value, error) {
	for _, name := range path {
		switch v.kind {
		case KindObject:
			where := v.flags
			var work int
			v, work = v.member(name)
			if where&(rootData|arguments) != 0 {
				e.markArgument(&v, where, name)
			}
			if e.steps -= 1 + work/16; e.steps < 0 {
				return Value{}, errSteps
			}
		case KindOther:
			v = timeField(v, name)
		case KindSecret:
			v = v.selected(name)
		default:
			return v.none(), nil
		}
	}
	return v, nil
}

// markArgument recognises .args.name, for Options.MultiSegment.
func (e *exec) markArgument(v *Value, where flags, name string) {
	switch {
	case len(e.t.opts.MultiSegment) == 0:
	case where&rootData != 0:
		if name == "args" {
			v.flags |= arguments
		}
	default:
		for _, m := range e.t.opts.MultiSegment {
			if m == name {
				v.flags |= multi
			}
		}
	}
}

// apply calls a function.
func (e *exec) apply(x *expr, dot Value) (Value, error) {
	if e.steps--; e.steps < 0 {
		return Value{}, e.fail(x.pos, errSteps)
	}
	base := len(e.args)
	for _, arg := range x.args {
		v, err := e.eval(arg, dot)
		if err != nil {
			e.args = e.args[:base]
			return v, err
		}
		e.args = append(e.args, v)
	}
	args := e.args[base:]
	v, err := e.invokeFunction(x.fn, args)
	if err == nil && !x.fn.own {
		v.flags |= e.provenance(x.fn, args)
	}
	clear(args)
	e.args = e.args[:base]
	if err != nil {
		return Value{}, e.fail(x.pos, fmt.Errorf("%s: %w", x.fn.name, err))
	}
	return v, nil
}

func (e *exec) invokeFunction(fn *function, args []Value) (Value, error) {
	work := 0
	for i := range args {
		if args[i].kind == KindSecret {
			if fn.name == "b64enc" {
				return args[i].encoded()
			}
			return Value{}, errSecretUse
		}
		work += len(args[i].s) >> 6
	}
	if fn.cost != costFixed {
		if e.steps -= work; e.steps < 0 {
			return Value{}, errSteps
		}
	}
	return fn.call(e, args)
}

// text is for functions: the value's text, counted.
func (e *exec) text(v Value) (string, error) {
	switch v.kind {
	case KindMissing:
		return "", nil
	case KindNumber:
		return v.s, nil
	case KindString:
		if v.flags&escaped == 0 {
			return v.s, e.charge(len(v.s) / 64)
		}
		return unescape(v.s), e.grow(len(v.s))
	case KindArray, KindObject:
		return e.json(v)
	case KindSecret:
		return "", errSecretUse
	}
	s := v.Text()
	return s, e.grow(len(s))
}

// json is the value's compact JSON, counted before it is made.
func (e *exec) json(v Value) (string, error) {
	n, err := e.measure(&v, 0)
	if err == nil {
		err = e.grow(2 * n)
	}
	if err != nil {
		return "", err
	}
	b, ok := v.appendJSON(make([]byte, 0, n), 0, n+e.memory)
	if !ok {
		return "", errMemory
	}
	return textOf(b), e.grow(max(len(b)-n, 0))
}

// measure returns how long the value's JSON is at least, but for white space, and no less than a sixth of what it is.
// What functions made may hold one thing many times over, so that each look at a part is a step.
func (e *exec) measure(v *Value, depth int) (int, error) {
	if depth > maxJSONDepth {
		return 0, errDeep
	}
	switch p := v.p.(type) {
	case *document:
		return len(p.text(v.n)), nil
	case *list:
		return e.measureAll(p.items, 2+len(p.items), depth)
	case *object:
		n := 2 + 4*len(p.keys)
		for _, k := range p.keys {
			n += len(k)
		}
		return e.measureAll(p.vals, n, depth)
	case *credential:
		return 0, errSecretUse
	}
	return len(v.s) + 2, nil
}

func (e *exec) measureAll(parts []Value, n, depth int) (int, error) {
	if err := e.charge(1 + len(parts)/4); err != nil {
		return 0, err
	}
	for i := range parts {
		m, err := e.measure(&parts[i], depth+1)
		if err != nil {
			return 0, err
		}
		if n += m; n > e.memory {
			return 0, errMemory
		}
	}
	return n, nil
}
