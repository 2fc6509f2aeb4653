package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// hostAllowed guards against DNS rebinding: a page may talk a browser into sending requests to a name of its own that
// resolves to the proxy's loopback address (MCP 2026-07-28, Streamable HTTP, "Security Warning").
func (g *Gateway) hostAllowed(r *http.Request) bool {
	if len(g.options.AllowedHosts) > 0 {
		return matchHost(g.options.AllowedHosts, r.Host)
	}
	if isUsualLoopback(r.Host) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !isLoopback(local.String()) {
		return true
	}
	return isLoopback(r.Host)
}

// foreign says what of a request is not allowed, its Host or its Origin, and which setting allows it; "" where both are.
func (g *Gateway) foreign(r *http.Request) (what, setting string) {
	switch {
	case !g.hostAllowed(r):
		return "Host", "http.allowedHosts"
	case !g.originAllowed(r):
		return "Origin", "http.allowedOrigins"
	}
	return "", ""
}

// isUsualLoopback knows the spellings that nearly everybody uses, without the garbage that reading others makes.
func isUsualLoopback(hostport string) bool {
	host, port, _ := strings.Cut(hostport, ":")
	return (host == "localhost" || host == "127.0.0.1") && strings.Trim(port, "0123456789") == ""
}

func isLoopback(hostport string) bool {
	host := hostOnly(hostport)
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func matchHost(allowed []string, host string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		return a == "*" || strings.EqualFold(a, host) || strings.EqualFold(a, hostOnly(host))
	})
}

// originAllowed tells whether a browser page may use the answer. Requests without Origin do not come from a page.
func (g *Gateway) originAllowed(r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	origin := values[0]
	if slices.ContainsFunc(g.options.AllowedOrigins, func(a string) bool { return a == "*" || strings.EqualFold(a, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && g.hostAllowed(r)
}

// exposed are the response headers that pages need to see.
const exposed = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After"

// cors answers a preflight request, or adds what an allowed page needs to read the answer. It tells whether it has
// answered.
func (g *Gateway) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := wire.First(r.Header, "Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", exposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// clientAddress is who called, by X-Forwarded-For where the peer is a trusted proxy: the last address in it that is
// not one itself.
func (g *Gateway) clientAddress(r *http.Request) string {
	peer := hostOnly(r.RemoteAddr)
	if !g.trusted(peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		hop = strings.TrimSpace(hop)
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		if peer = hop; !g.trusted(hop) {
			break
		}
	}
	return peer
}

// neighbourhood names who counts as one of the callers that are no consumer: an IPv4 address, or the /64 of an IPv6
// address, all of which one host may have (RFC 4291, 2.5.4).
func (c *call) neighbourhood() string {
	address := c.g.clientAddress(c.r)
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64)
	return network.String()
}

func (g *Gateway) trusted(address string) bool {
	if len(g.options.TrustedProxies) == 0 {
		return false
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(g.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}
