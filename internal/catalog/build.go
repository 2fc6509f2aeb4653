package catalog

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// extensions in the order in which they take precedence for one name.
var extensions = []string{".yaml", ".yml", ".json"}

// named gives the document that holds name in a group of ours.
func (b *build) named(group, name string) *Document {
	for _, ext := range extensions {
		if d, ok := b.docs.get(nacos.Key{Group: group, DataID: name + ext}); ok {
			return d
		}
	}
	return nil
}

// service puts the service of this name together anew, from whichever documents define it now.
func (b *build) service(name string) {
	old, _ := b.services.get(name)
	next := b.define(name, old)
	if next == nil {
		if old != nil {
			b.services.remove(name)
			b.touched[name] = true
		}
		return
	}
	next.Access = b.access(name)
	b.services.set(name, next)
	b.touched[name] = true
}

// foretold gives the documents that a service may get, which are to be watched before there are any.
func foretold(service string) []nacos.Key {
	return []nacos.Key{
		{Group: registry.GroupGrants, DataID: service + ".yaml"},
		{Group: registry.GroupUpstreams, DataID: service + ".yaml"},
	}
}

// access compiles the grants of a service, on the safe side where their document is bad.
func (b *build) access(name string) *access.Table {
	doc := b.named(registry.GroupGrants, name)
	if doc == nil {
		return access.Compile(nil, b.w.options.DefaultOpen)
	}
	grants, _ := doc.value.(*registry.Grants)
	if grants == nil {
		return access.Compile(nil, false)
	}
	table := access.Compile(grants, b.w.options.DefaultOpen)
	if doc.State == Rejected {
		return table.Closed()
	}
	return table
}

func (b *build) define(name string, old *Service) *Service {
	own := b.named(registry.GroupServices, name)
	if own != nil && own.value != nil {
		return b.defineOwn(name, own, old)
	}
	if manifest := b.manifestOf(name); manifest != nil {
		return b.defineRegistry(name, manifest, old)
	}
	return nil
}

func (b *build) defineOwn(name string, doc *Document, old *Service) *Service {
	s := doc.value.(*summary)
	v := &Variant{Service: name, Kind: s.kind, own: doc, upstream: b.goodUpstream(name)}
	return &Service{
		Name: name, Kind: s.kind, Protocol: s.protocol, Description: s.description, Deprecated: s.deprecated,
		Latest: b.keep(v, old),
	}
}

// keep gives old's variant where v is made of the same documents, so that what was compiled stays.
func (b *build) keep(v *Variant, old *Service) *Variant {
	if old == nil {
		return v
	}
	if v.sameDocuments(old.Latest) {
		return old.Latest
	}
	if o := old.Others[v.Version]; v.sameDocuments(o) {
		return o
	}
	return v
}

func (b *build) goodUpstream(name string) *Document {
	if d := b.named(registry.GroupUpstreams, name); d != nil && d.value != nil {
		return d
	}
	return nil
}

// manifestOf gives the registry entry that keeps name: the one with the smallest id.
func (b *build) manifestOf(name string) *Document {
	var best *Document
	var bestID string
	for _, key := range b.w.manifests[name] {
		d, ok := b.docs.get(key)
		if !ok || d.value == nil {
			continue
		}
		if m := d.value.(*registry.Manifest); best == nil || m.ID < bestID {
			best, bestID = d, m.ID
		}
	}
	return best
}

func (b *build) defineRegistry(name string, doc *Document, old *Service) *Service {
	m := doc.value.(*registry.Manifest)
	s := &Service{Name: name, Protocol: m.Protocol, Description: m.Description, Deprecated: m.Status == "deprecated", manifest: doc}
	if s.Kind = registry.PassthroughRegistry; m.Protocol == "http" || m.Protocol == "https" {
		s.Kind = registry.ConvertedRegistry
	}
	wants := b.versionKeys(m, m.Latest)
	defer func() { b.w.wants.set(name, wants) }()

	latest, why := b.variant(name, doc, m.Latest, old)
	if latest == nil && why == incomplete && old != nil && old.Latest != nil && b.stillThere(old, doc, m) {
		// A publish in progress (tools, manifest and spec come in separate writes): what was served stays whole.
		latest = old.Latest
		wants = append(wants, b.versionKeys(m, latest.Version)...)
		why = ""
	}
	s.Latest, s.NotServed = latest, why
	if latest == nil {
		return s
	}
	for _, version := range b.grantedVersions(name) {
		if version == latest.Version || !slices.Contains(m.Versions, version) {
			continue
		}
		wants = append(wants, b.versionKeys(m, version)...)
		v, _ := b.variant(name, doc, version, old)
		if v == nil {
			v = old.other(version)
		}
		if v != nil {
			if s.Others == nil {
				s.Others = map[string]*Variant{}
			}
			s.Others[version] = v
		}
	}
	return s
}

func (s *Service) other(version string) *Variant {
	if s == nil {
		return nil
	}
	return s.Others[version]
}

// stillThere tells whether the version served so far may stay while a new one is being published.
func (b *build) stillThere(old *Service, doc *Document, m *registry.Manifest) bool {
	return old.manifest != nil && old.manifest.Key == doc.Key && registry.NotServed(m, nil) == ""
}

func (b *build) versionKeys(m *registry.Manifest, version string) []nacos.Key {
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

// incomplete is why a version is not served whose documents have not all come yet.
const incomplete = "its spec or tools have not been published yet"

// variant puts one version of a registry service together, or says why it cannot be served.
func (b *build) variant(name string, manifest *Document, version string, old *Service) (*Variant, string) {
	m := manifest.value.(*registry.Manifest)
	if why := registry.NotServed(m, nil); why != "" {
		return nil, why
	}
	specDoc, _ := b.docs.get(nacos.Key{Group: registry.GroupSpecs, DataID: m.SpecDataID(version)})
	if specDoc == nil || specDoc.value == nil {
		return nil, incomplete
	}
	spec := specDoc.value.(*registry.Spec)
	if why := registry.NotServed(m, spec); why != "" {
		return nil, why
	}
	toolsDoc, _ := b.docs.get(nacos.Key{Group: registry.GroupTools, DataID: m.ToolsDataID(version)})
	if toolsDoc == nil || toolsDoc.value == nil {
		if spec.ToolsRef != "" {
			return nil, incomplete
		}
		toolsDoc = nil
	}
	kind := registry.PassthroughRegistry
	if m.Protocol == "http" || m.Protocol == "https" {
		kind = registry.ConvertedRegistry
	}
	v := &Variant{
		Service: name, Version: version, Kind: kind,
		manifest: manifest, spec: specDoc, tools: toolsDoc, upstream: b.goodUpstream(name),
	}
	return b.keep(b.settled(v, old), old), ""
}

// definition reads a variant's documents again; they were accepted, so this cannot fail but for a mistake of ours.
func (v *Variant) definition() (*registry.Definition, []registry.Rejection, error) {
	var def *registry.Definition
	var rejections []registry.Rejection
	if v.own != nil {
		def, _ = registry.ParseService(v.own.Key.DataID, v.own.good.open())
	} else {
		m := v.manifest.value.(*registry.Manifest)
		s := v.spec.value.(*registry.Spec)
		t := &registry.ToolSet{}
		if v.tools != nil {
			t, _ = registry.ParseTools(v.tools.Key.DataID, v.tools.good.open())
		}
		def, rejections = registry.Assemble(m, v.Version, s, t)
	}
	if def == nil {
		return nil, rejections, fmt.Errorf("assemble service %s: %w", v.Service, cmp.Or(firstError(rejections), errNoDefinition))
	}
	if v.upstream != nil {
		def = def.WithUpstream(v.upstream.value.(*registry.Upstream))
	}
	return def, rejections, nil
}

// source is the document that tools are written in.
func (v *Variant) source() *Document {
	switch {
	case v.own != nil:
		return v.own
	case v.tools != nil:
		return v.tools
	}
	return v.spec
}

func sameContent(d *Document, ch nacos.Change) bool {
	return d != nil && d.MD5 == ch.MD5 && (d.State == Rejected || d.good.equal(ch.Content))
}
