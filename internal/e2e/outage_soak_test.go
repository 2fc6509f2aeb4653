package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Soak is the environment variable that says for how long TestSoak runs; without it, it does not. scripts/soak sets it.
const Soak = "TEST_SOAK"

// soakGroups are the groups that the soak test edits.
var soakGroups = []string{"proxy-services", "proxy-consumers", "proxy-grants", "proxy-upstreams", "mcp-server-versions"}

// soak is a proxy on a Nacos that is hurt at random, and what Nacos should hold.
type soak struct {
	t      *testing.T
	r      *rand.Rand
	s      *source
	server *nacostest.Server
	pair   *faultproxy.Pair
	proxy  *proxy
	kept   func(*config.Config)
	model  map[nacos.Key]string // content by document
	checks int
	did    map[string]int
}

// TestSoak makes random edits, good and malformed ones, deletions, cuts, resets, hangs, silent deaths of connections, kills
// of Nacos and restarts of the proxy, and compares at every quiet point: Nacos's list with the model, and /status with
// Nacos's list, MD5 by MD5.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(Soak))
	if err != nil {
		t.Skipf("runs with %s set to a time, as make soak does", Soak)
	}
	server := nacostest.Mortal(t)
	namespace := server.Namespace(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	state := t.TempDir()
	k := &soak{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), s: nacosSource(t, server, namespace), server: server, pair: faultproxy.NewPair(t, server.Addr),
		kept: func(c *config.Config) { c.State.Path = state }, model: map[nacos.Key]string{}, did: map[string]int{},
	}
	for range 60 {
		k.edit()
	}
	k.proxy = start(t, k.s, through(k.pair), k.kept).ready()
	began, killed := time.Now(), time.Now()
	defer func() {
		var did []string
		for what, n := range k.did {
			did = append(did, fmt.Sprintf("%d %s", n, what))
		}
		sort.Strings(did)
		t.Logf("soak: %d checks of every document in %s: %s", k.checks, time.Since(began).Round(time.Second), strings.Join(did, ", "))
	}()
	for time.Since(began) < length && !t.Failed() {
		for range 1 + k.r.IntN(30) {
			k.edit()
			time.Sleep(time.Duration(k.r.IntN(20)) * time.Millisecond)
		}
		if k.r.IntN(2) == 0 {
			kill := time.Since(killed) > time.Minute
			if kill {
				killed = time.Now()
			}
			k.fault(kill)
		}
		k.check()
	}
}

// edit changes, adds or deletes one document, half of them known before.
func (k *soak) edit() {
	n := k.r.IntN(40)
	group := soakGroups[k.r.IntN(len(soakGroups))]
	key := nacos.Key{Group: group, DataID: fmt.Sprintf("s%d.yaml", n)}
	version := k.r.IntN(1_000_000)
	content := map[string]string{
		"proxy-services":  ownService("http://127.0.0.1:1", fmt.Sprintf("tool-%d", version), "x"),
		"proxy-consumers": fmt.Sprintf("enabled: true\ndescription: v%d\nkeys:\n  - {id: k, sha256: %s}\n", version, digest(fmt.Sprint(n))),
		"proxy-grants":    fmt.Sprintf("consumers: [s%d]\n", version%40),
		"proxy-upstreams": fmt.Sprintf("timeout: %ds\n", 1+version%50),
	}[group]
	if group == "mcp-server-versions" {
		v := versioned{fmt.Sprintf("44444444-4444-4444-8444-%012d", n), fmt.Sprintf("reg%d", n), "none"}
		key.DataID, content = v.manifest(fmt.Sprint(version), fmt.Sprint(version))
	}
	if k.r.IntN(10) == 0 {
		content = fmt.Sprintf("{malformed: [%d\n", version)
	}
	if _, ok := k.model[key]; ok && k.r.IntN(5) == 0 {
		k.did["deletions"]++
		k.s.remove(k.t, key.Group, key.DataID, nacos.ErrUnavailable)
		delete(k.model, key)
		return
	}
	k.did["edits"]++
	k.s.put(k.t, key.Group, key.DataID, content)
	k.model[key] = content
}

// fault hurts the connection, Nacos or the proxy, with edits meanwhile where Nacos still takes them.
func (k *soak) fault(kill bool) {
	pause := func() { time.Sleep(time.Duration(k.r.IntN(4000)) * time.Millisecond) }
	edits := func() {
		for range k.r.IntN(20) {
			k.edit()
		}
	}
	restart := func() {
		if err := k.proxy.Drain(); err != nil {
			k.t.Errorf("drain: %v", err)
		}
		edits()
		k.proxy = start(k.t, k.s, through(k.pair), k.kept).ready()
	}
	if kill {
		k.did["kills of Nacos"]++
		k.server.Kill()
		if k.r.IntN(2) == 0 {
			k.proxy.Drain()
			k.proxy = start(k.t, k.s, through(k.pair), k.kept).ready()
		}
		k.server.Restart(k.t)
		return
	}
	switch k.r.IntN(7) {
	case 0:
		k.did["resets"]++
		k.pair.Reset()
		edits()
	case 1:
		k.did["cuts"]++
		k.pair.Cut()
	case 2:
		k.did["outages"]++
		away(k.pair)
		edits()
		pause()
		k.pair.Set(faultproxy.Pass)
	case 3:
		k.did["hangs"]++
		k.pair.Set(faultproxy.Hang)
		edits()
		pause()
		k.pair.Set(faultproxy.Pass)
	case 4:
		k.did["silent deaths of all connections"]++
		k.pair.Set(faultproxy.Swallow)
		edits()
		pause()
		k.pair.Set(faultproxy.Pass)
	case 5:
		k.did["restarts of the proxy"]++
		restart()
	case 6:
		k.did["restarts of the proxy during an outage"]++
		away(k.pair)
		edits()
		restart()
		pause()
		k.pair.Set(faultproxy.Pass)
	}
}

// check waits for quiet and compares.
func (k *soak) check() {
	listed := func() (map[string]string, error) {
		all := map[string]string{}
		for _, group := range soakGroups {
			entries, err := k.s.List(k.t.Context(), group)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				all[e.Key.String()] = e.MD5
			}
		}
		return all, nil
	}
	var differs string
	ok := false
	for deadline := time.Now().Add(30 * time.Second); !ok && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		want, err := listed()
		if err != nil {
			differs = err.Error()
			continue
		}
		if len(want) != len(k.model) {
			differs = fmt.Sprintf("Nacos lists %d documents, %d were written", len(want), len(k.model))
			continue
		}
		differs = ""
		status := k.proxy.status()
		for _, d := range status.Documents {
			name := d.Group + "/" + d.DataID
			if want[name] != d.MD5 {
				differs += fmt.Sprintf("%s is %s, in Nacos %q\n", name, d.MD5, want[name])
			}
			delete(want, name)
		}
		for name := range want {
			differs += name + " is missing\n"
		}
		ok = differs == "" && status.Source.Connected
	}
	if !ok {
		k.t.Errorf("after 30 s without edits: %s", differs)
		return
	}
	k.checks++
}
