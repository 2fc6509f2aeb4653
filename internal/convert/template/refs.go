package template

import (
	"slices"
	"strings"
	"text/template/parse"
)

// static is a path from the data's root, where it is known which one.
type static struct {
	path    []string
	known   bool
	secret  bool // a credential, written as ${…} or kept in a variable
	encoded bool // its base64
}

func (s static) walk(names ...string) static {
	if !s.known {
		return s
	}
	return static{path: append(slices.Clone(s.path), names...), known: true}
}

func (c *compiler) ref(pos parse.Pos, at static) {
	line, column := c.t.src.locate(int(pos))
	c.t.refs = append(c.t.refs, Ref{Path: at.path, Line: line, Column: column})
}

func (c *compiler) field(pos parse.Pos, base static, names []string) static {
	if !base.known || len(names) == 0 {
		return base
	}
	at := base.walk(names...)
	c.ref(pos, at)
	return at
}

// seeThrough keeps track of paths written as calls, and checks literal patterns and GJSON paths.
func (c *compiler) seeThrough(e *expr, first static) static {
	switch e.fn.name {
	case "index", "get":
		names, ok := literals(e.args[1:])
		if e.fn.name == "get" && len(e.args) == 2 && e.args[0].op == exprConst { // piped: {{.args | get "x"}} is no use
			return static{}
		}
		if first.known && ok && len(names) > 0 {
			at := first.walk(names...)
			c.ref(e.pos, at)
			return at
		}
	case "gjson":
		if names, ok := literals(e.args); ok && len(names) == 1 {
			if err := checkPath(names[0]); err != nil {
				c.fail(e.args[0].pos, "gjson: %v", err)
			}
			if path, ok := plainGJSON(names[0]); ok && c.scope[0].at.known {
				at := static{path: path, known: true}
				c.ref(e.pos, at)
				return at
			}
		}
	default:
		if strings.Contains(strings.ToLower(e.fn.name), "regex") && len(e.args) > 0 && e.args[0].op == exprConst && e.fn.name != "regexQuoteMeta" {
			c.regex(e)
		}
	}
	return static{}
}

// regex reports what is wrong with a literal pattern. It is compiled by the first call that needs it.
func (c *compiler) regex(e *expr) {
	if _, _, err := readRegex(e.args[0].val.Text()); err != nil {
		c.fail(e.args[0].pos, "%v", err)
	}
}

// literals gives the strings of constant string expressions.
func literals(args []*expr) ([]string, bool) {
	var names []string
	for _, a := range args {
		if a.op != exprConst || a.val.kind != KindString {
			return nil, false
		}
		names = append(names, a.val.s)
	}
	return names, true
}

// keys returns the constant names and positions that index is given.
func keys(args []*expr) ([]string, bool) {
	var names []string
	for _, a := range args {
		if a.op != exprConst || a.val.kind != KindString && a.val.kind != KindNumber {
			return nil, false
		}
		names = append(names, a.val.Text())
	}
	return names, true
}

// plainGJSON gives the member names of a path that is nothing but names, dots and escapes.
func plainGJSON(path string) ([]string, bool) {
	if strings.ContainsAny(path, "|#@*?![{(\"") || path == "" {
		return nil, false
	}
	var names []string
	var name []byte
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path):
			i++
			name = append(name, path[i])
		case path[i] == '.':
			names, name = append(names, string(name)), nil
		default:
			name = append(name, path[i])
		}
	}
	return append(names, string(name)), true
}
