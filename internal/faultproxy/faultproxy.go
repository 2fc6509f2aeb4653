// Package faultproxy stands between a client and a server on loopback and breaks the connection in the ways that
// networks do. It must never be used outside tests: it forwards to whatever it was told to.
package faultproxy

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Mode is what happens to bytes and connections.
type Mode int

// Modes. Pass is the first.
const (
	Pass    Mode = iota // forwards
	Hang                // accepts and reads nothing, forwards nothing; connections stay open
	Refuse              // resets new connections at once
	Swallow             // takes every byte and forwards none; a connection that was swallowed from stays dead for ever
)

// maxConns bounds how many connections a proxy holds at a time; more are reset.
const maxConns = 256

// Proxy forwards connections of one listener to one address.
type Proxy struct {
	Addr string // of the listener, 127.0.0.1:port

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	mode  Mode
	delay time.Duration
	gate  chan struct{} // closed unless hanging
	conns map[net.Conn]*pipe
	count int // connections accepted or refused so far
	done  chan struct{}
}

// pipe is a pair of connections.
type pipe struct{ dead bool }

// New starts a proxy to target on a free port. It ends with the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	return At(t, "127.0.0.1:0", target)
}

// At is New on an address of one's choice.
func At(t testing.TB, listen, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), target: target, listener: l,
		gate: make(chan struct{}), conns: make(map[net.Conn]*pipe), done: make(chan struct{}),
	}
	close(p.gate)
	p.wg.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Set changes the mode for connections that exist and that come.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m == Hang && p.mode != Hang {
		p.gate = make(chan struct{})
	}
	if m != Hang && p.mode == Hang {
		close(p.gate)
	}
	if m == Swallow {
		for _, x := range p.conns {
			x.dead = true
		}
	}
	p.mode = m
}

// Attempts is how many connections were begun so far, refused ones included.
func (p *Proxy) Attempts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Delay holds every chunk of bytes back for d, in both directions.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	p.delay = d
	p.mu.Unlock()
}

// Reset ends all connections with an RST.
func (p *Proxy) Reset() { p.end(true) }

// Cut ends all connections with a FIN.
func (p *Proxy) Cut() { p.end(false) }

func (p *Proxy) end(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// Close ends the proxy and waits for its goroutines.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.done:
		p.mu.Unlock()
		return
	default:
	}
	close(p.done)
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Set(Pass)
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		full := len(p.conns) >= 2*maxConns
		mode := p.mode
		p.count++
		p.mu.Unlock()
		if full || mode == Refuse {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
			continue
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(in net.Conn) {
	defer p.forget(in)
	x := &pipe{}
	if !p.remember(in, x) || !p.pass() {
		return
	}
	if p.swallows(x) {
		_, _ = io.Copy(io.Discard, in)
		return
	}
	out, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = in.(*net.TCPConn).SetLinger(0)
		return
	}
	defer p.forget(out)
	if !p.remember(out, x) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in, x) })
	both.Go(func() { p.copy(in, out, x) })
	both.Wait()
}

// copy forwards one direction and ends both when it is over.
func (p *Proxy) copy(dst, src net.Conn, x *pipe) {
	defer func() { _ = dst.Close(); _ = src.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			p.mu.Lock()
			delay := p.delay
			p.mu.Unlock()
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-p.done:
					return
				}
			}
			if !p.pass() {
				return
			}
			if p.swallows(x) {
				continue
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the proxy hangs; false when it is closed.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-p.done:
		return false
	}
}

// swallows tells whether nothing of a pipe is forwarded any more.
func (p *Proxy) swallows(x *pipe) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.dead = x.dead || p.mode == Swallow
	return x.dead
}

func (p *Proxy) remember(c net.Conn, x *pipe) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
	}
	p.conns[c] = x
	return true
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close()
}

// Pair stands in front of a Nacos, whose gRPC port is its HTTP port + 1000: two proxies on such a pair of ports.
type Pair struct {
	HTTP, GRPC *Proxy
}

// NewPair starts a pair for the Nacos at target (host:port of its HTTP API).
func NewPair(t testing.TB, target string) *Pair {
	t.Helper()
	host, port := split(t, target)
	for range 50 {
		probe, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := probe.Addr().(*net.TCPAddr).Port
		_ = probe.Close()
		second, err := net.Listen("tcp", join("127.0.0.1", p+1000))
		if err != nil || p > 64000 {
			continue
		}
		_ = second.Close()
		return &Pair{HTTP: At(t, join("127.0.0.1", p), target), GRPC: At(t, join("127.0.0.1", p+1000), join(host, port+1000))}
	}
	t.Fatal("no pair of free ports")
	return nil
}

// Addr is what to tell the client.
func (p *Pair) Addr() string { return p.HTTP.Addr }

// Set changes the mode of both.
func (p *Pair) Set(m Mode) { p.HTTP.Set(m); p.GRPC.Set(m) }

// Reset ends all connections of both with an RST.
func (p *Pair) Reset() { p.HTTP.Reset(); p.GRPC.Reset() }

// Cut ends all connections of both with a FIN.
func (p *Pair) Cut() { p.HTTP.Cut(); p.GRPC.Cut() }
