package clocktest

import (
	"testing"
	"time"
)

func TestSetMovesTheWallClockAlone(t *testing.T) {
	at := time.Now()
	for _, d := range []time.Duration{-time.Hour, time.Hour, 0} {
		set := Set(at, d)
		if set.Sub(at) != 0 || !set.Round(0).Equal(at.Round(0).Add(d)) {
			t.Errorf("set by %v: %v from %v", d, set, at)
		}
	}
}
