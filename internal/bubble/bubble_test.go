package bubble

import (
	"sync"
	"testing"
	"time"
)

// TestExpiredTimers has goroutines of one bubble look at expired timers at once. Seen red under the race detector on two
// processors with synctest.Test alone: the detector crashed in four of five runs.
func TestExpiredTimers(t *testing.T) {
	if !Race {
		t.Skip("needs the race detector")
	}
	Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 30 {
					var timers []*time.Timer
					for range 50 {
						timers = append(timers, time.NewTimer(time.Nanosecond))
					}
					time.Sleep(2 * time.Nanosecond)
					for _, timer := range timers {
						select {
						case <-timer.C:
						default:
						}
					}
				}
			})
		}
		wg.Wait()
	})
}
