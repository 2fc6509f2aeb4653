package relay

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// sink is the http.ResponseWriter that answers for an HTTP+SSE client go into: the messages in it, whether it is JSON or
// an event stream, become events of the client's one stream. It is for one goroutine.
type sink struct {
	client   *sseClient
	id       string // raw id of the call that is answered; empty for none
	header   http.Header
	status   int
	events   bool
	body     bytes.Buffer   // of an answer that is one message
	pipe     *io.PipeWriter // to the reader of an event stream
	done     chan struct{}  // closed when that reader ended
	answered bool
	held     budget.Share
}

func newSink(c *sseClient, id string) *sink {
	return &sink{client: c, id: id, header: http.Header{}, held: c.stream.relay.o.Memory.Share()}
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) {
	if s.status != 0 || status < 200 {
		return
	}
	s.status = status
	if id := s.header.Get(wire.HeaderSession); id != "" && status < 300 {
		s.client.keepSession(id) // before the answer goes out: the client's next message may be here at once
	}
	if s.events = mediaType(s.header) == "text/event-stream"; !s.events {
		return
	}
	r, w := io.Pipe()
	s.pipe, s.done = w, make(chan struct{})
	go s.read(r)
}

// Flush is there because streams ask for it; events are written as they come anyway.
func (s *sink) Flush() {
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
}

var errTooLarge = errors.New("answer is too large for one event")

func (s *sink) Write(p []byte) (int, error) {
	s.Flush()
	if s.events {
		return s.pipe.Write(p)
	}
	if s.body.Len()+len(p) > s.client.stream.relay.o.MaxMessage {
		return 0, errTooLarge
	}
	if !s.held.Set(4 * int64(s.body.Len()+len(p))) { // it grows by doubling, and an event is made of it
		return 0, budget.ErrFull
	}
	return s.body.Write(p)
}

// read takes the events of an answer apart. Their ids are not handed on: this transport cannot resume.
func (s *sink) read(r *io.PipeReader) {
	defer close(s.done)
	events := wire.NewEventReader(r, s.client.stream.relay.o.MaxMessage)
	held := s.client.stream.relay.o.Memory.Share()
	defer held.Release()
	events.Hold = func(n int64) bool { return held.Set(2 * n) }
	for {
		ev, err := events.Next()
		if err == nil && len(ev.Data) > 0 {
			err = s.give(ev.Data)
		}
		if err != nil {
			r.CloseWithError(err)
			return
		}
	}
}

// give writes a message on the client's stream.
func (s *sink) give(data []byte) error {
	if s.id != "" && !s.answered && !gjson.GetBytes(data, "method").Exists() {
		data, s.answered = s.answer(data)
	}
	return s.client.stream.write(wire.AppendEvent(nil, "", "message", data), true)
}

// answer reports whether a message is the answer to the call, and returns it with the client's own id. A refusal from
// before the message was read has none of its own.
func (s *sink) answer(message []byte) ([]byte, bool) {
	id := gjson.GetBytes(message, "id").Raw
	if s.status >= 400 && id == "null" {
		id = s.id
		message = withMember(message, "id", id)
	}
	if id == s.id {
		return message, true
	}
	if sameLoosely(id, s.id) {
		if own := withMember(message, "id", s.id); own != nil {
			return own, true
		}
	}
	return message, false
}

// finish ends the answer and tells its status, and whether the call was answered.
func (s *sink) finish() (status int, answered bool) {
	defer s.held.Release()
	body := wire.WithoutMark(s.body.Bytes())
	switch {
	case s.events:
		s.pipe.Close()
		<-s.done
	case s.id != "" && len(body) > 0 && wire.Valid(body):
		if own, ok := s.answer(body); ok {
			s.give(own)
		}
	}
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.status, s.answered
}
