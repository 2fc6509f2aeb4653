package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// follower is an open stream of a client.
type follower struct {
	what string
	done chan struct{} // closed when the proxy has ended it

	mu   sync.Mutex
	text strings.Builder
}

func (f *follower) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *follower) heard(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(f.text.String(), text)
}

// follow opens a stream: GET of a session, the HTTP+SSE transport, or subscriptions/listen. It ends with the test.
func (c *client) follow(what, method, path, body string, header http.Header) *follower {
	c.p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.p.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, c.p.URL+path, strings.NewReader(body))
	if err != nil {
		c.p.t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.key)
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.p.t.Fatalf("open %s of %s: %v", what, c.service, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		c.p.t.Fatalf("open %s of %s: %d", what, c.service, resp.StatusCode)
	}
	f := &follower{what: what + " of " + c.service, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		defer resp.Body.Close()
		for in := bufio.NewScanner(resp.Body); in.Scan(); {
			f.mu.Lock()
			fmt.Fprintln(&f.text, in.Text())
			f.mu.Unlock()
		}
	}()
	return f
}

// openAll opens a stream of every sort on every kind of service, and a legacy session on each.
func openAll(p *proxy, key string) (sessions []*client, streams []*follower) {
	for _, k := range kinds {
		c := p.client(k.service, key)
		c.initialize()
		if c.session == "" {
			p.t.Fatalf("%s gave no session", k.service)
		}
		sessions = append(sessions, c)
		streams = append(streams,
			c.follow("session stream", http.MethodGet, "/mcp/"+k.service, "", nil),
			p.client(k.service, key).follow("HTTP+SSE stream", http.MethodGet, "/sse/"+k.service, "", nil))
	}
	listen := http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"subscriptions/listen"}}
	for _, service := range []string{"store", "regstore"} {
		streams = append(streams, p.client(service, key).follow("subscription", http.MethodPost, "/mcp/"+service,
			`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, listen))
	}
	return sessions, streams
}

// in gives the proxy to a subtest.
func (p *proxy) in(t testing.TB) *proxy {
	sub := *p
	sub.t = t
	return &sub
}

// TestA17_WhatIsRevokedEndsWithinASecond revokes access in each way there is, in the real Nacos, while sessions and
// streams of it are open on all four kinds. Those of a bystander live on.
//
// Seen to fail: with Gateway.review doing nothing (streams live on), with it ending every stream (the bystander's end
// too), and with streams judged by the consumer without its key (key revoked, key disabled).
func TestA17_WhatIsRevokedEndsWithinASecond(t *testing.T) {
	s, server, namespace := realNacos(t)
	fourKindsOnNacos(t, s, server, namespace)
	grantAll := func(document string) {
		for _, k := range kinds {
			s.put(t, "proxy-grants", k.service+".yaml", document)
		}
	}
	const grants = "consumers: [bob, alice, {group: research}]\n"
	spare := "  - {id: k2, sha256: " + digest(key("spare")) + "}\n"
	twoKeys := consumer(aliceKey) + spare
	s.put(t, "proxy-consumers", "alice.yaml", twoKeys)
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	grantAll(grants)
	all := start(t, s).ready()
	for _, c := range []struct {
		name          string
		prepare, edit func()
		status        int
		bystander     string // key whose streams stay
	}{
		{"grant revoked", nil, func() { grantAll("consumers: [bob]\n") }, 403, bobKey},
		{"grants document removed", nil, func() {
			for _, k := range kinds {
				s.remove(t, "proxy-grants", k.service+".yaml")
			}
		}, 403, ""},
		{"group taken from the consumer", func() {
			grantAll("consumers: [bob, {group: research}]\n")
			s.put(t, "proxy-consumers", "alice.yaml", twoKeys+"groups: [research]\n")
		}, func() { s.put(t, "proxy-consumers", "alice.yaml", twoKeys) }, 403, bobKey},
		{"key revoked", nil, func() { s.put(t, "proxy-consumers", "alice.yaml", "keys:\n"+spare) }, 401, key("spare")},
		{"key disabled", nil, func() {
			s.put(t, "proxy-consumers", "alice.yaml", "keys:\n  - {id: k1, enabled: false, sha256: "+digest(aliceKey)+"}\n"+spare)
		}, 401, key("spare")},
		{"consumer disabled", nil, func() {
			s.put(t, "proxy-consumers", "alice.yaml", "enabled: false\n"+strings.TrimPrefix(twoKeys, "enabled: true\n"))
		}, 401, bobKey},
		{"consumer removed", nil, func() { s.remove(t, "proxy-consumers", "alice.yaml") }, 401, bobKey},
		{"switch on again", func() { grantAll("auth: disabled\nconsumers: [bob]\n") }, func() { grantAll("auth: required\nconsumers: [bob]\n") }, 403, ""},
		{"grants document broken while the switch was off", func() { grantAll("auth: disabled\n") }, func() { grantAll("auth: disabled\nconsumer: [bob]\n") }, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := all.in(t)
			s.put(t, "proxy-consumers", "alice.yaml", twoKeys)
			grantAll(grants)
			if c.prepare != nil {
				c.prepare()
			}
			for _, k := range kinds {
				eventually(t, 15*time.Second, "alice may use "+k.service, func() bool { return p.client(k.service, aliceKey).initialize().Status == 200 })
			}
			// Whatever is on its way from the preparations has to be there before streams are opened.
			time.Sleep(300 * time.Millisecond)
			sessions, streams := openAll(p, aliceKey)
			var others []*follower
			if c.bystander != "" {
				_, others = openAll(p, c.bystander)
			}
			for _, f := range append(others, streams...) {
				if f.ended() {
					t.Errorf("%s ended by itself", f.what)
				}
			}
			c.edit()
			within(t, "sessions are refused", func() bool {
				for _, session := range sessions {
					if session.list().Status != c.status {
						return false
					}
				}
				return true
			})
			within(t, "streams are ended", func() bool {
				for _, f := range streams {
					if !f.ended() {
						return false
					}
				}
				return true
			})
			for _, f := range others {
				if f.ended() {
					t.Errorf("the bystander's %s was ended", f.what)
				}
			}
		})
	}
}

// TestA17_ExpiryNeedsNoEdit lets a key, a service grant, a tool grant and one of two tool grants expire.
//
// Seen to fail: with no regular review of streams, and with KeyState ignoring notAfter.
func TestA17_ExpiryNeedsNoEdit(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	end := time.Now().Add(5 * time.Second).Truncate(time.Second)
	at := end.UTC().Format(time.RFC3339)
	s.put(t, "proxy-consumers", "keyed.yaml", "keys: [{id: k1, notAfter: "+at+", sha256: "+digest(key("keyed"))+"}]\n")
	for _, name := range []string{"served", "tooled", "halved"} {
		s.put(t, "proxy-consumers", name+".yaml", consumer(key(name)))
	}
	for _, k := range kinds {
		s.put(t, "proxy-grants", k.service+".yaml", fmt.Sprintf(`
consumers: [keyed, {consumer: served, notAfter: %[1]s}]
tools:
  %[2]s: [{consumer: tooled, notAfter: %[1]s}, {consumer: halved, notAfter: %[1]s}]
  %[3]s: [halved]
`, at, k.tool, k.other))
	}
	p := start(t, s).ready()
	ended := map[string][]*follower{}
	for _, name := range []string{"keyed", "served", "tooled", "halved"} {
		_, ended[name] = openAll(p, key(name))
	}
	for _, k := range kinds {
		c := p.client(k.service, key("halved"))
		c.initialize()
		if got := c.list().tools(); len(got) != 2 {
			t.Fatalf("%s: halved sees %v before the end", k.service, got)
		}
	}
	for name, streams := range ended {
		for _, f := range streams {
			if f.ended() && time.Now().Before(end) {
				t.Errorf("%s: %s ended before its time", name, f.what)
			}
		}
	}
	time.Sleep(time.Until(end))
	within(t, "the streams of those who lost everything are ended", func() bool {
		for _, name := range []string{"keyed", "served", "tooled"} {
			for _, f := range ended[name] {
				if !f.ended() {
					return false
				}
			}
		}
		return true
	})
	for _, k := range kinds {
		for name, status := range map[string]int{"keyed": 401, "served": 403, "tooled": 403} {
			if a := p.client(k.service, key(name)).list(); a.Status != status {
				t.Errorf("%s on %s: %d, want %d", name, k.service, a.Status, status)
			}
		}
		c := p.client(k.service, key("halved"))
		c.initialize()
		if got := c.list().tools(); len(got) != 1 || got[0] != k.other {
			t.Errorf("%s: halved sees %v after the end", k.service, got)
		}
	}
	for _, f := range ended["halved"] {
		if f.ended() {
			t.Errorf("%s of halved was ended", f.what)
		}
		if !strings.HasPrefix(f.what, "HTTP+SSE") { // without initialize there is nothing to tell it
			eventually(t, 5*time.Second, f.what+" says that the list has changed", func() bool { return f.heard("notifications/tools/list_changed") })
		}
	}
}
