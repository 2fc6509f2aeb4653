package template

import (
	"fmt"
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

// static is a path from the data's root, where it is known which one.
type static struct {
	path  []string
	known bool
}

func (s static) walk(names ...string) static {
	if !s.known {
		return s
	}
	return static{append(slices.Clone(s.path), names...), true}
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
		s.e, _ = c.pipe(n.Pipe)
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
		s.e, _ = c.pipe(&value)
		slots := c.declare(decl, n.Pipe.IsAssign, static{})
		switch len(slots) {
		case 1:
			s.val = slots[0]
		case 2:
			s.key, s.val = slots[0], slots[1]
		}
	} else {
		s.e, at = c.pipe(n.Pipe)
	}
	inBody := len(c.scope)
	if s.op != stmtIf {
		c.dot = at
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
		e, at = c.command(cmd, e, i > 0)
	}
	slots := c.declare(p.Decl, p.IsAssign, at)
	for _, slot := range slots {
		e = &expr{op: exprSet, pos: p.Pos, slot: slot, args: []*expr{e}}
	}
	return e, at
}

func (c *compiler) command(cmd *parse.CommandNode, piped *expr, hasPiped bool) (*expr, static) {
	first := cmd.Args[0]
	if id, ok := first.(*parse.IdentifierNode); ok {
		return c.call(id, cmd.Args[1:], piped, hasPiped)
	}
	if chain, ok := first.(*parse.ChainNode); ok && (len(cmd.Args) > 1 || hasPiped) {
		return c.method(chain, cmd.Args[1:], piped, hasPiped), static{}
	}
	switch {
	case len(cmd.Args) > 1:
		c.fail(first.Position(), "%s is no function and takes no argument", first)
	case hasPiped:
		c.fail(first.Position(), "%s is no function: nothing can be piped into it", first)
	case first.Type() == parse.NodeNil:
		c.fail(first.Position(), "nil is no command")
	}
	return c.operand(first)
}

// method compiles {{(now).Format "2006"}}: fields of a time that take arguments.
func (c *compiler) method(chain *parse.ChainNode, nodes []parse.Node, piped *expr, hasPiped bool) *expr {
	last := len(chain.Field) - 1
	fn := functions["time."+chain.Field[last]]
	if fn == nil {
		c.fail(chain.Pos, ".%s is no function and takes no argument", chain.Field[last])
		return &expr{}
	}
	base, _ := c.operand(chain.Node)
	if last > 0 {
		base = &expr{op: exprChain, pos: chain.Pos, path: chain.Field[:last], args: []*expr{base}}
	}
	args := []*expr{base}
	for _, n := range nodes {
		arg, _ := c.operand(n)
		args = append(args, arg)
	}
	if hasPiped {
		args = append(args, piped)
	}
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

func (c *compiler) call(id *parse.IdentifierNode, nodes []parse.Node, piped *expr, hasPiped bool) (*expr, static) {
	if id.Ident == secretFunc {
		return c.secret(id.Pos, nodes, hasPiped), static{}
	}
	e := &expr{op: exprCall, pos: id.Pos, args: make([]*expr, 0, len(nodes)+1)}
	var first static
	for i, n := range nodes {
		arg, at := c.operand(n)
		if i == 0 {
			first = at
		}
		e.args = append(e.args, arg)
	}
	if hasPiped {
		e.args = append(e.args, piped)
	}
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
	return e, c.seeThrough(e, first)
}

// seeThrough keeps track of paths written as calls, and compiles literal patterns once.
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
			if path, ok := plainGJSON(names[0]); ok && c.scope[0].at.known {
				c.ref(e.pos, static{path, true})
			}
		}
	default:
		if strings.Contains(strings.ToLower(e.fn.name), "regex") && len(e.args) > 0 && e.args[0].op == exprConst && e.fn.name != "regexQuoteMeta" {
			c.regex(e)
		}
	}
	return static{}
}

func (c *compiler) regex(e *expr) {
	pattern := e.args[0].val.Text()
	r, err := compileRegex(pattern)
	if err != nil {
		c.fail(e.args[0].pos, "%v", err)
		return
	}
	if c.t.regexes == nil {
		c.t.regexes = map[string]*regex{}
	}
	c.t.regexes[pattern] = r
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

func (c *compiler) secret(pos parse.Pos, nodes []parse.Node, hasPiped bool) *expr {
	if len(nodes) == 1 && !hasPiped {
		if s, ok := nodes[0].(*parse.StringNode); ok {
			if !slices.Contains(c.t.secrets, s.Text) {
				c.t.secrets = append(c.t.secrets, s.Text)
			}
			return &expr{op: exprSecret, pos: pos, name: s.Text}
		}
	}
	c.fail(pos, "%s", unknownFunction(secretFunc))
	return &expr{}
}

func (c *compiler) ref(pos parse.Pos, at static) {
	line, column := c.t.src.locate(int(pos))
	c.t.refs = append(c.t.refs, Ref{Path: at.path, Line: line, Column: column})
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
		e.op, e.path, e.args = exprChain, n.Field, []*expr{base}
		return e, c.field(n.Pos, at, n.Field)
	case *parse.PipeNode:
		return c.pipe(n)
	case *parse.IdentifierNode:
		return c.call(n, nil, nil, false)
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

func (c *compiler) field(pos parse.Pos, base static, names []string) static {
	if !base.known || len(names) == 0 {
		return base
	}
	at := base.walk(names...)
	c.ref(pos, at)
	return at
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

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// removed are functions that people may know and why they are not here.
var removed = map[string]string{
	"env":           "templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it",
	"expandenv":     "templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it",
	"getHostByName": "templates cannot use the network",
}

func unknownFunction(name string) string {
	if why := removed[name]; why != "" {
		return fmt.Sprintf("function %q not available: %s", name, why)
	}
	if slices.Contains(keyMakers, name) {
		return fmt.Sprintf("function %q not available: templates make no keys or password hashes", name)
	}
	return fmt.Sprintf("function %q not defined%s", name, suggest(name, functionNames))
}

// suggest names the nearest known word, if one is near.
func suggest(name string, known []string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		if strings.Contains(k, ".") || k == treeName {
			continue
		}
		d := editDistance(strings.ToLower(name), strings.ToLower(k), least)
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is the Damerau-Levenshtein distance (adjacent swaps count one) as far as it stays under limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 {
		return limit
	}
	var before, prev []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
