package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/admin"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/app"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// source is where a test writes what an operator would: a directory or a real Nacos.
type source struct {
	nacos.Source
	configure func(*config.Config)
}

// put publishes a document.
func (s *source) put(t testing.TB, group, dataID, content string) {
	t.Helper()
	if err := s.try(t, group, dataID, content, nacos.ErrUnavailable); err != nil { // a Nacos that has just started drops connections
		t.Fatalf("publish %s/%s: %v", group, dataID, err)
	}
}

// try publishes a document and gives what came of it; it is done again after such errors as nacostest.Insist names.
func (s *source) try(t testing.TB, group, dataID, content string, also ...error) error {
	t.Helper()
	doc := nacos.Document{Key: nacos.Key{Group: group, DataID: dataID}, Content: []byte(content)}
	return nacostest.Insist(t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return s.Publish(ctx, doc, nacos.AnyMD5)
	}, also...)
}

// remove deletes a document.
func (s *source) remove(t testing.TB, group, dataID string, also ...error) {
	t.Helper()
	err := nacostest.InsistOnRemoval(t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return s.Remove(ctx, nacos.Key{Group: group, DataID: dataID})
	}, nacos.ErrNotFound, also...)
	if err != nil {
		t.Fatalf("remove %s/%s: %v", group, dataID, err)
	}
}

// instance registers a backend's address in the naming service.
func (s *source) instance(t testing.TB, group, service, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	in := nacos.Instance{Host: host, Port: n, Weight: 1, Healthy: true, Enabled: true}
	if err := s.Register(ctx, nacos.ServiceRef{Group: group, Service: service}, in); err != nil {
		t.Fatalf("register %s/%s: %v", group, service, err)
	}
}

// directory gives a source in a directory of the test's own.
func directory(t testing.TB) *source {
	t.Helper()
	path := t.TempDir()
	for _, half := range []string{"config", "naming"} {
		if err := os.Mkdir(filepath.Join(path, half), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d, err := nacos.OpenDir(path, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &source{Source: d, configure: func(c *config.Config) {
		c.Source, c.Dir.Path = config.SourceDir, path
	}}
}

// proxy is a running proxy of a test.
type proxy struct {
	*app.App
	t   testing.TB
	URL string // http://127.0.0.1:port
	log *logBuffer
}

// start runs a proxy on s; change may adjust its configuration.
func start(t testing.TB, s *source, change ...func(*config.Config)) *proxy {
	t.Helper()
	c := config.Default()
	c.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.State.Path = config.StateOff
	c.Log.Audit = "off"
	c.Nacos.ListInterval = time.Second
	s.configure(&c)
	for _, f := range change {
		f(&c)
	}
	log := &logBuffer{t: t}
	a, err := app.Start(context.Background(), c, "test", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatalf("start proxy: %v", err)
	}
	p := &proxy{App: a, t: t, URL: "http://" + a.Addr().String(), log: log}
	t.Cleanup(func() {
		if err := a.Drain(); err != nil {
			t.Errorf("drain: %v", err)
		}
		if t.Failed() {
			t.Logf("the proxy's log:\n%s", log.String())
		}
	})
	return p
}

// ready waits until the proxy has its configuration.
func (p *proxy) ready() *proxy {
	p.t.Helper()
	eventually(p.t, 30*time.Second, "the proxy is ready", p.Ready)
	return p
}

// status reads /status as an operator would.
func (p *proxy) status() admin.Status {
	p.t.Helper()
	resp, err := http.Get("http://" + p.AdminAddr().String() + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var s admin.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// answer is what a client got.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// text is the first text of a tool result.
func (a answer) text() string {
	var r struct {
		Result struct {
			Content []struct{ Text string }
		}
	}
	body := a.Body
	if i := strings.Index(body, "data: "); i >= 0 { // an SSE answer with one message
		body, _, _ = strings.Cut(body[i+len("data: "):], "\n")
	}
	if json.Unmarshal([]byte(body), &r) != nil || len(r.Result.Content) == 0 {
		return ""
	}
	return r.Result.Content[0].Text
}

// tools are the names in a tools/list answer.
func (a answer) tools() []string {
	var r struct {
		Result struct {
			Tools []struct{ Name string }
		}
	}
	body := a.Body
	if i := strings.Index(body, "data: "); i >= 0 {
		body, _, _ = strings.Cut(body[i+len("data: "):], "\n")
	}
	if json.Unmarshal([]byte(body), &r) != nil {
		return nil
	}
	names := []string{}
	for _, tool := range r.Result.Tools {
		names = append(names, tool.Name)
	}
	return names
}

// client sends requests with one key to one service.
type client struct {
	p       *proxy
	service string
	key     string
	session string
	header  http.Header
}

func (p *proxy) client(service, key string) *client {
	return &client{p: p, service: service, key: key, header: http.Header{}}
}

// do sends a request; body "" for none.
func (c *client) do(method, body string) answer {
	c.p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.p.URL+"/mcp/"+c.service, strings.NewReader(body))
	if err != nil {
		c.p.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	if req.Header.Get("Content-Type") == "" && body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.key != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.p.t.Fatalf("%s %s: %v", method, c.service, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.p.t.Fatalf("read answer of %s: %v", c.service, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (c *client) post(body string) answer { c.p.t.Helper(); return c.do(http.MethodPost, body) }

// call calls a tool.
func (c *client) call(tool, arguments string) answer {
	c.p.t.Helper()
	return c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments))
}

func (c *client) list() answer {
	c.p.t.Helper()
	return c.post(`{"jsonrpc":"2.0","id":"l","method":"tools/list"}`)
}

// initialize opens a legacy session and keeps its id.
func (c *client) initialize() answer {
	c.p.t.Helper()
	a := c.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`)
	c.session = a.Header.Get("Mcp-Session-Id")
	if a.Status == http.StatusOK {
		c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	return a
}

// eventually waits until ok holds.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

// digest is how a consumer document holds a key.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// consumer is a consumer document with one key.
func consumer(key string) string {
	return fmt.Sprintf("enabled: true\nkeys:\n  - {id: k1, sha256: %s}\n", digest(key))
}

// logBuffer collects a proxy's log.
type logBuffer struct {
	t  testing.TB
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// recorder is an HTTP backend that remembers what it was asked.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // "METHOD path?query body"
	head []http.Header
}

func newRecorder(t testing.TB, answer func(w http.ResponseWriter, r *http.Request)) *recorder {
	rec := &recorder{}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		rec.mu.Lock()
		rec.seen = append(rec.seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		rec.head = append(rec.head, r.Header.Clone())
		rec.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(b))
		answer(w, r)
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (r *recorder) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		return ""
	}
	return r.seen[len(r.seen)-1]
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func (r *recorder) address() string { return r.Listener.Addr().String() }
