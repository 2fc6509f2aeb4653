package upstream

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// mayReceive tells whether every secret of a request may be sent to host (host:port, lower case). hosts holds, for each
// secret, the patterns of where it may go; a secret without patterns may go anywhere. Patterns are a host name or address,
// "*.example.com" (its subdomains, not itself), either with ":port", "*", and "nacos:<group>/<service>" or
// "nacos:<namespace>/<group>/<service>" for the instances of a naming service. Networks (10.0.0.0/8) among them open nothing:
// they are where those instances must be, since whoever may register one chooses its address.
func mayReceive(hosts [][]string, host string, ref *registry.BackendRef, namespace string) bool {
	for _, patterns := range hosts {
		if len(patterns) == 0 {
			continue
		}
		ok := false
		for _, p := range patterns {
			if ok = matches(p, host, ref, namespace) && (!strings.HasPrefix(p, "nacos:") || inNetworks(patterns, host)); ok {
				break
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// inNetworks reports whether host is an address in one of the networks among the patterns; true if there is no network.
func inNetworks(patterns []string, host string) bool {
	bound := false
	for _, p := range patterns {
		if !strings.Contains(p, "/") || strings.HasPrefix(p, "nacos:") {
			continue
		}
		bound = true
		network, err := netip.ParsePrefix(p)
		if err != nil {
			continue
		}
		if at, err := netip.ParseAddrPort(host); err == nil && network.Contains(at.Addr().Unmap()) {
			return true
		}
	}
	return !bound
}

// mayName reports whether every secret of a request may be sent to the virtual host that its Host header names, at u.
func mayName(hosts [][]string, header string, u *url.URL) bool {
	name, port, err := net.SplitHostPort(header)
	if err != nil {
		name, port = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]"), ""
	}
	at := hostPort(u)
	if port == "" {
		_, port, _ = net.SplitHostPort(at)
	}
	// What is neither a name nor an address may mean another host to the backend than it seems to.
	if _, err := netip.ParseAddr(name); err != nil && !hostName.MatchString(name) {
		return false
	}
	named := net.JoinHostPort(strings.TrimSuffix(strings.ToLower(name), "."), port)
	return named == at || mayReceive(hosts, named, nil, "")
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func matches(pattern, host string, ref *registry.BackendRef, namespace string) bool {
	if service, ok := strings.CutPrefix(pattern, "nacos:"); ok {
		if ref == nil {
			return false
		}
		// A service of the same name in another namespace is another service.
		if ref.Namespace == "" || ref.Namespace == namespace {
			if service == ref.Group+"/"+ref.Service {
				return true
			}
			return namespace != "" && service == namespace+"/"+ref.Group+"/"+ref.Service
		}
		return service == ref.Namespace+"/"+ref.Group+"/"+ref.Service
	}
	if pattern == "*" {
		return true
	}
	pattern = strings.ToLower(pattern)
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	pname, pport, err := net.SplitHostPort(pattern)
	if err != nil {
		pname, pport = strings.Trim(pattern, "[]"), port
	}
	if pport != port {
		return false
	}
	if suffix, ok := strings.CutPrefix(pname, "*"); ok {
		return strings.HasPrefix(suffix, ".") && strings.HasSuffix(name, suffix) && len(name) > len(suffix)
	}
	return strings.TrimSuffix(name, ".") == strings.TrimSuffix(pname, ".")
}
