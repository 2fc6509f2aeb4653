package catalog

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// consumer puts the consumer of a document that changed together anew (doc is nil: it was deleted). Of several documents of one
// name only the first in the order of extensions counts, be it one of which nothing is in force.
func (b *build) consumer(key nacos.Key, doc *Document) {
	name := trimExtension(key.DataID)
	old, _ := b.consumers.get(name)
	if doc == nil || doc.disputed == nil {
		delete(b.w.disputed, key)
	}
	current := b.named(registry.GroupConsumers, name)
	if current == nil || current.value == nil {
		if old != nil {
			b.dropConsumer(old)
			b.retireRemoved(old, nil)
		}
		return
	}
	next := current.value.(*registry.Consumer)
	if current.State == Rejected && current.switches != nil {
		next = next.Without(current.switches.Off != "", current.switches.Tools)
	}
	if next == old {
		return
	}
	claimed, lost := registry.ClaimKeys(current.Key.DataID, next, b.holderBeside(current))
	if len(lost) > 0 && current.disputed == nil {
		b.dispute(current, claimed, lost)
	}
	next = claimed
	if old != nil {
		b.dropConsumer(old)
		b.retireRemoved(old, next)
	}
	b.consumers.set(name, next)
	b.people[name] = true
	for i := range next.Keys {
		b.keys.set(next.Keys[i].Digest, Holder{Consumer: next, Key: &next.Keys[i]})
	}
	for _, s := range next.Sources {
		b.w.sources[s]++
	}
}

// holderBeside returns who holds a key that doc claims. Those that another one held when doc was kept have a holder until the
// source has been read: of that one nothing may be left in the store.
func (b *build) holderBeside(doc *Document) func(digest [32]byte) string {
	if len(doc.barred) == 0 || b.w.synced {
		return b.holder
	}
	barred := map[[32]byte]bool{}
	for _, k := range doc.value.(*registry.Consumer).Keys {
		barred[k.Digest] = slices.Contains(doc.barred, k.ID)
	}
	return func(digest [32]byte) string {
		if barred[digest] {
			return "?"
		}
		return b.holder(digest)
	}
}

func (b *build) dropConsumer(old *registry.Consumer) {
	b.consumers.remove(old.Name)
	b.people[old.Name] = true
	for i := range old.Keys {
		b.keys.remove(old.Keys[i].Digest)
	}
	for _, s := range old.Sources {
		if b.w.sources[s]--; b.w.sources[s] == 0 {
			delete(b.w.sources, s)
		}
	}
	b.retry = b.retry || len(b.w.disputed) > 0
}

// holder names who holds a key, "" for nobody.
func (b *build) holder(digest [32]byte) string {
	if h, ok := b.keys.get(digest); ok {
		return h.Consumer.Name
	}
	return ""
}

// dispute marks a consumer document some of whose keys belong to somebody else. It is in force without them. For the next
// start it is kept as refused, with what it must do without: the one who came first must be the first then too.
func (b *build) dispute(doc *Document, claimed *registry.Consumer, lost []registry.Rejection) {
	b.w.disputed[doc.Key] = true
	marked := *doc
	marked.State = Rejected
	marked.Rejections = append(slices.Clone(doc.Rejections), lost...)
	marked.value = claimed
	marked.disputed = &nacos.Change{Key: doc.Key, Content: doc.good.open(), MD5: doc.MD5}
	kept := claimed.Keys
	marked.barred = nil
	for _, k := range doc.value.(*registry.Consumer).Keys {
		if !slices.ContainsFunc(kept, func(have registry.Key) bool { return have.ID == k.ID }) {
			marked.barred = append(marked.barred, k.ID)
		}
	}
	b.changed = append(slices.DeleteFunc(b.changed, func(d *Document) bool { return d == doc }), &marked)
	b.docs.set(doc.Key, &marked)
	b.w.options.logRejected(&marked)
}

// retryDisputed reads rejected newcomers again after a key became free.
func (b *build) retryDisputed(now time.Time) {
	for _, key := range slices.SortedFunc(maps.Keys(b.w.disputed), compareKeys) {
		doc, ok := b.docs.get(key)
		if !ok || doc.disputed == nil {
			delete(b.w.disputed, key)
			continue
		}
		again := b.w.options.read(*doc.disputed).document(*doc.disputed, nil, now)
		again.barred = doc.barred
		b.docs.set(key, again)
		b.changed = append(b.changed, again)
		b.consumer(key, again)
	}
}

func compareKeys(a, b nacos.Key) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.DataID, b.DataID))
}
