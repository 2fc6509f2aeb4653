package e2e

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// openStream opens the GET stream of a legacy session and gives the data of its events; the channel closes with it.
func (c *client) openStream() <-chan string {
	c.p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.p.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.p.URL+"/mcp/"+c.service, nil)
	if err != nil {
		c.p.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Mcp-Session-Id", c.session)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.p.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Accel-Buffering") != "no" {
		c.p.t.Fatalf("GET: %d %v", resp.StatusCode, resp.Header)
	}
	events := make(chan string, 16)
	go func() {
		defer close(events)
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				events <- data
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan string, what string) (string, bool) {
	t.Helper()
	select {
	case e, ok := <-events:
		return e, ok
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing came: %s", what)
		return "", false
	}
}

// TestA17_OpenStreamsFollowTheirGrant holds a stream open while its grant is edited and taken away, or ends by itself.
//
// Seen to fail with open streams never reviewed, and with their review at a time when nothing has expired.
func TestA17_OpenStreamsFollowTheirGrant(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, k := range kinds {
		s.put(t, "proxy-grants", k.service+".yaml", "consumers: [alice]\n")
	}
	p := start(t, s).ready()
	for _, k := range kinds {
		t.Run(k.service, func(t *testing.T) {
			c := p.client(k.service, aliceKey)
			c.initialize()
			events := c.openStream()
			s.put(t, "proxy-grants", k.service+".yaml", "tools: {"+k.tool+": [alice]}\n")
			if e, _ := next(t, events, "list_changed after an edit"); !strings.Contains(e, "notifications/tools/list_changed") {
				t.Errorf("got %q", e)
			}
			soon := time.Now().Add(1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)
			s.put(t, "proxy-grants", k.service+".yaml", "tools: {"+k.tool+": [{consumer: alice, notAfter: "+soon+"}]}\n")
			for {
				if _, open := next(t, events, "the end of an expired grant"); !open {
					break
				}
			}
			if a := c.list(); a.Status != http.StatusForbidden {
				t.Errorf("after the grant ended: %d", a.Status)
			}
		})
	}
	c := p.client("store", aliceKey)
	s.put(t, "proxy-grants", "store.yaml", "consumers: [alice]\n")
	eventually(t, 5*time.Second, "alice is back", func() bool { return c.initialize().Status == 200 })
	events := c.openStream()
	s.put(t, "proxy-consumers", "alice.yaml", consumer(bobKey))
	if e, open := next(t, events, "the end of a stream whose key was revoked"); open {
		t.Errorf("got %q", e)
	}
}

// TestHTTPAndSSEClientsReachEveryKind uses the go-sdk's client for the transport of 2024-11-05.
func TestHTTPAndSSEClientsReachEveryKind(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, k := range kinds {
		s.put(t, "proxy-grants", k.service+".yaml", "tools: {"+k.tool+": [bob]}\n")
	}
	p := start(t, s).ready()
	for _, k := range kinds {
		t.Run(k.service, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			transport := &mcp.SSEClientTransport{Endpoint: p.URL + "/sse/" + k.service, HTTPClient: &http.Client{Transport: withKey(bobKey)}}
			cs, err := mcp.NewClient(&mcp.Implementation{Name: "sse", Version: "1"}, nil).Connect(ctx, transport, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer cs.Close()
			tools, err := cs.ListTools(ctx, nil)
			if err != nil || len(tools.Tools) != 1 || tools.Tools[0].Name != k.tool {
				t.Errorf("list: %v %v", tools, err)
			}
			var arguments map[string]any = map[string]any{"id": 7}
			if k.tool == "add" {
				arguments = map[string]any{"a": 2, "b": 3}
			}
			r, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: k.tool, Arguments: arguments})
			if err != nil || len(r.Content) == 0 || r.Content[0].(*mcp.TextContent).Text != k.want {
				t.Errorf("call: %v %v", r, err)
			}
			if _, err := cs.CallTool(ctx, &mcp.CallToolParams{Name: k.other}); err == nil || !strings.Contains(err.Error(), "Unknown tool") {
				t.Errorf("an ungranted tool: %v", err)
			}
		})
	}
}

// withKey adds a key to every request.
type withKey string

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(k))
	return http.DefaultTransport.RoundTrip(r)
}
