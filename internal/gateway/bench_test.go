package gateway

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// cannedBackend answers every request with the same bytes and allocates nothing, so that what is counted is ours.
func cannedBackend(t testing.TB, body string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					length := 0
					for {
						line, err := r.ReadSlice('\n')
						if err != nil {
							return
						}
						if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
							for _, d := range bytes.TrimSpace(value) {
								length = length*10 + int(d-'0')
							}
						}
						if len(line) == 2 {
							break
						}
					}
					if _, err := r.Discard(length); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

const benchKey = "nmp_bench_0123456789abcdefghijklmnopqrstuvwxyz"

// benchGateway is a gateway over backends that cost nothing.
func benchGateway(t testing.TB) *Gateway {
	echo := cannedBackend(t, `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hello"}],"isError":false}}`)
	store := cannedBackend(t, `{"id":7,"name":"Lamp","price":12.5,"tags":["small","blue"]}`)
	return gatewayBefore(t, echo, store)
}

// gatewayBefore is a gateway with everything that the program has, over a catalog with one service of each way: echo is the
// address of an MCP server, store of an HTTP API.
func gatewayBefore(t testing.TB, echo, store string) *Gateway {
	up := upstream.New(upstream.Options{})
	log := slog.New(slog.DiscardHandler)
	c, err := catalog.New(catalog.Options{
		Services: 16, Backends: up, Log: log, ForwardHeaders: []string{"Traceparent", "Tracestate", "Baggage"},
		Convert: func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	change := func(group, name, text string) nacos.Change {
		return nacos.Change{Key: nacos.Key{Group: group, DataID: name}, Content: []byte(text), MD5: name}
	}
	c.Apply([]nacos.Change{
		change("proxy-services", "echo.yaml", "upstream: {url: \"http://"+echo+"/mcp\", transport: streamable}\n"),
		change("proxy-services", "store.yaml", `upstream: {url: "http://`+store+`"}
tools:
  - name: get_item
    description: one item
    args: [{name: id, type: integer, required: true, position: path}]
    requestTemplate: {url: "/items/{id}", method: GET}
    responseTemplate: {body: "{{.name}} costs {{.price}}"}
`),
		change("proxy-services", "some.yaml", "upstream: {url: \"http://"+echo+"/mcp\", transport: streamable}\n"),
		change("proxy-grants", "echo.yaml", "auth: required\nconsumers: [bench]\n"),
		change("proxy-grants", "some.yaml", "auth: required\ntools: {echo: [bench]}\n"),
		change("proxy-grants", "store.yaml", "auth: required\nconsumers: [bench]\n"),
		change("proxy-consumers", "bench.yaml", fmt.Sprintf("enabled: true\nkeys:\n  - {id: k1, sha256: %x}\n", sha256.Sum256([]byte(benchKey)))),
	})
	c.Synced()
	sealer, err := session.NewSealer(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := relay.New(relay.Options{Sealer: sealer})
	g := New(Options{
		Catalog: c, Relay: r, Sealer: sealer, Limiter: access.NewLimiter(access.DefaultBuckets), Log: log,
		Metrics: NewMetrics(prometheus.NewRegistry()), RequestBody: 4 << 20, BodyTime: 30 * time.Second,
		Sources: []registry.KeySource{{Bearer: true}, {Header: "X-Api-Key"}},
	})
	t.Cleanup(func() { g.Close(); r.Close(); c.Close(); up.Close() })
	for end := time.Now().Add(10 * time.Second); !c.Index().Synced() || c.Index().Service("store") == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the catalog is not ready")
		}
	}
	return g
}

// repeated is a request that can be served again and again, with a client that takes anything.
type repeated struct {
	g      *Gateway
	r      *http.Request
	body   *strings.Reader
	text   string
	header http.Header
	status int
	answer []byte
}

func newRepeated(g *Gateway, path, body string) *repeated {
	x := &repeated{g: g, text: body, body: strings.NewReader(body), header: http.Header{}}
	x.r = httptest.NewRequest(http.MethodPost, path, nil)
	x.r.ContentLength = int64(len(body))
	x.r.Header = http.Header{
		"Authorization": {"Bearer " + benchKey}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "User-Agent": {"bench"},
	}
	x.r.Body = io.NopCloser(x.body)
	return x
}

func (x *repeated) Header() http.Header { return x.header }
func (x *repeated) WriteHeader(s int)   { x.status = s }
func (x *repeated) Write(p []byte) (int, error) {
	x.answer = append(x.answer[:0], p...)
	return len(p), nil
}
func (x *repeated) SetReadDeadline(time.Time) error { return nil }

func (x *repeated) serve() {
	x.body.Reset(x.text)
	clear(x.header)
	x.g.ServeHTTP(x, x.r)
}

// hotPaths are the calls whose cost is watched, with how many allocations each may take: what it takes now and one more.
var hotPaths = []struct {
	name, path, body, want string
	allocs                 float64
	session                bool
}{
	{"passthrough", "/mcp/echo", callEcho, echoed, 3, false},
	{"restricted", "/mcp/some", callEcho, echoed, 3, false},
	{"passthrough in a session", "/mcp/echo", callEcho, echoed, 5, true},
	{"converted", "/mcp/store", callItem, itemFound, 5, false},
	{"converted in a session", "/mcp/store", callItem, itemFound, 8, true},
	{"denied", "/mcp/none", callEcho, "", 1, false},
}

const (
	callEcho  = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`
	echoed    = `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hello"}],"isError":false}}`
	callItem  = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_item","arguments":{"id":7}}}`
	itemFound = `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"Lamp costs 12.5"}]}}`
)

// inSession gives the client a session id, as initialize would have.
func (x *repeated) inSession(t testing.TB, service string) {
	s := session.Session{Service: service, Version: x.g.options.Catalog.Index().Service(service).Latest.Version, Consumer: "bench", Backend: "the-backend's-own", Issued: time.Now()}
	id, err := x.g.options.Sealer.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	x.r.Header.Set(headerSession, id)
}

// TestAllocationsOfCalls: one allocation more on the way of every call fails here long before anybody can time it.
func TestAllocationsOfCalls(t *testing.T) {
	g := benchGateway(t)
	for _, c := range hotPaths {
		x := newRepeated(g, c.path, c.body)
		if c.session {
			x.inSession(t, path.Base(c.path))
		}
		x.serve()
		if c.want != "" && (x.status != http.StatusOK || string(x.answer) != c.want) {
			t.Fatalf("%s: answered %d %s", c.name, x.status, x.answer)
		}
		if bubble.Race {
			continue
		}
		if n := testing.AllocsPerRun(500, x.serve); n > c.allocs {
			t.Errorf("%s: %v allocations, at most %v: find the new one with -bench=Serve -memprofile", c.name, n, c.allocs)
		} else {
			t.Logf("%s: %v allocations, at most %v", c.name, n, c.allocs)
		}
	}
}

// TestDecisionsAndScansDoNotAllocate: from the key in a request to whether its tool may be called, and one scan of a body.
func TestDecisionsAndScansDoNotAllocate(t *testing.T) {
	g := benchGateway(t)
	x, index, now := newRepeated(g, hotPaths[0].path, hotPaths[0].body), g.options.Catalog.Index(), time.Now().UnixNano()
	decide := func() {
		who := g.identify(x.r, index, now)
		s := index.Service("echo")
		if !s.Access.Service(who.consumer, now).Allowed || !s.Access.Tool(who.consumer, []byte("echo"), now).Allowed {
			t.Fatal("denied")
		}
	}
	body, env := []byte(hotPaths[0].body), new(wire.Envelope)
	scan := func() {
		if err := wire.Scan(body, env); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]func(){"decision": decide, "scan": scan} {
		f()
		if n := testing.AllocsPerRun(500, f); n != 0 && !bubble.Race {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func BenchmarkServe(b *testing.B) {
	g := benchGateway(b)
	for _, c := range hotPaths {
		b.Run(c.name, func(b *testing.B) {
			x := newRepeated(g, c.path, c.body)
			if c.session {
				x.inSession(b, path.Base(c.path))
			}
			b.ReportAllocs()
			for b.Loop() {
				x.serve()
			}
		})
	}
}
