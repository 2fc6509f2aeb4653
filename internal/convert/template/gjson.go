package template

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// GJSON paths (https://github.com/tidwall/gjson/blob/master/SYNTAX.md) are run here and not by package gjson, which can
// be neither stopped nor counted: it recurses into whatever text @fromstr yields, writes literals and names once for
// each element, and matches patterns for as long as they take. Here every element, key and byte that is looked at is a
// step, and nothing is copied but what is made anew. FuzzGJSON compares the two.

// runGJSON runs a GJSON path on the root of the data.
func runGJSON(e *exec, a []Value) (Value, error) {
	path, err := e.text(a[0])
	if err != nil {
		return Value{}, err
	}
	if len(path) > maxGJSONPath {
		return Value{}, errLongPath
	}
	v, err := e.gjson(e.root, path)
	v.flags = v.flags&^(rootData|arguments) | a[0].flags&carried
	return v, err
}

// lookup is one GJSON path on its way: a pipe found in it is applied to what the way leads to.
type lookup struct {
	e     *exec
	pipe  string
	piped bool
}

// gjson returns what path leads to from v, missing where it leads nowhere. It recurses at most once for each byte of
// the path.
func (e *exec) gjson(v Value, path string) (Value, error) {
	if err := e.charge(1 + len(path)/64); err != nil {
		return Value{}, err
	}
	if len(path) > 1 {
		switch path[0] {
		case '@':
			if callsModifier(path) {
				return e.modified(v, path)
			}
		case '!':
			if json, rest, ok := readStatic(path); ok {
				s, err := e.parseOrNothing(json)
				if err != nil || rest == "" || rest[0] != '|' && rest[0] != '.' {
					return s, err
				}
				return e.gjson(s, rest[1:])
			}
		case '[', '{':
			if subs, rest, ok := readSubPaths(path); ok {
				made, err := e.subPaths(v, subs, path[0] == '{')
				if err != nil || rest == "" {
					return made, err
				}
				return e.gjson(made, rest[1:])
			}
		}
	}
	if strings.HasPrefix(path, "..") { // lines of JSON, of which there is one
		v, path = Array(v), path[2:]
	}
	l := lookup{e: e}
	found, _, err := l.in(v, path)
	if err != nil || !l.piped {
		return found, err
	}
	return e.gjson(found, l.pipe)
}

func (e *exec) modified(v Value, path string) (Value, error) {
	name, arg, rest := readModifier(path)
	v, err := e.modify(v, name, arg)
	if err != nil || rest == "" || rest[0] != '|' && rest[0] != '.' {
		return v, err
	}
	return e.gjson(v, rest[1:])
}

func (e *exec) parseOrNothing(json string) (Value, error) {
	v, err := e.parse(json)
	if err != nil && !errors.Is(err, ErrBudget) {
		return Value{}, nil
	}
	return v, err
}

// subPaths makes the array or object of what several paths lead to from v. Those that lead nowhere are left out.
func (e *exec) subPaths(v Value, subs []subPath, named bool) (Value, error) {
	o := &object{}
	var items []Value
	for i := range subs {
		found, err := e.gjson(v, subs[i].path)
		if err != nil {
			return Value{}, err
		}
		if !found.Exists() {
			continue
		}
		if err := e.growList(2); err != nil {
			return Value{}, err
		}
		if !named {
			items = append(items, found)
			continue
		}
		o.keys, o.vals = append(o.keys, subs[i].key()), append(o.vals, found)
	}
	if !named {
		return Array(items...), nil
	}
	return Value{kind: KindObject, p: o}, nil
}

// in returns what path leads to within v. found is false where nothing was there and another way may be tried.
func (l *lookup) in(v Value, path string) (result Value, found bool, err error) {
	if err := l.e.charge(1); err != nil {
		return Value{}, false, err
	}
	switch v.kind {
	case KindObject:
		return l.inObject(v, path)
	case KindArray:
		return l.inArray(v, path)
	}
	return Value{}, false, nil
}

func (l *lookup) notePipe(c *component) {
	if !c.more && c.piped {
		l.pipe, l.piped = c.pipe, true
	}
}

func (l *lookup) inObject(v Value, path string) (Value, bool, error) {
	c := memberComponent(path)
	l.notePipe(&c)
	if !c.wild {
		m, work := v.member(c.name)
		if err := l.e.charge(work / 16); err != nil || !m.Exists() {
			return Value{}, false, err
		}
		if c.more {
			return l.in(m, c.rest)
		}
		return m, true, nil
	}
	for it := v.members(); it.next(); {
		key := it.key()
		if err := l.e.charge(1 + len(key)/64); err != nil {
			return Value{}, false, err
		}
		if same, err := l.e.glob(key, c.name); !same || err != nil {
			if err != nil {
				return Value{}, false, err
			}
			continue
		}
		if !c.more {
			return it.value, true, nil
		}
		if m, found, err := l.in(it.value, c.rest); found || err != nil {
			return m, found, err
		}
	}
	return Value{}, false, nil
}

func (l *lookup) inArray(v Value, path string) (Value, bool, error) {
	c := elementComponent(path)
	l.notePipe(&c)
	switch {
	case c.count:
		n := intValue(int64(v.Len()))
		n.flags |= v.flags & carried
		return n, true, nil
	case c.each:
		return l.each(v, c.rest)
	case c.query != nil:
		return l.matching(v, &c)
	}
	i, ok := position(c.name)
	if !ok || i >= v.Len() {
		return Value{}, false, nil
	}
	if err := l.e.charge(i / 16); err != nil {
		return Value{}, false, err
	}
	m, _ := v.element(i)
	if c.more {
		return l.in(m, c.rest)
	}
	return m, true, nil
}

// each applies a path to every element.
func (l *lookup) each(v Value, path string) (Value, bool, error) {
	path, pipe, piped := splitPipe(path)
	if piped {
		l.pipe, l.piped = pipe, true
	}
	var out []Value
	for it := v.members(); it.next(); {
		m, err := l.e.gjson(it.value, path)
		if err != nil {
			return Value{}, false, err
		}
		if out, err = l.collect(out, m); err != nil {
			return Value{}, false, err
		}
	}
	return Array(out...), true, nil
}

// collect appends a value that was found.
func (l *lookup) collect(out []Value, v Value) ([]Value, error) {
	if !v.Exists() {
		return out, nil
	}
	return append(out, v), l.e.growList(1)
}

// matching returns the element that a query finds, or all of them, each followed along the component's rest.
func (l *lookup) matching(v Value, c *component) (Value, bool, error) {
	rest, pipe, piped := c.rest, "", false
	if c.more {
		rest, pipe, piped = splitPipe(rest)
	}
	var out []Value
	for it := v.members(); it.next(); {
		same, err := l.e.matches(it.value, c.query)
		if err != nil {
			return Value{}, false, err
		}
		if !same {
			continue
		}
		m := it.value
		if piped { // not before something matched: the pipe has nothing to work on then
			l.pipe, l.piped = pipe, true
		}
		if c.more {
			if m, err = l.e.gjson(m, rest); err != nil {
				return Value{}, false, err
			}
		}
		if !c.query.all {
			return m, true, nil
		}
		if out, err = l.collect(out, m); err != nil {
			return Value{}, false, err
		}
	}
	if !c.query.all {
		return Value{}, false, nil
	}
	return Array(out...), true, nil
}

// matches reports whether an element fulfils a query.
func (e *exec) matches(v Value, q *query) (bool, error) {
	if err := e.charge(1); err != nil {
		return false, err
	}
	if v.kind == KindArray || v.kind == KindObject {
		var err error
		if v, err = e.gjson(v, q.path); err != nil {
			return false, err
		}
	} else if q.path != "" {
		return false, nil
	}
	want := q.value
	if strings.HasPrefix(want, "~") {
		is, ok, err := e.isLike(v, want[1:])
		if err != nil || !ok {
			return false, err
		}
		v, want = Bool(is), "true"
	}
	if !v.Exists() {
		return false, nil
	}
	if q.op == "" {
		return true, nil
	}
	switch v.kind {
	case KindString:
		s, err := e.text(v)
		if err != nil {
			return false, err
		}
		if strings.HasSuffix(q.op, "%") {
			same, err := e.glob(s, want)
			return same == (q.op == "%"), err
		}
		return holds(q.op, strings.Compare(s, want)), nil
	case KindNumber:
		if err := e.charge(len(v.s) / 64); err != nil {
			return false, err
		}
		n, _ := strconv.ParseFloat(v.s, 64)
		switch {
		case n < q.n:
			return holds(q.op, -1), nil
		case n > q.n:
			return holds(q.op, 1), nil
		}
		return holds(q.op, 0), nil
	case KindBool:
		// true and false compare with the words; what is neither is less than true and more than false nowhere.
		switch is := v.Bool(); q.op {
		case "=":
			return want == strconv.FormatBool(is), nil
		case "!=":
			return want != strconv.FormatBool(is), nil
		case "<":
			return !is && want == "true", nil
		case ">":
			return is && want == "false", nil
		case "<=":
			return !is, nil
		case ">=":
			return is, nil
		}
	}
	return false, nil
}

func holds(op string, c int) bool {
	switch op {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return false
}

// isLike is what "~true" and the like ask of a value. ok is false for an unknown word.
func (e *exec) isLike(v Value, word string) (is, ok bool, err error) {
	truth, known := false, true // of v, if it has one
	switch v.kind {
	case KindMissing, KindNull:
	case KindBool:
		truth = v.Bool()
	case KindNumber:
		if err := e.charge(len(v.s) / 64); err != nil {
			return false, false, err
		}
		n, _ := strconv.ParseFloat(v.s, 64)
		truth = n != 0
	case KindString:
		s, err := e.text(v)
		if err != nil {
			return false, false, err
		}
		b, err := strconv.ParseBool(strings.ToLower(part(s, 0, 16)))
		truth, known = b, err == nil && len(s) < 16
	default:
		known = false
	}
	switch word {
	case "*":
		return v.Exists(), true, nil
	case "null":
		return v.kind <= KindNull, true, nil
	case "true":
		return known && truth, true, nil
	case "false":
		return known && !truth, true, nil
	}
	return false, false, nil
}

// glob reports whether all of s matches a pattern of "*", "?" and "\" escapes. Its work is at most the product of the
// two lengths, and counted.
func (e *exec) glob(s, pattern string) (bool, error) {
	i, j := 0, 0
	star, from := -1, 0 // after the last "*", and where what it stands for ends at the moment
	for work := 0; i < len(s); work++ {
		if work&1023 == 1023 {
			if err := e.charge(16); err != nil {
				return false, err
			}
		}
		if j < len(pattern) {
			switch pattern[j] {
			case '*':
				j++
				star, from = j, i
				continue
			case '?':
				i += runeLen(s[i:])
				j++
				continue
			}
			k := j
			if pattern[k] == '\\' && k+1 < len(pattern) {
				k++
			}
			if pattern[k] == s[i] {
				i, j = i+1, k+1
				continue
			}
		}
		if star < 0 {
			return false, nil
		}
		from += runeLen(s[from:])
		i, j = from, star
	}
	for j < len(pattern) && pattern[j] == '*' {
		j++
	}
	return j == len(pattern), nil
}

// runeLen is the length of the rune that s, which is not empty, begins with; an invalid byte is one.
func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// modify applies one of GJSON's modifiers.
func (e *exec) modify(v Value, name, arg string) (Value, error) {
	if slices.Contains(barred, name) {
		return Value{}, barredModifier(name)
	}
	carry := v.flags & carried
	switch name {
	case "this", "valid":
		return v, nil
	case "tostr":
		raw, err := e.rawText(v)
		out := String(raw)
		if e.isTainted(&v, 0) {
			out.flags |= tainted
		}
		return out, err
	case "fromstr", "ugly":
		return e.reread(v, name == "ugly")
	case "reverse":
		return e.reversed(v)
	case "flatten":
		if v.kind != KindArray {
			return v, nil
		}
		out, err := e.flatten(nil, v, e.option(arg, "deep"), 0)
		return Array(out...), err
	case "join":
		if v.kind != KindArray {
			return v, nil
		}
		return e.joinObjects(v, e.option(arg, "preserve"))
	case "values":
		if v.kind == KindArray || v.kind == KindObject {
			items, err := e.elements(v)
			return Array(items...), err
		}
		if !v.Exists() {
			return Array(), nil
		}
		return Array(v), nil
	}
	// keys
	switch v.kind {
	case KindObject:
		o, err := e.fields(v)
		if err != nil {
			return Value{}, err
		}
		out := make([]Value, len(o.keys))
		for i, k := range o.keys {
			out[i] = Value{kind: KindString, s: k, flags: carry}
		}
		return Array(out...), e.growList(len(out))
	case KindMissing:
		return Array(), nil
	}
	n := 1
	if v.kind == KindArray {
		n = v.Len()
	}
	if err := e.growList(n); err != nil {
		return Value{}, err
	}
	out := make([]Value, n)
	for i := range out {
		out[i] = Null()
	}
	return Array(out...), nil
}

// option reads a boolean member of a modifier's argument.
func (e *exec) option(arg, name string) bool {
	v, err := parseJSON(arg) // as short as the path
	if err != nil {
		return false
	}
	switch o := v.Get(name); o.kind {
	case KindBool:
		return o.Bool()
	case KindString:
		b, _ := strconv.ParseBool(strings.ToLower(o.Text()))
		return b
	case KindNumber:
		return !zeroNumber(o.s)
	}
	return false
}

// rawText is a value's JSON as it was written.
func (e *exec) rawText(v Value) (string, error) {
	if !v.Exists() {
		return "", nil
	}
	if d, ok := v.p.(*document); ok {
		raw := d.text(v.n)
		return raw, e.charge(len(raw) / 64)
	}
	if v.kind == KindNumber {
		return v.s, e.charge(len(v.s) / 64)
	}
	return e.json(v)
}

// reread reads a value's text again: a string's own, for @fromstr, or its compact JSON.
func (e *exec) reread(v Value, compact bool) (Value, error) {
	var text string
	var err error
	switch {
	case compact && (v.kind == KindArray || v.kind == KindObject):
		text, err = e.json(v)
	case compact || v.kind >= KindNumber && v.kind != KindString || v.kind == KindBool:
		return v, nil
	case v.kind == KindString:
		text, err = e.text(v)
	default:
		return Value{}, nil
	}
	if err != nil {
		return Value{}, err
	}
	out, err := e.parseOrNothing(text)
	if e.isTainted(&v, 0) {
		out.flags |= tainted
	}
	return out, err
}

// elements returns what an array or object holds.
func (e *exec) elements(v Value) ([]Value, error) {
	if err := e.growList(v.Len()); err != nil {
		return nil, err
	}
	out := make([]Value, 0, v.Len())
	for it := v.members(); it.next(); {
		out = append(out, it.value)
	}
	return out, nil
}

func (e *exec) reversed(v Value) (Value, error) {
	switch v.kind {
	case KindArray:
		items, err := e.elements(v)
		slices.Reverse(items)
		return Array(items...), err
	case KindObject:
		o, err := e.fields(v)
		if err != nil {
			return Value{}, err
		}
		slices.Reverse(o.keys)
		slices.Reverse(o.vals)
		return objectValue(o, v), nil
	}
	return v, nil
}

// flatten appends the elements of an array, with those of arrays among them in their place.
func (e *exec) flatten(out []Value, v Value, deep bool, depth int) ([]Value, error) {
	if depth > maxJSONDepth {
		return nil, errDeep
	}
	if err := e.growList(v.Len()); err != nil {
		return nil, err
	}
	for it := v.members(); it.next(); {
		switch {
		case it.value.kind != KindArray || depth > 0 && !deep:
			out = append(out, it.value)
		default:
			var err error
			if out, err = e.flatten(out, it.value, deep, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// joinObjects makes one object of an array's. A member that comes again replaces the one before, unless all are kept.
func (e *exec) joinObjects(v Value, preserve bool) (Value, error) {
	o := &object{}
	at := map[string]int{}
	for it := v.members(); it.next(); {
		if err := e.charge(1); err != nil {
			return Value{}, err
		}
		if it.value.kind != KindObject {
			continue
		}
		part, err := e.fields(it.value)
		if err != nil {
			return Value{}, err
		}
		for i, key := range part.keys {
			if err := e.growList(2); err != nil {
				return Value{}, err
			}
			part.vals[i].flags |= it.value.flags & carried
			if n, ok := at[key]; ok && !preserve {
				o.vals[n] = part.vals[i]
				continue
			}
			at[key] = len(o.keys)
			o.keys, o.vals = append(o.keys, key), append(o.vals, part.vals[i])
		}
	}
	return Value{kind: KindObject, p: o}, nil
}
