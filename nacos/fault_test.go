package nacos_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func through(p *faultproxy.Pair) func(*nacos.Config) {
	return func(c *nacos.Config) { c.Addresses = []string{p.Addr()} }
}

// converges edits, adds and removes through writer while broken has the upper hand, calls mend, and measures how long
// the view takes from then.
func converges(t *testing.T, v *view, writer *nacos.Client, n int, mend func()) {
	t.Helper()
	edited, removed := nacos.Key{Group: "g", DataID: "edited"}, nacos.Key{Group: "g", DataID: fmt.Sprintf("removed%d", n)}
	added, next := nacos.Key{Group: "g", DataID: fmt.Sprintf("added%d", n)}, nacos.Key{Group: "g", DataID: fmt.Sprintf("removed%d", n+1)}
	// A write whose connection turns out to be dead fails, as nobody knows whether it was done: do it again.
	put := func(key nacos.Key, content string) {
		t.Helper()
		publish(t, writer, key, content, nacos.AnyMD5, nacos.ErrUnavailable)
	}
	put(edited, fmt.Sprint("after ", n))
	put(added, "new")
	put(next, "to be removed next time")
	remove(t, writer, removed, nacos.ErrUnavailable)
	time.Sleep(200 * time.Millisecond) // Nacos's own delay between writing and answering
	mend()
	began := time.Now()
	all := func() bool {
		return v.has(edited, fmt.Sprint("after ", n))() && v.has(added, "new")() && v.has(next, "to be removed next time")() && v.lacks(removed)()
	}
	eventually(t, 90*time.Second, "convergence", all)
	took := time.Since(began)
	t.Logf("converged in %s", took.Round(10*time.Millisecond))
	// 5 s are promised and 2 s usual; a machine that is busy with other things gets more.
	if took > 60*time.Second {
		t.Errorf("converged in %s, want 5 s", took)
	}
}

// TestWatchSurvivesFaults holds even without the liveness request or without listening anew after a reconnect (both
// were tried): the lists find the changes too, only later. Marking a parked document without queueing it made the
// same faults lose an edit for ever (TestClusterWithADeadMember was red then).
func TestWatchSurvivesFaults(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	p := faultproxy.NewPair(t, s.Addr)
	c, writer := connect(t, s, inNamespace(ns), through(p)), connect(t, s, inNamespace(ns))
	publish(t, writer, nacos.Key{Group: "g", DataID: "edited"}, "before", nacos.AnyMD5)
	publish(t, writer, nacos.Key{Group: "g", DataID: "removed0"}, "before", nacos.AnyMD5)
	v, _ := follow(t, c, nil, "g")
	v.awaitSync(t)
	faults := []struct {
		name         string
		break_, mend func()
	}{
		{"reset", func() { p.Reset() }, func() {}},
		{"cut", func() { p.Cut() }, func() {}},
		{"refused for a while", func() { p.Set(faultproxy.Refuse); p.Cut(); time.Sleep(3 * time.Second) }, func() { p.Set(faultproxy.Pass) }},
		{"hung, then everything arrives late", func() { p.Set(faultproxy.Hang); time.Sleep(6 * time.Second) }, func() { p.Set(faultproxy.Pass) }},
		{"hung and the old connections lost", func() { p.Set(faultproxy.Hang); time.Sleep(3 * time.Second) }, func() { p.Cut(); p.Set(faultproxy.Pass) }},
		{"slow", func() { p.HTTP.Delay(300 * time.Millisecond); p.GRPC.Delay(300 * time.Millisecond) }, func() { p.HTTP.Delay(0); p.GRPC.Delay(0) }},
		{"only gRPC gone", func() { p.GRPC.Set(faultproxy.Refuse); p.GRPC.Cut(); time.Sleep(time.Second) }, func() { p.GRPC.Set(faultproxy.Pass) }},
		{"only HTTP gone", func() { p.HTTP.Set(faultproxy.Refuse); p.HTTP.Cut() }, func() { p.HTTP.Set(faultproxy.Pass) }},
	}
	for n, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			f.break_()
			converges(t, v, writer, n, f.mend)
		})
	}
	t.Run("resets all the time", func(t *testing.T) {
		for range 30 {
			p.Reset()
			time.Sleep(30 * time.Millisecond)
		}
		converges(t, v, writer, len(faults), func() {})
	})
}

// TestA04_ConvergesAfterNacosWasKilled: edits and deletions made while the connection was away are found.
func TestA04_ConvergesAfterNacosWasKilled(t *testing.T) {
	s := nacostest.Start(t, nacostest.Private())
	c := connect(t, s)
	publish(t, c, nacos.Key{Group: "g", DataID: "edited"}, "before", nacos.AnyMD5)
	publish(t, c, nacos.Key{Group: "g", DataID: "removed0"}, "before", nacos.AnyMD5)
	v, _ := follow(t, c, nil, "g")
	v.awaitSync(t)
	ref := nacos.ServiceRef{Service: "backend"}
	owner := connect(t, s)
	var list instances
	if _, err := c.Subscribe(ref, list.take); err != nil {
		t.Fatal(err)
	}
	if err := owner.Register(t.Context(), ref, nacos.Instance{Host: "10.0.0.1", Port: 80}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the instance", list.are("10.0.0.1"))

	s.Kill()
	eventually(t, 10*time.Second, "the status says so", func() bool {
		st := c.Status()
		return !st.Connected && len(st.Problems) == 1 && strings.Contains(st.Problems[0], "cannot reach Nacos")
	})
	before := len(v.get())
	if _, err := c.Get(t.Context(), nacos.Key{Group: "g", DataID: "edited"}); !errors.Is(err, nacos.ErrUnavailable) {
		t.Errorf("get while Nacos is dead: %v, want ErrUnavailable", err)
	}
	time.Sleep(2 * time.Second)
	if n := len(v.get()); n != before {
		t.Errorf("an outage changed what is known: %d documents, were %d", n, before)
	}
	s.Restart(t)
	began := time.Now()
	writer := connect(t, s)
	converges(t, v, writer, 0, func() {})
	t.Logf("%s after Nacos answered again", time.Since(began).Round(10*time.Millisecond))
	if st := c.Status(); !st.Connected || len(st.Problems) > 0 {
		t.Errorf("status after: %+v", st)
	}
	eventually(t, 20*time.Second, "the instance is still there", list.are("10.0.0.1"))
	list.mu.Lock()
	if list.went {
		t.Error("instances were gone for a moment while their owner reconnected")
	}
	list.mu.Unlock()

	// The same with another signing key: all tokens are worth nothing.
	s.Kill()
	s.RotateKey(t)
	s.Restart(t)
	converges(t, v, writer, 1, func() {})

	// And stopped without being dead.
	s.Hang()
	eventually(t, 15*time.Second, "the status says so", func() bool { return !c.Status().Connected })
	s.Resume()
	converges(t, v, writer, 2, func() {})
}

func TestConnectWithoutNacos(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	p := faultproxy.NewPair(t, s.Addr)
	p.Set(faultproxy.Refuse)
	key := nacos.Key{Group: "g", DataID: "d"}
	publish(t, connect(t, s, inNamespace(ns)), key, "1", nacos.AnyMD5)
	c := connect(t, s, inNamespace(ns), through(p))
	v, _ := follow(t, c, nil, "g")
	eventually(t, 5*time.Second, "the status says so", func() bool { st := c.Status(); return !st.Connected && len(st.Problems) > 0 })
	t.Log(c.Status().Problems)
	p.Set(faultproxy.Pass)
	eventually(t, 10*time.Second, "the document", v.has(key, "1"))
	eventually(t, 5*time.Second, "no problem left", func() bool { return len(c.Status().Problems) == 0 })
}

func TestWrongPassword(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	key := nacos.Key{Group: "g", DataID: "d"}
	admin := connect(t, s, inNamespace(ns))
	publish(t, admin, key, "1", nacos.AnyMD5)
	name, _ := s.NewUser(t, [2]string{"r", ns + ":*:*"})
	c := connect(t, s, inNamespace(ns), func(c *nacos.Config) { c.Username, c.Password = name, nacos.NewSecret("not yet") })
	v, _ := follow(t, c, nil, "g")
	eventually(t, 10*time.Second, "the status says so", func() bool {
		st := c.Status()
		return len(st.Problems) > 0 && strings.Contains(strings.Join(st.Problems, "\n"), "check nacos.username and nacos.password")
	})
	if st := c.Status(); strings.Contains(fmt.Sprint(st), "not yet") {
		t.Errorf("the password is in the status: %v", st)
	}
	if _, err := c.Get(t.Context(), key); !errors.Is(err, nacos.ErrForbidden) {
		t.Errorf("get: %v, want ErrForbidden", err)
	}
	// The password becomes what the client has. (3.1.0 answers an admin's PUT of another's password with 403.)
	s.MustAdmin(t, http.MethodDelete, "/nacos/v3/auth/user", url.Values{"username": {name}}, nil)
	s.MustAdmin(t, http.MethodPost, "/nacos/v3/auth/user", nil, url.Values{"username": {name}, "password": {"not yet"}})
	s.MustAdmin(t, http.MethodPost, "/nacos/v3/auth/role", nil, url.Values{"username": {name}, "role": {"role" + name}})
	eventually(t, 40*time.Second, "the document", v.has(key, "1"))
	eventually(t, 40*time.Second, "no problem left", func() bool { return len(c.Status().Problems) == 0 })
}
