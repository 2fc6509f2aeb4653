package relay

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"testing"
)

// idleWriter is a client's side that takes everything.
type idleWriter struct{ header http.Header }

func (w *idleWriter) Header() http.Header         { return w.header }
func (w *idleWriter) WriteHeader(int)             {}
func (w *idleWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *idleWriter) Flush()                      {}

// TestMemoryOfAnIdleStream counts what the relay holds of a stream that waits, without the connection, its request and its
// goroutine: of thousands of sessions most do nothing else. Seen red with a context of its own for each, and values of
// headers made for each: 1,125 bytes.
func TestMemoryOfAnIdleStream(t *testing.T) {
	const n, most = 1000, 950
	var all sync.WaitGroup
	wait, other := make(chan struct{}), make(chan struct{})
	for range n { // what the runtime keeps of so many goroutines is not the relay's
		all.Go(func() {
			select {
			case <-wait:
			case <-other:
			}
		})
	}
	close(wait)
	all.Wait()

	ctx, leave := context.WithCancel(t.Context())
	requests, writers := make([]*http.Request, n), make([]idleWriter, n)
	for i := range n {
		of, cancel := context.WithCancel(ctx) // as a server makes them: one for each request
		defer cancel()
		of.Done()
		requests[i], _ = http.NewRequestWithContext(of, http.MethodGet, "http://proxy/mcp/svc", nil)
		writers[i].header = http.Header{"Content-Type": nil, "X-Accel-Buffering": nil, "Cache-Control": nil}
		clear(writers[i].header) // the room stays
	}
	r := New(Options{})
	t.Cleanup(r.Close)
	exchange := Exchange{Service: "svc", Consumer: "alice", View: 1}
	before := heapBytes()
	for i := range n {
		all.Go(func() { r.Idle(&writers[i], requests[i], &exchange, nil) })
	}
	for opened := 0; opened < n; runtime.Gosched() {
		r.mu.Lock()
		opened = len(r.streams)
		r.mu.Unlock()
	}
	per := (heapBytes() - before) / n
	leave()
	all.Wait()
	t.Logf("%d bytes for each", per)
	if per > most {
		t.Errorf("an idle stream holds %d bytes, want %d at most", per, most)
	}
	runtime.KeepAlive(requests)
}

func heapBytes() int {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
