package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// binaryDir holds what binary built; TestMain removes it.
var binaryDir string

// binary builds the program, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if binaryDir, err = os.MkdirTemp("", "nacos-mcp-proxy-e2e-"); err != nil {
		return "", err
	}
	program := filepath.Join(binaryDir, "nacos-mcp-proxy")
	out, err := exec.Command("go", "build", "-o", program, "github.com/nacos-mcp-proxy/nacos-mcp-proxy/cmd/nacos-mcp-proxy").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return program, nil
})

// replica is a process of the program.
type replica struct {
	*exec.Cmd
	URL   string
	Admin string
	log   *logBuffer
	ended chan struct{} // closed when it has ended
}

const sharedSecret = "a secret that all replicas of a test share"

// startReplica runs the program on s; more is added to its flags. It is ended with the test.
func startReplica(t testing.TB, s *source, more ...string) *replica {
	t.Helper()
	return startUnder(t, s, "", more...)
}

// startUnder is startReplica where a shell runs a command, such as "ulimit -n 256", or sets variables, first.
func startUnder(t testing.TB, s *source, first string, more ...string) *replica {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var c config.Config
	s.configure(&c)
	admin := freeAddress(t)
	args := []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", admin, "--state-path", "off", "--log-audit", "off", "--source", c.Source}
	if c.Source == config.SourceDir {
		args = append(args, "--dir-path", c.Dir.Path)
	} else {
		args = append(args, "--nacos-addresses", c.Nacos.Addresses[0], "--nacos-namespace", c.Nacos.Namespace, "--nacos-username", c.Nacos.Username)
	}
	args = append(args, more...)
	if first != "" {
		args = append([]string{"-c", first + ` && exec "$0" "$@"`, program}, args...)
		program = "/bin/sh"
	}
	r := &replica{Cmd: exec.Command(program, args...), Admin: "http://" + admin, log: &logBuffer{t: t}, ended: make(chan struct{})}
	r.Env = append(os.Environ(), "NMP_SESSION_SECRETS="+sharedSecret)
	if !c.Nacos.Password.Empty() {
		r.Env = append(r.Env, "NMP_NACOS_PASSWORD="+c.Nacos.Password.Reveal())
	}
	stderr, err := r.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(r.log, lines.Text())
			if _, after, ok := strings.Cut(lines.Text(), "msg=serving url="); ok {
				after, _, _ = strings.Cut(after, "/mcp/")
				serving <- strings.Trim(after, `"`)
			}
		}
		_ = r.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("the log of a replica:\n%s", r.log.String())
		}
	})
	select {
	case r.URL = <-serving:
	case <-r.ended:
		t.Fatalf("the program ended at once:\n%s", r.log.String())
	case <-time.After(60 * time.Second):
		t.Fatal("the program does not serve")
	}
	eventually(t, 30*time.Second, "the replica is ready", func() bool {
		resp, err := http.Get(r.Admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return r
}

// kill ends the process as a crash does.
func (r *replica) kill() {
	_ = r.Process.Signal(syscall.SIGKILL)
	<-r.ended
}

// freeAddress is one that nobody listens on yet.
func freeAddress(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(nil)
	defer s.Close()
	return s.Listener.Addr().String()
}

// balancer hands requests to replicas in turn, and to the next one if a replica cannot be reached.
type balancer struct {
	*httptest.Server
	replicas []*url.URL
	turn     atomic.Int64
	served   []atomic.Int64 // by replica
}

func newBalancer(t testing.TB, replicas ...string) *balancer {
	b := &balancer{served: make([]atomic.Int64, len(replicas))}
	for _, r := range replicas {
		u, err := url.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		b.replicas = append(b.replicas, u)
	}
	b.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) {},
		Transport:     b,
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() { b.CloseClientConnections(); b.Close() })
	return b
}

// RoundTrip sends the request to the replica whose turn it is.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	var last error
	for range b.replicas {
		i := int(b.turn.Add(1)) % len(b.replicas)
		to := r.Clone(r.Context())
		to.URL.Scheme, to.URL.Host = "http", b.replicas[i].Host
		if to.Body = http.NoBody; len(body) > 0 {
			to.Body = io.NopCloser(bytes.NewReader(body))
		}
		resp, err := http.DefaultTransport.RoundTrip(to)
		if err == nil {
			b.served[i].Add(1)
			return resp, nil
		}
		last = err
	}
	return nil, last
}

// sessionBackend is a go-sdk server that keeps its events. Its tool "who" tells its name and how often this session asked,
// "ask" asks the client, and "steps" tells of its progress.
func sessionBackend(t testing.TB, name string) *httptest.Server {
	var mu sync.Mutex
	asked := map[string]int{}
	s := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, nil)
	type nothing struct{}
	text := func(format string, args ...any) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}, nil, nil
	}
	mcp.AddTool(s, &mcp.Tool{Name: "who"}, func(_ context.Context, r *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Session.ID()]++
		return text("%s %d", name, asked[r.Session.ID()])
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, r *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		//lint:ignore SA1019 legacy clients are asked for their roots, and this is a legacy session
		roots, err := r.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		return text("%s", roots.Roots[0].URI)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "steps"}, func(ctx context.Context, r *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		for i := range 4 {
			_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1)})
			time.Sleep(50 * time.Millisecond)
		}
		return text("steps taken")
	})
	events := &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, events))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv
}

// connect opens a session of the legacy era with the go-sdk's client.
func connect(t testing.TB, endpoint, key string) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	//lint:ignore SA1019 legacy servers ask for roots
	c.AddRoots(&mcp.Root{URI: "file:///here"})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	session, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: withKey(key)}}, nil)
	if err != nil {
		t.Fatalf("connect to %s: %v", endpoint, err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func callText(t testing.TB, s *mcp.ClientSession, tool string, arguments map[string]any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("call %s: %v", tool, err)
	}
	if len(r.Content) == 0 {
		return ""
	}
	text, _ := r.Content[0].(*mcp.TextContent)
	return text.Text
}
