package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// slowly is an MCP backend that takes its time: JSON answers to the tool "json", event streams to "events", and a GET stream
// without end.
func slowly(pause time.Duration, begun chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		const result = `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"done"}]}}`
		flush := func() { _ = http.NewResponseController(w).Flush() }
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/mcp"):
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n")
			flush()
			begun <- struct{}{}
			<-r.Context().Done()
		case strings.Contains(string(body), `"events"`):
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
			flush()
			begun <- struct{}{}
			time.Sleep(pause)
			fmt.Fprintf(w, "data: %s\n\n", result)
		case strings.Contains(string(body), "tools/call"):
			begun <- struct{}{}
			time.Sleep(pause)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, result)
		case r.Method == http.MethodPost:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Mcp-Session-Id", "s")
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"b","version":"1"}}}`)
		default: // the HTTP API of a converted service
			begun <- struct{}{}
			time.Sleep(pause)
			fmt.Fprint(w, `{"name":"done"}`)
		}
	}
}

// TestA38_SigtermLetsCallsFinish ends the program while calls of four kinds are at work and streams are open: calls get
// their answers, streams end as they should, nobody new is let in, and the exit status is 0. Seen to fail with
// relay.Close for relay.Drain at the beginning of app.Drain, and with the server's Close for its Shutdown.
func TestA38_SigtermLetsCallsFinish(t *testing.T) {
	s := directory(t)
	begun := make(chan struct{}, 16)
	backend := newRecorder(t, slowly(1500*time.Millisecond, begun))
	s.put(t, "proxy-services", "slow.yaml", "upstream: {url: \""+backend.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-services", "api.yaml", ownService(backend.URL, "read", "{{.name}}"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, name := range []string{"slow", "api"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	r := startReplica(t, s)
	p := &proxy{t: t, URL: r.URL}
	slow, api := p.client("slow", aliceKey), p.client("api", aliceKey)
	slow.initialize()
	api.initialize()

	var wg sync.WaitGroup
	finish := func(what string, ask func() answer) {
		wg.Go(func() {
			if a := ask(); a.Status != 200 || !strings.Contains(a.Body, `"done"`) {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		})
	}
	finish("JSON", func() answer { return slow.call("json", "{}") })
	finish("events", func() answer { return slow.call("events", "{}") })
	finish("converted", func() answer { return api.call("read", "{}") })
	sse := connectSSE(t, r.URL+"/sse/slow", aliceKey)
	sse.post(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"json"}}`)
	finish("HTTP+SSE", func() answer {
		var all strings.Builder
		for sse.lines.Scan() {
			all.WriteString(sse.lines.Text())
		}
		if err := sse.lines.Err(); err != nil {
			t.Errorf("HTTP+SSE: %v", err)
		}
		return answer{Status: 200, Body: all.String()}
	})
	streams := map[string]string{"passed on": "/mcp/slow", "converted": "/mcp/api", "HTTP+SSE": "/sse/slow"}
	for what, path := range streams {
		c := slow
		if what == "converted" {
			c = api
		}
		wg.Go(func() { p.streamEndsWell(t, what, path, c) })
	}
	for range 5 { // four calls and the backend's stream
		<-begun
	}
	time.Sleep(200 * time.Millisecond) // the other streams
	sent := time.Now()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(r.URL + "/mcp/api"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("a new connection was taken after SIGTERM: %d", resp.StatusCode)
	}
	wg.Wait()
	select {
	case <-r.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the program does not end")
	}
	if code := r.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	t.Logf("ended %s after SIGTERM", time.Since(sent))
}

// getStream opens a stream: of c's session, or over HTTP+SSE.
func (p *proxy) getStream(ctx context.Context, path string, c *client) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.key)
	if strings.HasPrefix(path, "/mcp/") {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	return http.DefaultClient.Do(req)
}

// streamEndsWell opens a stream and reads it to its end, which must be one and no broken connection.
func (p *proxy) streamEndsWell(t *testing.T, what, path string, c *client) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := p.getStream(ctx, path, c)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Errorf("%s: stream: %d, then %v", what, resp.StatusCode, err)
	}
}

// footprint is what a process holds.
type footprint struct {
	goroutines, descriptors int
	heap                    uint64
}

func measure() footprint {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd")
	return footprint{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// TestA34_AbandonedSessionsLeaveNothing opens 10,000 sessions of all kinds and walks away: half of them without a word, a
// few with a stream open that the client drops. Afterwards goroutines, descriptors and heap are what they were. The bridged
// ones to an HTTP+SSE backend are few here, and deleted: TestA34_AbandonedBridgedSessionsLeaveNothing abandons those. Seen
// to fail with streams that do not leave the relay (relay.stream.close without leave).
func TestA34_AbandonedSessionsLeaveNothing(t *testing.T) {
	s := directory(t)
	backend := newGullible(t)
	events := newRecorder(t, slowly(0, make(chan struct{}, 1<<20)))
	ownKinds(t, s, newRecorder(t, shop), backend.Server)
	s.put(t, "proxy-services", "events.yaml", "upstream: {url: \""+events.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-services", "bridged.yaml", "upstream: {url: \""+backend.URL+"/sse\", transport: sse}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	services := []string{"store", "tools", "events", "bridged"}
	for _, name := range services {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	p := start(t, s).ready()
	const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`
	abandon := func(n int) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := w; i < n; i += 8 {
					c := p.client(services[i%3], aliceKey)
					if i%500 == 0 {
						c.service = "bridged"
					}
					a := c.post(initialize)
					if c.session = a.Header.Get("Mcp-Session-Id"); a.Status != 200 || c.session == "" && c.service != "tools" {
						t.Errorf("%s: %d %s", c.service, a.Status, a.Body)
						return
					}
					switch {
					case c.service == "bridged":
						c.do(http.MethodDelete, "")
					case i%20 < 2 && c.service != "tools":
						p.dropStream(t, "/mcp/"+c.service, c)
					case i%20 == 2:
						p.dropStream(t, "/sse/"+c.service, c)
					}
				}
			})
		}
		wg.Wait()
	}
	abandon(500) // pools fill, services compile
	events.forget()
	eventually(t, 20*time.Second, "no stream is open", func() bool { return p.metric("nmp_requests_active") == 0 })
	before := measure()
	abandon(10_000)
	events.forget()
	var after footprint
	eventually(t, 30*time.Second, "back to the baseline", func() bool {
		after = measure()
		return after.goroutines <= before.goroutines+10 && after.descriptors <= before.descriptors+10 && after.heap <= before.heap+2<<20
	})
	t.Logf("before %+v, after %+v", before, after)
}

// dropStream opens a stream and drops it at its first byte.
func (p *proxy) dropStream(t *testing.T, path string, c *client) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := p.getStream(ctx, path, c)
	if err != nil {
		t.Error(err)
		return
	}
	if resp.StatusCode != 200 {
		t.Errorf("GET %s: %d", path, resp.StatusCode)
	}
	_ = resp.Body.Close()
}

// forget drops what was recorded.
func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.head = nil, nil
}

// metric is the value of a gauge of the proxy; -1 if there is none.
func (p *proxy) metric(name string) float64 {
	resp, err := http.Get("http://" + p.AdminAddr().String() + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, _ := strconv.ParseFloat(text, 64)
			return v
		}
	}
	return -1
}

// TestA35_AHungBackendHarmsNobodyElse has two hundred calls hang in one backend, converted and passed on, while others are
// served; and callers that go away, after which the backend is free within a second. Seen to fail with the caller's context
// replaced by one without end in gateway.execute.
func TestA35_AHungBackendHarmsNobodyElse(t *testing.T) {
	s := directory(t)
	p, _, _ := hostileWorldOn(t, s)
	var hanging atomic.Int64
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hanging.Add(1)
		defer hanging.Add(-1)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	t.Cleanup(func() { close(release); hung.CloseClientConnections(); hung.Close() })
	s.put(t, "proxy-services", "hung.yaml", ownService(hung.URL, "read", "{{.name}}"))
	s.put(t, "proxy-services", "hungmcp.yaml", "upstream: {url: \""+hung.URL+"/mcp\", transport: streamable}\n")
	for _, name := range []string{"hung", "hungmcp"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
		eventually(t, 5*time.Second, name+" is known", func() bool { return p.client(name, aliceKey).do(http.MethodPut, "").Status == 405 })
	}
	good := p.client("store", aliceKey)
	quiet := percentile(t, good, 300)
	ctx, leave := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			path := "/mcp/hung"
			if i%2 == 1 {
				path = "/mcp/hungmcp"
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+path, strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read"}}`))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+aliceKey)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
				t.Errorf("a hanging call was answered: %d", resp.StatusCode)
			}
		})
	}
	eventually(t, 10*time.Second, "all calls hang", func() bool { return hanging.Load() == 200 })
	// Two hundred idle connections cost nothing; the room is for the noise of a shared machine.
	if busy := percentile(t, good, 300); busy > 5*quiet+100*time.Millisecond {
		t.Errorf("calls to another backend took %s at p99, %s before", busy, quiet)
	} else {
		t.Logf("p99 %s, before %s", busy, quiet)
	}
	leave()
	left := time.Now()
	wg.Wait()
	took := eventually(t, 10*time.Second, "the backend is free", func() bool { return hanging.Load() == 0 })
	if took > time.Second {
		t.Errorf("the backend was free %s after its callers left", time.Since(left))
	}
}
