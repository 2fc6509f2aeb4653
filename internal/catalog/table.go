package catalog

import (
	"hash/maphash"
	"iter"
	"maps"
)

// shardCount bounds what one edit copies: the array of shards and one shard of size n/shardCount.
const shardCount = 1024

// table is a persistent map: an edit makes a new one that shares all but the touched shards with the old, so that
// readers of the old one are never disturbed and an edit's cost hardly grows with the number of entries.
type table[K comparable, V any] struct {
	seed   maphash.Seed
	size   int
	shards [shardCount]map[K]V
}

func newTable[K comparable, V any]() *table[K, V] {
	return &table[K, V]{seed: maphash.MakeSeed()}
}

func (t *table[K, V]) shard(k K) int {
	return int(maphash.Comparable(t.seed, k) % shardCount)
}

func (t *table[K, V]) get(k K) (V, bool) {
	v, ok := t.shards[t.shard(k)][k]
	return v, ok
}

// all iterates in no order.
func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, shard := range t.shards {
			for k, v := range shard {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// edit collects changes to a table; the table it began with stays as it is.
type edit[K comparable, V any] struct {
	base  *table[K, V]
	next  *table[K, V] // nil until something changes
	owned map[int]bool // shards already copied
}

func (t *table[K, V]) edit() *edit[K, V] { return &edit[K, V]{base: t} }

func (e *edit[K, V]) current() *table[K, V] {
	if e.next != nil {
		return e.next
	}
	return e.base
}

func (e *edit[K, V]) get(k K) (V, bool) { return e.current().get(k) }

func (e *edit[K, V]) own(k K) map[K]V {
	if e.next == nil {
		copied := *e.base
		e.next = &copied
		e.owned = make(map[int]bool)
	}
	i := e.next.shard(k)
	if !e.owned[i] {
		e.owned[i] = true
		shard := maps.Clone(e.next.shards[i])
		if shard == nil {
			shard = make(map[K]V, 1)
		}
		e.next.shards[i] = shard
	}
	return e.next.shards[i]
}

func (e *edit[K, V]) set(k K, v V) {
	shard := e.own(k)
	before := len(shard)
	shard[k] = v
	e.next.size += len(shard) - before
}

func (e *edit[K, V]) remove(k K) {
	if _, ok := e.get(k); !ok {
		return
	}
	delete(e.own(k), k)
	e.next.size--
}
