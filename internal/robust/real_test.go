package robust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// envReal says how many schedules TestRealSchedules runs, and envRealSeed the seed of the first.
const (
	envReal     = "ROBUST_REAL"
	envRealSeed = "ROBUST_REAL_SEED"
)

// realSlack is what a busy machine may add to each promise; realPatience is how long a call may take.
const (
	realSlack    = 2 * time.Second
	realPatience = 3 * time.Second
)

func TestMain(m *testing.M) { os.Exit(nacostest.Main(m)) }

// real is the proxy's binary, a real Nacos behind something that breaks connections, and backends on loopback.
type real struct {
	*world
	backends
	t       *testing.T
	server  *nacostest.Server
	ns      string
	nacos   *nacos.Client
	pair    *faultproxy.Pair
	fronts  map[string]*faultproxy.Proxy
	binary  string
	state   string
	disk    bool // state is a small disk of its own
	process *exec.Cmd
	log     *bytes.Buffer
	ended   chan struct{}
	base    string
	started time.Time
	client  *http.Client
	calls   int
	looks   int
}

// TestRealSchedules runs schedules with the proxy as a process, killed by SIGKILL, on a real Nacos.
func TestRealSchedules(t *testing.T) {
	n := number(envReal, 0)
	if n == 0 {
		t.Skipf("takes a minute for each schedule: runs %s of them, as make robust does", envReal)
	}
	server := nacostest.Start(t)
	binary := filepath.Join(t.TempDir(), "proxy")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/nacos-mcp-proxy").CombinedOutput(); err != nil {
		t.Fatalf("build the proxy: %v\n%s", err, out)
	}
	first := uint64(number(envRealSeed, 1))
	for i := range uint64(n) {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			s := generate(first+i, 20)
			began := time.Now()
			b := newReal(t, server, binary, s[0].Do == defaultOpen)
			if v := b.steps(s); v != nil {
				t.Errorf("seed %d: %s\n%s\nthe proxy's log:\n%s", first+i, v, s, tail(v.Log, 8000))
			}
			t.Logf("%d calls, %s", b.calls, time.Since(began).Round(time.Second))
		})
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func newReal(t *testing.T, server *nacostest.Server, binary string, open bool) *real {
	b := &real{
		t: t, server: server, ns: server.Namespace(t), binary: binary, state: t.TempDir(), fronts: map[string]*faultproxy.Proxy{},
		backends: backends{reached: map[int]bool{}, cut: map[string]bool{}}, pair: faultproxy.NewPair(t, server.Addr),
	}
	b.world = newWorld(b)
	b.world.open = open
	b.began, b.know.slack = b.began.Truncate(time.Second), realSlack // notAfter is written in seconds
	c, err := nacos.Connect(t.Context(), nacos.Config{
		Addresses: []string{server.Addr}, Namespace: b.ns, Username: server.User, Password: nacos.NewSecret(server.Password),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.nacos = c
	t.Cleanup(func() { _ = c.Close() })
	for _, service := range services {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: b.backend(service), ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		// On all addresses: a generation of backends is one of 127.1.0.0/16.
		b.fronts[service] = faultproxy.At(t, "0.0.0.0:0", l.Addr().String())
	}
	if exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", b.state).Run() == nil {
		b.disk = true
		t.Cleanup(func() { _ = exec.Command("umount", "-l", b.state).Run() })
	}
	t.Cleanup(func() { b.end(syscall.SIGKILL) })
	b.start()
	return b
}

func (b *real) namespace() string { return b.ns }

func (b *real) address(service string, n int) string {
	_, port, _ := net.SplitHostPort(b.fronts[service].Addr)
	return fmt.Sprintf("127.1.%d.%d:%s", slices.Index(services, service), n, port)
}

func (b *real) put(key nacos.Key, content string) {
	err := nacostest.Insist(b.t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return b.nacos.Publish(ctx, nacos.Document{Key: key, Content: []byte(content)}, nacos.AnyMD5)
	}, nacos.ErrUnavailable)
	if err != nil {
		b.t.Fatalf("publish %s: %v", key, err)
	}
}

func (b *real) remove(key nacos.Key) {
	err := nacostest.InsistOnRemoval(b.t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return b.nacos.Remove(ctx, key)
	}, nacos.ErrNotFound, nacos.ErrUnavailable)
	if err != nil && !errors.Is(err, nacos.ErrNotFound) { // a step may remove what is not there
		b.t.Fatalf("remove %s: %v", key, err)
	}
}

func (b *real) instance(service string, n int) {
	host, port, _ := net.SplitHostPort(b.address(service, n))
	p, _ := strconv.Atoi(port)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	in := nacos.Instance{Host: host, Port: p, Weight: 1, Healthy: true, Enabled: true}
	if err := b.nacos.Register(ctx, nacos.ServiceRef{Group: "DEFAULT_GROUP", Service: naming(service, n)}, in); err != nil {
		b.t.Fatalf("register %s: %v", service, err)
	}
}

func (b *real) start() {
	ports := [2]string{}
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.t.Fatal(err)
		}
		ports[i] = l.Addr().String()
		_ = l.Close()
	}
	b.log, b.ended = &bytes.Buffer{}, make(chan struct{})
	b.process = exec.Command(b.binary, "serve", "--source", "nacos", "--nacos-addresses", b.pair.Addr(), "--nacos-namespace", b.ns,
		"--nacos-username", b.server.User, "--listen", ports[0], "--admin-listen", ports[1], "--state-path", b.state, "--log-audit", "off",
		"--access-default", map[bool]string{true: "disabled", false: "required"}[b.world.open])
	b.process.Env = append(os.Environ(), "NMP_NACOS_PASSWORD="+b.server.Password)
	b.process.Stderr = b.log
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	process, ended := b.process, b.ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	b.base, b.started = "http://"+ports[0], time.Now()
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", ports[0]); err == nil {
			_ = c.Close()
			return
		}
	}
}

func (b *real) end(how syscall.Signal) {
	_ = b.process.Process.Signal(how)
	select {
	case <-b.ended:
	case <-time.After(40 * time.Second):
		b.t.Errorf("the proxy does not end")
		_ = b.process.Process.Kill()
		<-b.ended
	}
	b.client.CloseIdleConnections()
}

func (b *real) steps(s schedule) *violation {
	for i, x := range s {
		b.do(x)
		if x.Wait == 0 {
			continue
		}
		for range 2 {
			time.Sleep(time.Duration(x.Wait) / 2)
			if v := b.look(); v != nil {
				v.Step = i
				return v
			}
		}
	}
	for _, x := range []step{{Do: "nacos-calm"}, {Do: "nacos-start"}, {Do: "disk-free"}} {
		b.do(x)
	}
	for _, name := range services {
		b.do(step{Do: "backend-calm", Name: name})
	}
	time.Sleep(outageHolds + registryHolds + realSlack)
	v := b.look()
	if v != nil {
		v.Step, v.What = len(s)-1, "at the end, "+v.What
	}
	return v
}

func (b *real) do(x step) {
	if b.edit(x) {
		return
	}
	now := time.Now()
	all := []*faultproxy.Proxy{b.pair.GRPC, b.pair.HTTP}
	if x.Port == "grpc" {
		all = all[:1]
	} else if x.Port == "http" {
		all = all[1:]
	}
	set := func(m faultproxy.Mode) {
		b.know.goDown(now)
		for _, p := range all {
			p.Set(m)
		}
	}
	switch x.Do {
	case "nacos-kill": // to the proxy it is dead; the writer goes on
		set(faultproxy.Refuse)
		b.pair.Reset()
	case "nacos-reset":
		for _, p := range all {
			p.Reset()
		}
		if !b.know.down {
			b.know.goDown(now)
			b.know.comeBack(now)
		}
	case "nacos-stall", "nacos-refuse", "nacos-silent", "nacos-busy":
		set(faultproxy.Hang)
	case "nacos-lose":
		set(faultproxy.Swallow)
	case "nacos-slow", "nacos-throttle":
		b.know.goDown(now)
		for _, p := range all {
			p.Delay(700 * time.Millisecond)
		}
	case "nacos-calm", "nacos-start":
		b.pair.Set(faultproxy.Pass)
		b.pair.GRPC.Delay(0)
		b.pair.HTTP.Delay(0)
		b.know.comeBack(time.Now())
	case "backend-kill":
		b.ill[x.Name] = true
		b.fronts[x.Name].Set(faultproxy.Refuse)
		b.fronts[x.Name].Reset()
	case "backend-hang":
		b.ill[x.Name] = true
		b.fronts[x.Name].Set(faultproxy.Hang)
	case "backend-cut":
		b.ill[x.Name] = true
		b.setCut(x.Name, true)
	case "backend-calm":
		b.setCut(x.Name, false)
		b.fronts[x.Name].Set(faultproxy.Pass)
	case "proxy-kill":
		b.end(syscall.SIGKILL)
		b.again(x, now)
	case "proxy-restart":
		b.end(syscall.SIGTERM)
		b.again(x, now)
	case "disk-full":
		if b.disk && !b.know.diskFull {
			b.know.diskFloor, b.know.diskFull = b.know.stored(now), true
			_ = exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(b.state, "fill"), "bs=4096").Run()
		}
	case "disk-free":
		if b.know.diskFull {
			_ = os.Remove(filepath.Join(b.state, "fill"))
			b.know.diskFull, b.know.diskBack = false, now
		}
	case "wait", defaultOpen:
	default:
		b.t.Fatalf("no such step: %s", x.Do)
	}
}

// again starts the next life of a proxy that was told to end at a time.
func (b *real) again(x step, at time.Time) {
	lost := false
	switch x.Bad {
	case "gone":
		for _, name := range []string{"*.db", "*.db.key", "*.db.lock"} {
			files, _ := filepath.Glob(filepath.Join(b.state, name))
			for _, f := range files {
				_ = os.Remove(f)
			}
		}
		lost = true
	case "flip", "cut":
		lost = damage(b.state, x)
	}
	b.restarted(at)
	b.start()
	if !b.know.down {
		b.know.back = b.started
	}
	if lost || b.know.diskFull {
		b.loseStore(at)
	}
}

func (b *real) look() *violation {
	b.looks++
	all := b.probes(&b.calls, b.looks)
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { p.call(b.client, b.base, realPatience) })
	}
	wg.Wait()
	b.note(all)
	for _, p := range all {
		expectReady := !p.begun.Before(b.started.Add(outageHolds+realSlack)) && !b.know.stale(p.begun)
		if what := b.check(p, expectReady); what != "" {
			v := b.violation(p, what)
			v.Log = strings.ToValidUTF8(b.log.String(), "?")
			return v
		}
	}
	return nil
}
