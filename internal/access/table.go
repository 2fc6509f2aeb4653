// Package access answers who may call what, and how often: grants compiled per service, the state of keys, and
// rate limits. It must never do I/O or read a clock, and its decisions never wait and never allocate.
package access

import (
	"math"
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
type Table struct {
	service    string
	open       bool
	documented bool // there is a grants document
	rejected   bool // closed because the newest document was rejected
	consumers  map[string]*holder
	groups     map[string]*holder
	versions   map[string]bool
	limits     *limits
}

// holder is what one consumer or group holds on the service.
type holder struct {
	service *grant            // the longest lasting at service level
	tools   map[string]*grant // exact names: the longest lasting each
	globs   []globGrant
	longest *grant // the longest lasting at tool level
	ends    []int64
}

type grant struct {
	until   int64 // unix nanoseconds; valid before it
	source  *registry.Grant
	pattern string // tool level
}

type globGrant struct {
	grant
	glob glob
}

// Compile turns a grants document into a Table. A nil g stands for "no document". open is what the switch
// counts as where the document does not say or there is none (boot setting access.default).
func Compile(g *registry.Grants, open bool) *Table {
	t := &Table{open: open, consumers: map[string]*holder{}, groups: map[string]*holder{}}
	if g == nil {
		return t
	}
	t.service, t.documented = g.Service, true
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
	for i := range g.Consumers {
		source := &g.Consumers[i]
		h := t.holderOf(source)
		h.service = longer(h.service, &grant{until: instant(source.NotAfter), source: source})
	}
	for i := range g.Tools {
		pattern := g.Tools[i].Pattern
		for j := range g.Tools[i].Grants {
			source := &g.Tools[i].Grants[j]
			t.holderOf(source).addTool(&grant{until: instant(source.NotAfter), source: source, pattern: pattern})
		}
	}
	return t
}

func (t *Table) holderOf(g *registry.Grant) *holder {
	in, name := t.consumers, g.Consumer
	if g.Group != "" {
		in, name = t.groups, g.Group
	}
	h := in[name]
	if h == nil {
		h = &holder{}
		in[name] = h
	}
	return h
}

func (h *holder) addTool(g *grant) {
	h.longest = longer(h.longest, g)
	if g.until != never {
		h.ends = append(h.ends, g.until)
	}
	if strings.Contains(g.pattern, "*") {
		h.globs = append(h.globs, globGrant{*g, compileGlob(g.pattern)})
		return
	}
	if h.tools == nil {
		h.tools = map[string]*grant{}
	}
	h.tools[g.pattern] = longer(h.tools[g.pattern], g)
}

func longer(have, other *grant) *grant {
	if have == nil || other.until > have.until {
		return other
	}
	return have
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
	var best found
	t.serviceLevel(c, &best)
	if best.active(now) {
		return best.allowed(LevelService)
	}
	level := found{}
	for i := -1; i < len(c.Groups); i++ {
		if h := t.holder(c, i); h != nil {
			level.add(h.longest)
		}
	}
	if level.active(now) {
		return level.allowed(LevelTool)
	}
	return denied(best, level)
}

// Tool decides whether a consumer may see and call a tool. A service grant outranks whatever the tool level
// says; grants of either level add up. A nil consumer is a caller without a key.
func (t *Table) Tool(c *registry.Consumer, tool []byte, now int64) Decision {
	if d, done := t.before(c); done {
		return d
	}
	var best found
	t.serviceLevel(c, &best)
	if best.active(now) {
		return best.allowed(LevelService)
	}
	level := found{}
	for i := -1; i < len(c.Groups); i++ {
		h := t.holder(c, i)
		if h == nil {
			continue
		}
		level.add(h.tools[string(tool)]) // the compiler does not allocate for a lookup
		for j := range h.globs {
			if h.globs[j].glob.match(tool) {
				level.add(&h.globs[j].grant)
			}
		}
	}
	if level.active(now) {
		return level.allowed(LevelTool)
	}
	return denied(best, level)
}

// NextExpiry gives the instant in unix nanoseconds at which what c may see here changes by itself, 0 if it does
// not. Where grants on one tool overlap it may be early, so that nothing has changed yet; it is never late.
func (t *Table) NextExpiry(c *registry.Consumer, now int64) int64 {
	if _, done := t.before(c); done {
		return 0
	}
	var best found
	t.serviceLevel(c, &best)
	if best.active(now) {
		if best.grant.until == never {
			return 0
		}
		return best.grant.until
	}
	next := int64(0)
	for i := -1; i < len(c.Groups); i++ {
		if h := t.holder(c, i); h != nil {
			for _, end := range h.ends {
				if end > now && (next == 0 || end < next) {
					next = end
				}
			}
		}
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
		return t.consumers[c.Name]
	}
	return t.groups[c.Groups[i]]
}

func (t *Table) serviceLevel(c *registry.Consumer, best *found) {
	for i := -1; i < len(c.Groups); i++ {
		if h := t.holder(c, i); h != nil {
			best.add(h.service)
		}
	}
}

// found is the longest lasting grant met so far.
type found struct{ grant *grant }

func (f *found) add(g *grant) {
	if g != nil && (f.grant == nil || g.until > f.grant.until) {
		f.grant = g
	}
}

// active tells whether the grant holds: up to its instant, not at it.
func (f *found) active(now int64) bool { return f.grant != nil && now < f.grant.until }

func (f *found) allowed(level Level) Decision {
	return Decision{Allowed: true, Level: level, Reason: Granted, Grant: f.grant.source, Pattern: f.grant.pattern}
}

// denied explains a refusal by the grant that ended last, if there was one.
func denied(service, tool found) Decision {
	last := service
	last.add(tool.grant)
	if last.grant == nil {
		return Decision{Reason: NoGrant}
	}
	level := LevelTool
	if last.grant == service.grant {
		level = LevelService
	}
	return Decision{Reason: Expired, Level: level, Grant: last.grant.source, Pattern: last.grant.pattern}
}
