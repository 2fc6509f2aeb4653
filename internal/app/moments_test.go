package app

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/fakenacos"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// The model: three consumers with a key each and some groups, four services of which one lies in the registry, whose tools,
// grants and switches are edited at random. What is allowed at one moment follows from the documents of that moment alone.

const (
	momentConsumers = 3
	momentServices  = 4 // the last one is of the registry
	momentTools     = 3
)

// permit is a call: a consumer's, of one tool of a service.
type permit struct{ consumer, service, tool int }

// moment is the truth at one time: documents by key, and what they allow.
type moment struct {
	documents map[nacos.Key]string
	consumers [momentConsumers]*momentConsumer
	services  [momentServices][]int // tools; nil: there is none
	grants    [momentServices]*momentGrants
}

type momentConsumer struct {
	enabled bool
	groups  []string
}

type momentGrants struct {
	groups []string
	tools  []int // of which grants are on; nil: on the whole service
}

func (m *moment) allows() map[permit]bool {
	all := map[permit]bool{}
	for c, consumer := range m.consumers {
		for s, tools := range m.services {
			g := m.grants[s]
			if consumer == nil || !consumer.enabled || g == nil {
				continue
			}
			if !slices.ContainsFunc(consumer.groups, func(name string) bool { return slices.Contains(g.groups, name) }) {
				continue
			}
			for _, tool := range tools {
				if g.tools == nil || slices.Contains(g.tools, tool) {
					all[permit{c, s, tool}] = true
				}
			}
		}
	}
	return all
}

func momentKey(consumer int) string {
	return fmt.Sprintf("nmp_consumer%d_0123456789abcdefghijklmnop", consumer)
}

func some[T any](r *rand.Rand, all ...T) []T {
	out := []T{}
	for _, x := range all {
		if r.IntN(2) == 0 {
			out = append(out, x)
		}
	}
	return out
}

// edit changes one thing at random and writes it.
func (m *moment) edit(r *rand.Rand, put func(nacos.Key, string), remove func(nacos.Key)) {
	write := func(group, id, content string) {
		key := nacos.Key{Group: group, DataID: id}
		if content == "" {
			delete(m.documents, key)
			remove(key)
			return
		}
		m.documents[key] = content
		put(key, content)
	}
	switch n := r.IntN(10); {
	case n < 4:
		i, content := r.IntN(momentConsumers), ""
		m.consumers[i] = nil
		if r.IntN(3) > 0 {
			c := &momentConsumer{enabled: r.IntN(4) > 0, groups: some(r, "a", "b")}
			sum := sha256.Sum256([]byte(momentKey(i)))
			content = fmt.Sprintf("enabled: %t\nkeys:\n  - {id: k, sha256: %s}\ngroups: [%s]\n", c.enabled, hex.EncodeToString(sum[:]), strings.Join(c.groups, ", "))
			m.consumers[i] = c
		}
		write("proxy-consumers", fmt.Sprintf("c%d.yaml", i), content)
	case n < 8:
		i, content := r.IntN(momentServices), ""
		m.grants[i] = nil
		if r.IntN(3) > 0 {
			g := &momentGrants{groups: some(r, "a", "b")}
			var names []string
			for _, name := range g.groups {
				names = append(names, "{group: "+name+"}")
			}
			content = "consumers: [" + strings.Join(names, ", ") + "]\n"
			if r.IntN(2) == 0 && len(names) > 0 {
				g.tools = some(r, 0, 1, 2)
				content = "tools:\n"
				for _, tool := range g.tools {
					content += fmt.Sprintf("  t%d: [%s]\n", tool, strings.Join(names, ", "))
				}
				if len(g.tools) == 0 {
					content = "consumers: []\n"
				}
			}
			m.grants[i] = g
		}
		write("proxy-grants", fmt.Sprintf("s%d.yaml", i), content)
	default:
		i := r.IntN(momentServices)
		if i == momentServices-1 {
			m.registry(r, write)
			return
		}
		content := ""
		m.services[i] = nil
		if r.IntN(4) > 0 {
			m.services[i] = append(some(r, 0, 1), 2)
			content = strings.Repeat("# room\n", r.IntN(2)*6000) + "tools:\n" // large documents are read in another way
			for _, tool := range m.services[i] {
				content += fmt.Sprintf("  - name: t%d\n    description: d\n    requestTemplate: {url: \"http://127.0.0.1:1/x\", method: GET}\n", tool)
			}
		}
		write("proxy-services", fmt.Sprintf("s%d.yaml", i), content)
	}
}

const momentID = "0c8a5d0e-0000-4000-8000-000000000001"

// registry publishes a new version of the registry's service, or removes it. Tools and spec come first, so that the version
// exists from the one moment on at which the manifest names it.
func (m *moment) registry(r *rand.Rand, write func(group, id, content string)) {
	manifest := momentID + "-mcp-versions.json"
	if m.services[momentServices-1] = nil; r.IntN(4) == 0 {
		write("mcp-server-versions", manifest, "")
		return
	}
	tools := append(some(r, 0, 1), 2)
	version := strconv.Itoa(r.IntN(1 << 30))
	var list, meta []string
	for _, tool := range tools {
		list = append(list, fmt.Sprintf(`{"name":"t%d","description":"d","inputSchema":{"type":"object"}}`, tool))
		meta = append(meta, fmt.Sprintf(`"t%d":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/x","method":"GET"}}}}`, tool))
	}
	write("mcp-tools", momentID+"-"+version+"-mcp-tools.json", fmt.Sprintf(`{"tools":[%s],"toolsMeta":{%s}}`, strings.Join(list, ","), strings.Join(meta, ",")))
	write("mcp-server", momentID+"-"+version+"-mcp-server.json", fmt.Sprintf(`{"id":%q,"name":"s3","protocol":"http","frontProtocol":"http","description":"d","versionDetail":{"version":%q},"remoteServerConfig":{"serviceRef":{"namespaceId":"m","groupName":"DEFAULT_GROUP","serviceName":"x"},"exportPath":"/"},"enabled":true,"capabilities":["TOOL"],"toolsDescriptionRef":%q}`,
		momentID, version, momentID+"-"+version+"-mcp-tools.json"))
	write("mcp-server-versions", manifest, fmt.Sprintf(`{"id":%q,"name":"s3","protocol":"http","frontProtocol":"http","description":"d","enabled":true,"status":"active","latestPublishedVersion":%q,"versionDetails":[{"version":%q}]}`, momentID, version, version))
	m.services[momentServices-1] = tools
}

// shown returns what an Index allows.
func shown(x *catalog.Index, now time.Time) map[permit]bool {
	all := map[permit]bool{}
	for c := range momentConsumers {
		h, ok := x.Holder(sha256.Sum256([]byte(momentKey(c))))
		if !ok || access.KeyState(h.Consumer, h.Key, now.UnixNano()) != access.KeyOK {
			continue
		}
		for s := range momentServices {
			service := x.Service(fmt.Sprintf("s%d", s))
			if service == nil || service.Latest == nil {
				continue
			}
			for _, name := range service.Latest.Tools() {
				if service.Access.Tool(h.Consumer, []byte(name), now.UnixNano()).Allowed {
					tool, _ := strconv.Atoi(strings.TrimPrefix(name, "t"))
					all[permit{c, s, tool}] = true
				}
			}
		}
	}
	return all
}

// momentWorld is a catalog fed through one namespace or two, and the history of what was true.
type momentWorld struct {
	t     *testing.T
	r     *rand.Rand
	trace []string
	put   func(nacos.Key, string)
	del   func(nacos.Key)

	mu      sync.Mutex
	now     *moment
	ever    map[permit]bool // what some moment allowed
	past    []moment        // without documents
	apart   time.Time       // since when one of two namespaces cannot be reached
	mixed   bool            // it was so for so long that the other one goes on without it
	index   *catalog.Index
	catalog *catalog.Catalog
	wrong   string
}

func newMomentWorld(t *testing.T, r *rand.Rand, put func(nacos.Key, string), del func(nacos.Key)) *momentWorld {
	w := &momentWorld{t: t, r: r, put: put, del: del, now: &moment{documents: map[nacos.Key]string{}}, ever: map[permit]bool{}}
	for range 40 {
		w.now.edit(r, put, del)
	}
	return w
}

func (w *momentWorld) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *momentWorld) noteLocked(format string, args ...any) {
	w.trace = append(w.trace, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

// edit makes the next moment.
func (w *momentWorld) edit() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now.edit(w.r, func(k nacos.Key, content string) {
		w.noteLocked("put %s %q", k, strings.TrimLeft(content, "# rom\n"))
		w.put(k, content)
	}, func(k nacos.Key) {
		w.noteLocked("remove %s", k)
		w.del(k)
	})
	maps.Copy(w.ever, w.now.allows())
	w.past = append(w.past, moment{consumers: w.now.consumers, services: w.now.services, grants: w.now.grants})
}

// allowedApart reports whether access of one moment allows p to services of another one.
func (w *momentWorld) allowedApart(p permit) bool {
	for _, m := range w.past {
		for _, other := range w.past {
			m.services = other.services
			if m.allows()[p] {
				return true
			}
		}
	}
	return false
}

// begin forgets the history: from here on the moments count that are.
func (w *momentWorld) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ever, w.trace = w.now.allows(), nil
	w.past = []moment{{consumers: w.now.consumers, services: w.now.services, grants: w.now.grants}}
	w.apart, w.mixed = time.Time{}, false
}

// apartMost is how long a namespace waits for another one that cannot be reached.
const apartMost = 4 * time.Second

// sever notes that one of two namespaces cannot be reached.
func (w *momentWorld) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart = time.Now()
}

// swapped is told of each Index.
func (w *momentWorld) swapped(d catalog.Delta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index = d.Index
	all := shown(d.Index, time.Now())
	w.noteLocked("shown %v", len(all))
	w.mixed = w.mixed || !w.apart.IsZero() && time.Since(w.apart) > apartMost
	for p := range all {
		if !w.ever[p] && w.wrong == "" && !(w.mixed && w.allowedApart(p)) {
			w.wrong = fmt.Sprintf("consumer %d is allowed tool %d of service %d, which no moment allowed", p.consumer, p.tool, p.service)
			w.noteLocked("WRONG: %s", w.wrong)
		}
	}
}

// converges fails unless the catalog shows the present moment within 5 s.
func (w *momentWorld) converges() {
	w.t.Helper()
	w.convergesWithin(5 * time.Second)
}

func (w *momentWorld) convergesWithin(most time.Duration) {
	w.t.Helper()
	began := time.Now()
	for {
		w.mu.Lock()
		same := w.index != nil && !w.catalog.Busy() && maps.Equal(shown(w.index, time.Now()), w.now.allows())
		wrong := w.wrong
		w.mu.Unlock()
		if wrong != "" {
			w.t.Fatalf("%s\n%s", wrong, strings.Join(w.trace, "\n"))
		}
		if same {
			w.use()
			return
		}
		if time.Since(began) > most {
			w.t.Fatalf("not what is true after %s, busy %t: shows %v, true is %v\n%s", most, w.catalog.Busy(), shown(w.index, time.Now()), w.now.allows(), strings.Join(w.trace, "\n"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// use compiles what is served, as calls do: what is in use is replaced in another way.
func (w *momentWorld) use() {
	for _, s := range w.catalog.Index().Services() {
		if s.Latest != nil {
			_, _ = w.catalog.Compiled(s.Latest)
		}
	}
}

// gate is how one client reaches the network.
type gate struct {
	net *faultproxy.Network

	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, net.ErrClosed
	}
	c, err := g.net.Dial(ctx, network, addr)
	if err == nil {
		g.conns = append(g.conns, c)
	}
	return c, err
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut = shut; shut {
		for _, c := range g.conns {
			_ = c.Close()
		}
		g.conns = nil
	}
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// momentSeeds returns the seeds of a test: those of NMP_SEEDS, or n from the first on.
func momentSeeds(n int) []uint64 {
	var all []uint64
	for _, s := range strings.Fields(os.Getenv("NMP_SEEDS")) {
		seed, _ := strconv.ParseUint(s, 10, 64)
		all = append(all, seed)
	}
	if all == nil {
		for seed := range uint64(n) {
			all = append(all, seed)
		}
	}
	return all
}

// TestNoMixOfMomentsAfterAnOutage: random edits during random outages, and after them; at no time is a call allowed that no
// moment of the true history allowed, and 5 s after contact what is true is shown.
func TestNoMixOfMomentsAfterAnOutage(t *testing.T) {
	for _, seed := range momentSeeds(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			bubble.Test(t, func(t *testing.T) { outages(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

// momentSource is a fake Nacos with a catalog that follows it.
type momentSource struct {
	server *fakenacos.Server
	world  *momentWorld
	gates  map[string]*gate
	feeds  *feeds
	log    *slog.Logger
}

func newMomentSource(t *testing.T, r *rand.Rand) *momentSource {
	m := &momentSource{server: fakenacos.New(t)}
	split := r.IntN(2) == 0
	namespace := func(k nacos.Key) string {
		if split && accessGroup(k.Group) {
			return "a"
		}
		return "m"
	}
	m.world = newMomentWorld(t, r, func(k nacos.Key, content string) { m.server.Put(namespace(k), k, content) }, func(k nacos.Key) { m.server.Delete(namespace(k), k) })
	m.gates = map[string]*gate{"m": {net: m.server.Net}, "a": {net: m.server.Net}}
	if !split {
		m.gates["a"] = m.gates["m"]
	}
	m.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("at", a.Value.Time().Format("04:05.000"))
		}
		return a
	}}))
	open := func(namespace string) nacos.Source {
		cfg := m.server.Config(namespace)
		cfg.Dial, cfg.Logger = m.gates[namespace].dial, m.log
		c, err := nacos.Connect(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	m.feeds = &feeds{main: open("m")}
	if m.feeds.access = m.feeds.main; split {
		m.feeds.access = open("a")
	}
	return m
}

// follow starts the catalog with what a store kept, and returns what ends it.
func (m *momentSource) follow(t *testing.T, kept map[nacos.Key]string) (end func()) {
	var initial []catalog.Kept
	m.feeds.known = map[nacos.Key]string{}
	for k, content := range kept {
		sum := md5.Sum([]byte(content))
		m.feeds.known[k] = hex.EncodeToString(sum[:])
		initial = append(initial, catalog.Kept{Change: nacos.Change{Key: k, Content: []byte(content), MD5: m.feeds.known[k]}, Since: time.Now()})
	}
	c, err := catalog.New(catalog.Options{
		Services: 100, OnWants: m.feeds.want, OnSwap: m.world.swapped, Log: m.log,
		Convert: func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} },
	}, initial)
	if err != nil {
		t.Fatal(err)
	}
	m.world.catalog = c
	if err := m.feeds.follow(nil, c.Feed, c.Synced); err != nil {
		t.Fatal(err)
	}
	return func() {
		m.feeds.close()
		c.Close()
		m.server.Close()
	}
}

func outages(t *testing.T, r *rand.Rand) {
	m := newMomentSource(t, r)
	w, server, gates := m.world, m.server, m.gates
	w.begin()
	defer m.follow(t, nil)()
	calm := faultproxy.Fault{Delay: []time.Duration{0, time.Millisecond, 8 * time.Millisecond, 40 * time.Millisecond}[r.IntN(4)]}
	everywhere(server, calm)
	time.Sleep(3 * time.Second)
	w.converges()
	time.Sleep(3 * time.Second)
	for range 3 {
		w.begin()
		pause := time.Duration([]int{60, 400, 1500}[r.IntN(3)]) * time.Millisecond
		back := outage(r, server, gates, w)
		edits := 1 + r.IntN(8)
		for range edits {
			time.Sleep(time.Duration(r.Int64N(int64(pause))))
			w.edit()
		}
		back()
		everywhere(server, calm)
		w.note("contact, %s away, edits within %s", calm.Delay, pause)
		for range r.IntN(3) {
			time.Sleep(time.Duration(r.IntN(700)) * time.Millisecond)
			w.edit()
		}
		w.converges()
		time.Sleep(3 * time.Second)
		w.converges()
	}
}

// everywhere puts a fault on all connections of a server.
func everywhere(server *fakenacos.Server, f faultproxy.Fault) {
	for _, addr := range []string{fakenacos.GRPC, fakenacos.HTTP} {
		server.Net.Set(addr, faultproxy.Both, f)
	}
}

// TestNoMixOfMomentsAtAStart: what a store kept is in force first, while the source has moved on.
func TestNoMixOfMomentsAtAStart(t *testing.T) {
	for _, seed := range momentSeeds(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			bubble.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 11))
				m := newMomentSource(t, r)
				w := m.world
				w.begin()
				kept := maps.Clone(w.now.documents)
				for range 1 + r.IntN(10) {
					time.Sleep(time.Second)
					w.edit()
				}
				everywhere(m.server, faultproxy.Fault{Delay: time.Duration(r.IntN(30)) * time.Millisecond})
				if r.IntN(2) == 0 { // Nacos comes later
					m.gates["a"].set(true)
					m.gates["m"].set(true)
				}
				defer m.follow(t, kept)()
				for range r.IntN(4) {
					time.Sleep(time.Duration(r.IntN(700)) * time.Millisecond)
					w.edit()
				}
				m.gates["a"].set(false)
				m.gates["m"].set(false)
				w.converges()
			})
		})
	}
}

// outage begins one at random, and returns what ends it.
func outage(r *rand.Rand, server *fakenacos.Server, gates map[string]*gate, w *momentWorld) (end func()) {
	note := w.note
	defer func() {
		if gates["m"].closed() != gates["a"].closed() {
			w.sever()
		}
	}()
	switch r.IntN(8) {
	case 0:
		note("main cut off")
		gates["m"].set(true)
		return func() { gates["m"].set(false) }
	case 1:
		note("access cut off")
		gates["a"].set(true)
		return func() { gates["a"].set(false) }
	case 2:
		note("all cut off")
		gates["m"].set(true)
		gates["a"].set(true)
		return func() { gates["m"].set(false); gates["a"].set(false) }
	case 3:
		note("stalled")
		everywhere(server, faultproxy.Fault{Stall: true})
		began := time.Now()
		return func() { time.Sleep(time.Until(began.Add(3 * time.Second))) } // a shorter one is no outage: nothing is lost
	case 4:
		note("killed")
		server.Kill()
		load, web := time.Duration(r.IntN(1500))*time.Millisecond, time.Duration(r.IntN(1500))*time.Millisecond
		return func() {
			server.Restart(load, web)
			time.Sleep(max(load, web))
		}
	case 5:
		note("login refused")
		server.Refuse(true)
		return func() { server.Refuse(false) }
	}
	if r.IntN(2) == 0 {
		note("tokens revoked")
		server.RevokeTokens()
		return func() {}
	}
	note("reset, and nothing else")
	server.Net.Reset(fakenacos.GRPC)
	return func() {}
}
