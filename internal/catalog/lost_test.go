package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func keptOf(changes ...nacos.Change) (all []Kept) {
	for i, ch := range changes {
		all = append(all, Kept{Change: ch, Since: time.Unix(int64(i), 0)})
	}
	return all
}

func lostOf(group, dataID string) Kept {
	return Kept{Change: nacos.Change{Key: nacos.Key{Group: group, DataID: dataID}}, Lost: true}
}

// openWorld is a catalog of what a store kept, in which a service without a grants document is open.
func openWorld(t *testing.T, unsure bool, kept ...Kept) *world {
	t.Helper()
	up := upstream.New(upstream.Options{})
	c, err := New(Options{
		Services: 8, Backends: up, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), DefaultOpen: true, Unsure: unsure,
		Convert: func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} },
	}, kept)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); up.Close() })
	return &world{Catalog: c, t: t}
}

// may tells what is allowed: to nobody ("open"), to a consumer by name ("granted"), or nothing.
func (w *world) may(service, consumer string) string {
	s := w.Index().Service(service)
	switch {
	case s == nil || s.NotServed != "":
		return "not served"
	case s.Access.Open():
		return "open"
	}
	if c := w.Index().Consumer(consumer); c != nil && s.Access.Service(c, time.Now().UnixNano()).Allowed {
		return "granted"
	}
	return "closed"
}

// TestA24_LostGrantsClose: a grants document that was there and cannot be read closes its service, whatever the default is, and
// whatever stands in another one of the same name. Seen red with lost records left out, as they were.
func TestA24_LostGrantsClose(t *testing.T) {
	service, alice := change("proxy-services", "s.yaml", own("one")), change("proxy-consumers", "a.yaml", consumer("k"))
	grants := change("proxy-grants", "s.yaml", "auth: required\nconsumers: [a]\n")
	other := change("proxy-grants", "s.yml", "auth: disabled\n")
	cases := map[string]struct {
		kept   []Kept
		unsure bool
		want   string
	}{
		"never there":        {keptOf(service, alice), false, "open"},
		"there":              {keptOf(service, alice, grants), false, "granted"},
		"lost":               {append(keptOf(service, alice), lostOf("proxy-grants", "s.yaml")), false, "closed"},
		"lost, another open": {append(keptOf(service, alice, other), lostOf("proxy-grants", "s.yaml")), false, "closed"},
		"the other lost":     {append(keptOf(service, alice, grants), lostOf("proxy-grants", "s.yml")), false, "granted"},
		"rejected one lost": {append(keptOf(service, alice, change("proxy-grants", "s.yaml", "auth: disabled\nconsumers: [a]\n")),
			Kept{Change: nacos.Change{Key: grants.Key}, Refused: true, Lost: true}), false, "granted"},
		"only a rejected one, lost": {append(keptOf(service, alice), Kept{Change: nacos.Change{Key: grants.Key}, Refused: true, Lost: true}), false, "closed"},
		"nobody knows":              {keptOf(service, alice), true, "closed"},
		"nobody knows of others":    {keptOf(service, alice, grants), true, "granted"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := openWorld(t, c.unsure, c.kept...)
				if got := w.may("s", "a"); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				w.put(change("proxy-services", "s.yaml", own("two")), change("proxy-services", "t.yaml", own("one")))
				if got := w.may("s", "a"); got != c.want {
					t.Errorf("after an edit of the service: %s, want %s", got, c.want)
				}
				if got, want := w.may("t", "a"), map[bool]string{true: "closed", false: "open"}[c.unsure]; got != want {
					t.Errorf("a new service: %s, want %s", got, want)
				}
				w.put(grants, gone("proxy-grants", "s.yml"))
				if got := w.may("s", "a"); got != "granted" {
					t.Errorf("with the document from the source: %s", got)
				}
				w.put(gone("proxy-grants", "s.yaml"))
				w.Synced()
				w.settle()
				if s, n := w.may("s", "a"), w.may("t", "a"); s != "open" || n != "open" {
					t.Errorf("the source has none: %s and %s", s, n)
				}
			})
		})
	}
}

// TestLostConsumersAreNobody: who was disabled or revoked does not come back, and nobody gets the keys of one that is lost.
func TestLostConsumersAreNobody(t *testing.T) {
	service, grants := change("proxy-services", "s.yaml", own("one")), change("proxy-grants", "s.yaml", "auth: required\nconsumers: [a, b]\n")
	base := keptOf(service, grants)
	digest := sha256.Sum256([]byte("k"))
	lost := lostOf("proxy-consumers", "a.yaml")
	bob := change("proxy-consumers", "b.yaml", consumer("k")+"  - {id: own, sha256: "+strings.Repeat("1", 64)+"}\n")
	cases := map[string][]Kept{
		"its document":                              {lost},
		"with another one of the name":              append(keptOf(change("proxy-consumers", "a.yml", consumer("k"))), lost),
		"what was refused":                          append(keptOf(change("proxy-consumers", "a.yaml", consumer("k"))), Kept{Change: lost.Change, Lost: true, Refused: true}),
		"who held the key of one that was refused":  {lost, {Change: bob, Refused: true, Barred: []string{"k"}}},
		"who holds the key of one that was refused": append(keptOf(change("proxy-consumers", "a.yaml", "enabled: false\n"+consumer("k"))), Kept{Change: bob, Refused: true, Barred: []string{"k"}}),
	}
	for name, kept := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := openWorld(t, false, append(append([]Kept{}, base...), kept...)...)
				check := func(when string) {
					t.Helper()
					if h, ok := w.Index().Holder(digest); ok && h.Consumer.Enabled {
						t.Errorf("%s: the key is held by %s", when, h.Consumer.Name)
					}
					if !w.Index().Known(digest) {
						t.Errorf("%s: the key counts as one that nobody ever held", when)
					}
					if got := w.may("s", "a"); got != "closed" {
						t.Errorf("%s: %s", when, got)
					}
				}
				check("at first")
				w.put(change("proxy-services", "s.yaml", own("two")), change("proxy-consumers", "c.yaml", "keys: []\n"))
				w.put(gone("proxy-consumers", "c.yaml"))
				check("after other edits")
			})
		})
	}
	t.Run("until the source has been read", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			w := openWorld(t, false, append(append([]Kept{}, base...), lost, Kept{Change: bob, Refused: true, Barred: []string{"k"}})...)
			w.put(gone("proxy-consumers", "a.yaml"))
			w.Synced()
			w.settle()
			if h, ok := w.Index().Holder(digest); !ok || h.Consumer.Name != "b" {
				t.Errorf("held by %+v", h.Consumer)
			}
			if w.Index().Known([32]byte{9}) {
				t.Error("a key that nobody holds is known")
			}
		})
	})
}

// TestNewcomersRevocationOutlivesARestart: of a consumer that is refused one key for another one's, the rest is in force, and
// that must be so at the next start. Seen red with such a document not kept: the version before it came back.
func TestNewcomersRevocationOutlivesARestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		shelf := newShelf()
		w := newKeptWorld(t, shelf)
		w.put(change("proxy-consumers", "zoe.yaml", consumer("zoe's")))
		w.put(change("proxy-consumers", "adam.yaml", consumer("revoked")))
		w.put(change("proxy-consumers", "adam.yaml", consumer("zoe's")))
		w.put(change("proxy-consumers", "zoe.yaml", "description: edited last\n"+consumer("zoe's")))
		for range 3 {
			if _, ok := w.Index().Holder(sha256.Sum256([]byte("revoked"))); ok {
				t.Error("a revoked key is held again")
			}
			if h, _ := w.Index().Holder(sha256.Sum256([]byte("zoe's"))); h.Consumer == nil || h.Consumer.Name != "zoe" {
				t.Errorf("held by %+v", h.Consumer)
			}
			if d := w.document("proxy-consumers", "adam.yaml"); d.State != Rejected {
				t.Errorf("%+v", d)
			}
			w.Close()
			w = newKeptWorld(t, shelf)
		}
	})
}

// TestFaultyConsumerDocumentSwitchesOff: a consumer, or a key of it, that is disabled in a document with a fault elsewhere is
// disabled all the same.
func TestFaultyConsumerDocumentSwitchesOff(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		key := func(id, more string) string {
			sum := sha256.Sum256([]byte(id))
			return "  - {id: " + id + ", sha256: " + hex.EncodeToString(sum[:]) + more + "}\n"
		}
		two := "keys:\n" + key("k1", "") + key("k2", "")
		state := func(w *world) string {
			c := w.Index().Consumer("a")
			if c == nil {
				return "nobody"
			}
			s := map[bool]string{true: "enabled", false: "disabled"}[c.Enabled]
			for _, k := range c.Keys {
				if k.Disabled {
					s += " without " + k.ID
				}
			}
			return s
		}
		for _, c := range []struct{ document, want string }{
			{"nonsense: 1\n" + two, "enabled"},
			{"nonsense: 1\nenabled: false\n" + two, "disabled"},
			{"nonsense: 1\nenabled: \"false\"\n" + two, "disabled"},
			{"nonsense: 1\nenabled:\n" + two, "enabled"},
			{"nonsense: 1\nkeys:\n" + key("k1", "") + key("k2", ", enabled: false"), "enabled without k2"},
			{"enabled: false\n" + two + "{{{", "disabled"},
		} {
			shelf := newShelf()
			w := newKeptWorld(t, shelf)
			w.put(change("proxy-consumers", "a.yaml", two))
			w.put(change("proxy-consumers", "a.yaml", c.document))
			if got := state(w); got != c.want {
				t.Errorf("%s\n%s, want %s", c.document, got, c.want)
			}
			w.Close()
			w = newKeptWorld(t, shelf)
			if got := state(w); got != c.want {
				t.Errorf("after a restart: %s\n%s, want %s", c.document, got, c.want)
			}
			w.put(change("proxy-consumers", "a.yaml", two))
			if got := state(w); got != "enabled" {
				t.Errorf("mended: %s", got)
			}
			w.Close()
		}
	})
}

// TestOneDocumentOfAConsumerCounts: whatever order documents of one name come in, the first extension counts.
func TestOneDocumentOfAConsumerCounts(t *testing.T) {
	yaml, yml := change("proxy-consumers", "a.yaml", "enabled: false\n"+consumer("k")), change("proxy-consumers", "a.yml", consumer("k"))
	for _, order := range [][]nacos.Change{{yaml, yml}, {yml, yaml}} {
		bubble.Test(t, func(t *testing.T) {
			w := newKeptWorld(t, newShelf())
			for _, ch := range order {
				w.put(ch)
			}
			if c := w.Index().Consumer("a"); c == nil || c.Enabled {
				t.Errorf("%+v", c)
			}
			w.put(gone("proxy-consumers", "a.yaml"))
			if c := w.Index().Consumer("a"); c == nil || !c.Enabled {
				t.Errorf("with the other one alone: %+v", c)
			}
		})
	}
}

// TestLostDocumentsOfAServiceAreNotReplaced: nothing is served in the place of what is lost, be it older or of the same name.
func TestLostDocumentsOfAServiceAreNotReplaced(t *testing.T) {
	was := mcp{version: "1", word: "old"}
	entry := keptOf(was.all()...)
	without := func(i int, more ...Kept) []Kept {
		rest := append([]Kept{}, entry[:i]...)
		return append(append(rest, entry[i+1:]...), more...)
	}
	whole := &Whole{WholeKey: WholeKey{"s", "1"}, Latest: true}
	var parts []Kept
	for _, ch := range was.all() {
		parts = append(parts, Kept{Change: ch, Whole: whole})
	}
	lostRefused := func(ch nacos.Change) Kept { return Kept{Change: nacos.Change{Key: ch.Key}, Lost: true, Refused: true} }
	cases := map[string][]Kept{
		"our own, where the registry has the name": append([]Kept{lostOf("proxy-services", "s.yaml")}, entry...),
		"our own .yaml beside a .yml":              append(keptOf(change("proxy-services", "s.yml", own("one"))), lostOf("proxy-services", "s.yaml")),
		"tools":                                    without(0, lostOf("mcp-tools", was.toolsDoc().Key.DataID)),
		"spec":                                     without(1, lostOf("mcp-server", was.specDoc().Key.DataID)),
		"spec, of a version that is kept whole":    append(without(1, lostOf("mcp-server", was.specDoc().Key.DataID)), parts...),
		"what was refused of the spec":             append(append([]Kept{}, entry...), lostRefused(was.specDoc())),
		"what was refused of the manifest":         append(append([]Kept{}, entry...), lostRefused(was.manifestDoc())),
		"the upstream document":                    append([]Kept{lostOf("proxy-upstreams", "s.yaml")}, entry...),
		"the whole version":                        append([]Kept{{Whole: whole, Lost: true}}, entry...),
	}
	for name, kept := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := openWorld(t, false, kept...)
				if got := w.may("s", ""); got != "not served" {
					t.Errorf("at first: %s", got)
				}
				w.put(change("proxy-grants", "s.yaml", "auth: disabled\n"))
				time.Sleep(time.Minute)
				if got := w.may("s", ""); got != "not served" {
					t.Errorf("later: %s", got)
				}
				w.put(append(was.all(), gone("proxy-services", "s.yaml"), gone("proxy-services", "s.yml"), gone("proxy-upstreams", "s.yaml"))...)
				w.Synced()
				w.settle()
				if got := w.whole(); got != "old /old old both" {
					t.Errorf("with the source: %s", got)
				}
			})
		})
	}
}

// TestNothingButLostDocumentsIsNotReady: a store of which nothing can be read is none.
func TestNothingButLostDocumentsIsNotReady(t *testing.T) {
	if w := openWorld(t, true, lostOf("proxy-services", "s.yaml"), lostOf("proxy-grants", "s.yaml")); w.Index().Synced() {
		t.Error("ready")
	}
}

// TestLargeRejectedVersionsOutliveARestart: what is too large to be kept closes and switches off all the same. Seen red with
// such versions forgotten: the switch of the version before was off again.
func TestLargeRejectedVersionsOutliveARestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		was := mcp{version: "1", word: "old"}
		padding := strings.Repeat("# padding\n", keptRejected/10+1000)
		shelf := newShelf()
		w := newKeptWorld(t, shelf)
		w.put(was.all()...)
		w.put(change("proxy-services", "own.yaml", own("one")), change("proxy-grants", "own.yaml", "auth: disabled\n"))
		if got := w.may("own", ""); got != "open" {
			t.Fatal(got)
		}
		off := strings.NewReplacer(`"enabled": true`, `"enabled": false, "x": "`+padding+`"`, `"/WORD"`, `"http://h/"`, "\n", "").Replace(plainSpec)
		w.put(change("proxy-grants", "own.yaml", "auth: disabledd\n"+padding), change("mcp-server", was.specDoc().Key.DataID, "{"+was.fill(off)))
		for range 3 {
			if got := w.may("own", ""); got != "closed" {
				t.Errorf("with a rejected grants document: %s", got)
			}
			if got := w.whole(); got != "not served: disabled in the server spec" {
				t.Errorf("with a malformed spec: %s", got)
			}
			w.Close()
			w = newKeptWorld(t, shelf)
		}
	})
}
