package access

import (
	"math"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// limits are a service's, ready to be looked up by tool.
type limits struct {
	service registry.Limits
	tools   map[string]registry.Limits
	globs   []globLimit // the most specific first
}

type globLimit struct {
	pattern string
	glob    glob
	limits  registry.Limits
}

func compileLimits(g *registry.GrantLimits) *limits {
	if g == nil || g.Limits == (registry.Limits{}) && len(g.Tools) == 0 {
		return nil
	}
	l := &limits{service: g.Limits, tools: map[string]registry.Limits{}}
	for pattern, tool := range g.Tools {
		if strings.Contains(pattern, "*") {
			l.globs = append(l.globs, globLimit{pattern, compileGlob(pattern), tool})
		} else {
			l.tools[pattern] = tool
		}
	}
	sort.Slice(l.globs, func(i, j int) bool {
		a, b := l.globs[i].pattern, l.globs[j].pattern
		if len(a) != len(b) {
			return len(a) > len(b)
		}
		return a < b
	})
	return l
}

// tool gives the limits of one tool: those of its own name, else of the longest pattern that matches it.
func (l *limits) tool(name []byte) (pattern string, found registry.Limits) {
	if name == nil {
		return "", registry.Limits{}
	}
	if own, ok := l.tools[string(name)]; ok {
		return string(name), own
	}
	for i := range l.globs {
		if l.globs[i].glob.match(name) {
			return l.globs[i].pattern, l.globs[i].limits
		}
	}
	return "", registry.Limits{}
}

// Limited reports whether the service's grants document sets any limit.
func (t *Table) Limited() bool { return t != nil && t.limits != nil }

// Limiter counts what is asked for per consumer, per consumer and service, and per consumer and tool pattern, in this
// replica only; of callers that are no consumer, each address counts as one. Its memory is bounded: of the counters that
// nothing uses just now, those unused for longest are forgotten first, which can only let a caller do more.
type Limiter struct {
	mu      sync.Mutex
	buckets *simplelru.LRU[bucketKey, *bucket]
	size    int
}

// DefaultBuckets is a size for NewLimiter that takes about 20 MB when it is full.
const DefaultBuckets = 1 << 16

type bucketKey struct{ consumer, address, service, pattern string }

type bucket struct {
	limits registry.Limits
	rate   *rate.Limiter
	active [2]int // calls; streams
}

// Asked is what a Limiter is asked to let in, by whom.
type Asked struct {
	Consumer *registry.Consumer // nil: nobody, on a service whose switch is off
	Address  string             // who counts as one there; not used where there is a Consumer
	Tool     []byte             // nil: no tool call
	// Stream: it is open until its client leaves, rather than until it is answered. Streams take tokens of a rate like
	// calls, but are counted apart from them against Concurrent: a client that listens must be able to call.
	Stream bool
}

func (a *Asked) kind() int {
	if a.Stream {
		return 1
	}
	return 0
}

// NewLimiter makes a Limiter that remembers at most size counters besides those in use.
func NewLimiter(size int) *Limiter {
	buckets, _ := simplelru.NewLRU[bucketKey, *bucket](math.MaxInt32, nil) // bounded by trim
	return &Limiter{buckets: buckets, size: max(size, len(Ticket{}.counted))}
}

// Ticket is a call or stream that was let in; Release ends it. The zero Ticket is one that nothing counts.
type Ticket struct {
	limiter *Limiter
	counted [3]*bucket
	kind    int
}

// Release ends the call or stream. It must be called exactly once.
func (t Ticket) Release() {
	if t.limiter == nil {
		return
	}
	t.limiter.mu.Lock()
	defer t.limiter.mu.Unlock()
	for _, b := range t.counted {
		if b != nil {
			b.active[t.kind]--
		}
	}
}

// concurrentRetry is what a caller is told to wait for when too many calls of its own run: when one of them
// ends cannot be known.
const concurrentRetry = time.Second

// Admit lets something in, or says after what time to try again. That it may be done at all must be decided before:
// whoever hears of a limit has heard that there is something to limit. Without limits on the consumer or the service Admit
// does nothing at all.
func (l *Limiter) Admit(t *Table, a Asked, now time.Time) (ticket Ticket, retryAfter time.Duration, ok bool) {
	c := a.Consumer
	if (c == nil || c.Limits == nil) && !t.Limited() {
		return Ticket{}, 0, true
	}
	who := bucketKey{address: a.Address}
	if c != nil {
		who = bucketKey{consumer: c.Name}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var counted [3]*bucket
	if c != nil && c.Limits != nil {
		counted[0] = l.bucket(who, *c.Limits)
	}
	if t.Limited() {
		who.service = t.document.Service
		counted[1] = l.bucket(who, t.limits.service)
		if pattern, limits := t.limits.tool(a.Tool); pattern != "" {
			who.pattern = pattern
			counted[2] = l.bucket(who, limits)
		}
	}
	kind := a.kind()
	l.trim()
	for _, b := range counted {
		if b != nil && b.limits.Concurrent > 0 && b.active[kind] >= b.limits.Concurrent {
			return Ticket{}, concurrentRetry, false
		}
	}
	if wait := reserve(counted, now); wait > 0 {
		return Ticket{}, wait, false
	}
	for _, b := range counted {
		if b != nil {
			b.active[kind]++
		}
	}
	return Ticket{limiter: l, counted: counted, kind: kind}, 0, true
}

// reserve takes a token of every bucket, or of none and tells the longest wait.
func reserve(counted [3]*bucket, now time.Time) (wait time.Duration) {
	var taken [3]*rate.Reservation
	for i, b := range counted {
		if b != nil && b.rate != nil {
			taken[i] = b.rate.ReserveN(now, 1)
			wait = max(wait, taken[i].DelayFrom(now))
		}
	}
	if wait > 0 {
		for _, r := range taken {
			if r != nil {
				r.CancelAt(now)
			}
		}
	}
	return wait
}

// bucket gives the counter of a key, following edits of its limits; nil where they limit nothing.
func (l *Limiter) bucket(key bucketKey, limits registry.Limits) *bucket {
	if limits == (registry.Limits{}) {
		return nil
	}
	b, ok := l.buckets.Get(key)
	if !ok {
		b = &bucket{}
		l.buckets.Add(key, b)
	}
	if b.limits != limits {
		b.limits = limits
		b.setRate()
	}
	return b
}

// setRate starts anew after an edit, with a full burst.
func (b *bucket) setRate() {
	if b.limits.RPS <= 0 {
		b.rate = nil
		return
	}
	burst := b.limits.Burst
	if burst <= 0 {
		burst = max(1, int(math.Ceil(b.limits.RPS)))
	}
	b.rate = rate.NewLimiter(rate.Limit(b.limits.RPS), burst)
}

// trim forgets what was not used for longest. A counter in use is spared, for its calls would no longer count.
func (l *Limiter) trim() {
	for tries := 0; l.buckets.Len() > l.size && tries < 8; tries++ {
		key, b, _ := l.buckets.GetOldest()
		if b.active != [2]int{} {
			l.buckets.Get(key) // to the front
			continue
		}
		l.buckets.Remove(key)
	}
}
