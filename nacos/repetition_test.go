package nacos

import (
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

// TestSlowListeningPutsNothingOff was seen red with the pause only told from how long listening took.
func TestSlowListeningPutsNothingOff(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var r repetition
		r.took(10 * time.Second)
		time.Sleep(mostPutOff)
		if all, _ := r.due(time.Now(), time.Second); !all {
			t.Error("not repeated 5 s after listening was slow")
		}
	})
}
