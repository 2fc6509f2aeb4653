package catalog

import (
	"fmt"
	"runtime"
	"testing"
	"weak"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestMemoryOfAServiceThatLeftTheLRUIsGivenBack: nothing holds a compiled service but the LRU and the calls that use it.
// Seen red with released services kept in a list, and with those of removed services left in the LRU.
func TestMemoryOfAServiceThatLeftTheLRUIsGivenBack(t *testing.T) {
	const room, services = 10, 100
	w := newWorld(t, room)
	var all []nacos.Change
	for i := range services {
		all = append(all, change("proxy-services", fmt.Sprintf("s%d.yaml", i), own(fmt.Sprint("tool", i))))
	}
	w.put(all...)
	var records []weak.Pointer[Compiled]
	var converted []weak.Pointer[convert.Service]
	use := func(name string) *Compiled {
		x, err := w.Compiled(w.Index().Service(name).Latest)
		if err != nil {
			t.Fatal(err)
		}
		records, converted = append(records, weak.Make(x)), append(converted, weak.Make(x.Service))
		return x
	}
	held := use("s0")
	for i := 1; i < services; i++ {
		use(fmt.Sprintf("s%d", i)).Release()
	}
	expect := func(when string, want int) {
		t.Helper()
		// golang-lru keeps the one that it evicted last in a buffer.
		if n, m := alive(records), alive(converted); n < want || n > want+1 || m < want || m > want+1 {
			t.Errorf("%s: %d compiled services and %d of their tools are in memory, want %d", when, n, m, want)
		}
	}
	expect("100 used, one of them still", room+1)
	if held.Service.Tools == nil {
		t.Error("a service in use lost its tools")
	}
	held.Release()
	held = nil
	expect("none in use", room)

	last := fmt.Sprintf("s%d.yaml", services-1)
	w.put(change("proxy-services", last, own("edited")))
	expect("one of them edited, its new version compiled aside", room-1)
	w.put(gone("proxy-services", fmt.Sprintf("s%d.yaml", services-2)))
	expect("and one removed", room-2)
}

func alive[T any](all []weak.Pointer[T]) int {
	runtime.GC()
	runtime.GC() // what the first one's finalizers held
	n := 0
	for _, p := range all {
		if p.Value() != nil {
			n++
		}
	}
	return n
}
