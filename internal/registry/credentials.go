package registry

import (
	"net/netip"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

var validHost = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)

// validNaming names a naming service, whose instances' addresses nobody can list beforehand; its case counts.
var validNaming = regexp.MustCompile(`^nacos:([A-Za-z0-9._-]+/)?[A-Za-z0-9._:-]+/[A-Za-z0-9._:-]+$`)

var credentialFields = []string{"services", "hosts", "path", "values"}

// ParseCredentials reads a proxy-credentials document. The Credentials are nil where it is rejected. Both lists
// must name something: a secret that any service could send anywhere is what the document is there to prevent.
func ParseCredentials(dataID string, content []byte) (*Credentials, []Rejection) {
	r, name, root, ok := open(GroupCredentials, dataID, content)
	if !ok {
		return nil, r.sorted()
	}
	o := r.object(root, "", credentialFields...)
	if o == nil {
		return nil, r.sorted()
	}
	c := &Credentials{Name: name, Services: readNames(o, "services", "service"), Values: map[string]secret.Text{}}
	naming := false
	var networks []*yaml.Node
	o.each("hosts", func(path string, n *yaml.Node) {
		h, ok := r.str(n, path)
		if validNaming.MatchString(h) {
			c.Hosts = append(c.Hosts, h)
			naming = true
			return
		}
		if network, err := netip.ParsePrefix(h); err == nil {
			c.Hosts = append(c.Hosts, network.Masked().String())
			networks = append(networks, n)
			return
		}
		if ok && !validHost.MatchString(h) {
			r.reject(n, path, "must be a host such as api.example.com, api.example.com:8443, *.example.com or [::1], nacos:<group>/<service>, or a network for its instances such as 10.0.0.0/8")
		}
		c.Hosts = append(c.Hosts, strings.ToLower(h))
	})
	if len(networks) > 0 && !naming {
		r.reject(networks[0], "hosts", "a network bounds the instances of nacos:<group>/<service>, and none is listed")
	}
	c.Path = o.boolean("path", false)
	before := r.faults
	for _, list := range []struct {
		name  string
		empty bool
	}{{"services", len(c.Services) == 0}, {"hosts", len(c.Hosts) == 0}} {
		if o.require(list.name) && list.empty && before == 0 {
			o.reject(list.name, "must name at least one")
		}
	}
	o.require("values")
	o.eachField("values", func(f field, path string) {
		if !ValidName(f.name) {
			r.reject(f.key, path, "names of values are 1 to 128 letters, digits, '.', '_' and '-'")
			return
		}
		if s, ok := r.str(f.value, path); ok {
			if s == "" {
				r.warn(f.value, path, "the value is empty")
			}
			c.Values[f.name] = secret.New(s)
		}
	})
	if r.refused {
		return nil, r.sorted()
	}
	return c, r.sorted()
}
