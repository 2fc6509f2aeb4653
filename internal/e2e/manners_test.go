package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// asModern is the header of a modern request, with more pairs of names and values.
func asModern(method string, more ...string) http.Header {
	h := http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {method}}
	for i := 0; i+1 < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// TestAnswersAreWhatTheSpecificationSays asks a converted service as a strict reader of each revision would. Seen to fail
// with each of these taken out: gateway.paramsFit, gateway.appendMeta, the check of the version in gateway.stream, the filter in gateway.listen,
// the Allow header in gateway.serveSSE, and with no id where none is known in wire.AppendError.
func TestAnswersAreWhatTheSpecificationSays(t *testing.T) {
	p, _, _ := hostileWorld(t)
	c := p.client("store", aliceKey)
	c.initialize()
	in := func(version string, more ...string) http.Header {
		h := http.Header{}
		if version != "" {
			h.Set("Mcp-Protocol-Version", version)
		}
		for i := 0; i+1 < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	session := []string{"Mcp-Session-Id", c.session}
	const me = `"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"store","version":"`
	list := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + params + `}}`
	}
	for _, k := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		code               int64  // of the JSON-RPC error; 0: none
		allow, part        string // part of the body
	}{
		{"ping", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":"p","method":"ping"}`, 200, 0, "", `"id":"p","result":{}`},
		{"modern ping", "POST", "/mcp/store", asModern("ping"), `{"jsonrpc":"2.0","id":1,"method":"ping","params":{` + modernMeta + `}}`, 404, -32601, "", ""},
		{"notification", "POST", "/mcp/store", in("2025-06-18"), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, 0, "", ""},
		{"answer to nothing", "POST", "/mcp/store", in("2025-06-18"), `{"jsonrpc":"2.0","id":1,"result":{}}`, 202, 0, "", ""},
		{"unknown method", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":1,"method":"x/y"}`, 200, -32601, "", ""},
		{"unknown version", "POST", "/mcp/store", in("1999-01-01"), list(""), 400, -32022, "", `"requested":"1999-01-01"`},
		{"unknown version of a stream", "GET", "/mcp/store", in("1999-01-01", session...), "", 400, -32022, "", ""},
		{"no version", "POST", "/mcp/store", in(""), list(""), 200, 0, "", `"get_item"`},
		{"cursor", "POST", "/mcp/store", in("2025-11-25"), list(`"cursor":"2"`), 200, -32602, "", ""},
		{"cursor of prompts", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"cursor":"2"}}`, 200, -32602, "", ""},
		{"modern cursor", "POST", "/mcp/store", asModern("tools/list"), list(`"cursor":"2",` + modernMeta), 400, -32602, "", ""},
		{"no cursor", "POST", "/mcp/store", in("2025-11-25"), list(`"cursor":null`), 200, 0, "", `"get_item"`},
		{"level", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"notice"}}`, 200, 0, "", `"result":{}`},
		{"unknown level", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"loud"}}`, 200, -32602, "", ""},
		{"modern level", "POST", "/mcp/store", asModern("logging/setLevel"), `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{` + modernMeta + `}}`, 404, -32601, "", ""},
		{"nothing", "POST", "/mcp/store", in(""), "", 400, -32700, "", `{"jsonrpc":"2.0","id":null,"error":{`},
		{"batch", "POST", "/mcp/store", in("2025-03-26"), `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, 400, -32600, "", "batch"},
		{"null id", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":null,"method":"ping"}`, 400, -32600, "", `{"jsonrpc":"2.0","id":null,"error":{`},
		{"stream without session", "GET", "/mcp/store", in("2025-11-25"), "", 405, -32600, "POST", ""},
		{"modern stream", "GET", "/mcp/store", in("2026-07-28", session...), "", 405, -32600, "POST", ""},
		{"modern end of a session", "DELETE", "/mcp/store", in("2026-07-28", session...), "", 405, -32600, "POST", ""},
		{"end of a session", "DELETE", "/mcp/store", in("2025-11-25", session...), "", 405, -32600, "POST, GET", ""},
		{"PUT", "PUT", "/mcp/store", in(""), "{}", 405, -32600, "POST, GET, DELETE", ""},
		{"OPTIONS", "OPTIONS", "/mcp/store", in(""), "", 405, -32600, "POST, GET, DELETE", ""},
		{"HEAD", "HEAD", "/mcp/store", in(""), "", 405, 0, "POST, GET, DELETE", ""},
		{"Streamable HTTP to HTTP+SSE", "POST", "/sse/store", in(""), list(""), 405, -32600, "GET", ""},
		{"stream at the message endpoint", "GET", "/sse/store/message", in(""), "", 405, -32600, "POST", ""},
		{"message without session", "POST", "/sse/store/message", in(""), list(""), 404, -32600, "", ""},
		{"listen without filter", "POST", "/mcp/store", asModern("subscriptions/listen"), `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{` + modernMeta + `}}`, 400, -32602, "", ""},
		{"legacy listen", "POST", "/mcp/store", in("2025-11-25"), `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{}}}`, 200, -32601, "", ""},
		{"modern session is ignored", "POST", "/mcp/store", asModern("tools/list", "Mcp-Session-Id", "of somebody else"), list(modernMeta), 200, 0, "", `"resultType":"complete"`},
		{"modern list tells who answers", "POST", "/mcp/store", asModern("tools/list"), list(modernMeta), 200, 0, "", me},
		{"modern prompts tell who answers", "POST", "/mcp/store", asModern("prompts/list"), modernBody("prompts/list", ""), 200, 0, "", me},
		{"modern call tells who answers", "POST", "/mcp/store", asModern("tools/call", "Mcp-Name", "list_items"), modernBody("tools/call", `"name":"list_items"`), 200, 0, "", me},
		{"elsewhere", "POST", "/", in(""), list(""), 404, -32600, "", "/mcp/{service}"},
		{"a trailing slash", "POST", "/mcp/store/", in("2025-11-25"), list(""), 200, 0, "", `"get_item"`},
		{"two of them", "POST", "/mcp/store//", in("2025-11-25"), list(""), 403, -32600, "", ""},
		{"HTTP+SSE with one", "POST", "/sse/store/", in(""), list(""), 405, -32600, "GET", "/mcp/store"},
		{"a message with one", "POST", "/sse/store/message/", in(""), list(""), 404, -32600, "", ""},
		{"no name", "POST", "/mcp/", in(""), list(""), 404, -32600, "", ""},
		{"OAuth", "GET", "/.well-known/oauth-protected-resource/mcp/store", in(""), "", 404, -32600, "", "API keys, there is no OAuth; have the client send the header Authorization: Bearer KEY or X-Api-Key: KEY"},
		{"OAuth of an authorization server", "GET", "/.well-known/oauth-authorization-server", in(""), "", 404, -32600, "", "no OAuth"},
		{"OpenID", "GET", "/mcp/store/.well-known/openid-configuration", in(""), "", 404, -32600, "", "no OAuth"},
		{"registering a client", "POST", "/register", in(""), `{"redirect_uris":[]}`, 404, -32600, "", "no OAuth"},
		{"a foreign host", "POST", "/mcp/store", in("", "Host", "elsewhere.example"), list(""), 403, -32600, "", "http.allowedHosts"},
		{"a foreign origin", "POST", "/mcp/store", in("", "Origin", "http://elsewhere.example"), list(""), 403, -32600, "", "http.allowedOrigins"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		req, err := http.NewRequestWithContext(ctx, k.method, p.URL+k.path, strings.NewReader(k.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = k.header.Clone()
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
		}
		req.Header.Set("Authorization", "Bearer "+aliceKey)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			cancel() // a stream where none should be
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		cancel()
		if resp.StatusCode != k.status || gjson.GetBytes(body, "error.code").Int() != k.code || !strings.Contains(string(body), k.part) {
			t.Errorf("%s: %d %s, want %d %d %s", k.name, resp.StatusCode, body, k.status, k.code, k.part)
		}
		if got := resp.Header.Get("Allow"); got != k.allow {
			t.Errorf("%s: Allow is %q, want %q", k.name, got, k.allow)
		}
		if got := resp.Header.Get("Mcp-Session-Id"); got != "" {
			t.Errorf("%s: got a session", k.name)
		}
		if k.status == 202 && (len(body) > 0 || resp.Header.Get("Content-Type") != "") {
			t.Errorf("%s: a body: %s", k.name, body)
		}
	}
}

// TestSubscriptionsAreHonouredAsAsked opens subscriptions to a converted service and, for a caller of one tool, to one that
// is passed on: what is not asked for is not promised and not sent, one to nothing ends at once, and one that the proxy ends
// has a result. Seen to fail as it was: toolsListChanged promised to all, and streams that just end.
func TestSubscriptionsAreHonouredAsAsked(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	modern := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Mcp-Session-Id", "minted") // which the modern era does not know
		fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":{\"toolsListChanged\":true}}}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s.put(t, "proxy-services", "modern.yaml", "upstream: {url: \""+modern.URL+"\", transport: streamable}\n")
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	open := map[string]string{"store": "tools: {get_item: [bob]}\n", "tools": "tools: {add: [bob]}\n", "modern": "consumers: [bob]\n"}
	closed := "consumers: [alice]\n"
	for name, grants := range open {
		s.put(t, "proxy-grants", name+".yaml", grants)
	}
	p := start(t, s).ready()
	listen := func(service, filter string) *eventStream {
		c := p.client(service, bobKey)
		c.header = asModern("subscriptions/listen")
		return c.events(http.MethodPost, `{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{"notifications":`+filter+`,`+modernMeta+`}}`, "")
	}
	const result = `{"jsonrpc":"2.0","id":"sub","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"sub"}}}`
	for _, service := range []string{"store", "tools"} {
		for _, filter := range []string{`{}`, `{"promptsListChanged":true,"resourceSubscriptions":["x:y"]}`, `{"toolsListChanged":false}`} {
			e := listen(service, filter)
			e.until(t, `"notifications":{},"_meta":{"io.modelcontextprotocol/subscriptionId":"sub"}`)
			if e.until(t, `"id":"sub"`); e.data != result {
				t.Errorf("%s, %s: it ended with %s", service, filter, e.data)
			}
			if line, open := <-e.lines; open {
				t.Errorf("%s, %s: after its end: %q", service, filter, line)
			}
		}
	}
	for service := range open {
		e := listen(service, `{"toolsListChanged":true}`)
		if id := e.head.Get("Mcp-Session-Id"); id != "" {
			t.Errorf("%s: a modern answer came with the session %q", service, id)
		}
		e.until(t, `"notifications":{"toolsListChanged":true}`)
		s.put(t, "proxy-grants", service+".yaml", closed)
		if e.until(t, `"id":"sub"`); e.data != result {
			t.Errorf("%s: when access ended: %s", service, e.data)
		}
	}
}
