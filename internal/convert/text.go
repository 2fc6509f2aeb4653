package convert

import (
	"errors"
	"regexp"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// text is a compiled text field: a literal, or a template over {config, args}.
type text struct {
	literal  string
	template *template.Template
}

func (t *text) string(x *execution) (string, error) {
	if t.template == nil {
		return t.literal, nil
	}
	out, err := x.execute(t.template, nil)
	return string(out), err
}

func (t *text) append(x *execution, dst []byte) ([]byte, error) {
	if t.template == nil {
		return append(dst, t.literal...), nil
	}
	return x.execute(t.template, dst)
}

// text compiles a text field of the tool. Secret tells whether credentials may be used in it.
func (c *toolCompiler) text(field string, line int, src string, o template.Options, secret bool) *text {
	if !strings.Contains(src, "{{") && !strings.Contains(src, "${") {
		return &text{literal: src}
	}
	t, err := template.Parse(field, src, o)
	if err != nil {
		c.templateFault(field, line, err)
		return &text{}
	}
	if len(t.Secrets()) > 0 && !secret {
		c.reject(field, line, "must not use credentials: what it makes goes to the client")
	}
	for _, ref := range t.Secrets() {
		c.reference(field, line, ref)
	}
	if literal, ok := t.Literal(); ok {
		return &text{literal: literal}
	}
	return &text{template: t}
}

// templateFault reports a template's error on the line of the document where it stands, if that is known.
func (c *toolCompiler) templateFault(field string, line int, err error) {
	var fault *template.Error
	if !errors.As(err, &fault) {
		c.reject(field, line, "%v", err)
		return
	}
	at := line
	if line > 0 {
		at += fault.Line - 1
	}
	c.reject(field, at, "%s (line %d, column %d of the template)", fault.Message, fault.Line, fault.Column)
}

// requestText compiles a text field of the request and checks what it reads.
func (c *toolCompiler) requestText(field string, line int, src string, o template.Options) *text {
	o.Holding = c.tool.data.holding
	t := c.text(field, line, src, o, true)
	if t.template != nil {
		c.checkRefs(field, line, t.template, true)
	}
	if o.Mode == template.Header {
		c.fold(t, src)
	}
	return t
}

// fold makes a literal of a header that needs nothing but fixed values of config.
func (c *toolCompiler) fold(t *text, src string) {
	if t.template == nil {
		return
	}
	if literal, ok := c.tool.data.fold(src); ok {
		*t = text{literal: literal}
	}
}

// checkRefs reports what a template reads that is not there. Without args it sees config only.
func (c *toolCompiler) checkRefs(field string, line int, t *template.Template, args bool) {
	for _, ref := range t.Refs() {
		at := line
		if at > 0 {
			at += ref.Line - 1
		}
		if len(ref.Path) == 0 {
			c.usesConfig(field, at, nil)
			continue
		}
		switch root := ref.Path[0]; {
		case root == "config":
			c.usesConfig(field, at, ref.Path[1:])
		case root != "args":
			c.warn(field, at, "template reads %q, which is nothing: request templates see .config and .args%s", "."+strings.Join(ref.Path, "."), c.hintArgs(root))
		case !args:
			c.reject(field, at, "template reads %q: a credential can be made from .config only", "."+strings.Join(ref.Path, "."))
		case len(ref.Path) > 1 && !c.known(ref.Path[1]):
			c.reject(field, at, "unknown argument %q%s", ref.Path[1], spelling.DidYouMean(ref.Path[1], c.argNames()))
		}
	}
}

func (c *toolCompiler) hintArgs(name string) string {
	if c.known(name) {
		return ` (did you mean ".args.` + name + `"?)`
	}
	return ""
}

func (c *toolCompiler) known(arg string) bool {
	_, ok := c.tool.index[arg]
	return ok || c.tool.open
}

func (c *toolCompiler) argNames() []string {
	names := make([]string, len(c.tool.args))
	for i := range c.tool.args {
		names[i] = c.tool.args[i].name
	}
	return names
}

// usesConfig notes that the tool reads a part of config, and so the credentials that stand in it.
func (c *toolCompiler) usesConfig(field string, line int, path []string) {
	config := c.tool.data
	if len(path) > 0 && !config.has(path) {
		c.warn(field, line, "config has no %q%s", strings.Join(path, "."), spelling.DidYouMean(path[0], config.names()))
		return
	}
	if len(path) > 0 && config.blank(path) {
		c.warn(field, line, "config %q is empty", strings.Join(path, "."))
	}
	for _, ref := range config.references(path) {
		c.reference(field, line, ref)
		if c.tool.method == "" {
			c.reject(field, line, "must not use credentials: what it makes goes to the client")
		}
	}
}

var (
	bareArg = regexp.MustCompile(`\{\{\s*\.args\.([_\pL\p{Nd}](?:[-_\pL\p{Nd}]*[_\pL\p{Nd}])?)\s*\}\}`)
	// plainName is what looks like the name of an argument, rather than like other text in braces.
	plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	// blocks change what the dot is, so that {{.args.x}} within them may be something else.
	blocks = regexp.MustCompile(`\{\{-?\s*(with|range|define|block|template)\b`)
)
