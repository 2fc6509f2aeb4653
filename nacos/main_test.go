package nacos_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
)

// TestMain ends the shared Nacos and looks for goroutines that outlive their clients, of the SDK's as of ours.
func TestMain(m *testing.M) {
	code := nacostest.Main(m)
	if code == 0 {
		if err := goleak.Find(
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), // the fixture's own
			goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
