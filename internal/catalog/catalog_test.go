package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a catalog with the documents that a test puts into it.
type world struct {
	*Catalog
	t        testing.TB
	mu       sync.Mutex
	accepted map[nacos.Key]string // MD5 by document, as a store would keep them
	wants    []nacos.Key
}

func newWorld(t testing.TB, services int, initial ...nacos.Change) *world {
	return newWorldOf(t, Options{Services: services}, initial...)
}

// newWorldOf makes a world whose catalog has what is set in o.
func newWorldOf(t testing.TB, o Options, initial ...nacos.Change) *world {
	w := &world{t: t, accepted: map[nacos.Key]string{}}
	up := upstream.New(upstream.Options{TLSFiles: o.TLSFiles})
	if o.Backends == nil {
		o.Backends = up
	}
	var kept []Kept
	for _, ch := range initial {
		kept = append(kept, Kept{Change: ch})
	}
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if o.Convert == nil {
		o.Convert = func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} }
	}
	o.OnKeep = func(k Keep) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.accepted == nil {
			return
		}
		for _, d := range k.Changed {
			if d.State != Rejected {
				w.accepted[d.Key] = d.MD5
			}
		}
		for _, key := range k.Deleted {
			delete(w.accepted, key)
		}
	}
	o.OnWants = func(more, less []nacos.Key) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.accepted == nil {
			return
		}
		w.wants = slices.DeleteFunc(append(w.wants, more...), func(k nacos.Key) bool { return slices.Contains(less, k) })
	}
	c, err := New(o, kept)
	if err != nil {
		t.Fatal(err)
	}
	w.Catalog = c
	c.Synced() // definitions are validated at once
	t.Cleanup(func() { c.Close(); up.Close() })
	return w
}

func change(group, dataID, content string) nacos.Change {
	sum := sha256.Sum256([]byte(content))
	return nacos.Change{Key: nacos.Key{Group: group, DataID: dataID}, Content: []byte(content), MD5: hex.EncodeToString(sum[:16])}
}

func gone(group, dataID string) nacos.Change {
	return nacos.Change{Key: nacos.Key{Group: group, DataID: dataID}, Deleted: true}
}

// put applies changes and waits until they are in force and validated.
func (w *world) put(changes ...nacos.Change) {
	w.t.Helper()
	w.Apply(changes)
	w.settle()
}

func (w *world) settle() {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for quiet := 0; quiet < 3; {
		w.Catalog.mu.Lock()
		// While a build is under way the queue is empty and the Index still the old one: without this a build that
		// took longer than the three looks passed for rest.
		busy := w.building || len(w.queue) > 0 || w.lane.busy() || len(w.checked) > 0 || len(w.checks) > 0
		w.Catalog.mu.Unlock()
		serial := w.Index().Serial()
		time.Sleep(coalesce)
		if busy || serial != w.Index().Serial() {
			quiet = 0
		} else {
			quiet++
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the catalog does not come to rest")
		}
	}
}

func (w *world) document(group, dataID string) DocumentStatus {
	w.t.Helper()
	d := w.Index().Document(nacos.Key{Group: group, DataID: dataID})
	if d == nil {
		w.t.Fatalf("no document %s/%s", group, dataID)
	}
	return w.Index().documentStatus(d)
}

func own(tool string) string {
	return "server: {name: s}\ntools:\n  - name: " + tool + "\n    description: d\n    requestTemplate: {url: \"http://127.0.0.1:1/x\", method: GET}\n"
}

func (w *world) tools(service string) []string {
	s := w.Index().Service(service)
	if s == nil || s.Latest == nil {
		return nil
	}
	x, err := w.Compiled(s.Latest)
	if err != nil {
		w.t.Fatal(err)
	}
	defer x.Release()
	var names []string
	for _, tool := range x.Service.Order {
		names = append(names, tool.Name)
	}
	return names
}

func TestRejectedServiceKeepsItsLastGoodVersion(t *testing.T) {
	w := newWorld(t, 8)
	w.put(change("proxy-services", "a.yaml", own("one")), change("proxy-services", "b.yaml", own("two")))
	w.put(change("proxy-services", "a.yaml", "tools: 7\n"), change("proxy-services", "b.yaml", own("three")))
	if diff := cmp.Diff([]string{"one"}, w.tools("a")); diff != "" {
		t.Errorf("a: %s", diff)
	}
	if diff := cmp.Diff([]string{"three"}, w.tools("b")); diff != "" {
		t.Errorf("its sibling was disturbed: %s", diff)
	}
	if s := w.document("proxy-services", "a.yaml"); s.State != Rejected || s.Error == "" || s.Line != 1 || s.InForce == "" {
		t.Errorf("status: %+v", s)
	}
}

func TestBadToolIsRejectedAlone(t *testing.T) {
	w := newWorld(t, 8)
	w.put(change("proxy-services", "a.yaml", own("one")+"  - name: bad\n    description: d\n    requestTemplate: {url: \"http://127.0.0.1:1/{{.args.none}}\", method: GET}\n"))
	if diff := cmp.Diff([]string{"one"}, w.tools("a")); diff != "" {
		t.Errorf("tools: %s", diff)
	}
	s := w.document("proxy-services", "a.yaml")
	if s.State != Applied || len(s.Faults) == 0 || s.Faults[0].Tool != "bad" || s.Faults[0].Line == 0 {
		t.Errorf("status: %+v", s)
	}
	w.put(change("proxy-services", "a.yaml", own("one")))
	if s := w.document("proxy-services", "a.yaml"); len(s.Faults) != 0 {
		t.Errorf("a mended document still has faults: %+v", s)
	}
}

const id1, id2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

func manifest(id, name, latest string, versions ...string) nacos.Change {
	details := ""
	for i, v := range versions {
		if i > 0 {
			details += ","
		}
		details += fmt.Sprintf(`{"version":%q}`, v)
	}
	return change("mcp-server-versions", id+"-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","enabled":true,"status":"active","latestPublishedVersion":%q,"versionDetails":[%s]}`, id, name, latest, details))
}

func spec(id, version, path string) nacos.Change {
	return change("mcp-server", id+"-"+version+"-mcp-server.json", fmt.Sprintf(`{"id":%q,"protocol":"http","versionDetail":{"version":%q},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"G","serviceName":%q},"exportPath":"/"},"enabled":true,"toolsDescriptionRef":"x"}`, id, version, path))
}

func toolset(id, version string, tools ...string) nacos.Change {
	var list, meta []string
	for _, name := range tools {
		list = append(list, fmt.Sprintf(`{"name":%q,"description":"d","inputSchema":{"type":"object"}}`, name))
		meta = append(meta, fmt.Sprintf(`%q:{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/x","method":"GET"}}}}`, name))
	}
	return change("mcp-tools", id+"-"+version+"-mcp-tools.json", `{"tools":[`+strings.Join(list, ",")+`],"toolsMeta":{`+strings.Join(meta, ",")+`}}`)
}

// TestA09_TornPublishesNeverMix publishes a second version in every order in which its documents may arrive. Seen to
// fail with the rule taken out that an incomplete version leaves the old one in place.
func TestA09_TornPublishesNeverMix(t *testing.T) {
	second := []nacos.Change{toolset(id1, "2", "new"), manifest(id1, "s", "2", "1", "2"), spec(id1, "2", "new")}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			w := newWorld(t, 8)
			w.put(toolset(id1, "1", "old"), manifest(id1, "s", "1", "1"), spec(id1, "1", "old"))
			for i, step := range order {
				w.put(second[step])
				s := w.Index().Service("s")
				if s == nil || s.Latest == nil {
					t.Fatalf("after step %d nothing is served: %+v", i, s)
				}
				def, _, err := s.Latest.definition()
				if err != nil {
					t.Fatal(err)
				}
				want := "old"
				if i == len(order)-1 {
					want = "new"
				}
				if got := def.Tools[0].Name + " at " + def.Backend.Ref.Service; got != want+" at "+want {
					t.Errorf("after step %d: %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestManifestIsTheOnlyEntry(t *testing.T) {
	w := newWorld(t, 8)
	w.put(toolset(id1, "1", "x"), spec(id1, "1", "x"))
	if n := w.Index().services.size; n != 0 {
		t.Fatalf("%d services without a manifest", n)
	}
	w.put(manifest(id1, "s", "1", "1"))
	if diff := cmp.Diff([]string{"x"}, w.tools("s")); diff != "" {
		t.Error(diff)
	}
	w.put(gone("mcp-server-versions", id1+"-mcp-versions.json"))
	if w.Index().Service("s") != nil {
		t.Error("still there without its manifest")
	}
}

func TestNamesAreArbitrated(t *testing.T) {
	w := newWorld(t, 8)
	w.put(toolset(id2, "1", "first"), spec(id2, "1", "x"), manifest(id2, "s", "1", "1"))
	w.put(toolset(id1, "1", "second"), spec(id1, "1", "x"), manifest(id1, "s", "1", "1"))
	if diff := cmp.Diff([]string{"first"}, w.tools("s")); diff != "" {
		t.Errorf("who had the name keeps it: %s", diff)
	}
	if s := w.document("mcp-server-versions", id1+"-mcp-versions.json"); s.State != Rejected || !strings.Contains(s.Error, id2) {
		t.Errorf("the loser's status: %+v", s)
	}
	w.put(change("proxy-services", "s.yaml", own("ours")))
	if diff := cmp.Diff([]string{"ours"}, w.tools("s")); diff != "" {
		t.Errorf("our document wins: %s", diff)
	}
	w.put(gone("proxy-services", "s.yaml"), gone("mcp-server-versions", id2+"-mcp-versions.json"))
	if diff := cmp.Diff([]string{"second"}, w.tools("s")); diff != "" {
		t.Errorf("what was rejected by name comes back: %s", diff)
	}
}
func TestVersionsThatGrantsListAreServed(t *testing.T) {
	w := newWorld(t, 8)
	w.put(manifest(id1, "s", "2", "1", "2"), toolset(id1, "1", "old"), spec(id1, "1", "x"), toolset(id1, "2", "new"), spec(id1, "2", "x"))
	if v := w.Index().Service("s").Variant("1"); v != nil {
		t.Fatal("an unlisted version is served")
	}
	w.put(change("proxy-grants", "s.yaml", "versions: [\"1\"]\n"))
	if v := w.Index().Service("s").Variant("1"); v == nil || v.Version != "1" {
		t.Fatalf("the listed version is not served: %+v", v)
	}
	if v := w.Index().Service("s").Variant(""); v.Version != "2" {
		t.Errorf("latest is %s", v.Version)
	}
}

func consumer(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "keys:\n  - {id: k, sha256: " + hex.EncodeToString(sum[:]) + "}\n"
}

// TestKeyOfAnotherConsumerIsTheNewcomersLoss also looks at what a store would be given, because the first must be the
// first after a restart, too.
func TestKeyOfAnotherConsumerIsTheNewcomersLoss(t *testing.T) {
	w := newWorld(t, 8)
	digest := sha256.Sum256([]byte("secret"))
	w.put(change("proxy-consumers", "zoe.yaml", consumer("secret")))
	w.put(change("proxy-consumers", "adam.yaml", consumer("secret")))
	if h, _ := w.Index().Holder(digest); h.Consumer == nil || h.Consumer.Name != "zoe" {
		t.Fatalf("held by %+v", h.Consumer)
	}
	if s := w.document("proxy-consumers", "adam.yaml"); s.State != Rejected || s.Line != 2 {
		t.Errorf("status: %+v", s)
	}
	if _, ok := w.accepted[nacos.Key{Group: "proxy-consumers", DataID: "adam.yaml"}]; ok {
		t.Error("the newcomer was given to the store")
	}
	w.put(gone("proxy-consumers", "zoe.yaml"))
	if h, _ := w.Index().Holder(digest); h.Consumer == nil || h.Consumer.Name != "adam" {
		t.Errorf("after the first is gone, held by %+v", h.Consumer)
	}
	if s := w.document("proxy-consumers", "adam.yaml"); s.State != Applied {
		t.Errorf("status: %+v", s)
	}
}

func TestRejectedConsumerKeepsItsKeys(t *testing.T) {
	w := newWorld(t, 8)
	w.put(change("proxy-consumers", "a.yaml", consumer("secret")))
	w.put(change("proxy-consumers", "a.yaml", "keys: nonsense\n"))
	if _, ok := w.Index().Holder(sha256.Sum256([]byte("secret"))); !ok {
		t.Error("a typo took the key away")
	}
	w.put(change("proxy-consumers", "a.yaml", "keys: []\n"))
	if _, ok := w.Index().Holder(sha256.Sum256([]byte("secret"))); ok {
		t.Error("a revoked key is still held")
	}
}

// TestA24_BadGrantsNeverOpen walks through the states of a grants document. Seen to fail with Closed taken out.
func TestA24_BadGrantsNeverOpen(t *testing.T) {
	w := newWorld(t, 8)
	w.options.DefaultOpen = true
	w.put(change("proxy-services", "s.yaml", own("one")), change("proxy-consumers", "a.yaml", consumer("k")))
	table := func() (open, alice bool) {
		s := w.Index().Service("s")
		return s.Access.Open(), s.Access.Service(w.Index().Consumer("a"), time.Now().UnixNano()).Allowed
	}
	if open, _ := table(); !open {
		t.Error("access.default disabled, and closed without a document")
	}
	w.put(change("proxy-grants", "s.yaml", "consumer: [a]\n"))
	if open, allowed := table(); open || allowed {
		t.Errorf("bad at first sight: open %v, allowed %v", open, allowed)
	}
	w.put(change("proxy-grants", "s.yaml", "auth: disabled\nconsumers: [a]\n"))
	if open, _ := table(); !open {
		t.Error("the switch is off but the service closed")
	}
	w.put(change("proxy-grants", "s.yaml", "auth: disabledd\nconsumers: []\n"))
	if open, allowed := table(); open || !allowed {
		t.Errorf("a later typo: open %v, alice allowed %v; want closed with her grant kept", open, allowed)
	}
	w.put(gone("proxy-grants", "s.yaml"))
	if open, _ := table(); !open {
		t.Error("without a document the default holds again")
	}
}

func TestCredentialEditIsFollowed(t *testing.T) {
	w := newWorld(t, 8)
	w.put(change("proxy-services", "s.yaml", `
server:
  name: s
  config: {key: "${credential:c/key}"}
tools:
  - name: one
    description: d
    requestTemplate: {url: "http://127.0.0.1:1/x", method: GET, headers: [{key: X-K, value: "{{.config.key}}"}]}
`))
	if got := w.tools("s"); got != nil {
		t.Errorf("a tool without its credential is served: %v", got)
	}
	w.put(change("proxy-credentials", "c.yaml", "services: [s]\nhosts: [127.0.0.1]\nvalues: {key: v1}\n"))
	if diff := cmp.Diff([]string{"one"}, w.tools("s")); diff != "" {
		t.Errorf("after the credential came: %s", diff)
	}
	if s := w.document("proxy-services", "s.yaml"); len(s.Faults) != 0 {
		t.Errorf("faults that are mended: %+v", s.Faults)
	}
	secret, err := w.secrets.Lookup("s", "credential:c/key")
	if err != nil || secret.Value.Reveal() != "v1" {
		t.Errorf("lookup: %v %v", secret, err)
	}
	if _, err := w.secrets.Lookup("other", "credential:c/key"); err == nil {
		t.Error("a service that the document does not list reads it")
	}
	for _, ref := range []string{"nacos.a.yaml/proxy-consumers", "nacos.s.yaml/proxy-grants", "nacos.x/other", "env:HOME", "file:/etc/passwd", "ldap:x"} {
		if _, err := w.secrets.Lookup("s", ref); err == nil {
			t.Errorf("%s can be read", ref)
		}
	}
}

// TestA37_LRUIsBounded uses 100 services with room for 10. Seen to fail without the limit.
func TestA37_LRUIsBounded(t *testing.T) {
	w := newWorld(t, 10)
	var all []nacos.Change
	for i := range 100 {
		all = append(all, change("proxy-services", fmt.Sprintf("s%d.yaml", i), own(fmt.Sprint("tool", i))))
	}
	w.put(all...)
	for round := range 3 {
		for i := range 100 {
			if diff := cmp.Diff([]string{fmt.Sprint("tool", i)}, w.tools(fmt.Sprint("s", i))); diff != "" {
				t.Fatalf("round %d: %s", round, diff)
			}
			if n := w.CompiledCount(); n > 10 {
				t.Fatalf("%d services compiled", n)
			}
		}
	}
}

// TestA12_SwapsUnderLoad edits while readers read; run with -race.
func TestA12_SwapsUnderLoad(t *testing.T) {
	w := newWorld(t, 4)
	for i := range 8 {
		w.put(change("proxy-services", fmt.Sprintf("s%d.yaml", i), own("v0")))
	}
	stop := make(chan struct{})
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s := w.Index().Service(fmt.Sprintf("s%d", i%8))
				x, err := w.Compiled(s.Latest)
				if err != nil || len(x.Service.Order) != 1 {
					t.Errorf("read: %v", err)
					return
				}
				x.Release()
				reads.Add(1)
			}
		})
	}
	began := w.Index().Serial()
	for n := range 2000 {
		w.Apply([]nacos.Change{change("proxy-services", fmt.Sprintf("s%d.yaml", n%8), own(fmt.Sprint("v", n)))})
		if n%100 == 0 {
			time.Sleep(2 * coalesce)
		}
	}
	w.settle()
	close(stop)
	readers.Wait()
	if reads.Load() == 0 || w.Index().Serial() == began {
		t.Error("nothing was read or nothing swapped")
	}
	if diff := cmp.Diff([]string{"v1999"}, w.tools("s7")); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkEdit shows that the cost of an edit does not grow with the number of services.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b, 16)
			var all []nacos.Change
			for i := range n {
				all = append(all, change("proxy-services", fmt.Sprintf("s%d.yaml", i), own("one")))
			}
			w.Apply(all)
			for w.Index().services.size < n || w.Pending() > 0 {
				time.Sleep(10 * time.Millisecond)
			}
			wr := w.writer
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				wr.apply(nil, []nacos.Change{change("proxy-services", "s7.yaml", own(fmt.Sprint("v", i)))}, nil, true)
			}
		})
	}
}

// TestSettledWaitsForTheWriter: what was taken from the queue is not in force before it is built. Seen red with built
// called before apply: then the Catalog counts as settled while it knows of nothing.
func TestSettledWaitsForTheWriter(t *testing.T) {
	w := newWorld(t, 8)
	var all []nacos.Change
	for i := range 500 {
		all = append(all, change("proxy-services", fmt.Sprintf("s%d.yaml", i), own("one")))
	}
	w.Apply(all)
	for !w.Settled() {
		time.Sleep(time.Millisecond)
	}
	if n := w.Index().services.size; n != len(all) {
		t.Errorf("settled with %d of %d services", n, len(all))
	}
}

func keyOf(group, dataID string) nacos.Key { return nacos.Key{Group: group, DataID: dataID} }
