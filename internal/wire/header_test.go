package wire

import (
	"net/http"
	"strings"
	"testing"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestA27_HeadersAgainstBody(t *testing.T) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_pet",` + meta + `}}`
	unicode := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"日本語",` + meta + `}}`
	literal := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"=?base64?Z2V0?=",` + meta + `}}`
	legacy := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_pet"}}`
	good := []string{"MCP-Protocol-Version", V20260728, "Mcp-Method", "tools/call"}
	with := func(more ...string) http.Header { return headers(append(good[:4:4], more...)...) }
	for _, c := range []struct {
		name string
		h    http.Header
		body string
		code int
		what string
	}{
		{"all there", with("Mcp-Name", "get_pet"), call, 0, ""},
		{"another tool", with("Mcp-Name", "get_pets"), call, -32020, "Mcp-Name header differs from params.name"},
		{"another case", with("Mcp-Name", "Get_Pet"), call, -32020, "Mcp-Name header differs"},
		{"name missing", with(), call, -32020, "Mcp-Name header is required for tools/call"},
		{"name empty", with("Mcp-Name", ""), call, -32020, "Mcp-Name header differs"},
		{"name twice", with("Mcp-Name", "get_pet", "Mcp-Name", "get_pet"), call, -32020, "Mcp-Name header is given more than once"},
		{"name in base64", with("Mcp-Name", "=?base64?5pel5pys6Kqe?="), unicode, 0, ""},
		{"base64 of another", with("Mcp-Name", "=?base64?5pel5pys?="), unicode, -32020, "differs"},
		{"base64 without need", with("Mcp-Name", "=?base64?Z2V0X3BldA==?="), call, 0, ""},
		{"broken base64", with("Mcp-Name", "=?base64?5pel5pys6Kqe=?="), unicode, -32020, "not valid base64"},
		{"base64 of no UTF-8", with("Mcp-Name", "=?base64?/w==?="), unicode, -32020, "not valid base64"},
		{"a name that looks encoded, as it is", with("Mcp-Name", "=?base64?Z2V0?="), literal, -32020, "differs"},
		{"a name that looks encoded, encoded", with("Mcp-Name", "=?base64?PT9iYXNlNjQ/WjJWMD89?="), literal, 0, ""},
		{"method missing", headers("MCP-Protocol-Version", V20260728, "Mcp-Name", "get_pet"), call, -32020, "Mcp-Method header is required"},
		{"another method", headers("MCP-Protocol-Version", V20260728, "Mcp-Method", "ping", "Mcp-Name", "get_pet"), call, -32020, "Mcp-Method header differs"},
		{"method twice", with("Mcp-Method", "tools/call", "Mcp-Name", "get_pet"), call, -32020, "Mcp-Method header is given more than once"},
		{"version only in the body", headers("Mcp-Method", "tools/call", "Mcp-Name", "get_pet"), call, -32020, "MCP-Protocol-Version header is required"},
		{"another version", headers("MCP-Protocol-Version", "2026-09-01", "Mcp-Method", "tools/call", "Mcp-Name", "get_pet"), call, -32020, "MCP-Protocol-Version header differs"},
		{"version twice", with("Mcp-Name", "get_pet", "MCP-Protocol-Version", V20260728), call, -32020, "Mcp-Protocol-Version header is given more than once"},
		{"version only in the header", with("Mcp-Name", "get_pet"), legacy, -32602, "protocolVersion is missing"},
		{"version no string", with("Mcp-Name", "get_pet"), strings.Replace(call, `"2026-07-28"`, "20260728", 1), -32602, "protocolVersion is missing"},
		{"a difference is told before what is missing", with("Mcp-Name", "other"), legacy, -32020, "Mcp-Name header differs"},
		{"no capabilities", with("Mcp-Name", "get_pet"), strings.Replace(call, `clientCapabilities":{}`, `x":{}`, 1), -32602, "clientCapabilities is missing"},
		{"capabilities no object", with("Mcp-Name", "get_pet"), strings.Replace(call, `clientCapabilities":{}`, `clientCapabilities":[]`, 1), -32602, "clientCapabilities is missing"},
		{"notification without meta", headers("MCP-Protocol-Version", V20260728, "Mcp-Method", "notifications/cancelled"), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, 0, ""},
		{"legacy without headers", headers(), legacy, 0, ""},
		{"legacy with the right ones", headers("Mcp-Method", "tools/call", "Mcp-Name", "get_pet"), legacy, 0, ""},
		{"legacy with another name", headers("MCP-Protocol-Version", V20251125, "Mcp-Name", "other"), legacy, -32600, "Mcp-Name header differs"},
		{"legacy with another method", headers("Mcp-Method", "ping"), legacy, -32600, "Mcp-Method header differs"},
		{"answer of the client", headers("MCP-Protocol-Version", V20251125), `{"jsonrpc":"2.0","id":1,"result":{}}`, 0, ""},
		{"resource", headers("MCP-Protocol-Version", V20260728, "Mcp-Method", "resources/read", "Mcp-Name", "file:///a"), `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///b",` + meta + `}}`, -32020, "differs from params.uri"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e Envelope
			if err := Scan([]byte(c.body), &e); err != nil {
				t.Fatal(err)
			}
			err := CheckHeaders(c.h, &e)
			if differs := strings.Contains(c.what, "differs") || strings.Contains(c.what, "more than once") || strings.Contains(c.what, "base64"); differs != (HeadersDiffer(c.h, &e) != nil) {
				t.Errorf("HeadersDiffer says %v", HeadersDiffer(c.h, &e))
			}
			if err == nil {
				if c.code != 0 {
					t.Fatalf("let through, want %d", c.code)
				}
				return
			}
			if err.Code != c.code || err.Status != 400 || !strings.Contains(err.Message, c.what) {
				t.Fatalf("got %d %d %q, want %d %q", err.Status, err.Code, err.Message, c.code, c.what)
			}
		})
	}
}

func TestModernRequest(t *testing.T) {
	meta := &Envelope{MetaVersion: true}
	for name, c := range map[string]struct {
		h    http.Header
		e    *Envelope
		want bool
	}{
		"nothing":                    {headers(), &Envelope{}, false},
		"a GET":                      {headers(), nil, false},
		"legacy header":              {headers("MCP-Protocol-Version", V20251125), &Envelope{}, false},
		"modern header":              {headers("MCP-Protocol-Version", V20260728), &Envelope{}, true},
		"a revision yet to come":     {headers("MCP-Protocol-Version", "2027-01-01"), &Envelope{}, true},
		"modern header and session":  {headers("MCP-Protocol-Version", V20260728, "Mcp-Session-Id", "x"), &Envelope{}, true},
		"revision in _meta":          {headers(), meta, true},
		"revision in _meta, session": {headers("Mcp-Session-Id", "x"), meta, false},
	} {
		if got := ModernRequest(c.h, c.e); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
