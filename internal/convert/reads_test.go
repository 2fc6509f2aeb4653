package convert

import (
	"net/http"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// TestWhichHeadersToolsLookAt: a call is given no headers where the tool looks at none of them.
func TestWhichHeadersToolsLookAt(t *testing.T) {
	for _, c := range []struct {
		name string
		tool Tool
		want bool
	}{
		{"none", Tool{}, false},
		{"forwarded, and there", Tool{forward: []string{"Traceparent", "X-Here"}}, true},
		{"forwarded, but not there", Tool{forward: []string{"Traceparent"}}, false},
		{"a credential of its own", Tool{security: []securityPlan{{}}}, false},
		{"the caller's credential", Tool{security: []securityPlan{{}, {from: &registry.SecurityScheme{}}}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.tool.Reads(http.Header{"X-Here": {"1"}}); got != c.want {
				t.Errorf("reads: %v, want %v", got, c.want)
			}
		})
	}
}
