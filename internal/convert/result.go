package convert

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// responsePlan makes the result.
type responsePlan struct {
	body       *template.Template
	literal    *string // a body template without actions
	prepend    string
	append     string
	fault      *text // errorResponseTemplate
	structured bool  // the tool has an output schema
}

// empty is what a tool says that has nothing to say.
const empty = "success"

// responses plans the result. Response templates see the backend's answer, so what they read cannot be checked; those
// of tools that answer by themselves see {config, args}.
func (c *toolCompiler) responses() {
	d, p := &c.def.Response, &c.tool.response
	if d.Body != "" && (d.PrependBody != "" || d.AppendBody != "") {
		c.reject("responseTemplate", d.BodyLine, "must have either body or prependBody and appendBody, not both")
	}
	p.prepend, p.append = d.PrependBody, d.AppendBody
	if d.Body != "" {
		t := c.text("responseTemplate.body", d.BodyLine, d.Body, template.Options{}, false)
		if p.body = t.template; p.body == nil {
			p.literal = &t.literal
		} else if c.tool.method == "" {
			c.checkRefs("responseTemplate.body", d.BodyLine, p.body, true)
		} else {
			c.checkResponseRefs("responseTemplate.body", d.BodyLine, p.body)
		}
		c.checkPrints("responseTemplate.body", d.BodyLine, d.Body, t)
	}
	if c.def.ErrorResponse != "" {
		p.fault = c.text("errorResponseTemplate", 0, c.def.ErrorResponse, template.Options{}, false)
		if p.fault.template != nil {
			c.checkResponseRefs("errorResponseTemplate", 0, p.fault.template)
		}
		c.checkPrints("errorResponseTemplate", 0, c.def.ErrorResponse, p.fault)
	}
}

// checkResponseRefs warns of what a response's template reads of the request, which is not there: such a name counts as one of
// the response, and where that has none it prints nothing.
func (c *toolCompiler) checkResponseRefs(field string, line int, t *template.Template) {
	answer := gjson.ParseBytes(c.def.OutputSchema).Get("properties")
	warned := map[string]bool{}
	for _, ref := range t.Refs() {
		if len(ref.Path) == 0 || warned[ref.Path[0]] || answer.Get(ref.Path[0]).Exists() {
			continue
		}
		why := ""
		switch root := ref.Path[0]; {
		case root == "config":
			why = "templates of responses see the response alone"
		case root == "args" && len(ref.Path) > 1:
			if _, ok := c.tool.index[ref.Path[1]]; ok { // else it may well be the response's: some echo what they were asked
				why = "templates of responses see the response alone"
			}
		case root == "_headers" && field != "errorResponseTemplate":
			why = "only errorResponseTemplate has it"
		}
		if why == "" {
			continue
		}
		at := line
		if at > 0 {
			at += ref.Line - 1
		}
		warned[ref.Path[0]] = true
		c.warn(field, at, "reads .%s, which prints nothing unless the response has it: %s", strings.Join(ref.Path, "."), why)
	}
}

// checkPrints warns of a template that prints nothing whatever it is given.
func (c *toolCompiler) checkPrints(field string, line int, src string, t *text) {
	if t.template == nil && strings.TrimSpace(t.literal) == "" && strings.Contains(src, "{{") && !c.rejected {
		c.warn(field, line, "prints nothing, so that it counts for nothing")
	}
}

// ErrorResult is a tool result that says what went wrong. The text is for whoever called, often a model.
func ErrorResult(text string) []byte { return textResult(text, true) }

// TextResult is a tool result of one text.
func TextResult(text string) []byte { return textResult(text, false) }

func textResult[T string | []byte](text T, isError bool) []byte {
	out := make([]byte, 0, len(text)+len(text)/8+64)
	out = append(out, `{"content":[{"type":"text","text":`...)
	out = append(jsontext.AppendString(out, text), `}]`...)
	if isError {
		out = append(out, `,"isError":true`...)
	}
	return append(out, '}')
}

// direct is the result of a tool that answers without a backend.
func (t *Tool) direct(x *execution) []byte {
	if t.response.literal != nil {
		return textResult(either(*t.response.literal, empty), false)
	}
	out, err := x.execute(t.response.body, nil)
	if err != nil {
		return ErrorResult(templateFailed(err))
	}
	return t.finish(new(Work), out, out)
}

// templateFailed words the failure of a response template: where, and why, but no values.
func templateFailed(err error) string { return "the tool's template failed: " + err.Error() }

// failedAt is templateFailed without why: nothing that depends on a value.
func failedAt(err error) string {
	var at *template.Error
	if !errors.As(err, &at) {
		return "the tool's template failed"
	}
	return fmt.Sprintf("the tool's template failed at %s:%d:%d", at.Name, at.Line, at.Column)
}

// Result turns the backend's response into the tool result (CallToolResult, without resultType). The body is decoded
// from its Content-Encoding and within the size limit; the result shares no memory with it. A status other than 2xx gives isError.
func (t *Tool) Result(c Call, status int, h http.Header, body []byte) []byte {
	return t.ResultIn(new(Work), c, status, h, body)
}

// ResultIn is Result in memory of w, until that is used again.
func (t *Tool) ResultIn(w *Work, c Call, status int, h http.Header, body []byte) []byte {
	hide := t.masker(w)
	if hide != nil { // before anything is made of it, so that no template gets hold of them
		h, body = hide.header(h), hide.answer(body)
	}
	m := mediaOf(first(h, "Content-Type"))
	if status < 200 || status > 299 {
		return t.failed(hide, c, status, h, m, body)
	}
	if block := m.block(); block != "" && len(body) > 0 && t.response.body == nil {
		return t.media(block, m, body)
	}
	text, ok := m.text(body)
	text = hide.answer(text) // of another charset it was not to be read before
	switch {
	case t.response.body != nil && len(bytes.TrimSpace(body)) > 0:
		if !ok {
			return ErrorResult("the response is " + either(m.kind, "binary data") + ", but the tool's template needs JSON")
		}
		data, err := w.response.Parse(text)
		if err != nil {
			return ErrorResult("the response is not JSON, but the tool's template needs JSON: " + err.Error())
		}
		return t.templated(w, hide, c, data, text)
	case t.response.body != nil:
		return t.templated(w, hide, c, template.Value{}, nil) // nothing, of which {{.}} prints nothing
	case t.response.literal != nil:
		return t.finish(w, []byte(*t.response.literal), text)
	case !ok:
		return t.blob(m, body)
	}
	return t.finish(w, text, text)
}

func (t *Tool) templated(w *Work, hide *masker, c Call, data template.Value, body []byte) []byte {
	var err error
	if w.text, err = t.response.body.Execute(w.text[:0], data, template.Env{ClientIP: c.ClientIP}, t.budget); err != nil {
		if w.execution.asked {
			return ErrorResult(failedAt(err))
		}
		return ErrorResult(templateFailed(err))
	}
	return t.finish(w, hide.answer(w.text), body)
}

// finish makes the result of a text. With an output schema the text, if it is a JSON object, is the structured content
// too, else the body it was made from.
func (t *Tool) finish(w *Work, text, body []byte) []byte {
	out := slices.Grow(w.result[:0], len(text)+len(text)/8+len(t.response.prepend)+len(t.response.append)+64)
	out = append(out, `{"content":[{"type":"text","text":`...)
	switch {
	case len(text) == 0 && t.response.prepend == "" && t.response.append == "":
		out = jsontext.AppendString(out, empty)
	case t.response.prepend == "" && t.response.append == "":
		out = jsontext.AppendString(out, text)
	default:
		out = jsontext.AppendString(out, slices.Concat([]byte(t.response.prepend), text, []byte(t.response.append)))
	}
	out = append(out, `}]`...)
	if t.response.structured {
		out = appendStructured(out, text, body)
	}
	w.result = append(out, '}')
	return w.result
}

func appendStructured(out []byte, candidates ...[]byte) []byte {
	for _, raw := range candidates {
		raw = bytes.TrimSpace(raw)
		if len(raw) == 0 || raw[0] != '{' {
			continue
		}
		if v, err := template.ParseJSON(raw); err == nil && v.Kind() == template.KindObject {
			return appendCompact(append(out, `,"structuredContent":`...), raw)
		}
	}
	return out
}

// media makes an image or audio block, with the tool's own words round it.
func (t *Tool) media(block string, m media, body []byte) []byte {
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(body))+256)
	out = append(out, `{"content":[`...)
	out = appendWords(out, t.response.prepend, "", ",")
	out = append(append(append(out, `{"type":"`...), block...), `","data":"`...)
	out = base64.StdEncoding.AppendEncode(out, body)
	out = append(jsontext.AppendString(append(out, `","mimeType":`...), m.kind), '}')
	out = appendWords(out, t.response.append, ",", "")
	return append(out, `]}`...)
}

// blob makes a resource block of binary data. Its URI is a name only: the backend's address is nobody's business.
func (t *Tool) blob(m media, body []byte) []byte {
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(body))+256)
	out = append(out, `{"content":[`...)
	out = appendWords(out, t.response.prepend, "", ",")
	out = jsontext.AppendString(append(out, `{"type":"resource","resource":{"uri":`...), "tool:"+url.PathEscape(t.Name))
	out = jsontext.AppendString(append(out, `,"mimeType":`...), either(m.kind, "application/octet-stream"))
	out = base64.StdEncoding.AppendEncode(append(out, `,"blob":"`...), body)
	out = append(out, `"}}`...)
	out = appendWords(out, t.response.append, ",", "")
	return append(out, `]}`...)
}

func appendWords(out []byte, text, before, after string) []byte {
	if text == "" {
		return out
	}
	out = append(append(out, before...), `{"type":"text","text":`...)
	return append(append(jsontext.AppendString(out, text), '}'), after...)
}

// failed makes the result of a response that is no success.
func (t *Tool) failed(hide *masker, c Call, status int, h http.Header, m media, body []byte) []byte {
	text, ok := m.text(body)
	text = hide.answer(text)
	if !ok {
		text = fmt.Appendf(nil, "%d bytes of %s", len(body), either(m.kind, "binary data"))
	}
	var out []byte
	if f := t.response.fault; f != nil {
		out = hide.answer(bytes.TrimSpace(t.errorText(c, status, h, text)))
	}
	if len(out) == 0 {
		out = append(fmt.Appendf(make([]byte, 0, len(text)+64), "call failed, status: %d, response: ", status), text...)
	}
	if (status == http.StatusUnauthorized || status == http.StatusForbidden) && c.Withheld != "" && t.asksAuthorization() {
		out = append(append(slices.Clip(out), "\nYour Authorization was not sent on: "...), c.Withheld...)
	}
	return textResult(out, true)
}

// errorText renders errorResponseTemplate over the response's JSON object and its headers, as Higress has them: in lower
// case, with :status among them. Nothing where that fails, for the default says more.
func (t *Tool) errorText(c Call, status int, h http.Header, text []byte) []byte {
	f := t.response.fault
	if f.template == nil {
		return []byte(f.literal)
	}
	headers := []template.Member{{Name: ":status", Value: template.String(strconv.Itoa(status))}}
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		headers = append(headers, template.Member{Name: strings.ToLower(name), Value: template.String(strings.Join(h[name], ", "))})
	}
	data, err := template.ParseJSON(text)
	if err != nil || data.Kind() != template.KindObject {
		data = template.Object()
	}
	out, err := f.template.Execute(nil, data.With("_headers", template.Object(headers...)), template.Env{ClientIP: c.ClientIP}, t.budget)
	if err != nil {
		return nil
	}
	return out
}
