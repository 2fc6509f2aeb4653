package catalog

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// coalesce is how long the writer collects changes before it builds an Index: long enough that the documents of one
// publish are applied together, short beside the second within which an edit must hold.
const coalesce = 50 * time.Millisecond

// writer is the one goroutine that builds Indexes. Its fields belong to it alone.
type writer struct {
	options       *Options
	catalog       *Catalog
	manifests     map[string][]nacos.Key     // by service name: the manifests that carry it
	sources       map[registry.KeySource]int // custom places for keys, counted over consumers
	disputed      map[nacos.Key]bool         // consumer documents rejected for a key that another one holds
	retired       [256][][32]byte            // what the Index has of them, oldest first, by first byte
	holders       map[string]holder          // by name: the entry of the registry that has it
	keptHolders   map[string]string          // what the store keeps of them: those of names that several carry
	lostManifests map[nacos.Key]bool
	guessed       map[string]bool // names that several carry, nobody knows since when
	past          *past           // nil: the source remembers nothing
	asked         map[question]asked
	claims        map[question]answer
	badGrants     map[string]bool // services whose newest grants document is rejected
	wants         wants
	synced        bool             // the source has been read whole
	unsure        bool             // there may have been documents of which nothing is known
	lostWhole     map[heldKey]bool // versions that were served in place of newer documents, and cannot be read
	lostConsumers map[nacos.Key]bool
	holds         map[heldKey]hold
	collected     collected                   // of what was taken from the queue last
	whole         map[string]map[string]Whole // by service and version: what the store keeps as a whole
	upgrades      map[place]*upgrade
}

// build is the making of one Index from the one before.
type build struct {
	w           *writer
	docs        *edit[nacos.Key, *Document]
	services    *edit[string, *Service]
	consumers   *edit[string, *registry.Consumer]
	keys        *edit[[32]byte, Holder]
	retired     *edit[[32]byte, struct{}]
	faded       map[byte]bool   // first bytes of newly retired keys
	dirty       map[string]bool // services to put together anew
	touched     map[string]bool // services that changed
	people      map[string]bool // consumers that changed
	changed     []*Document     // to be stored
	removed     []nacos.Key
	holders     map[string]string // by name, to be stored; "": to be forgotten
	whole       []Whole           // to be stored together
	notWhole    []WholeKey        // not to be stored together any more
	credentials map[string]bool   // credential documents that changed, by name
	retry       bool              // a key became free: look again at disputed consumers
	loading     bool              // the changes come from the store
	now         time.Time
	ripe        map[heldKey]bool // versions whose hold has ended
	placed      map[place]bool   // places that services put together anew have
	begun       []*upgrade       // to be compiled once the Index is in force
	ready       []*upgrade       // that take their places in this Index
	fresh       []*Variant       // to be validated
	noted       bool             // something was noted on a document
}

func (w *writer) begin(x *Index, now time.Time) *build {
	return &build{
		w: w, docs: x.docs.edit(), services: x.services.edit(), consumers: x.consumers.edit(), keys: x.keys.edit(),
		retired: x.retired.edit(), faded: map[byte]bool{},
		dirty: map[string]bool{}, touched: map[string]bool{}, people: map[string]bool{},
		credentials: map[string]bool{}, now: now, ripe: map[heldKey]bool{}, placed: map[place]bool{},
	}
}

// run applies what is queued, and what was held back long enough, until ctx ends.
func (w *writer) run(ctx context.Context) {
	for {
		woken := false
		select {
		case <-w.catalog.wake: // before all else: a step takes what was read aside too, but not the other way round
			woken = true
		default:
		}
		if !woken {
			var due <-chan time.Time
			if at := earlier(earlier(w.nextDue(), w.nextStep()), w.nextQuestion()); !at.IsZero() {
				due = time.After(time.Until(at))
			}
			select {
			case <-ctx.Done():
				return
			case <-w.catalog.compiledOne: // what is queued goes on being collected
				w.apply(nil, nil, nil, false)
				w.catalog.unready.Store(w.unready())
				continue
			case <-w.catalog.wake:
				woken = true
			case <-w.catalog.readAside: // likewise
				w.step(nil, nil, w.catalog.isSynced())
				continue
			case <-due:
			}
		}
		if woken {
			select {
			case <-ctx.Done():
				return
			case <-time.After(coalesce):
			}
		}
		w.step(w.catalog.take())
	}
}

// step makes an Index of what was taken from the queue, or sends it to be read aside, and of what was read there.
func (w *writer) step(changes []nacos.Change, checked []checkedVariant, synced bool) {
	c := w.catalog
	// Before there is something to be served all is needed at once. The source's first word, too, is not said before all that
	// came with it is in force.
	if c.Index().Synced() {
		changes = c.lane.accepts(changes)
	}
	read, more := c.takeRead()
	if !w.synced && c.lane.busy() {
		synced = false
	}
	if more {
		signal(c.readAside)
	}
	w.apply(append(w.collected.read, read...), changes, checked, synced)
	w.collected = collected{}
	c.unready.Store(w.unready())
	if c.takeKeepAll() && w.options.OnKeep != nil {
		w.options.OnKeep(w.everything())
	}
	c.built()
}

// earlier returns the earlier of two times, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// load applies what a store kept: first what was good, then what was served as a whole although there was newer, and then
// what was refused.
func (w *writer) load(initial []Kept) {
	b := w.begin(w.catalog.Index(), time.Now())
	b.loading = true
	readable := false
	change := func(refused bool) {
		some := slices.DeleteFunc(slices.Clone(initial), func(k Kept) bool { return k.Whole != nil || k.Refused != refused || k.Lost || k.Content == nil })
		readable = readable || len(some) > 0
		changes := make([]nacos.Change, len(some))
		for i, k := range some {
			changes[i] = k.Change
		}
		for i, r := range b.readAll(changes) {
			r.barred = some[i].Barred
			b.change(changes[i], r, some[i].Since)
		}
		for _, k := range initial {
			switch {
			case k.Whole != nil || k.Refused != refused || k.Content != nil:
			case k.Lost:
				b.lose(k.Key, refused)
			default:
				b.refuseUnkept(k)
			}
		}
	}
	change(false)
	b.restore(initial)
	for name := range b.dirty {
		b.service(name)
	}
	clear(b.dirty)
	change(true)
	b.finish(nil, readable)
}

// apply makes and publishes the Index that holds these changes, of which some were read before.
func (w *writer) apply(read []readChange, changes []nacos.Change, checked []checkedVariant, synced bool) {
	old := w.catalog.Index()
	b := w.begin(old, time.Now())
	b.joinFresh(len(read), func(i int) (nacos.Change, *content) { return read[i].Change, &read[i].reading.content })
	for _, r := range read {
		b.change(r.Change, r.reading, b.now)
	}
	for i, r := range b.readAll(changes) {
		b.change(changes[i], r, b.now)
	}
	b.release(synced)
	b.learn()
	b.followUpgrades()
	first := synced && !w.synced
	if first {
		b.trust()
	}
	if len(read) == 0 && len(changes) == 0 && len(checked) == 0 && len(b.dirty) == 0 && !b.noted && !first && (!synced || old.synced) {
		return
	}
	b.finish(checked, synced)
}

// readAll reads changes; what comes with documents that were not there before is kept together.
func (b *build) readAll(changes []nacos.Change) []reading {
	all := b.w.options.readAll(changes)
	b.joinFresh(len(all), func(i int) (nacos.Change, *content) { return changes[i], &all[i].content })
	return all
}

// joinFresh has the contents of documents that were not there before kept together.
func (b *build) joinFresh(n int, at func(int) (nacos.Change, *content)) {
	var fresh []*content
	for i := range n {
		ch, c := at(i)
		if old, _ := b.docs.get(ch.Key); old == nil && !ch.Deleted {
			fresh = append(fresh, c)
		}
	}
	join(fresh)
}

// finish puts together what the changes touch and publishes the Index.
func (b *build) finish(checked []checkedVariant, synced bool) {
	w, old := b.w, b.w.catalog.Index()
	if b.retry {
		b.retryDisputed(b.now)
	}
	for name := range b.dirty {
		b.service(name)
		b.abandonRest(name)
	}
	for _, c := range checked {
		b.note(c)
	}
	next := &Index{
		docs: b.docs.current(), services: b.services.current(), consumers: b.consumers.current(), keys: b.keys.current(), retired: b.retired.current(),
		badGrants: len(w.badGrants), guessed: slices.Sorted(maps.Keys(w.guessed)),
		lostKeys: len(w.lostConsumers) > 0 || w.unsure,
		sources:  slices.Collect(maps.Keys(w.sources)), disputes: len(w.disputed) > 0, synced: old.synced || synced, serial: old.serial + 1,
	}
	b.fresh = b.freshVariants(old)
	w.catalog.publish(next, b)
}

// freshVariants are those in touched services that the old Index did not have, but for those that were validated while they
// waited for their places.
func (b *build) freshVariants(old *Index) []*Variant {
	var fresh []*Variant
	for name := range b.touched {
		s, ok := b.services.get(name)
		if !ok {
			continue
		}
		before := old.Service(name)
		for _, v := range s.variants() {
			waited := slices.ContainsFunc(b.ready, func(u *upgrade) bool { return u.next == v })
			if !waited && !before.has(v.root()) {
				fresh = append(fresh, v)
			}
		}
	}
	return fresh
}

// variants returns all variants of a service, which may be nil.
func (s *Service) variants() []*Variant {
	if s == nil {
		return nil
	}
	var all []*Variant
	if s.Latest != nil {
		all = append(all, s.Latest)
	}
	for _, v := range s.Others {
		all = append(all, v)
	}
	return all
}

// change applies one change; r is what was read from it.
func (b *build) change(ch nacos.Change, r reading, now time.Time) {
	old, _ := b.docs.get(ch.Key)
	delete(b.w.lostConsumers, ch.Key)
	delete(b.w.lostManifests, ch.Key)
	if ch.Deleted {
		if old == nil {
			return
		}
		b.docs.remove(ch.Key)
		b.removed = append(b.removed, ch.Key)
		b.forget(old)
		b.follow(ch.Key, nil)
		return
	}
	if sameContent(old, ch) {
		return
	}
	doc := r.document(ch, old, now)
	b.docs.set(ch.Key, doc)
	b.changed = append(b.changed, doc)
	b.retire(r.refused...)
	if doc.value == nil || old == nil || doc.value != old.value {
		b.forget(old)
	}
	b.follow(ch.Key, doc)
	b.w.options.logRejected(doc)
}

// forget undoes what an earlier version of a document put into the writer's own maps.
func (b *build) forget(old *Document) {
	if old == nil {
		return
	}
	if m, ok := old.value.(*registry.Manifest); ok {
		if now, _ := b.docs.get(old.Key); now == nil || !now.lost && !carries(now, m.Name) {
			b.giveUp(m)
		}
		left := slices.DeleteFunc(b.w.manifests[m.Name], func(k nacos.Key) bool { return k == old.Key })
		if b.w.manifests[m.Name] = left; len(left) == 0 {
			delete(b.w.manifests, m.Name)
			b.w.wants.set(m.Name, nil)
		}
		b.dirty[m.Name] = true
	}
}

// follow marks what a document's new version (nil: deleted) changes.
func (b *build) follow(key nacos.Key, doc *Document) {
	switch key.Group {
	case registry.GroupServices, registry.GroupUpstreams, registry.GroupGrants:
		if key.Group == registry.GroupGrants {
			b.grantsChanged(key, doc)
		}
		b.dirty[trimExtension(key.DataID)] = true
	case registry.GroupManifests:
		if doc == nil || doc.value == nil {
			return
		}
		m := doc.value.(*registry.Manifest)
		if carry := b.w.manifests[m.Name]; !slices.Contains(carry, key) {
			b.w.manifests[m.Name] = append(carry, key)
		}
		b.dirty[m.Name] = true
	case registry.GroupSpecs, registry.GroupTools:
		for service := range b.w.wants.owners(key) {
			b.dirty[service] = true
		}
	case registry.GroupConsumers:
		b.consumer(key, doc)
	default:
		b.credentials[trimExtension(key.DataID)] = true
	}
}

func trimExtension(dataID string) string {
	for _, ext := range extensions {
		if name, ok := strings.CutSuffix(dataID, ext); ok {
			return name
		}
	}
	return dataID
}

// origin is who notes something on a document: each of them replaces what it noted before.
type origin int

const (
	validating origin = iota
	compiling
	origins
)

// notes are what was noted on a document.
type notes [origins][]registry.Rejection

// note attaches to its documents what validating a variant found.
func (b *build) note(c checkedVariant) { b.noteOn(c.variant, validating, c.rejections) }

// noteOn attaches what was found wrong with a variant to those of its documents that it names, and the rest to the one that
// its tools are written in.
func (b *build) noteOn(v *Variant, by origin, found []registry.Rejection) {
	documents := v.noteworthy()
	of := make([][]registry.Rejection, len(documents))
	for _, r := range found {
		i := max(0, slices.IndexFunc(documents, func(d *Document) bool { return d.Key == nacos.Key{Group: r.Group, DataID: r.DataID} }))
		if r.Group == "" {
			r.Group, r.DataID = documents[i].Key.Group, documents[i].Key.DataID
		}
		of[i] = append(of[i], r)
	}
	for i, doc := range documents {
		b.annotate(doc, by, of[i])
	}
}

// annotate attaches what was found to a document, unless that has changed since.
func (b *build) annotate(doc *Document, by origin, found []registry.Rejection) {
	current, ok := b.docs.get(doc.Key)
	if !ok || !same(current, doc) || current.mark != nil { // marked, it says already what is wrong
		return
	}
	var notes notes
	if current.notes != nil {
		notes = *current.notes
	}
	if len(found) == 0 && len(notes[by]) == 0 {
		return
	}
	notes[by] = found
	b.noted = true
	plain := current.plain()
	noted := *plain
	noted.Rejections = slices.Clone(plain.Rejections)
	said := make(map[registry.Rejection]bool, len(noted.Rejections))
	for _, r := range noted.Rejections {
		said[r] = true
	}
	for _, list := range notes {
		for _, r := range list {
			if !said[r] {
				said[r] = true
				noted.Rejections = append(noted.Rejections, r)
			}
		}
	}
	if len(noted.Rejections) == len(plain.Rejections) {
		b.docs.set(doc.Key, plain)
		return
	}
	if registry.Rejects(noted.Rejections) {
		noted.State = Rejected
	}
	// The variant goes on with the record that it was made of; only readers of the document see the new one.
	noted.noted, noted.notes = plain, &notes
	b.docs.set(doc.Key, &noted)
	b.w.options.logRejected(&noted)
}

// carries reports whether a manifest is in force under a name.
func carries(manifest *Document, name string) bool {
	m, _ := manifest.value.(*registry.Manifest)
	return m != nil && m.Name == name
}

func (b *build) grantsChanged(key nacos.Key, doc *Document) {
	name := trimExtension(key.DataID)
	if counts := b.named(registry.GroupGrants, name); counts != nil && counts.State == Rejected && !counts.lost {
		b.w.badGrants[name] = true
	} else {
		delete(b.w.badGrants, name)
	}
	b.askForGood(doc)
}
