package relay

import (
	"bytes"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// framing follows an event stream that is handed on unread, to know where something may be put between two events.
type framing struct {
	inLine bool // the current line has content
	event  bool // the current event has lines
	lost   bool // some of which a client would miss: more than comments, ids and retry
	last   byte // last visible byte of its data
	cr     bool // the last byte was a CR: a LF belongs to it
	ids    bool // an event had an id, so that the client can resume
	head   byte // first byte of the current line
	second byte
	length int
}

// between tells whether the stream stands between two events.
func (f *framing) between() bool { return !f.inLine && !f.event }

// rest returns what a stream that ends here ends within, as wire.EventReader.Rest does, though it judges by the data's last
// byte: it has not kept the event.
func (f *framing) rest() error {
	switch {
	case !f.lost && !f.missed():
		return nil
	case f.last == '}' || f.last == ']':
		return wire.ErrUnended
	}
	return wire.ErrCutEvent
}

// missed reports whether the current line holds what a client would miss.
func (f *framing) missed() bool { return f.inLine && f.head != ':' && f.head != 'i' && f.head != 'r' }

func (f *framing) feed(p []byte) {
	for len(p) > 0 {
		if f.cr {
			f.cr = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		n := bytes.IndexByte(p, '\n')
		line := p
		if n >= 0 {
			line = p[:n]
		}
		if r := bytes.IndexByte(line, '\r'); r >= 0 {
			n, line, f.cr = r, p[:r], true
		}
		f.text(line)
		if n < 0 {
			return
		}
		f.endLine()
		p = p[n+1:]
	}
}

// text takes a part of a line.
func (f *framing) text(b []byte) {
	if len(b) == 0 {
		return
	}
	f.inLine = true
	for i := 0; i < len(b) && f.length < 3; i++ {
		switch f.length {
		case 0:
			f.head = b[i]
		case 1:
			f.second = b[i]
		case 2:
			f.ids = f.ids || f.head == 'i' && f.second == 'd' && b[i] == ':'
		}
		f.length++
	}
	if f.head == 'd' || f.head == "\ufeff"[0] {
		if b = bytes.TrimRight(b, " \t"); len(b) > 0 {
			f.last = b[len(b)-1]
		}
	}
}

func (f *framing) endLine() {
	f.event = f.inLine // an empty line ends the event
	f.lost = f.event && (f.lost || f.missed())
	if !f.event {
		f.last = 0
	}
	f.inLine, f.length = false, 0
}
