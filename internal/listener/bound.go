package listener

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Bound is how many connections a listener takes.
type Bound struct {
	// Take is asked for every connection and reports whether it may be; Release is told of its end, once. Nil: all may.
	Take    func() bool
	Release func()
	// PerAddress bounds the connections from one address, an IPv6 one by its first 64 bits; 0: no bound.
	PerAddress int
	// Exempt are the networks that PerAddress does not bound: those of reverse proxies, whose connections are many clients'.
	Exempt []netip.Prefix
}

// bounded is a listener that closes connections beyond a Bound as soon as they come, so that they neither hold a
// descriptor nor wait before others.
type bounded struct {
	net.Listener
	Bound

	mu        sync.Mutex
	addresses map[netip.Addr]int
	refused   atomic.Int64
}

// Bounded is a net.Listener with a Bound.
type Bounded interface {
	net.Listener
	// Refused returns how many connections were closed for PerAddress since the start.
	Refused() int64
}

// NewBounded returns l with the bound.
func NewBounded(l net.Listener, b Bound) Bounded {
	return &bounded{Listener: l, Bound: b, addresses: map[netip.Addr]int{}}
}

func (l *bounded) Refused() int64 { return l.refused.Load() }

func (l *bounded) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(nc); c != nil {
			return c, nil
		}
		nc.Close()
	}
}

// admit counts a connection in; nil if it may not be.
func (l *bounded) admit(nc net.Conn) net.Conn {
	from := l.bucket(nc.RemoteAddr())
	if from.IsValid() {
		l.mu.Lock()
		if l.addresses[from] >= l.PerAddress {
			l.mu.Unlock()
			l.refused.Add(1)
			return nil
		}
		l.addresses[from]++
		l.mu.Unlock()
	}
	if l.Take != nil && !l.Take() {
		l.forget(from)
		return nil
	}
	if tcp, ok := nc.(*net.TCPConn); ok { // with all that a TCP connection can: write several buffers at once, half a close
		return &countedTCP{TCPConn: tcp, counted: counted{l: l, from: from}}
	}
	return &countedConn{Conn: nc, counted: counted{l: l, from: from}}
}

// bucket returns what connections from an address are counted under; the zero Addr where they are not.
func (l *bounded) bucket(a net.Addr) netip.Addr {
	if l.PerAddress <= 0 {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	for _, p := range l.Exempt {
		if p.Contains(ip) {
			return netip.Addr{}
		}
	}
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		ip = p.Addr()
	}
	return ip
}

func (l *bounded) forget(from netip.Addr) {
	if !from.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addresses[from]--; l.addresses[from] <= 0 {
		delete(l.addresses, from)
	}
}

// counted is a connection's place.
type counted struct {
	l    *bounded
	from netip.Addr
	gone atomic.Bool
}

func (c *counted) leave() {
	if c.gone.Swap(true) {
		return
	}
	c.l.forget(c.from)
	if c.l.Release != nil {
		c.l.Release()
	}
}

type countedTCP struct {
	*net.TCPConn
	counted
}

func (c *countedTCP) Close() error {
	err := c.TCPConn.Close()
	c.leave()
	return err
}

type countedConn struct {
	net.Conn
	counted
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
