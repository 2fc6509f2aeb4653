package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// oldBackend is the server of mcpBackend over HTTP+SSE.
func oldBackend(t testing.TB) *httptest.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "backend", Version: "1"}, nil)
	for _, name := range []string{"echo", "danger"} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: name}, func(_ context.Context, _ *mcp.CallToolRequest, x map[string]any) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(x)}}}, nil, nil
		})
	}
	srv := httptest.NewServer(mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil))
	t.Cleanup(srv.Close)
	return srv
}

// TestAllowToolsHoldsForEverybody was seen to fail while allowTools of a service that is passed on was read and
// forgotten: everything was listed and ran, also without a key where the switch is off.
func TestAllowToolsHoldsForEverybody(t *testing.T) {
	s := directory(t)
	mcpServer, old := mcpBackend(t), oldBackend(t)
	s.put(t, "proxy-services", "top.yaml", "server: {type: mcp-proxy, transport: http, mcpServerURL: \""+mcpServer.URL+"\"}\nallowTools: [echo, none]\n")
	s.put(t, "proxy-services", "inner.yaml", "server: {allowTools: [echo]}\nupstream: {url: \""+mcpServer.URL+"\", transport: streamable}\n")
	s.put(t, "proxy-services", "old.yaml", "server: {allowTools: [echo]}\nupstream: {url: \""+old.URL+"\", transport: sse}\n")
	services := []string{"top", "inner", "old"}
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, name := range services {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\ntools: {danger: [bob], \"e*\": [bob]}\n")
	}
	p := start(t, s).ready()
	check := func(t *testing.T, c *client) {
		if a := c.initialize(); a.Status != 200 {
			t.Fatalf("initialize: %d %s", a.Status, a.Body)
		}
		if diff := cmp.Diff([]string{"echo"}, c.list().tools()); diff != "" {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
		if a := c.call("echo", `{"x":1}`); a.text() != "map[x:1]" {
			t.Errorf("echo: %d %s", a.Status, a.Body)
		}
		if a := c.call("danger", `{}`); a.text() != "" || !strings.Contains(a.Body, "Unknown tool: danger") {
			t.Errorf("a tool that is not allowed ran: %d %s", a.Status, a.Body)
		}
	}
	for _, name := range services {
		for who, key := range map[string]string{"service grant": aliceKey, "tool grants": bobKey} {
			t.Run(name+" "+who, func(t *testing.T) { check(t, p.client(name, key)) })
		}
		s.put(t, "proxy-grants", name+".yaml", "auth: disabled\n")
		eventually(t, 10*time.Second, "the switch to be off", func() bool { return p.client(name, "").initialize().Status == 200 })
		t.Run(name+" switch off", func(t *testing.T) { check(t, p.client(name, "")) })
	}
}

// TestCallersOwnCredentialReachesAnMCPBackend was seen to fail while defaultDownstreamSecurity was read and forgotten: the
// backend saw no credential at all.
func TestCallersOwnCredentialReachesAnMCPBackend(t *testing.T) {
	s := directory(t)
	api := newRecorder(t, mcpBackend(t).Config.Handler.ServeHTTP)
	old := newRecorder(t, oldBackend(t).Config.Handler.ServeHTTP)
	const schemes = `
  securitySchemes:
    - {id: c, type: apiKey, in: header, name: X-User}
    - {id: q, type: apiKey, in: query, name: user}
    - {id: u, type: http, scheme: bearer}
    - {id: k, type: apiKey, in: header, name: X-Backend, defaultCredential: default}
`
	for name, rest := range map[string]string{
		"translated": "  defaultDownstreamSecurity: {id: c, passthrough: true}\n  defaultUpstreamSecurity: {id: u}\n",
		"same":       "  defaultDownstreamSecurity: {id: c, passthrough: true}\n",
		"query":      "  defaultDownstreamSecurity: {id: q, passthrough: true}\n  defaultUpstreamSecurity: {id: k}\n",
		"fallback":   "  defaultDownstreamSecurity: {id: c, passthrough: true}\n  defaultUpstreamSecurity: {id: k, credential: services-own}\n",
		"fixed":      "  defaultUpstreamSecurity: {id: k}\n",
	} {
		s.put(t, "proxy-services", name+".yaml", "server:\n  type: mcp-proxy\n  transport: http\n  mcpServerURL: \""+api.URL+"\""+schemes+rest)
		s.put(t, "proxy-grants", name+".yaml", "auth: disabled\n")
	}
	s.put(t, "proxy-services", "bridged.yaml", "server:\n  type: mcp-proxy\n  transport: sse\n  mcpServerURL: \""+old.URL+"\""+schemes+
		"  defaultDownstreamSecurity: {id: c, passthrough: true}\n  defaultUpstreamSecurity: {id: u}\n")
	s.put(t, "proxy-services", "operator.yaml", "server:\n  type: mcp-proxy\n  transport: http\n  mcpServerURL: \""+api.URL+"\""+schemes+
		"  defaultDownstreamSecurity: {id: c, passthrough: true}\n  defaultUpstreamSecurity: {id: u}\n")
	s.put(t, "proxy-upstreams", "operator.yaml", "security: {id: k, credential: operators-own}\n")
	triple(t, s, "22222222-2222-4222-8222-222222222222", "stored", "mcp-streamable", "mcp", `{"tools":[],"toolsMeta":{},
		"securitySchemes":[{"id":"c","type":"apiKey","in":"header","name":"X-User"},{"id":"u","type":"http","scheme":"bearer"}],
		"extensions":{"server.defaultDownstreamSecurity":{"id":"c","passthrough":true},"server.defaultUpstreamSecurity":{"id":"u"}}}`)
	s.instance(t, "DEFAULT_GROUP", "mcp", api.address())
	s.put(t, "proxy-grants", "stored.yaml", "auth: disabled\n")
	for _, name := range []string{"bridged", "operator"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	p := start(t, s).ready()

	for _, c := range []struct {
		service, key, path string
		user               string
		backend            *recorder
		want               http.Header // of these names
		refused            string
	}{
		{service: "translated", user: "ann", want: http.Header{"Authorization": {"Bearer ann"}}},
		{service: "translated", refused: "This service needs your own credential with each request: header X-User"},
		{service: "translated", user: aliceKey, refused: "This service needs your own credential with each request: header X-User"},
		{service: "same", user: "ann", want: http.Header{"X-User": {"ann"}}},
		{service: "query", path: "?user=ann", want: http.Header{"X-Backend": {"ann"}}},
		{service: "query", refused: "This service needs your own credential with each request: query parameter user"},
		{service: "fallback", user: "ann", want: http.Header{"X-Backend": {"ann"}}},
		{service: "fallback", want: http.Header{"X-Backend": {"services-own"}}},
		{service: "fixed", user: "ann", want: http.Header{"X-Backend": {"default"}}},
		{service: "stored", user: "ann", want: http.Header{"Authorization": {"Bearer ann"}}},
		{service: "bridged", key: aliceKey, user: "ann", backend: old, want: http.Header{"Authorization": {"Bearer ann"}}},
		{service: "bridged", key: aliceKey, refused: "This service needs your own credential with each request: header X-User"},
		{service: "operator", key: aliceKey, user: "ann", want: http.Header{"X-Backend": {"operators-own"}}},
	} {
		t.Run(c.service+" "+c.user+c.path, func(t *testing.T) {
			caller := p.client(c.service+c.path, c.key)
			if c.user != "" {
				caller.header.Set("X-User", c.user)
			}
			backend := c.backend
			if backend == nil {
				backend = api
			}
			before := backend.count()
			a := caller.initialize()
			if c.refused != "" {
				if a.Status != 400 || !strings.Contains(a.Body, c.refused) {
					t.Errorf("%d %s, want 400 and %q", a.Status, a.Body, c.refused)
				}
				if backend.count() != before {
					t.Error("the backend was asked")
				}
				return
			}
			if a.Status != 200 {
				t.Fatalf("initialize: %d %s", a.Status, a.Body)
			}
			if a := caller.call("echo", `{}`); a.text() == "" {
				t.Errorf("call: %d %s", a.Status, a.Body)
			}
			backend.mu.Lock()
			defer backend.mu.Unlock()
			for _, h := range backend.head[before:] {
				got := http.Header{}
				for _, name := range []string{"Authorization", "X-User", "X-Backend"} {
					if v := h[name]; v != nil {
						got[name] = v
					}
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("the backend got (-want +got):\n%s", diff)
				}
			}
		})
	}
}
