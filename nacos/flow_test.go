package nacos_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/fakenacos"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// promised is how soon everything is known once bytes flow again. In a bubble no machine is too busy for it.
const promised = 5 * time.Second

// flow is a client that follows a fake Nacos, and a writer that edits it.
type flow struct {
	t    *testing.T
	s    *fakenacos.Server
	c    *nacos.Client
	v    *view
	want map[nacos.Key]string
	n    int

	instances instances
	address   string // of the one instance of the service that the client follows
}

var flowService = nacos.ServiceRef{Namespace: "n", Group: "DEFAULT_GROUP", Service: "backend"}

func newFlow(t *testing.T, change func(*nacos.Config)) *flow {
	f := &flow{t: t, s: fakenacos.New(t), want: map[nacos.Key]string{}}
	for _, group := range []string{"g", "h"} {
		for i := range 20 {
			f.put(nacos.Key{Group: group, DataID: fmt.Sprint("doc", i)}, "first")
		}
	}
	cfg := f.s.Config("n")
	cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("at", a.Value.Time().Format("04:05.000"))
		}
		return a
	}}))
	if change != nil {
		change(&cfg)
	}
	c, err := nacos.Connect(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.c, f.v = c, newView()
	if _, err := c.Watch(nacos.WatchConfig{Groups: []string{"g", "h"}, OnChange: f.v.take, OnSynced: func() { close(f.v.synced) }}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(flowService, f.instances.take); err != nil {
		t.Fatal(err)
	}
	f.moveInstance()
	return f
}

// moveInstance replaces the one instance of the service.
func (f *flow) moveInstance() {
	f.address = fmt.Sprintf("10.0.0.%d", f.n)
	f.s.SetInstances(flowService, nacos.Instance{Host: f.address, Port: 80, Weight: 1, Healthy: true, Enabled: true})
}

// known tells whether all documents and the instance are.
func (f *flow) known() bool {
	f.instances.mu.Lock()
	defer f.instances.mu.Unlock()
	// One that is gone may stay for some seconds: after a restart they come back one by one.
	return maps.Equal(f.v.get(), f.want) && slices.Contains(f.instances.hosts, f.address)
}

func (f *flow) close() {
	_ = f.c.Close()
	f.s.Close()
}

func (f *flow) put(k nacos.Key, content string) {
	f.want[k] = content
	f.s.Put("n", k, content)
}

func (f *flow) remove(k nacos.Key) {
	delete(f.want, k)
	f.s.Delete("n", k)
}

// edit changes a document, adds one, removes one, and has one removed and made again.
func (f *flow) edit() {
	f.n++
	for _, group := range []string{"g", "h"} {
		f.put(nacos.Key{Group: group, DataID: "doc0"}, fmt.Sprint("edit", f.n))
		f.put(nacos.Key{Group: group, DataID: fmt.Sprint("new", f.n)}, "new")
		f.remove(nacos.Key{Group: group, DataID: fmt.Sprint("doc", f.n)})
		again := nacos.Key{Group: group, DataID: "doc19"}
		if f.n%2 == 1 {
			f.remove(again)
		} else {
			f.put(again, fmt.Sprint("again", f.n))
		}
	}
	f.moveInstance()
}

// converges fails unless all is known in time.
func (f *flow) converges(what string) {
	f.t.Helper()
	began := time.Now()
	for !f.known() {
		if time.Since(began) > 2*time.Minute {
			f.t.Fatalf("%s: not known after 2 minutes: %+v", what, f.c.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(began); took > promised {
		f.t.Errorf("%s: known after %s, promised are %s", what, took, promised)
	} else {
		f.t.Logf("%s: known after %s", what, took)
	}
}

// fewer returns all of what a test tries, and every fourth with the race detector, which needs a minute and a half for all of
// TestKnown5sAfterBytesFlowAgain. All of it runs without the detector, too.
func fewer[T any](all ...T) []T {
	if !bubble.Race {
		return all
	}
	var some []T
	for i := 0; i < len(all); i += 4 {
		some = append(some, all[i])
	}
	return some
}

// inBubble runs a test in virtual time with a client in sync.
func inBubble(t *testing.T, change func(*nacos.Config), test func(*flow)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		f := newFlow(t, change)
		defer f.close()
		f.v.awaitSync(t)
		time.Sleep(10 * time.Second)
		test(f)
	})
}

// TestKnown5sAfterBytesFlowAgain stalls, slows and loses the bytes of each direction of each connection for different spells,
// with edits in between, and demands all edits when bytes have flowed again for 5 s.
func TestKnown5sAfterBytesFlowAgain(t *testing.T) {
	faults := map[string]faultproxy.Fault{
		"stalled": {Stall: true}, "throttled": {Rate: 4000}, "trickling": {Rate: 300}, "slow": {Delay: 2500 * time.Millisecond}, "lossy": {Lose: true},
	}
	for name, fault := range faults {
		for _, port := range []string{fakenacos.GRPC, fakenacos.HTTP, "both"} {
			for _, direction := range []faultproxy.Direction{faultproxy.Up, faultproxy.Down, faultproxy.Both} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, port, direction), func(t *testing.T) {
					t.Parallel()
					inBubble(t, nil, func(f *flow) {
						for _, spell := range fewer(4*time.Second, time.Second, 11*time.Second, 5*time.Minute, 40*time.Second) {
							for _, addr := range []string{fakenacos.GRPC, fakenacos.HTTP} {
								if port == addr || port == "both" {
									f.s.Net.Set(addr, direction, fault)
								}
							}
							time.Sleep(spell / 2)
							f.edit()
							time.Sleep(spell / 2)
							f.edit()
							f.s.Net.Set(fakenacos.GRPC, faultproxy.Both, faultproxy.Fault{})
							f.s.Net.Set(fakenacos.HTTP, faultproxy.Both, faultproxy.Fault{})
							f.converges(spell.String())
							time.Sleep(7 * time.Second)
						}
					})
				})
			}
		}
	}
}

// TestKnown5sWhateverThePhase lets a fault begin at each moment of the first tenth of a second of new connections, which
// holds all that there is to be asked: login, setup, listening, fuzzy watches, lists, queries, subscriptions.
func TestKnown5sWhateverThePhase(t *testing.T) {
	faults := map[string]faultproxy.Fault{"stalled": {Stall: true}, "slow": {Delay: 1200 * time.Millisecond}, "lossy": {Lose: true}}
	for name, fault := range faults {
		for _, port := range []string{fakenacos.GRPC, fakenacos.HTTP} {
			for _, direction := range []faultproxy.Direction{faultproxy.Up, faultproxy.Down} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, port, direction), func(t *testing.T) {
					t.Parallel()
					inBubble(t, nil, func(f *flow) {
						calm := func() {
							for _, addr := range []string{fakenacos.GRPC, fakenacos.HTTP} {
								f.s.Net.Set(addr, faultproxy.Both, faultproxy.Fault{Delay: time.Millisecond})
							}
						}
						for _, n := range fewer(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) {
							calm()
							for _, addr := range []string{fakenacos.GRPC, fakenacos.HTTP} {
								f.s.Net.Reset(addr)
							}
							for f.c.Status().Connected {
								time.Sleep(time.Millisecond)
							}
							f.edit()
							for !f.c.Status().Connected && n%2 == 0 { // odd: from before the connection is there
								time.Sleep(time.Millisecond)
							}
							time.Sleep(time.Duration(n*n/3) * time.Millisecond)
							f.s.Net.Set(port, direction, fault)
							time.Sleep(time.Duration(1+n%5) * 1700 * time.Millisecond)
							f.edit()
							calm()
							f.converges(fmt.Sprint("moment ", n))
							time.Sleep(7 * time.Second)
						}
					})
				})
			}
		}
	}
}

// TestKnown5sAfterRefusal has the server refuse what it is asked, in each of the ways it can, and demands all edits when it
// has not refused for 5 s.
func TestKnown5sAfterRefusal(t *testing.T) {
	refusals := map[string]func(s *fakenacos.Server, on bool){
		"login refused":           func(s *fakenacos.Server, on bool) { s.Refuse(on) },
		"fuzzy watches forbidden": func(s *fakenacos.Server, on bool) { s.NoFuzzy(on) },
		"tokens revoked": func(s *fakenacos.Server, on bool) {
			if !on {
				s.RevokeTokens()
			}
		},
		"a group forbidden": func(s *fakenacos.Server, on bool) { s.Forbid("g", on) },
		"lists slow": func(s *fakenacos.Server, on bool) {
			s.SlowLists(map[bool]time.Duration{true: 2 * time.Second}[on], false)
			s.Silence(on)
		},
		"lists very slow": func(s *fakenacos.Server, on bool) {
			s.SlowLists(map[bool]time.Duration{true: 10 * time.Second}[on], false)
			s.Silence(on)
		},
		"lists answered busy":       func(s *fakenacos.Server, on bool) { s.SlowLists(0, on); s.Silence(on) },
		"nothing pushed":            func(s *fakenacos.Server, on bool) { s.Silence(on) },
		"no list, and no push lost": func(s *fakenacos.Server, on bool) { s.SlowLists(0, on) },
	}
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(f *flow) {
				for _, spell := range []time.Duration{time.Second, 6 * time.Second, 40 * time.Second, 5 * time.Minute} {
					refuse(f.s, true)
					time.Sleep(spell / 2)
					f.edit()
					time.Sleep(spell / 2)
					f.edit()
					refuse(f.s, false)
					f.converges(spell.String())
					time.Sleep(7 * time.Second)
				}
			})
		})
	}
}

// TestKnown5sAfterRestart kills the server and starts it again, with what follows upon that: HTTP later than gRPC, the copy
// that queries are answered from later still, a login that is refused for a while, a link that is throttled.
func TestKnown5sAfterRestart(t *testing.T) {
	for _, load := range []time.Duration{0, 2 * time.Second} {
		for _, refused := range []time.Duration{0, 6 * time.Second} {
			for _, throttled := range []time.Duration{0, 15 * time.Second} {
				t.Run(fmt.Sprintf("loads %s refuses %s throttled %s", load, refused, throttled), func(t *testing.T) {
					t.Parallel()
					inBubble(t, nil, func(f *flow) {
						f.s.Kill()
						time.Sleep(3 * time.Second)
						f.edit()
						f.s.Refuse(refused > 0)
						f.s.Restart(load, 2*time.Second)
						time.Sleep(max(load, 2*time.Second, refused))
						f.s.Refuse(false)
						if throttled > 0 {
							for _, addr := range []string{fakenacos.GRPC, fakenacos.HTTP} {
								f.s.Net.Set(addr, faultproxy.Both, faultproxy.Fault{Rate: 1500})
							}
							time.Sleep(throttled / 2)
							f.edit()
							time.Sleep(throttled / 2)
							f.edit()
							for _, addr := range []string{fakenacos.GRPC, fakenacos.HTTP} {
								f.s.Net.Set(addr, faultproxy.Both, faultproxy.Fault{})
							}
						}
						f.converges("all")
						f.edit()
						f.converges("what comes after")
					})
				})
			}
		}
	}
}
