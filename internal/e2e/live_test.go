package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// held collects how long edits took to hold, over the whole run: TestMain looks at the middle one. A single one may be
// held up by a busy machine, half of them may not.
var held struct {
	sync.Mutex
	took []time.Duration
}

// within waits until what has just been published holds. A second is promised.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	took := eventually(t, 15*time.Second, what, ok)
	t.Logf("%s after %s", what, took.Round(time.Millisecond))
	held.Lock()
	defer held.Unlock()
	held.took = append(held.took, took)
}

// promiseKept tells whether half of all edits held within the second that is promised.
func promiseKept() bool {
	held.Lock()
	defer held.Unlock()
	if len(held.took) == 0 {
		return true
	}
	slices.Sort(held.took)
	median := held.took[len(held.took)/2]
	fmt.Printf("%d edits held after %s in the middle, %s at most\n", len(held.took), median.Round(time.Millisecond), held.took[len(held.took)-1].Round(time.Millisecond))
	return median <= time.Second
}

func ownService(url, tool, template string) string {
	return fmt.Sprintf("upstream: {url: %q}\ntools:\n  - name: %s\n    description: d\n    requestTemplate: {url: /items/7, method: GET}\n    responseTemplate: {body: %q}\n", url, tool, template)
}

// TestEditsHoldWithinASecondOnNacos makes every kind of edit that issue 3 names, one after the other, while a second
// service has to stay as it was.
//
// Seen to fail with a service keeping the access it had when its grants change.
func TestEditsHoldWithinASecondOnNacos(t *testing.T) {
	s, server, namespace := realNacos(t)
	api, _ := fourKindsOnNacos(t, s, server, namespace)
	s.put(t, "proxy-services", "other.yaml", ownService(api.URL, "same", "same"))
	s.put(t, "proxy-services", "edited.yaml", ownService(api.URL, "one", "v1"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, name := range []string{"edited", "other", "regstore"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	p := start(t, s).ready()
	edited, other, reg := p.client("edited", aliceKey), p.client("other", aliceKey), p.client("regstore", aliceKey)
	untouched := func() {
		t.Helper()
		if a := other.call("same", "{}"); a.text() != "same" {
			t.Errorf("another service was disturbed: %d %s", a.Status, a.Body)
		}
	}
	if a := edited.call("one", "{}"); a.text() != "v1" {
		t.Fatalf("before: %d %s", a.Status, a.Body)
	}

	s.put(t, "proxy-services", "edited.yaml", ownService(api.URL, "one", "v2"))
	within(t, "an edited template holds", func() bool { return edited.call("one", "{}").text() == "v2" })
	s.put(t, "proxy-services", "edited.yaml", ownService(api.URL, "two", "v3"))
	within(t, "a renamed tool is listed", func() bool { return strings.Join(edited.list().tools(), " ") == "two" })
	untouched()

	s.put(t, "proxy-grants", "edited.yaml", "consumers: []\n")
	within(t, "a revoked grant is gone", func() bool { return edited.list().Status == 403 })
	s.put(t, "proxy-grants", "edited.yaml", "tools: {two: [alice]}\n")
	within(t, "a tool grant holds", func() bool { return edited.call("two", "{}").text() == "v3" })
	s.put(t, "proxy-grants", "edited.yaml", "auth: disabled\n")
	within(t, "the switch is off", func() bool { return p.client("edited", "").list().Status == 200 })
	s.put(t, "proxy-grants", "edited.yaml", "consumers: [alice]\n")
	within(t, "the switch is on again", func() bool { return p.client("edited", "").list().Status == 401 })
	untouched()

	if a := p.client("store", aliceKey).list(); a.Status != 403 {
		t.Fatalf("a service without grants document: %d", a.Status)
	}
	s.put(t, "proxy-grants", "store.yaml", "consumers: [alice]\n")
	within(t, "a grant on a service that had no grants document", func() bool { return p.client("store", aliceKey).list().Status == 200 })

	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey)+"  - {id: k2, sha256: "+digest(bobKey)+"}\n")
	within(t, "an added key is known", func() bool { return p.client("edited", bobKey).list().Status == 200 })
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	within(t, "a revoked key is unknown", func() bool { return p.client("edited", bobKey).list().Status == 401 })
	s.put(t, "proxy-consumers", "alice.yaml", "enabled: false\n"+strings.TrimPrefix(consumer(aliceKey), "enabled: true\n"))
	within(t, "a disabled consumer is refused", func() bool { return edited.list().Status == 401 })
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	within(t, "an enabled consumer is let in", func() bool { return edited.list().Status == 200 })
	untouched()

	disableMCP(t, server, namespace, "regstore")
	within(t, "a disabled registry service is gone", func() bool { return reg.list().Status == 403 })
	publishAgain(t, server, namespace, "regstore", api.address())
	within(t, "an enabled registry service is back", func() bool { return reg.call("get_item", `{"id":7}`).text() == "Lamp costs 12.50" })
	s.remove(t, "proxy-services", "edited.yaml")
	within(t, "a deleted service is gone", func() bool { return edited.list().Status == 403 })
	untouched()
}

// editMCP edits a registry entry in place, as the console's form does.
func editMCP(t testing.TB, server *nacostest.Server, namespace, name, address string, enabled bool) {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	form := url.Values{
		"namespaceId": {namespace}, "mcpName": {name}, "latest": {"true"}, "toolSpecification": {registryTools},
		"serverSpecification": {fmt.Sprintf(`{"name":%q,"protocol":"http","frontProtocol":"mcp-streamable","description":"d","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"exportPath":"/"},"enabled":%t}`, name, enabled)},
	}
	if address != "" {
		form.Set("endpointSpecification", fmt.Sprintf(`{"type":"DIRECT","data":{"address":%q,"port":%q,"transportProtocol":"http"}}`, host, port))
	}
	server.MustAdmin(t, http.MethodPut, "/nacos/v3/admin/ai/mcp", nil, form)
}

func disableMCP(t testing.TB, server *nacostest.Server, namespace, name string) {
	t.Helper()
	editMCP(t, server, namespace, name, "127.0.0.1:1", false)
}

func publishAgain(t testing.TB, server *nacostest.Server, namespace, name, address string) {
	t.Helper()
	editMCP(t, server, namespace, name, address, true)
}

// TestNewDocumentsAreFoundOnNacos: what nobody could foretell is found within two list intervals.
func TestNewDocumentsAreFoundOnNacos(t *testing.T) {
	s, server, namespace := realNacos(t)
	api := newRecorder(t, shop)
	const interval = 3 * time.Second
	p := start(t, s, func(c *config.Config) { c.Nacos.ListInterval = interval }).ready()
	found := func(what string, ok func() bool) {
		t.Helper()
		took := eventually(t, 30*time.Second, what, ok)
		t.Logf("%s after %s", what, took.Round(time.Millisecond))
		if took > 4*interval { // two are promised; the rest is for a busy machine
			t.Errorf("%s: %s is more than four list intervals", what, took)
		}
	}
	s.put(t, "proxy-grants", "fresh.yaml", "consumers: [alice]\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	found("a new consumer is known", func() bool { return p.client("fresh", aliceKey).list().Status == 403 })
	s.put(t, "proxy-services", "fresh.yaml", ownService(api.URL, "one", "v1"))
	found("a new service answers", func() bool { return p.client("fresh", aliceKey).call("one", "{}").text() == "v1" })
	publishMCP(t, server, namespace, "regnew", "http", registryTools, api.address())
	s.put(t, "proxy-grants", "regnew.yaml", "consumers: [alice]\n")
	found("a new registry service answers", func() bool {
		return p.client("regnew", aliceKey).call("get_item", `{"id":7}`).text() == "Lamp costs 12.50"
	})
}

// TestWrongNacosPasswordIsSaid starts with a password that Nacos does not know.
func TestWrongNacosPasswordIsSaid(t *testing.T) {
	s, _, _ := realNacos(t)
	p := start(t, s, func(c *config.Config) { c.Nacos.Password = nacos.NewSecret("wrong-canary-password") })
	said := func() bool {
		return strings.Contains(strings.Join(p.status().Source.Problems, " "), "password")
	}
	eventually(t, 20*time.Second, "status says so", said)
	if p.Ready() {
		t.Error("ready without any configuration")
	}
	if status := probe(t, p, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", status)
	}
	if status := probe(t, p, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d", status)
	}
	if a := p.client("x", aliceKey).list(); a.Status != http.StatusServiceUnavailable {
		t.Errorf("call: %d %s", a.Status, a.Body)
	}
	if strings.Contains(p.log.String(), "wrong-canary-password") {
		t.Error("the log holds the password")
	}
}

func probe(t testing.TB, p *proxy, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + p.AdminAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
