package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestNacos2 runs on a Nacos of the second generation, which knows neither fuzzy watches nor an MCP registry: lists over
// its old API, login, a service of each definition (its registry documents published by hand), edits, creations,
// deletions and the naming service. Seen red with a fuzzy watch asked for on every new connection, each of which is then
// lost, and with the public namespace called by its name, in which nothing is found.
func TestNacos2(t *testing.T) {
	nacostest.NeedsMore(t)
	server := nacostest.Start(t, nacostest.Version2())
	s := nacosSource(t, server, "public")
	api, backend := newRecorder(t, shop), mcpBackend(t)
	ownKinds(t, s, api, backend)
	s.instance(t, "DEFAULT_GROUP", "api", api.address())
	v := versioned{"55555555-5555-4555-8555-555555555555", "byhand", "api"}
	put := func(group, dataID, content string) { s.put(t, group, dataID, content) }
	publish := func(tool string) {
		id, content := v.tools("1.0.0", tool)
		put("mcp-tools", id, content)
		id, content = v.spec("1.0.0")
		put("mcp-server", id, content)
		id, content = v.manifest("1.0.0", "1.0.0")
		put("mcp-server-versions", id, content)
	}
	publish("first")
	put("proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, service := range []string{"store", "tools", "byhand", "created"} {
		put("proxy-grants", service+".yaml", "consumers: [alice]\n")
	}
	p := start(t, s).ready()
	// This one tells its version to nobody, so that the proxy finds out the hard way what it does not know: once.
	eventually(t, 10*time.Second, "connected for good", func() bool {
		for range 20 {
			if !p.connected() {
				return false
			}
			time.Sleep(100 * time.Millisecond)
		}
		return true
	})
	if n := strings.Count(p.log.String(), "connection lost"); n > 3 {
		t.Errorf("the connection was lost %d times", n)
	}
	for _, k := range kinds {
		if k.service != "store" && k.service != "tools" {
			continue // published through the registry of 3.x
		}
		c := p.client(k.service, aliceKey)
		c.initialize()
		if a := c.call(k.tool, k.arguments); a.text() != k.want {
			t.Errorf("%s: %d %s", k.service, a.Status, a.Body)
		}
	}
	text := func(service, tool string) string { return p.client(service, aliceKey).call(tool, "{}").text() }
	eventually(t, 15*time.Second, "a registry service by hand", func() bool { return text("byhand", "first") == "first" })
	publish("second")
	within(t, "an edit of it", func() bool { return text("byhand", "second") == "second" })
	took := func(what string, ok func() bool) {
		t.Helper()
		t.Logf("%s after %s", what, eventually(t, 15*time.Second, what, ok).Round(time.Millisecond))
	}
	put("proxy-services", "created.yaml", ownService(api.URL, "one", "v1"))
	took("a new service, by list", func() bool { return text("created", "one") == "v1" })
	put("proxy-services", "created.yaml", ownService(api.URL, "one", "v2"))
	within(t, "an edit", func() bool { return text("created", "one") == "v2" })
	put("proxy-grants", "created.yaml", "consumers: []\n")
	within(t, "a revoked grant", func() bool { return p.client("created", aliceKey).list().Status == http.StatusForbidden })
	s.remove(t, "proxy-services", "store.yaml")
	within(t, "a deletion", func() bool { return p.client("store", aliceKey).list().Status == http.StatusForbidden })

	at := api.Listener.Addr().(*net.TCPAddr)
	ref := nacos.ServiceRef{Group: "DEFAULT_GROUP", Service: "api"}
	if err := s.Deregister(t.Context(), ref, nacos.Instance{Host: at.IP.String(), Port: at.Port}); err != nil {
		t.Fatal(err)
	}
	took("the last instance gone", func() bool { return text("byhand", "second") != "second" })
	s.instance(t, "DEFAULT_GROUP", "api", api.address())
	took("an instance is back", func() bool { return text("byhand", "second") == "second" })
}
