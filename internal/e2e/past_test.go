package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestA24_FreshReplicaFindsTheLastGoodGrants breaks a grants document in the real Nacos. A replica that starts then, and knows
// nothing, answers as the one does that saw the version before, for a proxy's user with no more rights than to read; /status
// says so on top, and a metric. Seen red with the history not asked: 403 for who is granted.
func TestA24_FreshReplicaFindsTheLastGoodGrants(t *testing.T) {
	s, server, namespace := realNacos(t)
	api := newRecorder(t, shop)
	s.put(t, "proxy-services", "one.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-grants", "one.yaml", "auth: disabled\nconsumers: [bob]\n")
	s.put(t, "proxy-grants", "one.yaml", "auth: disabled\nconsumers: [alice]\n")
	user, password := server.NewUser(t, [2]string{"r", namespace + ":*:*"})
	reader := func(c *config.Config) { c.Nacos.Username, c.Nacos.Password = user, nacos.NewSecret(password) }
	open := func(c *config.Config) { c.Access.Default = registry.AuthDisabled }
	first := start(t, s, open).ready()
	s.put(t, "proxy-grants", "one.yaml", "auth: disabled\nconsumers: [alice, bob\n")
	s.put(t, "proxy-grants", "one.yaml", "auth: disabled\nconsumer: [alice]\n")
	within(t, "the running one closes", func() bool { return first.client("one", "").list().Status == 401 })
	fresh := start(t, s, open, reader)
	eventually(t, 60*time.Second, "the fresh one is ready, once its rights hold", func() bool { return fresh.Ready() })
	for name, p := range map[string]*proxy{"running": first, "fresh": fresh} {
		for who, want := range map[string]int{"": 401, aliceKey: 200, bobKey: 403} {
			if got := p.client("one", who).list().Status; got != want {
				t.Errorf("%s with key %.10q: %d, want %d", name, who, got, want)
			}
		}
		d := p.document("proxy-grants", "one.yaml")
		if d.State != catalog.Rejected || d.InForce == "" || d.InForce == d.MD5 {
			t.Errorf("%s: %+v", name, d)
		}
		if alerts := p.status().Alerts; len(alerts) != 1 || !strings.HasPrefix(alerts[0], "proxy-grants/one.yaml:2 is rejected") {
			t.Errorf("%s: alerts %q", name, alerts)
		}
		if !strings.Contains(p.page("/metrics"), "\nnmp_grants_rejected 1\n") {
			t.Errorf("%s: the metric does not say so", name)
		}
	}
	s.put(t, "proxy-grants", "one.yaml", "auth: required\nconsumers: [bob]\n")
	within(t, "mended", func() bool {
		return fresh.client("one", bobKey).list().Status == 200 && fresh.client("one", aliceKey).list().Status == 403 && len(fresh.status().Alerts) == 0
	})
}

// TestNewcomerTakesNoNameOnNacos publishes an entry with the name of one that is served, and a smaller id, into the real Nacos.
// Replicas that run, start again and start fresh go on with the first one; the grants document may say otherwise. Seen red with
// the smallest id having the name.
func TestNewcomerTakesNoNameOnNacos(t *testing.T) {
	s, _, namespace := realNacos(t)
	api := newRecorder(t, shop)
	s.instance(t, "DEFAULT_GROUP", "api", api.address())
	publish := func(v versioned, tool string) {
		for group, f := range map[string]func() (string, string){
			"mcp-tools":           func() (string, string) { return v.tools("1.0.0", tool) },
			"mcp-server":          func() (string, string) { return v.spec("1.0.0") },
			"mcp-server-versions": func() (string, string) { return v.manifest("1.0.0", "1.0.0") },
		} {
			dataID, content := f()
			s.put(t, group, dataID, strings.ReplaceAll(content, `"namespaceId":"public"`, `"namespaceId":"`+namespace+`"`))
		}
	}
	first := versioned{"55555555-5555-4555-8555-555555555555", "shop", "api"}
	newcomer := versioned{"11111111-1111-4111-8111-111111111111", "shop", "api"}
	old := versioned{"33333333-3333-4333-8333-333333333333", "another", "api"}
	publish(old, "renamed") // older than all, and gets the name last
	publish(first, "first")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "shop.yaml", "consumers: [alice]\n")
	state := t.TempDir()
	kept := func(c *config.Config) { c.State.Path = state }
	running := start(t, s, kept).ready()
	tools := func(p *proxy) string { return fmt.Sprint(p.client("shop", aliceKey).list().tools()) }
	eventually(t, 10*time.Second, "served", func() bool { return tools(running) == "[first]" })
	publish(newcomer, "newcomer")
	old.name = "shop"
	publish(old, "renamed")
	loser := newcomer.id + "-mcp-versions.json"
	eventually(t, 15*time.Second, "the newcomers are known", func() bool {
		return running.document("mcp-server-versions", loser).State == catalog.Rejected &&
			running.document("mcp-server-versions", old.id+"-mcp-versions.json").State == catalog.Rejected
	})
	check := func(who string, p *proxy, want string) {
		t.Helper()
		eventually(t, 10*time.Second, who+" serves "+want, func() bool { return tools(p) == want })
		if alerts := p.status().Alerts; len(alerts) > 0 {
			t.Errorf("%s: alerts %q", who, alerts)
		}
	}
	check("the running one", running, "[first]")
	if d := running.document("mcp-server-versions", loser); !strings.Contains(d.Error, first.id) {
		t.Errorf("status: %+v", d)
	}
	fresh := start(t, s).ready()
	check("a fresh one", fresh, "[first]")
	if err := running.Drain(); err != nil {
		t.Fatal(err)
	}
	running = start(t, s, kept).ready()
	check("one that started again", running, "[first]")
	s.put(t, "proxy-grants", "shop.yaml", "registryId: "+newcomer.id+"\nconsumers: [alice]\n")
	check("the running one, pinned", running, "[newcomer]")
	check("the fresh one, pinned", fresh, "[newcomer]")
}
