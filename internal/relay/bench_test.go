package relay

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

type bufferPool struct{ sync.Pool }

func (p *bufferPool) Get() []byte  { return *p.Pool.Get().(*[]byte) }
func (p *bufferPool) Put(b []byte) { p.Pool.Put(&b) }

// BenchmarkCall compares a small call through the relay with one through httputil.ReverseProxy and with none between.
func BenchmarkCall(b *testing.B) {
	const answer = `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hello"}]}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	}))
	defer s.Close()
	target, _ := url.Parse(s.URL)
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		BufferPool: &bufferPool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 512},
	}
	reverse := httptest.NewServer(proxy)
	defer reverse.Close()
	f := newFront(b, s.URL, registry.Streamable, Options{}, func(x *Exchange) { x.Private = true })
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	for _, target := range []struct{ name, url string }{{"direct", s.URL}, {"reverse", reverse.URL}, {"relay", f.URL}} {
		b.Run(target.name, func(b *testing.B) {
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest("POST", target.url, strings.NewReader(callBody))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Accept", "application/json, text/event-stream")
					resp, err := c.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
	c.CloseIdleConnections()
	proxy.Transport.(*http.Transport).CloseIdleConnections()
}

// BenchmarkServe is the relay's own cost, with a recorder for a client.
func BenchmarkServe(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{}}`)
	}))
	defer s.Close()
	f := newFront(b, s.URL, registry.Streamable, Options{}, nil)
	body := []byte(callBody)
	env := new(wire.Envelope)
	if err := wire.Scan(body, env); err != nil {
		b.Fatal(err)
	}
	req := httptest.NewRequest("POST", "/", nil)
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Content-Type", "application/json")
	b.ReportAllocs()
	for b.Loop() {
		f.relay.Serve(&nothing{http.Header{}}, req, &Exchange{Backend: f.backend, Transport: registry.Streamable, Service: "svc", Body: body, Env: env})
	}
}

type nothing struct{ h http.Header }

func (n *nothing) Header() http.Header         { return n.h }
func (n *nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n *nothing) WriteHeader(int)             {}
