package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// modernBody is a request of the newest revision.
func modernBody(method, params string) string {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	if params != "" {
		params = "," + params
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":{%s%s}}`, method, meta, params)
}

func legacyBody(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":{%s}}`, method, params)
}

// modernHeader is what goes with it.
func modernHeader(method, name string) map[string]string {
	h := map[string]string{"Mcp-Protocol-Version": modernRevision, "Mcp-Method": method}
	if name != "" {
		h["Mcp-Name"] = name
	}
	return h
}

func base64Of(name string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?="
}

// with adds headers; an empty value takes one away.
func with(h map[string]string, more ...string) map[string]string {
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

// wireCase is a request and the status and JSON-RPC code that must answer it; code 0 stands for a result, or no body.
type wireCase struct {
	name   string
	http   string // POST if empty
	header map[string]string
	body   string
	status int
	code   int
	want   string // part of the body
}

const anyCode = -1

// everyKind are cases that every kind of service answers alike.
func everyKind(tool, arguments string) []wireCase {
	call := fmt.Sprintf(`"name":%q,"arguments":%s`, tool, arguments)
	unknown := `"name":"no-such-tool","arguments":{}`
	return []wireCase{
		{"modern call", "", modernHeader("tools/call", tool), modernBody("tools/call", call), 200, 0, `"resultType":"complete"`},
		{"modern list", "", modernHeader("tools/list", ""), modernBody("tools/list", ""), 200, 0, `"cacheScope":"private"`},
		{"modern discover", "", modernHeader("server/discover", ""), modernBody("server/discover", ""), 200, 0, `"supportedVersions"`},
		{"modern unknown method", "", modernHeader("no/such", ""), modernBody("no/such", ""), 404, -32601, ""},
		{"modern ping is gone", "", modernHeader("ping", ""), modernBody("ping", ""), 404, -32601, ""},
		{"modern initialize is gone", "", modernHeader("initialize", ""), modernBody("initialize", ""), 404, -32601, ""},
		{"modern unknown tool", "", modernHeader("tools/call", "no-such-tool"), modernBody("tools/call", unknown), 400, -32602, ""},
		{"another name in the header", "", modernHeader("tools/call", "other"), modernBody("tools/call", call), 400, -32020, ""},
		{"another method in the header", "", modernHeader("ping", tool), modernBody("tools/call", call), 400, -32020, ""},
		{"a name in broken base64", "", modernHeader("tools/call", "=?base64?!?="), modernBody("tools/call", call), 400, -32020, ""},
		{"no method header", "", with(modernHeader("tools/list", ""), "Mcp-Method", ""), modernBody("tools/list", ""), 400, -32020, ""},
		{"no name header", "", modernHeader("tools/call", ""), modernBody("tools/call", call), 400, -32020, ""},
		{"another version in the header", "", with(modernHeader("tools/list", ""), "Mcp-Protocol-Version", "2027-01-01"), modernBody("tools/list", ""), 400, -32020, ""},
		{"modern without capabilities", "", modernHeader("tools/list", ""), `{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, 400, -32602, ""},
		{"unknown revision", "", with(modernHeader("tools/list", ""), "Mcp-Protocol-Version", "2027-01-01"),
			strings.Replace(modernBody("tools/list", ""), modernRevision, "2027-01-01", 1), 400, -32022, `"supported"`},
		{"session ids mean nothing to the modern", "", with(modernHeader("tools/list", ""), "Mcp-Session-Id", "nonsense"), modernBody("tools/list", ""), 200, 0, `"tools"`},
		{"modern GET", http.MethodGet, map[string]string{"Mcp-Protocol-Version": modernRevision}, "", 405, anyCode, ""},
		{"modern DELETE", http.MethodDelete, map[string]string{"Mcp-Protocol-Version": modernRevision}, "", 405, anyCode, ""},
		{"unknown session", "", map[string]string{"Mcp-Session-Id": "nonsense"}, legacyBody("tools/list", ""), 404, anyCode, ""},
		{"unknown session's stream", http.MethodGet, map[string]string{"Mcp-Session-Id": "nonsense"}, "", 404, anyCode, ""},
		{"foreign origin", "", with(modernHeader("tools/list", ""), "Origin", "https://evil.example"), modernBody("tools/list", ""), 403, anyCode, ""},
		{"not JSON", "", nil, `{"jsonrpc":`, 400, -32700, ""},
		{"batch", "", nil, `[` + legacyBody("tools/list", "") + `]`, 400, -32600, "batches"},
		{"case variants", "", nil, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","NAME":"` + tool + `"}}`, 400, -32602, ""},
		{"another media type", "", map[string]string{"Content-Type": "text/plain"}, legacyBody("tools/list", ""), 415, anyCode, ""},
		{"another HTTP method", http.MethodPut, nil, "{}", 405, anyCode, ""},
	}
}

// convertedCases are those that the proxy answers by itself. (Names in base64 are passed on as they are: the go-sdk's
// v1.8.0 refuses them.)
var convertedCases = []wireCase{
	{"modern name in base64", "", modernHeader("tools/call", base64Of("get_item")), modernBody("tools/call", `"name":"get_item","arguments":{"id":7}`), 200, 0, `"content"`},
	{"modern name in base64, another", "", modernHeader("tools/call", base64Of("list_items")), modernBody("tools/call", `"name":"get_item","arguments":{"id":7}`), 400, -32020, ""},
	{"legacy ping", "", nil, legacyBody("ping", ""), 200, 0, `"result":{}`},
	{"legacy unknown method", "", nil, legacyBody("no/such", ""), 200, -32601, ""},
	{"legacy discover", "", nil, legacyBody("server/discover", ""), 200, -32601, ""},
	{"legacy unknown tool", "", nil, legacyBody("tools/call", `"name":"no-such-tool"`), 200, -32602, "Unknown tool: no-such-tool"},
	{"legacy unknown revision", "", map[string]string{"Mcp-Protocol-Version": "1999-01-01"}, legacyBody("tools/list", ""), 400, -32022, `"supported"`},
	{"an old revision is negotiated", "", nil, legacyBody("initialize", `"protocolVersion":"2024-11-05"`), 200, 0, `"protocolVersion":"2024-11-05"`},
	{"another old one", "", nil, legacyBody("initialize", `"protocolVersion":"2025-03-26"`), 200, 0, `"protocolVersion":"2025-03-26"`},
	{"a less old one", "", nil, legacyBody("initialize", `"protocolVersion":"2025-06-18"`), 200, 0, `"protocolVersion":"2025-06-18"`},
	{"an unknown one is answered with ours", "", nil, legacyBody("initialize", `"protocolVersion":"1999-01-01"`), 200, 0, `"protocolVersion":"2025-11-25"`},
	{"notification", "", nil, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, 0, ""},
	{"modern notification", "", modernHeader("notifications/cancelled", ""), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, 202, 0, ""},
	{"logging level", "", nil, legacyBody("logging/setLevel", `"level":"info"`), 200, 0, `"result":{}`},
	{"completion", "", nil, legacyBody("completion/complete", `"ref":{},"argument":{}`), 200, -32601, ""},
	{"no resources", "", nil, legacyBody("resources/list", ""), 200, 0, `"resources":[]`},
	{"no templates", "", nil, legacyBody("resources/templates/list", ""), 200, 0, `"resourceTemplates":[]`},
	{"no prompts", "", nil, legacyBody("prompts/list", ""), 200, 0, `"prompts":[]`},
	{"no modern prompts", "", modernHeader("prompts/list", ""), modernBody("prompts/list", ""), 200, 0, `"resultType":"complete"`},
	{"bad arguments", "", modernHeader("tools/call", "get_item"), modernBody("tools/call", `"name":"get_item","arguments":{}`), 200, 0, `"isError":true`},
	{"GET without a session", http.MethodGet, nil, "", 405, anyCode, ""},
}

// TestStatusesAndCodes holds the answers of the wire's table in both eras.
func TestStatusesAndCodes(t *testing.T) {
	s := directory(t)
	s.put(t, "proxy-services", "converted.yaml", storeDocument(newRecorder(t, shop).URL))
	s.put(t, "proxy-services", "passed.yaml", "upstream: {url: \"http://"+fixture(t, buildFixture(t))+"/\", transport: streamable}\n")
	for _, name := range []string{"converted", "passed"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	p := start(t, s).ready()
	t.Run("converted", func(t *testing.T) {
		checkWire(t, p, "converted", append(everyKind("get_item", `{"id":7}`), convertedCases...))
	})
	t.Run("converted sessions do not end", func(t *testing.T) {
		c := p.client("converted", aliceKey)
		c.initialize()
		if a := c.do(http.MethodDelete, ""); a.Status != 405 || a.Header.Get("Allow") != "POST, GET" {
			t.Errorf("DELETE: %d %v", a.Status, a.Header)
		}
	})
	t.Run("passed", func(t *testing.T) { checkWire(t, p, "passed", everyKind("test_simple_text", `{}`)) })
	t.Run("keys", func(t *testing.T) {
		for key, want := range map[string]struct {
			status int
			header string
		}{"": {401, "Bearer"}, "nmp_x_unknown": {401, "Bearer"}, bobKey: {403, `Bearer error="insufficient_scope"`}} {
			for _, service := range []string{"converted", "passed"} {
				c := p.client(service, key)
				if a := c.list(); a.Status != want.status || a.Header.Get("WWW-Authenticate") != want.header || !json.Valid([]byte(a.Body)) {
					t.Errorf("key %q: %d %v %s", key, a.Status, a.Header, a.Body)
				}
			}
		}
	})
}

func checkWire(t *testing.T, p *proxy, service string, cases []wireCase) {
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			c := p.client(service, aliceKey)
			for name, value := range k.header {
				if value != "" {
					c.header.Set(name, value)
				}
			}
			method := k.http
			if method == "" {
				method = http.MethodPost
			}
			a := c.do(method, k.body)
			if a.Status != k.status || !strings.Contains(a.Body, k.want) {
				t.Errorf("%d %s, want %d with %q", a.Status, a.Body, k.status, k.want)
			}
			if code := a.code(); k.code != anyCode && code != k.code {
				t.Errorf("code %d, want %d: %s", code, k.code, a.Body)
			}
		})
	}
}

// code is that of the JSON-RPC error; 0 if there is none.
func (a answer) code() int {
	var r struct{ Error struct{ Code int } }
	body := a.Body
	if i := strings.Index(body, "data: "); i >= 0 {
		body, _, _ = strings.Cut(body[i+len("data: "):], "\n")
	}
	_ = json.Unmarshal([]byte(body), &r)
	return r.Error.Code
}

// TestCallersThatLeaveOrCancelEndTheHTTPCall has a converted tool's backend wait until it is given up.
func TestCallersThatLeaveOrCancelEndTheHTTPCall(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	t.Cleanup(api.Close)
	s := directory(t)
	s.put(t, "proxy-services", "slow.yaml", "upstream: {url: \""+api.URL+"\"}\ntools: [{name: wait, description: d, requestTemplate: {url: /, method: GET}}]\n")
	s.put(t, "proxy-grants", "slow.yaml", "consumers: [alice]\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	p := start(t, s).ready()
	within := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(20 * time.Second):
			t.Fatalf("not within 20 s: %s", what)
		}
	}
	call := func(ctx context.Context, c *client) {
		body := modernBody("tools/call", `"name":"wait"`)
		if c.session != "" {
			body = legacyBody("tools/call", `"name":"wait"`)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/mcp/slow", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+aliceKey)
		if c.session != "" {
			req.Header.Set("Mcp-Session-Id", c.session)
		} else {
			for name, value := range modernHeader("tools/call", "wait") {
				req.Header.Set(name, value)
			}
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}

	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	go call(ctx, p.client("slow", aliceKey))
	within("the call of one who leaves", begun)
	leave()
	within("its end", ended)

	c := p.client("slow", aliceKey)
	c.initialize()
	go call(context.Background(), c)
	within("the call that is cancelled", begun)
	c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
	within("its end", ended)
}

// TestPathsThatAreNoService has clients probe for an authorization server, which there is none of.
func TestPathsThatAreNoService(t *testing.T) {
	s := directory(t)
	p := start(t, s).ready()
	for _, path := range []string{
		"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp/store",
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/register", "/",
	} {
		resp, err := http.Get(p.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Type") != "application/json" || !json.Valid(body) {
			t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, body)
		}
	}
}
