package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// TestA34_AbandonedBridgedSessionsLeaveNothing opens 10,000 sessions with an HTTP+SSE backend, each of which costs a
// connection to it, and leaves them without a word. Never are more open than limits.sessions allows; the ones that had to
// go are unknown afterwards, also to the stream that one of them had open, and their clients can start anew. Those that
// remain expire after limits.sessionIdle, and goroutines, descriptors and heap are what they were. Seen to fail with
// bridges.lru's callback left empty, with bridge.expire left empty, and with the size of the LRU a hundredfold.
func TestA34_AbandonedBridgedSessionsLeaveNothing(t *testing.T) {
	n, bound := 10_000, 256
	if testing.Short() {
		n = 1_000
	}
	s := directory(t)
	backend := newOldServer(t, oldAnswer)
	s.put(t, "proxy-services", "old.yaml", "upstream: {url: \""+backend.URL+"/sse\", transport: sse}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "old.yaml", "consumers: [alice]\n")
	p := start(t, s, func(c *config.Config) { c.Limits.Sessions, c.Limits.SessionIdle = bound, 5*time.Second }).ready()
	abandon := func(n int) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := w; i < n; i += 8 {
					c := p.client("old", aliceKey)
					if a := c.initialize(); a.Status != 200 || c.session == "" {
						t.Errorf("session %d: %d %s", i, a.Status, a.Body)
						return
					}
					if i%20 == 0 {
						p.dropStream(t, "/mcp/old", c)
					}
				}
			})
		}
		wg.Wait()
	}
	drained := func() {
		t.Helper()
		eventually(t, time.Minute, "the sessions that nobody uses have expired", func() bool { return backend.open() == 0 })
	}
	abandon(2 * bound) // pools fill
	drained()
	before := measure()

	first := p.client("old", aliceKey)
	first.initialize()
	stream := first.openStream()
	abandon(n)
	for open, limit := true, time.After(20*time.Second); open; { // however busy it was, its stream ends
		select {
		case _, open = <-stream:
		case <-limit:
			t.Fatal("the longest unused session is still open")
		}
	}
	for _, a := range []answer{first.list(), first.do(http.MethodGet, ""), first.do(http.MethodDelete, "")} {
		if a.Status != http.StatusNotFound {
			t.Errorf("a session that had to go: %d %s", a.Status, a.Body)
		}
	}
	if first.session = ""; first.initialize().Status != 200 || first.list().Status != 200 {
		t.Error("its client cannot start anew")
	}
	backend.mu.Lock()
	opened, most := backend.opened, backend.most
	backend.mu.Unlock()
	// The backend notices a moment later that a session has ended, and eight clients are at work.
	if opened < n || most > bound+64 {
		t.Errorf("%d sessions were opened, %d at once with a bound of %d", opened, most, bound)
	}
	drained()
	if a := first.list(); a.Status != http.StatusNotFound {
		t.Errorf("a session that was unused for too long: %d %s", a.Status, a.Body)
	}
	var after footprint
	eventually(t, 30*time.Second, "back to the baseline", func() bool {
		after = measure()
		return after.goroutines <= before.goroutines+10 && after.descriptors <= before.descriptors+10 && after.heap <= before.heap+2<<20
	})
	t.Logf("%d sessions, at most %d at once; before %+v, after %+v", opened, most, before, after)
}
