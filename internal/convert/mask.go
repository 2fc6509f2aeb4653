package convert

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// mask stands for a credential.
const mask = "***"

// minMasked is how long a credential must be, in bytes, to be searched for in what goes to a client: shorter ones stand in
// too much text that has nothing to do with them. What a person is shown of a request masks those of minShown, too.
const (
	minMasked = 8
	minShown  = 3
)

// masker replaces the credentials of a call in text. It is immutable; nil replaces nothing.
type masker struct {
	secrets []string // as it was made for
	forms   [][]byte // the longest first
}

// newMasker makes a masker of the credentials that have at least so many bytes; nil where there is none.
func newMasker(secrets []string, least int) *masker {
	m := &masker{secrets: slices.Clone(secrets)}
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		for _, part := range []string{s, withoutWord(s)} {
			if len(part) >= least {
				m.forms = appendForms(m.forms, part, least)
			}
		}
	}
	if len(m.forms) == 0 {
		return nil
	}
	slices.SortFunc(m.forms, func(a, b []byte) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), bytes.Compare(a, b))
	})
	m.forms = slices.CompactFunc(m.forms, bytes.Equal)
	return m
}

// withoutWord is a credential without the name of a scheme before it: backends tell of the rest alone, too.
func withoutWord(s string) string {
	word, rest, ok := strings.Cut(s, " ")
	if ok {
		switch strings.ToLower(word) {
		case "bearer", "basic", "token", "appcode", "apikey", "digest", "hmac":
			return strings.TrimSpace(rest)
		}
	}
	return s
}

// appendForms appends the spellings in which a credential comes back from backends: as it is, in JSON, percent-encoded, in
// HTML, and in base64 at each of the three places where it may begin in what was encoded.
func appendForms(forms [][]byte, s string, least int) [][]byte {
	add := func(form string) {
		if len(form) >= least {
			forms = append(forms, []byte(form))
		}
	}
	literal := jsontext.AppendString(nil, s)
	add(s)
	add(string(literal[1 : len(literal)-1]))
	if escaped, err := json.Marshal(s); err == nil { // with < > & as \u003c and the like
		add(string(escaped[1 : len(escaped)-1]))
	}
	add(strings.ReplaceAll(string(literal[1:len(literal)-1]), "/", `\/`))
	add(html.EscapeString(s))
	for _, form := range []string{
		string(queryEscape(nil, s)), string(appendFormValue(nil, s)), url.QueryEscape(s), url.PathEscape(s), string(appendLiteral(nil, s)),
	} {
		add(form)
		add(lowerEscapes(form))
	}
	for before := range 3 {
		// Characters that hold bits of what stands before or after are left out.
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), s...))
		from, to := (before*8+5)/6, (before+len(s))*8/6
		add(encoded[from:to])
		add(strings.NewReplacer("+", "-", "/", "_").Replace(encoded[from:to]))
	}
	return forms
}

// lowerEscapes spells percent-escapes with small letters.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

// text returns b without the credentials; it is b itself where there are none in it.
func (m *masker) text(b []byte) []byte {
	if m == nil {
		return b
	}
	for _, form := range m.forms {
		if bytes.Contains(b, form) {
			b = bytes.ReplaceAll(b, form, []byte(mask))
		}
	}
	return b
}

// answer is text for what a backend sent, in which characters that need no escape in JSON may be escaped all the same.
func (m *masker) answer(b []byte) []byte {
	if m == nil {
		return b
	}
	b = m.text(b)
	if bytes.Contains(b, []byte(`\u`)) || bytes.Contains(b, []byte(`\/`)) {
		plain := unescapeJSON(b)
		if masked := m.text(plain); !bytes.Equal(masked, plain) {
			return masked
		}
	}
	return b
}

// unescapeJSON returns JSON text without the escapes that it does not need.
func unescapeJSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		switch r, n := unicodeEscape(b[i:]); {
		case n > 0 && r >= ' ' && r != '"' && r != '\\':
			out = utf8.AppendRune(out, r)
			i += n - 1
		case b[i+1] == '/':
			out = append(out, '/')
			i++
		default:
			out = append(out, b[i], b[i+1])
			i++
		}
	}
	return out
}

func (m *masker) string(s string) string {
	if m == nil {
		return s
	}
	return string(m.text([]byte(s)))
}

// header returns a copy of h without the credentials in its values.
func (m *masker) header(h http.Header) http.Header {
	if m == nil {
		return h
	}
	out := make(http.Header, len(h))
	for name, values := range h {
		masked := make([]string, len(values))
		for i, v := range values {
			masked[i] = m.string(v)
		}
		out[name] = masked
	}
	return out
}

// masker returns what replaces the credentials that the call in w has used; nil where there is nothing to replace. The
// calls of a tool mostly use the same ones, so that the last is kept.
func (t *Tool) masker(w *Work) *masker {
	secrets := w.execution.seen
	if !slices.ContainsFunc(secrets, func(s string) bool { return len(s) >= minMasked }) {
		return nil
	}
	if t.lastMasker == nil {
		return newMasker(secrets, minMasked)
	}
	m := t.lastMasker.Load()
	if m == nil || !slices.Equal(m.secrets, secrets) {
		if m = newMasker(secrets, minMasked); m == nil {
			return nil
		}
		t.lastMasker.Store(m)
	}
	return m
}

// Conceal returns a piece of a backend's answer without the credentials that the call in w has used; it is piece itself
// where there are none in it.
func (t *Tool) Conceal(w *Work, piece []byte) []byte { return t.masker(w).answer(piece) }
