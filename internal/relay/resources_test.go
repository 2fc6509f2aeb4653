package relay

import (
	"context"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

func descriptors() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(d)
}

// eventually waits for what takes a moment to come true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never came true: " + what)
		}
	}
}

// TestA34_AbandonedSessionsLeaveNothing: without leave in stream.close the streams stay, without expire the bridges.
func TestA34_AbandonedSessionsLeaveNothing(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 30
	}
	for _, transport := range []registry.Transport{registry.Streamable, registry.SSE} {
		t.Run(string(transport), func(t *testing.T) {
			var url string
			var forget func()
			if transport == registry.SSE {
				b := newSSEBackend(t)
				b.auto, b.closed = true, make(chan bool, 2*n)
				url, forget = b.URL, b.CloseClientConnections
			} else {
				var id atomic.Int32
				s := backend(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet {
						quietStream(w, r)
						return
					}
					w.Header().Set(wire.HeaderSession, string(rune('a'+id.Add(1))))
				})
				url, forget = s.URL, s.CloseClientConnections
			}
			f := newFront(t, url, transport, Options{SessionIdle: 300 * time.Millisecond}, nil)
			f.session(t)
			goroutines, files := runtime.NumGoroutine(), descriptors()
			for range n / 10 {
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						h := f.session(t)
						ctx, cancel := context.WithCancel(t.Context())
						resp := start(t, ctx, "GET", f.URL, "", h)
						cancel() // without DELETE, without a word
						io.Copy(io.Discard, resp.Body)
					})
				}
				wg.Wait()
			}
			eventually(t, "all streams are gone", func() bool {
				f.relay.mu.Lock()
				defer f.relay.mu.Unlock()
				return len(f.relay.streams) == 0
			})
			eventually(t, "all bridges are gone", func() bool {
				f.relay.bridges.mu.Lock()
				defer f.relay.bridges.mu.Unlock()
				return f.relay.bridges.places.len() == 0
			})
			forget()
			eventually(t, "goroutines and descriptors are at the baseline", func() bool {
				return runtime.NumGoroutine() <= goroutines+8 && descriptors() <= files+8
			})
		})
	}
}

// session opens a session without the test's own checks.
func (f *front) session(t testing.TB) http.Header {
	req, _ := http.NewRequestWithContext(t.Context(), "POST", f.URL, strings.NewReader(initBody))
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return nil
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return http.Header{wire.HeaderSession: resp.Header[wire.HeaderSession]}
}

// TestLargeResultsStream: holding the answer, as filterAnswer does, allocates several times its size.
func TestLargeResultsStream(t *testing.T) {
	const size = 10 << 20
	chunk := []byte(strings.Repeat("x", 64<<10))
	for _, typ := range []string{"application/json", "text/event-stream"} {
		s := backend(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typ)
			io.WriteString(w, "data: ")
			for range size / len(chunk) {
				w.Write(chunk)
			}
			io.WriteString(w, "\n\n")
		})
		f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
		do(t, "POST", f.URL, callBody, nil)
		resp := start(t, t.Context(), "POST", f.URL, callBody, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := io.Copy(io.Discard, resp.Body)
		runtime.ReadMemStats(&after)
		if err != nil || n != size+8 {
			t.Errorf("%s: got %d bytes, %v", typ, n, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > size/4 {
			t.Errorf("%s: allocated %d KiB to pass %d on", typ, got>>10, size>>10)
		}
	}
}

func TestClientsThatDoNotReadAreGivenUp(t *testing.T) {
	gone := make(chan bool, 1)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte("data: " + strings.Repeat("x", 32<<10) + "\n\n")); err != nil {
				break
			}
		}
		gone <- true
	})
	f := newFront(t, s.URL, registry.Streamable, Options{StreamIdle: 200 * time.Millisecond}, nil)
	start(t, t.Context(), "GET", f.URL, "", nil)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the backend still sends to a client that does not read")
	}
}

func TestPinnedInstances(t *testing.T) {
	handler := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(wire.HeaderSession) == "" {
				w.Header().Set(wire.HeaderSession, "of-"+name)
			}
			io.WriteString(w, name)
		}
	}
	one, two := backend(t, handler("one")), backend(t, handler("two"))
	var update func([]upstream.Instance)
	all := []upstream.Instance{instance(one.URL), instance(two.URL)}
	f := newFrontOn(t, upstream.Options{Subscribe: func(_ registry.BackendRef, u func([]upstream.Instance)) (func(), error) {
		update = u
		u(all)
		return func() {}, nil
	}}, registry.Backend{Ref: &registry.BackendRef{Group: "g", Service: "s", Scheme: "http"}, Path: "/mcp"}, registry.Streamable, Options{}, nil)
	resp, where := do(t, "POST", f.URL, initBody, nil)
	h := http.Header{wire.HeaderSession: resp.Header[wire.HeaderSession]}
	for range 10 {
		if _, got := do(t, "POST", f.URL, callBody, h); got != where {
			t.Fatalf("a session of %s went to %s", where, got)
		}
	}
	t.Run("an instance that no longer answers", func(t *testing.T) {
		if where == "one" {
			one.Close()
		} else {
			two.Close()
		}
		// A call on a connection that breaks may have arrived: that is said, not guessed at. No later one is.
		eventually(t, "the session is lost", func() bool {
			resp, body := do(t, "POST", f.URL, callBody, h)
			if resp.StatusCode != 404 && resp.StatusCode != 502 {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			return resp.StatusCode == 404 && strings.Contains(body, "send initialize")
		})
		if resp, body := do(t, "POST", f.URL, initBody, nil); resp.StatusCode != 200 || body == where {
			t.Errorf("a new session: got %d %s", resp.StatusCode, body)
		}
	})
	t.Run("an instance that left the list", func(t *testing.T) {
		update(nil)
		if resp, _ := do(t, "POST", f.URL, callBody, h); resp.StatusCode != 404 {
			t.Errorf("got %d", resp.StatusCode)
		}
		if resp, body := do(t, "POST", f.URL, initBody, nil); resp.StatusCode != 502 || !strings.Contains(body, "no healthy instance") {
			t.Errorf("a new session: got %d %s", resp.StatusCode, body)
		}
	})
}

func TestSSEClientsOfUnknownSessions(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the backend was called") })
	f := newFront(t, s.URL, registry.Streamable, Options{Sessions: 1}, nil)
	if resp, _ := do(t, "POST", f.URL+"/sse?session=none", callBody, nil); resp.StatusCode != 404 {
		t.Errorf("got %d", resp.StatusCode)
	}
	stream := start(t, t.Context(), "GET", f.URL+"/sse", "", nil)
	endpoint := readEvent(t, wire.NewEventReader(stream.Body, 1<<10))
	if resp, _ := do(t, "GET", f.URL+"/sse", "", nil); resp.StatusCode != 429 {
		t.Errorf("a client too many: got %d", resp.StatusCode)
	}
	stream.Body.Close()
	eventually(t, "the session is gone and makes room", func() bool {
		return start(t, t.Context(), "GET", f.URL+"/sse", "", nil).StatusCode == 200
	})
	if resp, _ := do(t, "POST", f.URL+endpoint, callBody, nil); resp.StatusCode != 404 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestSSEClientsGetAnAnswerToEveryCall(t *testing.T) {
	status := http.StatusBadGateway
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case http.MethodPost:
			w.WriteHeader(status)
			io.WriteString(w, "no JSON")
		}
	})
	f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
	stream := start(t, t.Context(), "GET", f.URL+"/sse", "", nil)
	r := wire.NewEventReader(stream.Body, 1<<10)
	endpoint := readEvent(t, r)
	for _, status = range []int{502, 400, 200, 204} {
		if resp, _ := do(t, "POST", f.URL+endpoint, callBody, nil); resp.StatusCode != 202 {
			t.Errorf("got %d", resp.StatusCode)
		}
		if got := readEvent(t, r); !strings.Contains(got, `"id":7,"error"`) {
			t.Errorf("%d: got %s", status, got)
		}
	}
}
