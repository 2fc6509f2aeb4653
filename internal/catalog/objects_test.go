package catalog

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestObjectsOfAService: what the garbage collector takes goes by the number of objects that live more than by their bytes,
// and with ten thousand services most are those of documents. Counted are all that a service and a consumer leave behind,
// those of their changes (name, MD5) included. Seen red with contents, names of tools and other strings each for itself,
// and with the documents that services may get kept for each: 49 and 76 objects.
func TestObjectsOfAService(t *testing.T) {
	const n = 2000
	consumer := func(i int) nacos.Change {
		return change("proxy-consumers", fmt.Sprintf("c%d.yaml", i), fmt.Sprintf("groups: [everyone]\nkeys:\n  - {id: k0, sha256: %064x}\n  - {id: k1, sha256: %064x}\n", 2*i, 2*i+1))
	}
	grants := func(i int) nacos.Change {
		return change("proxy-grants", fmt.Sprintf("s%d.yaml", i), fmt.Sprintf("auth: required\nconsumers: [c%d]\ntools: {tool_1: [c%d, c0]}\n", i, i+1))
	}
	var tools []string
	for i := range 10 {
		tools = append(tools, fmt.Sprint("tool_", i))
	}
	for _, kind := range []struct {
		name    string
		changes func(i int) []nacos.Change
		most    float64
	}{
		{"own", func(i int) []nacos.Change {
			doc := "tools:\n"
			for _, tool := range tools {
				doc += "  - {name: " + tool + ", description: d, requestTemplate: {url: \"http://127.0.0.1:1/x\", method: GET}}\n"
			}
			return []nacos.Change{change("proxy-services", fmt.Sprintf("s%d.yaml", i), doc), grants(i), consumer(i)}
		}, 38},
		{"of the registry", func(i int) []nacos.Change {
			id := fmt.Sprintf("%08x", i)
			return []nacos.Change{toolset(id, "1.0.0", tools...), manifest(id, fmt.Sprintf("s%d", i), "1.0.0", "1.0.0"), spec(id, "1.0.0", "api"), grants(i), consumer(i)}
		}, 52},
	} {
		t.Run(kind.name, func(t *testing.T) {
			w := newWorld(t, 8)
			w.mu.Lock()
			w.accepted, w.wants = nil, nil // nothing is recorded: it would count
			w.mu.Unlock()
			before := objects()
			var all []nacos.Change
			for i := range n {
				all = append(all, kind.changes(i)...)
			}
			w.Apply(all)
			clear(all)
			for w.Index().services.size < n || w.Pending() > 0 || w.Busy() {
				time.Sleep(10 * time.Millisecond)
			}
			per := (objects() - before) / n
			t.Logf("%.1f objects for each", per)
			if per > kind.most {
				t.Errorf("a service and a consumer take %.1f objects, want %.0f at most", per, kind.most)
			}
			runtime.KeepAlive(w)
		})
	}
}

// objects gives how many live on the heap.
func objects() float64 {
	var m runtime.MemStats
	for range 3 { // what pools hold goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapObjects)
}
