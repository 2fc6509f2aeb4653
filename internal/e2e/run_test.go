package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMakeRunNamesAPortInUse has another proxy, which is ready, hold the admin port: make run must neither take its answer for
// that of the one it starts, nor build anything before it says so. Seen red without the look at the ports: it
// built, and went on.
func TestMakeRunNamesAPortInUse(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer other.Close()
	_, taken, _ := net.SplitHostPort(other.Listener.Addr().String())
	env := append(os.Environ(), "ADMIN_PORT="+taken)
	for _, name := range []string{"PROXY_PORT", "API_PORT", "MCP_PORT"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, free, _ := net.SplitHostPort(l.Addr().String())
		_ = l.Close()
		env = append(env, name+"="+free)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", filepath.Join("..", "..", "scripts", "run"))
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends what it started
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Errorf("make run went on: %v", err)
	}
	want := "port " + taken + " is in use: end what holds it, or choose another port with ADMIN_PORT\n"
	if string(out) != want {
		t.Errorf("make run printed\n%s\nwant\n%s", out, want)
	}
}
