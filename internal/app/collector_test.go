package app

import (
	"math"
	"os"
	"runtime/debug"
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

// TestCollectorFollowsWork: each step is how many collections came within a second, and the GOGC that holds then. Seen red
// with work told by the number of collections: a large heap never came to it, because its room at rest is large.
func TestCollectorFollowsWork(t *testing.T) {
	const live, large = 10 << 20, 100 << 20
	work := workPercent(live)
	type step struct {
		ran  uint64
		live uint64
		want int
	}
	repeat := func(n int, s step) (all []step) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"at rest from the start", repeat(3, step{0, live, restPercent})},
		{"a small heap collected once a second is no work", repeat(30, step{1, live, restPercent})},
		{"collected oftener it is", []step{{2, live, restPercent}, {2, live, restPercent}, {2, live, restPercent}, {2, live, work}}},
		{"a large heap collected once a second is work", []step{{1, large, workPercent(large)}}},
		{"work", []step{{5, live, work}, {1, live, work}}},
		{"a pause is no rest", append([]step{{5, live, work}}, repeat(restAfter-1, step{0, live, work})...)},
		{"rest after work", append(append([]step{{5, live, work}}, repeat(restAfter-1, step{0, live, work})...), step{0, live, restPercent})},
		{"a collection now and then is no rest", append(append([]step{{5, live, work}}, repeat(restAfter-1, step{0, live, work})...), step{1, live, work}, step{0, live, work})},
		{"small changes of the live heap change nothing", []step{{5, live, work}, {5, live + live/20, work}}},
		{"large ones do", []step{{5, live, work}, {5, 100 << 20, workPercent(100 << 20)}, {5, live, work}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := collector{percent: restPercent}
			var got, want []int
			h := heap{}
			for _, s := range c.steps {
				h.cycles, h.live = h.cycles+s.ran, s.live
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
	paceCollector()()
	if got := current(); got != before {
		t.Errorf("GOGC is %d although the environment sets it, it was %d", got, before)
	}
	os.Unsetenv("GOGC")
	stop := paceCollector()
	if got := current(); got != restPercent {
		t.Errorf("GOGC is %d at rest, want %d", got, restPercent)
	}
	stop()
	if got := current(); got != before {
		t.Errorf("GOGC is %d after the end, want %d as before", got, before)
	}
}
