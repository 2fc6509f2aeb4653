package nacos

import (
	"testing"
	"time"
)

// For how long a server has been silent must not depend on a clock that is set: access.maxStale goes by it.
//
// Seen to fail with the time kept in Unix nanoseconds.
func TestLastContactKeepsItsMonotonicReading(t *testing.T) {
	var c Client
	c.contact()
	// A time without a monotonic reading equals itself rounded.
	if at := c.Status().LastContact; at == at.Round(0) || time.Since(at) > time.Minute {
		t.Errorf("last contact %v has no monotonic reading", at)
	}
}
