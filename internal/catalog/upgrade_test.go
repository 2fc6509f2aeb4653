package catalog

import (
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// workshop stands in for what compiling does outside of the catalog, and gets stuck on demand: opening backends with
// "stuck" in their URL, and looking up the credential "stuck/…".
type workshop struct {
	up      *upstream.Upstreams
	stuck   chan struct{} // closed to let all go on
	within  atomic.Int64  // compilations that are stuck now
	most    atomic.Int64
	lookups atomic.Int64 // of the credential "counted/…"
	open    atomic.Int64 // naming services that are followed
	release func()
}

func newWorkshop() *workshop {
	s := &workshop{stuck: make(chan struct{})}
	s.release = sync.OnceFunc(func() { close(s.stuck) })
	return s
}

func (s *workshop) wait() {
	for n := s.within.Add(1); ; {
		most := s.most.Load()
		if n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	<-s.stuck
	s.within.Add(-1)
}

func (s *workshop) Open(service string, b registry.Backend) (*upstream.Backend, error) {
	if strings.Contains(b.URL, "stuck") || b.Ref != nil && strings.Contains(b.Ref.Service, "stuck") {
		s.wait()
	}
	return s.up.Open(service, b)
}

func (s *workshop) convert(secrets convert.Secrets) convert.Options {
	return convert.Options{Secrets: stuckSecrets{secrets, s}}
}

type stuckSecrets struct {
	convert.Secrets
	*workshop
}

func (s stuckSecrets) Lookup(service, ref string) (convert.Secret, error) {
	if strings.HasPrefix(ref, "credential:stuck/") {
		s.wait()
	}
	if strings.HasPrefix(ref, "credential:counted/") {
		s.lookups.Add(1)
	}
	if strings.HasPrefix(ref, "credential:panic/") {
		panic("a fault of the compiler's")
	}
	return s.Secrets.Lookup(service, ref)
}

// options of a catalog whose compilations get stuck.
func (s *workshop) options(t testing.TB, services int) Options {
	s.up = upstream.New(upstream.Options{Subscribe: func(registry.BackendRef, func([]upstream.Instance)) (func(), error) {
		s.open.Add(1)
		return func() { s.open.Add(-1) }, nil
	}})
	t.Cleanup(s.up.Close)
	return Options{Services: services, Backends: s, Convert: s.convert}
}

// Documents of a service whose compilation gets stuck in different places.
var stuckDocuments = map[string]string{
	"opening the backend":    own("two") + "upstream: {url: \"http://127.0.0.1:1/stuck\"}\n",
	"compiling the template": withCredential("two", "stuck/k"),
}

// withCredential is a service whose tool sends credentials.
func withCredential(tool string, credentials ...string) string {
	config, headers := "", ""
	for i, ref := range credentials {
		config += fmt.Sprintf("k%d: \"${credential:%s}\", ", i, ref)
		headers += fmt.Sprintf("{key: X-%d, value: \"{{.config.k%d}}\"}, ", i, i)
	}
	document := strings.Replace(own(tool), "{name: s}", "{name: s, config: {"+config+"}}", 1)
	return strings.Replace(document, "method: GET", "method: GET, headers: ["+headers+"]", 1)
}

// in runs a test in a bubble where time passes only when nothing else happens.
func in(t *testing.T, services int, f func(t *testing.T, w *world, s *workshop)) {
	bubble.Test(t, func(t *testing.T) {
		s := newWorkshop()
		w := newWorldOf(t, s.options(t, services))
		t.Cleanup(s.release) // before the catalog is closed
		f(t, w, s)
	})
}

// allowed reports whether the holder of key may call a tool now, as the gateway decides it.
func (w *world) allowed(service, tool string, key byte) bool {
	x := w.Index()
	s := x.Service(service)
	if s == nil || s.NotServed != "" {
		return false
	}
	holder, ok := x.Holder(digest(key))
	if !ok || !holder.Consumer.Enabled {
		return false
	}
	return s.Access.Tool(holder.Consumer, []byte(tool), time.Now().UnixNano()).Allowed
}

func digest(key byte) (d [32]byte) {
	for i := range d {
		d[i] = key
	}
	return d
}

func person(name string, key byte, more string) nacos.Change {
	return change("proxy-consumers", name+".yaml", fmt.Sprintf("keys: [{id: k, sha256: %q}]\n%s", strings.Repeat(fmt.Sprintf("%02x", key), 32), more))
}

// TestRevocationsHoldWhileACompilationIsStuck: of the service whose compilation it is, too. Other services' edits go on, and
// the service itself is served as it was. Seen red with the compilation on the writer's goroutine, as it was before.
func TestRevocationsHoldWhileACompilationIsStuck(t *testing.T) {
	for where, document := range stuckDocuments {
		t.Run(where, func(t *testing.T) {
			in(t, 8, func(t *testing.T, w *world, s *workshop) {
				w.put(
					change("proxy-services", "a.yaml", own("one")), change("proxy-services", "b.yaml", own("one")),
					change("proxy-services", "c.yaml", own("one")),
					change("proxy-grants", "a.yaml", "auth: required\nconsumers: [alice, bob, carol]\n"),
					change("proxy-grants", "b.yaml", "auth: required\nconsumers: [alice]\n"),
					person("alice", 1, ""), person("bob", 2, ""), person("carol", 3, ""),
				)
				for _, name := range []string{"a", "b", "c"} {
					w.tools(name) // in use
				}
				w.Apply([]nacos.Change{change("proxy-services", "a.yaml", document)})
				time.Sleep(time.Second)
				if s.within.Load() == 0 {
					t.Fatal("nothing is stuck")
				}
				for _, edit := range []struct {
					what   string
					change nacos.Change
					held   func() bool
				}{
					{"its own grants revoke alice", change("proxy-grants", "a.yaml", "auth: required\nconsumers: [bob, carol]\n"), func() bool { return !w.allowed("a", "one", 1) }},
					{"another service's grants revoke alice", change("proxy-grants", "b.yaml", "auth: required\n"), func() bool { return !w.allowed("b", "one", 1) }},
					{"bob is disabled", person("bob", 2, "enabled: false\n"), func() bool { return !w.allowed("a", "one", 2) }},
					{"carol is removed", gone("proxy-consumers", "carol.yaml"), func() bool { return !w.allowed("a", "one", 3) }},
					{"a tool is granted to alice", change("proxy-grants", "a.yaml", "auth: required\ntools: {one: [alice]}\n"), func() bool { return w.allowed("a", "one", 1) && !w.allowed("a", "two", 1) }},
					{"another service is edited", change("proxy-services", "b.yaml", own("edited")), func() bool { return w.tools("b")[0] == "edited" }},
					{"a third is removed", gone("proxy-services", "c.yaml"), func() bool { return w.Index().Service("c") == nil }},
					{"a new one comes", change("proxy-services", "d.yaml", own("new")), func() bool { return w.Index().Service("d") != nil && w.tools("d")[0] == "new" }},
					{"its grants are removed", gone("proxy-grants", "a.yaml"), func() bool { return !w.allowed("a", "one", 1) }},
				} {
					if edit.held() {
						t.Fatalf("%s: already", edit.what)
					}
					w.Apply([]nacos.Change{edit.change})
					time.Sleep(time.Second)
					if !edit.held() {
						t.Errorf("%s: does not hold after a second", edit.what)
					}
					if got := w.tools("a"); len(got) != 1 || got[0] != "one" {
						t.Fatalf("%s: a serves %v", edit.what, got)
					}
				}
				w.Apply([]nacos.Change{gone("proxy-services", "a.yaml")})
				time.Sleep(time.Second)
				if w.Index().Service("a") != nil {
					t.Error("it was removed itself, and is served")
				}
				if s.within.Load() == 0 {
					t.Error("nothing is stuck any more")
				}
			})
		})
	}
}

// TestAStuckCompilationIsReported: on the document that it is of, until it has ended after all.
func TestAStuckCompilationIsReported(t *testing.T) {
	for where, document := range stuckDocuments {
		t.Run(where, func(t *testing.T) {
			in(t, 8, func(t *testing.T, w *world, s *workshop) {
				w.put(change("proxy-services", "a.yaml", own("one")))
				w.tools("a")
				w.Apply([]nacos.Change{change("proxy-services", "a.yaml", document), change("proxy-services", "b.yaml", own("bad")+"    bad: 1\n")})
				time.Sleep(time.Second)
				if st := w.document("proxy-services", "b.yaml"); len(st.Faults) == 0 {
					t.Error("another document is not validated")
				}
				time.Sleep(patience)
				st := w.document("proxy-services", "a.yaml")
				if st.State != Rejected || !strings.Contains(fmt.Sprint(st.Faults), "the version before is served meanwhile") {
					t.Errorf("after %s: %+v", patience, st)
				}
				w.put(change("proxy-credentials", "stuck.yaml", "services: [a]\nhosts: [127.0.0.1]\nvalues: {k: v}\n"))
				s.release()
				w.settle()
				if st := w.document("proxy-services", "a.yaml"); st.State != Applied || len(st.Faults) > 0 {
					t.Errorf("after it has ended: %+v", st)
				}
				if got := w.tools("a"); len(got) != 1 || got[0] != "two" {
					t.Errorf("after it has ended a serves %v", got)
				}
			})
		})
	}
}

// TestAnEditAfterAStuckOneIsServed: the last one counts, in whichever order compilations end.
func TestAnEditAfterAStuckOneIsServed(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		w.put(change("proxy-services", "a.yaml", own("one")))
		w.tools("a")
		for _, edit := range []struct{ document, want string }{
			{stuckDocuments["opening the backend"], "one"},
			{own("one"), "one"},
			{stuckDocuments["compiling the template"], "one"},
			{own("three"), "three"},
		} {
			w.Apply([]nacos.Change{change("proxy-services", "a.yaml", edit.document)})
			time.Sleep(time.Second)
			if got := w.tools("a"); got[0] != edit.want {
				t.Errorf("serves %v, want %s", got, edit.want)
			}
		}
		s.release()
		w.settle()
		if got := w.tools("a"); got[0] != "three" {
			t.Errorf("once the stuck ones have ended: %v", got)
		}
		if st := w.document("proxy-services", "a.yaml"); len(st.Faults) > 0 {
			t.Errorf("faults of versions that are gone: %+v", st.Faults)
		}
	})
}

// TestStuckCompilationsDoNotPileUp: neither with edits nor with calls.
func TestStuckCompilationsDoNotPileUp(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		w.put(change("proxy-services", "a.yaml", own("one")))
		w.tools("a")
		for i := range 20 {
			w.Apply([]nacos.Change{change("proxy-services", "a.yaml", fmt.Sprintf("%s# %d\n", stuckDocuments["opening the backend"], i))})
			time.Sleep(200 * time.Millisecond)
		}
		if n := s.most.Load(); n > maxTasks {
			t.Errorf("%d compilations of one service are stuck, want at most %d", n, maxTasks)
		}
		if got := w.tools("a"); got[0] != "one" {
			t.Errorf("a serves %v", got)
		}
		time.Sleep(time.Second)
		st := w.document("proxy-services", "a.yaml")
		if st.State != Rejected || !strings.Contains(fmt.Sprint(st.Faults), "earlier compilations of this service") {
			t.Errorf("status: %+v", st)
		}
		s.release()
		time.Sleep(patience + time.Second)
		if got := w.tools("a"); got[0] != "two" {
			t.Errorf("once they have ended: %v", got)
		}
	})
}

// TestACallToAServiceThatIsStuckIsAnswered: and the next one too, by one compilation.
func TestACallToAServiceThatIsStuckIsAnswered(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		w.put(change("proxy-services", "a.yaml", stuckDocuments["opening the backend"]))
		began := time.Now()
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				if _, err := w.Compiled(w.Index().Service("a").Latest); !errors.Is(err, ErrCompiling) {
					t.Errorf("got %v", err)
				}
			})
		}
		calls.Wait()
		if d := time.Since(began); d != w.compileWait {
			t.Errorf("answered after %s", d)
		}
		if n := s.most.Load(); n != 1 {
			t.Errorf("%d compilations for one variant", n)
		}
		s.release()
		time.Sleep(time.Millisecond)
		if got := w.tools("a"); got[0] != "two" {
			t.Errorf("once it has ended: %v", got)
		}
	})
}

// TestManyStuckServicesHoldUpNoOther: stuck compilations give their places up.
func TestManyStuckServicesHoldUpNoOther(t *testing.T) {
	in(t, 200, func(t *testing.T, w *world, s *workshop) {
		const stuck = 100
		all := []nacos.Change{change("proxy-services", "fine.yaml", own("one"))}
		for i := range stuck {
			all = append(all, change("proxy-services", fmt.Sprintf("s%d.yaml", i), stuckDocuments["opening the backend"]))
		}
		w.put(all...)
		for i := range stuck {
			go w.Compiled(w.Index().Service(fmt.Sprintf("s%d", i)).Latest)
		}
		synctest.Wait()
		began := time.Now()
		for time.Since(began) < stuck*patience {
			if x, err := w.Compiled(w.Index().Service("fine").Latest); err == nil {
				x.Release()
				return
			}
		}
		t.Errorf("a service was not compiled within %s", time.Since(began))
	})
}

// TestAnUpgradeOutlivesTheLRU: what is served while it goes on may leave the LRU for want of calls.
func TestAnUpgradeOutlivesTheLRU(t *testing.T) {
	in(t, 1, func(t *testing.T, w *world, s *workshop) {
		w.put(change("proxy-services", "a.yaml", own("one")), change("proxy-services", "b.yaml", own("one")))
		w.tools("a")
		w.Apply([]nacos.Change{change("proxy-services", "a.yaml", stuckDocuments["opening the backend"])})
		time.Sleep(time.Second)
		w.tools("b")
		w.Apply([]nacos.Change{change("proxy-grants", "a.yaml", "auth: required\n")})
		time.Sleep(time.Second)
		if got := w.tools("a"); got[0] != "one" {
			t.Errorf("a serves %v", got)
		}
	})
}

// TestAnUpgradeIsOfWhatDefinesTheServiceNow: what defined it before has no business any more, however long the next takes.
func TestAnUpgradeIsOfWhatDefinesTheServiceNow(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		w.put(change("proxy-services", "s.yaml", own("one")), toolset(id1, "1", "registry"), manifest(id1, "s", "1", "1"), spec(id1, "1", "b"))
		w.tools("s")
		w.Apply([]nacos.Change{gone("proxy-services", "s.yaml")})
		time.Sleep(200 * time.Millisecond)
		if got := w.tools("s"); got[0] != "registry" {
			t.Errorf("serves %v", got)
		}
		w.Apply([]nacos.Change{change("proxy-services", "s.yaml", stuckDocuments["opening the backend"])})
		time.Sleep(time.Second)
		if x, err := w.Compiled(w.Index().Service("s").Latest); err == nil {
			x.Release()
			t.Error("a service of the registry is served under a name that was taken from it")
		}
	})
}

func certificatePEM(t *testing.T) []byte {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// TestFailedUpgradesAreTriedAgain: a file may come later than the document that names it.
func TestFailedUpgradesAreTriedAgain(t *testing.T) {
	dir := t.TempDir()
	w := newWorldOf(t, Options{Services: 8, TLSFiles: upstream.TLSFiles{Dir: dir}, Patience: 200 * time.Millisecond})
	w.put(change("proxy-services", "a.yaml", own("one")))
	w.tools("a")
	w.put(change("proxy-services", "a.yaml", withTLS("two", "    ca: ca.pem\n")))
	if got := w.tools("a"); got[0] != "one" {
		t.Errorf("a serves %v", got)
	}
	if st := w.document("proxy-services", "a.yaml"); st.State != Rejected || len(st.Faults) != 1 || st.Line != 9 {
		t.Errorf("status: %+v", st)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), certificatePEM(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); w.tools("a")[0] != "two"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file is there, and the old version served")
		}
	}
}

// TestACredentialThatComesWhileCompilingIsSeen. Seen red without the look at what has changed meanwhile.
func TestACredentialThatComesWhileCompilingIsSeen(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		document := withCredential("one", "c/k", "stuck/k")
		w.put(
			change("proxy-services", "a.yaml", document),
			change("proxy-credentials", "stuck.yaml", "services: [a]\nhosts: [127.0.0.1]\nvalues: {k: v}\n"),
		)
		go w.Compiled(w.Index().Service("a").Latest)
		time.Sleep(time.Second)
		w.Apply([]nacos.Change{change("proxy-credentials", "c.yaml", "services: [a]\nhosts: [127.0.0.1]\nvalues: {k: v}\n")})
		time.Sleep(time.Second)
		s.release()
		w.settle()
		if got := w.tools("a"); len(got) != 1 {
			t.Errorf("a serves %v", got)
		}
		if st := w.document("proxy-services", "a.yaml"); len(st.Faults) > 0 {
			t.Errorf("faults: %+v", st.Faults)
		}
	})
}

// TestAPanicIsTheFaultOfOneService.
func TestAPanicIsTheFaultOfOneService(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		document := withCredential("two", "panic/k")
		w.put(change("proxy-services", "a.yaml", own("one")), change("proxy-services", "b.yaml", document))
		w.tools("a")
		w.put(change("proxy-services", "a.yaml", document))
		if got := w.tools("a"); got[0] != "one" {
			t.Errorf("a serves %v", got)
		}
		if _, err := w.Compiled(w.Index().Service("b").Latest); !errors.Is(err, errPanicked) {
			t.Errorf("b: %v", err)
		}
		for _, name := range []string{"a.yaml", "b.yaml"} {
			if st := w.document("proxy-services", name); st.State != Rejected {
				t.Errorf("%s: %+v", name, st)
			}
		}
	})
}

// TestOnlyTheNewestVersionIsValidated: one that has been replaced meanwhile concerns nobody.
func TestOnlyTheNewestVersionIsValidated(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		w.Apply([]nacos.Change{change("proxy-services", "a.yaml", withCredential("one", "stuck/k"))})
		time.Sleep(time.Second)
		for i := range 20 {
			w.Apply([]nacos.Change{change("proxy-services", "b.yaml", fmt.Sprintf("%s# %d\n", withCredential("one", "counted/k"), i))})
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.lookups.Load(); n > 0 {
			t.Fatalf("%d lookups while another validation goes on", n)
		}
		time.Sleep(patience)
		if n := s.lookups.Load(); n != 1 {
			t.Errorf("%d lookups for 20 versions, want 1", n)
		}
	})
}

// TestToolsThatAStuckEditTakesAwayAreOff: taking a tool away is a revocation, too.
func TestToolsThatAStuckEditTakesAwayAreOff(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		both := own("one") + "  - name: two\n    description: d\n    requestTemplate: {url: /x, method: GET}\nupstream: {url: \"http://127.0.0.1:1\"}\n"
		w.put(
			change("proxy-services", "a.yaml", both),
			toolset(id1, "1", "one", "two"), manifest(id1, "r", "1", "1"), spec(id1, "1", "b"),
			change("proxy-upstreams", "r.yaml", "timeout: 5s\n"),
		)
		w.tools("a")
		w.tools("r")
		w.Apply([]nacos.Change{
			change("proxy-services", "a.yaml", stuckDocuments["opening the backend"]),
			change("proxy-upstreams", "r.yaml", "securitySchemes: [{id: k, type: apiKey, in: header, name: X, defaultCredential: \"${credential:stuck/k}\"}]\nsecurity: {id: k}\n"),
			toolset(id1, "1", "one"),
		})
		time.Sleep(time.Second)
		if s.within.Load() < 2 {
			t.Fatalf("%d are stuck", s.within.Load())
		}
		for name, want := range map[string]string{"a": "one", "r": "two"} {
			v := w.Index().Service(name).Latest
			if !v.Off([]byte(want)) || len(v.Tools()) != 1 {
				t.Errorf("%s: %s can be called, of %v", name, want, v.Tools())
			}
			if got := w.tools(name); len(got) != 2 {
				t.Errorf("%s is not compiled as before: %v", name, got)
			}
		}
		w.put(change("proxy-credentials", "stuck.yaml", "services: [r]\nhosts: [127.0.0.1]\nvalues: {k: v}\n"))
		s.release()
		w.settle()
		for name, want := range map[string]string{"a": "two", "r": "one"} {
			if v := w.Index().Service(name).Latest; v.Narrowed() || len(v.Tools()) != 1 || v.Tools()[0] != want {
				t.Errorf("%s in the end: %v but %v", name, v.Tools(), v.off)
			}
		}
	})
}

// TestAllowToolsThatAStuckEditNarrowsHolds: of a passed-through service, whose tools no document names, and through a further
// edit. Seen red without only, and with an upgrade that begins as if nothing had been taken away.
func TestAllowToolsThatAStuckEditNarrowsHolds(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		passed := func(more string) nacos.Change {
			return change("proxy-services", "p.yaml", "server:\n  name: p\n  type: mcp-proxy\n  mcpServerURL: http://127.0.0.1:1/"+more)
		}
		narrowed := func() {
			t.Helper()
			v := w.Index().Service("p").Latest
			if !v.Off([]byte("b")) || v.Off([]byte("a")) || !v.Narrowed() {
				t.Errorf("off are %v, on are %v", v.off, v.only)
			}
			if got := v.root().Tools(); len(got) > 0 {
				t.Errorf("not the version of before: %v", got)
			}
		}
		w.put(passed("mcp\n"))
		if _, err := w.Compiled(w.Index().Service("p").Latest); err != nil {
			t.Fatal(err)
		}
		w.Apply([]nacos.Change{passed("stuck\nallowTools: [a]\n")})
		time.Sleep(time.Second)
		narrowed()
		w.Apply([]nacos.Change{passed("stuck-again\nallowTools: [a, c]\n")})
		for range 40 {
			time.Sleep(coalesce)
			narrowed()
		}
		w.Apply([]nacos.Change{passed("stuck-for-all\n")})
		time.Sleep(time.Second)
		if v := w.Index().Service("p").Latest; v.Narrowed() {
			t.Errorf("off are %v, on are %v though all are allowed", v.off, v.only)
		}
		w.Apply([]nacos.Change{passed("mcp\nallowTools: [c]\n")})
		time.Sleep(time.Second)
		s.release()
		time.Sleep(2 * patience) // three were stuck, which is the most
		w.settle()
		if v := w.Index().Service("p").Latest; v.Narrowed() || len(v.Tools()) != 1 {
			t.Errorf("in the end: %v but %v", v.Tools(), v.off)
		}
	})
}

// TestACollectedEditIsNotOffBeforeItsTime: tools that a collected edit takes away go on for as long as those of any other edit,
// unless access documents that may grant them came with it. Seen red with every collected edit taken for slow: a version whose
// tools have other names showed none until it was compiled.
func TestACollectedEditIsNotOffBeforeItsTime(t *testing.T) {
	for _, with := range [][]nacos.Change{nil, {change("proxy-grants", "p.yaml", "consumers: [{group: a}]\n")}} {
		in(t, 8, func(t *testing.T, w *world, s *workshop) {
			defer s.release()
			passed := func(more string) nacos.Change {
				return change("proxy-services", "p.yaml", "server:\n  name: p\n  type: mcp-proxy\n  mcpServerURL: http://127.0.0.1:1/"+more)
			}
			w.put(passed("mcp\nallowTools: [a]\n"))
			if _, err := w.Compiled(w.Index().Service("p").Latest); err != nil {
				t.Fatal(err)
			}
			feed := w.Feed()
			feed.Progress(nacos.CatchingUp)
			feed.Apply(append(with, passed("stuck\nallowTools: [b]\n")))
			feed.Progress(nacos.Current)
			time.Sleep(slowAfter / 2)
			if off := w.Index().Service("p").Latest.Off([]byte("a")); off != (with != nil) {
				t.Errorf("soon after it, with %v: off %t", with, off)
			}
			time.Sleep(slowAfter)
			if !w.Index().Service("p").Latest.Off([]byte("a")) {
				t.Error("not off in the end")
			}
		})
	}
}

// TestAnUpgradeWaitsForInstances: of its backend, as long as the version before has some, and not for ever. What newer
// documents take away is taken away meanwhile. Seen red without lacksInstances, without its bound, and with a version before
// that has no instances either waited for,
// and with one of which no tool is left.
func TestAnUpgradeWaitsForInstances(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tell := map[string]func([]upstream.Instance){}
		up := upstream.New(upstream.Options{Subscribe: func(ref registry.BackendRef, f func([]upstream.Instance)) (func(), error) {
			mu.Lock()
			defer mu.Unlock()
			tell[ref.Service] = f
			f(nil)
			return func() {}, nil
		}})
		defer up.Close()
		appear := func(service string, n int) {
			synctest.Wait()
			mu.Lock()
			f := tell[service]
			mu.Unlock()
			var list []upstream.Instance
			for i := range n {
				list = append(list, upstream.Instance{Host: "127.0.0.1", Port: 1 + i, Weight: 1, Healthy: true, Enabled: true})
			}
			f(list)
		}
		w := newWorldOf(t, Options{Services: 8, Backends: up})
		publish := func(version string, tools ...string) {
			w.Apply([]nacos.Change{toolset(id1, version, tools...), manifest(id1, "s", version, version), spec(id1, version, "b"+version)})
		}
		serves := func(when, want string) {
			t.Helper()
			if got := w.served("s"); got != want {
				t.Errorf("%s: served is %s, want %s", when, got, want)
			}
		}
		publish("1", "one", "two")
		w.settle()
		w.tools("s")
		appear("b1", 1)

		publish("2", "one", "three")
		time.Sleep(3 * time.Second)
		serves("before an instance", "one at b1")
		if s := w.Index().Service("s"); !s.Latest.Off([]byte("two")) || !strings.Contains(s.Behind, "no usable instance") || w.Busy() {
			t.Errorf("off are %v, behind: %q, busy %t", s.Latest.off, s.Behind, w.Busy())
		}
		serial := w.Index().Serial()
		time.Sleep(3 * time.Second)
		if n := w.Index().Serial() - serial; n > 0 {
			t.Errorf("%d Indexes were made by waiting", n)
		}
		appear("b2", 1)
		time.Sleep(2 * instancesStep)
		serves("with an instance", "one at b2")
		if s := w.Index().Service("s"); s.Latest.Narrowed() || s.Behind != "" {
			t.Errorf("off are %v, behind: %q", s.Latest.off, s.Behind)
		}

		publish("3", "one")
		time.Sleep(instancesMost - time.Second)
		serves("before the time is up", "one at b2")
		time.Sleep(2 * time.Second)
		serves("after it", "one at b3")

		publish("4", "one") // 3 has no instance either
		time.Sleep(time.Second)
		serves("after a version without instances", "one at b4")

		w.tools("s")
		appear("b4", 1)
		publish("5", "other") // which leaves nothing to go on with
		time.Sleep(time.Second)
		serves("with other tools", "other at b5")
	})
}

// TestAStuckUpgradeLastsOverARestart: what was served goes on, like what a faulty document stands before.
func TestAStuckUpgradeLastsOverARestart(t *testing.T) {
	in(t, 8, func(t *testing.T, _ *world, s *workshop) {
		var whole atomic.Int64
		kept := newShelf()
		start := func() *world {
			o := s.options(t, 8)
			o.Log, o.OnKeep = slog.New(slog.DiscardHandler), func(k Keep) {
				whole.Add(int64(len(k.Whole)))
				kept.keep(k)
			}
			c, err := New(o, kept.kept())
			if err != nil {
				t.Fatal(err)
			}
			c.Synced()
			w := &world{Catalog: c, t: t}
			w.settle()
			return w
		}
		w := start()
		w.put(change("proxy-services", "a.yaml", own("one")))
		w.tools("a")
		w.put(change("proxy-services", "a.yaml", own("fast")))
		if whole.Load() > 0 {
			t.Error("what an edit that was compiled at once replaced was kept")
		}
		w.Apply([]nacos.Change{change("proxy-services", "a.yaml", stuckDocuments["opening the backend"])})
		time.Sleep(patience + time.Second)
		if b := w.Index().Service("a").Behind; !strings.Contains(b, "still being compiled") {
			t.Errorf("behind: %q", b)
		}
		w.Close()
		w = start()
		if got := w.tools("a"); got[0] != "fast" {
			t.Errorf("after a restart: %v", got)
		}
		s.release()
		w.settle()
		if got := w.tools("a"); got[0] != "two" || w.Index().Service("a").Behind != "" {
			t.Errorf("in the end: %v", got)
		}
		w.Close()
		if len(kept.whole) > 0 {
			t.Errorf("still kept: %v", kept.whole)
		}
	})
}

// TestAToolThatIsSwitchedOffIsOffAtOnce: and goes on being so while the edit is stuck.
func TestAToolThatIsSwitchedOffIsOffAtOnce(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		w.put(toolset(id1, "1", "one", "two"), manifest(id1, "r", "1", "1"), spec(id1, "1", "b"), change("proxy-upstreams", "r.yaml", "timeout: 5s\n"))
		w.tools("r")
		off := toolset(id1, "1", "one", "two")
		off = change(off.Key.Group, off.Key.DataID, strings.Replace(string(off.Content), `"two":{"enabled":true`, `"two":{"enabled":false`, 1))
		w.Apply([]nacos.Change{
			change("proxy-upstreams", "r.yaml", "securitySchemes: [{id: k, type: apiKey, in: header, name: X, defaultCredential: \"${credential:stuck/k}\"}]\nsecurity: {id: k}\n"),
			off,
		})
		for range 40 {
			time.Sleep(coalesce)
			time.Sleep(10 * time.Millisecond)
			if v := w.Index().Service("r").Latest; !v.Off([]byte("two")) || v.Off([]byte("one")) {
				t.Fatalf("off are %v", v.off)
			}
		}
		if s.within.Load() == 0 {
			t.Error("nothing is stuck")
		}
	})
}

// TestWhatIsNotServedIsClosed: whatever its compilation was for, and whenever it ends.
func TestWhatIsNotServedIsClosed(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, s *workshop) {
		at := func(tool, service string) nacos.Change {
			return change("proxy-services", "a.yaml", own(tool)+"upstream: {nacos: {service: "+service+"}}\n")
		}
		w.put(at("one", "first"))
		w.tools("a")
		for _, edit := range []nacos.Change{at("two", "stuck"), at("three", "second"), at("four", "stuck-too"), at("five", "third")} {
			w.Apply([]nacos.Change{edit})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if got, n := w.tools("a"), s.open.Load(); got[0] != "five" || n != 1 {
			t.Errorf("%v is served, and %d backends are open", got, n)
		}
		s.release()
		w.settle()
		if n := s.open.Load(); n != 1 {
			t.Errorf("%d backends are open after what was stuck has ended", n)
		}
		w.put(gone("proxy-services", "a.yaml"))
		if n := s.open.Load(); n != 0 {
			t.Errorf("%d backends are open after the service was removed", n)
		}
	})
}
