//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is the real binary, serving.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *spoken
	done   chan error
	client string // URL of the proxy
}

// spoken is what a process says.
type spoken struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *spoken) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *spoken) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			p.t.Fatalf("not within 30 s: %s\n%s", what, p.log)
		}
	}
}

// ended waits for the process and gives its exit code, -1 for a signal's end.
func (p *process) ended() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("still running after 30 s\n%s", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// TestServeBinaryObeysSignals runs the real binary: SIGHUP opens the audit file anew, SIGTERM ends it with 0 and lets a
// call in flight finish, and a second signal ends it at once. Seen red without Reopen, with Execute's AfterFunc taken
// out (the second signal is then ignored), and with a drain of 0 (the call is cut off and the exit code 1).
func TestServeBinaryObeysSignals(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary")
	}
	binary := filepath.Join(t.TempDir(), "nacos-mcp-proxy")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/nacos-mcp-proxy").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	arrived, leave := make(chan struct{}, 1), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-leave:
		case <-r.Context().Done():
		}
	}))
	defer backend.Close()
	defer http.DefaultClient.CloseIdleConnections()
	s := newShell(t)
	s.put("proxy-services/slow.yaml", fmt.Sprintf("server: {name: slow}\nupstream: {url: %s}\ntools:\n  - {name: wait, description: waits, requestTemplate: {url: /, method: GET}}\n", backend.URL))
	s.put("proxy-grants/slow.yaml", "auth: disabled\n")
	audit := filepath.Join(t.TempDir(), "audit.log")

	run := func(t *testing.T) *process {
		p := &process{t: t, log: &spoken{}, done: make(chan error, 1)}
		p.cmd = exec.Command(binary, "serve", "--source", "dir", "--dir-path", s.root, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
			"--state-path", "off", "--log-audit", audit, "--log-audit-allowed", "--limits-drain", "20s")
		p.cmd.Stderr = p.log
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { p.done <- p.cmd.Wait() }()
		t.Cleanup(func() { _ = p.cmd.Process.Kill() })
		at := regexp.MustCompile(`url=(http://[0-9.:]+)`)
		p.until("it serves", func() bool { return at.MatchString(p.log.String()) })
		p.client = at.FindStringSubmatch(p.log.String())[1]
		p.until("it is ready", func() bool {
			return post(p.client+"/mcp/slow", `{"jsonrpc":"2.0","id":1,"method":"ping"}`) == http.StatusOK
		})
		return p
	}
	call := func(p *process) <-chan int {
		status := make(chan int, 1)
		go func() {
			status <- post(p.client+"/mcp/slow", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
		}()
		select {
		case <-arrived:
		case <-time.After(30 * time.Second):
			t.Fatalf("the call does not reach the backend\n%s", p.log)
		}
		return status
	}

	t.Run("SIGHUP and SIGTERM", func(t *testing.T) {
		p := run(t)
		if limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid)); err == nil { // red without forbidCoreDumps, where dumps are on
			if !regexp.MustCompile(`(?m)^Max core file size +0 `).Match(limits) {
				t.Errorf("core files are written:\n%s", limits)
			}
		}
		if err := os.Rename(audit, audit+".1"); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.until("the audit file is there again", func() bool { _, err := os.Stat(audit); return err == nil })
		post(p.client+"/mcp/absent", `{"jsonrpc":"2.0","id":3,"method":"ping"}`)
		p.until("it is written to", func() bool { b, _ := os.ReadFile(audit); return strings.Contains(string(b), `"absent"`) })

		status := call(p)
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.until("it takes no new calls", func() bool { return post(p.client+"/mcp/slow", "{}") == 0 })
		select {
		case leave <- struct{}{}:
		case <-p.done:
			t.Fatalf("it ended with a call in flight\n%s", p.log)
		case <-time.After(30 * time.Second):
			t.Fatalf("the backend is not waiting any more\n%s", p.log)
		}
		if got := <-status; got != http.StatusOK {
			t.Errorf("the call in flight: %d", got)
		}
		if code := p.ended(); code != 0 {
			t.Errorf("exit %d\n%s", code, p.log)
		}
	})
	t.Run("a second signal", func(t *testing.T) {
		p := run(t)
		status := call(p)
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.until("it takes no new calls", func() bool { return post(p.client+"/mcp/slow", "{}") == 0 })
		began := time.Now()
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := p.ended(); code != -1 || time.Since(began) > 15*time.Second {
			t.Errorf("exit %d after %s, in place of the signal's end at once\n%s", code, time.Since(began), p.log)
		}
		if got := <-status; got != 0 {
			t.Errorf("the call in flight: %d", got)
		}
	})
}

// post gives the status of an answer, 0 for none.
func post(url, body string) int {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
