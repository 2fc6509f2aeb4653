package relay

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// TestShares holds shares against counts by hand, over random callers who take, use and give up: nobody loses a place to
// another unless it holds more than the other would then, and so never less than its part.
//
// Seen to fail with the longest unused place of all given up, as the sessions' LRU did, and with callers without a consumer
// counted as consumers by address.
func TestShares(t *testing.T) {
	const size = 24
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	var s shares[owner]
	held := map[owner][]*holding[owner]{} // in order of use
	consumers := func() map[string]int {
		n := map[string]int{}
		for o, list := range held {
			n[o.consumer] += len(list)
		}
		return n
	}
	for range 20000 {
		o := owner{consumer: fmt.Sprint("c", r.IntN(5))}
		if r.IntN(3) == 0 {
			o = owner{address: fmt.Sprint("a", min(r.IntN(40), 30))} // one of them more than others
		}
		switch list := held[o]; {
		case r.IntN(8) == 0 && len(list) > 0:
			i := r.IntN(len(list))
			s.giveUp(list[i])
			s.giveUp(list[i])
			held[o] = append(list[:i:i], list[i+1:]...)
			continue
		case r.IntN(3) == 0 && len(list) > 0:
			i := r.IntN(len(list))
			s.use(list[i])
			held[o] = append(append(list[:i:i], list[i+1:]...), list[i])
			continue
		}
		if s.len() >= size {
			h, fair := s.loser(o)
			if h == nil {
				t.Fatal("all places are taken, and nobody holds one")
			}
			victim, n := h.what, consumers()
			switch {
			case victim.consumer != o.consumer:
				if n[o.consumer] > 0 && n[victim.consumer] <= n[o.consumer]+1 {
					t.Fatalf("%v, with %d places, drove out %v, with %d", o, n[o.consumer], victim, n[victim.consumer])
				}
				if fair != (n[victim.consumer] > n[o.consumer]+1) {
					t.Fatalf("fair: %v, of %d to %d", fair, n[victim.consumer], n[o.consumer])
				}
			case victim.address != o.address:
				if len(held[o]) > 0 && len(held[victim]) <= len(held[o])+1 {
					t.Fatalf("%v, with %d places, drove out %v, with %d", o, len(held[o]), victim, len(held[victim]))
				}
			}
			for name, m := range n {
				if name != victim.consumer && m > n[victim.consumer] && victim.consumer != o.consumer {
					t.Fatalf("%v lost one of %d, and %s has %d", victim, n[victim.consumer], name, m)
				}
			}
			if held[victim][0] != h {
				t.Fatalf("%v lost a place that is not its longest unused one", victim)
			}
			s.giveUp(h)
			held[victim] = held[victim][1:]
		}
		held[o] = append(held[o], s.take(o, o))
		total := 0
		for _, n := range consumers() {
			total += n
		}
		if s.len() != total || total > size {
			t.Fatalf("%d places taken, counted %d", s.len(), total)
		}
	}
	for _, list := range held {
		for _, h := range list {
			s.giveUp(h)
		}
	}
	if s.len() != 0 || len(s.root.parts) != 0 || len(s.root.most) != 0 {
		t.Errorf("left: %d places, %d parties", s.len(), len(s.root.parts))
	}
}

const noteBody = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

func as(consumer, address string) http.Header {
	h := http.Header{}
	for name, v := range map[string]string{"X-Consumer": consumer, "X-Address": address} {
		if v != "" {
			h.Set(name, v)
		}
	}
	return h
}

// TestBridgedSessionsAreShared: one consumer opens session after session with an HTTP+SSE backend; those of the others stay.
// Callers without a key have the share of one consumer, in which an address cannot drive out the others.
//
// Seen to fail with the longest unused session of all making room, as it did: bob's was the first to go.
func TestBridgedSessionsAreShared(t *testing.T) {
	b := newSSEBackend(t)
	b.auto, b.closed = true, make(chan bool, 1000)
	const places = 9
	f := newFront(t, b.URL, registry.SSE, Options{Sessions: places}, nil)
	open := func(h http.Header) http.Header {
		t.Helper()
		resp, body := do(t, "POST", f.URL, initBody, h)
		if resp.StatusCode != 200 {
			t.Fatalf("%v: %d %s", h, resp.StatusCode, body)
		}
		with := h.Clone()
		with.Set(wire.HeaderSession, resp.Header.Get(wire.HeaderSession))
		return with
	}
	lives := func(h http.Header) bool {
		resp, _ := do(t, "POST", f.URL, noteBody, h)
		return resp.StatusCode == 202
	}
	bob := open(as("bob", ""))
	for range 3 * places {
		open(as("mallory", ""))
	}
	for range 3 * places {
		open(as("", "192.0.2.66"))
	}
	for i := range 3 * places { // whatever addresses somebody has: together they are one
		open(as("", fmt.Sprint("192.0.2.", 100+i)))
	}
	if !lives(bob) {
		t.Error("bob's only session was driven out by others who hold more")
	}
	f.relay.bridges.mu.Lock()
	n := map[string]int{}
	for name, p := range f.relay.bridges.places.root.parts {
		n[name] = p.n
	}
	f.relay.bridges.mu.Unlock()
	if n["bob"] != 1 || n["mallory"] != 4 || n[""] != 4 {
		t.Errorf("sessions: %v, want 1 of bob's and 4 each of mallory's and of all without a key", n)
	}
	first := open(as("carol", ""))
	for range 2 * places {
		open(as("mallory", ""))
		open(as("", "192.0.2.66"))
	}
	if !lives(first) || !lives(bob) {
		t.Error("a session was driven out by others who hold more")
	}
}

// Seen to fail with every address among callers without a key held to be as many as it pleases (addresses in no share of
// their own): the one with a single session lost it.
func TestAnAddressDrivesOutNoOther(t *testing.T) {
	b := newSSEBackend(t)
	b.auto, b.closed = true, make(chan bool, 1000)
	f := newFront(t, b.URL, registry.SSE, Options{Sessions: 4}, nil)
	h := as("", "192.0.2.1")
	resp, _ := do(t, "POST", f.URL, initBody, h)
	h.Set(wire.HeaderSession, resp.Header.Get(wire.HeaderSession))
	for range 20 {
		do(t, "POST", f.URL, initBody, as("", "192.0.2.66"))
	}
	if resp, body := do(t, "POST", f.URL, noteBody, h); resp.StatusCode != 202 {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// TestPlacesOfHTTPAndSSEClientsAreShared: one consumer connects as often as it can. The others find places, and it keeps its
// own share; nobody drives anybody out to and fro.
//
// Seen to fail with places given to whoever comes first, as they were.
func TestPlacesOfHTTPAndSSEClientsAreShared(t *testing.T) {
	s := backend(t, func(http.ResponseWriter, *http.Request) {})
	const places = 8
	f := newFront(t, s.URL, registry.Streamable, Options{Sessions: places}, nil)
	type stream struct {
		who  string
		over chan bool
	}
	connect := func(name string) (int, stream) {
		t.Helper()
		resp := start(t, t.Context(), "GET", f.URL+"/sse", "", as(name, ""))
		st := stream{name, make(chan bool)}
		go func() {
			io.Copy(io.Discard, resp.Body)
			close(st.over)
		}()
		return resp.StatusCode, st
	}
	var all []stream
	open := func(name string, want int) {
		t.Helper()
		status, st := connect(name)
		if status != want {
			t.Errorf("%s: %d, want %d", name, status, want)
		}
		if status == 200 {
			all = append(all, st)
		}
	}
	for range places {
		open("mallory", 200)
	}
	open("mallory", 429)
	for range places/2 - 1 {
		open("bob", 200)
	}
	open("bob", 200) // 4 and 4
	open("bob", 429)
	open("mallory", 429)
	open("carol", 200)
	n := func() string {
		f.relay.clients.mu.Lock()
		defer f.relay.clients.mu.Unlock()
		var at []string
		for _, name := range []string{"bob", "carol", "mallory"} {
			if p := f.relay.clients.places.root.parts[name]; p != nil {
				at = append(at, fmt.Sprint(name, " ", p.n))
			}
		}
		return strings.Join(at, ", ")
	}
	if got := n(); got != "bob 3, carol 1, mallory 4" && got != "bob 4, carol 1, mallory 3" {
		t.Errorf("places: %s", got)
	}
	over := map[string]int{}
	eventually(t, "as many streams end as places were given up", func() bool {
		clear(over)
		for _, st := range all {
			select {
			case <-st.over:
				over[st.who]++
			default:
			}
		}
		return over["mallory"]+over["bob"] == 5
	})
	if over["carol"] != 0 || over["mallory"] < 4 {
		t.Errorf("ended: %v", over)
	}
	f.relay.mu.Lock()
	open200 := len(f.relay.streams)
	f.relay.mu.Unlock()
	if open200 > places {
		t.Errorf("%d streams are open, of %d", open200, places)
	}
}

// TestAnExpelledClientIsGone: a message to a stream that lost its place has no session, and the place is not given up twice.
func TestAnExpelledClientIsGone(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") })
	f := newFront(t, s.URL, registry.Streamable, Options{Sessions: 2}, nil)
	connect := func(name string) (string, func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		resp := start(t, ctx, "GET", f.URL+"/sse", "", as(name, ""))
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d", name, resp.StatusCode)
		}
		return readEvent(t, wire.NewEventReader(resp.Body, 1<<10)), cancel
	}
	first, leave := connect("mallory")
	second, _ := connect("mallory")
	if resp, _ := do(t, "POST", f.URL+first, noteBody, as("mallory", "")); resp.StatusCode != 202 {
		t.Fatalf("got %d", resp.StatusCode) // and now the second is the longest unused
	}
	_, leaveBob := connect("bob")
	eventually(t, "the longest unused is gone", func() bool {
		resp, _ := do(t, "POST", f.URL+second, noteBody, as("mallory", ""))
		return resp.StatusCode == 404
	})
	leave()
	leaveBob()
	eventually(t, "all places are free", func() bool {
		f.relay.clients.mu.Lock()
		defer f.relay.clients.mu.Unlock()
		return f.relay.clients.places.len() == 0 && len(f.relay.clients.byID) == 0
	})
}
