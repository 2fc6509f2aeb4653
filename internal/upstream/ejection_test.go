package upstream

import (
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/clocktest"
)

// An ejection lasts its time, neither longer after the clock was set back nor shorter after it was set forward.
//
// Seen to fail with the end kept in Unix nanoseconds: set back by an hour, the instance stayed out for that hour.
func TestEjectionOutlivesAClockThatIsSet(t *testing.T) {
	for _, set := range []time.Duration{0, -time.Hour, time.Hour} {
		at := time.Now()
		out, other := &instance{address: "a:1", healthy: true, weight: 1, ejection: &ejection{}}, &instance{address: "b:1", healthy: true, weight: 1e-9, ejection: &ejection{}}
		p := &picker{all: []*instance{out, other}, usable: []*instance{out, other}, total: 1 + 1e-9}
		out.refused(at)
		if got := p.pick(clocktest.Set(at.Add(ejectMin/2), set), nil); got != other {
			t.Errorf("clock set by %v: %s was picked while it is ejected", set, got.address)
		}
		if got := p.pick(clocktest.Set(at.Add(2*ejectMin), set), nil); got != out {
			t.Errorf("clock set by %v: after its time, %s was picked", set, got.address)
		}
		// With all of them out, it is the one that comes back first, whatever the clock said when that was decided.
		other.refused(clocktest.Set(at.Add(ejectMin), set))
		out.fails.Store(0)
		out.refused(at.Add(ejectMin / 2))
		if got := p.pick(at.Add(ejectMin), nil); got != out {
			t.Errorf("clock set by %v: of two ejected, %s was picked, which comes back last", set, got.address)
		}
	}
}
