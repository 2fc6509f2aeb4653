package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// script runs one of scripts/clients and gives what it printed. Without the clients there is nothing to test: the test is
// skipped, or fails if NMP_TEST_CLIENTS is "required".
func script(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if os.Getenv("NMP_TEST_CLIENTS") == "required" {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr.String())
		}
		t.Skipf("the clients cannot be had: %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// nodeModules gives the directory with the pinned TypeScript packages and their Node.js, installed once per machine.
var nodeModules = struct {
	sync.Once
	dir string
}{}

func typescript(t testing.TB) string {
	t.Helper()
	nodeModules.Do(func() { nodeModules.dir = script(t, "../../scripts/clients/node", "typescript") })
	if nodeModules.dir == "" {
		t.Skip("the clients cannot be had: see the first test that was skipped")
	}
	return nodeModules.dir
}

// background starts a program that runs until the test ends, and hands its lines to each until that says true.
func background(t testing.TB, cmd *exec.Cmd, each func(line string) bool) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, seen := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(lines)
		found := false
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if !found && each(scan.Text()) {
				found = true
				close(seen)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-lines
		_ = cmd.Wait()
	})
	select {
	case <-seen:
	case <-lines:
		t.Fatalf("%s ended before it was ready", cmd)
	case <-time.After(60 * time.Second):
		t.Fatalf("%s was not ready within a minute", cmd)
	}
}

// everything starts @modelcontextprotocol/server-everything and gives its address.
func everything(t testing.TB, transport string) string {
	t.Helper()
	dir := typescript(t)
	hook, err := filepath.Abs("testdata/clients/loopback.mjs")
	if err != nil {
		t.Fatal(err)
	}
	port := ""
	background(t, exec.Command(dir+"/node", "--import", hook, dir+"/node_modules/.bin/mcp-server-everything", transport), func(line string) bool {
		found := false
		port, found = strings.CutPrefix(line, "LISTENING ")
		return found
	})
	return "127.0.0.1:" + port
}

// buildFixture builds the go-sdk's conformance server.
func buildFixture(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "everything-server")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput()
	if err != nil {
		t.Fatalf("build the fixture: %v\n%s", err, out)
	}
	return bin
}

// fixture starts the go-sdk's conformance server and gives its address.
func fixture(t testing.TB, bin string, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	background(t, exec.Command(bin, append(args, "-http", address)...), func(line string) bool { return strings.Contains(line, "listening") })
	eventually(t, 30*time.Second, "the fixture listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return address
}

// step is something that a client does; visit is a connection with its steps. The programs in testdata/clients read them.
type step struct {
	Op        string         `json:"op"` // tools, call, resources, templates, read, prompts or prompt
	Name      string         `json:"name,omitempty"`
	Arguments map[string]any `json:"arguments,omitempty"`
}

type visit struct {
	Client    string `json:"client"`    // v1 or v2, of TypeScript
	Mode      string `json:"mode"`      // auto or legacy
	Transport string `json:"transport"` // streamable or sse
	URL       string `json:"url"`
	Key       string `json:"key"`
	Steps     []step `json:"steps"`
}

// outcome is what a client saw of connecting (Server and Version), or of a step.
type outcome struct {
	Server   string   `json:"server"`
	Version  string   `json:"version"`
	Names    []string `json:"names"`
	Text     string   `json:"text"`
	IsError  bool     `json:"isError"`
	Progress int      `json:"progress"` // notifications of progress
	Asked    int      `json:"asked"`    // elicitations answered
	Error    any      `json:"error"`    // a code of JSON-RPC, or a word of the client's
	Message  string   `json:"message"`
}

// runVisits lets one client process go through visits, one after the other.
func runVisits(t testing.TB, visits []visit, program ...string) [][]outcome {
	t.Helper()
	arg, err := json.Marshal(visits)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes [][]outcome
	out := runClient(t, append(program, string(arg))...)
	if err := json.Unmarshal([]byte(out), &outcomes); err != nil || len(outcomes) != len(visits) {
		t.Fatalf("read what the client saw: %v: %s", err, out)
	}
	return outcomes
}

// runClient runs a client to its end and gives what it printed.
func runClient(t testing.TB, program ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program[0], program[1:]...)
	cmd.Env = append(os.Environ(), "NMP_MODULES="+nodeModules.dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", program[0], err, out, stderr.String())
	}
	return string(out)
}
