package catalog

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
)

// A variant that calls are using is replaced only when the next one is ready for them. Until then, and for as long as the
// next one fails or does not come to its end, it goes on being served: with the grants, the consumers and everything else
// as they are then, since no Index waits for it, and without the tools that the next one does not have.

// slowAfter is the time after which the tools that an upgrade takes away are off, ready or not: with what comes before it
// within the second that is promised, and long enough for most edits to be taken whole.
const slowAfter = 300 * time.Millisecond

// An upgrade whose backend has no usable instance yet waits for one, as long as the version before has: for instancesMost at
// most, which is longer than Nacos takes to tell of one after a connection broke. It is looked at every instancesStep, and not
// told of before instancesUsual.
const (
	instancesMost  = 15 * time.Second
	instancesStep  = 100 * time.Millisecond
	instancesUsual = time.Second
)

// place is where a variant stands in a Service: as the latest ("") or as another version.
type place struct{ service, version string }

// upgrade is a variant that is to take the place of one in use.
type upgrade struct {
	next  *Variant
	begun time.Time
	k     *compilation // nil: not begun, or failed
	slow  bool         // begun before slowAfter
	late  bool         // known to take long
	lacks bool         // it is compiled, and has no instance for longer than usual
	look  time.Time    // when to look for instances again; zero: it does not wait for any
	err   error        // of the last try that has ended; nil: none has
	retry time.Time    // when to try again after err: a file it needs may be there by then
}

// inPlace returns the variant to have at a place now: next, or the one that is used there while next is being compiled. behind
// says why it is not next, if it will not be soon.
func (b *build) inPlace(at place, next *Variant, old *Service) (v *Variant, behind string) {
	b.placed[at] = true
	w, u, before := b.w, b.w.upgrades[at], old.at(at.version)
	used := u != nil || before != nil && (w.catalog.compiled.Contains(before.root()) || w.isKept(heldKey{at.service, before.Version}))
	switch {
	case !used, next.root() == before.root(), !next.replaces(before), w.catalog.compiled.Contains(next.root()):
		b.abandon(at)
		return next, ""
	case u == nil || u.next.root() != next.root():
		// What the one before it has taken away stays away. What was collected with access documents, which may grant what is
		// taken away, and what a store kept, which was decided before, is taken away at once.
		slow := u != nil && u.slow || b.w.collected.grants() || b.loading
		b.abandon(at)
		u = &upgrade{next: next, begun: b.now, slow: slow}
		w.upgrades[at] = u
		b.begun = append(b.begun, u)
	case u.k != nil && w.catalog.finished(u.k) == nil && !b.lacksInstances(u, before):
		delete(w.upgrades, at)
		b.ready = append(b.ready, u)
		b.noteOn(next, compiling, nil)
		return next, ""
	}
	u.next = next // what newer documents switch off may differ
	return b.keep(u.meanwhile(before), old), u.behind()
}

// meanwhile returns before as it goes on until the upgrade is ready.
func (u *upgrade) meanwhile(before *Variant) *Variant {
	v := *before
	v.off = slices.Clone(u.next.off)
	if t := u.next.tools; t != nil && !same(t, before.tools) && t.switches != nil {
		v.off = append(v.off, t.switches.Tools...)
	}
	v.only = nil
	if left := u.next.callable(); u.slow && left != nil {
		if !v.Kind.Converted() { // which tools it has only its backend knows
			v.only = left
		}
		for _, name := range v.allTools() {
			if _, stays := slices.BinarySearch(left, name); !stays {
				v.off = append(v.off, name)
			}
		}
	}
	slices.Sort(v.off)
	v.off = slices.Compact(v.off)
	return &v
}

// callable returns the only tools of v that can be called, sorted; nil if its documents do not say.
func (v *Variant) callable() []string {
	if !v.Kind.Converted() && v.own == nil {
		return nil // those of the registry name tools without taking the others away
	}
	tools := v.Tools()
	if len(tools) == 0 {
		return nil
	}
	slices.Sort(tools)
	return tools
}

// behind says why an upgrade is not ready; "" as long as it may be soon.
func (u *upgrade) behind() string {
	switch {
	case u.err != nil:
		return "its newest documents cannot be compiled: " + u.err.Error()
	case u.lacks:
		return "no usable instance of its newest version's backend is known yet"
	case u.late:
		return "its newest documents are still being compiled"
	}
	return ""
}

// lacksInstances reports whether an upgrade that is compiled waits for instances of its backend, while before has some.
func (b *build) lacksInstances(u *upgrade, before *Variant) bool {
	u.look = time.Time{}
	if u.k.x.Backend == nil || u.k.x.Backend.Usable() || b.now.Sub(u.begun) >= instancesMost {
		return false
	}
	if x, ok := b.w.catalog.compiled.Peek(before.root()); !ok || x.Backend == nil || !x.Backend.Usable() {
		return false
	}
	if u.slow && len(before.allTools()) > 0 && len(u.meanwhile(before).Tools()) == 0 {
		return false // nothing of it is left to go on with
	}
	u.look, u.lacks = b.now.Add(instancesStep), b.now.Sub(u.begun) >= instancesUsual
	return true
}

// passing reports whether v is served in place of newer documents that are expected to be compiled soon.
func (b *build) passing(v *Variant) bool {
	for _, at := range []place{{v.Service, ""}, {v.Service, v.Version}} {
		if u := b.w.upgrades[at]; u != nil && u.next != v && u.behind() == "" {
			return true
		}
	}
	return false
}

// replaces reports whether v is a later state of what defined before. If something else defines the service now, before has
// no business any more.
func (v *Variant) replaces(before *Variant) bool {
	return before != nil && (v.own != nil && before.own != nil && v.own.Key == before.own.Key || v.sameEntry(before))
}

// upgrading returns the variants that are to take places of the service and version of v.
func (w *writer) upgrading(v *Variant) (all []*Variant) {
	for _, at := range []place{{v.Service, ""}, {v.Service, v.Version}} {
		if u := w.upgrades[at]; u != nil {
			all = append(all, u.next)
		}
	}
	return all
}

// abandon ends the upgrade of a place, if there is one.
func (b *build) abandon(at place) {
	if u := b.w.upgrades[at]; u != nil {
		delete(b.w.upgrades, at)
		b.w.catalog.disown(u.k)
		b.noteOn(u.next, compiling, nil)
	}
}

// abandonRest ends the upgrades of places that a service has no longer.
func (b *build) abandonRest(service string) {
	for at := range b.w.upgrades {
		if at.service == service && !b.placed[at] {
			b.abandon(at)
		}
	}
}

// followUpgrades finds out what became of upgrades.
func (b *build) followUpgrades() {
	for at, u := range b.w.upgrades {
		if u.k == nil && !b.now.Before(u.retry) {
			b.w.compile(u)
		}
		if !u.slow && !b.now.Before(u.begun.Add(slowAfter)) {
			u.slow = true
			b.dirty[at.service] = true
		}
		behind := u.behind()
		switch {
		case u.k == nil:
			b.failed(u)
		case u.k.over():
			switch err := b.w.catalog.finished(u.k); {
			case err == nil:
				if before := b.w.catalog.Index().Service(at.service).at(at.version); before == nil || !b.lacksInstances(u, before) {
					b.dirty[at.service] = true
				}
			case errors.Is(err, errStale):
				b.w.catalog.disown(u.k)
				b.w.compile(u)
			default:
				b.w.catalog.disown(u.k)
				u.k, u.err, u.retry = nil, err, b.now.Add(b.w.options.patience())
				b.failed(u)
			}
		case !u.late && u.k.task.isLate():
			u.late = true
			b.noteOn(u.next, compiling, []registry.Rejection{{Message: tooLong + "; the version before is served meanwhile"}})
		}
		if u.behind() != behind {
			b.dirty[at.service] = true
		}
	}
}

// compile begins the compilation of an upgrade.
func (w *writer) compile(u *upgrade) {
	u.late, u.retry = false, time.Time{}
	var err error
	if u.k, err = w.catalog.join(u.next.root()); err != nil {
		u.err, u.retry = err, time.Now().Add(w.options.patience())
		signal(w.catalog.compiledOne) // to be noted
	}
}

// failed notes why an upgrade has to wait.
func (b *build) failed(u *upgrade) {
	rejection := registry.Rejection{Message: fmt.Sprintf("it cannot be served: %s; the version before is", u.err)}
	if fault, ok := errors.AsType[*upstream.TLSFault](u.err); ok {
		rejection = u.next.tlsRejection(fault)
	}
	if fault, ok := errors.AsType[registry.Rejection](u.err); ok {
		rejection = fault
	}
	b.noteOn(u.next, compiling, []registry.Rejection{rejection})
}

// nextStep returns when an upgrade is to be looked at next, if nothing happens before; zero if there is none.
func (w *writer) nextStep() time.Time {
	var first time.Time
	for _, u := range w.upgrades {
		first = earlier(earlier(first, u.retry), u.look)
		if !u.slow {
			first = earlier(first, u.begun.Add(slowAfter))
		}
	}
	return first
}

// unready counts the upgrades that will be done soon, as far as one can tell.
func (w *writer) unready() (n int64) {
	for _, u := range w.upgrades {
		if u.k != nil && !u.late && !u.lacks {
			n++
		}
	}
	return n
}

var errStale = errors.New("what it was made of has changed meanwhile")

// finished returns nil once k has brought forth something to serve.
func (c *Catalog) finished(k *compilation) error {
	if !k.over() {
		return ErrCompiling
	}
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if k.err == nil && k.stale {
		return errStale
	}
	if k.err == nil && k.x.fault != nil {
		return k.x.fault
	}
	return k.err
}

// disown is for who joined k, which may be nil, and wants nothing more of it.
func (c *Catalog) disown(k *compilation) {
	if k != nil && c.leave(k) && k.x != nil {
		k.x.release()
	}
}

// over reports whether a compilation has come to its end.
func (k *compilation) over() bool {
	select {
	case <-k.task.done:
		return true
	default:
		return false
	}
}
