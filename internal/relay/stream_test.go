package relay

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

func TestEventsArriveWhenTheyAreSent(t *testing.T) {
	for name, change := range map[string]func(*Exchange){"unrestricted": nil, "restricted": onlyA} {
		t.Run(name, func(t *testing.T) {
			next := make(chan string)
			s := backend(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				w.(http.Flusher).Flush()
				for {
					select {
					case m := <-next:
						io.WriteString(w, "data: "+m+"\n\n")
						w.(http.Flusher).Flush()
					case <-r.Context().Done():
						return
					}
				}
			})
			f := newFront(t, s.URL, registry.Streamable, Options{}, change)
			resp := start(t, t.Context(), "GET", f.URL, "", nil)
			if resp.Header.Get("X-Accel-Buffering") != "no" {
				t.Error("X-Accel-Buffering is missing")
			}
			r := bufio.NewReader(resp.Body)
			for _, m := range []string{`{"a":1}`, `{"a":2}`} {
				next <- m
				line, err := r.ReadString('\n')
				r.ReadString('\n')
				if err != nil || line != "data: "+m+"\n" {
					t.Fatalf("got %q, %v", line, err)
				}
			}
			resp.Body.Close()
			<-f.outcomes
		})
	}
}

// readEvent gives the next event that is no comment.
func readEvent(t testing.TB, r *wire.EventReader) string {
	t.Helper()
	for {
		ev, err := r.Next()
		if err != nil {
			t.Fatal("read event:", err)
		}
		if !ev.Comment {
			return string(ev.Data)
		}
	}
}

func quietStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func TestChangedToolsAreToldOnOpenStreams(t *testing.T) {
	s := backend(t, quietStream)
	f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
	get := wire.NewEventReader(start(t, t.Context(), "GET", f.URL, "", nil).Body, 1<<20)
	listen := wire.NewEventReader(start(t, t.Context(), "POST", f.URL,
		`{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`, nil).Body, 1<<20)
	f.toolsChanged(func(c Caller) bool { return c.Service == "other" || c.Consumer == "bob" })
	f.toolsChanged(func(c Caller) bool { return c.Service == "svc" && c.Consumer == "alice" })
	if got, want := readEvent(t, get), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`; got != want {
		t.Errorf("got %s", got)
	}
	if got := readEvent(t, listen); !strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":"sub"`) {
		t.Errorf("got %s", got)
	}
}

func TestNoticesDoNotBreakIntoEvents(t *testing.T) {
	more := make(chan bool)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"half\":")
		w.(http.Flusher).Flush()
		for _, part := range []string{"1", "}\n", "\n"} {
			<-more
			io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	f := newFront(t, s.URL, registry.Streamable, Options{KeepAlive: time.Millisecond}, nil)
	resp := start(t, t.Context(), "GET", f.URL, "", nil)
	b := make([]byte, 14)
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		t.Fatal(err)
	}
	f.toolsChanged(func(Caller) bool { return true })
	for range 3 {
		time.Sleep(20 * time.Millisecond)
		more <- true
	}
	r := wire.NewEventReader(io.MultiReader(bytes.NewReader(b), resp.Body), 1<<20)
	if got := readEvent(t, r); got != `{"half":1}` {
		t.Errorf("got %s", got)
	}
	if got := readEvent(t, r); !strings.Contains(got, "list_changed") {
		t.Errorf("got %s", got)
	}
}

func TestQuietStreamsGetComments(t *testing.T) {
	s := backend(t, quietStream)
	f := newFront(t, s.URL, registry.Streamable, Options{KeepAlive: 5 * time.Millisecond}, nil)
	resp := start(t, t.Context(), "GET", f.URL, "", nil)
	b := make([]byte, 2*len(keepAlive))
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != string(keepAlive)+string(keepAlive) {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestCutStreamsEndInOrder(t *testing.T) {
	gone := make(chan bool, 10)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { quietStream(w, r); gone <- true })
	f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
	ends := []func(){
		func() { f.endAccess("alice") },
		f.relay.Close,
	}
	for i, end := range ends {
		resp := start(t, t.Context(), "GET", f.URL, "", nil)
		end()
		if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 0 {
			t.Errorf("%d: got %q, %v", i, b, err)
		}
		<-gone
	}
}

// TestA35_CallersThatLeaveFreeTheBackend: with context.Background() in direct the backend waits for ever.
func TestA35_CallersThatLeaveFreeTheBackend(t *testing.T) {
	arrived, gone := make(chan bool, 1), make(chan bool, 1)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("stream") {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
		}
		arrived <- true
		<-r.Context().Done()
		gone <- true
	})
	for _, query := range []string{"", "?stream"} {
		f := newFront(t, s.URL+query, registry.Streamable, Options{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		req, _ := http.NewRequestWithContext(ctx, "POST", f.URL, strings.NewReader(callBody))
		if resp, err := client.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("the backend is still working")
		}
	}
}
