package catalog

import (
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// pastGrants are versions of s.yaml, the newest first, a minute apart.
func pastGrants(texts ...string) *archive {
	a := &archive{past: map[string][]nacos.Past{}, created: map[string]time.Time{"s.yaml": time.Unix(1, 0)}}
	for i, text := range texts {
		ch := change("proxy-grants", "s.yaml", text)
		a.past["s.yaml"] = append(a.past["s.yaml"], nacos.Past{Content: ch.Content, MD5: ch.MD5, Until: time.Now().Add(-time.Duration(i) * time.Minute)})
	}
	return a
}

// TestA24_LastGoodGrantsOfThePast: of a rejected grants document the version that was good last is in force with the switch on,
// whether this process has seen it or not, and over a restart. Seen red with no question asked: who it grants got 403 of a
// fresh replica, and who it revoked was allowed by one that had missed it.
func TestA24_LastGoodGrantsOfThePast(t *testing.T) {
	const bad, worse = "auth: disabled\nconsumers: [a\n", "consumer: [a]\n"
	grants := func(text string) nacos.Change { return change("proxy-grants", "s.yaml", text) }
	cases := map[string]struct {
		past   func() *archive
		before []nacos.Change // of the grants document
		want   string
	}{
		"at first sight":              {func() *archive { return pastGrants("auth: disabled\nconsumers: [a]\n") }, nil, "granted"},
		"behind other bad ones":       {func() *archive { return pastGrants(worse, worse, "consumers: [a]\n", "consumers: [b]\n") }, nil, "granted"},
		"nothing good is remembered":  {func() *archive { return pastGrants(worse) }, nil, "closed"},
		"nothing is remembered":       {func() *archive { return pastGrants() }, nil, "closed"},
		"one that was missed revokes": {func() *archive { return pastGrants("consumers: [b]\n", "consumers: [a]\n") }, []nacos.Change{grants("consumers: [a]\n")}, "closed"},
		"one that was missed grants":  {func() *archive { return pastGrants("consumers: [a]\n", "consumers: [b]\n") }, []nacos.Change{grants("consumers: [b]\n")}, "granted"},
		"the one that was seen":       {func() *archive { return pastGrants("consumers: [a]\n") }, []nacos.Change{grants("consumers: [a]\n")}, "granted"},
		"less is remembered":          {func() *archive { return pastGrants(worse) }, []nacos.Change{grants("consumers: [a]\n")}, "granted"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				shelf, source := newShelf(), c.past()
				w := newPastWorld(t, shelf, source)
				w.put(change("proxy-services", "s.yaml", own("one")), change("proxy-consumers", "a.yaml", consumer("k")))
				w.put(c.before...)
				w.put(grants(bad))
				check := func(when, want string) {
					t.Helper()
					if got := w.may("s", "a"); got != want {
						t.Errorf("%s: %s, want %s", when, got, want)
					}
					d := w.document("proxy-grants", "s.yaml")
					if d.State != Rejected || d.MD5 != grants(bad).MD5 || (d.InForce != "") != (want == "granted" || len(c.before) > 0) {
						t.Errorf("%s: %+v", when, d)
					}
					if n := w.Index().RejectedGrants(); n != 1 {
						t.Errorf("%s: %d rejected grants documents", when, n)
					}
					alerts := w.Alerts(w.DocumentStatuses())
					if len(alerts) != 1 || !strings.HasPrefix(alerts[0], "proxy-grants/s.yaml:") || strings.Contains(alerts[0], "nobody") != (d.InForce == "") {
						t.Errorf("%s: alerts: %q", when, alerts)
					}
				}
				check("once the source has told", c.want)
				w.Close()
				source.fail(nacos.ErrUnavailable)
				w = newPastWorld(t, shelf, source)
				check("after a restart without the source", c.want)
				w.put(grants("consumers: []\n"))
				if got := w.may("s", "a"); got != "closed" || w.Index().RejectedGrants() != 0 || len(w.Alerts(w.DocumentStatuses())) > 0 {
					t.Errorf("mended: %s, %d rejected", got, w.Index().RejectedGrants())
				}
			})
		})
	}
}

// TestThePastIsAskedAgain: a source that does not answer is asked again, and what it says of a version that is not the newest any
// more counts for nothing.
func TestThePastIsAskedAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		source := pastGrants("consumers: [a]\n")
		source.fail(nacos.ErrUnavailable)
		w := newPastWorld(t, newShelf(), source)
		w.Apply([]nacos.Change{change("proxy-services", "s.yaml", own("one")), change("proxy-consumers", "a.yaml", consumer("k")), change("proxy-grants", "s.yaml", "{{{")})
		time.Sleep(time.Second)
		if got := w.may("s", "a"); got != "closed" {
			t.Errorf("before it answers: %s", got)
		}
		source.fail(nil)
		time.Sleep(2 * askAgain)
		if got := w.may("s", "a"); got != "granted" {
			t.Errorf("once it answers: %s", got)
		}
		n := source.asked
		time.Sleep(time.Hour)
		if source.asked != n {
			t.Errorf("asked %d times more for what is known", source.asked-n)
		}
	})
	bubble.Test(t, func(t *testing.T) {
		source := pastGrants("consumers: [a]\n")
		source.stuck = make(chan struct{})
		w := newPastWorld(t, newShelf(), source)
		w.Apply([]nacos.Change{change("proxy-services", "s.yaml", own("one")), change("proxy-consumers", "a.yaml", consumer("k")), change("proxy-grants", "s.yaml", "{{{")})
		time.Sleep(time.Second)
		w.Apply([]nacos.Change{change("proxy-grants", "s.yaml", "consumers: [b]\n")})
		time.Sleep(time.Second)
		close(source.stuck)
		time.Sleep(time.Minute)
		if got := w.may("s", "a"); got != "closed" {
			t.Errorf("by a version that is not the newest: %s", got)
		}
		w.Close() // the map is the writer's
		if len(w.writer.asked) > 0 {
			t.Errorf("questions are left: %v", w.writer.asked)
		}
	})
}
