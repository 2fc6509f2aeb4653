package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Anybody who may write into the registry may write an entry with a name that another one carries, and whoever has the name has
// its callers. So a name is its first bearer's: the grants document may say which entry that is; else it is the one that this
// process, or the one before it, knew first; and of those that it learnt of together, the one that has carried it longest, by
// what the source remembers.

// holder is the entry of the registry that has a name.
type holder struct {
	id    string
	since time.Time // when this process gave it the name
	firm  bool      // it had the name in an earlier process, or is known to be the first
}

// firmAfter is how long an entry has a name until it is its own whatever another process saw: two that were written about at
// once may reach two processes in either order.
const firmAfter = 30 * time.Second

// bearer is which entry has a name, and why.
type bearer struct {
	manifest *Document // nil: none, or it is not known
	why      string    // why none has it though some carry it
	others   string    // why the others do not, in words for /status
	guessed  bool      // nobody knows who was first
}

// pinned returns the id of the only entry of the registry that may have a name; "" if the grants do not say.
func (b *build) pinned(name string) string {
	if doc := b.named(registry.GroupGrants, name); doc != nil {
		if g, _ := doc.value.(*registry.Grants); g != nil {
			return g.RegistryID
		}
	}
	return ""
}

// bearer decides which entry of the registry has a name.
func (b *build) bearer(name string) bearer {
	w := b.w
	all := b.candidates(name)
	if pin := b.pinned(name); pin != "" {
		for _, d := range all {
			if idOf(d) == pin {
				return bearer{manifest: d, others: "which " + registry.GroupGrants + "/" + name + ".yaml pins"}
			}
		}
		return bearer{why: fmt.Sprintf("%s/%s.yaml pins the registry's entry %s, and there is none of that id and name", registry.GroupGrants, name, pin)}
	}
	h, held := w.holders[name]
	switch {
	case len(all) == 0:
		return bearer{}
	case !held && len(w.lostManifests) > 0 && !w.synced && !b.loading:
		return bearer{why: "the name may be that of an entry which cannot be read from the store, and the source has not answered yet"}
	case held && !slices.ContainsFunc(all, func(d *Document) bool { return idOf(d) == h.id }):
		if b.w.lostManifests[nacos.Key{Group: registry.GroupManifests, DataID: registry.ManifestDataID(h.id)}] {
			return bearer{why: "the entry that has the name cannot be read from the store, and the source has not answered yet"}
		}
		held = false
	}
	if len(all) == 1 {
		if !held {
			b.hold(name, holder{id: idOf(all[0]), since: b.now, firm: b.loading})
		}
		b.keepHolder(name, "")
		return bearer{manifest: all[0]}
	}
	if held && (h.firm || w.synced && b.now.Sub(h.since) > firmAfter) {
		h.firm = true
		b.hold(name, h)
		b.keepHolder(name, h.id)
		return bearer{manifest: b.manifest(h.id), others: "which had it first"}
	}
	return b.firstOf(name, all, h, held)
}

// firstOf decides between entries of which this process does not know who was first.
func (b *build) firstOf(name string, all []*Document, h holder, held bool) bearer {
	var claims []answer
	waiting := false
	var failed error
	for _, d := range all {
		q := question{key: d.Key, md5: d.MD5, name: name}
		b.ask(q)
		switch a, known := b.w.claims[q]; {
		case known && a.err == nil:
			claims = append(claims, a)
		case known:
			failed = cmp.Or(failed, a.err)
		default:
			waiting = b.w.past != nil
		}
	}
	if len(claims) == len(all) {
		slices.SortFunc(claims, func(x, y answer) int {
			switch {
			case x.claim.before(y.claim):
				return -1
			case y.claim.before(x.claim):
				return 1
			}
			return 0
		})
		if claims[0].claim.before(claims[1].claim) {
			first, _ := b.docs.get(claims[0].key)
			// Before the source has been read whole, there may be another one yet.
			b.hold(name, holder{id: idOf(first), since: b.now, firm: b.w.synced})
			if b.w.synced {
				b.keepHolder(name, idOf(first))
			}
			return bearer{manifest: plain(first), others: "which had it first"}
		}
	}
	if held {
		return bearer{manifest: b.manifest(h.id), others: "which had it first, as far as this replica knows", guessed: !waiting || failed != nil}
	}
	if waiting && failed == nil {
		return bearer{why: "several entries of the registry carry the name, and the source has not said yet which had it first"}
	}
	smallest := slices.MinFunc(all, func(x, y *Document) int { return cmp.Compare(idOf(x), idOf(y)) })
	return bearer{manifest: smallest, others: "whose id is smaller: nobody knows which had it first", guessed: true}
}

// candidates are the entries of the registry that carry a name, by id.
func (b *build) candidates(name string) (all []*Document) {
	for _, key := range b.w.manifests[name] {
		if d, ok := b.docs.get(key); ok && d.value != nil {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(x, y *Document) int { return cmp.Compare(idOf(x), idOf(y)) })
	return all
}

func (b *build) manifest(id string) *Document {
	d, _ := b.docs.get(nacos.Key{Group: registry.GroupManifests, DataID: registry.ManifestDataID(id)})
	return d
}

func idOf(manifest *Document) string { return manifest.value.(*registry.Manifest).ID }

func (b *build) hold(name string, h holder) { b.w.holders[name] = h }

// keepHolder has the store keep who has a name that several carry; "": only one does.
func (b *build) keepHolder(name, id string) {
	if b.w.keptHolders[name] == id || b.loading {
		return
	}
	if b.holders == nil {
		b.holders = map[string]string{}
	}
	if b.holders[name] = id; id == "" {
		delete(b.w.keptHolders, name)
	} else {
		b.w.keptHolders[name] = id
	}
}

// giveUp gives a name free that its bearer carries no longer.
func (b *build) giveUp(m *registry.Manifest) {
	if b.w.holders[m.Name].id == m.ID {
		delete(b.w.holders, m.Name)
	}
}
