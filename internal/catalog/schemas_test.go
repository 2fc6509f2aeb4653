package catalog

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestPatternsOfADocumentNobodyCalls: a document of patterns alone, as large as one may be, is validated in the background
// like any other, in bounded time and memory: over restarts it was an endless loop of out-of-memory kills. Its tools that
// take too much are named, and a change elsewhere is in force at once meanwhile.
func TestPatternsOfADocumentNobodyCalls(t *testing.T) {
	var b strings.Builder
	b.WriteString("upstream: {url: https://api.example.com}\ntools:\n")
	for i := 0; b.Len() < registry.MaxDocument-2_000; i++ {
		fmt.Fprintf(&b, "  - name: t%d\n    inputSchema: {type: object, properties: {x: {type: string, pattern: '^(?:%s){900}$'}}}\n    requestTemplate: {url: /x}\n", i, strings.Repeat("[a-y]?", 20+i%2*60))
	}
	w := newWorld(t, 10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	w.Apply([]nacos.Change{change(registry.GroupServices, "patterns.yaml", b.String())})
	await(t, "the document is there", func() bool { return w.Index().Service("patterns") != nil })
	w.Apply([]nacos.Change{change(registry.GroupServices, "other.yaml", own("x"))})
	await(t, "the other document is there", func() bool { return w.Index().Service("other") != nil })
	await(t, "all is validated", w.Validated)
	runtime.ReadMemStats(&after)
	if took, bytes := time.Since(start), after.TotalAlloc-before.TotalAlloc; took > 20*time.Second || bytes > 1<<30 {
		t.Errorf("took %v and %d MB", took, bytes>>20)
	}
	found := w.Index().Document(change(registry.GroupServices, "patterns.yaml", "").Key).Rejections
	if len(found) == 0 {
		t.Fatal("nothing is said of the document")
	}
	for _, r := range found {
		if r.Message == "there are more faults: mend these first" {
			continue
		}
		if r.Tool == "" || !strings.Contains(r.Message, "too large together") && !strings.Contains(r.Message, "repetitions multiply") {
			t.Fatal(r)
		}
	}
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
