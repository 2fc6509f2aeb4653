package nacos_test

import (
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/fakenacos"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestEmptySubscriptionsAreAskedAgainSoon: whose instances came a moment after the question, and without a push.
// Seen red without again.
func TestEmptySubscriptionsAreAskedAgainSoon(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		server := fakenacos.New(t)
		defer server.Close()
		c, err := nacos.Connect(t.Context(), server.Config("m"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ref := nacos.ServiceRef{Namespace: "m", Group: "DEFAULT_GROUP", Service: "s"}
		told := make(chan []nacos.Instance, 100)
		stop, err := c.Subscribe(ref, func(list []nacos.Instance) { told <- list })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if first := <-told; len(first) > 0 {
			t.Fatalf("told of %v", first)
		}
		server.Silence(true)
		server.SetInstances(ref, nacos.Instance{Host: "127.0.0.1", Port: 1, Weight: 1, Healthy: true, Enabled: true})
		began := time.Now()
		select {
		case <-told:
			if took := time.Since(began); took > 2500*time.Millisecond {
				t.Errorf("known after %s", took)
			}
		case <-time.After(time.Minute):
			t.Error("never known")
		}
		before := server.Asked("SubscribeServiceRequest")
		time.Sleep(15 * time.Second)
		if n := server.Asked("SubscribeServiceRequest") - before; n > 2 {
			t.Errorf("asked %d times more though there is an instance", n)
		}
	})
}
