package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
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

// streamEndsWell opens a stream and reads it to its end, which must be one and no broken connection.
func (p *proxy) streamEndsWell(t *testing.T, what, path string, c *client) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.key)
	if strings.HasPrefix(path, "/mcp/") {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Errorf("%s: stream: %d, then %v", what, resp.StatusCode, err)
	}
}
