package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// apart is what a client can tell answers about two tools apart by: the header but for the date and the length, which
// follow from the moment and from the tool's name.
func (a answer) apart(tool string) any {
	h := a.Header.Clone()
	h.Del("Date")
	h.Del("Content-Length")
	return []any{a.Status, h, strings.ReplaceAll(a.Body, tool, "TOOL")}
}

// TestUngrantedToolsAreUnknownWhateverTheLimits: limits are counted for what was decided to be allowed. A key that is granted
// one tool learns nothing of the others from their limits, and pays nothing for asking.
//
// Seen to fail with limits counted before the decision, as they were: 429 and Retry-After for the ungranted tool, and for both
// once the service's own limit was reached.
func TestUngrantedToolsAreUnknownWhateverTheLimits(t *testing.T) {
	w := directoryWorld(t)
	w.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	w.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, k := range kinds {
		w.put(t, "proxy-grants", k.service+".yaml", fmt.Sprintf(
			"consumers: [alice]\ntools: {%s: [bob]}\nlimits: {rps: 0.001, burst: 5, tools: {%s: {rps: 0.001, burst: 1}, no_such_tool: {rps: 0.001, burst: 2}}}\n", k.tool, k.other))
	}
	p := start(t, w.source).ready()
	for _, k := range kinds {
		for _, e := range []era{legacy, modern} {
			t.Run(k.service+" "+string(e), func(t *testing.T) {
				p := p.in(t)
				bob := p.client(k.service, bobKey)
				// The tool's own counters of others are of no concern, and others' calls go on.
				p.client(k.service, aliceKey).callIn(modern, k.other, "{}")
				before := w.reached()
				want := bob.callIn(e, "no_such_tool", "{}")
				if !strings.Contains(want.Body, "-32602") {
					t.Fatalf("unknown: %d %s", want.Status, want.Body)
				}
				for i := range 20 {
					unknown, ungranted := bob.callIn(e, "no_such_tool", "{}"), bob.callIn(e, k.other, "{}")
					for name, got := range map[string]any{"unknown": unknown.apart("no_such_tool"), "ungranted": ungranted.apart(k.other)} {
						if diff := cmp.Diff(want.apart("no_such_tool"), got); diff != "" {
							t.Fatalf("%s, after %d of each (-first unknown):\n%s", name, i, diff)
						}
					}
				}
				if w.reached() != before {
					t.Error("a refused call reached the backend")
				}
				if e == legacy {
					return // below, the limit is used up
				}
				for i := range 5 {
					if a := bob.callIn(e, k.tool, k.arguments); a.text() != k.want {
						t.Fatalf("of a burst of 5, call %d after the refused ones: %d %s", i, a.Status, a.Body)
					}
				}
				if a := bob.callIn(e, k.tool, k.arguments); a.Status != http.StatusTooManyRequests {
					t.Errorf("over the limit: %d %s", a.Status, a.Body)
				}
				for tool, a := range map[string]answer{"no_such_tool": bob.callIn(e, "no_such_tool", "{}"), k.other: bob.callIn(e, k.other, "{}")} {
					if diff := cmp.Diff(want.apart("no_such_tool"), a.apart(tool)); diff != "" {
						t.Errorf("%s with the limit used up:\n%s", tool, diff)
					}
				}
			})
		}
	}
}

// TestCallsWithoutAnIDAreCounted: a method that the proxy does not know may be a call to the backend, though it wants no answer.
//
// Seen to fail with requests alone counted.
func TestCallsWithoutAnIDAreCounted(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey)+"limits: {rps: 0.001, burst: 3}\n")
	s.put(t, "proxy-grants", "tools.yaml", "consumers: [alice]\n")
	c := start(t, s).ready().client("tools", aliceKey)
	c.initialize()
	var refused int
	for range 5 {
		a := c.post(`{"jsonrpc":"2.0","method":"vendor/clean"}`)
		if a.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 3 { // initialize was the first of a burst of 3
		t.Errorf("%d of 5 refused, want 3", refused)
	}
}

// TestConcurrentCountsStreams: a key holds as many streams open as its limit says, of all sorts together, and as many calls;
// an answer that comes as events is a call until its end.
//
// Seen to fail with GET and HTTP+SSE streams not counted, as they were; with streams counted among calls (the call beside
// the open stream is refused); and with the stream behind an HTTP+SSE client counted once more.
func TestConcurrentCountsStreams(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	hold := make(chan struct{})
	events := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"done\"}]}}\n\n")
	})
	s.put(t, "proxy-services", "events.yaml", "upstream: {url: \""+events.URL+"\", transport: streamable}\n")
	says := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"of my own accord\"}}\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"initialize"`) {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Mcp-Session-Id", "s")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"says","version":"1"}}}`)
	})
	s.put(t, "proxy-services", "says.yaml", "upstream: {url: \""+says.URL+"\", transport: streamable}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, service := range []string{"store", "tools", "regstore", "regtools", "events", "says"} {
		s.put(t, "proxy-grants", service+".yaml", "consumers: [alice, bob]\nlimits: {concurrent: 1}\n")
	}
	p := start(t, s).ready()
	over := func(t *testing.T, what string, a answer) {
		t.Helper()
		if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", what, a.Status, a.Header, a.Body)
		}
	}
	for _, k := range kinds {
		t.Run(k.service, func(t *testing.T) {
			p := p.in(t)
			c, other := p.client(k.service, aliceKey), p.client(k.service, bobKey)
			c.initialize()
			other.initialize()
			stream := c.events(http.MethodGet, "", "")
			over(t, "a second stream", p.get("/mcp/"+k.service, aliceKey, "Mcp-Session-Id", c.session))
			over(t, "an HTTP+SSE stream", p.get("/sse/"+k.service, aliceKey))
			if a := c.call(k.tool, k.arguments); a.text() != k.want {
				t.Errorf("a call beside the stream: %d %s", a.Status, a.Body)
			}
			theirs := other.events(http.MethodGet, "", "")
			theirs.leave()
			stream.leave()
			eventually(t, 10*time.Second, "the stream that ended makes room", func() bool {
				return p.tryGet("/sse/"+k.service, aliceKey) == http.StatusOK
			})
		})
	}
	t.Run("a subscription is a stream", func(t *testing.T) {
		p := p.in(t)
		c := p.client("store", aliceKey)
		c.initialize()
		eventually(t, 10*time.Second, "the streams of before are gone", func() bool { return p.tryGet("/sse/store", aliceKey) == http.StatusOK })
		eventually(t, 10*time.Second, "and the last one", func() bool {
			a := c.ask(modern, "subscriptions/listen", "", `"notifications":{}`) // to nothing: it ends at once
			return a.Status == http.StatusOK
		})
		c.events(http.MethodGet, "", "")
		over(t, "a subscription beside a stream", c.ask(modern, "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`))
	})
	t.Run("an answer of events is a call until its end", func(t *testing.T) {
		p := p.in(t)
		c := p.client("events", aliceKey)
		answer := c.events(http.MethodPost, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{}}}`, "")
		over(t, "a call while another is answered", c.call("x", "{}"))
		close(hold)
		for range answer.lines { // to its end
		}
		eventually(t, 10*time.Second, "there is room again", func() bool { return c.call("x", "{}").Status == http.StatusOK })
	})
	t.Run("an HTTP+SSE client holds one stream and what is behind it", func(t *testing.T) {
		p := p.in(t)
		c := p.client("says", aliceKey)
		stream := c.follow("HTTP+SSE stream", http.MethodGet, "/sse/says", "", nil)
		var endpoint string
		eventually(t, 10*time.Second, "the endpoint is named", func() bool {
			stream.mu.Lock()
			defer stream.mu.Unlock()
			_, rest, _ := strings.Cut(stream.text.String(), "data: ")
			var whole bool
			endpoint, _, whole = strings.Cut(rest, "\n")
			return whole
		})
		for _, m := range []string{`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`,
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`} {
			if status := p.post(endpoint, aliceKey, m); status != http.StatusAccepted {
				t.Fatalf("%s: %d", m, status)
			}
			eventually(t, 10*time.Second, "initialize is answered", func() bool { return stream.heard("serverInfo") })
		}
		eventually(t, 10*time.Second, "what the backend says of its own accord arrives", func() bool { return stream.heard("of my own accord") })
	})
}

// get asks for a stream that is refused.
func (p *proxy) get(path, key string, header ...string) answer {
	p.t.Helper()
	resp := p.open(path, key, header...)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK { // and would last
		return answer{Status: resp.StatusCode, Header: resp.Header}
	}
	body, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// tryGet opens a stream, leaves it and returns its status.
func (p *proxy) tryGet(path, key string) int {
	p.t.Helper()
	resp := p.open(path, key)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// open sends a GET; the answer ends with the test.
func (p *proxy) open(path, key string, header ...string) *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.URL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp
}

// post posts a message to an endpoint of the HTTP+SSE transport.
func (p *proxy) post(path, key, body string) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestLimitsHoldForCallersWithoutAKey: a service that is open to all has its limits all the same, for each address.
//
// Seen to fail with callers that are no consumer let in whatever the limits, as they were.
func TestLimitsHoldForCallersWithoutAKey(t *testing.T) {
	w := directoryWorld(t)
	w.put(t, "proxy-grants", "store.yaml", "auth: disabled\nlimits: {rps: 0.001, burst: 3}\n")
	p := start(t, w.source, func(c *config.Config) {
		c.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}).ready()
	var got []int
	for _, from := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"} {
		c := p.client("store", "")
		c.header.Set("X-Forwarded-For", from)
		in := 0
		for range 3 {
			if c.list().Status == http.StatusOK {
				in++
			}
		}
		got = append(got, in)
	}
	if diff := cmp.Diff([]int{3, 0, 3, 3, 0, 3}, got); diff != "" {
		t.Errorf("let in, by address: %s", diff)
	}
}

// TestPlacesAreSharedAmongCallers: on a service that is open to all one address takes every place of HTTP+SSE clients. Others,
// with a key or without, find one all the same.
//
// Seen to fail with the address not handed to the relay.
func TestPlacesAreSharedAmongCallers(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-grants", "store.yaml", "auth: disabled\n")
	s.put(t, "proxy-grants", "tools.yaml", "tools: {add: [bob]}\n")
	p := start(t, s, func(c *config.Config) {
		c.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Limits.Sessions = 4
	}).ready()
	connect := func(service, key, from string, want int) {
		t.Helper()
		resp := p.open("/sse/"+service, key, "X-Forwarded-For", from)
		if resp.StatusCode != want {
			t.Errorf("%s from %s: %d, want %d", service, from, resp.StatusCode, want)
		}
	}
	for range 4 {
		connect("store", "", "192.0.2.1", http.StatusOK)
	}
	connect("store", "", "192.0.2.1", http.StatusTooManyRequests)
	connect("store", "", "192.0.2.2", http.StatusOK)
	connect("tools", bobKey, "192.0.2.1", http.StatusOK)
	connect("store", "", "192.0.2.1", http.StatusTooManyRequests)
}
