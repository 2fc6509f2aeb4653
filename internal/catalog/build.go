package catalog

import (
	"cmp"
	"fmt"

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
	b.keepWhole(name, next)
	if next == nil {
		if old != nil {
			b.services.remove(name)
			b.touched[name] = true
		}
		return
	}
	next.grants = b.named(registry.GroupGrants, name)
	if next.grants != nil && old != nil && next.grants == old.grants {
		next.Access = old.Access // compiling it takes what the grants' author likes, and who edits the service is another one
	} else {
		next.Access = b.access(name)
	}
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
		return b.withoutGrants()
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
	delete(b.w.guessed, name)
	if own != nil && (own.value != nil || own.lost) && b.pinned(name) == "" {
		return b.defineOwn(name, old)
	}
	is := b.bearer(name)
	if is.guessed {
		b.w.guessed[name] = true
	}
	switch {
	case is.manifest != nil:
		s := b.defineRegistry(name, is.manifest, old)
		s.others = is.others
		return s
	case is.why != "" && (own != nil || len(b.w.manifests[name]) > 0):
		return &Service{Name: name, NotServed: is.why}
	}
	return nil
}

// keep gives old's variant where v is made of the same documents, so that what was compiled stays.
func (b *build) keep(v *Variant, old *Service) *Variant {
	known := append(old.known(), b.w.upgrading(v)...)
	for _, o := range known {
		if v.sameDocuments(o) {
			return o
		}
	}
	v.base = nil
	for _, o := range known {
		if (v.Narrowed() || o.Narrowed()) && v.sameBase(o) {
			v.base = o.root()
		}
	}
	return v
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

// noteworthy are the documents that what is wrong with v may be noted on, that of its tools first.
func (v *Variant) noteworthy() []*Document {
	all := []*Document{v.source()}
	for _, d := range []*Document{v.spec, v.upstream} {
		if d != nil && d != all[0] {
			all = append(all, d)
		}
	}
	return all
}

func sameContent(d *Document, ch nacos.Change) bool {
	return d != nil && d.MD5 == ch.MD5 && (d.State == Rejected || d.good.equal(ch.Content))
}
