package robust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/app"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/fakenacos"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/robust/model"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

const nacosHost = "10.8.0.1"

// patience is how long a probe waits for its answer.
const patience = 300 * time.Millisecond

// virtual is a proxy, a Nacos, backends and callers in virtual time.
type virtual struct {
	*world
	s       *fakenacos.Server
	state   string // directory of the store, of this life
	base    string
	lives   int
	app     *app.App
	started time.Time
	addr    string
	client  *http.Client
	log     *bytes.Buffer
	ended   sync.WaitGroup // apps that are being ended
	dead    bool           // Nacos is
	full    atomic.Bool    // the disk is
	calls   int
	looks   int
	servers []*http.Server
	serving sync.WaitGroup
	backends
}

// violation is what a schedule found.
type violation struct {
	Step int // index of the last step done
	At   time.Duration
	Kind string
	What string
	Log  string
}

func (v *violation) String() string {
	return fmt.Sprintf("after step %d, at %s: %s", v.Step+1, v.At, v.What)
}

// run runs a schedule in a bubble of its own.
func run(t *testing.T, s schedule) (found *violation, probes int) {
	base, err := os.MkdirTemp(scratch(), "robust")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	bubble.Test(t, func(t *testing.T) {
		b := newVirtual(t, base, len(s) > 0 && s[0].Do == defaultOpen)
		defer b.close()
		found = b.steps(s)
		probes = b.calls
	})
	return found, probes
}

// scratch is a directory in memory where there is one: the store waits for the disk.
func scratch() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func newVirtual(t *testing.T, base string, open bool) *virtual {
	b := &virtual{base: base, s: fakenacos.New(t), backends: backends{reached: map[int]bool{}, cut: map[string]bool{}}, log: &bytes.Buffer{}}
	b.world = newWorld(b)
	b.world.open = open
	for _, service := range services {
		server := &http.Server{Handler: b.backend(service)}
		l := b.s.Net.Listen("backend:" + service)
		b.servers = append(b.servers, server)
		b.serving.Go(func() { _ = server.Serve(l) })
	}
	b.start()
	return b
}

func (b *virtual) close() {
	b.full.Store(false)
	b.calm()
	b.stop()
	b.ended.Wait()
	b.s.Close()
	for _, s := range b.servers {
		_ = s.Close()
	}
	b.serving.Wait()
}

// network is what the proxy sees of the world.
func (b *virtual) host() app.Host {
	return app.Host{
		Listen: func(_, address string) (net.Listener, error) { return b.s.Net.Listen(address), nil },
		Nacos: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return b.s.Net.Dial(ctx, network, "nacos:"+port)
		},
		Backend: func(ctx context.Context, network, address string) (net.Conn, error) {
			part := strings.Split(address, ".")
			if len(part) != 4 || part[0] != "10" || part[1] != "1" {
				return nil, fmt.Errorf("no backend at %s", address)
			}
			i, _ := strconv.Atoi(part[2])
			return b.s.Net.Dial(ctx, network, "backend:"+services[i])
		},
		Disk: func() error {
			if b.full.Load() {
				return errors.New("no space left on device")
			}
			return nil
		},
	}
}

// start starts a proxy on the store of this life.
func (b *virtual) start() {
	b.lives++
	b.addr = fmt.Sprintf("10.9.0.%d:8800", b.lives)
	c := config.Default()
	c.Listen, c.Admin.Listen = b.addr, fmt.Sprintf("10.9.0.%d:8801", b.lives)
	c.Source, c.Nacos.Addresses = config.SourceNacos, []string{nacosHost + ":8848"}
	c.Nacos.Namespace, c.Nacos.AccessNamespace = "public", "public"
	c.Nacos.Username, c.Nacos.Password = "u", nacos.NewSecret("p")
	c.Log.Audit = "off"
	if b.world.open {
		c.Access.Default = registry.AuthDisabled
	}
	c.HTTP.AllowedHosts = []string{"proxy"}
	if b.state == "" {
		b.state = filepath.Join(b.base, fmt.Sprint("state", b.lives))
	}
	c.State.Path = b.state
	log := slog.New(slog.DiscardHandler)
	if os.Getenv(envLog) != "" {
		log = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	a, err := app.StartOn(context.Background(), b.host(), c, "test", log)
	if err != nil {
		panic(err)
	}
	b.app, b.started = a, time.Now()
	addr := b.addr
	b.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return b.s.Net.Dial(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 100,
	}}
}

// stop ends the proxy, beside what goes on.
func (b *virtual) stop() {
	a, client := b.app, b.client
	b.ended.Go(func() {
		_ = a.Drain()
		client.CloseIdleConnections()
	})
}

// kill ends the proxy as kill -9 does: what is not on disk by now is lost.
func (b *virtual) kill(x step) {
	synctest.Wait()
	next := filepath.Join(b.base, fmt.Sprint("state", b.lives+1))
	if err := os.CopyFS(next, os.DirFS(b.state)); err != nil {
		panic(err)
	}
	b.state = next
	b.stop()
	b.again(x)
}

// again starts the next life.
func (b *virtual) again(x step) {
	now := time.Now()
	lost := false
	switch x.Bad {
	case "gone":
		_ = os.RemoveAll(b.state)
		lost = true
	case "flip", "cut":
		lost = damage(b.state, x)
	}
	b.restarted(now)
	if lost {
		b.loseStore(now)
	}
	b.start()
}

// damage hurts the database in a directory. It reports whether there was one.
func damage(state string, x step) bool {
	files, _ := filepath.Glob(filepath.Join(state, "*.db"))
	if len(files) == 0 {
		return false
	}
	content, err := os.ReadFile(files[0])
	if err != nil || len(content) == 0 {
		return false
	}
	r := rand.New(rand.NewPCG(uint64(x.N), 1))
	if x.Bad == "cut" {
		content = content[:r.IntN(len(content))]
	} else {
		for range 1 + r.IntN(64) {
			content[r.IntN(len(content))] ^= 1 << r.IntN(8)
		}
	}
	_ = os.WriteFile(files[0], content, 0o600)
	return true
}

// loseStore notes that of each document the store may hold nothing.
func (w *world) loseStore(now time.Time) {
	since := w.know.since(now)
	for _, h := range w.consumers {
		h.lose(now, since, nil)
	}
	for _, h := range w.grants {
		h.lose(now, since, &model.Grants{}) // what was there and cannot be read closes
	}
	for _, h := range w.content {
		h.lose(now, since, nil)
	}
}

func (b *virtual) put(key nacos.Key, content string) { b.s.Put("public", key, content) }

func (b *virtual) remove(key nacos.Key) { b.s.Delete("public", key) }

func (b *virtual) namespace() string { return nacos.PublicNamespace }

func (b *virtual) address(service string, n int) string {
	return fmt.Sprintf("10.1.%d.%d:80", slices.Index(services, service), n)
}

func (b *virtual) instance(service string, n int) {
	host, _, _ := net.SplitHostPort(b.address(service, n))
	b.s.SetInstances(nacos.ServiceRef{Namespace: "public", Group: "DEFAULT_GROUP", Service: naming(service, n)},
		nacos.Instance{Host: host, Port: 80, Weight: 1, Healthy: true, Enabled: true})
}

// backends is what all backends share.
type backends struct {
	mu      sync.Mutex
	reached map[int]bool    // calls, by number
	cut     map[string]bool // backends that cut their answers
}

// backend answers for a service: HTTP, and MCP where the service is passed on.
func (b *backends) backend(service string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		if host == "" {
			host = r.Host
		}
		via := "v" + host[strings.LastIndexByte(host, '.')+1:]
		part := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
		var id json.RawMessage
		var n int
		var tool string
		if strings.Contains(service, passedOn) {
			var m struct {
				ID     json.RawMessage
				Params struct {
					Name      string
					Arguments struct{ N int }
				}
			}
			if json.NewDecoder(r.Body).Decode(&m) != nil || m.ID == nil {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			id, tool, n = m.ID, m.Params.Name, m.Params.Arguments.N
		} else {
			n, _ = strconv.Atoi(r.URL.Query().Get("n"))
			tool = part[len(part)-1]
		}
		b.mu.Lock()
		b.reached[n] = true
		cut := b.cut[service]
		b.mu.Unlock()
		text := fmt.Sprintf("%s %s %s", part[0], tool, via)
		answer := fmt.Sprintf(`{"text":%q}`, text)
		if id != nil {
			answer = fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%q}]}}`, id, text)
		}
		w.Header().Set("Content-Type", "application/json")
		if cut {
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			_, _ = io.WriteString(w, answer[:len(answer)/2])
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, answer)
	})
}

// steps does the steps and checks in between.
func (b *virtual) steps(s schedule) *violation {
	for i, x := range s {
		b.do(x)
		half := time.Duration(x.Wait) / 2
		if half == 0 {
			continue
		}
		for range 2 {
			time.Sleep(half)
			if v := b.look(); v != nil {
				v.Step = i
				return v
			}
		}
	}
	b.do(step{Do: "nacos-calm"})
	b.do(step{Do: "nacos-start"})
	b.do(step{Do: "disk-free"})
	for _, name := range services {
		b.do(step{Do: "backend-calm", Name: name})
	}
	time.Sleep(refusalHolds + registryHolds + time.Second)
	if v := b.look(); v != nil {
		v.Step = len(s) - 1
		v.What = "at the end, " + v.What
		return v
	}
	return nil
}

// do carries out a step.
func (b *virtual) do(x step) {
	if b.edit(x) {
		return
	}
	now := time.Now()
	ports := map[string][]string{"grpc": {fakenacos.GRPC}, "http": {fakenacos.HTTP}, "both": {fakenacos.GRPC, fakenacos.HTTP}}[x.Port]
	set := func(f faultproxy.Fault) {
		b.know.goDown(now)
		for _, port := range ports {
			b.s.Net.Set(port, faultproxy.Direction(x.Way), f)
		}
	}
	switch x.Do {
	case "nacos-kill":
		if !b.dead {
			b.know.goDown(now)
			b.s.Kill()
			b.dead = true
		}
	case "nacos-start":
		if b.dead {
			b.calm()
			b.s.Restart(time.Duration(x.Gap), time.Duration(x.More))
			b.know.comeBack(now.Add(max(time.Duration(x.Gap), time.Duration(x.More))))
			b.dead = false
		}
	case "nacos-reset":
		for _, port := range ports {
			b.s.Net.Reset(port)
		}
		if !b.know.down {
			b.know.goDown(now)
			b.know.comeBack(now)
		}
	case "nacos-stall":
		set(faultproxy.Fault{Stall: true})
	case "nacos-lose":
		set(faultproxy.Fault{Lose: true})
	case "nacos-slow":
		set(faultproxy.Fault{Delay: 1500 * time.Millisecond})
	case "nacos-throttle":
		set(faultproxy.Fault{Rate: 3000})
	case "nacos-refuse":
		b.know.goDown(now)
		b.know.refused = true
		b.s.Refuse(true)
	case "nacos-silent":
		b.know.goDown(now)
		b.s.Silence(true)
	case "nacos-busy":
		b.know.goDown(now)
		b.know.refused = true
		b.s.SlowLists(0, true)
	case "nacos-calm":
		b.calm()
		if !b.dead {
			b.know.comeBack(now)
		}
	case "backend-kill":
		b.ill[x.Name] = true
		b.s.Net.Refuse("backend:"+x.Name, true)
		b.s.Net.Reset("backend:" + x.Name)
	case "backend-hang":
		b.ill[x.Name] = true
		b.s.Net.Set("backend:"+x.Name, faultproxy.Both, faultproxy.Fault{Stall: true})
	case "backend-cut":
		b.ill[x.Name] = true
		b.setCut(x.Name, true)
	case "backend-calm":
		b.setCut(x.Name, false)
		b.s.Net.Refuse("backend:"+x.Name, false)
		b.s.Net.Set("backend:"+x.Name, faultproxy.Both, faultproxy.Fault{})
	case "proxy-kill":
		b.kill(x)
	case "proxy-restart":
		b.stop()
		b.ended.Wait()
		b.again(x)
	case "disk-full":
		if !b.know.diskFull {
			b.know.diskFloor, b.know.diskFull = b.know.stored(now), true
			b.full.Store(true)
		}
	case "disk-free":
		if b.know.diskFull {
			b.full.Store(false)
			b.know.diskFull, b.know.diskBack = false, now
		}
	case "wait", defaultOpen:
	default:
		panic("no such step: " + x.Do)
	}
}

func (b *backends) setCut(name string, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut[name] = cut
}

// calm ends what hurts Nacos and the way to it, but for its death.
func (b *virtual) calm() {
	for _, port := range []string{fakenacos.GRPC, fakenacos.HTTP} {
		b.s.Net.Set(port, faultproxy.Both, faultproxy.Fault{})
	}
	b.s.Refuse(false)
	b.s.Silence(false)
	b.s.SlowLists(0, false)
}

// note takes down which calls have reached a backend.
func (b *backends) note(all []*probe) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range all {
		p.reached = b.reached[p.n]
	}
}

// look has every caller call, and compares.
func (b *virtual) look() *violation {
	b.looks++
	all := b.probes(&b.calls, b.looks)
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { b.call(p) })
	}
	wg.Wait()
	b.note(all)
	for _, p := range all {
		if what := b.check(p, b.expectReady(p.begun)); what != "" {
			v := b.violation(p, what)
			if os.Getenv(envLog) != "" {
				v.Log = b.log.String() + b.status()
			}
			return v
		}
	}
	return nil
}

// status is the proxy's /status.
func (b *virtual) status() string {
	addr := strings.Replace(b.addr, ":8800", ":8801", 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return b.s.Net.Dial(ctx, network, addr)
	}}}
	resp, err := client.Get("http://" + addr + "/status")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

func (w *world) violation(p *probe, what string) *violation {
	return &violation{
		At:   p.begun.Sub(w.began),
		Kind: strings.SplitN(what, ",", 2)[0],
		What: fmt.Sprintf("call of %s of %s with key %s: %s (%d %s)", p.tool, p.service, strings.TrimRight(p.key, "k"), what, p.status, p.answer),
	}
}

// expectReady reports whether the proxy must have a configuration.
func (b *virtual) expectReady(at time.Time) bool {
	return !at.Before(b.started.Add(outageHolds)) && !b.know.stale(at)
}

func (b *virtual) call(p *probe) { p.call(b.client, "http://proxy", patience) }

// call makes the call of a proxy at base.
func (p *probe) call(client *http.Client, base string, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.begun = time.Now()
	defer func() { p.ended = time.Now() }()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"n":%d}}}`, p.n, p.tool, p.n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/mcp/"+p.service, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if p.key != "" {
		req.Header.Set("Authorization", "Bearer "+p.key)
	}
	resp, err := client.Do(req)
	if err != nil {
		p.answer = err.Error()
		p.unready = ctx.Err() == nil
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.answer = err.Error()
		return
	}
	p.read(resp.StatusCode, text)
}

// read takes an answer apart.
func (p *probe) read(status int, body []byte) {
	p.status, p.answer = status, string(body)
	var m struct {
		Result struct {
			IsError bool
			Content []struct{ Text string }
		}
		Error *struct{ Code int }
	}
	if json.Unmarshal(body, &m) != nil {
		p.answer = "not JSON: " + p.answer
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		p.refused = true
	case status == http.StatusServiceUnavailable:
		p.unready = true
	case m.Error != nil && m.Error.Code == -32602:
		p.refused = true
	case status == http.StatusOK && m.Error == nil && !m.Result.IsError && len(m.Result.Content) > 0:
		p.text = m.Result.Content[0].Text
	}
}
