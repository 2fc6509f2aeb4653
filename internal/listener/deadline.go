package listener

import (
	"net/http"
	"time"
)

// bound serves a request that net/http has read, with WriteTime for what is written. http.Server's own WriteTimeout begins
// with the request, and so would end calls and streams that last.
func (s *Server) bound(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor >= 2 {
		// The stream lasts until its client makes room for the answer, and net/http keeps the request for as long. A head of a few
		// bytes on the wire may be a hundred times as large in memory, and many streams are on one connection.
		defer func() { r.Header = nil }()
	}
	if s.WriteTime <= 0 {
		s.handler.ServeHTTP(w, r)
		return
	}
	b := &boundWriter{ResponseWriter: w, rc: http.NewResponseController(w), s: s, lasting: r.ProtoMajor < 2}
	// A deadline over HTTP/2 ends a stream that is merely silent, too. Over HTTP/1 one of the request before may be in force,
	// and end the "100 Continue" that goes out before the body is read.
	if b.lasting {
		b.limit(0)
	}
	s.handler.ServeHTTP(b, r)
	if !b.own {
		b.limit(0) // what net/http still holds back goes out now
	}
}

// boundWriter is a ResponseWriter whose writes are bounded in time.
type boundWriter struct {
	http.ResponseWriter
	rc      *http.ResponseController
	s       *Server
	lasting bool // a deadline does no harm while nothing is written
	own     bool // the handler set one of its own
}

// Unwrap is for http.ResponseController.
func (b *boundWriter) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *boundWriter) limit(n int) {
	_ = b.rc.SetWriteDeadline(time.Now().Add(2*b.s.WriteTime + b.s.writingTime(n)))
}

func (b *boundWriter) begin(n int) (end func()) {
	if b.own {
		return func() {}
	}
	b.limit(n)
	if b.lasting {
		return func() {}
	}
	return func() { _ = b.rc.SetWriteDeadline(time.Time{}) }
}

func (b *boundWriter) Write(p []byte) (int, error) {
	defer b.begin(len(p))()
	return b.ResponseWriter.Write(p)
}

func (b *boundWriter) Flush() { _ = b.FlushError() }

// FlushError is Flush with its error.
func (b *boundWriter) FlushError() error {
	defer b.begin(0)()
	return b.rc.Flush()
}

// SetWriteDeadline replaces the bound until the zero time is set.
func (b *boundWriter) SetWriteDeadline(t time.Time) error {
	b.own = !t.IsZero()
	return b.rc.SetWriteDeadline(t)
}
