package catalog

import (
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// maxRetired bounds the retired keys that are remembered for each value of a digest's first byte: 65,536 in all.
const maxRetired = 256

// Known reports whether some consumer holds the key with this SHA-256 digest, in whatever state, or once held it. Whoever
// still has such a key in a configuration file goes on sending it, and it must not reach a backend for a credential of the
// caller's own. Of keys that nobody holds any more, the newest 65,536 are remembered.
func (x *Index) Known(digest [32]byte) bool {
	if _, held := x.keys.get(digest); held {
		return true
	}
	_, retired := x.retired.get(digest)
	return retired || x.lostKeys // then it may be anybody's
}

// retire remembers keys that open nothing: those that were removed, and those of rejected documents. A key that somebody
// else holds, or comes to hold, may be among them.
func (b *build) retire(digests ...[32]byte) {
	for _, d := range digests {
		if _, known := b.retired.get(d); known {
			continue
		}
		order := b.w.retired[d[0]]
		if len(order) >= maxRetired {
			b.retired.remove(order[0])
			order = slices.Clone(order[1:])
		}
		b.w.retired[d[0]] = append(order, d)
		b.retired.set(d, struct{}{})
		b.faded[d[0]] = true
	}
}

// retireRemoved remembers the keys of a consumer's old version that its next one, nil if it was deleted, does not have.
func (b *build) retireRemoved(old, next *registry.Consumer) {
	for i := range old.Keys {
		digest := old.Keys[i].Digest
		if next == nil || !slices.ContainsFunc(next.Keys, func(k registry.Key) bool { return k.Digest == digest }) {
			b.retire(digest)
		}
	}
}

// retiredNow returns the retired keys that are to be kept because some were added.
func (b *build) retiredNow() (all []Retired) {
	for first := range b.faded {
		all = append(all, Retired{first, slices.Clone(b.w.retired[first])})
	}
	return all
}
