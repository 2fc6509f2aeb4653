package catalog

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// consumer applies a consumer document's new version (nil: deleted).
func (b *build) consumer(key nacos.Key, doc *Document) {
	name := trimExtension(key.DataID)
	old, _ := b.consumers.get(name)
	if doc == nil || doc.value == nil {
		delete(b.w.disputed, key)
		if doc == nil && old != nil && b.named(registry.GroupConsumers, name) == nil {
			b.dropConsumer(old)
			b.retireRemoved(old, nil)
		}
		return
	}
	next := doc.value.(*registry.Consumer)
	if next == old || doc.disputed != nil {
		return
	}
	claimed, lost := registry.ClaimKeys(key.DataID, next, b.holder)
	if len(lost) > 0 {
		b.dispute(doc, claimed, lost)
		next = claimed
	} else {
		delete(b.w.disputed, key)
	}
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

// dispute marks a consumer document some of whose keys belong to somebody else. It is in force without them, and not
// kept for the next start: the one who came first must be the first then too.
func (b *build) dispute(doc *Document, claimed *registry.Consumer, lost []registry.Rejection) {
	b.w.disputed[doc.Key] = true
	marked := *doc
	marked.State = Rejected
	marked.Rejections = append(slices.Clone(doc.Rejections), lost...)
	marked.value = claimed
	marked.disputed = &nacos.Change{Key: doc.Key, Content: doc.good.open(), MD5: doc.MD5}
	b.changed = slices.DeleteFunc(b.changed, func(d *Document) bool { return d == doc })
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
		b.docs.set(key, again)
		b.consumer(key, again)
		b.changed = append(b.changed, again)
	}
}

func compareKeys(a, b nacos.Key) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.DataID, b.DataID))
}
