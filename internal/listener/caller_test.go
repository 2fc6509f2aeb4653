package listener

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestAClientThatLeavesEndsTheContext, however somebody waits for it.
func TestAClientThatLeavesEndsTheContext(t *testing.T) {
	ways := map[string]func(context.Context) <-chan struct{}{
		"done": func(ctx context.Context) <-chan struct{} { return ctx.Done() },
		"derived": func(ctx context.Context) <-chan struct{} {
			ctx, cancel := context.WithCancel(ctx)
			_ = cancel
			return ctx.Done()
		},
		"function": func(ctx context.Context) <-chan struct{} {
			done := make(chan struct{})
			context.AfterFunc(ctx, func() { close(done) })
			return done
		},
		"late": func(ctx context.Context) <-chan struct{} {
			time.Sleep(100 * time.Millisecond) // the client has left by now
			return ctx.Done()
		},
	}
	leave := map[string]func(net.Conn){
		"closes":      func(c net.Conn) { c.Close() },
		"resets":      func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() },
		"half closes": func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }, // as net/http has it
	}
	for name, wait := range ways {
		for how, f := range leave {
			for what, request := range map[string]string{"get": "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "post": post("hello")} {
				t.Run(name+" "+how+" "+what, func(t *testing.T) {
					t.Parallel()
					entered, ended := make(chan struct{}), make(chan error, 1)
					s := serve(t, func(w http.ResponseWriter, r *http.Request) {
						done := wait(r.Context()) // before the body is read, too
						_, _ = io.ReadAll(r.Body)
						close(entered)
						select {
						case <-done:
							ended <- r.Context().Err()
						case <-time.After(10 * time.Second):
							ended <- nil
						}
					})
					c := s.dial()
					_, _ = io.WriteString(c, request)
					if name != "late" {
						<-entered
					}
					f(c)
					if err := <-ended; err != context.Canceled {
						t.Errorf("the context says %v", err)
					}
				})
			}
		}
	}
}

// TestTheContextEndsWithTheHandler, and not before, whatever the client sends meanwhile; what it sent is served next.
func TestTheContextEndsWithTheHandler(t *testing.T) {
	kept := make(chan context.Context, 2)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		done := r.Context().Done()
		select {
		case <-done:
			t.Error("ended early")
		case <-time.After(5 * watchAfter):
		}
		kept <- r.Context()
	})
	c := s.dial()
	_, _ = io.WriteString(c, post("a"))
	time.Sleep(3 * watchAfter)
	_, _ = io.WriteString(c, last)
	if b, err := io.ReadAll(c); err != nil || len(b) == 0 {
		t.Errorf("%q %v", b, err)
	}
	for range 2 {
		ctx := <-kept
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Error("goes on after the handler")
		}
		if ctx.Err() != context.Canceled {
			t.Errorf("says %v", ctx.Err())
		}
		select {
		case <-func() chan struct{} {
			done := make(chan struct{})
			context.AfterFunc(ctx, func() { close(done) })
			return done
		}():
		case <-time.After(10 * time.Second):
			t.Error("functions are not run after the end")
		}
	}
}

// TestAClientIsWatchedForAsLongAsItsRequestLasts: after a body that came late, and beyond the limits for heads and idle
// connections.
func TestAClientIsWatchedForAsLongAsItsRequestLasts(t *testing.T) {
	const limit = 100 * time.Millisecond
	for name, pieces := range map[string][]string{
		"body": {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "hello"},
		"none": {"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			read, ended := make(chan struct{}), make(chan error, 1)
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				done := r.Context().Done()
				time.Sleep(8 * watchAfter)
				_, _ = io.ReadAll(r.Body)
				close(read)
				select {
				case <-done:
					ended <- r.Context().Err()
				case <-time.After(10 * time.Second):
					ended <- nil
				}
			}, func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = limit, limit })
			c := s.dial()
			for _, piece := range pieces {
				_, _ = io.WriteString(c, piece)
				time.Sleep(4 * watchAfter)
			}
			<-read
			select {
			case err := <-ended:
				t.Fatalf("ended early: %v", err)
			case <-time.After(3 * limit):
			}
			c.Close()
			if err := <-ended; err != context.Canceled {
				t.Errorf("the context says %v", err)
			}
		})
	}
}

// TestValues: what the gateway asks its requests' contexts for.
func TestValues(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !ok {
			t.Error("no local address")
			return
		}
		_, _ = io.WriteString(w, local.String()+" "+r.RemoteAddr)
		if _, ok := r.Context().Value(http.ServerContextKey).(*http.Server); !ok {
			t.Error("no server")
		}
	})
	c := s.dial()
	_, _ = io.WriteString(c, last)
	b, _ := io.ReadAll(c)
	if want := s.address + " " + c.LocalAddr().String(); len(b) < len(want) || string(b[len(b)-len(want):]) != want {
		t.Errorf("%q, want %q at its end", b, want)
	}
}

// TestAnEndedClientDoesNotHoldItsHandler: writing fails once the client is gone, which ends the context, too.
func TestAnEndedClientDoesNotHoldItsHandler(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		ended := make(chan error, 1)
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			for {
				_, err := w.Write(make([]byte, size))
				if err == nil {
					err = http.NewResponseController(w).Flush()
				}
				if err != nil {
					ended <- r.Context().Err()
					return
				}
			}
		})
		c := s.dial()
		_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
		_, _ = io.ReadFull(c, make([]byte, 1000))
		c.Close()
		if err := <-ended; err != context.Canceled {
			t.Errorf("pieces of %d: the context says %v", size, err)
		}
	}
}
