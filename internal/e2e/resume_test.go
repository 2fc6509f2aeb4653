package e2e

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBrokenStreamsResume breaks a call's stream off after its first progress and takes it up again with Last-Event-ID at
// a server that keeps its events. For bob, whose list a resumed stream repeats, it stays filtered.
func TestBrokenStreamsResume(t *testing.T) {
	address := everything(t, "streamableHttp")
	s := directory(t)
	s.put(t, "proxy-services", "everything.yaml", "upstream: {url: \"http://"+address+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-grants", "everything.yaml", "consumers: [alice]\ntools: {echo: [bob], \"trigger-long-*\": [bob]}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	p := start(t, s).ready()
	for _, key := range []string{aliceKey, bobKey} {
		c := p.client("everything", key)
		c.initialize()
		first := c.events(http.MethodPost, `{"jsonrpc":"2.0","id":"long","method":"tools/call","params":{"name":"trigger-long-running-operation","arguments":{"duration":1,"steps":4},"_meta":{"progressToken":"p"}}}`, "")
		id := first.until(t, "notifications/progress")
		if id == "" {
			t.Fatal("the events have no ids")
		}
		first.leave()
		// This server repeats what it has when asked, and sends no more on that stream: ask until it has the result.
		var result string
		eventually(t, 30*time.Second, "the result is repeated", func() bool {
			rest := c.events(http.MethodGet, "", id)
			defer rest.leave()
			result = rest.within(300*time.Millisecond, `"id":"long"`)
			return result != ""
		})
		if !strings.Contains(result, "completed") {
			t.Errorf("the result on the resumed stream: %s", result)
		}

		// The answer to a list that got lost is repeated on the stream that resumes from before it.
		lost := c.events(http.MethodPost, `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`, "")
		lost.until(t, `"id":"list"`)
		lost.leave()
		again := c.events(http.MethodGet, "", id)
		again.until(t, `"id":"list"`)
		if all := strings.Contains(again.data, `"get-sum"`); all != (key == aliceKey) || !strings.Contains(again.data, `"echo"`) {
			t.Errorf("the list on the resumed stream: %s", again.data)
		}
		again.leave()
	}
}

// eventStream is an SSE answer being read.
type eventStream struct {
	lines chan string
	leave func()
	data  string // of the last event
	head  http.Header
}

// events sends a request and gives its SSE answer.
func (c *client) events(method, body, lastEventID string) *eventStream {
	c.p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.p.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, c.p.URL+"/mcp/"+c.service, strings.NewReader(body))
	if err != nil {
		c.p.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.key)
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := http.DefaultClient.Do(req)
	// Servers that keep one stream a session may not have noticed yet that the last one is gone.
	for end := time.Now().Add(10 * time.Second); err == nil && resp.StatusCode == http.StatusConflict && time.Now().Before(end); {
		_ = resp.Body.Close()
		time.Sleep(20 * time.Millisecond)
		resp, err = http.DefaultClient.Do(req)
	}
	if err != nil {
		c.p.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		c.p.t.Fatalf("%s: %d %v", method, resp.StatusCode, resp.Header)
	}
	e := &eventStream{lines: make(chan string, 64), leave: cancel, head: resp.Header}
	go func() {
		defer close(e.lines)
		defer resp.Body.Close()
		for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
			select {
			case e.lines <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return e
}

// until reads to the event whose data holds part, and gives its id.
func (e *eventStream) until(t *testing.T, part string) (id string) {
	t.Helper()
	id, ok := e.read(20*time.Second, part)
	if !ok {
		t.Fatalf("nothing came with %s", part)
	}
	return id
}

// within gives the data of the event that holds part, or "" if none comes in time.
func (e *eventStream) within(limit time.Duration, part string) string {
	if _, ok := e.read(limit, part); !ok {
		return ""
	}
	return e.data
}

func (e *eventStream) read(limit time.Duration, part string) (id string, ok bool) {
	timeout := time.After(limit)
	for {
		select {
		case line, open := <-e.lines:
			name, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimPrefix(value, " "); {
			case !open:
				return "", false
			case name == "id":
				id = value
			case name == "data":
				e.data = value
			case line == "" && strings.Contains(e.data, part):
				return id, true
			case line == "":
				id, e.data = "", ""
			}
		case <-timeout:
			return "", false
		}
	}
}
