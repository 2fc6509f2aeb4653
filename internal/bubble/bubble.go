// Package bubble runs tests in virtual time, also under the race detector. Tests call it instead of testing/synctest's Test.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Test runs f in a bubble of testing/synctest.
//
// With the race detector the process runs on one processor until f returns. Goroutines of a bubble share one context of the
// detector for the timers that they find expired, and use it without a lock: on two processors the detector itself sooner or
// later dies of that, with a segmentation fault (Go 1.26, https://go.dev/issue/78156).
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if Race {
		one.enter()
		defer one.leave()
	}
	synctest.Test(t, f)
}

// one keeps the process on one processor while anybody is in it. The zero value is ready for use.
var one processor

type processor struct {
	mu     sync.Mutex
	inside int
	before int // GOMAXPROCS before the first entered
}

func (p *processor) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inside++; p.inside == 1 {
		p.before = runtime.GOMAXPROCS(1)
	}
}

func (p *processor) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inside--; p.inside == 0 {
		runtime.GOMAXPROCS(p.before)
	}
}
