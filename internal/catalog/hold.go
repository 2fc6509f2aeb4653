package catalog

import (
	"slices"
	"time"
)

// A version of a registry service is three documents, and whoever edits it rewrites them one by one: Nacos itself the
// tools first, then, once it has registered the endpoint, the spec, and the manifest last. Nothing in them says which
// belong together, or that more is to come; only quiet tells that a writer has finished. So a version that is served
// stays as it was until none of its documents has changed for a while, and the three are taken as they are then.
const (
	// holdQuiet is that while: longer than Nacos takes between two of its writes, and short enough for an edit of a
	// single document by hand to hold within the second that is promised.
	holdQuiet = 400 * time.Millisecond
	// holdMost bounds the hold where edits follow each other without a pause.
	holdMost = 1500 * time.Millisecond
)

// heldKey names a version of a registry service.
type heldKey struct{ service, version string }

// hold is a version whose newest documents wait.
type hold struct {
	next        *Variant // made of those documents
	first, last time.Time
	kept        bool // it was held when the process before this one ended: until the source has been read, more may come
}

func (h hold) due() time.Time {
	if quiet, most := h.last.Add(holdQuiet), h.first.Add(holdMost); quiet.Before(most) {
		return quiet
	}
	return h.first.Add(holdMost)
}

// settled gives the variant to serve now: next, or the one that was served before it while next may be half of an edit.
// A version that was not served before has nothing to be mixed with, and of what was collected nothing is missing.
func (b *build) settled(next *Variant, e *entry, old *Service) *Variant {
	key := heldKey{next.Service, next.Version}
	if slices.ContainsFunc(b.w.upgrading(next), next.sameBase) {
		return b.keep(next, old) // it was taken as settled before
	}
	before := old.serving(next.Version)
	if before == nil || !before.sameEntry(next) || before.sameThree(next) || b.loading && !b.w.isKept(key) || b.ripe[key] || len(b.w.collected.read) > 0 {
		delete(b.w.holds, key)
		return b.keep(next, old)
	}
	h, held := b.w.holds[key]
	if !held {
		h.first, h.kept = b.now, b.loading
	}
	if !next.sameDocuments(h.next) {
		h.next, h.last = next, b.now
	}
	b.w.holds[key] = h
	return b.lasting(before, e, old)
}

// serving gives the variant of a version that is served, nil if there is none.
func (s *Service) serving(version string) *Variant {
	if s == nil {
		return nil
	}
	return s.Variant(version)
}

// sameEntry tells whether v is made of the same entry of the registry, by whatever versions of its documents.
func (v *Variant) sameEntry(o *Variant) bool {
	return v.manifest != nil && o.manifest != nil && v.manifest.Key == o.manifest.Key
}

// sameThree tells whether v is made of the same manifest, spec and tools as o.
func (v *Variant) sameThree(o *Variant) bool {
	return sameManifest(v.manifest, o.manifest) && same(v.spec, o.spec) && same(v.tools, o.tools)
}

// nextDue is when the first hold ends; zero if there is none.
func (w *writer) nextDue() time.Time {
	var first time.Time
	for _, h := range w.holds {
		if h.kept {
			continue
		}
		if at := h.due(); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// release marks the services whose holds have ended. Those that began in the process before end like others once the source
// has been read: then what was to come has come.
func (b *build) release(synced bool) {
	for key, h := range b.w.holds {
		if h.kept {
			if synced {
				b.w.holds[key] = hold{next: h.next, first: b.now, last: b.now}
			}
			continue
		}
		if b.now.Before(h.due()) {
			continue
		}
		delete(b.w.holds, key)
		b.ripe[key] = true
		b.dirty[key.service] = true
	}
}
