package catalog

import (
	"slices"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// collectMost bounds how long a change waits for others that belong to the same moment while its own source answers: what was
// missed while it was away must be known five seconds after it is back, and a namespace that cannot be reached must not hold
// up another one for longer.
const collectMost = 4 * time.Second

// intake stands between those who follow documents and the writer. Documents come one by one, so that after an outage those
// that have come and those that have not would make a mix of moments: a consumer who was deleted and, later, a group of his
// that was granted, would open a service to him that was never open to him. So while a feed is not current, the changes of all
// of them are collected, and applied as one when all are. What can only close something is applied at once.
//
// Before the first configuration is in force there is nothing to be mixed, and nothing is collected.
type intake struct {
	catalog *Catalog

	mu       sync.Mutex
	feeds    []*Feed
	held     map[nacos.Key]*heldChange
	unread   []*heldChange // of held: to be read, with others that are not held any more
	readers  int
	timer    *time.Timer   // runs while a feed catches up, or something of one that is not away is held
	began    time.Time     // when the timer began to run
	waited   time.Duration // how long it has run before, for what is held now
	overdue  bool          // some feed is not current for too long to wait for it
	reading  sync.WaitGroup
	foreseen []nacos.Key // wanted for held manifests
	asked    time.Time   // when the last of them was
	closed   bool
}

// heldChange is a change that is held. It is read meanwhile, so that applying all of them as one takes the writer no longer than
// it must.
type heldChange struct {
	nacos.Change
	feed    *Feed
	read    bool
	reading reading
}

// Feed is where one watch of documents delivers.
type Feed struct {
	intake   *intake
	progress nacos.Progress
}

// Feed returns a new feed. Its methods are what nacos.WatchConfig asks for.
func (c *Catalog) Feed() *Feed {
	in := &c.intake
	f := &Feed{intake: in, progress: nacos.Current}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.feeds = append(in.feeds, f)
	return f
}

// Apply takes changes. They are in force about 50 ms later, unless a feed is not current.
func (f *Feed) Apply(changes []nacos.Change) {
	in := f.intake
	in.mu.Lock()
	current := in.least() == nacos.Current && len(in.held) == 0
	if current || in.overdue && f.progress != nacos.Away || !in.catalog.Index().Synced() {
		defer in.mu.Unlock()
		for _, ch := range changes {
			delete(in.held, ch.Key) // it is older
		}
		in.pace()
		in.catalog.Apply(changes)
		return
	}
	var now []nacos.Change
	for _, ch := range changes {
		delete(in.held, ch.Key) // it is older
		if in.catalog.closes(ch) {
			now = append(now, ch)
			continue
		}
		h := &heldChange{Change: ch, feed: f, read: ch.Deleted}
		if in.held == nil {
			in.held = map[nacos.Key]*heldChange{}
		}
		in.held[ch.Key] = h
		in.unread = append(in.unread, h)
	}
	in.pace()
	in.readAside()
	if len(now) > 0 {
		in.catalog.Apply(now)
	}
	wanted := in.foresee(changes)
	in.mu.Unlock()
	if len(wanted) > 0 && in.catalog.options.OnWants != nil {
		in.catalog.options.OnWants(wanted, nil)
	}
}

// readAside reads what is held. The caller holds mu.
func (in *intake) readAside() {
	for in.readers < in.catalog.lane.workers && in.readers < len(in.unread) && !in.closed {
		in.readers++
		in.reading.Go(in.readUnread)
	}
}

func (in *intake) readUnread() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.unread) > 0 && !in.closed {
		h := in.unread[0]
		in.unread = in.unread[1:]
		if h.read || in.held[h.Key] != h {
			continue
		}
		in.mu.Unlock()
		r := in.catalog.options.read(h.Change)
		in.mu.Lock()
		h.read, h.reading = true, r
	}
	if in.readers--; in.readers == 0 {
		in.settle()
	}
}

// Progress is told how far the feed is from what there is.
func (f *Feed) Progress(p nacos.Progress) {
	in := f.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	f.progress = p
	if p != nacos.Current {
		in.overdue = false
	}
	in.pace()
	in.settle()
}

// pace bounds how long changes are held: from when a feed that was away is in contact again, whether or not anything has come
// of it by then, or else from the first change that is held. Those of feeds that are away wait on: the rest of their moment is
// not known. The caller holds mu.
func (in *intake) pace() {
	switch {
	case in.due() && !in.closed:
		if in.timer == nil {
			in.began = time.Now()
			in.timer = time.AfterFunc(collectMost-in.waited, in.expire)
		}
	case in.timer != nil: // a feed that comes and goes does not begin it anew
		in.timer.Stop()
		in.timer = nil
		in.waited += time.Since(in.began)
	}
	if len(in.held) == 0 {
		in.waited = 0
	}
}

// due reports whether a feed catches up, or something is held whose feed is not away. The caller holds mu.
func (in *intake) due() bool {
	for _, f := range in.feeds {
		if f.progress == nacos.CatchingUp {
			return true
		}
	}
	for _, h := range in.held {
		if h.feed.progress != nacos.Away {
			return true
		}
	}
	return false
}

// settle applies what is held if all feeds are current and everything has come that it refers to. The caller holds mu.
func (in *intake) settle() {
	if in.least() != nacos.Current || in.readers > 0 {
		return
	}
	in.overdue = false
	if wait := foreseenMost - time.Since(in.asked); wait > 0 && !in.complete() {
		time.AfterFunc(wait, func() {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.settle()
		})
		return
	}
	more := collected{foreseen: in.foreseen}
	for _, h := range in.held {
		more.read = append(more.read, readChange{Change: h.Change, reading: h.reading})
	}
	slices.SortFunc(more.read, func(a, b readChange) int { return compareKeys(a.Key, b.Key) })
	if len(more.read) > 0 {
		in.catalog.applyCollected(more)
	}
	in.clear()
}

// foreseenMost bounds how long held manifests wait for what they refer to when nothing is missing otherwise.
const foreseenMost = 500 * time.Millisecond

// complete tells whether what held manifests refer to is held too, or known. The caller holds mu.
func (in *intake) complete() bool {
	x := in.catalog.Index()
	return !slices.ContainsFunc(in.foreseen, func(k nacos.Key) bool {
		_, held := in.held[k]
		return !held && x.Document(k) == nil
	})
}

// least returns the progress of the feed that is farthest behind. The caller holds mu.
func (in *intake) least() nacos.Progress {
	least := nacos.Current
	for _, f := range in.feeds {
		least = min(least, f.progress)
	}
	return least
}

// expire applies what has waited long enough. What has come of a feed that went away again meanwhile is part of a moment, and
// goes on waiting.
func (in *intake) expire() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.timer == nil {
		return
	}
	changes := make([]nacos.Change, 0, len(in.held))
	for k, h := range in.held {
		if h.feed.progress != nacos.Away {
			changes = append(changes, h.Change)
			delete(in.held, k)
		}
	}
	in.timer, in.waited = nil, 0
	in.overdue = in.least() != nacos.Current
	if len(in.held) == 0 {
		in.catalog.unforesee(in.foreseen)
		in.clear()
	}
	in.catalog.Apply(changes)
	in.pace()
}

// clear forgets what was held. The caller holds mu.
func (in *intake) clear() {
	if in.timer != nil {
		in.timer.Stop()
		in.timer = nil
	}
	in.held, in.unread, in.foreseen, in.waited = nil, nil, nil, 0
}

// waiting tells whether anything is held.
func (in *intake) waiting() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.held) > 0
}

func (in *intake) close() {
	in.mu.Lock()
	in.closed = true
	in.clear()
	in.mu.Unlock()
	in.reading.Wait()
}

// foresee returns what held manifests will want watched, so that it comes before they are applied and with them. The caller
// holds mu.
func (in *intake) foresee(changes []nacos.Change) []nacos.Key {
	var wanted []nacos.Key
	for _, ch := range changes {
		if ch.Key.Group != registry.GroupManifests || ch.Deleted {
			continue
		}
		m, _ := registry.ParseManifest(ch.Key.DataID, ch.Content)
		if m == nil {
			continue
		}
		versions := []string{m.Latest}
		if g := in.catalog.Index().grants(m.Name); g != nil {
			versions = append(versions, g.Versions...)
		}
		for _, version := range versions {
			if version == m.Latest || slices.Contains(m.Versions, version) {
				wanted = append(wanted, versionKeys(m, version)...)
			}
		}
	}
	if len(wanted) > 0 {
		in.foreseen, in.asked = append(in.foreseen, wanted...), time.Now()
	}
	return wanted
}

// grants gives the grants document in force of a service, nil if there is none.
func (x *Index) grants(service string) *registry.Grants {
	for _, ext := range extensions {
		if d := x.Document(nacos.Key{Group: registry.GroupGrants, DataID: service + ext}); d != nil {
			g, _ := d.value.(*registry.Grants)
			return g
		}
	}
	return nil
}

// closes tells whether a change cannot allow anything that is not allowed now, whatever else changes with it. Only access
// documents are looked at, and only what is certain counts.
func (c *Catalog) closes(ch nacos.Change) bool {
	x := c.Index()
	name := trimExtension(ch.Key.DataID)
	if ch.Key.Group != registry.GroupConsumers && ch.Key.Group != registry.GroupGrants {
		return false
	}
	for _, ext := range extensions {
		// Another document of the same name takes its place, or lies behind it.
		if other := (nacos.Key{Group: ch.Key.Group, DataID: name + ext}); other != ch.Key && x.Document(other) != nil {
			return false
		}
	}
	old := x.Document(ch.Key)
	if old == nil {
		return false
	}
	if ch.Key.Group == registry.GroupConsumers {
		if x.disputes { // a key that becomes free would become somebody else's
			return false
		}
		if ch.Deleted {
			return true
		}
		before := x.Consumer(name)
		after, _ := registry.ParseConsumer(ch.Key.DataID, ch.Content)
		return before != nil && after != nil && narrowerConsumer(before, after)
	}
	if ch.Deleted {
		return !c.options.DefaultOpen
	}
	before, _ := old.value.(*registry.Grants)
	after, _ := registry.ParseGrants(ch.Key.DataID, ch.Content)
	if after == nil {
		return true // a rejected one switches nothing off, and grants what was granted
	}
	return before != nil && old.State != Rejected && narrowerGrants(before, after)
}

// narrowerConsumer tells whether after has no key, no place for keys and no group that before does not have.
func narrowerConsumer(before, after *registry.Consumer) bool {
	if after.Enabled && !before.Enabled {
		return false
	}
	for _, k := range after.Keys {
		if !slices.ContainsFunc(before.Keys, func(b registry.Key) bool {
			return b.Digest == k.Digest && (k.Disabled || !b.Disabled) && endsNoLater(k.NotAfter, b.NotAfter)
		}) {
			return false
		}
	}
	return subset(after.Groups, before.Groups) && subset(after.Sources, before.Sources) && len(after.Sources) > 0 == (len(before.Sources) > 0)
}

// narrowerGrants tells whether after grants nothing that before does not.
func narrowerGrants(before, after *registry.Grants) bool {
	if after.Auth != before.Auth && after.Auth != registry.AuthRequired {
		return false
	}
	if !subset(after.Versions, before.Versions) || !narrower(before.Consumers, after.Consumers) {
		return false
	}
	for _, t := range after.Tools {
		var on []registry.Grant
		for _, b := range before.Tools {
			if b.Pattern == t.Pattern {
				on = append(on, b.Grants...)
			}
		}
		if !narrower(append(on, before.Consumers...), t.Grants) {
			return false
		}
	}
	return true
}

func narrower(before, after []registry.Grant) bool {
	for _, g := range after {
		if !slices.ContainsFunc(before, func(b registry.Grant) bool {
			return b.Consumer == g.Consumer && b.Group == g.Group && endsNoLater(g.NotAfter, b.NotAfter)
		}) {
			return false
		}
	}
	return true
}

// endsNoLater compares ends of which the zero one is none.
func endsNoLater(a, b time.Time) bool { return b.IsZero() || !a.IsZero() && !a.After(b) }

func subset[T comparable](a, b []T) bool {
	return !slices.ContainsFunc(a, func(x T) bool { return !slices.Contains(b, x) })
}
