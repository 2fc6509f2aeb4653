package convert

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
)

// Call is one call of a tool.
type Call struct {
	Arguments []byte      // raw JSON object; nil is {}
	Header    http.Header // the client's, without the proxy's key: for passed-through credentials and forwarded headers
	Query     string      // raw query of the client's request, without the proxy's key: for passed-through credentials
	ClientIP  string      // what getRealIP gives
	// Withheld says why the client's Authorization is not in Header although it sent one; empty if it is, or did not. The
	// client is told where the call fails for want of it.
	Withheld string
}

// Request is the HTTP request of a call.
type Request struct {
	Method   string
	URL      string // absolute, or path?query for the service's backend
	Absolute bool
	Host     string // Host header, where it is not the URL's own
	Header   http.Header
	Body     []byte
	// SecretHosts bounds where the request may go: it holds credentials, and each list must name the host (an empty
	// one names none). Credentials that may go anywhere have no list.
	SecretHosts [][]string

	secrets []string // what must not be shown: credentials, as they were put in
	masked  []string // headers that hold nothing but a credential
}

// urlPlan makes the URL.
type urlPlan struct {
	parts    []piece            // where it is known but for the arguments
	template *template.Template // else
	hostOnly bool               // a registry service: the URL's host is for the Host header alone
}

// bodyPlan makes the body.
type bodyPlan struct {
	kind bodyKind
	text *text
	form bool // an explicit body that is a form
}

type bodyKind uint8

const (
	bodyOfRest bodyKind = iota // the body arguments, if there are any
	bodyText
	bodyJSON
	bodyForm
)

const (
	typeJSON = "application/json; charset=utf-8"
	typeForm = "application/x-www-form-urlencoded"
	typeText = "text/plain; charset=utf-8"
)

// usualType is the Content-Type of most requests. Nobody may change it.
var usualType = []string{typeJSON}

// Work is memory that one call after another can be worked out in.
type Work struct {
	execution execution
	request   Request
	call      Call
	args      arguments
	path      []byte
	query     []byte
	response  template.Document
	text      []byte // what a template made of it
	result    []byte
}

// maxReused bounds what a Work keeps of each kind, in bytes and members.
const maxReused = 64 << 10

// Reset readies w for another call. Nothing that was made in it may be used any more.
func (w *Work) Reset() {
	all := w.args.all[:cap(w.args.all)]
	if clear(all); cap(all) > 64 {
		all = nil
	}
	w.response.Reset()
	known := w.execution.known[:cap(w.execution.known)]
	if clear(known); cap(known) > 8 {
		known = nil
	}
	*w = Work{
		execution: execution{known: known[:0]},
		args:      arguments{all: all[:0]}, path: reusable(w.path), query: reusable(w.query),
		response: w.response, text: reusable(w.text), result: reusable(w.result),
	}
}

func reusable(b []byte) []byte {
	if cap(b) > maxReused {
		return nil
	}
	return b[:0]
}

// Request makes the HTTP request of a call in memory of its own. See RequestIn.
func (t *Tool) Request(c Call) (*Request, []byte, error) {
	return t.RequestIn(new(Work), make(http.Header, 8), c)
}

// RequestIn makes the HTTP request of a call in w, with the header in h, which is empty. Where nothing is to be sent, because the arguments are invalid or the tool
// answers by itself, the request is nil and the finished tool result is returned. An error is a fault of the service,
// such as a credential that is gone: it is for the log, may name fields and references but never a credential, and the
// result that comes with it is for the client.
func (t *Tool) RequestIn(w *Work, h http.Header, c Call) (*Request, []byte, error) {
	w.call = c
	if faults := t.arguments(&w.args, c.Arguments); len(faults) > 0 {
		return nil, ErrorResult("invalid arguments: " + joinSome(faults)), nil
	}
	x, r := &w.execution, &w.request
	x.tool, x.call, x.args, x.path, x.query = t, &w.call, &w.args, w.path, w.query
	if t.method == "" {
		return nil, t.direct(x), nil
	}
	r.Method, r.Header = t.method, h
	err := t.build(x, r)
	w.path, w.query = x.path, x.query
	if err != nil {
		if fault, ok := x.callerFault(err); ok {
			return nil, ErrorResult(fault), nil
		}
		return nil, ErrorResult("the request could not be made: its service is not set up completely"), err
	}
	r.SecretHosts, r.secrets = x.hosts, x.seen
	if len(x.own) > 0 {
		r.secrets = slices.Concat(x.seen, x.own)
	}
	return r, nil, nil
}

// Reads tells whether the tool looks at any of a client's headers: those forwarded, and where credentials are passed
// through from. Where it does not, Call needs no Header.
func (t *Tool) Reads(h http.Header) bool {
	for _, name := range t.forward {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return slices.ContainsFunc(t.security, func(p securityPlan) bool { return p.from != nil })
}

func (t *Tool) build(x *execution, r *Request) error {
	for _, name := range t.forward {
		for _, v := range x.call.Header[name] {
			if !ownKey(v) {
				r.Header[name] = append(r.Header[name], v)
			}
		}
	}
	if err := t.setHeaders(x, r); err != nil {
		return err
	}
	to, err := t.target(x)
	if err != nil {
		return err
	}
	if err := t.place(x, r, &to); err != nil {
		return err
	}
	if err := t.setBody(x, r); err != nil {
		return err
	}
	for i := range t.security {
		if err := t.security[i].apply(x, r, &to); err != nil {
			return err
		}
	}
	to.into(r, t.url.hostOnly)
	x.path, x.query = to.path, to.query
	return nil
}

// into writes the finished URL.
func (o *target) into(r *Request, hostOnly bool) {
	var b strings.Builder
	b.Grow(len(o.origin) + len(o.path) + len(o.query) + 1)
	switch {
	case o.origin == "":
	case hostOnly:
		if r.Host == "" {
			r.Host = o.host
		}
	default:
		b.WriteString(o.origin)
		r.Absolute = true
	}
	b.Write(o.path)
	if len(o.query) > 0 {
		b.WriteByte('?')
		b.Write(o.query)
	}
	r.URL = b.String()
}

func (t *Tool) target(x *execution) (target, error) {
	parts := t.url.parts
	if t.url.template != nil {
		out, err := x.execute(t.url.template, nil)
		if err != nil {
			return target{}, err
		}
		parts = pieces(strings.TrimSpace(string(out)))
	}
	return t.assemble(x.path, x.query, parts, x.args.vals)
}

func (t *Tool) setHeaders(x *execution, r *Request) error {
	for _, h := range t.headers {
		v, err := h.value.string(x)
		if err != nil {
			return err
		}
		if v = textproto.TrimString(v); v == "" {
			continue // nothing to say: an argument that was left out
		}
		if !fieldValue(v) {
			return &argumentError{"", "header " + h.name + " would hold a line break or control character"}
		}
		if h.name == "Host" {
			r.Host = v
			continue
		}
		r.Header[h.name] = []string{v}
	}
	return nil
}

// place puts the arguments with a position of their own, and those that argsToUrlParam sends.
func (t *Tool) place(x *execution, r *Request, to *target) error {
	if len(to.query) > 0 && t.inQuery {
		to.query = without(to.query, func(name string) bool {
			i, ok := t.index[name]
			return ok && t.args[i].pos == toQuery && x.args.vals[i].sent()
		})
	}
	for i := range t.args {
		a, v := &t.args[i], &x.args.vals[i]
		if !v.sent() {
			continue
		}
		switch a.pos {
		case toQuery:
			to.query = appendPairs(to.query, a, v, queryEscape)
		case toHeader:
			s := v.plain()
			if !fieldValue(s) {
				return &argumentError{a.name, "goes into a header and must not hold line breaks or control characters"}
			}
			r.Header[a.header] = []string{textproto.TrimString(s)}
		case toCookie:
			cookie := string(appendEscaped(append([]byte(a.name), '='), v.plain(), &cookieByte))
			if given := r.Header["Cookie"]; len(given) > 0 {
				cookie = given[0] + "; " + cookie
			}
			r.Header["Cookie"] = []string{cookie}
		}
	}
	if t.rest == toQuery {
		for _, m := range x.args.extra {
			v := newValue(m.raw, m.value)
			to.query = appendPairs(to.query, &arg{name: m.name}, &v, queryEscape)
		}
	}
	return nil
}

func queryEscape(dst []byte, s string) []byte { return appendEscaped(dst, s, &unreserved) }

// appendPairs appends name=value, or one pair for each element of an exploded array.
func appendPairs(dst []byte, a *arg, v *value, escape func([]byte, string) []byte) []byte {
	if !v.sent() {
		return dst
	}
	if a.explode {
		for _, e := range v.elements() {
			dst = appendPair(dst, a.name, &e, escape)
		}
		return dst
	}
	return appendPair(dst, a.name, v, escape)
}

func appendPair(dst []byte, name string, v *value, escape func([]byte, string) []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, '&')
	}
	return v.appendText(append(escape(dst, name), '='), escape)
}

func (t *Tool) setBody(x *execution, r *Request) error {
	kind := first(r.Header, "Content-Type")
	rest := func(a *arg) bool { return a.pos == toBody }
	switch t.body.kind {
	case bodyText:
		out, err := t.body.text.append(x, nil)
		if err != nil {
			return err
		}
		if t.body.form || isForm(kind) {
			out = []byte(strings.TrimSpace(string(out))) // a block scalar's line end is no part of the last field
		}
		r.Body = out
		if kind == "" {
			kind = guessType(out)
		}
	case bodyJSON:
		r.Body, kind = x.args.appendSome(nil, t, rest, true), either(kind, typeJSON)
	case bodyForm:
		r.Body, kind = t.form(x, true), either(kind, typeForm)
	default:
		if !t.anyBody(x.args) {
			break
		}
		if isForm(kind) {
			r.Body = t.form(x, false)
		} else {
			r.Body, kind = x.args.appendSome(nil, t, rest, false), either(kind, typeJSON)
		}
	}
	switch {
	case r.Body == nil || kind == "":
	case kind == typeJSON:
		r.Header["Content-Type"] = usualType
	default:
		r.Header["Content-Type"] = []string{kind}
	}
	return nil
}

func (t *Tool) anyBody(args *arguments) bool {
	for i := range t.args {
		if t.args[i].pos == toBody && args.vals[i].set {
			return true
		}
	}
	return false
}

func (t *Tool) form(x *execution, extra bool) []byte {
	out := []byte{}
	for i := range t.args {
		if t.args[i].pos == toBody {
			out = appendPairs(out, &t.args[i], &x.args.vals[i], appendFormValue)
		}
	}
	if extra {
		for _, m := range x.args.extra {
			v := newValue(m.raw, m.value)
			out = appendPairs(out, &arg{name: m.name}, &v, appendFormValue)
		}
	}
	return out
}

// first is Header.Get of a name that is canonical.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func either(given, otherwise string) string {
	if given != "" {
		return given
	}
	return otherwise
}

func isForm(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), typeForm)
}

// guessType names the type of a body whose author named none.
func guessType(body []byte) string {
	if _, err := parseValue(body, true); err == nil {
		return typeJSON
	}
	return typeText
}

// ownKey tells the proxy's own keys: they never leave, whatever they stand in.
func ownKey(v string) bool { return strings.Contains(v, "nmp_") }
