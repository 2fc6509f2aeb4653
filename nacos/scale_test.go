package nacos_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestWatchLoadsManyDocuments prints how long a first load takes; what is promised for the whole proxy is 30 s for
// 50,000 documents.
func TestWatchLoadsManyDocuments(t *testing.T) {
	documents := 2000
	if testing.Verbose() {
		documents = 10_000
	}
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	c := connect(t, s, inNamespace(ns))
	body := make([]byte, 2000)
	for i := range body {
		body[i] = 'a' + byte(i%26)
	}
	var wg sync.WaitGroup
	turns := make(chan struct{}, 32)
	began := time.Now()
	for i := range documents {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			publish(t, c, nacos.Key{Group: "g", DataID: fmt.Sprintf("d%d.yaml", i)}, fmt.Sprintf("%d %s", i, body), nacos.AnyMD5)
		})
	}
	wg.Wait()
	t.Logf("published %d documents of 2 kB in %s", documents, time.Since(began).Round(time.Millisecond))

	reader := connect(t, s, inNamespace(ns))
	began = time.Now()
	v, w := follow(t, reader, nil, "g")
	v.awaitSync(t)
	t.Logf("loaded in %s", time.Since(began).Round(time.Millisecond))
	if n := len(v.get()); n != documents {
		t.Errorf("%d documents, want %d", n, documents)
	}
	known := make(map[nacos.Key]string)
	entries, err := reader.List(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		known[e.Key] = e.MD5
	}
	w.Close()
	began = time.Now()
	again, _ := follow(t, reader, known, "g")
	again.awaitSync(t)
	t.Logf("in sync with everything known in %s", time.Since(began).Round(time.Millisecond))
	if again.changes != 0 {
		t.Errorf("%d changes delivered that were known", again.changes)
	}
	key := nacos.Key{Group: "g", DataID: "d7.yaml"}
	began = time.Now()
	publish(t, c, key, "edited", nacos.AnyMD5)
	eventually(t, 10*time.Second, "an edit", again.has(key, "edited"))
	t.Logf("one edit in effect after %s", time.Since(began).Round(time.Millisecond))
	added := nacos.Key{Group: "g", DataID: "new.yaml"}
	began = time.Now()
	publish(t, c, added, "added", nacos.AnyMD5)
	eventually(t, 30*time.Second, "a new document", again.has(added, "added"))
	t.Logf("a new document in a group of %d in effect after %s", documents, time.Since(began).Round(time.Millisecond))
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d goroutines, heap %d MB", runtime.NumGoroutine(), m.HeapAlloc>>20)
}
