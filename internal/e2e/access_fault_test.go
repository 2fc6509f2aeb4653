package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// TestA24_MalformedGrantsNeverOpen breaks grants documents in the real Nacos: at first sight, later, with the switch off,
// and over a restart; the boot configuration says that services without a document are open to all.
//
// Seen to fail: with a rejected document counted as none, and without Closed for one that has an earlier version.
func TestA24_MalformedGrantsNeverOpen(t *testing.T) {
	s, _, _ := realNacos(t)
	api := newRecorder(t, shop)
	for _, name := range []string{"first", "later", "off", "free"} {
		s.put(t, "proxy-services", name+".yaml", ownService(api.URL, "one", "one"))
	}
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-grants", "first.yaml", "auth: disabled\nconsumers: [alice]\ntool: {}\n") // a typo: tools
	s.put(t, "proxy-grants", "later.yaml", "auth: required\nconsumers: [alice]\ntools: {one: [bob]}\n")
	s.put(t, "proxy-grants", "off.yaml", "auth: disabled\nconsumers: [alice]\n")
	state := t.TempDir()
	boot := func(c *config.Config) {
		c.Access.Default = registry.AuthDisabled
		c.State.Path = state
	}
	p := start(t, s, boot).ready()
	expect := func(service string, nobody, alice, bob int) {
		t.Helper()
		for who, want := range map[string]int{"": nobody, aliceKey: alice, bobKey: bob} {
			if a := p.client(service, who).list(); a.Status != want {
				t.Errorf("%s with key %.10q: %d, want %d", service, who, a.Status, want)
			}
		}
	}
	expect("free", 200, 200, 200)
	expect("first", 401, 403, 403)
	expect("later", 401, 200, 200)
	expect("off", 200, 200, 200)
	for i, broken := range []string{
		"auth: disable\nconsumers: [alice, bob]\n", "auth: disabled\nauth: disabled\n", "auth: disabled\nconsumers: alice: bob\n", "- auth: disabled\n",
		"auth: disabled\n\tconsumers: []\n", "{{{", "auth: [disabled]\n",
	} {
		t.Run(fmt.Sprint("broken ", i), func(t *testing.T) {
			for _, name := range []string{"first", "later", "off"} {
				s.put(t, "proxy-grants", name+".yaml", broken)
			}
			within(t, "the switch that was off counts as on", func() bool { return p.client("off", "").list().Status == 401 })
			expect("first", 401, 403, 403)
			expect("later", 401, 200, 200)
			expect("off", 401, 200, 403)
		})
	}
	for _, d := range p.status().Documents {
		if d.Group == "proxy-grants" && (d.State != "rejected" || d.Error == "") {
			t.Errorf("status says of %s: %s %q", d.DataID, d.State, d.Error)
		}
	}
	if err := p.Drain(); err != nil {
		t.Fatal(err)
	}
	p = start(t, s, boot).ready()
	expect("first", 401, 403, 403)
	expect("later", 401, 200, 200)
	expect("off", 401, 200, 403)
	for _, name := range []string{"first", "later", "off"} {
		s.put(t, "proxy-grants", name+".yaml", "auth: disabled\n")
		within(t, name+" is open when its document says so", func() bool { return p.client(name, "").list().Status == 200 })
	}
}

// cutter stands between the proxy and Nacos and can cut the line.
type cutter struct {
	addr string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

// newCutter forwards a pair of ports that lie as Nacos's do, HTTP and 1000 above it gRPC.
func newCutter(t testing.TB, to string) *cutter {
	t.Helper()
	c := &cutter{conns: map[net.Conn]bool{}}
	host, port, _ := net.SplitHostPort(to)
	var base int
	fmt.Sscan(port, &base)
	for n := 12000; n < 30000; n += 7 {
		first, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n))
		if err != nil {
			continue
		}
		second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n+1000))
		if err != nil {
			_ = first.Close()
			continue
		}
		c.addr = first.Addr().String()
		go c.serve(first, to)
		go c.serve(second, net.JoinHostPort(host, fmt.Sprint(base+1000)))
		t.Cleanup(func() {
			_, _ = first.Close(), second.Close()
			c.cut()
		})
		return c
	}
	t.Fatal("no free pair of ports")
	return nil
}

func (c *cutter) serve(l net.Listener, to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		c.mu.Lock()
		if err != nil || c.down {
			c.mu.Unlock()
			_ = in.Close()
			if err == nil {
				_ = out.Close()
			}
			continue
		}
		c.conns[in], c.conns[out] = true, true
		c.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			}()
		}
	}
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *cutter) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
}

// TestA25_TooStaleToGoBy cuts the line to Nacos under two proxies: the default one goes on, the one with access.maxStale
// refuses once that long has passed, and lets in again when Nacos is back.
//
// Seen to fail with the check of maxStale taken out of admit.
func TestA25_TooStaleToGoBy(t *testing.T) {
	s, server, _ := realNacos(t)
	line := newCutter(t, server.Addr)
	api := newRecorder(t, shop)
	s.put(t, "proxy-services", "one.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-services", "off.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "one.yaml", "consumers: [alice]\n")
	s.put(t, "proxy-grants", "off.yaml", "auth: disabled\n")
	through := func(c *config.Config) { c.Nacos.Addresses = []string{line.addr} }
	lenient := start(t, s, through).ready()
	const maxStale = 4 * time.Second
	strict := start(t, s, through, func(c *config.Config) { c.Access.MaxStale = maxStale }).ready()
	if a := strict.client("one", aliceKey).call("one", "{}"); a.text() != "one" {
		t.Fatalf("before: %d %s", a.Status, a.Body)
	}
	line.cut()
	began := time.Now()
	eventually(t, 60*time.Second, "the strict one refuses", func() bool { return strict.client("one", aliceKey).list().Status == 503 })
	if took := time.Since(began); took < maxStale-2*time.Second {
		t.Errorf("refused after %s already", took)
	}
	for _, service := range []string{"one", "off", "nosuch"} {
		a := strict.client(service, aliceKey).list()
		if a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, "access.maxStale") || !strings.HasPrefix(a.Body, `{"jsonrpc":"2.0"`) {
			t.Errorf("%s: %d %s", service, a.Status, a.Body)
		}
	}
	if a := lenient.client("one", aliceKey).call("one", "{}"); a.text() != "one" {
		t.Errorf("the default proxy: %d %s", a.Status, a.Body)
	}
	if !lenient.status().Source.Stale {
		t.Error("status does not say that the configuration is stale")
	}
	line.mend()
	eventually(t, 60*time.Second, "the strict one lets in again", func() bool { return strict.client("one", aliceKey).call("one", "{}").text() == "one" })
}

// TestRateLimitsAnswerWithRetryAfter: limits hold per consumer, per tool and per replica, and say when to come back.
//
// Seen to fail with call.limit letting everything in, and with the ticket of a call never released.
func TestRateLimitsAnswerWithRetryAfter(t *testing.T) {
	w := directoryWorld(t)
	hold := make(chan struct{})
	slow := newRecorder(t, func(out http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		shop(out, r)
	})
	w.put(t, "proxy-services", "slow.yaml", ownService(slow.URL, "one", "one"))
	w.put(t, "proxy-grants", "slow.yaml", "consumers: [alice, bob]\nlimits: {concurrent: 1}\n")
	w.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey)+"limits: {rps: 0.01, burst: 7}\n")
	w.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, k := range kinds {
		w.put(t, "proxy-grants", k.service+".yaml", "consumers: [alice, bob]\nlimits: {tools: {\""+k.tool+"\": {rps: 0.01, burst: 2}}}\n")
	}
	one, two := start(t, w.source).ready(), start(t, w.source).ready()
	limited := func(t *testing.T, a answer) {
		t.Helper()
		if a.Status != http.StatusTooManyRequests || !strings.HasPrefix(a.Body, `{"jsonrpc":"2.0","id":7,"error":{"code":`) {
			t.Errorf("over the limit: %d %s", a.Status, a.Body)
		}
		var seconds int
		if _, err := fmt.Sscan(a.Header.Get("Retry-After"), &seconds); err != nil || seconds < 1 || seconds > 101 {
			t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
		}
	}
	for _, k := range kinds {
		t.Run("tool of "+k.service, func(t *testing.T) {
			c := one.client(k.service, bobKey)
			for range 2 {
				if a := c.callIn(modern, k.tool, k.arguments); a.text() != k.want {
					t.Fatalf("within the limit: %d %s", a.Status, a.Body)
				}
			}
			before := w.reached()
			limited(t, c.callIn(modern, k.tool, k.arguments))
			if w.reached() != before {
				t.Error("a refused call reached the backend")
			}
			if a := c.callIn(modern, k.other, "{}"); a.Status != http.StatusOK {
				t.Errorf("another tool: %d %s", a.Status, a.Body)
			}
			if a := c.listIn(modern); a.Status != http.StatusOK {
				t.Errorf("a list: %d %s", a.Status, a.Body)
			}
			if a := two.client(k.service, bobKey).callIn(modern, k.tool, k.arguments); a.text() != k.want {
				t.Errorf("the other replica counts for itself: %d %s", a.Status, a.Body)
			}
		})
	}
	t.Run("consumer over all services", func(t *testing.T) {
		for i := range 7 {
			k := kinds[i%len(kinds)]
			if a := one.client(k.service, aliceKey).listIn(modern); a.Status != http.StatusOK {
				t.Fatalf("within the limit: %d %s", a.Status, a.Body)
			}
		}
		for _, k := range kinds {
			limited(t, one.client(k.service, aliceKey).listIn(modern))
		}
		if a := one.client("store", bobKey).listIn(modern); a.Status != http.StatusOK {
			t.Errorf("somebody else: %d %s", a.Status, a.Body)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		first := make(chan answer, 1)
		go func() { first <- one.client("slow", bobKey).call("one", "{}") }()
		eventually(t, 10*time.Second, "the first call is at the backend", func() bool { return slow.count() == 1 })
		limited(t, one.client("slow", bobKey).call("one", "{}"))
		close(hold)
		if a := <-first; a.text() != "one" {
			t.Errorf("the first call: %d %s", a.Status, a.Body)
		}
		eventually(t, 10*time.Second, "there is room again", func() bool { return one.client("slow", bobKey).call("one", "{}").text() == "one" })
	})
}

// TestLimitsFollowEdits: an edited limit holds without a restart.
//
// Seen to fail with Limiter.bucket keeping the limits that it was made with.
func TestLimitsFollowEdits(t *testing.T) {
	w := directoryWorld(t)
	w.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey)+"limits: {rps: 0.01, burst: 1}\n")
	w.put(t, "proxy-grants", "store.yaml", "consumers: [alice]\n")
	c := start(t, w.source).ready().client("store", aliceKey)
	if first, second := c.list(), c.list(); first.Status != 200 || second.Status != 429 {
		t.Fatalf("%d %d", first.Status, second.Status)
	}
	w.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey)+"limits: {rps: 1000}\n")
	eventually(t, 5*time.Second, "the new limit holds", func() bool { return c.list().Status == 200 })
	w.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	time.Sleep(200 * time.Millisecond)
	for range 20 {
		if a := c.list(); a.Status != 200 {
			t.Fatalf("without a limit: %d %s", a.Status, a.Body)
		}
	}
}
