package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestA04_MembersOfAClusterDie runs the proxy on a cluster of three, with an address first in the list where nothing ever
// answers, and kills the members one after the other, bringing each back before the next: no call fails, and edits,
// creations and deletions hold as on a single server. TestClusterWithADeadMember, in nacos, is the quick one; it was seen red
// with a link that only ever tries the first address.
func TestA04_MembersOfAClusterDie(t *testing.T) {
	nacostest.NeedsMore(t)
	servers := nacostest.Cluster(t)
	namespace := servers[0].Namespace(t)
	addresses := []string{"127.0.0.1:1"}
	for _, s := range servers {
		addresses = append(addresses, s.Addr)
	}
	anyOf := func(c *config.Config) { c.Nacos.Addresses = addresses }
	s := nacosSource(t, servers[0], namespace)
	// What the test writes must survive the death of a member, too.
	writer, err := nacos.Connect(t.Context(), nacos.Config{Addresses: addresses, Namespace: namespace, Username: servers[0].User, Password: nacos.NewSecret(servers[0].Password), Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = writer.Close() })
	s.Source = writer
	api, _ := fourKindsOnNacos(t, s, servers[0], namespace)
	openToAlice(t, s)
	for i := range 2 * len(servers) {
		s.put(t, "proxy-grants", fmt.Sprintf("new%d.yaml", i), "consumers: [alice]\n")
	}
	p := start(t, s, anyOf).ready()
	p.calls("before")
	text := func(service string) string { return p.client(service, aliceKey).call("one", "{}").text() }
	n := 0
	edits := func(when string) {
		t.Helper()
		service := fmt.Sprintf("new%d", n)
		n++
		s.put(t, "proxy-services", service+".yaml", ownService(api.URL, "one", "v1"))
		took := eventually(t, 20*time.Second, when+": a new service", func() bool { return text(service) == "v1" })
		s.put(t, "proxy-services", service+".yaml", ownService(api.URL, "one", "v2"))
		edit := eventually(t, 20*time.Second, when+": an edit", func() bool { return text(service) == "v2" })
		s.remove(t, "proxy-services", service+".yaml")
		deletion := eventually(t, 20*time.Second, when+": a deletion", func() bool { return p.client(service, aliceKey).list().Status == http.StatusForbidden })
		t.Logf("%s: a new service holds after %s, an edit after %s, a deletion after %s", when, took.Round(time.Millisecond), edit.Round(time.Millisecond), deletion.Round(time.Millisecond))
	}
	l := newLoad(t, p, kinds)
	for i, member := range servers {
		member.Kill()
		edits(fmt.Sprintf("member %d dead", i+1))
		l.lap(t, fmt.Sprintf("member %d dead", i+1))
		member.Restart(t)
		edits(fmt.Sprintf("member %d back", i+1))
		l.lap(t, fmt.Sprintf("member %d back", i+1))
	}
	l.stop()
	p.calls("after")
	if problems := p.status().Source.Problems; len(problems) > 0 {
		t.Errorf("/status still names %s", strings.Join(problems, "; "))
	}
}
