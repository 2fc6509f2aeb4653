package convert

import "net/http"

// bodyDefaults warns of defaults that go into the body of a PATCH or PUT: whoever changes one member would reset the
// others without a word. A required argument of one possible value is a constant, and meant.
func (c *toolCompiler) bodyDefaults() {
	t := c.tool
	if c.rejected || t.method != http.MethodPatch && t.method != http.MethodPut {
		return
	}
	read, whole := map[string]bool{}, false // by the body template
	if body := t.body.text; body != nil && body.template != nil {
		for _, ref := range body.template.Refs() {
			if len(ref.Path) > 1 && ref.Path[0] == "args" {
				read[ref.Path[1]] = true
			} else {
				whole = whole || len(ref.Path) == 0 || ref.Path[0] == "args"
			}
		}
	}
	whole = whole && len(read) == 0 // {{index .args "x"}} reads .args on its way
	for i := range t.args {
		a := &t.args[i]
		if !a.initial.set {
			continue
		}
		if t.body.kind == bodyText {
			if !whole && !read[a.name] {
				continue
			}
		} else if a.pos != toBody {
			continue
		}
		if c.def.Args[i].Required && c.single(a.name) {
			continue
		}
		c.warn("args", c.def.Args[i].Line, "argument %q: its default goes into the body of every %s whose caller leaves it out, and may overwrite what is there: "+
			"leave the default out and let the description tell it", a.name, t.method)
	}
}

// single reports whether the schema of an argument allows only one value.
func (c *toolCompiler) single(name string) bool {
	p := c.property(name)
	return p != nil && (p.Const != nil || p.Enum != nil && len(p.Enum.Values) == 1)
}
