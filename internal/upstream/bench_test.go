package upstream

import (
	"context"
	"testing"
	"time"
)

func BenchmarkClock(b *testing.B) {
	parent, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		c := new(clock)
		c.start(parent, time.Minute)
		c.hold(nil)
		c.letGo()
		c.stop()
	}
}
