package gateway

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// TestAuditLinesHideNothing: what turns text around, has no width or drives a terminal is escaped in every field, the id's too, and
// the line means the same. Seen red with visible returning its input, and with the id appended as it came.
func TestAuditLinesHideNothing(t *testing.T) {
	for _, odd := range []string{"\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\x7f", "\u0085", "\u009b31m", "\u061c", "\U000e0041", "\u00ad", "\u2029", "\u3164", "\u180e"} {
		text := "wolla" + odd + "deny 工具"
		r := hostile(text)
		r.RequestID = []byte(`"` + text + `"`)
		line := string(r.appendJSON(nil))
		if i := strings.IndexFunc(line, func(c rune) bool { return unicode.Is(unicode.C, c) || strings.ContainsRune(odd, c) && c > 0x7e }); i >= 0 {
			t.Errorf("%q came through: %q", odd, line)
		}
		got := fields(t, line)
		for _, field := range []string{"consumer", "key", "service", "version", "method", "tool", "reason", "traceId", "client", "detail", "arguments", "requestId"} {
			if got[field] != text {
				t.Errorf("%s: %q, want %q", field, got[field], text)
			}
		}
		if !strings.Contains(line, "工具") {
			t.Errorf("what is readable is escaped: %q", line)
		}
	}
}

// TestAuditMasksKeysInEveryEncoding: keys that somebody has escaped on the way are none the less keys. Seen red with the search
// for nmp_ alone.
func TestAuditMasksKeysInEveryEncoding(t *testing.T) {
	const key = "nmp_laptop_SecretPart0123456789"
	each := func(form string) string {
		var b strings.Builder
		for _, c := range []byte(key) {
			fmt.Fprintf(&b, form, c)
		}
		return b.String()
	}
	forms := map[string]string{
		"as it is": key, "percent": each("%%%02x"), "percent, upper case": each("%%%02X"), "percent twice": each("%%25%02X"), "percent thrice": each("%%2525%02x"),
		"underscores": strings.ReplaceAll(key, "_", "%5F"), "first letter": "%6e" + key[1:], "JSON": each(`\u%04x`), "JSON, one letter": `n\u006dp_` + key[4:],
		"JSON within JSON": each(`\\u%04X`), "hex": each(`\x%02x`), "Python": each(`\U%08x`), "JavaScript": each(`\u{%x}`),
		"HTML": each("&#%d;"), "HTML, hex": each("&#x%X;"), "HTML twice": each("&amp;#%d;"),
		"within URL": url.QueryEscape("http://a/?k=" + url.QueryEscape(key)),
	}
	for n := range 3 {
		text := strings.Repeat("u", n) + ":" + key
		forms[fmt.Sprint("base64 at ", n)] = "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
		forms[fmt.Sprint("base64url at ", n)] = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	for name, form := range forms {
		record := &Record{Service: form, Tool: []byte(form), Detail: "GET " + form + " failed", Arguments: []byte(`{"k":"` + form + `"}`), RequestID: []byte(`"` + form + `"`)}
		line := string(record.appendJSON(nil))
		if !json.Valid([]byte(line)) {
			t.Fatalf("%s: no JSON: %s", name, line)
		}
		if got := strings.Count(line, keyPrefix+"…"); got != 5 {
			t.Errorf("%s: %d of 5 masked: %s", name, got, line)
		}
		for _, tail := range []string{"6789", form[len(form)-8 : len(form)-1]} {
			if strings.Contains(line, tail) {
				t.Errorf("%s: the end of the key came through: %s", name, line)
			}
		}
	}
	for _, text := range []string{"100 % of R&D", `a\nb`, `C:\users`, "&#8230;", "%20nmp", "bm1", "5tcF", "ubXB"} {
		if got := printable(text, maxAuditText); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := printable(strings.Repeat("x", maxAuditText-6)+key, maxAuditText); strings.Contains(got, "nmp_la") {
		t.Errorf("of a key that was cut %q is left", got[maxAuditText-6:])
	}
}

// TestClientIsAnAddress: whatever else a peer or a proxy says, a zone is any text. Seen red as it was.
func TestClientIsAnAddress(t *testing.T) {
	g := &Gateway{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"10.0.0.1:5000", "fe80::1%\u202e{\"decision\":\"allow\"}", "fe80::1"},
		{"10.0.0.1:5000", "2001:DB8:0::7", "2001:db8::7"},
		{"10.0.0.1:5000", "::ffff:192.0.2.1", "192.0.2.1"},
		{"10.0.0.1:5000", "<script>", "10.0.0.1"},
		{"[fe80::1%eth0]:5000", "", "fe80::1"},
		{"[::ffff:192.0.2.1]:5000", "", "192.0.2.1"},
		{"@", "192.0.2.1", ""},
		{"", "192.0.2.1", ""},
		{"/run/a socket:1", "", ""},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": {c.forwarded}}}
		if got := g.clientAddress(r); got != c.want {
			t.Errorf("%q for %q: %q, want %q", c.peer, c.forwarded, got, c.want)
		}
	}
	r := &http.Request{RemoteAddr: "192.0.2.1:5000", Header: http.Header{}}
	if n := testing.AllocsPerRun(100, func() { g.clientAddress(r) }); n > 0 {
		t.Errorf("%g allocations", n)
	}
}
