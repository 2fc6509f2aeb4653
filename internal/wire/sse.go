package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrEventTooLarge says that an event did not end within the reader's limit. The stream cannot be read further.
var ErrEventTooLarge = errors.New("read event: larger than the limit")

// ErrNoRoom says that Hold refused the memory for an event. The stream cannot be read further.
var ErrNoRoom = errors.New("read event: no memory for it")

// Event is one block of an event stream, up to and with the empty line that ends it. Its slices are valid until the next
// call of Next.
type Event struct {
	ID    []byte // of an id line in this block; nil if there is none or its value holds a NUL
	Name  []byte // of the event line; nil means "message"
	Data  []byte // data lines joined with line feeds; nil if there is none
	Retry []byte // digits of a retry line; nil if there is none
	Raw   []byte // the bytes as they came
	// Comment tells that the block has no fields, only comments or nothing: a keep-alive, to be passed on at once.
	Comment bool
}

const (
	eventRoom    = 4 << 10  // what an idle stream holds
	eventRoomMax = 64 << 10 // what is given back after a large event
)

// EventReader cuts an event stream into events as the WHATWG HTML standard (9.2.6) reads them: lines end with CR LF, LF or
// CR; a byte order mark may begin the stream; a block that the stream's end cuts off is dropped. Memory is bounded by the
// largest allowed event. It is not for concurrent use.
type EventReader struct {
	// Hold, if not nil, is asked before the reader holds more than 64 KiB, and told when it holds less again: with all the
	// bytes that it then holds at most. It reports whether they may be held. It is to be set before the first Next.
	Hold func(bytes int64) bool

	r     io.Reader
	max   int
	buf   []byte
	start int // where the current block begins in buf
	line  int // where the current line begins
	scan  int // how far the current line was searched for its end
	end   int // how much of buf is filled
	data  []byte
	err   error // of the reader, given when the buffered events are used up

	begun  bool // the byte order mark, if any, is behind us
	skipLF bool // the last line ended with CR: a line feed here belongs to it
	text   int  // where the current block's own lines begin: behind a byte order mark or a late line feed
}

// NewEventReader reads events of at most maxEvent bytes from r. Where a block ends with CR, Next does not wait for the line
// feed that may follow; it then begins the next Raw, so that the concatenation of all Raw is always the stream.
func NewEventReader(r io.Reader, maxEvent int) *EventReader {
	return &EventReader{r: r, max: maxEvent}
}

// Next gives the next event. Blocks without data come too, as they carry ids and keep-alives. Errors: io.EOF at the end,
// ErrEventTooLarge, or the reader's own.
func (e *EventReader) Next() (Event, error) {
	e.begin()
	for {
		empty, found := e.nextLine()
		switch {
		case empty && e.line-e.start > e.max:
			e.err = ErrEventTooLarge
			e.end = e.start
			return Event{}, e.err
		case empty:
			ev := e.parse(e.buf[e.text:e.line])
			ev.Raw = e.buf[e.start:e.line:e.line]
			e.start = e.line
			return ev, nil
		case found:
			continue
		}
		if err := e.fill(); err != nil {
			return Event{}, err
		}
	}
}

// Faults of an event stream that ends without an empty line behind its last event. Readers drop such an event (HTML standard,
// 9.2.6).
var (
	// ErrUnended says that the event is a whole message nevertheless.
	ErrUnended = errors.New("no blank line follows the last event of the stream")
	// ErrCutEvent says that it is none. It wraps ErrUnended.
	ErrCutEvent = fmt.Errorf("%w, which is cut", ErrUnended)
)

// Rest returns, once Next returned io.EOF, the event within which the stream ended. The error is nil if nothing was lost,
// ErrUnended if the event's data is a whole JSON object or array (its Raw then has the empty line that was missing), and
// ErrCutEvent otherwise.
func (e *EventReader) Rest() (Event, error) {
	if e.start == e.end {
		return Event{}, nil
	}
	ev := e.parse(e.buf[e.text:e.end])
	switch data := bytes.TrimLeft(WithoutMark(ev.Data), " \t\r\n"); {
	case ev.Comment, ev.Data == nil && ev.Name == nil && (ev.ID != nil || ev.Retry != nil):
		return Event{}, nil
	case len(data) == 0 || data[0] != '{' && data[0] != '[' || !Valid(data):
		return Event{}, ErrCutEvent
	}
	// Where the last byte is a CR, the first line feed belongs to it.
	ev.Raw = append(e.buf[e.start:e.end:e.end], "\n\n"...)
	return ev, ErrUnended
}

// begin gives back the memory of a large event.
func (e *EventReader) begin() {
	if cap(e.data) > eventRoomMax {
		e.data = nil
	}
	if e.start == e.end {
		e.start, e.line, e.scan, e.end = 0, 0, 0, 0
		if len(e.buf) > eventRoomMax {
			e.buf = nil
			if e.Hold != nil {
				e.Hold(0)
			}
		}
	}
	e.text = e.start
}

// nextLine finds the end of a line in the buffer. found: there is one; empty: it is the one that ends the block.
func (e *EventReader) nextLine() (empty, found bool) {
	if e.skipLF && e.line < e.end {
		e.skipLF = false
		if e.buf[e.line] == '\n' {
			e.skip(1)
		}
	}
	if !e.begun && !e.mark() {
		return false, false
	}
	n := lineEnd(e.buf[e.scan:e.end])
	if n < 0 {
		e.scan = e.end
		return false, false
	}
	n += e.scan
	empty = n == e.line
	next := n + 1
	if e.buf[n] == '\r' {
		if next < e.end && e.buf[next] == '\n' {
			next++
		} else {
			e.skipLF = next == e.end
		}
	}
	e.line, e.scan = next, next
	return empty, true
}

// skip passes over bytes before a line; before the first one they are none of the block's text.
func (e *EventReader) skip(n int) {
	if e.text == e.line {
		e.text += n
	}
	e.line += n
	e.scan = max(e.scan, e.line)
}

// mark skips a byte order mark at the very beginning; false means that too little has come to tell.
func (e *EventReader) mark() bool {
	const bom = "\xef\xbb\xbf"
	head := e.buf[:min(e.end, len(bom))]
	if len(head) < len(bom) && e.err == nil && string(head) == bom[:len(head)] {
		return false
	}
	e.begun = true
	if string(head) == bom {
		e.skip(len(bom))
	}
	return true
}

// lineEnd finds the first CR or LF.
func lineEnd(b []byte) int {
	const step = 4 << 10 // bounds how far a stream whose lines end in CR alone is searched for line feeds in vain
	for from := 0; from < len(b); from += step {
		part := b[from:min(from+step, len(b))]
		n := bytes.IndexByte(part, '\n')
		if n >= 0 {
			part = part[:n]
		}
		if r := bytes.IndexByte(part, '\r'); r >= 0 {
			return from + r
		}
		if n >= 0 {
			return from + n
		}
	}
	return -1
}

// cutLine gives the first line of b without its end, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	n := lineEnd(b)
	if n < 0 {
		return b, nil
	}
	rest = b[n+1:]
	if b[n] == '\r' && len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return b[:n:n], rest
}

// cutField gives the name and the value of a line; comments have no name.
func cutField(line []byte) (name, value []byte) {
	n := bytes.IndexByte(line, ':')
	if n < 0 {
		return line, nil
	}
	name, value = line[:n], line[n+1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return name, value
}

// parse reads the lines of a whole block.
func (e *EventReader) parse(block []byte) Event {
	ev := Event{Comment: true}
	lines := 0
	for len(block) > 0 {
		var line []byte
		line, block = cutLine(block)
		name, value := cutField(line)
		if len(name) == 0 {
			continue
		}
		ev.Comment = false
		switch string(name) {
		case "data":
			switch lines++; lines {
			case 1:
				ev.Data = emptyNotNil(value)
				continue
			case 2:
				e.data = append(e.data[:0], ev.Data...)
			}
			e.data = append(append(e.data, '\n'), value...)
			ev.Data = e.data
		case "event":
			ev.Name = emptyNotNil(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.ID = emptyNotNil(value)
			}
		case "retry":
			if len(value) > 0 && digits(value, 0) == len(value) {
				ev.Retry = value
			}
		}
	}
	return ev
}

func emptyNotNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// fill reads more, making room first.
func (e *EventReader) fill() error {
	if e.err != nil {
		return e.err
	}
	if e.end-e.start > e.max {
		e.err = ErrEventTooLarge
		return e.err
	}
	if e.end == len(e.buf) && !e.room() {
		e.err = ErrNoRoom
		return e.err
	}
	for range 100 { // as bufio does with readers that give nothing and no error
		n, err := e.r.Read(e.buf[e.end:])
		e.end += n
		e.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	e.err = io.ErrNoProgress
	return e.err
}

// room moves the current block to the front, or doubles the buffer if that gains too little. It reports false where Hold
// refuses.
func (e *EventReader) room() bool {
	held := e.buf[e.start:e.end]
	if len(held) > len(e.buf)/2 || len(e.buf) == 0 {
		n := min(max(eventRoom, 2*len(e.buf)), e.max+eventRoom)
		if n > eventRoomMax && e.Hold != nil && !e.Hold(2*int64(n)) { // twice: data of several lines is joined
			return false
		}
		e.buf = make([]byte, n)
	}
	copy(e.buf, held)
	e.text, e.line, e.scan, e.end = e.text-e.start, e.line-e.start, e.scan-e.start, e.end-e.start
	e.start = 0
	return true
}
