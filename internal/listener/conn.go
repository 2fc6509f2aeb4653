package listener

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// inSize is how much of a request is read at once. Heads that are larger are net/http's.
const inSize = 4 << 10

// lingering is for how long a connection that is closed with a request's body unread is kept open for the client to read
// the answer: the kernel would take it back (net/http, rstAvoidanceDelay).
const lingering = 500 * time.Millisecond

const (
	stateIdle   int32 = iota // between requests
	stateActive              // a request has begun
	stateClosed              // by Shutdown
)

// conn is one connection. Its goroutine alone uses what is not said to be somebody else's.
type conn struct {
	s      *Server
	nc     net.Conn
	rest   *handover
	raw    syscall.RawConn
	remote string
	local  net.Addr
	state  atomic.Int32

	in      *[inSize]byte // nil while nothing is read ahead
	r, w    int           // what is read and not used yet
	until   time.Time     // the read deadline in force, at least; zero: none
	taken   time.Time     // the write deadline in force; zero: none, or a handler's own
	handed  bool          // it is net/http's
	begun   time.Time     // by when the first request's head must be there; zero after it
	later   bool          // a request has been served
	posted  bool          // and was a POST: line ends may follow
	skipped int           // of these, since that request
	header  http.Header   // of requests
	sent    http.Header   // of answers
	date    date
	one     [1]byte
	nothing func(fd uintptr) bool // waits until there is something; made when first needed
	gone    bool                  // what it found
}

var ins = sync.Pool{New: func() any { return new([inSize]byte) }}

func newConn(s *Server, nc net.Conn, rest *handover) (*conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{s: s, nc: nc, rest: rest, raw: raw, remote: nc.RemoteAddr().String(), local: nc.LocalAddr()}
	if d := s.http.ReadHeaderTimeout; d > 0 {
		c.begun = time.Now().Add(d)
	}
	return c, nil
}

// serve takes requests until the connection ends or is handed over.
func (c *conn) serve() {
	var at *visit
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			stack := make([]byte, 64<<10)
			c.s.logf("http: panic serving %v: %v\n%s", c.remote, p, stack[:runtime.Stack(stack, false)])
		}
		if at != nil { // the handler panicked: its answer must not be taken for whole
			at.caller.end()
			at.caller.finish()
		}
		if !c.handed {
			c.nc.Close()
			c.release()
			c.s.leave(c)
		}
	}()
	c.header, c.sent = http.Header{}, http.Header{}
	for {
		var h head
		n, v := c.await(&h)
		if v == other {
			c.handOver()
			return
		}
		if v == partial { // gone, or too slow
			return
		}
		c.begun = time.Time{}
		c.r += n
		c.later, c.posted, c.skipped = true, h.method == http.MethodPost, 0
		at = c.visit(&h)
		c.s.handler.ServeHTTP(&at.answer, at.request)
		at.caller.finish()
		again := at.finish()
		at = nil
		if !again || !c.state.CompareAndSwap(stateActive, stateIdle) || c.s.draining.Load() {
			return
		}
		clear(c.header)
		clear(c.sent)
	}
}

// await waits for a request's head. partial: there will be none.
func (c *conn) await(h *head) (n int, v verdict) {
	for {
		c.skipLineEnds()
		if c.w > c.r && c.enough() {
			if !c.active() {
				return 0, partial
			}
			if n, v = h.read(c.in[c.r:c.w], c.header); v != partial {
				return n, v
			}
			if c.w-c.r == inSize {
				return 0, other
			}
			clear(c.header)
		}
		c.limit()
		if err := c.fill(); err != nil {
			if err == io.EOF && c.w > c.r && c.enough() {
				return 0, other // net/http tells the client that half a head is none
			}
			return 0, partial
		}
	}
}

// enough reports whether what has come is taken for the begin of a request. Behind another one net/http waits for four bytes,
// and closes without a word where there are fewer.
func (c *conn) enough() bool { return !c.later || c.skipped+c.w-c.r >= 4 }

// skipLineEnds passes over what old clients send behind the body of a POST (RFC 9112, section 2.2): CR and LF, four at most,
// as net/http does.
func (c *conn) skipLineEnds() {
	for ; c.posted && c.skipped < 4 && c.r < c.w; c.skipped++ {
		if b := c.in[c.r]; b != '\r' && b != '\n' {
			c.posted = false
			return
		}
		c.r++
	}
}

// active notes that a request has begun; false if Shutdown was there first.
func (c *conn) active() bool {
	return c.state.Load() == stateActive || c.state.CompareAndSwap(stateIdle, stateActive)
}

// limit sets by when the next bytes must come: a head's within ReadHeaderTimeout from its first byte, or from the
// connection's start, a further request's within IdleTimeout. Deadlines of the latter kind are left as they are while they
// are about right, as most requests follow soon.
func (c *conn) limit() {
	now := time.Now()
	switch {
	case c.w > c.r && c.begun.IsZero():
		if d := c.s.http.ReadHeaderTimeout; d > 0 {
			c.begun = now.Add(d)
		}
		fallthrough
	case !c.begun.IsZero():
		c.deadline(c.begun)
	default:
		idle := c.s.http.IdleTimeout
		switch left := c.until.Sub(now); {
		case idle <= 0:
			c.deadline(time.Time{})
		case left < idle-idle/8 || left > idle:
			c.deadline(now.Add(idle))
		}
	}
}

func (c *conn) deadline(t time.Time) {
	if !c.until.Equal(t) {
		c.until = t
		_ = c.nc.SetReadDeadline(t)
	}
}

// fill reads what has come, behind what is there.
func (c *conn) fill() error {
	if c.in == nil {
		c.in = ins.Get().(*[inSize]byte)
	}
	if c.r > 0 {
		c.w = copy(c.in[:], c.in[c.r:c.w])
		c.r = 0
	}
	n, err := c.nc.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// release gives the buffer back if nothing is in it.
func (c *conn) release() {
	if c.in != nil && c.r == c.w {
		ins.Put(c.in)
		c.in, c.r, c.w = nil, 0, 0
	}
}

// handOver gives the connection to net/http, with what was read.
func (c *conn) handOver() {
	nc := &handed{Conn: c.nc, read: append([]byte(nil), c.in[c.r:c.w]...), until: c.begun}
	c.r = c.w
	c.release()
	c.handed = true
	c.s.leave(c)
	c.rest.give(nc)
}

// awaitLeaving waits until there is something to read or the deadline passes, and tells whether it is the client's end. It
// reads nothing.
func (c *conn) awaitLeaving() bool {
	if c.nothing == nil {
		c.nothing = func(fd uintptr) bool {
			nothing, gone := peek(fd, c.one[:])
			c.gone = gone
			return !nothing
		}
	}
	c.gone = false
	err := c.raw.Read(c.nothing)
	return c.gone || err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// visit is one request being served, in one piece of memory.
type visit struct {
	caller  caller
	answer  answer
	body    body
	url     url.URL
	request *http.Request
}

func (c *conn) visit(h *head) *visit {
	at := &visit{url: h.url(), caller: caller{c: c, unread: h.length > 0}}
	at.answer = answer{c: c, at: at, header: c.sent, declared: -1, close: h.close}
	r := &http.Request{
		Method: h.method, URL: &at.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: c.header, Body: http.NoBody,
		ContentLength: h.length, Host: h.host, RemoteAddr: c.remote, RequestURI: h.target, Close: h.close,
	}
	if h.length > 0 {
		at.body = body{at: at, left: int(h.length)}
		r.Body = &at.body
		if int(h.length) > c.w-c.r && !c.until.IsZero() { // the handler sets limits on bodies
			c.deadline(time.Time{})
		}
	}
	at.request = r.WithContext(&at.caller)
	return at
}

// finish ends the answer and tells whether another request may follow.
func (at *visit) finish() (again bool) {
	c, a := at.answer.c, &at.answer
	a.finish()
	whole := at.body.finish()
	if a.own {
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	if !whole {
		c.linger()
	}
	return whole && !a.close && a.err == nil
}

// linger lets the client read its answer although not all was read from it.
func (c *conn) linger() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_ = c.nc.SetReadDeadline(time.Now().Add(lingering))
		_, _ = io.Copy(io.Discard, io.LimitReader(struct{ io.Reader }{c.nc}, 256<<10))
	}
}

// body is a request's body: as many bytes as were announced.
type body struct {
	at *visit

	mu     sync.Mutex
	left   int   // bytes that the handler has not read
	err    error // after which nothing more is read
	closed bool
}

// Read gives io.EOF together with the last bytes.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	n, err := b.read(p)
	b.left -= n
	if b.left == 0 {
		b.err = io.EOF
		b.at.caller.bodyRead()
		return n, io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	p = p[:min(len(p), b.left)]
	c := b.at.answer.c
	if c.w > c.r {
		n := copy(p, c.in[c.r:c.w])
		c.r += n
		return n, nil
	}
	return c.nc.Read(p)
}

// Close has the rest left unread.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// finish takes what the handler left off the connection, within the handler's time limit. It tells whether the next
// request follows.
func (b *body) finish() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.left == 0 {
		return true
	}
	if b.err != nil || b.at.answer.close {
		return false
	}
	var scratch [1 << 10]byte
	for b.left > 0 {
		n, err := b.read(scratch[:])
		b.left -= n
		if err != nil && b.left > 0 {
			return false
		}
	}
	return true
}

// unread tells whether some of the body is still to come from the client.
func (b *body) unread() bool {
	return b.left > 0 && b.left > b.at.answer.c.w-b.at.answer.c.r
}
