package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Fault is what happens to the bytes of one direction of a connection. The zero Fault does nothing.
type Fault struct {
	Stall bool          // bytes wait until the fault ends
	Lose  bool          // bytes are lost; the connection never recovers from that
	Delay time.Duration // of every byte
	Rate  int           // bytes per second; 0: no limit
}

// Direction is one of the two directions of a connection.
type Direction int

// Directions, as seen from who dialled.
const (
	Up   Direction = 1 << iota // to the server
	Down                       // to the client
	Both = Up | Down
)

// String returns the word for logs.
func (d Direction) String() string { return [...]string{"none", "up", "down", "both"}[d] }

// Network is a network in memory. Its connections can be used in a synctest bubble, where a minute of faults takes no time.
// Faults are set for all connections to an address, existing and new, or for single ones.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	lines     []*Line
	faults    map[string][2]Fault // by address: up, down
	refused   map[string]bool
	dialled   int
}

// Line is one connection of a Network.
type Line struct {
	Client string // what the server sees as the remote address
	Addr   string // that was dialled
	halves [2]*half
	ends   [2]*memConn
}

// NewNetwork returns a Network without listeners.
func NewNetwork() *Network {
	return &Network{listeners: map[string]*memListener{}, faults: map[string][2]Fault{}, refused: map[string]bool{}}
}

// Listen returns a listener at an address of one's choice.
func (n *Network) Listen(addr string) net.Listener {
	l := &memListener{network: n, addr: memAddr(addr), queue: make(chan net.Conn, 64), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[addr] = l
	return l
}

// Dial connects to a listener. Where nobody listens, or connections are refused, it fails at once.
func (n *Network) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	l := n.listeners[addr]
	if l == nil || n.refused[addr] {
		n.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memAddr(addr), Err: errors.New("connection refused")}
	}
	n.dialled++
	line := &Line{Client: fmt.Sprintf("10.0.0.1:%d", n.dialled), Addr: addr}
	faults := n.faults[addr]
	for i := range line.halves {
		line.halves[i] = newHalf(faults[i])
	}
	forget := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.lines = slices.DeleteFunc(n.lines, func(x *Line) bool { return x == line })
	}
	client := &memConn{local: memAddr(line.Client), remote: memAddr(addr), out: line.halves[0], in: line.halves[1], forget: forget}
	server := &memConn{local: memAddr(addr), remote: memAddr(line.Client), out: line.halves[1], in: line.halves[0], forget: forget}
	line.ends = [2]*memConn{client, server}
	n.lines = append(n.lines, line)
	n.mu.Unlock()
	select {
	case l.queue <- server:
		return client, nil
	case <-l.done:
		_ = client.Close()
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memAddr(addr), Err: errors.New("connection refused")}
	case <-ctx.Done():
		_ = client.Close()
		return nil, ctx.Err()
	}
}

// Set puts a fault on every connection to addr, those to come included.
func (n *Network) Set(addr string, d Direction, f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	faults := n.faults[addr]
	for i := range faults {
		if d&(1<<i) != 0 {
			faults[i] = f
		}
	}
	n.faults[addr] = faults
	for _, line := range n.lines {
		if line.Addr == addr {
			line.set(d, f)
		}
	}
}

// SetLines puts a fault on the connections that there are and that f is true of. f must not call the Network.
func (n *Network) SetLines(f func(*Line) bool, d Direction, fault Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, line := range n.lines {
		if f(line) {
			line.set(d, fault)
		}
	}
}

func (line *Line) set(d Direction, f Fault) {
	for i, h := range line.halves {
		if d&(1<<i) != 0 {
			h.set(f)
		}
	}
}

// Refuse refuses new connections to addr, or accepts them again.
func (n *Network) Refuse(addr string, refuse bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[addr] = refuse
}

// Reset breaks all connections to addr.
func (n *Network) Reset(addr string) {
	n.mu.Lock()
	lines := slices.Clone(n.lines)
	n.mu.Unlock()
	for _, line := range lines {
		if line.Addr == addr {
			for _, h := range line.halves {
				h.end(errReset, true)
			}
		}
	}
}

var errReset = errors.New("connection reset by peer")

type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }

type memListener struct {
	network *Network
	addr    memAddr
	queue   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		if l.network.listeners[string(l.addr)] == l {
			delete(l.network.listeners, string(l.addr))
		}
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

// memConn is one end of a Line.
type memConn struct {
	local, remote memAddr
	in, out       *half
	forget        func()
}

func (c *memConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memConn) LocalAddr() net.Addr         { return c.local }
func (c *memConn) RemoteAddr() net.Addr        { return c.remote }

func (c *memConn) Close() error {
	c.out.end(io.EOF, false)
	c.in.end(net.ErrClosed, true)
	c.forget()
	return nil
}

func (c *memConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memConn) SetReadDeadline(t time.Time) error { c.in.deadline(&c.in.readBy, t); return nil }

func (c *memConn) SetWriteDeadline(t time.Time) error { c.out.deadline(&c.out.writeBy, t); return nil }

// How much a half holds before a writer has to wait, and the piece that a limited rate delivers at a time.
const (
	halfSize  = 256 << 10
	ratePiece = 512
)

// half is one direction of a Line.
type half struct {
	mu              sync.Mutex
	news            *sync.Cond
	fault           Fault
	dead            bool // bytes were lost
	pieces          []piece
	size            int
	last            time.Time // arrival of the last piece
	err             error     // what a reader gets at the end
	readBy, writeBy time.Time
}

type piece struct {
	data []byte
	at   time.Time
}

func newHalf(f Fault) *half {
	h := &half{fault: f}
	h.news = sync.NewCond(&h.mu)
	return h
}

func (h *half) set(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
	if f.Delay == 0 && f.Rate == 0 {
		now := time.Now()
		h.last = now
		for i := range h.pieces {
			h.pieces[i].at = now
		}
	}
	if f.Lose {
		h.dead = true
		h.pieces, h.size = nil, 0
	}
	h.news.Broadcast()
}

// end makes this the last of the half; at once, or after what is on the way.
func (h *half) end(err error, now bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || now {
		h.err = err
	}
	if now {
		h.pieces, h.size = nil, 0
	}
	h.news.Broadcast()
}

func (h *half) deadline(which *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = t
	h.news.Broadcast()
}

// wait returns when something may have changed, at t at the latest if it is not zero. The caller holds mu.
func (h *half) wait(t time.Time) {
	if !t.IsZero() {
		timer := time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.news.Broadcast()
		})
		defer timer.Stop()
	}
	h.news.Wait()
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.size >= halfSize && h.err == nil {
		if passed(h.writeBy) {
			return 0, os.ErrDeadlineExceeded
		}
		h.wait(h.writeBy)
	}
	if h.err != nil {
		return 0, io.ErrClosedPipe
	}
	if h.dead {
		return len(p), nil
	}
	most := len(p)
	if h.fault.Rate > 0 {
		most = ratePiece
	}
	for rest := p; len(rest) > 0; {
		part := rest[:min(most, len(rest))]
		rest = rest[len(part):]
		h.last = latest(h.last, time.Now().Add(h.fault.Delay))
		if h.fault.Rate > 0 {
			h.last = h.last.Add(time.Duration(len(part)) * time.Second / time.Duration(h.fault.Rate))
		}
		h.pieces = append(h.pieces, piece{slices.Clone(part), h.last})
		h.size += len(part)
	}
	h.news.Broadcast()
	return len(p), nil
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if passed(h.readBy) {
			return 0, os.ErrDeadlineExceeded
		}
		next := h.readBy
		switch {
		case len(h.pieces) == 0:
			if h.err != nil && (!h.fault.Stall && !h.dead || !errors.Is(h.err, io.EOF)) {
				return 0, h.err
			}
		case h.fault.Stall:
		case passed(h.pieces[0].at):
			first := &h.pieces[0]
			n := copy(p, first.data)
			first.data = first.data[n:]
			h.size -= n
			if len(first.data) == 0 {
				h.pieces = h.pieces[1:]
			}
			h.news.Broadcast()
			return n, nil
		case next.IsZero() || h.pieces[0].at.Before(next):
			next = h.pieces[0].at
		}
		h.wait(next)
	}
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
