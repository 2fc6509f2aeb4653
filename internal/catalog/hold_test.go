package catalog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// served tells of which tools and which backend service the latest version is made.
func (w *world) served(name string) string {
	w.t.Helper()
	s := w.Index().Service(name)
	if s == nil || s.Latest == nil {
		return "nothing"
	}
	def, _, err := s.Latest.definition()
	if err != nil {
		w.t.Fatal(err)
	}
	return def.Tools[0].Name + " at " + def.Backend.Ref.Service
}

// TestA09_EditsInPlaceNeverMix rewrites tools, spec and manifest of the version that is served, in every order and with
// pauses as long as the hold allows. Seen to fail with holdQuiet 0, and with only the first change of an edit held.
func TestA09_EditsInPlaceNeverMix(t *testing.T) {
	described := func(text string) nacos.Change {
		return change("mcp-server-versions", id1+"-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":"s","protocol":"http","description":%q,"enabled":true,"status":"active","latestPublishedVersion":"1","versionDetails":[{"version":"1"}]}`, id1, text))
	}
	edit := []nacos.Change{toolset(id1, "1", "new"), spec(id1, "1", "new"), described("new")}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, pause := range []time.Duration{60 * time.Millisecond, 200 * time.Millisecond, holdQuiet - coalesce - time.Millisecond} {
			t.Run(fmt.Sprint(order, pause), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					w := newWorld(t, 8)
					w.put(toolset(id1, "1", "old"), described("old"), spec(id1, "1", "old"))
					for _, step := range order {
						if got := w.served("s"); got != "old at old" {
							t.Fatalf("before %v: %s", edit[step].Key, got)
						}
						w.Apply([]nacos.Change{edit[step]})
						time.Sleep(pause)
					}
					time.Sleep(holdQuiet + 2*coalesce - pause)
					synctest.Wait()
					if got := w.served("s"); got != "new at new" {
						t.Errorf("after the last write: %s", got)
					}
					if got := w.Index().Service("s").Latest.Description(); got != "new" {
						t.Errorf("described as %q", got)
					}
				})
			})
		}
	}
}

// TestHoldEnds: an edit of one document by hand holds soon, edits without end do so too, and what is switched off or
// comes new does not wait.
func TestHoldEnds(t *testing.T) {
	start := func(t *testing.T) *world {
		w := newWorld(t, 8)
		w.put(toolset(id1, "1", "old"), manifest(id1, "s", "1", "1"), spec(id1, "1", "old"))
		return w
	}
	after := func(t *testing.T, w *world, pause time.Duration, want string) {
		t.Helper()
		time.Sleep(pause)
		synctest.Wait()
		if got := w.served("s"); got != want {
			t.Errorf("after %s: %s, want %s", pause, got, want)
		}
	}
	tests := map[string]func(t *testing.T, w *world){
		"one document": func(t *testing.T, w *world) {
			w.Apply([]nacos.Change{toolset(id1, "1", "new")})
			after(t, w, holdQuiet+2*coalesce, "new at old")
		},
		"edits without end": func(t *testing.T, w *world) {
			for i := range 20 {
				w.Apply([]nacos.Change{toolset(id1, "1", fmt.Sprint("new", i))})
				time.Sleep(100 * time.Millisecond)
			}
			if got := w.served("s"); got == "old at old" {
				t.Errorf("after 2 s of edits: %s", got)
			}
			after(t, w, holdQuiet+2*coalesce, "new19 at old")
		},
		"an edit taken back": func(t *testing.T, w *world) {
			before := w.Index().Service("s").Latest
			w.Apply([]nacos.Change{toolset(id1, "1", "new")})
			time.Sleep(100 * time.Millisecond)
			w.Apply([]nacos.Change{toolset(id1, "1", "old")})
			after(t, w, holdQuiet+2*coalesce, "old at old")
			if before == nil {
				t.Error("nothing before")
			}
		},
		"switched off in the spec": func(t *testing.T, w *world) {
			off := spec(id1, "1", "old")
			off = change(off.Key.Group, off.Key.DataID, `{"id":"`+id1+`","protocol":"http","enabled":false}`)
			w.Apply([]nacos.Change{toolset(id1, "1", "new"), off})
			after(t, w, 2*coalesce, "nothing")
			w.Apply([]nacos.Change{spec(id1, "1", "old")})
			after(t, w, 2*coalesce, "new at old")
		},
		"a new version": func(t *testing.T, w *world) {
			w.Apply([]nacos.Change{toolset(id1, "2", "new"), spec(id1, "2", "new"), manifest(id1, "s", "2", "1", "2")})
			after(t, w, 2*coalesce, "new at new")
		},
		"deleted meanwhile": func(t *testing.T, w *world) {
			w.Apply([]nacos.Change{toolset(id1, "1", "new")})
			time.Sleep(100 * time.Millisecond)
			w.Apply([]nacos.Change{gone("mcp-server-versions", id1+"-mcp-versions.json")})
			after(t, w, 2*coalesce, "nothing")
			after(t, w, holdMost, "nothing")
			if n := len(w.writer.holds); n != 0 {
				t.Errorf("%d holds are left", n)
			}
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { test(t, start(t)) })
		})
	}
}
