package convert

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// request plans the HTTP request: method, URL, headers, body and where the arguments go.
func (c *toolCompiler) request() {
	q := &c.def.Request
	if q.URL == "" {
		if c.def.Response.Body == "" {
			c.reject("requestTemplate.url", 0, "tool needs requestTemplate.url, or responseTemplate.body to answer without a backend")
		}
		return
	}
	c.method()
	c.destinations()
	c.url()
	c.checkQuery("requestTemplate.url", q.URLLine)
	c.headers()
	c.body()
	c.bodyDefaults()
	for i := range c.tool.args {
		c.tool.inQuery = c.tool.inQuery || c.tool.args[i].pos == toQuery
	}
	c.checkSent()
}

// checkSent warns of a tool that is there to send something, and sends none of what it asks its callers for.
func (c *toolCompiler) checkSent() {
	t, q := c.tool, &c.def.Request
	switch t.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return
	}
	reads := func(template string) bool {
		return strings.Contains(template, "{{") && strings.Contains(template, "args")
	}
	if c.rejected || len(t.args) == 0 || reads(q.URL) || reads(q.Body) ||
		slices.ContainsFunc(t.args, func(a arg) bool { return a.pos != nowhere }) ||
		slices.ContainsFunc(q.Headers, func(h registry.KeyValue) bool { return reads(h.Value) }) {
		return
	}
	c.warn("requestTemplate", 0, "%s sends none of the tool's arguments: give them a position, or set argsToJsonBody, argsToFormBody or argsToUrlParam", t.method)
}

func (c *toolCompiler) method() {
	method := strings.ToUpper(c.def.Request.Method)
	switch {
	case method == "":
		method = http.MethodGet
	case method == http.MethodConnect, method == http.MethodTrace, !isToken(method):
		c.reject("requestTemplate.method", 0, "cannot be %q", method)
	}
	c.tool.method = method
}

// destinations decides where arguments without a position go.
func (c *toolCompiler) destinations() {
	q, t := &c.def.Request, c.tool
	set := 0
	for kind, on := range map[bodyKind]bool{bodyJSON: q.ArgsToJSONBody, bodyForm: q.ArgsToFormBody, bodyOfRest: q.ArgsToURLParam} {
		if !on {
			continue
		}
		set++
		t.body.kind, t.rest = kind, toBody
	}
	if set > 1 {
		c.reject("requestTemplate", 0, "must have at most one of argsToJsonBody, argsToUrlParam and argsToFormBody")
	}
	if q.ArgsToURLParam {
		t.rest = toQuery
	}
	if q.Body != "" {
		t.body.kind = bodyText // the body template wins
	}
}

// url plans the URL. {name} and a bare {{.args.name}} are put in by us, each escaped for its place; what other
// templates print is escaped by the template.
func (c *toolCompiler) url() {
	const field = "requestTemplate.url"
	src, line, t := strings.TrimSpace(c.def.Request.URL), c.def.Request.URLLine, c.tool
	t.url.hostOnly = c.service.Backend.Ref != nil
	if strings.ContainsRune(src, 0) {
		c.reject(field, line, "holds a NUL character")
		return
	}
	whole := c.requestText(field, line, src, c.urlOptions())
	if c.rejected {
		return
	}
	marked := c.marks(src, line)
	for i := range t.args {
		if a := &t.args[i]; a.pos == nowhere && !a.inURL {
			a.pos = t.rest
		}
	}
	if whole.template != nil && !strings.Contains(marked, "{{") && !strings.Contains(marked, "${") {
		whole = &text{literal: marked}
	} else if whole.template == nil {
		whole.literal = marked
	}
	if whole.template == nil {
		t.url.parts = pieces(whole.literal)
		c.checkURL(field, line)
		return
	}
	if folded, ok := t.data.fold(marked); ok {
		t.url.parts = pieces(folded)
		c.checkURL(field, line)
		return
	}
	rest, err := template.Parse(field, marked, c.urlOptions())
	if err != nil {
		c.templateFault(field, line, err)
		return
	}
	t.url.template = rest
	c.tryURL(field, line, rest)
}

// tryURL renders a URL template with sample arguments. Other failures than an argument in the host may be the
// samples' fault and are left to the calls.
func (c *toolCompiler) tryURL(field string, line int, u *template.Template) {
	t := c.tool
	sample := &arguments{vals: make([]value, len(t.args))}
	for i := range sample.vals {
		sample.vals[i] = newValue([]byte(`"x"`), "x")
	}
	out, err := (&execution{tool: t, call: &Call{}, args: sample, trial: true}).execute(u, nil)
	switch {
	case template.IsSecretPlace(err):
		c.templateFault(field, line, err)
	case err == nil:
		parts := t.url.parts
		t.url.parts = pieces(strings.TrimSpace(string(out)))
		c.checkURL(field, line)
		t.url.parts = parts
	case strings.Contains(err.Error(), "scheme, host or port"):
		c.reject(field, line, "%v", errOrigin)
	}
}

func (c *toolCompiler) urlOptions() template.Options {
	o := template.Options{Mode: template.URL, Holding: c.tool.data.holding}
	for i := range c.tool.args {
		if a := &c.tool.args[i]; a.multi {
			o.MultiSegment = append(o.MultiSegment, a.name)
		}
	}
	return o
}

// marks puts marks where arguments stand in the URL.
func (c *toolCompiler) marks(src string, line int) string {
	t := c.tool
	if !blocks.MatchString(src) {
		src = bareArg.ReplaceAllStringFunc(src, func(m string) string {
			if i, ok := t.index[bareArg.FindStringSubmatch(m)[1]]; ok {
				return mark(i, false)
			}
			return m
		})
	}
	var out strings.Builder
	for src != "" {
		start := strings.Index(src, "{{")
		outside := src
		if start >= 0 {
			outside = src[:start]
		}
		out.WriteString(c.braces(outside, line))
		if start < 0 {
			break
		}
		end := strings.Index(src[start:], "}}")
		if end < 0 {
			out.WriteString(src[start:])
			break
		}
		out.WriteString(src[start : start+end+2])
		src = src[start+end+2:]
	}
	return out.String()
}

// braces puts marks where {name} stands in the author's text, for any name that an argument may have in a path. Braces
// that name no such argument stay, as they do in Higress.
func (c *toolCompiler) braces(s string, line int) string {
	const field = "requestTemplate.url"
	t := c.tool
	var out strings.Builder
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			break
		}
		end := strings.IndexAny(s[open+1:], notInBraces)
		if end < 0 {
			break
		}
		end += open + 1
		if s[end] != '}' {
			out.WriteString(s[:end]) // another brace may begin there
			s = s[end:]
			if s[0] != '{' {
				out.WriteByte(s[0])
				s = s[1:]
			}
			continue
		}
		name, whole := s[open+1:end], s[:end+1]
		before := s[:open]
		s = s[end+1:]
		i, ok := t.index[name]
		switch {
		case strings.HasSuffix(before, "$") || before == "" && strings.HasSuffix(out.String(), "$"): // a credential
		case ok && (t.args[i].pos == toPath || t.args[i].pos == nowhere):
			t.args[i].pos, t.args[i].inURL = toPath, true
			out.WriteString(before)
			out.WriteString(mark(i, true))
			continue
		case ok:
			c.warn(field, line, "{%s} stands in the URL, but the argument has another position: it stays as it is", name)
		case plainName.MatchString(name):
			c.warn(field, line, "{%s} has no argument of that name%s: it stays as it is", name, spelling.DidYouMean(name, c.argNames()))
		}
		out.WriteString(whole)
	}
	return out.String() + s
}

// notInBraces are the characters that the name of an argument with a {place} in a path cannot have.
const notInBraces = "{}/?#"

// checkURL tries the URL with sample arguments, so that what is wrong with it shows before anybody calls.
func (c *toolCompiler) checkURL(field string, line int) {
	t := c.tool
	vals := make([]value, len(t.args))
	for i := range vals {
		vals[i] = newValue([]byte(`"x"`), "x")
	}
	to, err := t.assemble(nil, nil, t.url.parts, vals)
	switch {
	case errors.Is(err, errNoScheme): // credentials were not looked up
		c.reject(field, line, "%s", registry.NoScheme(t.url.parts[0].lit))
	case err != nil:
		c.reject(field, line, "%v", err)
	case to.origin == "" && c.service.Backend.URL == "" && c.service.Backend.Ref == nil:
		c.reject(field, line, "is relative and the service has no upstream: add upstream.url or write the whole URL")
	}
	for i := range t.args {
		if a := &t.args[i]; a.pos == toPath && !a.inURL && !strings.Contains(c.def.Request.URL, ".args."+a.name) {
			c.warn(field, line, "argument %q has the position path, but the URL has no {%s}: it is not sent", a.name, a.name)
		}
	}
}

func (c *toolCompiler) headers() {
	for _, h := range c.def.Request.Headers {
		name := http.CanonicalHeaderKey(strings.TrimSpace(h.Key))
		switch {
		case !isToken(name):
			c.reject("requestTemplate.headers", 0, "%q cannot be the name of a header", h.Key)
			continue
		case ownHeader(name):
			c.warn("requestTemplate.headers", 0, "%s is the connection's own and is not sent", name)
			continue
		}
		given := h.Value
		if name == "Cookie" {
			given = c.cookies(given)
		}
		value := c.requestText("requestTemplate.headers."+name, 0, given, template.Options{Mode: template.Header})
		if name == "Host" && value.template != nil && readsArgs(value.template) {
			c.reject("requestTemplate.headers", 0, "an argument cannot be the Host")
		}
		c.tool.headers = append(c.tool.headers, headerPlan{name, value})
	}
	for i := range c.tool.args {
		if a := &c.tool.args[i]; a.pos == toHeader {
			if a.header == "Host" || ownHeader(a.header) {
				c.reject("args", 0, "argument %q cannot be the header %s", a.name, a.header)
			}
		}
	}
}

// cookies takes the pairs name={{.args.name}} out of a Cookie header and makes them arguments with that position: escaped, so
// that none can say another cookie, and not sent where the caller gives none. Nacos's console writes cookies that way.
func (c *toolCompiler) cookies(header string) string {
	if strings.Contains(bareArg.ReplaceAllString(header, ""), "{{") {
		return header // a template of another kind
	}
	var rest []string
	for pair := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		m := bareArg.FindStringSubmatch(value)
		if i, ok := c.tool.index[name]; ok && len(m) > 0 && m[0] == value && m[1] == name && isToken(name) {
			if a := &c.tool.args[i]; a.pos == nowhere || a.pos == toCookie {
				a.pos = toCookie
				continue
			}
		}
		rest = append(rest, pair)
	}
	return strings.TrimSpace(strings.Join(rest, ";"))
}

func readsArgs(t *template.Template) bool {
	for _, ref := range t.Refs() {
		if len(ref.Path) == 0 || ref.Path[0] == "args" {
			return true
		}
	}
	return false
}

// body plans an explicit body: what it is decides how arguments are escaped in it.
func (c *toolCompiler) body() {
	kind := ""
	for _, h := range c.tool.headers {
		if h.name == "Content-Type" && h.value.template == nil {
			kind = strings.ToLower(h.value.literal)
		}
	}
	if c.tool.body.kind != bodyText {
		if strings.HasPrefix(kind, "multipart/") {
			c.reject("requestTemplate.headers", 0, "multipart bodies can only be written as a body template")
		}
		return
	}
	src := c.def.Request.Body
	mode := template.Text
	trimmed := strings.TrimSpace(src)
	switch {
	case isForm(kind):
		mode, c.tool.body.form = template.Form, true
	case strings.Contains(kind, "json"),
		kind == "" && (strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{") && !strings.HasPrefix(trimmed, "{{")):
		mode = template.JSONBody
	}
	c.tool.body.text = c.requestText("requestTemplate.body", c.def.Request.BodyLine, src, template.Options{Mode: mode})
}
