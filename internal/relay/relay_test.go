package relay

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// front is the proxy as far as relay's tests need one: it opens sessions and scans bodies as the gateway does.
type front struct {
	*httptest.Server
	relay    *Relay
	sealer   *session.Sealer
	backend  *upstream.Backend
	exchange func(*Exchange) // changes what each exchange is
	outcomes chan Outcome
	client   *http.Client // for the go-sdk's clients
}

// toolsChanged reviews all with another view for those that match.
func (f *front) toolsChanged(match func(Caller) bool) {
	f.relay.Review(func(c Caller) (any, bool) {
		if match(c) {
			return new(int), true
		}
		return nil, true
	})
}

// endAccess reviews all with nothing to see for a consumer.
func (f *front) endAccess(consumer string) {
	f.relay.Review(func(c Caller) (any, bool) { return nil, c.Consumer != consumer })
}

func newFront(t testing.TB, url string, transport registry.Transport, o Options, change func(*Exchange)) *front {
	t.Helper()
	return newFrontOn(t, upstream.Options{}, registry.Backend{URL: url}, transport, o, change)
}

func newFrontOn(t testing.TB, uo upstream.Options, def registry.Backend, transport registry.Transport, o Options, change func(*Exchange)) *front {
	t.Helper()
	ups := upstream.New(uo)
	b, err := ups.Open("svc", def)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{backend: b, exchange: change, outcomes: make(chan Outcome, 1000)}
	f.sealer, err = session.NewSealer(nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Sealer = f.sealer
	f.relay = New(o)
	mux := http.NewServeMux()
	mux.HandleFunc("/", f.serve(transport))
	mux.HandleFunc("/sse", f.serveSSE(transport))
	f.Server = httptest.NewUnstartedServer(mux)
	if f.client = client; def.TLS != nil { // a backend over TLS: clients, too, and HTTP/2 on both sides
		f.Server.EnableHTTP2 = true
		f.Server.StartTLS()
		f.client = f.Server.Client()
	} else {
		f.Server.Start()
	}
	t.Cleanup(func() {
		f.relay.Close()
		f.Server.Close()
		b.Close()
		ups.Close()
	})
	return f
}

// serveSSE is the front for HTTP+SSE clients: GET /sse, and POST /sse?session=….
func (f *front) serveSSE(transport registry.Transport) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			body, _ := io.ReadAll(req.Body)
			var env wire.Envelope
			if err := wire.Scan(body, &env); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			f.relay.PostSSE(w, req, req.URL.Query().Get("session"), "svc", "", who(req), body, &env)
			return
		}
		inner := f.serve(transport)
		f.relay.ServeSSE(w, req, SSEClient{
			Service: "svc", Consumer: who(req), Address: req.Header.Get("X-Address"),
			Endpoint: func(session string) string { return "/sse?session=" + session },
			Handle: func(w http.ResponseWriter, req *http.Request, body []byte) {
				req.Body = io.NopCloser(bytes.NewReader(body))
				inner(w, req)
			},
		})
	}
}

// who is the consumer of a request to the front: alice, or whom it names; nobody if it names an address.
func who(req *http.Request) string {
	if name := req.Header.Get("X-Consumer"); name != "" || req.Header.Get("X-Address") != "" {
		return name
	}
	return "alice"
}

func (f *front) serve(transport registry.Transport) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		x := &Exchange{Backend: f.backend, Transport: transport, Service: "svc", Consumer: who(req), Address: req.Header.Get("X-Address")}
		if id := req.Header.Get(wire.HeaderSession); id != "" {
			s, err := f.sealer.Open(id)
			if err != nil || !s.For("svc", "", who(req)) {
				http.Error(w, "unknown session", http.StatusNotFound)
				return
			}
			x.Session = &s
		}
		if req.Method == http.MethodPost {
			x.Body, _ = io.ReadAll(req.Body)
			x.Env = new(wire.Envelope)
			if err := wire.Scan(x.Body, x.Env); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		if f.exchange != nil {
			f.exchange(x)
		}
		o := f.relay.Serve(w, req, x)
		select {
		case f.outcomes <- o:
		default:
		}
		if o.Abort {
			panic(http.ErrAbortHandler)
		}
	}
}

// backend starts an MCP backend made by hand.
func backend(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a server notices a client that leaves only when the body was read
		r.Body = io.NopCloser(bytes.NewReader(body))
		h(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// client keeps no connection, so that goleak sees none.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

func do(t testing.TB, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	resp := start(t, t.Context(), method, url, body, header)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("read answer: %v", err)
	}
	return resp, string(b)
}

func start(t testing.TB, ctx context.Context, method, url, body string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

const (
	callBody = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a"}}`
	listBody = `{"jsonrpc":"2.0","id":8,"method":"tools/list"}`
	initBody = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
)

func modernHeader(method string) http.Header {
	return http.Header{wire.HeaderVersion: {wire.V20260728}, wire.HeaderMethod: {method}}
}

// onlyA is a consumer that may see the tool a.
func onlyA(x *Exchange) {
	x.Restricted, x.Private = true, true
	x.See = func(tool []byte) bool { return string(tool) == "a" }
}
