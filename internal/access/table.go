// Package access answers who may call what, and how often: grants compiled per service, the state of keys, and
// rate limits. It must never do I/O or read a clock, and its decisions never wait and never allocate.
package access

import (
	"cmp"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// never is the end of what does not end.
const never = math.MaxInt64

// Table is the compiled grants of one service. It is immutable and safe for any number of readers; a nil
// Table is a closed service without grants.
//
// Grants name groups; who is in them is read from the consumer at each decision, so that an edit of a
// consumer compiles nothing anew.
//
// All that grows with the number of consumers is in a few arrays without pointers, which name grants by their place in
// the document: the garbage collector marks a service of ten thousand grants as one of ten.
type Table struct {
	document *registry.Grants // nil: there is none
	open     bool
	rejected bool // closed because the newest document was rejected
	seed     maphash.Seed
	slots    []uint32 // a hash table: index into holders and 1, or 0
	holders  []holder
	held     []held    // what holders hold on tools, each one's together
	patterns []pattern // by index into the document's Tools
	versions map[string]bool
	limits   *limits
}

// place is where a grant stands in the document.
type place struct {
	tool  int32 // index into Tools; serviceLevel: none
	index int32 // into the grants there
}

// serviceLevel as a place's tool: the grant is on the whole service.
const serviceLevel = -1

// found is the longest lasting grant of some. The zero one is none.
type found struct {
	until int64 // unix nanoseconds; valid before it
	at    place
	some  bool
}

// holder is what one consumer or group holds on the service.
type holder struct {
	named   place // a grant that names it
	hash    uint32
	service found // at service level
	longest found // at tool level
	// Its part of Table.held: exact names, one grant each and sorted by name; then globs.
	from, globs, to uint32
}

type held struct {
	until int64
	at    place
}

type pattern struct {
	name string
	glob *glob // nil: name is exact
}

// Compile turns a grants document into a Table, which refers to it. A nil g stands for "no document". open is what the
// switch counts as where the document does not say or there is none (boot setting access.default).
func Compile(g *registry.Grants, open bool) *Table {
	t := &Table{open: open, document: g}
	if g == nil {
		return t
	}
	switch g.Auth {
	case registry.AuthRequired:
		t.open = false
	case registry.AuthDisabled:
		t.open = true
	}
	t.versions = make(map[string]bool, len(g.Versions))
	for _, v := range g.Versions {
		t.versions[v] = true
	}
	t.limits = compileLimits(g.Limits)
	t.compileGrants()
	return t
}

// who is a consumer or a group.
type who struct {
	group bool
	name  string
}

func whoOf(g *registry.Grant) who {
	if g.Group != "" {
		return who{true, g.Group}
	}
	return who{false, g.Consumer}
}

func (t *Table) compileGrants() {
	index := map[who]int{}
	var tools [][]held // by holder
	holderOf := func(g *registry.Grant, at place) int {
		w := whoOf(g)
		i, ok := index[w]
		if !ok {
			i = len(t.holders)
			index[w] = i
			t.holders, tools = append(t.holders, holder{named: at}), append(tools, nil)
		}
		return i
	}
	for i := range t.document.Consumers {
		g, at := &t.document.Consumers[i], place{serviceLevel, int32(i)}
		t.holders[holderOf(g, at)].service.add(found{instant(g.NotAfter), at, true})
	}
	for i := range t.document.Tools {
		p := pattern{name: t.document.Tools[i].Pattern}
		if strings.Contains(p.name, "*") {
			compiled := compileGlob(p.name)
			p.glob = &compiled
		}
		t.patterns = append(t.patterns, p)
		for j := range t.document.Tools[i].Grants {
			g, at := &t.document.Tools[i].Grants[j], place{int32(i), int32(j)}
			until := instant(g.NotAfter)
			h := holderOf(g, at)
			t.holders[h].longest.add(found{until, at, true})
			tools[h] = append(tools[h], held{until, at})
		}
	}
	for i := range t.holders {
		t.settle(&t.holders[i], tools[i])
	}
	t.holders, t.held = slices.Clip(t.holders), slices.Clip(t.held)
	t.index()
}

// settle puts what a holder holds on tools in order.
func (t *Table) settle(h *holder, tools []held) {
	slices.SortStableFunc(tools, func(a, b held) int {
		p, q := &t.patterns[a.at.tool], &t.patterns[b.at.tool]
		if (p.glob == nil) != (q.glob == nil) {
			if p.glob == nil {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(p.name, q.name), cmp.Compare(b.until, a.until))
	})
	// One grant is enough for a name or pattern: the longest lasting, which now comes first.
	tools = slices.CompactFunc(tools, func(a, b held) bool { return t.patterns[a.at.tool].name == t.patterns[b.at.tool].name })
	h.from, h.to = uint32(len(t.held)), uint32(len(t.held)+len(tools))
	h.globs = h.to
	for i := range tools {
		if t.patterns[tools[i].at.tool].glob != nil {
			h.globs = h.from + uint32(i)
			break
		}
	}
	t.held = append(t.held, tools...)
}

// index makes the hash table, at most half full.
func (t *Table) index() {
	if len(t.holders) == 0 {
		return
	}
	t.seed = maphash.MakeSeed()
	t.slots = make([]uint32, 1<<bits.Len(uint(2*len(t.holders)-1)))
	for i := range t.holders {
		h := &t.holders[i]
		h.hash = t.hash(whoOf(t.grant(h.named)))
		slot := h.hash & uint32(len(t.slots)-1)
		for t.slots[slot] != 0 {
			slot = (slot + 1) & uint32(len(t.slots)-1)
		}
		t.slots[slot] = uint32(i + 1)
	}
}

func (t *Table) hash(w who) uint32 {
	sum := uint32(maphash.String(t.seed, w.name))
	if w.group {
		sum = ^sum
	}
	return sum
}

// find gives what a consumer or group holds; nil: nothing.
func (t *Table) find(w who) *holder {
	if len(t.slots) == 0 {
		return nil
	}
	hash := t.hash(w)
	for slot := hash; ; slot++ {
		i := t.slots[slot&uint32(len(t.slots)-1)]
		if i == 0 {
			return nil
		}
		if h := &t.holders[i-1]; h.hash == hash && whoOf(t.grant(h.named)) == w {
			return h
		}
	}
}

// grant gives the grant at a place.
func (t *Table) grant(at place) *registry.Grant {
	if at.tool == serviceLevel {
		return &t.document.Consumers[at.index]
	}
	return &t.document.Tools[at.tool].Grants[at.index]
}

// instant gives a notAfter in unix nanoseconds. Zero, and what lies beyond what they can hold (people write
// 9999-12-31), never ends; what lies before has ended.
func instant(t time.Time) int64 {
	switch {
	case t.IsZero() || t.Year() > 2261:
		return never
	case t.Year() < 1678:
		return math.MinInt64
	}
	return t.UnixNano()
}

// Open tells that the switch is off: anybody may call everything, and no key is needed.
func (t *Table) Open() bool { return t != nil && t.open }

// Closed gives a Table with the same grants and the switch on: what holds while the newest grants document
// is a rejected one, so that a typo never opens a service.
func (t *Table) Closed() *Table {
	closed := Table{}
	if t != nil {
		closed = *t
	}
	closed.open, closed.rejected = false, true
	return &closed
}

// VersionAllowed tells whether the grants document lists a version to be asked for by name.
func (t *Table) VersionAllowed(version string) bool {
	return t != nil && t.versions[version]
}

// Service decides whether a consumer may do anything on the service: it holds a service grant, or a grant on
// some tool. A nil consumer is a caller without a key. now is in unix nanoseconds.
func (t *Table) Service(c *registry.Consumer, now int64) Decision {
	if d, done := t.before(c); done {
		return d
	}
	var service, tool found
	for i := -1; i < len(c.Groups); i++ {
		if h := t.holder(c, i); h != nil {
			service.add(h.service)
			tool.add(h.longest)
		}
	}
	return t.decide(service, tool, now)
}

// Tool decides whether a consumer may see and call a tool. A service grant outranks whatever the tool level
// says; grants of either level add up. A nil consumer is a caller without a key.
func (t *Table) Tool(c *registry.Consumer, name []byte, now int64) Decision {
	if d, done := t.before(c); done {
		return d
	}
	var service, tool found
	for i := -1; i < len(c.Groups); i++ {
		if h := t.holder(c, i); h != nil {
			service.add(h.service)
			t.onTool(h, name, &tool)
		}
	}
	return t.decide(service, tool, now)
}

// onTool adds what h holds on one tool.
func (t *Table) onTool(h *holder, name []byte, tool *found) {
	low, high := h.from, h.globs
	for low < high { // not slices.BinarySearchFunc: name would be taken to outlive the call
		if middle := (low + high) / 2; t.patterns[t.held[middle].at.tool].name < string(name) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low < h.globs && t.patterns[t.held[low].at.tool].name == string(name) {
		tool.add(found{t.held[low].until, t.held[low].at, true})
	}
	for _, e := range t.held[h.globs:h.to] {
		if t.patterns[e.at.tool].glob.match(name) {
			tool.add(found{e.until, e.at, true})
		}
	}
}

// NextExpiry gives the instant in unix nanoseconds at which what c may see here changes by itself, 0 if it does
// not. Where grants on one tool overlap it may be early, so that nothing has changed yet; it is never late.
func (t *Table) NextExpiry(c *registry.Consumer, now int64) int64 {
	if _, done := t.before(c); done {
		return 0
	}
	var service found
	next := int64(never)
	for i := -1; i < len(c.Groups); i++ {
		h := t.holder(c, i)
		if h == nil {
			continue
		}
		service.add(h.service)
		for _, e := range t.held[h.from:h.to] {
			if e.until > now {
				next = min(next, e.until)
			}
		}
	}
	if service.active(now) {
		next = service.until
	}
	if next == never {
		return 0
	}
	return next
}

// before decides what needs no look at the grants.
func (t *Table) before(c *registry.Consumer) (Decision, bool) {
	switch {
	case t.Open():
		return Decision{Allowed: true, Level: LevelOpen, Reason: SwitchOff}, true
	case c == nil:
		return Decision{Reason: NoKey}, true
	case !c.Enabled:
		return Decision{Reason: ConsumerDisabled}, true
	case t == nil:
		return Decision{Reason: NoGrant}, true
	}
	return Decision{}, false
}

// holder gives what the consumer itself (-1) or its i-th group holds.
func (t *Table) holder(c *registry.Consumer, i int) *holder {
	if i < 0 {
		return t.find(who{false, c.Name})
	}
	return t.find(who{true, c.Groups[i]})
}

// add keeps the one that lasts longer.
func (f *found) add(other found) {
	if other.some && (!f.some || other.until > f.until) {
		*f = other
	}
}

// active tells whether the grant holds: up to its instant, not at it.
func (f *found) active(now int64) bool { return f.some && now < f.until }

// decide goes by the longest lasting grants of either level. A refusal is explained by the grant that ended last, if
// there was one.
func (t *Table) decide(service, tool found, now int64) Decision {
	switch {
	case service.active(now):
		return t.decision(true, Granted, service)
	case tool.active(now):
		return t.decision(true, Granted, tool)
	case !service.some && !tool.some:
		return Decision{Reason: NoGrant}
	}
	service.add(tool)
	return t.decision(false, Expired, service)
}

func (t *Table) decision(allowed bool, why Reason, by found) Decision {
	d := Decision{Allowed: allowed, Level: LevelService, Reason: why, Grant: t.grant(by.at)}
	if by.at.tool != serviceLevel {
		d.Level, d.Pattern = LevelTool, t.patterns[by.at.tool].name
	}
	return d
}
