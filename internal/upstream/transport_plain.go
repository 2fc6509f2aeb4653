//go:build unix

package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/httphead"
)

// maxPlainBody is what the kernel's buffers take without the backend reading, so that an early answer needs no second
// goroutine to be seen.
const maxPlainBody = 16 << 10

// plain speaks HTTP/1.1 without TLS in the caller's goroutine: http.Transport hands every call to a goroutine that
// writes and one that reads, which costs more than the call. It takes the simple requests, nearly all; the others go
// through rest.
type plain struct {
	rest transport
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex
	idle   map[string][]*plainConn // by host as in the URL; the last is the one used last
	total  int
	pruner *time.Timer // nil until there is something to prune
	armed  bool        // it will run
	round  int         // how often it has run
}

func newPlain(dial func(ctx context.Context, network, address string) (net.Conn, error), rest transport) transport {
	return &plain{rest: rest, dial: dial, idle: map[string][]*plainConn{}}
}

// plainConn is one connection. It is used by one call at a time.
type plainConn struct {
	net.Conn
	br    *bufio.Reader
	left  int64 // bytes that may still be read: bounds headers
	host  string
	since int // the pruning after which it became idle
	raw   syscall.RawConn
	peek  func(fd uintptr) bool
	alive bool // what peek found
	used  bool
}

var errHeaderTooLarge = errors.New("header of the answer is too large")

// longAgo as a deadline ends reads and writes that wait.
var longAgo = time.Unix(1, 0)

// abort ends what waits on the connection, from another goroutine.
func (c *plainConn) abort() { _ = c.SetDeadline(longAgo) }

// Read is for br alone.
func (c *plainConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// usable tells whether an idle connection is still open with nothing on it. Something that is there belongs to no
// request of ours.
func (c *plainConn) usable() bool {
	c.alive = false
	return c.raw.Read(c.peek) == nil && c.alive
}

func (p *plain) connect(ctx context.Context, m *message) (*plainConn, error) {
	nc, err := p.dial(ctx, "tcp", hostPort(m.url))
	if err != nil {
		return nil, err
	}
	c := &plainConn{Conn: nc, host: m.url.Host}
	c.br = bufio.NewReader(c)
	sc, ok := nc.(syscall.Conn)
	if !ok {
		nc.Close()
		return nil, &dialError{fmt.Errorf("connection of type %T has no descriptor", nc)}
	}
	if c.raw, err = sc.SyscallConn(); err != nil {
		nc.Close()
		return nil, &dialError{err}
	}
	var one [1]byte
	c.peek = func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		c.alive = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	}
	return c, nil
}

// get gives an idle connection, or nil.
func (p *plain) get(host string) *plainConn {
	for {
		p.mu.Lock()
		list := p.idle[host]
		if len(list) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := list[len(list)-1]
		list[len(list)-1] = nil
		p.idle[host] = list[:len(list)-1]
		p.total--
		p.mu.Unlock()
		if c.usable() {
			return c
		}
		c.Close()
	}
}

// put keeps a connection whose last answer was read to its end.
func (p *plain) put(c *plainConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.used, c.since = true, p.round
	list := p.idle[c.host]
	if len(list) >= maxIdlePerHost || p.total >= maxIdle {
		c.Close()
		return
	}
	p.idle[c.host] = append(list, c)
	p.total++
	p.schedule()
}

// schedule has idle connections looked through. The lock is held.
func (p *plain) schedule() {
	if p.armed {
		return
	}
	p.armed = true
	if p.pruner == nil {
		p.pruner = time.AfterFunc(idleTime/2, p.prune)
		return
	}
	p.pruner.Reset(idleTime / 2)
}

// prune closes what has been idle since before the last two times it ran: for idleTime at least, and half as long again at
// most. To count that spares each call a look at the time.
func (p *plain) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
	p.closeBefore(p.round - 2)
	p.armed = false
	if p.total > 0 {
		p.schedule()
	}
}

// closeBefore closes what has been idle since before a pruning. The lock is held.
func (p *plain) closeBefore(round int) {
	for host, list := range p.idle {
		keep := 0 // the list is in the order of since
		for keep < len(list) && list[keep].since < round {
			list[keep].Close()
			keep++
		}
		p.total -= keep
		if keep == len(list) {
			delete(p.idle, host)
			continue
		}
		n := copy(list, list[keep:])
		clear(list[n:])
		p.idle[host] = list[:n]
	}
}

// CloseIdleConnections closes what no call uses now.
func (p *plain) CloseIdleConnections() {
	p.mu.Lock()
	p.closeBefore(math.MaxInt)
	if p.pruner != nil {
		p.pruner.Stop()
		p.armed = false
	}
	p.mu.Unlock()
	p.rest.CloseIdleConnections()
}

func (p *plain) roundTrip(k *exchange, m *message) (*answer, error) {
	out := requests.Get().(*[]byte)
	defer func() {
		if cap(*out) <= 2*maxPlainBody {
			requests.Put(out)
		}
	}()
	var simple bool
	if *out, simple = m.appendTo((*out)[:0]); !simple {
		return p.rest.roundTrip(k, m)
	}
	clock := &k.clock
	for {
		if err := clock.Err(); err != nil {
			return nil, &dialError{err}
		}
		c := p.get(m.url.Host)
		if c == nil {
			var err error
			if c, err = p.connect(clock, m); err != nil {
				return nil, err
			}
		}
		c.left = maxHeader
		if !clock.hold(c) {
			c.Close()
			return nil, &dialError{clock.Err()}
		}
		n, err := c.Write(*out)
		if err != nil && n == 0 && c.used && clock.letGo() { // closed between the look at it and now; nothing was sent
			c.Close()
			continue
		}
		resp, rerr := p.answer(k, c, m, err != nil)
		if rerr != nil && err != nil {
			rerr = err
		}
		return resp, rerr
	}
}

var requests = sync.Pool{New: func() any { return new([]byte) }}

var headRequest = &http.Request{Method: http.MethodHead}

// answer reads the answer's header. broken: the request could not be written whole, but the backend may have said why.
func (p *plain) answer(k *exchange, c *plainConn, m *message, broken bool) (*answer, error) {
	fail := func(err error) (*answer, error) {
		k.clock.letGo()
		c.Close()
		return nil, err
	}
	if broken && k.clock.Err() == nil {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	}
	var req *http.Request
	b := &k.plain
	*b = plainBody{p: p, c: c, clock: &k.clock}
	if m.method == http.MethodHead {
		req = headRequest
	} else if _, err := c.br.Peek(1); err == nil {
		head, _ := c.br.Peek(c.br.Buffered())
		if n := readHead(head, k, m.lent); n > 0 {
			_, _ = c.br.Discard(n)
			b.left, b.keep = k.answer.length, !broken
			return p.begin(c, b, &k.answer, b.left == 0), nil
		}
	}
	for {
		r, err := http.ReadResponse(c.br, req)
		switch {
		case err == io.EOF:
			return fail(io.ErrUnexpectedEOF)
		case err != nil:
			return fail(err)
		case r.StatusCode == http.StatusSwitchingProtocols:
			return fail(errSwitched)
		case r.StatusCode < 100:
			return fail(errStatus)
		case r.StatusCode >= 200:
			b.r, b.keep = r.Body, !r.Close && !broken
			return p.begin(c, b, k.answered(r), r.Body == http.NoBody), nil
		}
	}
}

// begin hands on an answer whose head has been read.
func (p *plain) begin(c *plainConn, b *plainBody, resp *answer, empty bool) *answer {
	c.left = math.MaxInt64
	if empty {
		b.end(true)
		resp.body = http.NoBody
		return resp
	}
	resp.body = b
	return resp
}

// plainBody is an answer's body. Its connection goes back when it was read to its end, and is closed in all other cases.
type plainBody struct {
	p     *plain
	c     *plainConn
	r     io.Reader // nil: left bytes of the connection
	left  int64
	clock *clock
	keep  bool
	err   error // once it ended
}

func (b *plainBody) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.r != nil {
		n, err = b.r.Read(p)
	} else {
		n, err = b.c.br.Read(p[:min(int64(len(p)), b.left)])
		switch b.left -= int64(n); {
		case b.left == 0:
			err = io.EOF
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		b.err = err
		b.end(err == io.EOF)
	}
	return n, err
}

// Close does not read what is left: that may be without end.
func (b *plainBody) Close() error {
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
		b.end(false)
	}
	return nil
}

// end lets go of the connection. One that an ended call may still reach is not used again.
func (b *plainBody) end(whole bool) {
	c := b.c
	b.c = nil
	if b.clock.letGo() && whole && b.keep && c.br.Buffered() == 0 {
		b.p.put(c)
		return
	}
	c.Close()
}

// appendTo writes the request as it goes out. It reports false for what is left to http.Transport: TLS, names that are
// not plain ASCII, large bodies, and what it would refuse.
func (m *message) appendTo(b []byte) ([]byte, bool) {
	host := m.host
	if host == "" {
		host = m.url.Host
	}
	if m.url.Scheme != "http" || len(m.body) > maxPlainBody || !isPlainHost(m.url.Host) || !isPlainHost(host) {
		return b, false
	}
	sendsLength := len(m.body) > 0
	switch m.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		sendsLength = true // many servers expect it of these
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
	default:
		return b, false
	}
	target := m.url.RequestURI()
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7f {
			return b, false
		}
	}
	b = append(append(append(b, m.method...), ' '), target...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), host...)
	b = append(b, "\r\n"...)
	for name, values := range m.header {
		if isFraming(name) {
			continue
		}
		if !httphead.IsToken(name) {
			return b, false
		}
		for _, v := range values {
			if !httphead.IsValue(v) {
				return b, false
			}
			if v == "" && name == "User-Agent" {
				continue
			}
			b = append(append(append(append(b, name...), ": "...), strings.TrimSpace(v)...), "\r\n"...)
		}
	}
	if sendsLength {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(m.body)), 10), "\r\n"...)
	}
	return append(append(b, "\r\n"...), m.body...), true
}

// isFraming tells the fields that are ours to write, in any spelling.
func isFraming(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Trailer"):
		return strings.EqualFold(name, "Trailer")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

// isPlainHost: a name or address that needs neither IDNA nor escaping.
func isPlainHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return s != ""
}
