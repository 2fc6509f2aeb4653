package upstream

import (
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// A service of the naming service that says no scheme is called by what each instance's port is for. Seen red with http
// for every port: the instance on 443 was called by http.
func TestSchemeOfAnInstanceIsThatOfItsPort(t *testing.T) {
	at := func(port int) Instance {
		return Instance{Host: "10.1.2.3", Port: port, Weight: 1, Healthy: true, Enabled: true}
	}
	for _, c := range []struct{ said, on443, on8080 string }{
		{"", "https://10.1.2.3:443/mcp", "http://10.1.2.3:8080/mcp"},
		{"http", "http://10.1.2.3:443/mcp", "http://10.1.2.3:8080/mcp"},
		{"https", "https://10.1.2.3:443/mcp", "https://10.1.2.3:8080/mcp"},
	} {
		b := open(t, Options{Subscribe: fixed(at(443), at(8080))}, registry.Backend{Path: "/mcp", Ref: &registry.BackendRef{Group: "g", Service: "s", Scheme: c.said}})
		for instance, want := range map[string]string{"10.1.2.3:443": c.on443, "10.1.2.3:8080": c.on8080} {
			var k exchange
			k.clock.start(t.Context(), time.Minute)
			u, _, err := b.target(&k.clock, &Request{Instance: instance}, nil)
			k.clock.stop()
			if err != nil || u.String() != want {
				t.Errorf("scheme %q: instance %s is called at %v (%v), want %s", c.said, instance, u, err, want)
			}
			if got := b.URL(instance).String(); got != want {
				t.Errorf("scheme %q: what instance %s writes is relative to %s, want %s", c.said, instance, got, want)
			}
			absolute, in, err := b.target(&new(exchange).clock, &Request{Path: want}, nil)
			if err != nil || in == nil || absolute.String() != want {
				t.Errorf("scheme %q: the URL %s is not known to be the instance's", c.said, want)
			}
		}
	}
}
