package catalog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// fedWorld is a world with a consumer c of group a, who may call service s, and two feeds.
func fedWorld(t *testing.T) (w *world, one, two *Feed) {
	w = newWorld(t, 8)
	w.put(change("proxy-services", "s.yaml", own("t")), somebody("a"), change("proxy-grants", "s.yaml", "consumers: [{group: a}]\n"))
	return w, w.Feed(), w.Feed()
}

func somebody(groups string) nacos.Change {
	return change("proxy-consumers", "c.yaml", fmt.Sprintf("keys: [{id: k, sha256: %064d}]\ngroups: [%s]\n", 1, groups))
}

func (w *world) opens(service string) bool {
	time.Sleep(2 * coalesce)
	synctest.Wait()
	s := w.Index().Service(service)
	return s != nil && w.Index().Consumer("c") != nil && s.Access.Service(w.Index().Consumer("c"), time.Now().UnixNano()).Allowed
}

// TestChangesAreCollectedWhileAFeedIsNotCurrent. Seen red without a bound, with one that runs while a feed is away, with one
// that begins anew with each contact or with the first change after it, and with closings that wait.
func TestChangesAreCollectedWhileAFeedIsNotCurrent(t *testing.T) {
	grant := func(to string) nacos.Change { return change("proxy-grants", "s.yaml", "consumers: ["+to+"]\n") }
	for name, test := range map[string]func(t *testing.T, w *world, one, two *Feed){
		"until all are": func(t *testing.T, w *world, one, two *Feed) {
			one.Progress(nacos.CatchingUp)
			two.Progress(nacos.CatchingUp)
			one.Apply([]nacos.Change{change("proxy-services", "new.yaml", own("t"))})
			two.Apply([]nacos.Change{change("proxy-grants", "new.yaml", "consumers: [{group: a}]\n")})
			one.Progress(nacos.Current)
			if w.opens("new"); w.Index().Service("new") != nil {
				t.Error("applied while a feed catches up")
			}
			if !w.Busy() {
				t.Error("not busy while something is held")
			}
			two.Progress(nacos.Current)
			if !w.opens("new") {
				t.Error("not applied though all feeds are current")
			}
		},
		"but closings": func(t *testing.T, w *world, one, two *Feed) {
			one.Progress(nacos.CatchingUp)
			two.Apply([]nacos.Change{grant("")})
			if w.opens("s") {
				t.Error("a closing waits")
			}
			two.Apply([]nacos.Change{grant("{group: a}")})
			if w.opens("s") {
				t.Error("an opening does not wait")
			}
			two.Apply([]nacos.Change{{Key: somebody("").Key, Deleted: true}})
			if w.opens("s"); w.Index().Consumer("c") != nil {
				t.Error("a removed consumer waits")
			}
		},
		"and what closes last is last": func(t *testing.T, w *world, one, two *Feed) {
			one.Progress(nacos.CatchingUp)
			one.Apply([]nacos.Change{grant("{group: a}, {group: b}")})
			one.Apply([]nacos.Change{grant("")})
			one.Progress(nacos.Current)
			if w.opens("s") {
				t.Error("what was held came after what is newer")
			}
		},
		"for a bounded time": func(t *testing.T, w *world, one, two *Feed) {
			one.Progress(nacos.CatchingUp)
			two.Apply([]nacos.Change{change("proxy-services", "new.yaml", own("t")), change("proxy-grants", "new.yaml", "consumers: [{group: a}]\n")})
			for range 3 {
				time.Sleep(collectMost / 4)
				one.Progress(nacos.CatchingUp) // a contact after the other
			}
			if time.Sleep(collectMost / 4); !w.opens("new") {
				t.Error("not applied in time")
			}
			two.Apply([]nacos.Change{change("proxy-grants", "new.yaml", "consumers: []\n")})
			two.Apply([]nacos.Change{change("proxy-grants", "new.yaml", "consumers: [{group: a}]\n")})
			if !w.opens("new") {
				t.Error("waits again for what is late already")
			}
		},
		"that begins with the contact": func(t *testing.T, w *world, one, two *Feed) {
			one.Progress(nacos.CatchingUp)
			time.Sleep(collectMost + time.Second)
			two.Apply([]nacos.Change{change("proxy-services", "new.yaml", own("t")), change("proxy-grants", "new.yaml", "consumers: [{group: a}]\n")})
			if !w.opens("new") {
				t.Error("held for a moment that is long past")
			}
		},
		"also beside one that is away": func(t *testing.T, w *world, one, two *Feed) {
			one.Progress(nacos.CatchingUp)
			one.Apply([]nacos.Change{change("proxy-services", "half.yaml", own("t"))})
			one.Progress(nacos.Away)
			two.Apply([]nacos.Change{change("proxy-services", "new.yaml", own("t")), change("proxy-grants", "new.yaml", "consumers: [{group: a}]\n")})
			if time.Sleep(collectMost / 2); w.opens("new") {
				t.Error("not held")
			}
			if time.Sleep(collectMost / 2); !w.opens("new") {
				t.Error("held by what cannot be reached")
			}
			if time.Sleep(time.Hour); w.Index().Service("half") != nil {
				t.Error("half of a moment was applied")
			}
			one.Progress(nacos.CatchingUp)
			two.Apply([]nacos.Change{change("proxy-services", "late.yaml", own("t")), change("proxy-grants", "late.yaml", "consumers: [{group: a}]\n")})
			if w.opens("late") {
				t.Error("not held at contact")
			}
			one.Progress(nacos.Current)
			if !w.opens("late") || w.Index().Service("half") == nil {
				t.Error("not applied at contact")
			}
		},
		"also what comes while the rest is about to be applied": func(t *testing.T, w *world, one, two *Feed) {
			grants := func(groups string) nacos.Change {
				return change("proxy-grants", "new.yaml", "consumers: ["+groups+"]\n")
			}
			one.Progress(nacos.CatchingUp)
			two.Apply([]nacos.Change{grants("{group: a}"), manifest(id1, "new", "1", "1")}) // waits for what the manifest refers to
			one.Progress(nacos.Current)
			two.Apply([]nacos.Change{grants("{group: b}")})
			if time.Sleep(2 * foreseenMost); w.opens("new") {
				t.Error("what is older came last")
			}
			if d := w.Index().Document(grants("").Key); d == nil || d.MD5 != grants("{group: b}").MD5 {
				t.Error("what is older is in force")
			}
		},
		"but a feed that comes and goes": func(t *testing.T, w *world, one, two *Feed) {
			two.Progress(nacos.CatchingUp)
			one.Progress(nacos.CatchingUp)
			two.Apply([]nacos.Change{change("proxy-services", "new.yaml", own("t")), change("proxy-grants", "new.yaml", "consumers: [{group: a}]\n")})
			for range 10 {
				one.Progress(nacos.Away)
				time.Sleep(time.Second)
				one.Progress(nacos.CatchingUp)
				time.Sleep(time.Second)
			}
			if !w.opens("new") {
				t.Error("held for ever")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w, one, two := fedWorld(t)
				if !w.opens("s") {
					t.Fatal("not allowed from the beginning")
				}
				test(t, w, one, two)
			})
		})
	}
}

// TestHeldManifestsBringTheirVersion: what a held manifest refers to is watched, and applied with it; also if it comes a moment
// after the last feed is current. What nobody refers to in the end is watched no more.
func TestHeldManifestsBringTheirVersion(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t, 8)
		w.put(toolset(id1, "1", "old"), manifest(id1, "s", "1", "1"), spec(id1, "1", "old"))
		one, two := w.Feed(), w.Feed()
		one.Progress(nacos.CatchingUp)
		granted := change("proxy-grants", "s.yaml", "consumers: [{group: a}]\n")
		two.Apply([]nacos.Change{granted, manifest(id1, "s", "2", "1", "2"), change("mcp-server-versions", id2+"-mcp-versions.json",
			fmt.Sprintf(`{"id":%q,"name":"s","protocol":"http","enabled":true,"status":"active","latestPublishedVersion":"7","versionDetails":[{"version":"7"}]}`, id2))})
		wants := func(key nacos.Key) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Contains(w.wants, key)
		}
		if !wants(spec(id1, "2", "").Key) || !wants(toolset(id1, "2").Key) || !wants(spec(id2, "7", "").Key) {
			t.Fatalf("wanted: %v", w.wants)
		}
		one.Progress(nacos.Current)
		time.Sleep(100 * time.Millisecond)
		if got := w.served("s"); got != "old at old" {
			t.Fatalf("served before all has come: %s", got)
		}
		if w.Index().Document(granted.Key) != nil {
			t.Error("granted on the version of before")
		}
		two.Apply([]nacos.Change{toolset(id1, "2", "new"), spec(id1, "2", "new")})
		time.Sleep(foreseenMost + 2*coalesce)
		synctest.Wait()
		if got := w.served("s"); got != "new at new" {
			t.Errorf("served: %s", got)
		}
		if wants(spec(id2, "7", "").Key) {
			t.Error("the documents of an entry that does not hold the name are watched on")
		}
	})
}

// TestWhatIsCollectedIsNotHeldAgain: an edit in place that was collected is whole. Seen red with the hold of edits in place.
func TestWhatIsCollectedIsNotHeldAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t, 8)
		w.put(toolset(id1, "1", "old"), manifest(id1, "s", "1", "1"), spec(id1, "1", "old"))
		feed := w.Feed()
		feed.Progress(nacos.CatchingUp)
		feed.Apply([]nacos.Change{toolset(id1, "1", "new"), spec(id1, "1", "new")})
		feed.Progress(nacos.Current)
		time.Sleep(2 * coalesce)
		synctest.Wait()
		if got := w.served("s"); got != "new at new" {
			t.Errorf("served: %s", got)
		}
	})
}

// TestClosingsOpenNothing: whatever counts as a closing allows nobody anything that he was not allowed. Seen red with ends
// compared the other way round, and with tools' grants not compared.
func TestClosingsOpenNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	some := func(n int) (out []registry.Grant) {
		for range r.IntN(n) {
			g := registry.Grant{Consumer: "c"}
			if r.IntN(2) == 0 {
				g = registry.Grant{Group: string(rune('a' + r.IntN(2)))}
			}
			if r.IntN(2) == 0 {
				g.NotAfter = now.Add(time.Duration(r.IntN(5)-2) * time.Hour)
			}
			out = append(out, g)
		}
		return out
	}
	grants := func() *registry.Grants {
		g := &registry.Grants{Auth: registry.Auth(r.IntN(3)), Consumers: some(3)}
		for _, pattern := range []string{"t0", "t*", "*"} {
			if r.IntN(2) == 0 {
				g.Tools = append(g.Tools, registry.ToolGrants{Pattern: pattern, Grants: some(3)})
			}
		}
		return g
	}
	somebody := func() *registry.Consumer {
		c := &registry.Consumer{Name: "c", Enabled: r.IntN(4) > 0}
		for _, g := range []string{"a", "b"} {
			if r.IntN(2) == 0 {
				c.Groups = append(c.Groups, g)
			}
		}
		for i := range byte(2) {
			if r.IntN(2) == 0 {
				k := registry.Key{Digest: [32]byte{i}, Disabled: r.IntN(3) == 0}
				if r.IntN(2) == 0 {
					k.NotAfter = now.Add(time.Duration(r.IntN(5)-2) * time.Hour)
				}
				c.Keys = append(c.Keys, k)
			}
		}
		return c
	}
	allows := func(g *registry.Grants, c *registry.Consumer) map[string]bool {
		all := map[string]bool{}
		for _, open := range []bool{false, true} {
			table := access.Compile(g, open)
			for hour := range 5 {
				at := now.Add(time.Duration(hour-2)*time.Hour + time.Minute).UnixNano()
				for i := range c.Keys {
					for _, tool := range []string{"t0", "t1", "x"} {
						if access.KeyState(c, &c.Keys[i], at) == access.KeyOK && table.Tool(c, []byte(tool), at).Allowed {
							all[fmt.Sprint(open, hour, c.Keys[i].Digest[0], tool)] = true
						}
					}
				}
			}
		}
		return all
	}
	closings := 0
	for range 30_000 {
		g1, g2, c1, c2 := grants(), grants(), somebody(), somebody()
		if narrowerGrants(g1, g2) {
			closings++
			for p := range allows(g2, c1) {
				if !allows(g1, c1)[p] {
					t.Fatalf("%s is opened by what counts as a closing: %+v to %+v for %+v", p, g1, g2, c1)
				}
			}
		}
		if narrowerConsumer(c1, c2) {
			closings++
			for p := range allows(g1, c2) {
				if !allows(g1, c1)[p] {
					t.Fatalf("%s is opened by what counts as a closing: %+v to %+v with %+v", p, c1, c2, g1)
				}
			}
		}
	}
	if closings < 500 {
		t.Errorf("only %d closings among them", closings)
	}
}
