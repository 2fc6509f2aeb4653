package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
)

// versioned are the documents of a registry entry by hand: tools and spec of each version, and the manifest.
type versioned struct{ id, name, service string }

func (v versioned) tools(version, tool string) (dataID, content string) {
	return v.id + "-" + version + "-mcp-tools.json", fmt.Sprintf(`{"tools":[{"name":%q,"description":"d","inputSchema":{"type":"object","properties":{}}}],"toolsMeta":{%q:{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/items/7","method":"GET"},"responseTemplate":{"body":"%s"}}}}},"securitySchemes":[]}`, tool, tool, tool)
}

func (v versioned) spec(version string) (dataID, content string) {
	return v.id + "-" + version + "-mcp-server.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","frontProtocol":"mcp-streamable","description":%q,"versionDetail":{"version":%q},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"DEFAULT_GROUP","serviceName":%q,"transportProtocol":"http"},"exportPath":"/"},"enabled":true,"status":"active","capabilities":["TOOL"],"toolsDescriptionRef":"%s-%s-mcp-tools.json"}`, v.id, v.name, "of "+version, version, v.service, v.id, version)
}

func (v versioned) manifest(latest string, versions ...string) (dataID, content string) {
	var details []string
	for _, version := range versions {
		details = append(details, fmt.Sprintf(`{"version":%q,"release_date":"2026-11-23T00:00:00Z"}`, version))
	}
	return v.id + "-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","frontProtocol":"mcp-streamable","description":"d","enabled":true,"status":"active","capabilities":["TOOL"],"latestPublishedVersion":%q,"versionDetails":[%s]}`, v.id, v.name, latest, strings.Join(details, ","))
}

// TestA09_NewVersionsSwitchWithoutAFailedCall publishes version after version in the order in which Nacos writes, with
// pauses in between, while calls go on: each answer is of one version whole, and none fails. Seen red with a service
// taken away while its newest version lacks a document.
func TestA09_NewVersionsSwitchWithoutAFailedCall(t *testing.T) {
	s, _, namespace := realNacos(t)
	api := newRecorder(t, shop)
	v := versioned{"33333333-3333-4333-8333-333333333333", "torn", "api"}
	s.instance(t, "DEFAULT_GROUP", "api", api.address())
	put := func(group string) func(dataID, content string) {
		return func(dataID, content string) {
			s.put(t, group, dataID, strings.ReplaceAll(content, `"namespaceId":"public"`, `"namespaceId":"`+namespace+`"`))
		}
	}
	tools, spec, manifest := put("mcp-tools"), put("mcp-server"), put("mcp-server-versions")
	tools(v.tools("1.0.0", "tool-1"))
	spec(v.spec("1.0.0"))
	manifest(v.manifest("1.0.0", "1.0.0"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "torn.yaml", "consumers: [alice]\n")
	p := start(t, s).ready()
	if a := p.client("torn", aliceKey).call("tool-1", "{}"); a.text() != "tool-1" {
		t.Fatalf("before: %d %s", a.Status, a.Body)
	}
	stop, done, seen := make(chan struct{}), make(chan []string, 1), map[string]int{}
	go func() {
		var wrong []string
		for {
			select {
			case <-stop:
				done <- wrong
				return
			default:
			}
			// A client lists and then calls what it was shown; between the two the version may change, and then the
			// next list shows the other one.
			c := p.client("torn", aliceKey)
			names := c.list().tools()
			if len(names) != 1 {
				wrong = append(wrong, fmt.Sprintf("listed %v", names))
				continue
			}
			seen[names[0]]++
			a := c.call(names[0], "{}")
			if a.text() != names[0] && slices.Equal(c.list().tools(), names) {
				wrong = append(wrong, fmt.Sprintf("call of %s: %d %s", names[0], a.Status, a.Body))
			}
		}
	}()
	versions := []string{"1.0.0"}
	for n := 2; n <= 4; n++ {
		version, tool := fmt.Sprintf("%d.0.0", n), fmt.Sprintf("tool-%d", n)
		versions = append(versions, version)
		tools(v.tools(version, tool))
		time.Sleep(300 * time.Millisecond)
		manifest(v.manifest(version, versions...))
		time.Sleep(600 * time.Millisecond)
		spec(v.spec(version))
		within(t, version+" is the latest", func() bool { return p.client("torn", aliceKey).call(tool, "{}").text() == tool })
	}
	close(stop)
	if wrong := <-done; len(wrong) > 0 {
		t.Errorf("%d wrong answers, the first: %s", len(wrong), wrong[0])
	}
	t.Logf("lists of each version: %v", seen)

	old := p.client("torn@1.0.0", aliceKey)
	if a := old.list(); a.Status != http.StatusForbidden && a.Status != http.StatusNotFound {
		t.Errorf("an old version that the grants do not list: %d %s", a.Status, a.Body)
	}
	s.put(t, "proxy-grants", "torn.yaml", "consumers: [alice]\nversions: [1.0.0]\n")
	eventually(t, 5*time.Second, "an old version that the grants list", func() bool { return old.call("tool-1", "{}").text() == "tool-1" })
	if a := p.client("torn@2.0.0", aliceKey).list(); a.Status == http.StatusOK {
		t.Errorf("another old version: %d %s", a.Status, a.Body)
	}
	if a := p.client("torn@4.0.0", aliceKey).call("tool-4", "{}"); a.text() != "tool-4" {
		t.Errorf("the latest by name: %d %s", a.Status, a.Body)
	}
}

// TestA36_InstancesOnNacos: one that refuses connections is left out and calls go elsewhere; disabled ones and those of
// weight 0 get none. Seen red with the retry on another instance taken out.
func TestA36_InstancesOnNacos(t *testing.T) {
	s, server, namespace := realNacos(t)
	first, second, disabled, weightless := newRecorder(t, shop), newRecorder(t, shop), newRecorder(t, shop), newRecorder(t, shop)
	for _, r := range []*recorder{first, second, disabled, weightless} {
		at := r.Listener.Addr().(*net.TCPAddr)
		form := url.Values{
			"namespaceId": {namespace}, "groupName": {"DEFAULT_GROUP"}, "serviceName": {"many"}, "ip": {at.IP.String()}, "port": {fmt.Sprint(at.Port)},
			"weight": {"1"}, "enabled": {fmt.Sprint(r != disabled)}, "healthy": {"true"}, "ephemeral": {"false"},
		}
		if r == weightless {
			form.Set("weight", "0")
		}
		server.MustAdmin(t, http.MethodPost, "/nacos/v3/admin/ns/instance", nil, form)
	}
	s.put(t, "proxy-services", "many.yaml", "upstream: {nacos: {group: DEFAULT_GROUP, service: many, scheme: http}}\ntools:\n  - name: get_item\n    description: d\n    requestTemplate: {url: /items/7, method: POST}\n    responseTemplate: {body: \"{{.name}}\"}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "many.yaml", "consumers: [alice]\n")
	p := start(t, s).ready()
	call := func() {
		t.Helper()
		if a := p.client("many", aliceKey).call("get_item", "{}"); a.text() != "Lamp" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	eventually(t, 10*time.Second, "both instances are used", func() bool { call(); return first.count() > 0 && second.count() > 0 })
	for range 50 {
		call()
	}
	if disabled.count() > 0 || weightless.count() > 0 {
		t.Errorf("%d calls to the disabled instance, %d to that of weight 0", disabled.count(), weightless.count())
	}
	first.Close() // Nacos's own checks find out only some seconds later
	before := second.count()
	for range 50 {
		call()
	}
	if got := second.count() - before; got != 50 {
		t.Errorf("%d of 50 calls came to the instance that is left", got)
	}
	var ejected []string
	for _, service := range p.status().Services {
		for _, in := range service.Instances {
			if in.Ejected {
				ejected = append(ejected, in.Address)
			}
		}
	}
	if strings.Join(ejected, " ") != first.address() {
		t.Errorf("left out: %v, want %s", ejected, first.address())
	}
	second.Close()
	if a := p.client("many", aliceKey).call("get_item", "{}"); a.text() == "Lamp" || !strings.Contains(a.Body, "call failed") {
		t.Errorf("with no instance left: %d %s", a.Status, a.Body)
	}
}

// TestRegistersItselfOnNacos: with register.enabled the proxy is an instance in the naming service while it serves, and on
// drain it takes itself out, before its connection ends and calls in flight have: the end of the connection would do for
// Nacos as well, but later. Seen red without registering, and with the request to deregister taken out.
func TestRegistersItselfOnNacos(t *testing.T) {
	s, server, namespace := realNacos(t)
	slow := make(chan struct{})
	api := newRecorder(t, func(w http.ResponseWriter, r *http.Request) { <-slow; shop(w, r) })
	release := sync.OnceFunc(func() { close(slow) })
	t.Cleanup(release)
	s.put(t, "proxy-services", "slow.yaml", ownService(api.URL, "one", "v1"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "slow.yaml", "consumers: [alice]\n")
	wire := faultproxy.NewWire(t, server.Addr)
	p := start(t, s, tapped(wire), func(c *config.Config) {
		c.Register.Enabled, c.Register.Group, c.Register.Service = true, "PROXIES", "mcp"
	}).ready()
	instances := func() string {
		_, body, err := server.Admin(http.MethodGet, "/nacos/v3/admin/ns/instance/list", url.Values{"namespaceId": {namespace}, "groupName": {"PROXIES"}, "serviceName": {"mcp"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	_, port, _ := net.SplitHostPort(p.Addr().String())
	eventually(t, 10*time.Second, "the proxy is an instance", func() bool { return strings.Contains(instances(), `"port":`+port) })
	for _, want := range []string{`"url":"` + p.URL + `"`, `"version":"test"`, `"replica":"`} {
		if !strings.Contains(instances(), want) {
			t.Errorf("the instance lacks %s: %s", want, instances())
		}
	}
	answered, drained := make(chan answer, 1), make(chan error, 1)
	go func() { answered <- p.client("slow", aliceKey).call("one", "{}") }()
	eventually(t, 10*time.Second, "a call is under way", func() bool { return api.count() == 1 })
	ended := len(wire.Ended())
	go func() { drained <- p.Drain() }()
	took := eventually(t, 15*time.Second, "the instance is gone", func() bool { return !strings.Contains(instances(), `"port":`+port) })
	t.Logf("gone %s after the drain began", took.Round(time.Millisecond))
	if n := len(wire.Ended()); n != ended {
		t.Errorf("%d connections to Nacos ended before the instance was gone", n-ended)
	}
	var asked bool
	for _, m := range wire.Requests() {
		asked = asked || m.Type == "InstanceRequest" && strings.Contains(m.Body, `"deregisterInstance"`)
	}
	if !asked {
		t.Error("the proxy never asked to be taken out")
	}
	release()
	if a := <-answered; a.text() != "v1" {
		t.Errorf("the call under way: %d %s", a.Status, a.Body)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
