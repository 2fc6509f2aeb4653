// Package nacostest gives tests a real Nacos, started by scripts/nacos/start and ended with the test process.
// It must never be imported by anything but tests, and never stand in for Nacos with something else.
package nacostest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Env names the environment variable that says which Nacos tests use: the home directory of one that
// scripts/nacos/start started, "off" to skip tests that need one, or nothing for one per test process.
const Env = "NMP_TEST_NACOS"

// Server is a running Nacos with authentication on.
type Server struct {
	Addr       string // host:port of the HTTP API
	ConsoleURL string
	User       string
	Password   string
	Home       string

	mu      sync.Mutex
	pid     int
	private bool // ours to kill
	port    int
	console int
	tokens  time.Duration // how long login tokens live; 0: Nacos's default
	token   string        // of the last login
	args    []string      // more arguments of the script
}

// Option changes what Start starts.
type Option func(*options)

type options struct {
	private bool
	token   time.Duration
	args    []string
}

// Private asks for a Nacos of the test's own, which it may kill. It takes 15 s or more to start.
func Private() Option { return func(o *options) { o.private = true } }

// TokenLife makes login tokens of a private Nacos expire after d.
func TokenLife(d time.Duration) Option {
	return func(o *options) { o.private, o.token = true, d }
}

// Version2 asks for a Nacos 2.3 of the test's own. It has no console, no MCP registry and not the API that Admin speaks.
func Version2() Option {
	return func(o *options) { o.private, o.args = true, []string{"--version", "2"} }
}

// Secure asks for a Nacos of the test's own that speaks TLS only, with dir/cert.pem and dir/key.pem. Admin does not.
func Secure(dir string) Option {
	return func(o *options) { o.private, o.args = true, []string{"--tls", dir} }
}

// More names the environment variable that has tests run which need several Nacos or other versions, and minutes.
const More = "NMP_TEST_MORE"

// NeedsMore skips a test that takes more than continuous integration should wait for.
func NeedsMore(t testing.TB) {
	t.Helper()
	if os.Getenv(More) == "" || os.Getenv(Env) == "off" {
		t.Skipf("takes minutes: runs with %s=1, as make more does", More)
	}
}

var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Start gives a Nacos that answers: the shared one of this test process, or with Private a new one, which ends
// with the test. A package whose tests use the shared one calls Main from its TestMain, which ends it.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var o options
	for _, f := range opts {
		f(&o)
	}
	env := os.Getenv(Env)
	if env == "off" {
		t.Skipf("needs a Nacos, and %s=off", Env)
	}
	if testing.Short() && env == "" {
		t.Skip("starts a Nacos: not in -short")
	}
	if o.private {
		s, err := start(o)
		if err != nil {
			t.Fatalf("start Nacos: %v", err)
		}
		t.Cleanup(s.Stop)
		return s
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		if env != "" {
			shared.server, shared.err = attach(env)
		} else {
			shared.server, shared.err = start(o)
		}
	}
	if shared.err != nil {
		t.Fatalf("start Nacos: %v", shared.err)
	}
	return shared.server
}

// Main runs a package's tests and ends the shared Nacos, if this process started it. It gives the exit code.
func Main(m *testing.M) int {
	defer Close()
	return m.Run()
}

// Close ends what this process started: the shared Nacos and the mortal one.
func Close() {
	closeMortal()
	defer client.CloseIdleConnections()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil && shared.server.private {
		shared.server.Stop()
	}
	shared.server = nil
}

// script returns the path of scripts/nacos/name in the repository that the tests run in. It is looked for upwards from the
// working directory, a package's own while go test runs it: the paths of source files are not known to a binary built with
// -trimpath.
func script(name string) string {
	dir, err := os.Getwd()
	if err != nil {
		return filepath.Join("scripts", "nacos", name)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == filepath.Dir(dir) {
			return filepath.Join(dir, "scripts", "nacos", name)
		}
		dir = filepath.Dir(dir)
	}
}

func attach(home string) (*Server, error) {
	data, err := os.ReadFile(filepath.Join(home, "nacos.env"))
	if err != nil {
		return nil, fmt.Errorf("read %s (is %s the home of a Nacos that scripts/nacos/start --auth started?): %w", "nacos.env", Env, err)
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[k] = strings.Trim(v, "'")
		}
	}
	pid, _ := strconv.Atoi(values["NACOS_PID"])
	return &Server{Addr: values["NACOS_ADDR"], ConsoleURL: values["NACOS_CONSOLE"], User: values["NACOS_USERNAME"],
		Password: values["NACOS_PASSWORD"], Home: home, pid: pid}, nil
}

func start(o options) (*Server, error) {
	home, err := os.MkdirTemp("", "nacostest-")
	if err != nil {
		return nil, err
	}
	s := &Server{Home: home, private: true, tokens: o.token, args: o.args}
	// A port that was free a moment ago may be taken now: other test processes look for some as well.
	for range 3 {
		if s.port, s.console, err = freePorts(); err == nil {
			err = s.launch()
		}
		if err == nil {
			return s, nil
		}
	}
	s.Stop()
	return nil, err
}

// launch runs the script, which returns when Nacos answers and its user can log in.
func (s *Server) launch() error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, script("start"), append([]string{"--auth", "--json", "--home", s.Home,
		"--port", strconv.Itoa(s.port), "--console-port", strconv.Itoa(s.console)}, s.args...)...)
	cmd.Env = append(os.Environ(), "NACOS_PASSWORD=nacostest-secret")
	if s.tokens > 0 {
		cmd.Env = append(cmd.Env, "NACOS_TOKEN_SECONDS="+strconv.Itoa(int(s.tokens.Seconds())))
	}
	var stdout, stderr bytes.Buffer
	// A file, not a pipe, for what the script's children may inherit; and none of it on the terminal unless it fails.
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, stderr.String())
	}
	var answer struct {
		Home, Addr, Console, Username, Password string
		PID                                     int
	}
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		return fmt.Errorf("read the script's answer: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Addr, s.ConsoleURL, s.User, s.Password = answer.Addr, answer.Console, answer.Username, answer.Password
	s.pid = answer.PID
	return nil
}

// freePorts finds a port whose neighbours, which Nacos takes as well, are free.
func freePorts() (port, console int, err error) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		console = l.Addr().(*net.TCPAddr).Port
		// Below the range from which the system takes ports for outgoing connections.
		port = 12000 + (console*7+os.Getpid())%18000
		ok := free(port) && free(port+1000) && free(port+1001) && free(port-1000)
		_ = l.Close()
		if ok {
			return port, console, nil
		}
	}
	return 0, 0, errors.New("no free ports for Nacos")
}

func free(port int) bool {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// Restart starts a killed private Nacos again on its data and ports and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var err error
	for range 3 { // on a busy machine its database gives up after a few seconds
		if err = s.launch(); err == nil {
			return
		}
	}
	t.Fatalf("restart Nacos: %v", err)
}

// RotateKey makes the next Restart sign its tokens with another key, so that those given out are worth nothing.
func (s *Server) RotateKey(t testing.TB) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.Home, "signing.key")); err != nil {
		t.Fatalf("remove signing key: %v", err)
	}
}

// Stop ends a private Nacos and removes its data.
func (s *Server) Stop() {
	if !s.private {
		return
	}
	s.Kill()
	// Also what a start that gave up has left behind: only the pid file knows it.
	_ = exec.Command(script("stop"), "--home", s.Home).Run()
	_ = os.RemoveAll(s.Home)
}
