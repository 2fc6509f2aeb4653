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

// Places says under which names a listener may be addressed, and from which web pages.
type Places struct {
	Hosts   []string // values of Host; empty: any, but on loopback addresses only loopback names
	Origins []string // besides the request's own
}

// hostAllowed guards against DNS rebinding: a page may talk a browser into sending requests to a name of its own that
// resolves to the proxy's loopback address (MCP 2026-07-28, Streamable HTTP, "Security Warning").
func (p *Places) hostAllowed(r *http.Request) bool {
	if len(p.Hosts) > 0 {
		return matchHost(p.Hosts, r.Host)
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

// Foreign returns "Host" or "Origin", whichever of the request's is not allowed, or "" if both are.
func (p *Places) Foreign(r *http.Request) string {
	switch {
	case !p.hostAllowed(r):
		return "Host"
	case !p.originAllowed(r):
		return "Origin"
	}
	return ""
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
func (p *Places) originAllowed(r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	origin := values[0]
	if slices.ContainsFunc(p.Origins, func(a string) bool { return a == "*" || strings.EqualFold(a, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && p.hostAllowed(r)
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

// clientAddress returns the address that called, by X-Forwarded-For where the peer is a trusted proxy: the last address in it
// that is not one itself. It is an address in its usual spelling and nothing else, as a zone may be any text; "" if the peer has
// none.
func (g *Gateway) clientAddress(r *http.Request) string {
	text := hostOnly(r.RemoteAddr)
	peer, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	peer = peer.Unmap().WithZone("")
	if !g.trusted(peer) {
		var room [48]byte
		if string(peer.AppendTo(room[:0])) == text { // as always but for zones: without a copy
			return text
		}
		return peer.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if peer = a.Unmap().WithZone(""); !g.trusted(peer) {
			break
		}
	}
	return peer.String()
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

func (g *Gateway) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(g.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
