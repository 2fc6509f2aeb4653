package app

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
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
	restAfter     = 10 // ticks without a collection until it is rest

	// It is work once collections go through this many bytes in about four seconds. Not once there are so many of them:
	// with ten thousand services one a second takes a tenth of a processor, and with ten none that anybody would notice.
	// At rest half as much garbage is made as is gone through for it, so that this is 6 MB of it a second, whatever lives.
	workBytes = 48 << 20
)

// collector follows how busy the garbage collector is.
type collector struct {
	cycles  uint64 // seen by the last tick
	marked  uint64 // bytes gone through, less by a quarter with each tick
	idle    int    // ticks without a collection
	working bool
	percent int    // set last
	left    uint64 // cycles when garbage was last cleared away
}

// heap is what the collector looks at.
type heap struct {
	cycles uint64 // collections since the start
	live   uint64 // bytes that the last one found alive, with stacks and globals: what GOGC is a percentage of
}

// workPercent gives the GOGC at which room for garbage is three times what lives, within the bounds, and never less than at
// rest.
func workPercent(live uint64) int {
	live = max(live, 1<<20)
	room := min(max(3*live, minRoom), maxRoom)
	return max(int(room*100/live), restPercent)
}

// tick takes a look and gives the GOGC that should hold from now on.
func (c *collector) tick(h heap) int {
	ran := h.cycles - c.cycles
	c.cycles = h.cycles
	c.marked -= c.marked / 4
	if c.marked += ran * h.live; c.marked >= workBytes {
		c.working = true
	}
	if c.idle++; ran > 0 {
		c.idle = 0
	}
	if c.idle >= restAfter {
		c.working = false
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

// leaves tells, once after each spell of work, that it has ended: its last garbage would lie there until somebody makes more.
func (c *collector) leaves() bool {
	if c.idle < restAfter || c.cycles == c.left {
		return false
	}
	c.left = c.cycles
	return true
}

// paceCollector sets GOGC by need until stop is called. One that the environment sets stays; GOMEMLIMIT is a limit that the
// runtime keeps whatever is set here.
func paceCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
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
			if first { // what starting took says nothing of what comes
				c.cycles = h.cycles
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
	}
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/cycles/automatic:gc-cycles"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	return heap{
		cycles: samples[0].Value.Uint64(),
		live:   samples[1].Value.Uint64() + samples[2].Value.Uint64() + samples[3].Value.Uint64(),
	}
}
