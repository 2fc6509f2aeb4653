package upstream

import (
	"net"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// mayReceive tells whether every secret of a request may be sent to host (host:port, lower case). hosts holds, for each
// secret, the patterns of where it may go; a secret without patterns may go anywhere. Patterns are a host name or address,
// "*.example.com" (its subdomains, not itself), either with ":port", "*", and "nacos:<group>/<service>" or
// "nacos:<namespace>/<group>/<service>" for the instances of a naming service.
func mayReceive(hosts [][]string, host string, ref *registry.BackendRef, namespace string) bool {
	for _, patterns := range hosts {
		if len(patterns) == 0 {
			continue
		}
		ok := false
		for _, p := range patterns {
			if ok = matches(p, host, ref, namespace); ok {
				break
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

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
