package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"context"
)

const (
	aliceKey = "nmp_alice_0123456789abcdefghijklmnopqrstuvwxyz"
	bobKey   = "nmp_bob_0123456789abcdefghijklmnopqrstuvwxyz"
	carolKey = "nmp_carol_0123456789abcdefghijklmnopqrstuvwxyz"
)

// shop is a small HTTP API.
func shop(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/items/7":
		fmt.Fprint(w, `{"id":7,"name":"Lamp","price":12.50}`)
	case "/me":
		if r.Header.Get("Authorization") != "Bearer anns-token" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"who are you?"}`)
			return
		}
		fmt.Fprint(w, `{"user":"ann"}`)
	case "/items":
		fmt.Fprint(w, `{"items":["Lamp","Chair"]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"message":"no such item"}`)
	}
}

// mcpBackend is a real MCP server (go-sdk) with three tools.
func mcpBackend(t testing.TB) *httptest.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "backend", Version: "1"}, &mcp.ServerOptions{Instructions: "secret instructions"})
	type in struct {
		A int `json:"a"`
		B int `json:"b"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "adds"}, func(_ context.Context, _ *mcp.CallToolRequest, x in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(x.A + x.B)}}}, nil, nil
	})
	for _, name := range []string{"echo", "danger"} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: name}, func(_ context.Context, _ *mcp.CallToolRequest, x map[string]any) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(x)}}}, nil, nil
		})
	}
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	t.Cleanup(srv.Close)
	return srv
}

// ownKinds publishes the two kinds that our own documents define.
func ownKinds(t testing.TB, s *source, api *recorder, backend *httptest.Server) {
	t.Helper()
	s.put(t, "proxy-services", "store.yaml", `
server: {name: store}
upstream: {url: "`+api.URL+`"}
tools:
  - name: get_item
    description: one item
    args: [{name: id, type: integer, required: true, position: path}]
    requestTemplate: {url: "/items/{id}", method: GET}
    responseTemplate: {body: "{{.name}} costs {{.price}}"}
  - name: list_items
    description: all items
    args: [{name: q, type: string, position: query}]
    requestTemplate: {url: /items, method: GET}
`)
	s.put(t, "proxy-services", "tools.yaml", "upstream: {url: \""+backend.URL+"\", transport: streamable}\n")
}

// fourKinds publishes a service of each kind.
func fourKinds(t testing.TB, s *source) (api *recorder, backend *httptest.Server) {
	api, backend = newRecorder(t, shop), mcpBackend(t)
	ownKinds(t, s, api, backend)
	s.instance(t, "DEFAULT_GROUP", "api", api.address())
	s.instance(t, "DEFAULT_GROUP", "mcp", backend.Listener.Addr().String())
	triple(t, s, "11111111-1111-4111-8111-111111111111", "regstore", "http", "api", registryTools)
	triple(t, s, "22222222-2222-4222-8222-222222222222", "regtools", "mcp-streamable", "mcp", `{"tools":[],"toolsMeta":{},"securitySchemes":[]}`)
	return api, backend
}

// triple publishes a registry entry of one version as Nacos itself would store it.
func triple(t testing.TB, s *source, id, name, protocol, service, tools string) {
	t.Helper()
	s.put(t, "mcp-tools", id+"-1.0.0-mcp-tools.json", tools)
	s.put(t, "mcp-server-versions", id+"-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":%q,"frontProtocol":%q,"description":"d","enabled":true,"status":"active","capabilities":["TOOL"],"latestPublishedVersion":"1.0.0","versionDetails":[{"version":"1.0.0","release_date":"2026-11-23T00:00:00Z"}]}`, id, name, protocol, protocol))
	s.put(t, "mcp-server", id+"-1.0.0-mcp-server.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":%q,"frontProtocol":%q,"description":"d","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"DEFAULT_GROUP","serviceName":%q},"exportPath":"/"},"enabled":true,"status":"active","capabilities":["TOOL"],"toolsDescriptionRef":"%s-1.0.0-mcp-tools.json"}`, id, name, protocol, protocol, service, id))
}

// kind is a service of one kind with a call that works and what it answers.
type kind struct {
	service, tool, arguments, want, other string
}

var kinds = []kind{
	{"store", "get_item", `{"id":7}`, "Lamp costs 12.50", "list_items"},
	{"tools", "add", `{"a":2,"b":3}`, "5", "echo"},
	{"regstore", "get_item", `{"id":7}`, "Lamp costs 12.50", "list_items"},
	{"regtools", "add", `{"a":2,"b":3}`, "5", "echo"},
}

func TestFourKindsAnswerFromADirectory(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, k := range kinds {
		s.put(t, "proxy-grants", k.service+".yaml", "auth: required\nconsumers: [alice]\ntools: {"+k.tool+": [bob]}\n")
	}
	p := start(t, s).ready()
	for _, k := range kinds {
		t.Run(k.service, func(t *testing.T) { checkKind(t, p, k) })
	}
}

// checkKind goes through what every kind of service must answer.
func checkKind(t *testing.T, p *proxy, k kind) {
	alice, bob := p.client(k.service, aliceKey), p.client(k.service, bobKey)
	for _, c := range []*client{alice, bob} {
		if a := c.initialize(); a.Status != 200 || c.session == "" {
			t.Fatalf("initialize: %d %s", a.Status, a.Body)
		}
		if a := c.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); a.Status != 200 {
			t.Errorf("ping: %d %s", a.Status, a.Body)
		}
		if a := c.call(k.tool, k.arguments); a.text() != k.want {
			t.Errorf("call %s: %d %s, want %s", k.tool, a.Status, a.Body, k.want)
		}
	}
	if all := alice.list().tools(); len(all) < 2 {
		t.Errorf("a service grant shows %v", all)
	}
	if diff := cmp.Diff([]string{k.tool}, bob.list().tools()); diff != "" {
		t.Errorf("a tool grant shows other tools: %s", diff)
	}
	denied, missing := bob.call(k.other, "{}"), bob.call("no_such_tool", "{}")
	if denied.Status != missing.Status || denied.Status != 200 {
		t.Errorf("ungranted %d %s, missing %d %s", denied.Status, denied.Body, missing.Status, missing.Body)
	}
	stranger := p.client(k.service, "nmp_x_unknown")
	if a := stranger.list(); a.Status != 401 || a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("unknown key: %d %s", a.Status, a.Body)
	}
	if a := p.client(k.service, "").list(); a.Status != 401 {
		t.Errorf("no key: %d %s", a.Status, a.Body)
	}
}

// TestGrantsHoldLiveInADirectory was seen to fail with a service keeping the access it had when its grants change.
func TestGrantsHoldLiveInADirectory(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	p := start(t, s).ready()
	for _, k := range kinds {
		c := p.client(k.service, aliceKey)
		if a := c.list(); a.Status != 403 {
			t.Fatalf("%s before any grant: %d %s", k.service, a.Status, a.Body)
		}
		s.put(t, "proxy-grants", k.service+".yaml", "consumers: [alice]\n")
		eventually(t, 5*time.Second, k.service+" is open to alice", func() bool { return p.client(k.service, aliceKey).initialize().Status == 200 })
		s.put(t, "proxy-grants", k.service+".yaml", "consumers: []\n")
		eventually(t, 5*time.Second, k.service+" is closed to alice", func() bool { return p.client(k.service, aliceKey).list().Status == 403 })
	}
}
