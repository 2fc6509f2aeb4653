package catalog

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// shelf keeps what a catalog hands over, as the store does.
type shelf struct {
	mu    sync.Mutex
	docs  map[nacos.Key]Document
	whole map[WholeKey]Whole
	names map[string]string
}

func (s *shelf) keep(k Keep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range k.Changed {
		s.docs[d.Key] = *d
	}
	for _, key := range k.Deleted {
		delete(s.docs, key)
	}
	for _, w := range k.Whole {
		s.whole[w.WholeKey] = w
	}
	for _, key := range k.NotWhole {
		delete(s.whole, key)
	}
	for name, id := range k.Holders {
		if s.names[name] = id; id == "" {
			delete(s.names, name)
		}
	}
}

func (s *shelf) kept() (all []Kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.docs {
		good := Kept{Change: nacos.Change{Key: d.Key, Content: d.Content(), MD5: d.GoodMD5}, Since: d.GoodSince}
		refused := Kept{Change: nacos.Change{Key: d.Key, Content: d.Rejected(), MD5: d.MD5}, Since: d.Since, Refused: true, Switches: d.Switches()}
		if barred := d.Barred(); len(barred) > 0 {
			good.Content, refused.Content, refused.Barred = nil, d.Content(), barred
		}
		if good.Content != nil {
			all = append(all, good)
		}
		if d.State == Rejected {
			all = append(all, refused)
		}
	}
	for _, w := range s.whole {
		part := Whole{WholeKey: w.WholeKey, Latest: w.Latest}
		for _, d := range w.Documents {
			all = append(all, Kept{Change: nacos.Change{Key: d.Key, Content: d.Content(), MD5: d.GoodMD5}, Since: d.GoodSince, Whole: &part})
		}
	}
	return all
}

// newKeptWorld makes a catalog on a shelf. Called again with the same shelf it is a restart without the source.
func newKeptWorld(t *testing.T, s *shelf) *world { return newPastWorld(t, s, nil) }

// newPastWorld makes one whose source remembers something.
func newPastWorld(t *testing.T, s *shelf, past Past) *world {
	t.Helper()
	up := upstream.New(upstream.Options{})
	c, err := New(Options{
		Services: 8, Backends: up, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Convert: func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} }, OnKeep: s.keep,
		Past: past, Holders: maps.Clone(s.names),
	}, s.kept())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); up.Close() })
	return &world{Catalog: c, t: t}
}

func newShelf() *shelf {
	return &shelf{docs: map[nacos.Key]Document{}, whole: map[WholeKey]Whole{}, names: map[string]string{}}
}

// mcp are the three documents of a server that is passed through: what they say begins with word.
type mcp struct{ version, word, spec string }

// plainSpec is a spec without fault, on several lines.
const plainSpec = `{
  "protocol": "mcp-streamable",
  "description": "WORD",
  "versionDetail": {"version": "VERSION"},
  "remoteServerConfig": {
    "serviceRef": {"groupName": "G", "serviceName": "WORD", "transportProtocol": "http"},
    "exportPath": "/WORD"
  },
  "enabled": true,
  "toolsDescriptionRef": "x"
}`

func (m mcp) fill(text string) string {
	return strings.NewReplacer("WORD", m.word, "VERSION", m.version).Replace(text)
}

func (m mcp) specDoc() nacos.Change {
	text := m.spec
	if text == "" {
		text = plainSpec
	}
	return change("mcp-server", id1+"-"+m.version+"-mcp-server.json", m.fill(text))
}

func (m mcp) toolsDoc() nacos.Change {
	return change("mcp-tools", id1+"-"+m.version+"-mcp-tools.json", m.fill(`{"tools":[{"name":"WORD"},{"name":"both"}],"toolsMeta":{}}`))
}

func (m mcp) manifestDoc() nacos.Change {
	return change("mcp-server-versions", id1+"-mcp-versions.json",
		m.fill(`{"name":"s","protocol":"mcp-streamable","description":"WORD","enabled":true,"latestPublishedVersion":"VERSION","versionDetails":[{"version":"1"},{"version":"VERSION"}]}`))
}

func (m mcp) all() []nacos.Change {
	return []nacos.Change{m.toolsDoc(), m.specDoc(), m.manifestDoc()}
}

// whole describes what is served by a word of each of the three documents.
func (w *world) whole() string {
	w.t.Helper()
	s := w.Index().Service("s")
	if s == nil {
		return "no service"
	}
	if s.Latest == nil {
		return "not served: " + s.NotServed
	}
	def, _, err := s.Latest.definition()
	if err != nil {
		w.t.Fatalf("what is served cannot be assembled: %v", err)
	}
	return strings.Join(append([]string{s.Latest.Description(), def.Backend.Path}, s.Latest.Tools()...), " ")
}

// TestFaultInSpecTakesNoServiceDown: whatever is wrong with a spec that was edited in place, the three documents that were
// served last go on together, in whichever order the edit came, over a restart without the source too, and the spec is what is
// rejected. Mended, all three newest ones are served. Seen red before the faults of Assemble were found when a service is put
// together; and over the restart without versions that are kept as a whole.
func TestFaultInSpecTakesNoServiceDown(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(plainSpec, old, new, 1) }
	faults := map[string]struct {
		spec, field string
		line        int
	}{
		"path with a scheme": {with(`"/WORD"`, `"http://10.0.0.5:8080/mcp"`), "remoteServerConfig.exportPath", 7},
		"path with a #":      {with(`"/WORD"`, `"/mcp#x"`), "remoteServerConfig.exportPath", 7},
		"path with a blank":  {with(`"/WORD"`, `"/m cp"`), "remoteServerConfig.exportPath", 7},
		"no backend":         {with(`"serviceRef"`, `"serviceReff"`), "remoteServerConfig.serviceRef", 5},
		"blank backend":      {with(`"serviceName": "WORD"`, `"serviceName": ""`), "remoteServerConfig.serviceRef", 5},
		"transport tcp":      {with(`"transportProtocol": "http"`, `"transportProtocol": "tcp"`), "remoteServerConfig.serviceRef.transportProtocol", 6},
		"another version":    {with(`"VERSION"`, `"9.9"`), "versionDetail.version", 4},
		"unknown protocol":   {with(`mcp-streamable`, `mcp-streamabel`), "protocol", 2},
		"malformed":          {with(`"enabled": true,`, `"enabled": true`), "", 10},
		"not an object":      {"[\n" + plainSpec + "]", "", 0},
	}
	for name, fault := range faults {
		for _, order := range [][]int{{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {0, 2, 1}} {
			t.Run(fmt.Sprint(name, order), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					shelf := newShelf()
					w := newKeptWorld(t, shelf)
					w.Synced()
					w.put(mcp{version: "1", word: "old"}.all()...)
					const old = "old /old old both"
					if got := w.whole(); got != old {
						t.Fatalf("at first: %s", got)
					}
					edit := mcp{version: "1", word: "new", spec: fault.spec}
					for _, i := range order {
						w.Apply([]nacos.Change{edit.all()[i]})
						time.Sleep(200 * time.Millisecond)
						if got := w.whole(); got != old {
							t.Fatalf("in the midst of the edit: %s", got)
						}
					}
					time.Sleep(2 * holdMost)
					check := func(when string) {
						t.Helper()
						if got := w.whole(); got != old {
							t.Errorf("%s: %s, want %s", when, got, old)
						}
						was := mcp{version: "1", word: "old"}
						d := w.document("mcp-server", edit.specDoc().Key.DataID)
						if d.State != Rejected || d.MD5 != edit.specDoc().MD5 || d.InForce != was.specDoc().MD5 || d.Error == "" || d.Line != fault.line {
							t.Errorf("%s: status of the spec: %+v", when, d)
						}
						if !slices.ContainsFunc(d.Faults, func(f Fault) bool { return f.Field == fault.field && !f.Warning && f.Tool == "" }) {
							t.Errorf("%s: no fault at %s: %+v", when, fault.field, d.Faults)
						}
						for _, other := range []nacos.Change{edit.toolsDoc(), edit.manifestDoc()} {
							d := w.document(other.Key.Group, other.Key.DataID)
							if d.State != Ignored || d.MD5 != other.MD5 || d.InForce == "" || !strings.Contains(d.Comments, "mcp-server/") || len(d.Faults) > 0 {
								t.Errorf("%s: status of %s: %+v", when, other.Key, d)
							}
						}
						if s := w.ServiceStatuses()[0]; s.Behind != edit.specDoc().Key.String()+" is rejected" || !s.Enabled {
							t.Errorf("%s: status of the service: %+v", when, s)
						}
						if n := CountRejected(w.DocumentStatuses()); n != (RejectedCount{Documents: 1}) {
							t.Errorf("%s: %+v", when, n)
						}
					}
					check("after the edit")
					w.put(change("proxy-grants", "s.yaml", "consumers: [a]\n")) // puts the service together anew
					check("after another document's change")
					w.Close()
					for range 2 { // what a restart keeps, the next one must find
						w = newKeptWorld(t, shelf)
						check("after a restart without the source")
						time.Sleep(2 * holdMost)
						check("later")
						w.Synced()
						time.Sleep(2 * holdMost)
						check("with the source, which has nothing newer")
						w.put(change("proxy-grants", "s.yaml", fmt.Sprintf("consumers: [a]\n# %s\n", time.Now())))
						check("after another document's change")
						w.Close()
					}
					w = newKeptWorld(t, shelf)
					w.Synced()
					w.put(mcp{version: "1", word: "new"}.specDoc())
					time.Sleep(holdQuiet + 2*coalesce)
					synctest.Wait()
					if got := w.whole(); got != "new /new new both" {
						t.Errorf("mended: %s", got)
					}
					for _, d := range w.DocumentStatuses() {
						if d.State != Applied && d.Group != "proxy-grants" {
							t.Errorf("mended: %+v", d)
						}
					}
					if len(shelf.whole) > 0 {
						t.Errorf("kept as a whole though nothing else is served: %v", shelf.whole)
					}
				})
			})
		}
	}
}

// TestFaultAtFirstSight: a spec that was never good is not served, and named with the fault.
func TestFaultAtFirstSight(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newKeptWorld(t, newShelf())
		w.Synced()
		bad := mcp{version: "1", word: "new", spec: strings.Replace(plainSpec, `"/WORD"`, `"http://h/"`, 1)}
		w.put(bad.all()...)
		key := bad.specDoc().Key
		if got, want := w.whole(), "not served: "+key.String()+" is rejected"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if d := w.document(key.Group, key.DataID); d.State != Rejected || d.InForce != "" || d.Line != 7 {
			t.Errorf("status: %+v", d)
		}
		if s := w.ServiceStatuses()[0]; s.Enabled || !strings.Contains(s.NotServed, key.DataID) {
			t.Errorf("status of the service: %+v", s)
		}
		w.put(mcp{version: "1", word: "new"}.specDoc())
		if got := w.whole(); got != "new /new new both" {
			t.Errorf("mended: %s", got)
		}
	})
}

// TestFaultsElsewhereTakeNoServiceDown does for the other documents of a service what the test above does for the spec.
func TestFaultsElsewhereTakeNoServiceDown(t *testing.T) {
	was, edit := mcp{version: "1", word: "old"}, mcp{version: "1", word: "new"}
	second := mcp{version: "2", word: "new", spec: strings.Replace(plainSpec, `"/WORD"`, `"http://h/"`, 1)}
	cases := map[string]struct {
		changes []nacos.Change
		bad     nacos.Key
		field   string
		want    string // "": what was served before
	}{
		"malformed tools": {[]nacos.Change{change("mcp-tools", edit.toolsDoc().Key.DataID, `{"tools":[`), edit.specDoc(), edit.manifestDoc()}, edit.toolsDoc().Key, "", ""},
		"tools whose credential has no scheme": {[]nacos.Change{
			change("mcp-tools", edit.toolsDoc().Key.DataID, `{"tools":[],"extensions":{"server.defaultUpstreamSecurity":{"id":"none"}}}`), edit.specDoc(), edit.manifestDoc(),
		}, edit.toolsDoc().Key, "extensions.server.defaultUpstreamSecurity.id", ""},
		"malformed manifest":         {[]nacos.Change{edit.toolsDoc(), edit.specDoc(), change("mcp-server-versions", edit.manifestDoc().Key.DataID, `{"name":"s"`)}, edit.manifestDoc().Key, "", ""},
		"manifest with another name": {[]nacos.Change{edit.toolsDoc(), edit.specDoc(), change("mcp-server-versions", edit.manifestDoc().Key.DataID, `{"name":"no name"}`)}, edit.manifestDoc().Key, "name", ""},
		"unknown protocol": {[]nacos.Change{
			edit.toolsDoc(), change("mcp-server", edit.specDoc().Key.DataID, edit.fill(strings.Replace(plainSpec, `"protocol": "mcp-streamable",`, "", 1))),
			change("mcp-server-versions", edit.manifestDoc().Key.DataID, strings.Replace(string(edit.manifestDoc().Content), "mcp-streamable", "mcp", 1)),
		}, edit.manifestDoc().Key, "protocol", ""},
		"new version with a faulty spec": {second.all(), second.specDoc().Key, "remoteServerConfig.exportPath", ""},
		"upstream document without its scheme": {[]nacos.Change{
			edit.toolsDoc(), edit.specDoc(), edit.manifestDoc(), change("proxy-upstreams", "s.yaml", "security: {id: none}\n"),
		}, nacos.Key{Group: "proxy-upstreams", DataID: "s.yaml"}, "security.id", "new /new new both"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				shelf := newShelf()
				w := newKeptWorld(t, shelf)
				w.Synced()
				w.put(was.all()...)
				w.put(c.changes...)
				if c.want == "" {
					c.want = "old /old old both"
				}
				check := func(when string) {
					t.Helper()
					if got := w.whole(); got != c.want {
						t.Errorf("%s: %s", when, got)
					}
					for _, d := range w.DocumentStatuses() {
						switch key := (nacos.Key{Group: d.Group, DataID: d.DataID}); {
						case key == c.bad && (d.State != Rejected || !slices.ContainsFunc(d.Faults, func(f Fault) bool { return f.Field == c.field })):
							t.Errorf("%s: %+v", when, d)
						case key != c.bad && d.State == Rejected:
							t.Errorf("%s: rejected too: %+v", when, d)
						}
					}
				}
				time.Sleep(2 * holdMost)
				check("after the edit")
				for range 2 {
					w.Close()
					w = newKeptWorld(t, shelf)
					check("after a restart without the source")
					w.Synced()
					w.put(change("proxy-grants", "s.yaml", fmt.Sprintf("consumers: [a]\n# %s\n", time.Now())))
					check("after another document's change")
				}
			})
		})
	}
}

// TestWhatAFaultyDocumentSwitchesOff: switching off needs no document without fault, in whichever of them it stands, and holds
// at once and over a restart. Seen red without Switches.
func TestWhatAFaultyDocumentSwitchesOff(t *testing.T) {
	was, edit := mcp{version: "1", word: "old"}, mcp{version: "1", word: "new"}
	spec := func(edits ...string) nacos.Change {
		return change("mcp-server", was.specDoc().Key.DataID, was.fill(strings.NewReplacer(edits...).Replace(plainSpec)))
	}
	manifest := func(text string) nacos.Change {
		return change("mcp-server-versions", was.manifestDoc().Key.DataID, text)
	}
	tools := func(text string) nacos.Change {
		return change("mcp-tools", was.toolsDoc().Key.DataID, text)
	}
	const off, noPath = `"enabled": false`, `"http://h/"`
	badSpec := spec(`"/WORD"`, noPath)
	cases := map[string]struct {
		changes []nacos.Change
		want    string
	}{
		"spec with a fault":                    {[]nacos.Change{spec(`"enabled": true`, off, `"/WORD"`, noPath)}, "not served: disabled in the server spec"},
		"spec with a fault, as text":           {[]nacos.Change{spec(`"enabled": true`, `"enabled": "False"`, `"/WORD"`, noPath)}, "not served: disabled in the server spec"},
		"malformed spec":                       {[]nacos.Change{spec(`"enabled": true,`, off)}, "not served: disabled in the server spec"},
		"spec that ends early":                 {[]nacos.Change{spec(`"enabled": true,`, off, "\"toolsDescriptionRef\": \"x\"\n}", "")}, "not served: disabled in the server spec"},
		"spec whose switch cannot be read":     {[]nacos.Change{spec(`"enabled": true`, `"enabled": "fales"`)}, "not served: disabled in the server spec"},
		"spec with a fault, deleted":           {[]nacos.Change{spec(`"enabled": true`, `"status": "deleted"`, `"/WORD"`, noPath)}, "not served: status is deleted"},
		"malformed spec, deleted":              {[]nacos.Change{spec(`"enabled": true,`, `"status": "Deleted"`)}, "not served: status is deleted"},
		"malformed manifest":                   {[]nacos.Change{manifest(`{"name":"s","enabled":false,,}`)}, "not served: disabled in the manifest"},
		"manifest without a name":              {[]nacos.Change{manifest(`{"enabled":false}`)}, "not served: disabled in the manifest"},
		"manifest without a name, deleted":     {[]nacos.Change{manifest(`{"status":"deleted"}`)}, "not served: status is deleted"},
		"manifest without fault, faulty spec":  {[]nacos.Change{badSpec, manifest(strings.Replace(string(was.manifestDoc().Content), "true", "false", 1))}, "not served: disabled in the manifest"},
		"malformed tools":                      {[]nacos.Change{tools(`{"toolsMeta":{"both":{"enabled":false}},"tools":[`)}, "old /old old"},
		"tools without fault, faulty spec":     {[]nacos.Change{badSpec, tools(edit.fill(`{"tools":[{"name":"WORD"}],"toolsMeta":{"both":{"enabled":false}}}`))}, "old /old old"},
		"tools without fault, faulty manifest": {[]nacos.Change{manifest(`{`), tools(edit.fill(`{"tools":[{"name":"WORD"}],"toolsMeta":{"old":{"enabled":"no"}}}`))}, "old /old both"},
		"tools with a fault": {[]nacos.Change{tools(
			`{"tools":[],"toolsMeta":{"old":{"enabled":false}},"extensions":{"server.defaultUpstreamSecurity":{"id":"none"}}}`)}, "old /old both"},
		"the version before a faulty one": {append(mcp{version: "2", word: "new", spec: strings.Replace(plainSpec, `"/WORD"`, noPath, 1)}.all(),
			spec(`"enabled": true`, off)), "not served: mcp-server/" + id1 + "-2-mcp-server.json is rejected"},
		"nothing that can be read": {[]nacos.Change{spec(`"enabled"`, `"enabeld`)}, "old /old old both"},
		"switched on by a malformed spec": {[]nacos.Change{spec(`"enabled": true`, off), spec(`"enabled": true,`, `"enabled": true`)},
			"not served: disabled in the server spec"},
		"switched on by a spec with a fault": {[]nacos.Change{spec(`"enabled": true`, off), badSpec}, "old /old old both"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				shelf := newShelf()
				w := newKeptWorld(t, shelf)
				w.Synced()
				w.put(was.all()...)
				for _, ch := range c.changes {
					w.Apply([]nacos.Change{ch})
					time.Sleep(2 * coalesce)
					synctest.Wait()
				}
				if got := w.whole(); got != c.want {
					t.Errorf("at once: %s, want %s", got, c.want)
				}
				w.Close()
				w = newKeptWorld(t, shelf)
				if got := w.whole(); got != c.want {
					t.Errorf("after a restart: %s, want %s", got, c.want)
				}
				w.Synced()
				w.put(was.all()...)
				time.Sleep(2 * holdMost)
				if got := w.whole(); got != "old /old old both" {
					t.Errorf("mended: %s", got)
				}
			})
		})
	}
}

// TestRestartMixesNoHalves ends the process while an edit is under way, after any part of it; what comes of it is the version
// before, whole, until the source has been read again. Seen red with documents that are kept each for itself.
func TestRestartMixesNoHalves(t *testing.T) {
	was, inPlace, next := mcp{version: "1", word: "old"}, mcp{version: "1", word: "new"}, mcp{version: "2", word: "new"}
	for name, edit := range map[string]mcp{"in place": inPlace, "a new version": next} {
		for _, order := range [][]int{{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {0, 2, 1}} {
			for parts := 1; parts < 3; parts++ {
				t.Run(fmt.Sprint(name, order[:parts]), func(t *testing.T) {
					bubble.Test(t, func(t *testing.T) {
						shelf := newShelf()
						w := newKeptWorld(t, shelf)
						w.Synced()
						w.put(was.all()...)
						for _, i := range order[:parts] {
							w.Apply([]nacos.Change{edit.all()[i]})
							time.Sleep(2 * coalesce)
						}
						synctest.Wait()
						w.Close()
						for range 2 {
							w = newKeptWorld(t, shelf)
							time.Sleep(time.Minute)
							synctest.Wait()
							if got := w.whole(); got != "old /old old both" {
								t.Errorf("after a restart without the source: %s", got)
							}
							w.Close()
						}
						w = newKeptWorld(t, shelf)
						for _, i := range order[parts:] {
							time.Sleep(time.Second)
							w.Apply([]nacos.Change{edit.all()[i]})
						}
						w.Synced()
						time.Sleep(holdQuiet + 3*coalesce)
						synctest.Wait()
						if got := w.whole(); got != "new /new new both" {
							t.Errorf("with the rest from the source: %s", got)
						}
						if len(shelf.whole) > 0 {
							t.Errorf("kept as a whole though nothing else is served: %v", shelf.whole)
						}
					})
				})
			}
		}
	}
}

// TestRestartBetweenManifestAndSpec: what is served while the newest version is not complete survives a restart, also where the
// manifests of the two differ in nothing but the version. A random schedule found it refused.
func TestRestartBetweenManifestAndSpec(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		shelf := newShelf()
		w := newKeptWorld(t, shelf)
		w.Synced()
		w.put(mcp{version: "1", word: "old"}.all()...)
		next := mcp{version: "2", word: "old"}
		w.put(next.manifestDoc())
		for range 2 {
			w.Close()
			w = newKeptWorld(t, shelf)
			synctest.Wait()
			if got := w.whole(); got != "old /old old both" {
				t.Errorf("after a restart without the source: %s", got)
			}
		}
		w.Synced()
		w.put(next.toolsDoc(), next.specDoc())
		time.Sleep(holdQuiet + 3*coalesce)
		synctest.Wait()
		if v := w.Index().Service("s").Latest; v == nil || v.Version != "2" || len(shelf.whole) > 0 {
			t.Errorf("with the rest from the source: %v, kept as a whole: %v", v, shelf.whole)
		}
	})
}

// TestEditByHandIsTakenAfterARestart: half of an edit may have been all of it, which shows when the source has nothing more.
func TestEditByHandIsTakenAfterARestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		shelf := newShelf()
		w := newKeptWorld(t, shelf)
		w.Synced()
		w.put(mcp{version: "1", word: "old"}.all()...)
		w.Apply([]nacos.Change{mcp{version: "1", word: "new"}.toolsDoc()})
		time.Sleep(2 * coalesce)
		w.Close()
		w = newKeptWorld(t, shelf)
		time.Sleep(time.Minute)
		w.Synced()
		time.Sleep(holdQuiet + 3*coalesce)
		synctest.Wait()
		if got := w.whole(); got != "old /old new both" {
			t.Error(got)
		}
	})
}

// TestUpstreamThatDoesNotFitOurDocument: our own document and its upstream document are one, too.
func TestUpstreamThatDoesNotFitOurDocument(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		service := func(path, scheme string) nacos.Change {
			return change("proxy-services", "s.yaml", "server: {securitySchemes: [{id: "+scheme+", type: http, scheme: bearer, defaultCredential: x}]}\nupstream: {url: \"http://h/"+path+"\", transport: streamable}\n")
		}
		upstream := func(scheme, timeout string) nacos.Change {
			return change("proxy-upstreams", "s.yaml", "timeout: "+timeout+"\nsecurity: {id: "+scheme+"}\n")
		}
		shelf := newShelf()
		w := newKeptWorld(t, shelf)
		w.Synced()
		served := func() string {
			def, _, err := w.Index().Service("s").Latest.definition()
			if err != nil {
				t.Fatal(err)
			}
			return def.Backend.URL + " " + def.Backend.Security.ID + " " + def.Backend.Timeout.String()
		}
		w.put(service("1", "a"), upstream("a", "1s"))
		w.put(upstream("b", "2s"))
		check := func(want string, states ...State) {
			t.Helper()
			if got := served(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			got := []State{w.document("proxy-services", "s.yaml").State, w.document("proxy-upstreams", "s.yaml").State}
			if diff := cmp.Diff(states, got); diff != "" {
				t.Error(diff)
			}
		}
		check("http://h/1 a 1s", Applied, Rejected)
		if d := w.document("proxy-upstreams", "s.yaml"); d.Line != 2 || !strings.Contains(d.Error, `"b"`) {
			t.Errorf("status: %+v", d)
		}
		w.put(service("2", "a"))
		check("http://h/2 a 1s", Applied, Rejected)
		w.Close()
		w = newKeptWorld(t, shelf)
		check("http://h/2 a 1s", Applied, Rejected)
		w.put(service("3", "b"))
		check("http://h/3 b 2s", Applied, Applied)
		w.put(service("4", "c"))
		check("http://h/3 b 2s", Ignored, Rejected)
		w.Close()
		w = newKeptWorld(t, shelf)
		check("http://h/3 b 2s", Ignored, Rejected)
		w.put(gone("proxy-upstreams", "s.yaml"))
		if def, _, _ := w.Index().Service("s").Latest.definition(); def.Backend.URL != "http://h/4" || def.Backend.Security != nil {
			t.Errorf("without the upstream document: %+v", def.Backend)
		}
	})
}

// TestCredentialThatCannotBeMadeTakesNoServiceDown: a fault in what is sent to the backend with every request shows when it is
// compiled. While calls use the version before, that goes on, over a restart too. Seen red with such a version taken: every
// call failed, and of converted services every tool was gone.
func TestCredentialThatCannotBeMadeTakesNoServiceDown(t *testing.T) {
	converted := "server: {config: {word: WORD}, securitySchemes: [{id: a, type: http, scheme: bearer, defaultCredential: x}]}\nupstream: {url: \"http://h\"}\ntools:\n  - {name: one, description: WORD, requestTemplate: {url: /x}}\n"
	passed := "server: {securitySchemes: [{id: a, type: http, scheme: bearer, defaultCredential: x}]}\nupstream: {url: \"http://h/WORD\", transport: streamable, security: {id: a, credential: CREDENTIAL}}\n"
	own := func(text, word, credential string) nacos.Change {
		return change("proxy-services", "s.yaml", strings.NewReplacer("WORD", word, "CREDENTIAL", credential).Replace(text))
	}
	with := func(credential string) nacos.Change {
		return change("proxy-upstreams", "s.yaml", "timeout: 1s\nsecurity: {id: a, credential: "+credential+"}\n")
	}
	const bad = `"{{ nosuch }}"`
	cases := map[string]struct {
		before []nacos.Change
		edit   []nacos.Change
		bad    nacos.Key
		line   int
	}{
		"our own":                    {[]nacos.Change{own(passed, "old", "good")}, []nacos.Change{own(passed, "new", bad)}, nacos.Key{Group: "proxy-services", DataID: "s.yaml"}, 0},
		"upstream of an MCP backend": {[]nacos.Change{own(passed, "old", "good"), with("good")}, []nacos.Change{with(bad)}, nacos.Key{Group: "proxy-upstreams", DataID: "s.yaml"}, 2},
		"upstream of an HTTP API":    {[]nacos.Change{own(converted, "old", "good"), with("good")}, []nacos.Change{with(bad)}, nacos.Key{Group: "proxy-upstreams", DataID: "s.yaml"}, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				shelf := newShelf()
				w := newKeptWorld(t, shelf)
				w.Synced()
				w.put(c.before...)
				use := func() string {
					x, err := w.Compiled(w.Index().Service("s").Latest)
					if err != nil {
						t.Fatal(err)
					}
					defer x.Release()
					if x.fault != nil {
						return x.fault.Error()
					}
					return fmt.Sprint("works ", x.Definition.Backend.URL, len(w.Index().Service("s").Latest.Tools()))
				}
				want := use()
				if !strings.HasPrefix(want, "works") {
					t.Fatal(want)
				}
				w.put(c.edit...)
				time.Sleep(time.Minute)
				check := func(when string) {
					t.Helper()
					if got := use(); got != want {
						t.Errorf("%s: %s, want %s", when, got, want)
					}
					for _, d := range w.DocumentStatuses() {
						key := nacos.Key{Group: d.Group, DataID: d.DataID}
						if key == c.bad && (d.State != Rejected || d.Error == "" || d.Line != c.line) || key != c.bad && d.State == Rejected {
							t.Errorf("%s: %+v", when, d)
						}
					}
					if s := w.ServiceStatuses()[0]; s.Behind == "" {
						t.Errorf("%s: %+v", when, s)
					}
				}
				check("after the edit")
				w.Close()
				w = newKeptWorld(t, shelf)
				w.Synced()
				time.Sleep(time.Minute)
				synctest.Wait()
				check("after a restart")
				w.put(c.before...)
				time.Sleep(time.Minute)
				synctest.Wait()
				if s := w.ServiceStatuses()[0]; use() != want || s.Behind != "" {
					t.Errorf("mended: %s %+v", use(), s)
				}
			})
		})
	}
}
