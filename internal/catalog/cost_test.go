package catalog

import (
	"fmt"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestCostOfAnEditInTheCatalog: reading a document, building and swapping the Index hardly depend on how many services
// there are. The whole path is held in package app; here nothing else takes time, so that less is noticed. Seen red with
// one look at each service, or at each wanted document, per swap.
func TestCostOfAnEditInTheCatalog(t *testing.T) {
	few, many := leastEdit(t, 100), leastEdit(t, 10_000)
	t.Logf("editing, removing and adding one of %6d services: %s", 100, few)
	t.Logf("editing, removing and adding one of %6d services: %s (%.2f times)", 10_000, many, float64(many)/float64(few))
	if many > 2*few+100*time.Microsecond {
		t.Errorf("%s with 10,000 services, %s with 100", many, few)
	}
}

// leastEdit gives the least time that one of many rounds took: the one that nothing came between.
func leastEdit(t *testing.T, n int) time.Duration {
	w := newWorld(t, 16)
	var all []nacos.Change
	for i := range n {
		all = append(all, change("proxy-services", fmt.Sprintf("s%d.yaml", i), own("one")))
	}
	w.Apply(all)
	for w.Index().services.size < n || w.Pending() > 0 || w.Busy() {
		time.Sleep(10 * time.Millisecond)
	}
	w.Close() // its writer; the test is the writer now
	w.options.OnWants = func(more, less []nacos.Key) {}
	least := time.Hour
	for round := range 300 {
		name := fmt.Sprintf("s%d.yaml", round%n)
		edited, removed := change("proxy-services", name, own(fmt.Sprint("v", round))), gone("proxy-services", name)
		began := time.Now()
		w.writer.apply(nil, []nacos.Change{edited}, nil, true)
		w.writer.apply(nil, []nacos.Change{removed}, nil, true)
		w.writer.apply(nil, []nacos.Change{edited}, nil, true)
		least = min(least, time.Since(began))
	}
	return least
}
