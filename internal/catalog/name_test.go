package catalog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// archive is what a source remembers, as a test has it.
type archive struct {
	mu      sync.Mutex
	created map[string]time.Time // by data id
	past    map[string][]nacos.Past
	err     error
	stuck   chan struct{} // closed: it answers; nil: it always does
	asked   int
}

func (a *archive) History(ctx context.Context, key nacos.Key, each func(nacos.Past) bool) (time.Time, error) {
	if a.stuck != nil {
		select {
		case <-a.stuck:
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.err != nil {
		return time.Time{}, a.err
	}
	for _, p := range a.past[key.DataID] {
		if !each(p) {
			return time.Time{}, nil
		}
	}
	return a.created[key.DataID], nil
}

func (a *archive) Created(_ context.Context, key nacos.Key) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return 0, a.err
	}
	return uint64(a.created[key.DataID].UnixNano()), nil
}

func (a *archive) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func manifestOf(id string) string { return id + "-mcp-versions.json" }

// entryOf is an entry of the registry with one tool, which is its id's first letter.
func entryOf(id string) []nacos.Change {
	return []nacos.Change{toolset(id, "1", "tool-"+id[:1]), spec(id, "1", "x"), manifest(id, "s", "1", "1")}
}

func (w *world) has() string {
	s := w.Index().Service("s")
	switch {
	case s == nil:
		return "none"
	case s.NotServed != "":
		return "not served: " + s.NotServed
	}
	return strings.Join(s.Latest.Tools(), " ")
}

// TestNewcomerTakesNoName publishes an entry with the name of one that is served, and a smaller id. Seen red with the smallest
// id having the name.
func TestNewcomerTakesNoName(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		shelf, source := newShelf(), &archive{created: map[string]time.Time{}}
		w := newPastWorld(t, shelf, source)
		w.put(entryOf(id2)...)
		w.Synced()
		time.Sleep(time.Hour)
		w.put(entryOf(id1)...)
		for range 3 {
			if got := w.has(); got != "tool-2" {
				t.Errorf("served: %s", got)
			}
			if d := w.document("mcp-server-versions", manifestOf(id1)); d.State != Rejected || !strings.Contains(d.Error, manifestOf(id2)+", which had it first") {
				t.Errorf("status: %+v", d)
			}
			if source.asked > 0 {
				t.Error("the source was asked for what is known")
			}
			w.Close()
			w = newPastWorld(t, shelf, source)
		}
		w.Synced()
		w.put(manifest(id2, "renamed", "1", "1"))
		if got := w.has(); got != "tool-1" {
			t.Errorf("after the bearer was renamed: %s", got)
		}
		w.put(manifest(id2, "s", "1", "1"))
		if got := w.has(); got == "tool-2" {
			t.Error("a bearer that had given the name up has it again")
		}
		w.put(gone("mcp-server-versions", manifestOf(id1)))
		if got := w.has(); got != "tool-2" {
			t.Errorf("after the other one is gone: %s", got)
		}
		if len(shelf.names) > 0 {
			t.Errorf("kept though only one carries the name: %v", shelf.names)
		}
	})
}

// TestGrantsPinAnEntry: what the grants document says counts, whoever was first, be it a document of ours.
func TestGrantsPinAnEntry(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		shelf := newShelf()
		w := newKeptWorld(t, shelf)
		w.Synced()
		w.put(entryOf(id2)...)
		time.Sleep(time.Hour)
		w.put(entryOf(id1)...)
		check := func(when, want string) {
			t.Helper()
			if got := w.has(); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		pin := func(id string) { w.put(change("proxy-grants", "s.yaml", "registryId: "+id+"\nconsumers: [a]\n")) }
		pin(id1)
		check("pinned to the newcomer", "tool-1")
		if d := w.document("mcp-server-versions", manifestOf(id2)); d.State != Rejected || !strings.Contains(d.Error, "proxy-grants/s.yaml pins") {
			t.Errorf("status: %+v", d)
		}
		w.put(change("proxy-services", "s.yaml", own("ours")))
		check("with a document of ours", "tool-1")
		if d := w.document("proxy-services", "s.yaml"); d.State != Rejected || !strings.Contains(d.Error, "pins") {
			t.Errorf("status: %+v", d)
		}
		w.Close()
		w = newKeptWorld(t, shelf)
		check("after a restart", "tool-1")
		w.put(change("proxy-grants", "s.yaml", "registryId: "+id2+"\nconsumer: [a]\n"))
		check("with a rejected pin", "tool-1")
		pin("none-of-them")
		check("pinned to none", "not served: proxy-grants/s.yaml pins")
		w.put(gone("proxy-services", "s.yaml"), change("proxy-grants", "s.yaml", "consumers: [a]\n"))
		check("without a pin", "tool-2")
		w.put(change("proxy-grants", "s.yaml", "registryId: [a]\n"))
		if d := w.document("proxy-grants", "s.yaml"); d.State != Rejected || d.Line != 1 {
			t.Errorf("status: %+v", d)
		}
	})
}

// TestFreshReplicasAskWhoWasFirst: a process that knows nothing goes by what the source remembers, in whichever order
// documents come, and not by when a document was created that got the name later.
func TestFreshReplicasAskWhoWasFirst(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	version := func(id, name string, until time.Time) nacos.Past {
		m := manifest(id, name, "1", "1")
		return nacos.Past{Content: m.Content, MD5: m.MD5, Until: until}
	}
	old, young := start, start.Add(time.Hour)
	cases := map[string]struct {
		source *archive
		want   string
	}{
		"the smaller id is older": {&archive{created: map[string]time.Time{manifestOf(id1): old, manifestOf(id2): young}}, "tool-1"},
		"the larger id is older":  {&archive{created: map[string]time.Time{manifestOf(id2): old, manifestOf(id1): young}}, "tool-2"},
		"the older one got the name later": {&archive{
			created: map[string]time.Time{manifestOf(id1): old, manifestOf(id2): young},
			past:    map[string][]nacos.Past{manifestOf(id1): {version(id1, "s", young.Add(2*time.Hour)), version(id1, "other", young.Add(time.Hour))}},
		}, "tool-2"},
		"the older one was malformed meanwhile": {&archive{
			created: map[string]time.Time{manifestOf(id1): old, manifestOf(id2): young},
			past:    map[string][]nacos.Past{manifestOf(id1): {{Content: []byte("{"), MD5: "x", Until: young.Add(time.Hour)}, version(id1, "s", young.Add(time.Minute))}},
		}, "tool-1"},
		"one is older than what is remembered": {&archive{created: map[string]time.Time{manifestOf(id1): young}}, "tool-2"},
	}
	for name, c := range cases {
		for _, order := range [][]string{{id1, id2}, {id2, id1}} {
			for _, together := range []bool{true, false} {
				t.Run(fmt.Sprint(name, order, together), func(t *testing.T) {
					bubble.Test(t, func(t *testing.T) {
						source := &archive{created: c.source.created, past: c.source.past, stuck: make(chan struct{})}
						shelf := newShelf()
						w := newPastWorld(t, shelf, source)
						if together {
							w.Apply(append(entryOf(order[0]), entryOf(order[1])...))
						} else {
							w.Apply(entryOf(order[0]))
							time.Sleep(5 * time.Second)
							w.Apply(entryOf(order[1]))
						}
						time.Sleep(time.Second)
						if got := w.has(); together && !strings.HasPrefix(got, "not served: several entries") || !together && got != "tool-"+order[0][:1] {
							t.Errorf("before the source answers: %s", got)
						}
						if together && w.Settled() {
							t.Error("settled though the source is being asked")
						}
						close(source.stuck)
						time.Sleep(time.Second)
						w.Synced()
						time.Sleep(time.Second)
						if got := w.has(); got != c.want {
							t.Errorf("%s, want %s", got, c.want)
						}
						if len(w.Index().Guessed()) > 0 || len(w.Alerts(w.DocumentStatuses())) > 0 {
							t.Errorf("alerts: %q", w.Alerts(w.DocumentStatuses()))
						}
						w.Close()
						source.fail(nacos.ErrUnavailable)
						w = newPastWorld(t, shelf, source)
						if got := w.has(); got != c.want {
							t.Errorf("after a restart without the source: %s, want %s", got, c.want)
						}
					})
				})
			}
		}
	}
}

// TestWhoWasFirstCannotBeKnown: the smallest id has the name, /status and a metric say that it is a guess, and the source is
// asked again.
func TestWhoWasFirstCannotBeKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		source := &archive{created: map[string]time.Time{manifestOf(id1): time.Unix(2, 0), manifestOf(id2): time.Unix(1, 0)}, err: nacos.ErrForbidden}
		w := newPastWorld(t, newShelf(), source)
		w.Apply(append(entryOf(id2), entryOf(id1)...))
		w.Synced()
		time.Sleep(time.Second)
		if got := w.has(); got != "tool-1" {
			t.Errorf("served: %s", got)
		}
		if alerts := w.Alerts(w.DocumentStatuses()); len(alerts) != 1 || !strings.Contains(alerts[0], "registryId") || len(w.Index().Guessed()) != 1 {
			t.Errorf("alerts: %q", alerts)
		}
		source.fail(nil)
		time.Sleep(2 * askAgainLater)
		synctest.Wait()
		if got := w.has(); got != "tool-2" || len(w.Index().Guessed()) > 0 {
			t.Errorf("once the source tells: %s", got)
		}
	})
	t.Run("a source that remembers nothing", func(t *testing.T) {
		w := newWorld(t, 8)
		w.put(append(entryOf(id2), entryOf(id1)...)...)
		if got := w.has(); got != "tool-1" || len(w.Index().Guessed()) != 1 {
			t.Errorf("%s, guessed %q", got, w.Index().Guessed())
		}
	})
}

// TestReplicasAgreeWhoHasAName: whatever replicas see, and in which order, they come to the same, also those that start later
// and those that start from what they kept.
func TestReplicasAgreeWhoHasAName(t *testing.T) {
	ids := []string{id1, id2, "33333333-3333-4333-8333-333333333333"}
	for seed := range uint64(60) {
		bubble.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			source := &archive{created: map[string]time.Time{}, past: map[string][]nacos.Past{}}
			shelves := []*shelf{newShelf(), newShelf(), newShelf()}
			replicas := make([]*world, len(shelves))
			name := map[string]string{}
			start := func(i int) {
				replicas[i] = newPastWorld(t, shelves[i], source)
				var all []nacos.Change
				for _, id := range ids {
					if name[id] != "" {
						all = append(all, toolset(id, "1", "tool-"+id[:1]), spec(id, "1", "x"), manifest(id, name[id], "1", "1"))
					} else {
						all = append(all, gone("mcp-server-versions", manifestOf(id)))
					}
				}
				random.Shuffle(len(all), func(x, y int) { all[x], all[y] = all[y], all[x] })
				for _, ch := range all {
					replicas[i].Apply([]nacos.Change{ch})
					time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
				}
				replicas[i].Synced()
			}
			start(0)
			start(1)
			for range 12 {
				id := ids[random.IntN(len(ids))]
				to := []string{"s", "s", "s", "other", ""}[random.IntN(5)]
				if to == name[id] {
					continue
				}
				ch := gone("mcp-server-versions", manifestOf(id))
				source.mu.Lock()
				switch {
				case to == "":
					delete(source.created, manifestOf(id))
					delete(source.past, manifestOf(id))
				case name[id] == "":
					source.created[manifestOf(id)] = time.Now()
				default:
					m := manifest(id, name[id], "1", "1")
					source.past[manifestOf(id)] = append([]nacos.Past{{Content: m.Content, MD5: m.MD5, Until: time.Now()}}, source.past[manifestOf(id)]...)
				}
				source.mu.Unlock()
				if name[id] = to; to != "" {
					ch = manifest(id, to, "1", "1")
				}
				for _, r := range replicas[:2] {
					r.Apply([]nacos.Change{ch, toolset(id, "1", "tool-"+id[:1]), spec(id, "1", "x")})
					time.Sleep(time.Duration(random.IntN(3)) * time.Second)
				}
				time.Sleep(time.Duration(random.IntN(50)) * time.Second)
				if random.IntN(4) == 0 {
					replicas[1].Close()
					start(1)
				}
			}
			start(2)
			time.Sleep(time.Minute)
			synctest.Wait()
			if a, b, c := replicas[0].has(), replicas[1].has(), replicas[2].has(); a != b || a != c {
				t.Errorf("seed %d: %s, restarted %s, fresh %s", seed, a, b, c)
			}
			for _, r := range replicas {
				r.Close()
			}
		})
	}
}
