package template

import (
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// maxExprDepth bounds parentheses and pipes within each other.
const maxExprDepth = 200

// compiler turns the parser's trees into procedures.
type compiler struct {
	t     *Template
	trees map[string]*parse.Tree
	procs map[string]*procedure
	proc  *procedure
	scope []variable
	dot   static
	depth int
	err   error
}

// variable is a name in scope and what is known of it.
type variable struct {
	name string
	slot int
	at   static
}

// compile compiles the main tree, and with it all that it can reach, then the rest for its faults.
func (c *compiler) compile(main *parse.Tree) error {
	c.t.main = c.procedure(treeName, main, static{known: true})
	names := make([]string, 0, len(c.trees))
	for name := range c.trees {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if c.procs[name] == nil {
			c.procedure(name, c.trees[name], static{})
		}
	}
	return c.err
}

func (c *compiler) fail(pos parse.Pos, format string, args ...any) {
	if c.err == nil {
		c.err = c.t.src.errorAt(pos, nil, format, args...)
	}
}

// procedure compiles a tree. Its dot is known only for the main one, since others may be called from anywhere.
func (c *compiler) procedure(name string, tree *parse.Tree, dot static) *procedure {
	if p := c.procs[name]; p != nil {
		return p
	}
	p := &procedure{slots: 1}
	c.procs[name] = p
	outer := *c
	c.proc, c.dot, c.scope = p, dot, []variable{{"$", 0, dot}}
	if tree != nil && tree.Root != nil {
		p.body = c.list(tree.Root)
	}
	c.proc, c.dot, c.scope = outer.proc, outer.dot, outer.scope
	return p
}

func (c *compiler) list(l *parse.ListNode) []stmt {
	if l == nil {
		return nil
	}
	out := make([]stmt, 0, len(l.Nodes))
	for _, n := range l.Nodes {
		if c.err != nil {
			return nil
		}
		if s, ok := c.stmt(n); ok {
			out = append(out, s)
		}
	}
	return out
}

func (c *compiler) stmt(n parse.Node) (s stmt, ok bool) {
	s = stmt{pos: n.Position(), key: -1, val: -1}
	switch n := n.(type) {
	case *parse.TextNode:
		s.op, s.text = stmtText, string(n.Text)
	case *parse.ActionNode:
		s.op = stmtPrint
		if len(n.Pipe.Decl) > 0 {
			s.op = stmtEval
		}
		var at static
		if s.e, at = c.pipe(n.Pipe); s.op == stmtPrint {
			c.printable(n.Pos, at)
		}
	case *parse.IfNode:
		s.op = stmtIf
		c.branch(&s, &n.BranchNode)
	case *parse.WithNode:
		s.op = stmtWith
		c.branch(&s, &n.BranchNode)
	case *parse.RangeNode:
		s.op = stmtRange
		c.branch(&s, &n.BranchNode)
	case *parse.TemplateNode:
		s.op = stmtTemplate
		tree := c.trees[n.Name]
		if tree == nil {
			c.fail(n.Pos, "template %q not defined%s", n.Name, suggest(n.Name, keysOf(c.trees)))
			return s, false
		}
		at := static{}
		if n.Pipe != nil {
			s.e, at = c.pipe(n.Pipe)
		}
		c.asked(n.Pos, "template", at, false)
		if len(at.path) > 0 { // what is passed is used, though what of it is not known
			c.ref(n.Pos, at)
		}
		s.proc = c.procedure(n.Name, tree, static{})
	case *parse.BreakNode:
		s.op = stmtBreak
	case *parse.ContinueNode:
		s.op = stmtContinue
	default:
		return s, false
	}
	return s, true
}

// branch compiles if, with and range, whose variables live to their end.
func (c *compiler) branch(s *stmt, n *parse.BranchNode) {
	outerScope, outerDot := len(c.scope), c.dot
	var at static
	if s.op == stmtRange {
		decl := n.Pipe.Decl
		value := *n.Pipe
		value.Decl = nil
		s.e, at = c.pipe(&value)
		c.asked(n.Pos, "range", at, true)
		slots := c.declare(decl, n.Pipe.IsAssign, static{})
		switch len(slots) {
		case 1:
			s.val = slots[0]
		case 2:
			s.key, s.val = slots[0], slots[1]
		}
	} else {
		s.e, at = c.pipe(n.Pipe)
		c.asked(n.Pos, "condition", at, false)
	}
	inBody := len(c.scope)
	switch s.op {
	case stmtWith:
		c.dot = at
	case stmtRange:
		c.dot = static{}
	}
	s.body = c.list(n.List)
	c.scope, c.dot = c.scope[:inBody], outerDot
	s.els = c.list(n.ElseList)
	c.scope = c.scope[:outerScope]
}

// declare gives the slots of variables, new ones unless they are assigned to.
func (c *compiler) declare(decl []*parse.VariableNode, assign bool, at static) []int {
	var slots []int
	for _, v := range decl {
		name := v.Ident[0]
		if assign {
			i := c.variable(name)
			if i < 0 {
				c.fail(v.Pos, "undefined variable %q", name)
				return nil
			}
			c.asked(v.Pos, "assignment", at, true)
			c.scope[i].at = static{} // may be set in a loop: no longer known
			slots = append(slots, c.scope[i].slot)
			continue
		}
		slots = append(slots, c.proc.slots)
		c.scope = append(c.scope, variable{name, c.proc.slots, at})
		c.proc.slots++
	}
	return slots
}

func (c *compiler) variable(name string) int {
	for i := len(c.scope) - 1; i >= 0; i-- {
		if c.scope[i].name == name {
			return i
		}
	}
	return -1
}

// pipe compiles a pipeline to one expression: each command is the last argument of the next.
func (c *compiler) pipe(p *parse.PipeNode) (*expr, static) {
	if c.depth++; c.depth > maxExprDepth {
		c.fail(p.Pos, "expression nested deeper than %d", maxExprDepth)
	}
	if len(p.Cmds) > maxExprDepth {
		c.fail(p.Pos, "pipeline longer than %d", maxExprDepth)
	}
	defer func() { c.depth-- }()
	if c.err != nil {
		return &expr{}, static{}
	}
	var e *expr
	var at static
	for i, cmd := range p.Cmds {
		e, at = c.command(cmd, piped{e, at, i > 0})
	}
	slots := c.declare(p.Decl, p.IsAssign, at)
	for _, slot := range slots {
		e = &expr{op: exprSet, pos: p.Pos, slot: slot, args: []*expr{e}}
	}
	return e, at
}

// piped is what a command of a pipeline gets as its last argument.
type piped struct {
	e   *expr
	at  static
	has bool
}

func (c *compiler) command(cmd *parse.CommandNode, last piped) (*expr, static) {
	first := cmd.Args[0]
	if id, ok := first.(*parse.IdentifierNode); ok {
		return c.call(id, cmd.Args[1:], last)
	}
	if chain, ok := first.(*parse.ChainNode); ok && (len(cmd.Args) > 1 || last.has) {
		return c.method(chain, cmd.Args[1:], last), static{}
	}
	switch {
	case len(cmd.Args) > 1:
		c.fail(first.Position(), "%s is no function and takes no argument", first)
	case last.has:
		c.fail(first.Position(), "%s is no function: nothing can be piped into it", first)
	case first.Type() == parse.NodeNil:
		c.fail(first.Position(), "nil is no command")
	}
	return c.operand(first)
}

// method compiles {{(now).Format "2006"}}: fields of a time that take arguments.
func (c *compiler) method(chain *parse.ChainNode, nodes []parse.Node, piped piped) *expr {
	last := len(chain.Field) - 1
	fn := functions["time."+chain.Field[last]]
	if fn == nil {
		c.fail(chain.Pos, ".%s is no function and takes no argument", chain.Field[last])
		return &expr{}
	}
	base, at := c.operand(chain.Node)
	if last > 0 {
		base = &expr{op: exprChain, pos: chain.Pos, path: chain.Field[:last], args: []*expr{base}}
	}
	args, ats := []*expr{base}, []static{at}
	for _, n := range nodes {
		arg, at := c.operand(n)
		args, ats = append(args, arg), append(ats, at)
	}
	if piped.has {
		args, ats = append(args, piped.e), append(ats, piped.at)
	}
	c.passed(chain.Pos, chain.Field[last], ats)
	c.arity(chain.Pos, fn, len(args))
	return &expr{op: exprCall, pos: chain.Pos, fn: fn, args: args}
}

func (c *compiler) arity(pos parse.Pos, fn *function, got int) {
	if got >= fn.min && (fn.max < 0 || got <= fn.max) {
		return
	}
	want := strconv.Itoa(fn.min)
	switch {
	case fn.max < 0:
		want = "at least " + want
	case fn.max > fn.min:
		want += " to " + strconv.Itoa(fn.max)
	}
	c.fail(pos, "function %q takes %s arguments, not %d", fn.name, want, got)
}

func (c *compiler) call(id *parse.IdentifierNode, nodes []parse.Node, piped piped) (*expr, static) {
	if id.Ident == secretFunc {
		return c.secret(id.Pos, nodes, piped.has), static{secret: true}
	}
	e := &expr{op: exprCall, pos: id.Pos, args: make([]*expr, 0, len(nodes)+1)}
	var ats []static
	for _, n := range nodes {
		arg, at := c.operand(n)
		e.args, ats = append(e.args, arg), append(ats, at)
	}
	var first static
	if len(ats) > 0 {
		first = ats[0]
	}
	if piped.has {
		e.args, ats = append(e.args, piped.e), append(ats, piped.at)
	}
	if len(ats) > 1 && !piped.has && id.Ident == "index" && c.holding(ats[0]) == HoldsSecret {
		if names, ok := keys(e.args[1:]); ok { // as .field, for names that are no identifiers
			return &expr{op: exprChain, pos: id.Pos, path: names, args: e.args[:1]}, ats[0]
		}
	}
	encoded, isEncoded := c.passed(id.Pos, id.Ident, ats)
	switch id.Ident {
	case "and", "or":
		e.op = exprAnd
		if id.Ident == "or" {
			e.op = exprOr
		}
		if len(e.args) == 0 {
			c.fail(id.Pos, "function %q takes at least 1 arguments, not 0", id.Ident)
		}
		return e, static{}
	}
	e.fn = functions[id.Ident]
	if e.fn == nil {
		c.fail(id.Pos, "%s", unknownFunction(id.Ident))
		return e, static{}
	}
	c.arity(id.Pos, e.fn, len(e.args))
	if isEncoded {
		return e, encoded
	}
	return e, c.seeThrough(e, first)
}

func (c *compiler) secret(pos parse.Pos, nodes []parse.Node, hasPiped bool) *expr {
	if len(nodes) == 1 && !hasPiped {
		if s, ok := nodes[0].(*parse.StringNode); ok {
			if !slices.Contains(c.t.secrets, s.Text) {
				c.t.secrets = append(c.t.secrets, s.Text)
			}
			return &expr{op: exprConst, pos: pos, val: Secret(SecretPart{Ref: s.Text})}
		}
	}
	c.fail(pos, "%s", unknownFunction(secretFunc))
	return &expr{}
}

// operand compiles what may be an argument, and tells its path if it is one.
func (c *compiler) operand(n parse.Node) (*expr, static) {
	e := &expr{pos: n.Position()}
	switch n := n.(type) {
	case *parse.DotNode:
		e.op = exprDot
		return e, c.dot
	case *parse.FieldNode:
		if len(n.Ident) > 1 { // the parser's position is that of the second name
			e.pos -= parse.Pos(len(n.Ident[0]) + 1)
		}
		e.op, e.path = exprDot, n.Ident
		return e, c.field(e.pos, c.dot, n.Ident)
	case *parse.VariableNode:
		i := c.variable(n.Ident[0])
		if i < 0 {
			c.fail(n.Pos, "undefined variable %q", n.Ident[0])
			return e, static{}
		}
		e.op, e.slot, e.path = exprVar, c.scope[i].slot, n.Ident[1:]
		return e, c.field(n.Pos, c.scope[i].at, e.path)
	case *parse.ChainNode:
		base, at := c.operand(n.Node)
		if base.op == exprConst && base.val.kind == KindSecret {
			for _, name := range n.Field {
				base.val = base.val.selected(name)
			}
			return base, at
		}
		e.op, e.path, e.args = exprChain, n.Field, []*expr{base}
		return e, c.field(n.Pos, at, n.Field)
	case *parse.PipeNode:
		return c.pipe(n)
	case *parse.IdentifierNode:
		return c.call(n, nil, piped{})
	case *parse.StringNode:
		e.val = String(n.Text)
	case *parse.BoolNode:
		e.val = Bool(n.True)
	case *parse.NilNode:
		e.val = Null()
	case *parse.NumberNode:
		e.val = c.number(n)
	default:
		c.fail(n.Position(), "unexpected %s", n)
	}
	return e, static{}
}

// number makes a literal's value. People write {{join ',' .list}}: a character literal is a string here.
func (c *compiler) number(n *parse.NumberNode) Value {
	switch {
	case strings.HasPrefix(n.Text, "'"):
		return String(string(rune(n.Int64)))
	case isNumber(n.Text):
		return number(n.Text)
	case n.IsInt:
		return number(strconv.FormatInt(n.Int64, 10))
	case n.IsUint:
		return number(strconv.FormatUint(n.Uint64, 10))
	case n.IsFloat:
		if v, err := floatValue(n.Float64); err == nil {
			return v
		}
	}
	c.fail(n.Pos, "%s is no JSON number", n.Text)
	return Value{}
}
