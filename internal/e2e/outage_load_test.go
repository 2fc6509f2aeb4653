package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load sends requests at a steady rate, whether or not earlier ones were answered, and keeps what came of them.
type load struct {
	id     atomic.Int64 // of the last request
	cancel context.CancelFunc
	done   sync.WaitGroup
	client *http.Client

	mu       sync.Mutex
	took     []time.Duration // since the last lap
	failures []string
}

// loadRate is in requests a second, loadMost how many may be under way: a slow answer must not stop the others.
const (
	loadRate = 200
	loadMost = 128
)

// newLoad begins to call each of the kinds in turn with alice's key, within one session each.
func newLoad(t testing.TB, p *proxy, kinds []kind) *load {
	sessions := make([]string, len(kinds))
	for i, k := range kinds {
		c := p.client(k.service, aliceKey)
		if a := c.initialize(); a.Status != http.StatusOK {
			t.Fatalf("initialize %s: %d %s", k.service, a.Status, a.Body)
		}
		sessions[i] = c.session
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: loadMost}}}
	t.Cleanup(l.stop)
	turns := make(chan struct{}, loadMost)
	l.done.Go(func() {
		ticker := time.NewTicker(time.Second / loadRate)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			k := kinds[i%len(kinds)]
			select {
			case turns <- struct{}{}:
			default:
				l.record(0, fmt.Sprintf("%s: %d calls wait for their answer", k.service, loadMost))
				continue
			}
			l.done.Go(func() {
				began := time.Now()
				failure := l.call(p, k, sessions[i%len(kinds)])
				l.record(time.Since(began), failure)
				<-turns
			})
		}
	})
	return l
}

func (l *load) call(p *proxy, k kind, session string) (failure string) {
	// An id of its own: backends refuse one that is still at work in the same session.
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, l.id.Add(1), k.tool, k.arguments)
	req, err := http.NewRequest(http.MethodPost, p.URL+"/mcp/"+k.service, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+aliceKey)
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return fmt.Sprintf("%s: %v", k.service, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if a := (answer{resp.StatusCode, resp.Header, string(b)}); err != nil || a.text() != k.want {
		return fmt.Sprintf("%s: %d %s %v", k.service, a.Status, a.Body, err)
	}
	return ""
}

func (l *load) record(took time.Duration, failure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failure != "" {
		l.failures = append(l.failures, failure)
		return
	}
	l.took = append(l.took, took)
}

// lap gives the p99 of the calls since the last lap, and fails for those that failed.
func (l *load) lap(t testing.TB, what string) time.Duration {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.failures); n > 0 {
		t.Errorf("%s: %d calls failed, the first with %s", what, n, l.failures[0])
	}
	if len(l.took) == 0 {
		t.Fatalf("%s: no call was answered", what)
	}
	slices.Sort(l.took)
	p99 := l.took[len(l.took)*99/100]
	t.Logf("%s: %d calls, p50 %s, p99 %s", what, len(l.took), l.took[len(l.took)/2].Round(10*time.Microsecond), p99.Round(10*time.Microsecond))
	l.took, l.failures = nil, nil
	return p99
}

func (l *load) stop() {
	l.cancel()
	l.done.Wait()
	l.client.CloseIdleConnections()
}
