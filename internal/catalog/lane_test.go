package catalog

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// large makes a document too large for the writer to read itself.
func large(document string) string { return document + strings.Repeat("# x\n", readBytes/4+1) }

// slowly has what is read aside take a time of its own.
func (w *world) slowly(takes func(nacos.Change) time.Duration) {
	read := w.lane.read
	w.lane.read = func(ch nacos.Change) reading {
		time.Sleep(takes(ch))
		return read(ch)
	}
}

// TestRevocationsDoNotWaitForLargeDocuments: reading one takes as long as its author likes, nearly. Other services' edits do
// not wait either.
func TestRevocationsDoNotWaitForLargeDocuments(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world, _ *workshop) {
		w.slowly(func(nacos.Change) time.Duration { return time.Minute })
		w.put(
			change("proxy-services", "a.yaml", own("one")), change("proxy-services", "b.yaml", own("one")), person("alice", 1, ""),
			change("proxy-grants", "a.yaml", "auth: required\nconsumers: [alice]\n"),
		)
		w.Apply([]nacos.Change{
			change("proxy-services", "a.yaml", large(own("two"))),
			change("proxy-grants", "a.yaml", "auth: required\n"),
			change("proxy-services", "b.yaml", own("two")),
		})
		time.Sleep(time.Second)
		if w.allowed("a", "one", 1) {
			t.Error("a revocation waits for a large document that came with it")
		}
		if got := w.tools("b"); got[0] != "two" {
			t.Errorf("b serves %v", got)
		}
		if got := w.tools("a"); got[0] != "one" || !w.Busy() {
			t.Errorf("a serves %v, busy %v", got, w.Busy())
		}
		w.Apply([]nacos.Change{gone("proxy-consumers", "alice.yaml")})
		time.Sleep(time.Second)
		if w.Index().Consumer("alice") != nil {
			t.Error("a removal waits for a large document that came before it")
		}
		time.Sleep(time.Minute)
		if got := w.tools("a"); got[0] != "two" || w.Busy() {
			t.Errorf("in the end a serves %v, busy %v", got, w.Busy())
		}
	})
}

// TestTheLastChangeCounts: however long each is read, and whatever else is.
func TestTheLastChangeCounts(t *testing.T) {
	for seed := range uint64(20) {
		bubble.Test(t, func(t *testing.T) {
			w := newWorld(t, 8)
			w.settle()
			r := rand.New(rand.NewPCG(seed, 0))
			w.slowly(func(ch nacos.Change) time.Duration { return time.Duration(len(ch.Content)%997) * time.Millisecond })
			last := map[nacos.Key]string{}
			for range 200 {
				key := keyOf([]string{"proxy-services", "proxy-upstreams"}[r.IntN(2)], fmt.Sprintf("s%d.yaml", r.IntN(5)))
				ch := nacos.Change{Key: key, Deleted: true}
				delete(last, key)
				if r.IntN(3) > 0 {
					text := "timeout: 5s\n"
					if key.Group == "proxy-services" {
						text = own("one")
					}
					text += strings.Repeat("# x\n", r.IntN(1000))
					if r.IntN(3) == 0 {
						text = large(text)
					}
					ch = change(key.Group, key.DataID, text)
					last[key] = ch.MD5
				}
				w.Apply([]nacos.Change{ch})
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			}
			for w.Busy() {
				time.Sleep(time.Second)
			}
			n := 0
			for key, doc := range w.Index().Documents() {
				n++
				if doc.MD5 != last[key] {
					t.Errorf("seed %d: %v is %s, want %q", seed, key, doc.MD5, last[key])
				}
			}
			if n != len(last) {
				t.Errorf("seed %d: %d documents, want %d", seed, n, len(last))
			}
		})
	}
}

// TestA09_LargeDocumentsDoNotMix: what is read slowly does not come behind what was written after it.
func TestA09_LargeDocumentsDoNotMix(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t, 8)
		w.put(toolset(id1, "1", "old"), manifest(id1, "s", "1", "1"), spec(id1, "1", "old"))
		w.slowly(func(ch nacos.Change) time.Duration {
			return time.Duration(len(ch.Content)/1000) * 50 * time.Millisecond
		})
		tools := toolset(id1, "1", "new")
		tools = change(tools.Key.Group, tools.Key.DataID, strings.Replace(string(tools.Content), `"description":"d"`, `"description":"`+strings.Repeat("d", readBytes)+`"`, 1))
		w.Apply([]nacos.Change{tools})
		time.Sleep(60 * time.Millisecond)
		w.Apply([]nacos.Change{spec(id1, "1", "new")})
		seen := map[string]bool{}
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			seen[w.served("s")] = true
		}
		if len(seen) != 2 || !seen["old at old"] || !seen["new at new"] {
			t.Errorf("served were %v", seen)
		}
	})
}

// TestTheFirstIndexHoldsAll: also what is large. With a store, what the source tells is read aside from the beginning, and
// damage of the store counts until that is in force. Seen red with the lane asked once Synced was called (and Synced taken at its
// word), and with trust before the lane was idle.
func TestTheFirstIndexHoldsAll(t *testing.T) {
	for _, store := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			var initial []Kept
			if store {
				initial = []Kept{{Change: change("proxy-services", "a.yaml", own("old"))}, {Change: gone("proxy-services", "b.yaml"), Lost: true}, {Change: nacos.Change{Key: manifest(id1, "m", "1", "1").Key}, Lost: true}}
			}
			bad := make(chan string, 100)
			c, err := New(Options{Services: 8, Log: slog.New(slog.DiscardHandler), OnSwap: func(d Delta) {
				s := d.Index.Service("b")
				if d.Index.Synced() && (s == nil || s.NotServed != "") && (!store || s == nil || !strings.Contains(s.NotServed, "the store")) {
					bad <- fmt.Sprintf("b is %+v", s)
				}
			}}, initial)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			(&world{Catalog: c, t: t}).slowly(func(nacos.Change) time.Duration { return 10 * time.Second })
			c.Apply([]nacos.Change{change("proxy-services", "a.yaml", own("new")), change("proxy-services", "b.yaml", large(own("new"))), manifest(id2, "m", "1", "1")})
			c.Synced()
			time.Sleep(time.Second)
			if got := c.Index().Service("a").Latest.Tools(); got[0] != "new" {
				t.Errorf("a small document waits for a large one: %v", got)
			}
			if m := c.Index().Service("m"); store && !strings.Contains(m.NotServed, "from the store") {
				t.Errorf("a name is given away before all is read: %+v", m)
			}
			time.Sleep(time.Minute)
			select {
			case what := <-bad:
				t.Errorf("with a store %v: %s", store, what)
			default:
			}
			if s := c.Index().Service("b"); s == nil || s.Latest == nil || c.Busy() {
				t.Errorf("in the end: %+v", s)
			}
			if !c.writer.synced {
				t.Error("the source is not trusted")
			}
		})
	}
}

// TestAFloodOfSmallDocumentsIsTakenInPieces: an Index is made of so few changes that a revocation which comes meanwhile is in
// one of the next, however many changes wait. Deletions have no size at all.
// Seen red without readMost, and without applyMost.
func TestAFloodOfSmallDocumentsIsTakenInPieces(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		most, swaps, since := 0, 0, -1 // since the revocation came
		var c *Catalog
		c, err := New(Options{Services: 8, Log: slog.New(slog.DiscardHandler), OnSwap: func(d Delta) {
			mu.Lock()
			defer mu.Unlock()
			if swaps++; swaps > 1 {
				most = max(most, len(d.Services))
			}
			if since >= 0 && d.Index.Consumer("alice") != nil {
				since++
			}
		}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w := &world{Catalog: c, t: t}
		c.Synced()
		w.put(person("alice", 1, ""))
		for _, flood := range []func(id string) nacos.Change{
			func(id string) nacos.Change { return change("proxy-services", id, own("t")) },
			func(id string) nacos.Change { return gone("proxy-services", id) },
		} {
			all := make([]nacos.Change, 4_000)
			for i := range all {
				all[i] = flood(fmt.Sprintf("s%d.yaml", i))
			}
			c.Apply(all)
			time.Sleep(coalesce + 10*time.Millisecond)
		}
		mu.Lock()
		since = 0
		mu.Unlock()
		c.Apply([]nacos.Change{gone("proxy-consumers", "alice.yaml")})
		w.settle()
		if most > applyMost+readMost {
			t.Errorf("%d documents were taken for one Index", most)
		}
		if since > 2 {
			t.Errorf("a revocation came after %d other Indexes", since)
		}
	})
}

// TestSmallDocumentsOvertakeLargeOnes: but not all of them.
func TestSmallDocumentsOvertakeLargeOnes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var order []string
		l := newLane(func(ch nacos.Change) reading {
			time.Sleep(time.Second)
			order = append(order, ch.Key.DataID)
			return reading{}
		}, func() {})
		l.workers = 1
		var all []nacos.Change
		for i := range 5 {
			all = append(all, change("proxy-services", fmt.Sprintf("large%d", i), large("")))
		}
		for i := range 30 {
			all = append(all, change("proxy-services", fmt.Sprintf("small%d", i), strings.Repeat("x", readBytes/2)))
		}
		if rest := l.accepts(all); len(rest) != 2 {
			t.Errorf("the writer is to read %d", len(rest))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		at := map[string]int{}
		for i, name := range order {
			at[name] = i
		}
		if at["small5"] > at["large0"] || at["large1"] > at["small25"] || len(order) != 33 {
			t.Errorf("read in the order %v", order)
		}
		l.close()
	})
}

// TestAnEditOfAServiceDoesNotCompileItsGrants: they may be large, and somebody else's.
func TestAnEditOfAServiceDoesNotCompileItsGrants(t *testing.T) {
	w := newWorld(t, 8)
	w.put(change("proxy-services", "a.yaml", own("one")), change("proxy-grants", "a.yaml", "consumers: [alice]\n"))
	before := w.Index().Service("a")
	w.put(change("proxy-services", "a.yaml", own("two")))
	after := w.Index().Service("a")
	if after == before || after.Access != before.Access {
		t.Error("the grants were compiled anew")
	}
	w.put(change("proxy-grants", "a.yaml", "consumers: [bob]\n"))
	if w.Index().Service("a").Access == before.Access {
		t.Error("new grants were not compiled")
	}
}
