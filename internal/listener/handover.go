package listener

import (
	"net"
	"sync"
	"time"
)

// handover is the listener from which net/http gets the connections that are not plain.
type handover struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newHandover(address net.Addr) *handover {
	return &handover{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give hands nc on, or closes it where nobody takes any more.
func (h *handover) give(nc net.Conn) {
	select {
	case h.conns <- nc:
	case <-h.closed:
		nc.Close()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.address }

// handed is a connection of which some has been read.
type handed struct {
	net.Conn
	read  []byte    // comes first
	until time.Time // when the head that has been begun must be there; zero: it has not been begun
}

func (h *handed) Read(p []byte) (int, error) {
	if len(h.read) > 0 {
		n := copy(p, h.read)
		h.read = h.read[n:]
		return n, nil
	}
	return h.Conn.Read(p)
}

// SetReadDeadline keeps to the time by which the head must be there, so that nobody gains another by a head that is not
// plain.
func (h *handed) SetReadDeadline(t time.Time) error {
	if !h.until.IsZero() && !t.IsZero() {
		if h.until.Before(t) {
			t = h.until
		}
		h.until = time.Time{}
	}
	return h.Conn.SetReadDeadline(t)
}
