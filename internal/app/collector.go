package app

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
)

// How often the garbage collector runs. A proxy at rest holds little but its configuration, and a small heap is what people
// look at; one at work makes garbage with every call, and marking tens of thousands of grants four times a second cost
// a fifth of its time and half of its 99th percentile (docs/performance.md). So the room for garbage grows with the
// configuration while there is work, and shrinks to half of it afterwards.
const (
	restPercent = 50        // garbage per live byte at rest
	minRoom     = 16 << 20  // bytes of garbage at work: below this collections come too often,
	maxRoom     = 128 << 20 // above it more room shows in no measurement any more

	collectorTick = time.Second
	restAfter     = 10 // quiet ticks until it is rest

	// Work is told by how much garbage is made, not by how many collections there are: a large heap has room for so much that
	// they seldom come, even at rest, and each takes a tenth of a second.
	workBytes  = 6 << 20 // in a tick, on the average of about four, and it is work
	quietBytes = 1 << 20 // in a tick, and it is a quiet one
)

// collector follows how busy the garbage collector is.
type collector struct {
	cycles  uint64 // seen by the last tick
	made    uint64 // seen by the last tick
	recent  uint64 // bytes made, less by a quarter with each tick
	quiet   int    // ticks in a row
	working bool
	percent int    // set last
	left    uint64 // cycles when garbage was last cleared away
}

// heap is what the collector looks at.
type heap struct {
	cycles uint64 // collections since the start
	made   uint64 // bytes allocated since the start
	live   uint64 // bytes that the last one found alive, with stacks and globals: what GOGC is a percentage of
}

// workPercent gives the GOGC at which room for garbage is three times what lives, within the bounds, and never less than at
// rest.
func workPercent(live uint64) int {
	live = max(live, 1<<20)
	room := min(max(3*live, minRoom), maxRoom)
	return max(int(room*100/live), restPercent)
}

// softLimit returns what GOMEMLIMIT should be while messages hold held bytes of a budget: room for twice the configuration
// and twice the budget, so that the garbage of large messages is collected before it counts, and a large configuration
// never has the collector run without end. group is the limit of the control group, 0 where there is none, of which a tenth
// is left for what is not Go's.
func softLimit(live uint64, held, limit, group int64) int64 {
	own := max(int64(live)-held, 16<<20)
	soft := 2*own + 2*limit + 32<<20
	if group > 0 {
		soft = min(max(soft, group/2), group-group/10)
	}
	return soft
}

// tick takes a look and gives the GOGC that should hold from now on.
func (c *collector) tick(h heap) int {
	made := h.made - c.made
	c.cycles, c.made = h.cycles, h.made
	c.recent += made - c.recent/4
	if c.quiet++; made > quietBytes {
		c.quiet = 0
	}
	switch {
	case c.quiet >= restAfter:
		c.working = false
	case c.recent >= 4*workBytes:
		c.working = true
	}
	want := restPercent
	if c.working {
		want = workPercent(h.live)
	}
	// Setting it stops the world for a moment: not for every wobble of the live heap.
	if diff := want - c.percent; diff*10 < c.percent && -diff*10 < c.percent {
		return c.percent
	}
	return want
}

// leaves tells, once after each spell of work that made collections run, that it has ended: its last garbage would lie there
// until somebody makes more.
func (c *collector) leaves() bool {
	if c.quiet < restAfter || c.cycles == c.left {
		return false
	}
	c.left = c.cycles
	return true
}

// paceCollector sets GOGC by need until stop is called. One that the environment sets stays; GOMEMLIMIT is a limit that the
// runtime keeps whatever is set here.
// The soft limit on memory follows need, too, unless GOMEMLIMIT is set.
func (a *App) paceCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	unlimited := debug.SetMemoryLimit(-1)
	limits := func(heap) {}
	if os.Getenv("GOMEMLIMIT") == "" {
		group, set := budget.GroupLimit(), int64(0)
		limits = func(h heap) {
			m := a.memory.State()
			want := softLimit(h.live, m.Held, m.Limit, group)
			if diff := want - set; diff*20 > set || -diff*20 > set { // setting it stops the world for a moment
				debug.SetMemoryLimit(want)
				set = want
			}
		}
		limits(readHeap())
	}
	before := debug.SetGCPercent(restPercent)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(collectorTick)
		defer ticker.Stop()
		c := collector{percent: restPercent}
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			h := readHeap()
			limits(h)
			if first { // what starting took says nothing of what comes
				c.cycles, c.made = h.cycles, h.made
			}
			if want := c.tick(h); want != c.percent {
				debug.SetGCPercent(want)
				c.percent = want
			}
			if c.leaves() { // nobody may allocate enough for the next collection to come
				debug.FreeOSMemory()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(unlimited)
	}
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/cycles/automatic:gc-cycles"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	return heap{
		cycles: samples[0].Value.Uint64(),
		made:   samples[4].Value.Uint64(),
		live:   samples[1].Value.Uint64() + samples[2].Value.Uint64() + samples[3].Value.Uint64(),
	}
}
