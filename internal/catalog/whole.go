package catalog

import (
	"maps"
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// A store keeps the last good version of each document. From those a version of a service can be put together again as long as
// it is made of just these. One that is served in place of newer documents is kept as a whole besides.

// keepWhole notes which versions of a service are to be kept as a whole from now on, and which no more. next is nil for a
// service that is gone.
func (b *build) keepWhole(name string, next *Service) {
	if b.loading {
		return // what the store keeps stays; the next change looks again
	}
	before, now := b.w.whole[name], map[string]Whole{}
	for i, v := range next.known() {
		if (!b.isCurrent(v) || i == 0 && b.overtaken(v)) && !b.passing(v) {
			now[v.Version] = Whole{WholeKey{name, v.Version}, i == 0, v.documents()}
		}
	}
	for version, one := range now {
		if o, ok := before[version]; !ok || o.Latest != one.Latest || !slices.EqualFunc(one.Documents, o.Documents, same) {
			b.whole = append(b.whole, one)
		}
	}
	for version, one := range before {
		if _, still := now[version]; !still {
			b.notWhole = append(b.notWhole, one.WholeKey)
		}
	}
	if len(now) > 0 {
		b.w.whole[name] = now
	} else {
		delete(b.w.whole, name)
	}
}

// isCurrent reports whether v is made of the documents that are kept each for itself.
func (b *build) isCurrent(v *Variant) bool {
	var e entry
	if v.own != nil {
		e = b.ownEntry(v.Service)
	} else {
		manifest, _ := b.docs.get(v.manifest.Key)
		if manifest == nil || manifest.value == nil {
			return false
		}
		e = b.registryEntry(v.Service, manifest, v.Version)
	}
	alike := func(a, b *Document) bool {
		if b != nil && b.value == nil {
			b = nil
		}
		return a == nil && b == nil || a != nil && b != nil && a.Key == b.Key && a.plain().GoodMD5 == b.GoodMD5
	}
	return alike(v.own, e.own) && (alike(v.manifest, e.manifest) || sameManifest(v.manifest, e.manifest)) &&
		alike(v.spec, e.spec) && alike(v.tools, e.tools) && alike(v.upstream, e.upstream)
}

// overtaken reports whether the manifest names another version than v as the latest one.
func (b *build) overtaken(v *Variant) bool {
	if v.manifest == nil {
		return false
	}
	doc, _ := b.docs.get(v.manifest.Key)
	if doc == nil {
		return false
	}
	m, ok := doc.value.(*registry.Manifest)
	return ok && m.Latest != v.Version
}

// isKept reports whether a version came from the store as a whole.
func (w *writer) isKept(key heldKey) bool {
	_, kept := w.whole[key.service][key.version]
	return kept
}

// everything is what a store that knows nothing is to keep.
func (w *writer) everything() Keep {
	k := Keep{All: true}
	for _, d := range w.catalog.Index().Documents() {
		k.Changed = append(k.Changed, d.plain())
	}
	for _, versions := range w.whole {
		for _, one := range versions {
			k.Whole = append(k.Whole, one)
		}
	}
	k.Holders = maps.Clone(w.keptHolders)
	for first, digests := range w.retired {
		if len(digests) > 0 {
			k.Retired = append(k.Retired, Retired{byte(first), slices.Clone(digests)})
		}
	}
	return k
}

// restore has the versions that were kept as a whole served again, and the services put together anew with them as what was
// served last.
func (b *build) restore(initial []Kept) {
	parts := map[WholeKey]*Variant{}
	for _, k := range initial {
		if k.Whole == nil {
			continue
		}
		key := k.Whole.WholeKey
		if k.Lost {
			b.w.lostWhole[heldKey{key.Service, key.Version}] = true
			continue
		}
		v := parts[key]
		if v == nil {
			v = &Variant{Service: key.Service, Version: key.Version}
			parts[key] = v
			if b.w.whole[key.Service] == nil {
				b.w.whole[key.Service] = map[string]Whole{}
			}
			b.w.whole[key.Service][key.Version] = *k.Whole
		}
		switch doc := b.w.options.read(k.Change).document(k.Change, nil, k.Since); doc.Key.Group {
		case registry.GroupServices:
			v.own = doc
		case registry.GroupManifests:
			v.manifest = doc
		case registry.GroupSpecs:
			v.spec = doc
		case registry.GroupTools:
			v.tools = doc
		case registry.GroupUpstreams:
			v.upstream = doc
		}
	}
	for _, v := range parts {
		if v.restorable() {
			b.serveAgain(v, b.w.whole[v.Service][v.Version].Latest)
		}
	}
}

// restorable reports whether v has all that it was made of, and gives it its kind.
func (v *Variant) restorable() bool {
	if slices.ContainsFunc(v.documents(), func(d *Document) bool { return d.value == nil }) {
		return false // an upgrade that reads them more strictly
	}
	switch {
	case v.own != nil:
		v.Kind = v.own.value.(*summary).kind
		return true
	case v.manifest == nil || v.spec == nil:
		return false
	}
	m, s := v.manifest.value.(*registry.Manifest), v.spec.value.(*registry.Spec)
	v.Kind = registry.KindOf(m, s)
	return len(s.Faults(m, v.Version)) == 0
}

// serveAgain makes v what was served last of its version.
func (b *build) serveAgain(v *Variant, latest bool) {
	s := &Service{Name: v.Service}
	if was, _ := b.services.get(v.Service); was != nil {
		copied := *was
		s = &copied
	}
	if latest {
		s.Latest = v
	} else {
		s.Others = maps.Clone(s.Others)
		if s.Others == nil {
			s.Others = map[string]*Variant{}
		}
		s.Others[v.Version] = v
	}
	b.services.set(v.Service, s)
	b.dirty[v.Service] = true
}
