package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// neverPrefixes are addresses no backend has: link-local, cloud metadata, unspecified, multicast, broadcast. Metadata
// services outside the link-local ranges are those of Alibaba Cloud, AWS (IPv6), Google (IPv6), Oracle and Azure.
var neverPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("192.0.0.192/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("fd20:ce::254/128"),
}

// embedding are IPv6 prefixes that carry an IPv4 address, and at which byte: a translator would take a packet to that
// address (RFC 6052 NAT64 and its local prefix RFC 8215, RFC 3056 6to4, RFC 4291 IPv4-compatible).
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::/96"), 12},
}

// errBlocked is what a refused dial carries; net wraps it in an OpError.
var errBlocked = errors.New("address is never dialled")

// guard decides on addresses that are about to be connected to, after names were resolved, so that a name that
// resolves differently the second time is judged by what it resolves to then.
type guard struct {
	allow, deny []netip.Prefix
	never       func() []netip.AddrPort
	local       localAddresses
}

// control is a net.Dialer's ControlContext: address is the resolved one.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s is no address", errBlocked, address)
	}
	if why := g.refuses(ap); why != "" {
		return fmt.Errorf("%w: %s %s", errBlocked, address, why)
	}
	return nil
}

// refuses gives the reason why ap may not be connected to, or nothing.
func (g *guard) refuses(ap netip.AddrPort) string {
	a := ap.Addr().Unmap().WithZone("")
	for _, e := range embedding {
		if e.prefix.Contains(a) && a != netip.IPv6Loopback() {
			b := a.As16()
			if why := g.refuses(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[e.at:e.at+4])), ap.Port())); why != "" {
				return why
			}
		}
	}
	if contains(neverPrefixes, a) {
		return "is link-local, a metadata service or no host's address"
	}
	if contains(g.deny, a) {
		return "is in upstream.deny"
	}
	if len(g.allow) > 0 && !contains(g.allow, a) {
		return "is not in upstream.allow"
	}
	if g.never == nil {
		return ""
	}
	for _, n := range g.never() {
		if n.Port() != ap.Port() && n.Port() != 0 {
			continue
		}
		na := n.Addr().Unmap().WithZone("")
		// A listener on the unspecified address answers on every address of this host.
		if na == a || na.IsUnspecified() && (a.IsLoopback() || g.local.has(a)) {
			return "is a port of Nacos (nacos.addresses, nacos.consolePort) or of the proxy itself"
		}
	}
	return ""
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// localAddresses knows the addresses of this host, looked up anew when older than a few seconds.
type localAddresses struct {
	mu    sync.Mutex
	at    time.Time
	addrs map[netip.Addr]bool
}

func (l *localAddresses) has(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addrs == nil || time.Since(l.at) > 5*time.Second {
		l.addrs, l.at = map[netip.Addr]bool{}, time.Now()
		nets, _ := net.InterfaceAddrs()
		for _, n := range nets {
			if p, err := netip.ParsePrefix(n.String()); err == nil {
				l.addrs[p.Addr().Unmap().WithZone("")] = true
			}
		}
	}
	return l.addrs[a]
}
