package relay

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// sseBackend is an HTTP+SSE backend made by hand: what is posted comes out of posts, what is sent goes on the stream.
type sseBackend struct {
	*httptest.Server
	endpoint string // of the endpoint event; empty: as it should be
	before   string // what comes on the stream before that
	posts    chan string
	headers  chan http.Header
	closed   chan bool // a stream ended
	status   func(body string) int
	refusal  string // body of a status that is an error
	auto     bool   // every message is answered like initialize, and not reported

	mu      sync.Mutex
	streams []chan string
	query   string // of the newest POST
}

func newSSEBackend(t testing.TB) *sseBackend {
	b := &sseBackend{posts: make(chan string, 100), headers: make(chan http.Header, 100), closed: make(chan bool, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(func() { b.CloseClientConnections(); b.Server.Close() })
	return b
}

func (b *sseBackend) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.query = r.URL.RawQuery
		b.mu.Unlock()
		status := http.StatusAccepted
		if b.status != nil {
			status = b.status(string(body))
		}
		w.WriteHeader(status)
		if status >= 400 {
			io.WriteString(w, b.refusal)
		}
		if b.auto {
			n, _ := strconv.Atoi(r.URL.Query().Get("session"))
			b.mu.Lock()
			b.streams[n-1] <- initAnswer
			b.mu.Unlock()
			return
		}
		if status < 300 {
			b.headers <- r.Header.Clone()
			b.posts <- string(body)
		}
		return
	}
	out := make(chan string, 100)
	b.mu.Lock()
	b.streams = append(b.streams, out)
	n := len(b.streams)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	endpoint := b.endpoint
	if endpoint == "" {
		endpoint = fmt.Sprintf("messages?session=%d", n)
	}
	fmt.Fprintf(w, "%s: hi\n\nevent: endpoint\ndata: %s\n\n", b.before, endpoint)
	w.(http.Flusher).Flush()
	defer func() { b.closed <- true }()
	for {
		select {
		case m := <-out:
			if m == "" {
				return
			}
			if bytes, ok := strings.CutPrefix(m, last); ok {
				io.WriteString(w, bytes)
				return
			}
			fmt.Fprintf(w, "event: message\ndata: %s\n\n", m)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// last, before what is sent, makes it the stream's last bytes, as they are.
const last = "last: "

// send puts a message on the newest stream; "" ends it.
func (b *sseBackend) send(m string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[len(b.streams)-1] <- m
}

const initAnswer = `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2024-11-05","capabilities":{},"instructions":"i","serverInfo":{"name":"x","version":"1"}}}`

// begin opens a session and gives the header that carries it.
func (b *sseBackend) begin(t testing.TB, f *front) http.Header {
	t.Helper()
	go func() { <-b.posts; <-b.headers; b.send(initAnswer) }()
	resp, body := do(t, "POST", f.URL, initBody, nil)
	if resp.StatusCode != 200 || resp.Header.Get(wire.HeaderSession) == "" {
		t.Fatalf("initialize: %d %s", resp.StatusCode, body)
	}
	return http.Header{wire.HeaderSession: resp.Header[wire.HeaderSession]}
}

func TestBridgedBytesAndIds(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL+"/sse", registry.SSE, Options{}, nil)
	h := b.begin(t, f)
	h["Traceparent"], h["Mcp-Protocol-Version"], h["Cookie"] = []string{"00"}, []string{"2024-11-05"}, []string{"c=1"}
	const sent = `{"jsonrpc":"2.0" ,"id":9007199254740993.5,"method":"tools/call","params":{"name":"a","x":"\/"}}`
	const answer = `{"id":9007199254740993.5, "jsonrpc":"2.0","result":{"u":9007199254740993,"\u0061":"\/"}}`
	go func() {
		if got := <-b.posts; got != sent {
			t.Errorf("backend got %s", got)
		}
		b.send(`{"jsonrpc":"2.0","id":"other","result":{}}`)
		b.send(answer)
	}()
	resp, got := do(t, "POST", f.URL, sent, h)
	if got != answer || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("client got %s", got)
	}
	backendHeader := <-b.headers
	for _, name := range []string{"Mcp-Session-Id", "Cookie", "Traceparent"} {
		if backendHeader.Get(name) != "" {
			t.Errorf("backend got %s", name)
		}
	}
	resp, _ = do(t, "DELETE", f.URL, "", h)
	if resp.StatusCode != 204 {
		t.Errorf("delete: %d", resp.StatusCode)
	}
	<-b.closed
	for _, method := range []string{"POST", "GET", "DELETE"} {
		body := ""
		if method == "POST" {
			body = callBody
		}
		if resp, _ := do(t, method, f.URL, body, h); resp.StatusCode != 404 {
			t.Errorf("%s after delete: %d", method, resp.StatusCode)
		}
	}
}

// Seen to fail with nothing but 404 and 410 taken for it in bridge.refused.
func TestBridgedSessionsThatBackendsForgot(t *testing.T) {
	for _, c := range []struct {
		refusal string
		want    int
	}{{"No transport found for sessionId", 404}, {"Invalid session ID", 404}, {"no such argument", 400}} {
		b := newSSEBackend(t)
		f := newFront(t, b.URL, registry.SSE, Options{}, nil)
		h := b.begin(t, f)
		b.status, b.refusal = func(string) int { return 400 }, c.refusal
		resp, body := do(t, "POST", f.URL, callBody, h)
		if lost := strings.Contains(body, "send initialize"); resp.StatusCode != c.want || lost != (c.want == 404) {
			t.Errorf("%s: got %d %s", c.refusal, resp.StatusCode, body)
		}
	}
}

func TestBridgedMessagesWithoutCall(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL, registry.SSE, Options{}, nil)
	h := b.begin(t, f)
	b.send(`{"jsonrpc":"2.0","method":"early"}`)
	time.Sleep(20 * time.Millisecond)
	stream := start(t, t.Context(), "GET", f.URL, "", h)
	r := wire.NewEventReader(stream.Body, 1<<20)
	if got := readEvent(t, r); !strings.Contains(got, "early") {
		t.Errorf("got %s", got)
	}
	// The newest stream counts: the client may have lost the first without the proxy's knowing.
	ctx, leave := context.WithCancel(t.Context())
	second := start(t, ctx, "GET", f.URL, "", h)
	b.send(`{"jsonrpc":"2.0","method":"for the second"}`)
	if got := readEvent(t, wire.NewEventReader(second.Body, 1<<20)); !strings.Contains(got, "for the second") {
		t.Errorf("on the second stream: %s", got)
	}
	leave()
	eventually(t, "the second stream is gone", func() bool {
		b := f.bridge(t, h)
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.streams) == 1
	})
	b.send(`{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}`)
	if got := readEvent(t, r); !strings.Contains(got, "elicitation/create") {
		t.Errorf("got %s", got)
	}
	// The client's answer to it goes back.
	if resp, _ := do(t, "POST", f.URL, `{"jsonrpc":"2.0","id":5,"result":{"action":"accept"}}`, h); resp.StatusCode != 202 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if got := <-b.posts; got != `{"jsonrpc":"2.0","id":5,"result":{"action":"accept"}}` {
		t.Errorf("backend got %s", got)
	}
	// Without a stream, requests of the server go to the call that is waiting.
	stream.Body.Close()
	for f.bridge(t, h).hasStream() {
		time.Sleep(time.Millisecond)
	}
	call := start(t, t.Context(), "POST", f.URL, callBody, nil2(h, func() {
		<-b.posts
		b.send(`{"jsonrpc":"2.0","id":6,"method":"roots/list"}`)
		b.send(`{"jsonrpc":"2.0","id":7,"result":{}}`)
	}))
	r = wire.NewEventReader(call.Body, 1<<20)
	if got := readEvent(t, r); !strings.Contains(got, "roots/list") {
		t.Errorf("got %s", got)
	}
	if got := readEvent(t, r); got != `{"jsonrpc":"2.0","id":7,"result":{}}` {
		t.Errorf("got %s", got)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the answer: %v", err)
	}
}

// nil2 starts f aside and gives h: what the backend does while a request is under way.
func nil2(h http.Header, f func()) http.Header { go f(); return h }

func (f *front) bridge(t testing.TB, h http.Header) *bridge {
	t.Helper()
	s, err := f.sealer.Open(h.Get(wire.HeaderSession))
	if err != nil {
		t.Fatal(err)
	}
	return f.relay.bridges.get(s.Backend)
}

func (b *bridge) hasStream() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.streams) > 0
}

func TestBridgedListsAreFiltered(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL, registry.SSE, Options{}, onlyA)
	go func() { <-b.posts; b.send(initAnswer) }()
	resp, body := do(t, "POST", f.URL, initBody, nil)
	if strings.Contains(body, "instructions") {
		t.Errorf("got %s", body)
	}
	h := http.Header{wire.HeaderSession: resp.Header[wire.HeaderSession]}
	_, body = do(t, "POST", f.URL, listBody, nil2(h, func() {
		<-b.posts
		b.send(`{"jsonrpc":"2.0","id":8,"result":{"tools":[{"name":"a"},{"name":"b"}]}}`)
	}))
	if body != `{"jsonrpc":"2.0","id":8,"result":{"tools":[{"name":"a"}]}}` {
		t.Errorf("got %s", body)
	}
	resp, body = do(t, "POST", f.URL, listBody, nil2(h, func() {
		<-b.posts
		b.send(`{"jsonrpc":"2.0","id":8,"result":{"tools":{"name":"b"}}}`)
	}))
	if resp.StatusCode != 502 || strings.Contains(body, `"b"`) {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// TestA22_EndpointsOfAnotherOrigin: without SameOrigin the message and the credential arrive there.
func TestA22_EndpointsOfAnotherOrigin(t *testing.T) {
	other := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("another origin was posted to") })
	for _, endpoint := range []string{
		other.URL + "/messages", strings.Replace(other.URL, "http:", "https:", 1), "//" + strings.TrimPrefix(other.URL, "http://"),
		"http://169.254.169.254/", "javascript:1", "http://u:p@BACKEND/x", "%zz",
	} {
		b := newSSEBackend(t)
		b.endpoint = strings.Replace(endpoint, "BACKEND", strings.TrimPrefix(b.URL, "http://"), 1)
		f := newFront(t, b.URL, registry.SSE, Options{}, func(x *Exchange) {
			x.Credential = func(r *upstream.Request) error { r.Header.Set("Authorization", "Bearer secret"); return nil }
		})
		resp, body := do(t, "POST", f.URL, initBody, nil)
		if resp.StatusCode != 502 || resp.Header.Get(wire.HeaderSession) != "" {
			t.Errorf("%s: got %d %s", endpoint, resp.StatusCode, body)
		}
		<-b.closed
	}
}

func TestBridgedSessionsThatEnd(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL, registry.SSE, Options{Sessions: 2, SessionIdle: 100 * time.Millisecond}, nil)
	is404 := func(why string, h http.Header) {
		t.Helper()
		if resp, body := do(t, "POST", f.URL, callBody, h); resp.StatusCode != 404 || !strings.Contains(body, "send initialize") {
			t.Errorf("%s: got %d %s", why, resp.StatusCode, body)
		}
	}
	t.Run("the backend ends its stream", func(t *testing.T) {
		h := b.begin(t, f)
		resp, body := do(t, "POST", f.URL, callBody, nil2(h, func() { <-b.posts; b.send("") }))
		if resp.StatusCode != 502 || !strings.Contains(body, `"id":7`) {
			t.Errorf("the call that waited: got %d %s", resp.StatusCode, body)
		}
		is404("afterwards", h)
		<-b.closed
	})
	// Seen red with the event dropped: the call got 502.
	t.Run("the backend ends its stream without a blank line", func(t *testing.T) {
		const answer = `{"jsonrpc":"2.0","id":7,"result":{}}`
		h := b.begin(t, f)
		resp, body := do(t, "POST", f.URL, callBody, nil2(h, func() { <-b.posts; b.send(last + "data: " + answer + "\n") }))
		if resp.StatusCode != 200 || body != answer {
			t.Errorf("the call got %d %s", resp.StatusCode, body)
		}
		is404("afterwards", h)
		<-b.closed
		h = b.begin(t, f)
		resp, body = do(t, "POST", f.URL, callBody, nil2(h, func() { <-b.posts; b.send(last + "data: " + answer[:20] + "\n") }))
		if resp.StatusCode != 502 || !strings.Contains(body, `"id":7`) {
			t.Errorf("the call whose answer is cut got %d %s", resp.StatusCode, body)
		}
		<-b.closed
	})
	t.Run("the backend forgot it", func(t *testing.T) {
		h := b.begin(t, f)
		b.status = func(string) int { return 404 }
		is404("call", h)
		b.status = nil
		is404("afterwards", h)
		<-b.closed
	})
	t.Run("unused", func(t *testing.T) {
		h := b.begin(t, f)
		<-b.closed
		is404("afterwards", h)
	})
	t.Run("dropped for newer ones", func(t *testing.T) {
		h := b.begin(t, f)
		stream := start(t, t.Context(), "GET", f.URL, "", h) // in use, so it does not expire
		b.begin(t, f)
		b.begin(t, f)
		if _, err := io.ReadAll(stream.Body); err != nil {
			t.Errorf("the stream of a dropped session: %v", err)
		}
		is404("afterwards", h)
		<-b.closed
	})
	t.Run("access ended", func(t *testing.T) {
		h := b.begin(t, f)
		f.endAccess("alice")
		is404("afterwards", h)
	})
	t.Run("never known here", func(t *testing.T) {
		id, _ := f.sealer.Seal(*foreign())
		is404("call", http.Header{wire.HeaderSession: {id}})
	})
}

func TestBridgesNeedASession(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL, registry.SSE, Options{}, nil)
	for _, c := range []struct {
		method, body string
		header       http.Header
		want         int
	}{
		{"POST", callBody, nil, 400},
		{"POST", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, modernHeader("server/discover"), 400},
		{"GET", "", nil, 405}, {"DELETE", "", nil, 405},
	} {
		resp, body := do(t, c.method, f.URL, c.body, c.header)
		if resp.StatusCode != c.want || strings.Contains(body, "-3202") {
			t.Errorf("%s %s: got %d %s", c.method, c.body, resp.StatusCode, body)
		}
	}
}

func TestBackendsThatAreNoSSE(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"json":           func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") },
		"404":            func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) },
		"another event":  func(w http.ResponseWriter, _ *http.Request) { events(w, "data: {}\n\n") },
		"ends too early": func(w http.ResponseWriter, _ *http.Request) { events(w, "event: endpoint\ndata: /x\n") },
	} {
		f := newFront(t, backend(t, h).URL, registry.SSE, Options{}, nil)
		if resp, body := do(t, "POST", f.URL, initBody, nil); resp.StatusCode != 502 {
			t.Errorf("%s: got %d %s", name, resp.StatusCode, body)
		}
	}
}

func events(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, s)
}

func TestCallersThatLeaveCancelBridgedCalls(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL, registry.SSE, Options{}, nil)
	h := b.begin(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", f.URL, strings.NewReader(callBody))
	req.Header = h.Clone()
	go func() { <-b.posts; cancel() }()
	if _, err := client.Do(req); err == nil {
		t.Error("answered")
	}
	if got, want := <-b.posts, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"the client went away"}}`; got != want {
		t.Errorf("backend got %s", got)
	}
	// The same id can be used again.
	_, body := do(t, "POST", f.URL, callBody, nil2(h, func() { <-b.posts; b.send(`{"jsonrpc":"2.0","id":7,"result":1}`) }))
	if body != `{"jsonrpc":"2.0","id":7,"result":1}` {
		t.Errorf("got %s", body)
	}
}

func TestIdsInUseAreRefused(t *testing.T) {
	b := newSSEBackend(t)
	f := newFront(t, b.URL, registry.SSE, Options{}, nil)
	h := b.begin(t, f)
	done := make(chan string)
	go func() {
		_, body := do(t, "POST", f.URL, callBody, h)
		done <- body
	}()
	<-b.posts
	if resp, body := do(t, "POST", f.URL, callBody, h); resp.StatusCode != 400 || !strings.Contains(body, "in use") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	b.send(`{"jsonrpc":"2.0","id":7,"result":1}`)
	if got := <-done; got != `{"jsonrpc":"2.0","id":7,"result":1}` {
		t.Errorf("got %s", got)
	}
}

func TestBackendsThatDoNotAnswerBridgedCalls(t *testing.T) {
	b := newSSEBackend(t)
	f := newFrontOn(t, upstream.Options{}, registry.Backend{URL: b.URL, Timeout: 200 * time.Millisecond}, registry.SSE, Options{}, nil)
	h := b.begin(t, f)
	resp, body := do(t, "POST", f.URL, callBody, h)
	if resp.StatusCode != 504 || !strings.Contains(body, `"id":7`) {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}
