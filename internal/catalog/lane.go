package catalog

import (
	"runtime"
	"slices"
	"sync"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Reading a document takes time for each of its bytes, some seconds for a megabyte on a busy machine, and who publishes
// services decides how many there are. So the writer reads consumers, grants and what is small itself, and has the rest read
// aside: a revocation never waits for somebody's definitions.

const (
	// readBytes is how much of others' documents the writer reads itself for one Index.
	readBytes = 64 << 10
	// readMost is how many of others' documents, deletions among them, the writer takes itself for one Index.
	readMost = 256
	// applyBytes and applyMost are how much of what was read aside, and how many documents, go into one Index, so that making
	// it stays short; what belongs together may be more.
	applyBytes = 2 << 20
	applyMost  = 1024
	// smallFirst is how many units of small documents may overtake one of large documents.
	smallFirst = 8
)

// lane reads changes aside. What belongs together, a unit, keeps its order and comes out together.
type lane struct {
	read    func(nacos.Change) reading
	workers int
	changed func() // called when something was read; must not wait

	mu           sync.Mutex
	units        map[string]*unit // with changes that were not taken yet
	small, large []*unit          // that wait to be read
	overtaken    int              // small units since the last large one
	working      int
	done         [][]readChange // what was read, by unit
	closed       bool
	idle         *sync.Cond
}

// unit is what belongs together: a version of a service of the Nacos registry is several documents.
type unit struct {
	name    string
	queue   []nacos.Change // to be read
	waiting bool           // in small or large
	reading bool
	unready int                // read, and not taken yet
	drop    map[nacos.Key]bool // being read, while something newer is in force
}

// readChange is a change with what was read from it.
type readChange struct {
	nacos.Change
	reading reading
	unit    *unit
	dropped bool // something newer is in force
}

func newLane(read func(nacos.Change) reading, changed func()) *lane {
	l := &lane{read: read, workers: max(1, runtime.GOMAXPROCS(0)/2), changed: changed, units: map[string]*unit{}}
	l.idle = sync.NewCond(&l.mu)
	return l
}

// unitOf names what a document of one who publishes services belongs together with.
func unitOf(key nacos.Key) string {
	const id = 36 // a UUID begins the data ids of the Nacos registry
	switch key.Group {
	case registry.GroupServices, registry.GroupUpstreams:
		return registry.GroupServices + "/" + trimExtension(key.DataID)
	case registry.GroupManifests, registry.GroupSpecs, registry.GroupTools:
		return registry.GroupManifests + "/" + key.DataID[:min(id, len(key.DataID))]
	}
	return key.Group + "/" + key.DataID
}

// accepts takes those of changes that are to be read aside, and returns the others in their order.
func (l *lane) accepts(changes []nacos.Change) (rest []nacos.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left, most := readBytes, readMost
	for _, ch := range changes {
		if ch.Key.Group == registry.GroupConsumers || ch.Key.Group == registry.GroupGrants {
			rest = append(rest, ch)
			continue
		}
		name := unitOf(ch.Key)
		u := l.units[name]
		if u == nil && len(ch.Content) <= left && most > 0 {
			left -= len(ch.Content)
			most--
			rest = append(rest, ch)
			continue
		}
		if u == nil {
			u = &unit{name: name}
			l.units[name] = u
		}
		u.queue = append(u.queue, ch)
		l.enqueue(u)
	}
	l.dispatch()
	return rest
}

// enqueue has a unit wait to be read, if it does not yet. The lock is held.
func (l *lane) enqueue(u *unit) {
	if u.waiting || u.reading || len(u.queue) == 0 {
		return
	}
	u.waiting = true
	size := 0
	for _, ch := range u.queue {
		size += len(ch.Content)
	}
	if size <= readBytes {
		l.small = append(l.small, u)
	} else {
		l.large = append(l.large, u)
	}
}

// dispatch begins to read what waits. The lock is held.
func (l *lane) dispatch() {
	for l.working < l.workers && len(l.small)+len(l.large) > 0 && !l.closed {
		var u *unit
		if len(l.large) == 0 || len(l.small) > 0 && l.overtaken < smallFirst {
			u, l.small[0] = l.small[0], nil
			l.small = l.small[1:]
			l.overtaken++
		} else {
			u, l.large[0] = l.large[0], nil
			l.large = l.large[1:]
			l.overtaken = 0
		}
		u.waiting, u.reading = false, true
		queue := newest(u.queue)
		u.queue = nil
		l.working++
		go l.work(u, queue)
	}
}

// newest leaves the last change of each document, in their order.
func newest(changes []nacos.Change) []nacos.Change {
	seen := map[nacos.Key]bool{}
	var last []nacos.Change
	for _, ch := range slices.Backward(changes) {
		if !seen[ch.Key] {
			seen[ch.Key] = true
			last = append(last, ch)
		}
	}
	slices.Reverse(last)
	return last
}

func (l *lane) work(u *unit, changes []nacos.Change) {
	all := make([]readChange, len(changes))
	for i, ch := range changes {
		all[i] = readChange{Change: ch, unit: u}
		if !ch.Deleted {
			all[i].reading = l.read(ch)
		}
	}
	defer l.changed()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range all {
		if u.drop[all[i].Key] {
			all[i].dropped = true
		}
	}
	u.drop = nil
	l.done = append(l.done, all)
	l.working--
	u.reading = false
	u.unready++
	l.enqueue(u)
	l.dispatch()
	l.idle.Broadcast()
}

// take returns what was read, at most applyBytes and applyMost or one unit, and whether there is more.
func (l *lane) take() (all []readChange, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := applyBytes
	for len(l.done) > 0 && left > 0 && len(all) < applyMost {
		group := l.done[0]
		l.done[0] = nil
		l.done = l.done[1:]
		for _, c := range group {
			left -= len(c.Content)
		}
		u := group[0].unit
		if u.unready--; u.unready == 0 && !u.reading && len(u.queue) == 0 {
			delete(l.units, u.name)
		}
		all = append(all, slices.DeleteFunc(group, func(c readChange) bool { return c.dropped })...)
	}
	return all, len(l.done) > 0
}

// supersede drops what was accepted of documents of which something newer is applied now.
func (l *lane) supersede(keys map[nacos.Key]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, group := range l.done {
		for i := range group {
			group[i].dropped = group[i].dropped || keys[group[i].Key]
		}
	}
	for _, u := range l.units {
		u.queue = slices.DeleteFunc(u.queue, func(ch nacos.Change) bool { return keys[ch.Key] })
		if u.reading {
			u.drop = keys
		}
	}
}

// busy reports whether something was accepted that was not taken yet.
func (l *lane) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.units) > 0
}

// close begins nothing more and waits for what is being read.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for l.working > 0 {
		l.idle.Wait()
	}
}
