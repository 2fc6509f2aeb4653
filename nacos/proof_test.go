package nacos_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/fakenacos"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func (f *flow) proofAge() time.Duration { return time.Since(f.c.Status().PushProof) }

// TestPushProof: the age of the last proof that pushes arrive is small while they do, grows while they do not, and is small
// again on the connection that replaces the deaf one. Where the server takes no probes there is none.
func TestPushProof(t *testing.T) {
	inBubble(t, nil, func(f *flow) {
		for range 60 {
			if age := f.proofAge(); age > 2*time.Second {
				t.Errorf("proof of %s ago while pushes arrive", age)
			}
			time.Sleep(500 * time.Millisecond)
		}
		setups := f.s.Asked("ServerCheckRequest")
		f.s.Silence(true)
		time.Sleep(20 * time.Second)
		if age := f.proofAge(); age < 19*time.Second {
			t.Errorf("proof of %s ago though nothing was pushed for 20 s", age)
		}
		if f.s.Asked("ServerCheckRequest") == setups {
			t.Error("a deaf connection was not replaced")
		}
		f.s.Silence(false)
		time.Sleep(3 * time.Second)
		if age := f.proofAge(); age > 2*time.Second {
			t.Errorf("proof of %s ago when pushes arrive again", age)
		}
	})
	inBubble(t, nil, func(f *flow) {
		f.s.NoFuzzy(true)
		f.s.Net.Reset(fakenacos.GRPC)
		time.Sleep(10 * time.Second)
		if proof := f.c.Status().PushProof; !proof.IsZero() {
			t.Errorf("proof at %s from a server that takes no probes", proof)
		}
		setups := f.s.Asked("ServerCheckRequest")
		time.Sleep(10 * time.Minute)
		if n := f.s.Asked("ServerCheckRequest") - setups; n > 0 {
			t.Errorf("%d connections were given up for what nobody can know", n)
		}
	})
}

// TestServerThatNeverPushes: it is said, everything is found by lists, and connections are not made all the time.
func TestServerThatNeverPushes(t *testing.T) {
	inBubble(t, nil, func(f *flow) {
		f.s.Silence(true)
		time.Sleep(10 * time.Minute)
		setups := f.s.Asked("ServerCheckRequest")
		for range 10 {
			f.edit()
			time.Sleep(time.Minute)
		}
		f.converges("what lists find")
		if n := f.s.Asked("ServerCheckRequest") - setups; n > 11 {
			t.Errorf("%d connections in ten minutes", n)
		}
		if problems := strings.Join(f.c.Status().Problems, "\n"); !strings.Contains(problems, "nothing that it pushes arrives") {
			t.Errorf("problems %q", problems)
		}
		f.s.Silence(false)
		f.converges("pushes again")
		time.Sleep(5 * time.Second)
		if problems := f.c.Status().Problems; len(problems) > 0 {
			t.Errorf("problems left: %q", problems)
		}
	})
}

// TestFuzzyWatchIsAskedForAfterARefusal: new documents are pushed, long before the next list, on a connection that began with
// a refused login, or without the right to fuzzy watches.
func TestFuzzyWatchIsAskedForAfterARefusal(t *testing.T) {
	for name, refuse := range map[string]func(*fakenacos.Server, bool){"login": (*fakenacos.Server).Refuse, "right": (*fakenacos.Server).NoFuzzy} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *nacos.Config) { c.ListInterval = 10 * time.Minute }, func(f *flow) {
				refuse(f.s, true)
				f.s.Net.Reset(fakenacos.GRPC)
				time.Sleep(6 * time.Second)
				refuse(f.s, false)
				time.Sleep(time.Minute)
				f.put(nacos.Key{Group: "h", DataID: "fresh"}, "x")
				time.Sleep(time.Second)
				if !f.known() {
					t.Error("a new document was not pushed")
				}
			})
		})
	}
}

// TestSlowListPutsNothingOff: nothing is pushed, so that only lists tell; they were slow for ten minutes and are quick again.
func TestSlowListPutsNothingOff(t *testing.T) {
	inBubble(t, nil, func(f *flow) {
		f.s.NoFuzzy(true)
		f.s.Net.Reset(fakenacos.GRPC)
		f.s.Silence(true)
		for _, slow := range []time.Duration{300 * time.Millisecond, 2500 * time.Millisecond} {
			f.s.SlowLists(slow, false)
			time.Sleep(10 * time.Minute)
			f.s.SlowLists(0, false)
			time.Sleep(slow) // what is under way
			for n := f.s.Asked("list"); n == f.s.Asked("list"); {
				time.Sleep(10 * time.Millisecond)
			}
			n, began := f.s.Asked("list"), time.Now()
			time.Sleep(5 * time.Second)
			if again := f.s.Asked("list") - n; again < 2 {
				t.Errorf("after lists of %s: %d lists within 5 s of %s", slow, again, began)
			}
		}
	})
}

// TestDocumentThatIsBackIsAskedForWithPauses: a list shows a document again that was removed, and the copy that queries are
// answered from lags behind. Asked for without a pause it would cost the server thousands of queries.
func TestDocumentThatIsBackIsAskedForWithPauses(t *testing.T) {
	inBubble(t, nil, func(f *flow) {
		key := nacos.Key{Group: "g", DataID: "doc1"}
		f.s.Net.Refuse(fakenacos.GRPC, true)
		f.s.Net.Reset(fakenacos.GRPC)
		f.remove(key)
		time.Sleep(2 * time.Second)
		f.s.Kill()
		f.s.Net.Refuse(fakenacos.GRPC, false)
		f.put(key, "again")
		f.s.Restart(3*time.Second, 0) // queries find nothing meanwhile
		queries := f.s.Asked("ConfigQueryRequest")
		f.converges("all")
		if n := f.s.Asked("ConfigQueryRequest") - queries; n > 40*20 {
			t.Errorf("%d queries", n)
		}
	})
}

// TestUnansweredSubscriptionHoldsUpNoPush: what is pushed of one service is told while another one's subscription waits.
func TestUnansweredSubscriptionHoldsUpNoPush(t *testing.T) {
	inBubble(t, nil, func(f *flow) {
		f.s.Hang("hung")
		stop, err := f.c.Subscribe(nacos.ServiceRef{Service: "hung"}, func([]nacos.Instance) {})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		time.Sleep(300 * time.Millisecond)
		f.n++
		f.moveInstance()
		time.Sleep(time.Second)
		if !f.known() {
			t.Error("an instance that was pushed was not told")
		}
		f.s.Hang("")
	})
}

// TestPushProofOfNacos: the real server pushes probes to a user who may only read, and takes none from one who has no right
// on the public namespace.
func TestPushProofOfNacos(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	for _, x := range []struct {
		right string
		want  bool
	}{{"public:*:*", true}, {ns + ":*:*", false}} {
		name, password := s.NewUser(t, [2]string{"r", x.right})
		c := connect(t, s, inNamespace(ns), func(c *nacos.Config) { c.Username, c.Password = name, nacos.NewSecret(password) })
		if x.want {
			eventually(t, 60*time.Second, "a proof", func() bool { return !c.Status().PushProof.IsZero() })
			time.Sleep(10 * time.Second)
			if age := time.Since(c.Status().PushProof); age > 8*time.Second {
				t.Errorf("right %s: proof of %s ago", x.right, age)
			}
			continue
		}
		time.Sleep(5 * time.Second)
		if proof := c.Status().PushProof; !proof.IsZero() {
			t.Errorf("right %s: a proof", x.right)
		}
	}
}
