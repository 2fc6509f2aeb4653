package listener

import (
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/httphead"
)

const (
	// headRoom is left before an answer's body, for the head that is put together when its length is known.
	headRoom = 512
	// heldBack is how much of an answer is kept before it is sent, so that a small one needs one system call and no chunks.
	heldBack = 16 << 10
)

// room is where answers are put together.
type room struct {
	b    []byte // headRoom bytes, then the body; or chunks to be sent
	head []byte
	both [2][]byte
	vec  net.Buffers
	keys []string
}

var rooms = sync.Pool{New: func() any { return &room{b: make([]byte, headRoom, headRoom+2<<10)} }}

// answer is the http.ResponseWriter of one request. What net/http writes for the same handler it writes, too, byte for
// byte, but that it holds back more before it begins with chunks, and sends neither trailers nor informational answers.
type answer struct {
	c         *conn
	at        *visit
	header    http.Header
	room      *room // nil while nothing waits to be sent
	status    int   // 0: WriteHeader was not called
	declared  int64 // the handler's Content-Length; -1: none
	written   int64 // bytes of body
	sent      bool  // the head is on its way
	chunked   bool
	dated     bool // the handler says the date
	typed     bool // and the type
	close     bool // the connection ends with this answer
	tellClose bool // and we say so
	own       bool // the handler set a limit of its own on writing
	err       error
}

// Header is what WriteHeader sends.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader sets the status and takes the header as it is now. Informational statuses are not sent.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < 200 {
		return
	}
	a.status = status
	if v := a.header["Content-Length"]; len(v) > 0 {
		n, ok := httphead.Decimal(v[0])
		if ok && bodyAllowed(status) {
			a.declared = n
		} else {
			delete(a.header, "Content-Length")
		}
	}
	a.compose()
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// Write adds to the body.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.err != nil:
		return 0, a.err
	case len(p) == 0:
		return 0, nil
	case !bodyAllowed(a.status):
		return 0, http.ErrBodyNotAllowed
	}
	if a.written += int64(len(p)); a.declared >= 0 && a.written > a.declared {
		return 0, http.ErrContentLength
	}
	m := a.open()
	if len(m.b)+len(p) <= headRoom+heldBack && !a.chunked {
		m.b = append(m.b, p...)
		return len(p), nil
	}
	if !a.sent {
		a.begin(p)
	}
	if !a.chunked {
		a.send(p)
	} else {
		a.chunk(p)
	}
	if a.err != nil {
		return 0, a.err
	}
	return len(p), nil
}

// chunk adds a chunk. Small ones wait for Flush.
func (a *answer) chunk(p []byte) {
	m := a.open()
	m.b = append(strconv.AppendInt(m.b, int64(len(p)), 16), "\r\n"...)
	if len(p) > heldBack {
		a.send(p)
		m = a.open()
		m.b = append(m.b, "\r\n"...)
		return
	}
	m.b = append(append(m.b, p...), "\r\n"...)
	if len(m.b) > headRoom+heldBack {
		a.send(nil)
	}
}

// Flush sends what was written.
func (a *answer) Flush() { _ = a.FlushError() }

// FlushError is Flush with the reason for which the client cannot be reached.
func (a *answer) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.sent {
		a.begin(nil)
		a.c.release() // an answer that goes out in pieces takes a while
	}
	a.send(nil)
	return a.err
}

// SetReadDeadline bounds the reading of the request's body. Where that is there already, nothing waits for anything.
func (a *answer) SetReadDeadline(t time.Time) error {
	if a.at.body.unread() {
		a.c.deadline(t)
	}
	return nil
}

// SetWriteDeadline bounds the writing of this answer in place of WriteTime; the zero time has WriteTime count again.
func (a *answer) SetWriteDeadline(t time.Time) error {
	a.own = !t.IsZero()
	a.c.taken = time.Time{}
	return a.c.nc.SetWriteDeadline(t)
}

// limit has what is written next taken by the client within WriteTime and the time that n bytes take at SlowestRead. The
// deadline in force is left as it is while it is right within a factor of two, so that small answers, one after the other,
// do not set one each.
func (a *answer) limit(n int) {
	d := a.c.s.WriteTime
	if d <= 0 || a.own {
		return
	}
	now := time.Now()
	if n > heldBack {
		d += a.c.s.writingTime(n)
	} else if left := a.c.taken.Sub(now); left >= d && left <= 2*d {
		return
	}
	a.c.taken = now.Add(2 * d)
	_ = a.c.nc.SetWriteDeadline(a.c.taken)
}

// writingTime is how long a client may take for n bytes.
func (s *Server) writingTime(n int) time.Duration { return time.Duration(n) * time.Second / s.slowest }

func (a *answer) open() *room {
	if a.room == nil {
		a.room = rooms.Get().(*room)
	}
	return a.room
}

// finish sends what is left, and the end.
func (a *answer) finish() {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	m := a.open()
	switch {
	case !a.sent:
		counted := a.declared < 0 && bodyAllowed(a.status)
		if counted {
			a.declared = int64(len(m.b) - headRoom)
		}
		a.complete(m.b[headRoom:], counted)
		a.sent = true
		a.miscounted()
		n := headRoom - len(m.head)
		if n < 0 { // an uncommonly large head
			m.both = [2][]byte{m.head, m.b[headRoom:]}
			a.writeBoth(m)
			break
		}
		copy(m.b[n:], m.head)
		a.write(m.b[n:])
	case a.chunked:
		m.b = append(m.b, "0\r\n\r\n"...)
		fallthrough
	default:
		a.miscounted()
		a.send(nil)
	}
	a.drop()
}

// miscounted ends the connection after an answer that is not as long as was declared: the client waits for more.
func (a *answer) miscounted() {
	if a.declared >= 0 && a.written != a.declared {
		a.close = true
	}
}

// begin puts the head, of an answer that is not whole yet, and what was held back before it into what is sent next. p is
// what comes then.
func (a *answer) begin(p []byte) {
	a.sent = true
	m := a.open()
	held := m.b[headRoom:]
	if a.declared < 0 && bodyAllowed(a.status) {
		a.chunked = true
	}
	first := held
	if len(first) == 0 {
		first = p
	}
	a.complete(first, false)
	if a.chunked && len(held) > 0 {
		m.head = append(strconv.AppendInt(m.head, int64(len(held)), 16), "\r\n"...)
		m.b = append(m.b, "\r\n"...)
	}
	m.b = slices.Insert(m.b, headRoom, m.head...)
}

// send writes what is put together, and p after it.
func (a *answer) send(p []byte) {
	m := a.room
	if m == nil || len(m.b) == headRoom {
		if len(p) > 0 {
			a.write(p)
		}
		return
	}
	if len(p) == 0 {
		a.write(m.b[headRoom:])
	} else {
		m.both = [2][]byte{m.b[headRoom:], p}
		a.writeBoth(m)
	}
	a.drop()
}

func (a *answer) write(p []byte) {
	if a.err != nil {
		return
	}
	a.limit(len(p))
	if _, a.err = a.c.nc.Write(p); a.err != nil {
		a.at.caller.end()
	}
}

func (a *answer) writeBoth(m *room) {
	if a.err == nil {
		a.limit(len(m.both[0]) + len(m.both[1]))
		m.vec = m.both[:]
		if _, a.err = m.vec.WriteTo(a.c.nc); a.err != nil {
			a.at.caller.end()
		}
	}
	m.both = [2][]byte{}
}

// drop gives the room back: streams are silent for long.
func (a *answer) drop() {
	if m := a.room; m != nil {
		a.room = nil
		if m.b = m.b[:headRoom]; cap(m.b) <= 2*heldBack {
			rooms.Put(m)
		}
	}
}

// compose begins the head in room.head: the status and the handler's fields in the order of their names. What net/http adds
// comes behind them, with complete.
func (a *answer) compose() {
	m, h := a.open(), a.header
	b := append(m.head[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	if text := http.StatusText(a.status); text != "" {
		b = append(append(b, ' '), text...)
	} else {
		b = strconv.AppendInt(append(b, " status code "...), int64(a.status), 10)
	}
	b = append(b, "\r\n"...)
	draining, closes := a.c.s.draining.Load(), false
	keys := m.keys[:0]
	for name, values := range h {
		switch name {
		case "Connection":
			closes = len(values) > 0 && values[0] == "close"
		case "Date":
			a.dated = true
		case "Content-Type":
			a.typed = true
		case "Content-Encoding":
			a.typed = a.typed || len(values) > 0 && values[0] != "" // for what it is no type can be guessed
		}
		keys = append(keys, name)
	}
	a.close = a.close || draining || closes
	a.tellClose = a.close && (draining || !closes) // else the handler says it
	if len(keys) > 1 {
		slices.Sort(keys)
	}
	for _, name := range keys {
		switch {
		case name == "Transfer-Encoding", name == "Trailer", strings.HasPrefix(name, http.TrailerPrefix), name == "Connection" && a.tellClose:
			continue
		case name == "Content-Type" && a.status == http.StatusNotModified, !httpguts.ValidHeaderFieldName(name):
			continue
		}
		for _, v := range h[name] {
			b = append(append(b, name...), ": "...)
			b = append(appendValue(b, v), "\r\n"...)
		}
	}
	clear(keys)
	m.keys, m.head = keys[:0], b
}

// complete ends the head. first is the beginning of the body; counted: it is all of it, and its length is ours to tell.
func (a *answer) complete(first []byte, counted bool) {
	m := a.room
	b := m.head
	if !a.dated {
		b = append(append(append(b, "Date: "...), a.c.date.now()...), "\r\n"...)
	}
	if counted {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), a.declared, 10), "\r\n"...)
	}
	if !a.typed && len(first) > 0 && bodyAllowed(a.status) {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(first)...), "\r\n"...)
	}
	if a.tellClose {
		b = append(b, "Connection: close\r\n"...)
	}
	if a.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	m.head = append(b, "\r\n"...)
}

// appendValue writes a field's value in one line (net/http, headerNewlineToSpace).
func appendValue(b []byte, v string) []byte {
	v = textproto.TrimString(v)
	from := len(b)
	b = append(b, v...)
	if strings.ContainsAny(v, "\r\n") {
		for i := from; i < len(b); i++ {
			if b[i] == '\r' || b[i] == '\n' {
				b[i] = ' '
			}
		}
	}
	return b
}

// date is the time as answers have it, written once a second.
type date struct {
	second int64
	text   []byte
}

func (d *date) now() []byte {
	now := time.Now()
	if s := now.Unix(); s != d.second || d.text == nil {
		d.second, d.text = s, now.UTC().AppendFormat(d.text[:0], http.TimeFormat)
	}
	return d.text
}
