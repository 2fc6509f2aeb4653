//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// peak is the most memory, in bytes, that a process has had resident.
func peak(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// greedy answers with what takes much memory, by the path.
func greedy(w http.ResponseWriter, r *http.Request) {
	switch _, _ = io.Copy(io.Discard, r.Body); r.URL.Path {
	case "/lines":
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = w.Write(bytes.Repeat([]byte("1\n"), 15<<19))
	case "/large":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(bytes.Repeat([]byte("0123456789abcdef"), 15<<16))
	case "/values":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[" + strings.Repeat("1,", 7<<20) + "1]"))
	default:
		shop(w, r)
	}
}

// TestMemoryIsBounded attacks the program, among 100 services, with what used to cost hundreds of megabytes each: answers of
// millions of lines, large arguments, answers that nobody reads, bodies that are sent and not ended, and messages that wait
// in the queues of bridged sessions. It never has 256 MB resident, others are answered all the while, and in the end all of the budget is given back.
// Seen to fail with --limits-memory 8GiB and a GOMEMLIMIT: 1,911 MB.
func TestMemoryIsBounded(t *testing.T) {
	s := directory(t)
	backend := newRecorder(t, greedy)
	for i := range 100 {
		s.put(t, "proxy-services", fmt.Sprintf("other-%d.yaml", i), ownService(backend.URL, "read", "{{.name}}"))
	}
	s.put(t, "proxy-services", "greedy.yaml", "upstream: {url: \""+backend.URL+`"}
tools:
  - name: lines
    description: Lines.
    requestTemplate: {method: GET, url: /lines}
  - name: large
    description: A large answer.
    requestTemplate: {method: GET, url: /large}
  - name: values
    description: Many values.
    requestTemplate: {method: GET, url: /values}
    responseTemplate: {body: "{{len .}}"}
  - name: take
    description: Takes what it is given.
    args: [{name: all, type: array, description: anything, position: body, items: {type: integer}}]
    requestTemplate: {method: POST, url: /take}
`)
	s.put(t, "proxy-services", "shop.yaml", ownService(backend.URL, "read", "{{.name}}"))
	stop := make(chan struct{})
	bridged := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusAccepted)
			if bytes.Contains(body, []byte(`"initialize"`)) {
				waits, _ := queues.Load(r.URL.Query().Get("s"))
				waits.(chan struct{}) <- struct{}{}
			}
			return
		}
		mine := make(chan struct{}, 4)
		name := strconv.FormatInt(sequence.Add(1), 10)
		queues.Store(name, mine)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: endpoint\ndata: /m?s=%s\n\n", name)
		w.(http.Flusher).Flush()
		<-mine
		fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":\"2024-11-05\",\"capabilities\":{},\"serverInfo\":{\"name\":\"b\",\"version\":\"1\"}}}\n\n")
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"%s\"}}\n\n", strings.Repeat("x", 15<<20))
		w.(http.Flusher).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	s.put(t, "proxy-services", "bridged.yaml", "upstream: {url: \""+bridged.URL+"/sse\", transport: sse}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, name := range []string{"greedy", "shop", "bridged"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	r := startReplica(t, s)
	p := &proxy{t: t, URL: r.URL}
	eventually(t, 20*time.Second, "the services are served", func() bool { return p.client("shop", aliceKey).call("read", "{}").Status == 200 })
	before := peak(t, r.Process.Pid)

	var others atomic.Int64
	quiet := make(chan struct{})
	var wg, bystander sync.WaitGroup
	bystander.Go(func() {
		c := p.client("shop", aliceKey)
		for {
			select {
			case <-quiet:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if a := c.call("read", "{}"); a.Status != 200 {
				t.Errorf("another caller: %d %s", a.Status, a.Body)
				return
			}
			others.Add(1)
		}
	})
	statuses := make(map[string]int)
	var mu sync.Mutex
	var greedyConns []net.Conn
	defer func() {
		for _, c := range greedyConns {
			c.Close()
		}
	}()
	attack := func(what string, n int, ask func(c *client) int) {
		began := time.Now()
		for range n {
			wg.Go(func() {
				status := ask(p.client("greedy", aliceKey))
				mu.Lock()
				defer mu.Unlock()
				statuses[what+" "+strconv.Itoa(status)]++
			})
		}
		wg.Wait()
		t.Logf("%-12s peak %d MB, %d others answered, %s", what, peak(t, r.Process.Pid)>>20, others.Load(), time.Since(began).Round(time.Millisecond))
	}
	tool := func(name string) func(c *client) int {
		return func(c *client) int { return c.call(name, "{}").Status }
	}
	attack("lines", 4, tool("lines"))
	attack("values", 4, tool("values"))
	attack("arguments", 4, func(c *client) int {
		return c.call("take", `{"all":[`+strings.Repeat("1,", 2<<20-200)+`1]}`).Status
	})
	unread := func(request string) func(*client) int {
		return func(*client) int {
			c, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
			if err != nil {
				t.Error(err)
				return 0
			}
			mu.Lock()
			greedyConns = append(greedyConns, c)
			mu.Unlock()
			_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			_, _ = io.WriteString(c, request)
			return 0
		}
	}
	head := "POST /mcp/greedy HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: " + aliceKey + "\r\nContent-Type: application/json\r\nContent-Length: "
	ask := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"large","arguments":{}}}`
	attack("texts", 8, func(c *client) int {
		return c.call("take", `{"all":[`+strings.Repeat(`"0123456789abcdef0123456789abcdef",`, 100_000)+`1]}`).Status
	})
	attack("bodies", 20, unread(head+"4000000\r\n\r\n"+strings.Repeat(" ", 3_900_000)))
	attack("unread", 30, unread(head+strconv.Itoa(len(ask))+"\r\n\r\n"+ask))
	attack("queues", 30, func(c *client) int {
		c.service = "bridged"
		return c.initialize().Status
	})
	time.Sleep(2 * time.Second)
	for _, c := range greedyConns {
		c.Close()
	}
	eventually(t, 20*time.Second, "all memory is given back", func() bool {
		resp, err := http.Get(r.Admin + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		all, _ := io.ReadAll(resp.Body)
		return bytes.Contains(all, []byte("\nnmp_memory_held_bytes 0\n"))
	})
	close(quiet)
	bystander.Wait()
	t.Logf("peak %d MB before the attack, %d after; %v; %+v", before>>20, peak(t, r.Process.Pid)>>20, statuses, others.Load())
	if most := peak(t, r.Process.Pid); most > 256<<20 {
		t.Errorf("%d MB were resident, want 256 at most", most>>20)
	}
	if others.Load() < 50 {
		t.Errorf("only %d calls of others were answered", others.Load())
	}
}

var (
	queues   sync.Map // of channels, by the session
	sequence atomic.Int64
)
