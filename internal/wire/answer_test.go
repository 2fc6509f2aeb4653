package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// The rows of the protocol's table of answers, as they stand in docs/protocol.md.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		r                    Refusal
		code, modern, legacy int
	}{
		{NoKey, CodeInvalidRequest, 401, 401},
		{NoGrant, CodeInvalidRequest, 403, 403},
		{UnknownTool, -32602, 400, 200},
		{UnknownMethod, -32601, 404, 200},
		{UnsupportedVersion, -32022, 400, 400},
		{HeaderMismatch, -32020, 400, 400},
		{Batch, -32600, 400, 400},
		{ForeignOrigin, CodeInvalidRequest, 403, 403},
		{MethodNotAllowed, CodeInvalidRequest, 405, 405},
		{UnknownSession, CodeInvalidRequest, 404, 404},
		{NoSession, CodeInvalidRequest, 400, 400},
		{NotJSON, -32700, 400, 400},
		{BodyTooLarge, CodeInvalidRequest, 413, 413},
	} {
		if c.r.Code() != c.code || c.r.Status(true) != c.modern || c.r.Status(false) != c.legacy {
			t.Errorf("%s: %d %d %d", c.r.Message(), c.r.Code(), c.r.Status(true), c.r.Status(false))
		}
	}
	for r := NoRefusal + 1; r < refusals; r++ {
		if r.Code() == 0 || r.Message() == "" || r.Status(true) == 0 || r.Status(false) == 0 {
			t.Errorf("refusal %d has no row in the table", r)
		}
		if c := r.Code(); c > -32020 && c <= -32000 {
			t.Errorf("refusal %d has code %d, which must not be used", r, c)
		}
	}
}

func TestErrorsAsResponses(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(UnknownToolError([]byte(`a"b`), true).Append(nil, []byte("9007199254740993"))),
			`{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-32602,"message":"Unknown tool: a\"b"}}`},
		{string(UnknownMethodError("x/y", false).Append(nil, []byte(`"s"`))),
			`{"jsonrpc":"2.0","id":"s","error":{"code":-32601,"message":"Method not found: x/y"}}`},
		{string(UnsupportedVersionError("1999-01-01", []string{V20251125, V20260728}).Append(nil, []byte("1"))),
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2025-11-25","2026-07-28"],"requested":"1999-01-01"}}}`},
		{string(NoKey.Error(false, "").Append(nil, nil)),
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Unauthorized: a valid API key is needed"}}`},
		{string(AppendResult(nil, []byte("1"), []byte(`{"x":1.0}`))), `{"jsonrpc":"2.0","id":1,"result":{"x":1.0}}`},
		{string(AppendNotification(nil, "notifications/message", []byte(`{"a":1}`))), `{"jsonrpc":"2.0","method":"notifications/message","params":{"a":1}}`},
		{string(AppendListenEnd(nil, []byte(`"s"`))), `{"jsonrpc":"2.0","id":"s","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}`},
		{string(AppendToolsListChanged(nil, nil)), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`},
		{string(AppendToolsListChanged(nil, []byte("7"))), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
		if !Valid([]byte(c.got)) {
			t.Errorf("not JSON: %s", c.got)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for code, want := range map[int]int{-32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32603: 200, -32002: 200} {
		if got := StatusOf(code, true); got != want {
			t.Errorf("%d: modern %d, want %d", code, got, want)
		}
		if got := StatusOf(code, false); got != 200 {
			t.Errorf("%d: legacy %d", code, got)
		}
	}
}

func TestNegotiate(t *testing.T) {
	for asked, want := range map[string]string{V20241105: V20241105, V20251125: V20251125, V20260728: V20251125, "2099-01-01": V20251125, "": V20251125} {
		if got := Negotiate(asked); got != want {
			t.Errorf("%q: got %q", asked, got)
		}
	}
}

func TestEmptyResultsAreJSON(t *testing.T) {
	for _, modern := range []bool{false, true} {
		for _, m := range refKnown {
			r := EmptyResult(m, modern)
			if r != nil && !Valid(r) {
				t.Errorf("%s: %s", m, r)
			}
			if r != nil && modern && (!strings.Contains(string(r), `"resultType":"complete"`) || !strings.Contains(string(r), `"cacheScope":"private"`)) {
				t.Errorf("%s lacks what a modern result has: %s", m, r)
			}
		}
	}
	if EmptyResult(MethodPing, true) != nil {
		t.Error("ping is gone from the modern era")
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", `"\`, "\x00\x1f\u007f", "\u2028\u2029", "\xff\xc3", "日本", "<script>&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw := jsontext.AppendString(nil, s)
		if string(jsontext.AppendString(nil, []byte(s))) != string(raw) {
			t.Fatal("bytes and string differ")
		}
		var back string
		if err := json.Unmarshal(raw, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Fatalf("%q came back as %q, %v", s, back, err)
		}
		mine, ok := Text(raw)
		if !ok || mine != back || !Valid(raw) {
			t.Fatalf("%q: Text gives %q, %v", raw, mine, ok)
		}
	})
}

func TestMember(t *testing.T) {
	for _, c := range []struct {
		raw, name, want string
		ok              bool
	}{
		{`{"a":1,"b":{"a":2}}`, "b", `{"a":2}`, true},
		{` { "\u0061" : 1.50 } `, "a", "1.50", true},
		{`{"a":1,"a":2}`, "a", "", false},
		{`{"A":1}`, "a", "", false},
		{`{"a":1`, "a", "", false},
		{`{"a":1}x`, "a", "", false},
		{`[1]`, "a", "", false},
		{``, "a", "", false},
		{`{}`, "a", "", false},
	} {
		got, ok := Member([]byte(c.raw), c.name)
		if string(got) != c.want || ok != c.ok {
			t.Errorf("%s: got %q, %v", c.raw, got, ok)
		}
	}
	for raw, want := range map[string]string{`"a\nb"`: "a\nb", `"\ud83d\udc36"`: "🐶", `""`: ""} {
		if got, ok := Text([]byte(raw)); !ok || got != want {
			t.Errorf("%s: got %q", raw, got)
		}
	}
	for _, raw := range []string{``, `"`, `1`, `"a"b`, `"\ud800"`, `"a`} {
		if got, ok := Text([]byte(raw)); ok {
			t.Errorf("%s: got %q", raw, got)
		}
	}
}
