package template

// provenance is what a result takes over from its arguments.
func (e *exec) provenance(fn *function, args []Value) flags {
	var f flags
	harmless := fn.plain && e.t.opts.Mode == JSONBody
	for i := range args {
		if e.isTainted(&args[i], 0) {
			f = tainted
			harmless = harmless && e.isInert(&args[i], 0)
		}
	}
	if f != 0 && harmless {
		f |= inert
	}
	return f
}

// isTainted looks into what functions made, whose parts carry marks of their own. Parts may be shared many times over,
// so each look counts; without steps left the answer is the safe one.
func (e *exec) isTainted(v *Value, depth int) bool {
	if v.flags&tainted != 0 {
		return true
	}
	switch v.p.(type) {
	case *list, *object:
	default:
		return false
	}
	if e.steps--; e.steps < 0 || depth > maxJSONDepth {
		return true
	}
	switch p := v.p.(type) {
	case *list:
		for i := range p.items {
			if e.isTainted(&p.items[i], depth+1) {
				return true
			}
		}
	case *object:
		for i := range p.vals {
			if e.isTainted(&p.vals[i], depth+1) {
				return true
			}
		}
	}
	return false
}

// isInert tells whether nothing but numbers and the like would show.
func (e *exec) isInert(v *Value, depth int) bool {
	switch v.kind {
	case KindString:
		return v.flags&inert != 0
	case KindObject, KindSecret:
		return false
	case KindArray:
		if depth > 2 || v.Len() > 10_000 {
			return false
		}
		for it := v.members(); it.next(); {
			if e.steps--; e.steps < 0 || !e.isInert(&it.value, depth+1) {
				return false
			}
		}
	}
	return true
}
