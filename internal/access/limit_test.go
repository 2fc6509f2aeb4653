package access

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// limited reads the limits of a grants document.
func limited(t testing.TB, limits string) *Table {
	return Compile(grants(t, "consumers: [alice, bob]\nlimits: "+limits), false)
}

// calls admits n calls at once, none of which ends, and counts those let in.
func calls(l *Limiter, t *Table, c *registry.Consumer, tool string, at time.Time, n int) (in int) {
	for range n {
		if _, _, ok := l.Admit(t, Asked{Consumer: c, Tool: []byte(tool)}, at); ok {
			in++
		}
	}
	return in
}

func TestRates(t *testing.T) {
	l, table := NewLimiter(100), limited(t, "{rps: 2, burst: 5}")
	if got := calls(l, table, alice, "a", noon, 20); got != 5 {
		t.Errorf("%d of a burst of 5", got)
	}
	_, wait, ok := l.Admit(table, Asked{Consumer: alice, Tool: []byte("a")}, noon)
	if ok || wait != 500*time.Millisecond {
		t.Errorf("retry after %v, want 500ms", wait)
	}
	if got := calls(l, table, alice, "a", noon.Add(wait-time.Millisecond), 5); got != 0 {
		t.Errorf("%d before the time told", got)
	}
	if got := calls(l, table, alice, "a", noon.Add(wait), 5); got != 1 {
		t.Errorf("%d at the time told", got)
	}
	if got := calls(l, table, bob, "a", noon, 20); got != 5 {
		t.Errorf("another consumer: %d of 5", got)
	}
	if got := calls(l, table, alice, "a", noon.Add(time.Hour), 20); got != 5 {
		t.Errorf("an hour later: %d of 5", got)
	}
}

func TestBurstWithoutANumberIsASecondsWorth(t *testing.T) {
	for limits, want := range map[string]int{"{rps: 3}": 3, "{rps: 2.5}": 3, "{rps: 0.1}": 1} {
		if got := calls(NewLimiter(9), limited(t, limits), alice, "a", noon, 20); got != want {
			t.Errorf("%s: %d, want %d", limits, got, want)
		}
	}
}

func TestConcurrentCalls(t *testing.T) {
	l, table := NewLimiter(100), limited(t, "{concurrent: 2}")
	first, _, _ := l.Admit(table, Asked{Consumer: alice}, noon)
	if got := calls(l, table, alice, "a", noon, 5); got != 1 {
		t.Errorf("%d besides the first, want 1", got)
	}
	if _, wait, ok := l.Admit(table, Asked{Consumer: alice}, noon); ok || wait != time.Second {
		t.Errorf("%v, retry after %v", ok, wait)
	}
	first.Release()
	if got := calls(l, table, alice, "a", noon, 5); got != 1 {
		t.Errorf("%d after one has ended, want 1", got)
	}
}

func TestLimitsOfTools(t *testing.T) {
	table := limited(t, `{tools: {get: {concurrent: 1}, "get*": {concurrent: 2}, "*": {concurrent: 3}}}`)
	l := NewLimiter(100)
	for tool, want := range map[string]int{"get": 1, "get_pet": 2, "other": 3} {
		if got := calls(l, table, alice, tool, noon, 9); got != want {
			t.Errorf("%s: %d, want %d", tool, got, want)
		}
	}
	// A pattern is counted as one, over all tools that it matches.
	if got := calls(l, table, alice, "get_other", noon, 9); got != 0 {
		t.Errorf("another tool of the pattern: %d", got)
	}
	for range 9 {
		if _, _, ok := l.Admit(table, Asked{Consumer: alice}, noon); !ok {
			t.Error("what is no tool call is counted as one")
		}
	}
}

func TestALimitOfTheConsumerHoldsOverAllServices(t *testing.T) {
	c := &registry.Consumer{Name: "alice", Enabled: true, Limits: &registry.Limits{Concurrent: 2}}
	one, other := Compile(&registry.Grants{Service: "one"}, false), Compile(&registry.Grants{Service: "other"}, false)
	l := NewLimiter(100)
	if got := calls(l, one, c, "a", noon, 1) + calls(l, other, c, "a", noon, 5); got != 2 {
		t.Errorf("%d, want 2", got)
	}
}

func TestServicesAreCountedApart(t *testing.T) {
	limits := &registry.GrantLimits{Limits: registry.Limits{Concurrent: 1}}
	l := NewLimiter(100)
	for _, name := range []string{"one", "other"} {
		if got := calls(l, Compile(&registry.Grants{Service: name, Limits: limits}, false), alice, "a", noon, 5); got != 1 {
			t.Errorf("%s: %d, want 1", name, got)
		}
	}
}

// A refusal by one limit must not use up another.
func TestARefusedCallCostsNothing(t *testing.T) {
	c := &registry.Consumer{Name: "alice", Enabled: true, Limits: &registry.Limits{RPS: 1, Burst: 3}}
	table := limited(t, "{rps: 1, burst: 1}")
	l := NewLimiter(100)
	if got := calls(l, table, c, "a", noon, 50); got != 1 {
		t.Errorf("%d on the service, want 1", got)
	}
	if got := calls(l, nil, c, "a", noon, 50); got != 2 {
		t.Errorf("%d elsewhere, want the 2 that are left", got)
	}
}

func TestEditedLimitsHoldAtOnce(t *testing.T) {
	l := NewLimiter(100)
	calls(l, limited(t, "{rps: 1, burst: 1}"), alice, "a", noon, 5)
	if got := calls(l, limited(t, "{rps: 100, burst: 50}"), alice, "a", noon.Add(time.Second), 100); got < 49 {
		t.Errorf("raised: %d, want 50", got)
	}
	if got := calls(l, limited(t, "{rps: 1, burst: 1}"), alice, "a", noon.Add(time.Hour), 100); got != 1 {
		t.Errorf("lowered: %d, want 1", got)
	}
	if got := calls(l, limited(t, "{}"), alice, "a", noon, 100); got != 100 {
		t.Errorf("taken away: %d, want 100", got)
	}
}

func TestMemoryOfTheLimiterIsBounded(t *testing.T) {
	const size = 50
	l, table := NewLimiter(size), limited(t, "{rps: 1, concurrent: 1}")
	busy, _, ok := l.Admit(table, Asked{Consumer: alice}, noon)
	if !ok {
		t.Fatal("refused")
	}
	for i := range 10 * size {
		c := &registry.Consumer{Name: fmt.Sprint("c", i), Enabled: true}
		ticket, _, _ := l.Admit(table, Asked{Consumer: c}, noon)
		ticket.Release()
	}
	if got := l.buckets.Len(); got > size+1 {
		t.Errorf("%d counters, want %d", got, size)
	}
	if _, _, ok := l.Admit(table, Asked{Consumer: alice}, noon.Add(time.Minute)); ok {
		t.Error("a call in flight was forgotten")
	}
	busy.Release()
	if _, _, ok := l.Admit(table, Asked{Consumer: alice}, noon.Add(time.Minute)); !ok {
		t.Error("refused though nothing runs")
	}
}

func TestLimiterUnderLoad(t *testing.T) {
	l, table := NewLimiter(10), limited(t, "{concurrent: 3}")
	var running, most int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				ticket, _, ok := l.Admit(table, Asked{Consumer: alice, Tool: []byte("a")}, noon)
				if !ok {
					continue
				}
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				mu.Lock()
				running--
				mu.Unlock()
				ticket.Release()
			}
		})
	}
	all.Wait()
	if most > 3 || most == 0 {
		t.Errorf("%d ran at once, want up to 3", most)
	}
}

func BenchmarkAdmitWithoutLimits(b *testing.B) {
	l, table := NewLimiter(DefaultBuckets), Compile(nil, false)
	b.ReportAllocs()
	for b.Loop() {
		ticket, _, _ := l.Admit(table, Asked{Consumer: alice}, noon)
		ticket.Release()
	}
}

// A client that listens must be able to call, and streams must have a bound all the same.
//
// Seen to fail with streams and calls counted as one, and with streams not counted.
func TestStreamsAreCountedApartFromCalls(t *testing.T) {
	l, table := NewLimiter(100), limited(t, "{concurrent: 2}")
	var open []Ticket
	for range 5 {
		if ticket, _, ok := l.Admit(table, Asked{Consumer: alice, Stream: true}, noon); ok {
			open = append(open, ticket)
		}
	}
	if len(open) != 2 {
		t.Fatalf("%d streams, want 2", len(open))
	}
	if got := calls(l, table, alice, "a", noon, 5); got != 2 {
		t.Errorf("%d calls besides the streams, want 2", got)
	}
	open[0].Release()
	if _, _, ok := l.Admit(table, Asked{Consumer: alice, Stream: true}, noon); !ok {
		t.Error("no stream though one has ended")
	}
	if got := calls(l, table, alice, "a", noon, 1); got != 0 {
		t.Error("the end of a stream made room for a call")
	}
}

// Seen to fail with callers that are no consumer let in, and with all of them counted as one.
func TestCallersWithoutAKeyCountByAddress(t *testing.T) {
	const size = 20
	l, table := NewLimiter(size), Compile(grants(t, "auth: disabled\nlimits: {rps: 1, burst: 3}"), false)
	from := func(address string, n int) (in int) {
		for range n {
			if ticket, _, ok := l.Admit(table, Asked{Address: address}, noon); ok {
				ticket.Release()
				in++
			}
		}
		return in
	}
	if one, other := from("192.0.2.1", 9), from("192.0.2.2", 9); one != 3 || other != 3 {
		t.Errorf("%d and %d, want 3 of each", one, other)
	}
	if got := calls(l, table, alice, "a", noon, 9); got != 3 {
		t.Errorf("a consumer besides them: %d, want 3", got)
	}
	// Whoever has a network of addresses cannot make the limiter grow.
	for i := range 100 * size {
		from(fmt.Sprint("2001:db8::", i), 1)
	}
	if got := l.buckets.Len(); got > size+1 {
		t.Errorf("%d counters, want at most %d", got, size)
	}
}
