package app

import (
	"math"
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoomForGarbageAtWork(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		name string
		live uint64
		room uint64 // bytes, about
	}{
		{"a small heap has the least room", 4 * mb, minRoom},
		{"three times what lives", 20 * mb, 60 * mb},
		{"a large heap has the most", 100 * mb, maxRoom},
		{"a huge one as much as at rest", 1000 * mb, 500 * mb},
		{"nothing measured yet", 0, minRoom / mb * mb},
	} {
		t.Run(c.name, func(t *testing.T) {
			live := max(c.live, mb)
			room := uint64(workPercent(c.live)) * live / 100
			if diff := math.Abs(float64(room) - float64(c.room)); diff > float64(live)/50 {
				t.Errorf("room of %d bytes for %d live ones, want %d", room, c.live, c.room)
			}
		})
	}
}

// TestCollectorFollowsWork: each step is how many MB of garbage were made within a second, and the GOGC that holds then. Seen
// red with work told by the number of collections: a large heap never came to it, because its room at rest is large.
func TestCollectorFollowsWork(t *testing.T) {
	const mb, small, large = 1 << 20, 10 << 20, 100 << 20
	work := workPercent(small)
	type step struct {
		made uint64
		live uint64
		want int
	}
	repeat := func(n int, s step) (all []step) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	steps := slices.Concat[[]step]
	busy := []step{{50, small, work}}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"at rest from the start", repeat(3, step{0, small, restPercent})},
		{"some garbage is no work", repeat(60, step{5, small, restPercent})},
		{"a burst is none", steps(repeat(3, step{0, small, restPercent}), []step{{20, small, restPercent}}, repeat(9, step{0, small, restPercent}))},
		{"much of it is, soon", []step{{12, small, restPercent}, {12, small, restPercent}, {12, small, work}}},
		{"very much at once", busy},
		{"in a large heap, too", []step{{50, large, workPercent(large)}}},
		{"a pause is no rest", steps(busy, repeat(restAfter-1, step{0, small, work}))},
		{"rest after work", steps(busy, repeat(restAfter-1, step{0, small, work}), repeat(5, step{0, small, restPercent}))},
		{"a call now and then is rest", steps(busy, repeat(restAfter-1, step{1, small, work}), repeat(5, step{1, small, restPercent}))},
		{"a little work now and then is none", steps(busy, repeat(restAfter-1, step{0, small, work}), []step{{2, small, work}, {0, small, work}})},
		{"small changes of the live heap change nothing", steps(busy, []step{{50, small + small/20, work}})},
		{"large ones do", steps(busy, []step{{50, large, workPercent(large)}, {50, small, work}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := collector{percent: restPercent}
			var got, want []int
			h := heap{}
			for _, s := range c.steps {
				h.made, h.live = h.made+s.made*mb, s.live
				k.percent = k.tick(h)
				got, want = append(got, k.percent), append(want, s.want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("GOGC (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGarbageIsClearedAwayOnceAfterWork(t *testing.T) {
	k := collector{percent: restPercent}
	h := heap{live: 10 << 20}
	var cleared []int
	for tick := range 60 {
		if tick == 5 || tick == 30 { // one collection is work enough to leave garbage
			h.cycles++
			h.made += 5 << 20
		}
		if tick == 50 { // nothing was cleared away by it, so nothing needs to be
			h.made += 2 << 20
		}
		k.tick(h)
		if k.leaves() {
			cleared = append(cleared, tick)
		}
	}
	if diff := cmp.Diff([]int{5 + restAfter, 30 + restAfter}, cleared); diff != "" {
		t.Errorf("ticks at which garbage is cleared away (-want +got):\n%s", diff)
	}
}

func TestEnvironmentSetsGOGC(t *testing.T) {
	current := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	before := current()
	t.Setenv("GOGC", "321")
	(&App{}).paceCollector()()
	if got := current(); got != before {
		t.Errorf("GOGC is %d although the environment sets it, it was %d", got, before)
	}
	os.Unsetenv("GOGC")
	stop := (&App{}).paceCollector()
	if got := current(); got != restPercent {
		t.Errorf("GOGC is %d at rest, want %d", got, restPercent)
	}
	stop()
	if got := current(); got != before {
		t.Errorf("GOGC is %d after the end, want %d as before", got, before)
	}
}
