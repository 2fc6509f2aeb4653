// Package listener serves HTTP to clients. Plain HTTP/1.1 requests, nearly all, are read, served and answered in the
// goroutine of their connection; a connection that brings anything else is net/http's from then on.
// It must never take a request that net/http would refuse, nor read one otherwise than net/http does.
package listener

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is an http.Server that serves plain HTTP/1.1 requests itself: net/http starts a goroutine with every request, to
// see a client leave, and makes some twenty objects of it. Make one with New.
//
// A handler must not use a Request's Header, nor its ResponseWriter or Body, after it has returned: their memory serves the
// connection's next request.
type Server struct {
	// WriteTime is how long a client may leave what was sent to it unread before its connection is ended: between once and
	// twice that, and what the bytes take at SlowestRead on top. Handlers that set a deadline of their own, such as those of
	// streams, are not bound by it. 0: no bound. It is to be set before Serve.
	WriteTime time.Duration

	http    *http.Server
	handler http.Handler
	slowest time.Duration // SlowestRead, but in tests

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners []net.Listener
	closed    bool
	draining  atomic.Bool
	running   sync.WaitGroup // connections
}

// New gives a Server with the handler, limits, protocols and log of h, which takes what is not plain. Of its limits,
// ReadHeaderTimeout, IdleTimeout, MaxHeaderBytes and ErrorLog count; ReadTimeout, WriteTimeout, ConnContext, ConnState and
// BaseContext must not be set.
func New(h *http.Server) *Server {
	s := &Server{http: h, handler: h.Handler, slowest: SlowestRead, conns: map[*conn]struct{}{}}
	h.Handler = http.HandlerFunc(s.bound)
	return s
}

// SlowestRead is the least rate, in bytes a second, at which a client has to read a large answer.
const SlowestRead = 64 << 10

// Serve takes connections from l until Shutdown or Close. The error is never nil.
func (s *Server) Serve(l net.Listener) error {
	if !native {
		return s.http.Serve(l)
	}
	rest := newHandover(l.Addr())
	if !s.listen(l) {
		l.Close()
		return http.ErrServerClosed
	}
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(rest) }()
	err := s.accept(l, rest)
	rest.Close()
	<-ended
	return err
}

// ServeTLS is net/http's alone: its connections are negotiated, and their cost is that of TLS.
func (s *Server) ServeTLS(l net.Listener, cert, key string) error {
	return s.http.ServeTLS(l, cert, key)
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners = append(s.listeners, l)
	return true
}

func (s *Server) accept(l net.Listener, rest *handover) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.begin(nc, rest)
		case s.draining.Load():
			return http.ErrServerClosed
		case isTemporary(err): // too many descriptors, most likely: they come free
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logf("http: Accept error: %v; retrying in %v", err, pause)
			time.Sleep(pause)
		default:
			return err
		}
	}
}

// isTemporary: what net/http's Serve goes on after.
func isTemporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

func (s *Server) begin(nc net.Conn, rest *handover) {
	c, err := newConn(s, nc, rest)
	if err != nil { // no descriptor of its own
		rest.give(nc)
		return
	}
	s.mu.Lock()
	if s.closed || s.draining.Load() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	go c.serve()
}

// leave forgets a connection that ended, or that net/http has now.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// Shutdown takes no new connections, closes idle ones and waits for those at work, as http.Server's does. The error is that
// of ctx where it ended first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(func(c *conn) {
		if c.state.CompareAndSwap(stateIdle, stateClosed) {
			c.nc.Close()
		}
	})
	err := s.http.Shutdown(ctx)
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return err
}

// Close ends all connections at once.
func (s *Server) Close() error {
	s.stop(func(c *conn) { c.nc.Close() })
	return s.http.Close()
}

// stop ends listening and has every connection end.
func (s *Server) stop(end func(*conn)) {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		end(c)
	}
}

func (s *Server) logf(format string, args ...any) {
	if s.http.ErrorLog != nil {
		s.http.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}
