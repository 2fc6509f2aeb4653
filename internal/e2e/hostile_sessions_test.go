package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// forgetful is an MCP backend that gives every initialize a session and knows them all.
func forgetful(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		w.Header().Set("Mcp-Session-Id", "backend-session-1")
	}
	fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"b","version":"1"},"tools":[]}}`)
}

// twoVersions publishes a registry entry whose version 0.9.0 may be asked for, too.
func twoVersions(t testing.TB, s *source, id, name, service string) {
	t.Helper()
	s.put(t, "mcp-server-versions", id+"-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"mcp-streamable","frontProtocol":"mcp-streamable","description":"d","enabled":true,"status":"active","capabilities":["TOOL"],"latestPublishedVersion":"1.0.0","versionDetails":[{"version":"0.9.0","release_date":"2026-11-22T00:00:00Z"},{"version":"1.0.0","release_date":"2026-11-23T00:00:00Z"}]}`, id, name))
	for _, v := range []string{"0.9.0", "1.0.0"} {
		s.put(t, "mcp-tools", id+"-"+v+"-mcp-tools.json", `{"tools":[],"toolsMeta":{},"securitySchemes":[]}`)
		s.put(t, "mcp-server", id+"-"+v+"-mcp-server.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"mcp-streamable","frontProtocol":"mcp-streamable","description":"d","versionDetail":{"version":%q},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"DEFAULT_GROUP","serviceName":%q},"exportPath":"/"},"enabled":true,"status":"active","capabilities":["TOOL"],"toolsDescriptionRef":"%s-%s-mcp-tools.json"}`, id, name, v, service, id, v))
	}
}

// alterations are ids that are nearly id.
func alterations(id string) []string {
	all := []string{
		id[:len(id)-1], id[1:], id[:len(id)/2], id + "A", id + "=", id + id, strings.ToLower(id), strings.ToUpper(id), id + " " + id,
		"backend-session-1", "x", strings.Repeat("A", len(id)), strings.Repeat("A", 7000), id + ",backend-session-1", `"` + id + `"`,
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := 0; i < len(id); i++ {
		next := alphabet[(strings.IndexByte(alphabet, id[i])+1)%len(alphabet)]
		all = append(all, id[:i]+string(next)+id[i+1:])
	}
	return all
}

// TestA23_SessionsAreOfNoUseElsewhere sends a session's id with another key, to another service and version, altered, and to
// a proxy with another secret, by every method. Each is answered 404 and the backend never hears of it. Seen to fail with
// session.Session.For always true, with its parts left out one by one, and with openSession giving up without a refusal.
func TestA23_SessionsAreOfNoUseElsewhere(t *testing.T) {
	s := directory(t)
	backend, api := newRecorder(t, forgetful), newRecorder(t, shop)
	ownKinds(t, s, api, backend.Server)
	s.instance(t, "DEFAULT_GROUP", "mcp", backend.address())
	s.put(t, "proxy-services", "other.yaml", "upstream: {url: \""+backend.URL+"\", transport: streamable}\n")
	twoVersions(t, s, "22222222-2222-4222-8222-222222222222", "regtools", "mcp")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, name := range []string{"store", "tools", "other", "regtools"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice, bob]\nversions: [0.9.0]\n")
	}
	secret := func(text string) func(*config.Config) {
		return func(c *config.Config) { c.Session.Secrets = []config.Secret{nacos.NewSecret(text)} }
	}
	p := start(t, s, secret("the secret of the first proxy")).ready()
	stranger := start(t, s, secret("the secret of another proxy")).ready()

	refused := func(t *testing.T, what string, c *client) {
		t.Helper()
		for _, body := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`,
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, "GET", "DELETE",
		} {
			before := backend.count() + api.count()
			a := answer{}
			if body == "GET" || body == "DELETE" {
				a = c.do(body, "")
			} else {
				a = c.post(body)
			}
			if a.Status != http.StatusNotFound || a.Header.Get("Mcp-Session-Id") != "" {
				t.Errorf("%s: %s: %d %s", what, body, a.Status, a.Body)
			}
			if backend.count()+api.count() != before {
				t.Errorf("%s: %s reached the backend: %s", what, body, backend.last())
			}
		}
	}
	for _, service := range []string{"tools", "regtools", "store"} {
		t.Run(service, func(t *testing.T) {
			c := p.client(service, aliceKey)
			if c.initialize(); c.session == "" || c.session == "backend-session-1" {
				t.Fatalf("session %q", c.session)
			}
			with := func(p *proxy, service, key string) *client {
				other := p.client(service, key)
				other.session = c.session
				return other
			}
			if a := c.list(); a.Status != 200 {
				t.Fatalf("the session itself: %d %s", a.Status, a.Body)
			}
			refused(t, "another key", with(p, service, bobKey))
			for _, other := range []string{"tools", "regtools", "store", "other"} {
				if other != service {
					refused(t, "another service", with(p, other, aliceKey))
				}
			}
			if service == "regtools" {
				refused(t, "another version", with(p, "regtools@0.9.0", aliceKey))
				if a := with(p, "regtools@1.0.0", aliceKey).list(); a.Status != 200 {
					t.Errorf("the version by name: %d", a.Status)
				}
			}
			refused(t, "an unknown secret", with(stranger, service, aliceKey))
			altered := with(p, service, aliceKey)
			for _, id := range alterations(c.session) {
				altered.session = id
				before := backend.count()
				if a := altered.list(); a.Status != 404 || backend.count() != before {
					t.Errorf("altered to %s: %d %s", id, a.Status, a.Body)
				}
			}
			if a := c.list(); a.Status != 200 {
				t.Errorf("the session itself afterwards: %d %s", a.Status, a.Body)
			}
		})
	}
	t.Run("modern requests have no session", func(t *testing.T) {
		c := p.client("tools", aliceKey)
		c.initialize()
		c.header.Set("Mcp-Protocol-Version", "2026-07-28")
		c.post(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`)
		backend.mu.Lock()
		defer backend.mu.Unlock()
		if id := backend.head[len(backend.head)-1].Get("Mcp-Session-Id"); id != "" {
			t.Errorf("the backend got the session %q", id)
		}
	})
	t.Run("HTTP+SSE", func(t *testing.T) {
		stream := connectSSE(t, p.URL+"/sse/tools", aliceKey)
		c := p.client("", bobKey)
		for what, target := range map[string]string{
			"another key": stream.endpoint.String(), "another service": strings.Replace(stream.endpoint.String(), "/sse/tools/", "/sse/other/", 1),
			"another proxy": strings.Replace(stream.endpoint.String(), p.URL, stranger.URL, 1),
		} {
			req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
			if err != nil {
				t.Fatal(err)
			}
			if req.Header.Set("X-API-Key", aliceKey); what == "another key" {
				req.Header.Set("X-API-Key", c.key)
			}
			before := backend.count()
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _ = resp.Body.Close(); resp.StatusCode != 404 || backend.count() != before {
				t.Errorf("%s: %d", what, resp.StatusCode)
			}
		}
	})
}
