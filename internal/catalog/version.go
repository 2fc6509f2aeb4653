package catalog

import (
	"cmp"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// What a service is made of is served together or not at all: manifest, spec and tools of a version of the Nacos registry,
// our own document, and the upstream document of either. While the newest of them cannot be served, because one has a fault,
// does not go with the others or has not come yet, those that were served last go on together. Only what they switch off
// holds at once.

// entry is one version of a service as its documents stand now, whether they were accepted or not.
type entry struct {
	service, version string
	own              *Document // kinds 1 and 2
	manifest         *Document // kinds 3 and 4
	spec, tools      *Document // nil where there is none
	upstream         *Document // nil where there is none
	beside           bool      // another version is the latest one
}

// fault is a document that keeps its entry from being served.
type fault struct {
	doc *Document
	why []registry.Rejection // nil: the document says so itself
}

func (f fault) rejected() string { return f.doc.Key.String() + " is rejected" }

func (b *build) ownEntry(name string) entry {
	return entry{service: name, own: plain(b.named(registry.GroupServices, name)), upstream: plain(b.named(registry.GroupUpstreams, name))}
}

func (b *build) registryEntry(name string, manifest *Document, version string) entry {
	m := manifest.value.(*registry.Manifest)
	get := func(group, dataID string) *Document {
		d, _ := b.docs.get(nacos.Key{Group: group, DataID: dataID})
		return plain(d)
	}
	e := entry{
		service: name, version: version, manifest: plain(manifest), upstream: plain(b.named(registry.GroupUpstreams, name)),
		spec: get(registry.GroupSpecs, m.SpecDataID(version)), tools: get(registry.GroupTools, m.ToolsDataID(version)),
	}
	if e.tools != nil && e.tools.value == nil {
		// Tools that nobody refers to, and that were never good, are none.
		if s := e.specValue(); s != nil && s.ToolsRef == "" {
			e.tools = nil
		}
	}
	return e
}

func plain(d *Document) *Document {
	if d == nil {
		return nil
	}
	return d.plain()
}

func (e *entry) specValue() *registry.Spec {
	if e.spec == nil {
		return nil
	}
	s, _ := e.spec.value.(*registry.Spec)
	return s
}

func (e *entry) documents() []*Document {
	return slices.DeleteFunc([]*Document{e.own, e.manifest, e.spec, e.tools, e.upstream}, func(d *Document) bool { return d == nil })
}

// off returns why the entry is switched off; "" if it is not. What a rejected document switches off counts.
func (e *entry) off() string {
	if why := registry.Off(e.manifest.value.(*registry.Manifest), e.specValue()); why != "" {
		return why
	}
	for _, d := range []*Document{e.manifest, e.spec} {
		if d != nil && d.switches != nil && d.switches.Off != "" {
			return d.switches.Off
		}
	}
	return ""
}

// faults returns what keeps the documents from being served together, apart from some that have not come yet.
func (e *entry) faults() []fault {
	var all []fault
	for _, d := range []*Document{e.own, e.manifest, e.spec, e.tools} {
		if d != nil && d.State == Rejected {
			all = append(all, fault{d, nil})
		}
	}
	if e.manifest == nil {
		return all
	}
	m := e.manifest.value.(*registry.Manifest)
	if s := e.specValue(); s != nil && e.spec.State != Rejected {
		if why := s.Faults(m, e.version); len(why) > 0 {
			all = append(all, fault{e.spec, why})
		}
	}
	if t := e.toolsValue(); t != nil && len(t.passthrough) > 0 && e.tools.State != Rejected && !e.kind().Converted() {
		all = append(all, fault{e.tools, t.passthrough})
	}
	return all
}

func (e *entry) toolsValue() *summary {
	if e.tools == nil {
		return nil
	}
	t, _ := e.tools.value.(*summary)
	return t
}

func (e *entry) kind() registry.Kind {
	if e.own != nil {
		return e.own.value.(*summary).kind
	}
	return registry.KindOf(e.manifest.value.(*registry.Manifest), e.specValue())
}

// complete reports whether no document is missing that the others refer to.
func (e *entry) complete() bool {
	s := e.specValue()
	return s != nil && (e.toolsValue() != nil || s.ToolsRef == "")
}

// upstreamFault returns what keeps an upstream document from being used with what v is made of; nil if nothing does.
func (v *Variant) upstreamFault(upstream *Document) *fault {
	if upstream == nil || upstream.value == nil {
		return nil
	}
	var schemes []string
	for _, d := range []*Document{v.own, v.tools} {
		if d != nil {
			schemes = append(schemes, d.value.(*summary).schemes.all()...)
		}
	}
	why := upstream.value.(*registry.Upstream).Fault(upstream.Key.DataID, schemes)
	if why == nil {
		return nil
	}
	return &fault{upstream, []registry.Rejection{*why}}
}

// takeUpstream looks whether v can be served with its upstream document. If it cannot, it returns why, and gives v the one
// that was served last where that fits.
func (v *Variant) takeUpstream(last *Variant) (f *fault, fits bool) {
	if f = v.upstreamFault(v.upstream); f == nil {
		return nil, true
	}
	if last == nil || v.upstreamFault(last.upstream) != nil {
		return f, false
	}
	v.upstream = last.upstream
	return f, true
}

// variant makes of an entry without faults what is served.
func (e *entry) variant() *Variant {
	v := &Variant{Service: e.service, Version: e.version, Kind: e.kind(), own: e.own, manifest: e.manifest, spec: e.spec, tools: e.tools}
	if e.upstream != nil && e.upstream.value != nil {
		v.upstream = e.upstream
	}
	return v
}

// lasting returns last as it goes on while e cannot be served: with what e switches off, and with the upstream document of
// now where that goes with it.
func (b *build) lasting(last *Variant, e *entry, old *Service) *Variant {
	v := *last
	v.off, v.only = nil, nil
	if e.tools != nil && !same(e.tools, v.tools) && e.tools.switches != nil {
		v.off = e.tools.switches.Tools
	}
	if v.upstreamFault(e.upstream) == nil {
		v.upstream = nil
		if e.upstream != nil && e.upstream.value != nil {
			v.upstream = e.upstream
		}
	}
	return b.keep(&v, old)
}

func (b *build) defineOwn(name string, old *Service) *Service {
	e := b.ownEntry(name)
	if why := b.unknown(&e); why != "" {
		return &Service{Name: name, NotServed: why}
	}
	faults := e.faults()
	v := e.variant()
	last := old.last("", func(v *Variant) bool { return v.own != nil })
	if f, fits := v.takeUpstream(last); f != nil {
		faults = append(faults, *f)
		if !fits && last != nil {
			v = b.lasting(last, &e, old)
		}
	}
	b.markAll(&e, v, faults)
	v, behind := b.inPlace(place{name, ""}, b.keep(v, old), old)
	s := v.own.value.(*summary)
	return &Service{
		Name: name, Kind: s.kind, Protocol: s.protocol, Deprecated: s.deprecated, Latest: v, Behind: behind,
	}
}

// known iterates over what was served last, of all versions.
func (s *Service) known() []*Variant {
	if s == nil {
		return nil
	}
	return append(s.variants(), s.resting...)
}

// last returns the variant of a version ("": of the latest one) that was served last, be it before the service was switched
// off; nil if there is none that ok accepts.
func (s *Service) last(version string, ok func(*Variant) bool) *Variant {
	if s == nil {
		return nil
	}
	all := s.known()
	if s.Latest == nil && len(s.resting) == 0 {
		return nil
	}
	for i, v := range all {
		if (version == "" && i == 0 || version != "" && version == v.Version) && ok(v) {
			return v
		}
	}
	return nil
}

func (b *build) defineRegistry(name string, doc *Document, old *Service) *Service {
	m := doc.value.(*registry.Manifest)
	s := &Service{Name: name, manifest: plain(doc)}
	wants := versionKeys(m, m.Latest)
	defer func() { b.w.wants.set(name, wants) }()

	e := b.registryEntry(name, doc, m.Latest)
	s.Latest, s.NotServed, s.Behind = b.serve(&e, "", old)
	if s.Latest != nil {
		v, behind := b.inPlace(place{name, ""}, s.Latest, old)
		s.Latest, s.Behind = v, cmp.Or(s.Behind, behind)
	}
	if s.Latest != nil && s.Latest.Version != m.Latest {
		wants = append(wants, versionKeys(m, s.Latest.Version)...)
	}
	s.describe(m)
	if s.Latest == nil {
		for _, v := range old.known() {
			if v.sameEntry(&Variant{manifest: doc}) {
				s.resting = append(s.resting, v)
				if v.Version != m.Latest {
					wants = append(wants, versionKeys(m, v.Version)...)
				}
			}
		}
		return s
	}
	for _, version := range b.grantedVersions(name) {
		if version == s.Latest.Version || !slices.Contains(m.Versions, version) {
			continue
		}
		wants = append(wants, versionKeys(m, version)...)
		e := b.registryEntry(name, doc, version)
		e.beside = true
		if v, _, _ := b.serve(&e, version, old); v != nil {
			if s.Others == nil {
				s.Others = map[string]*Variant{}
			}
			s.Others[version], _ = b.inPlace(place{name, version}, v, old)
		}
	}
	return s
}

// describe takes over what clients are told of the service: from the manifest that is served, else from m.
func (s *Service) describe(m *registry.Manifest) {
	if s.Latest != nil {
		m = s.Latest.manifest.value.(*registry.Manifest)
	}
	s.Protocol, s.Deprecated = m.Protocol, m.Status == "deprecated"
	if s.Kind = registry.KindOf(m, nil); s.Latest != nil {
		s.Kind = s.Latest.Kind
		spec, ok := s.Latest.spec.value.(*registry.Spec)
		s.Deprecated = s.Deprecated || ok && spec.Status == "deprecated"
	}
}

// incomplete is why a version is not served whose documents have not all come yet.
const incomplete = "its spec or tools have not been published yet"

// serve returns what is served of an entry of the registry, or why nothing is, or why it is what was served before. version is "" for the latest one, in whose
// place another version may go on.
func (b *build) serve(e *entry, version string, old *Service) (v *Variant, notServed, behind string) {
	key := heldKey{e.service, e.version}
	if why := b.unknown(e); why != "" {
		delete(b.w.holds, key)
		return nil, why, ""
	}
	if why := e.off(); why != "" {
		delete(b.w.holds, key)
		b.markAll(e, nil, e.faults())
		return nil, why, ""
	}
	faults := e.faults()
	last := old.last(version, func(v *Variant) bool { return v.sameEntry(&Variant{manifest: e.manifest}) })
	m := e.manifest.value.(*registry.Manifest)
	why := registry.NotServed(m, e.specValue())
	switch f, unknown := e.protocolFault(); {
	case why != "" && (!unknown || last == nil):
		delete(b.w.holds, key)
		b.markAll(e, nil, faults)
		return nil, why, ""
	case why != "":
		faults = append(faults, f)
		why = f.rejected()
	case len(faults) > 0:
		why = faults[0].rejected()
	case !e.complete():
		why = incomplete
	default:
		next := e.variant()
		f, fits := next.takeUpstream(last)
		if f != nil {
			faults = append(faults, *f)
		}
		if fits || last == nil {
			v = b.settled(next, e, old)
			b.markAll(e, v, faults)
			return v, "", ""
		}
		why = faults[0].rejected()
	}
	delete(b.w.holds, key)
	if last == nil {
		b.markAll(e, nil, faults)
		return nil, why, ""
	}
	if last.Version == e.version {
		v = b.lasting(last, e, old)
		b.markAll(e, v, faults)
		return v, "", why
	}
	// The version before goes on, as it was served last.
	before := b.registryEntry(e.service, e.manifest, last.Version)
	if before.off() != "" || b.unknown(&before) != "" {
		b.markAll(e, nil, faults)
		return nil, why, ""
	}
	v = b.lasting(last, &before, old)
	before.beside = true
	b.markAll(&before, v, slices.Concat(before.faults(), faults))
	b.markAll(e, v, faults)
	return v, "", why
}

// protocolFault returns what is wrong with the protocol of a version; ok is false if it is known, be it one that cannot be
// proxied.
func (e *entry) protocolFault() (fault, bool) {
	s := e.specValue()
	why := registry.UnknownProtocol(e.manifest.value.(*registry.Manifest), s)
	switch {
	case why == nil:
		return fault{}, false
	case why.Group == registry.GroupSpecs:
		return fault{e.spec, []registry.Rejection{*why}}, true
	}
	return fault{e.manifest, []registry.Rejection{*why}}, true
}

// markAll notes on the documents of e what becomes of them: v is served in their place, or made of them, or nil.
func (b *build) markAll(e *entry, v *Variant, faults []fault) {
	all := e.documents()
	if e.beside { // the rest is the latest version's
		all = slices.DeleteFunc(all, func(d *Document) bool { return d == e.manifest || d == e.upstream })
	}
	for _, d := range all {
		b.mark(d, v, faults)
	}
}

func (b *build) mark(d *Document, v *Variant, faults []fault) {
	current, _ := b.docs.get(d.Key)
	if !same(current, d) {
		return
	}
	force := v.document(d.Key)
	marked := *d
	marked.noted, marked.GoodMD5, marked.GoodSince = d, "", time.Time{}
	if force != nil {
		marked.GoodMD5, marked.GoodSince = force.GoodMD5, force.GoodSince
	}
	i := slices.IndexFunc(faults, func(f fault) bool { return f.doc == d })
	switch {
	case i >= 0 && faults[i].why != nil:
		marked.mark, marked.State = &mark{unfit: true}, Rejected
		marked.Rejections = slices.Concat(d.Rejections, faults[i].why)
	case d.State == Rejected && marked.GoodMD5 != d.GoodMD5:
		marked.mark = &mark{}
	case d.State == Applied && i < 0 && len(faults) > 0 && v != nil && !same(force, d):
		marked.mark, marked.State = &mark{waits: faults[0].rejected() + "; until that is mended, the version before is served"}, Ignored
	default:
		if current.mark != nil {
			b.docs.set(d.Key, d)
		}
		return
	}
	if current.mark != nil && *current.mark == *marked.mark && current.GoodMD5 == marked.GoodMD5 && slices.Equal(current.Rejections, marked.Rejections) {
		return
	}
	b.docs.set(d.Key, &marked)
	b.w.options.logRejected(&marked)
}

// documents are those that v is made of.
func (v *Variant) documents() []*Document {
	if v == nil {
		return nil
	}
	return slices.DeleteFunc([]*Document{v.own, v.manifest, v.spec, v.tools, v.upstream}, func(d *Document) bool { return d == nil })
}

// document returns the one of a key that v is made of, nil if it is made of none.
func (v *Variant) document(key nacos.Key) *Document {
	for _, d := range v.documents() {
		if d.Key == key {
			return d
		}
	}
	return nil
}

func versionKeys(m *registry.Manifest, version string) []nacos.Key {
	return []nacos.Key{
		{Group: registry.GroupSpecs, DataID: m.SpecDataID(version)},
		{Group: registry.GroupTools, DataID: m.ToolsDataID(version)},
	}
}

func (b *build) grantedVersions(name string) []string {
	doc := b.named(registry.GroupGrants, name)
	if doc == nil {
		return nil
	}
	if g, _ := doc.value.(*registry.Grants); g != nil {
		return g.Versions
	}
	return nil
}
