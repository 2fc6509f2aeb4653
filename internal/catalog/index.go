// Package catalog is the live view of all documents: it follows them, keeps the current immutable Index and compiles
// services on demand into an LRU.
// It must never let a bad or missing document disturb another one, nor make a reader of the Index wait.
package catalog

import (
	"iter"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Index is everything known at one moment. It is never changed after it was published.
type Index struct {
	docs      *table[nacos.Key, *Document]
	services  *table[string, *Service]
	consumers *table[string, *registry.Consumer]
	keys      *table[[32]byte, Holder]
	retired   *table[[32]byte, struct{}] // keys that nobody holds any more
	badGrants int                        // grants documents whose newest version is rejected
	guessed   []string                   // names that several entries of the registry carry, nobody knows since when
	lostKeys  bool                       // there are consumers whose keys are not known
	sources   []registry.KeySource
	disputes  bool // some consumer document claims a key that another one holds
	synced    bool
	serial    uint64
}

func newIndex() *Index {
	return &Index{
		docs:      newTable[nacos.Key, *Document](),
		services:  newTable[string, *Service](),
		consumers: newTable[string, *registry.Consumer](),
		keys:      newTable[[32]byte, Holder](),
		retired:   newTable[[32]byte, struct{}](),
	}
}

// Holder is the consumer that holds a key.
type Holder struct {
	Consumer *registry.Consumer
	Key      *registry.Key
}

// Service gives a service by name, served or not; nil if no document defines it.
func (x *Index) Service(name string) *Service {
	s, _ := x.services.get(name)
	return s
}

// Services iterates over all services in no order.
func (x *Index) Services() iter.Seq2[string, *Service] { return x.services.all() }

// Consumer gives a consumer by name, nil if there is none.
func (x *Index) Consumer(name string) *registry.Consumer {
	c, _ := x.consumers.get(name)
	return c
}

// Consumers iterates over all consumers in no order.
func (x *Index) Consumers() iter.Seq2[string, *registry.Consumer] { return x.consumers.all() }

// Holder gives the holder of the key with this SHA-256 digest, whatever state it is in.
func (x *Index) Holder(digest [32]byte) (Holder, bool) { return x.keys.get(digest) }

// KeySources are the places besides the boot configuration's where some consumer may present a key.
func (x *Index) KeySources() []registry.KeySource { return x.sources }

// Document gives what is known of one document, nil if it does not exist.
func (x *Index) Document(key nacos.Key) *Document {
	d, _ := x.docs.get(key)
	return d
}

// Documents iterates over all documents in no order.
func (x *Index) Documents() iter.Seq2[nacos.Key, *Document] { return x.docs.all() }

// Synced tells whether the source has been read whole at least once, or a last-known-good store was.
func (x *Index) Synced() bool { return x.synced }

// RejectedGrants is how many grants documents were rejected in their newest version.
func (x *Index) RejectedGrants() int { return x.badGrants }

// Guessed are the names that several entries of the registry carry of which nobody knows who had them first, sorted.
func (x *Index) Guessed() []string { return x.guessed }

// Serial grows with every published Index.
func (x *Index) Serial() uint64 { return x.serial }

// State is what became of a document's newest version.
type State string

// States of documents.
const (
	Applied  State = "applied"
	Rejected State = "rejected" // an earlier version may still be in force
	Ignored  State = "ignored"  // fine, but something else takes precedence or it cannot be served
)

// Document is what is known of one document. It is immutable.
type Document struct {
	Key        nacos.Key
	MD5        string    // of the newest version
	State      State     // of the newest version
	Since      time.Time // since when MD5 and State are what they are
	Rejections []registry.Rejection
	GoodMD5    string    // of the version in force; empty if none is
	GoodSince  time.Time // when that was accepted

	good     content // the version in force
	rejected content // the newest version, if it was rejected and is not large
	value    any     // what was read from it, by group; nil if there is none in force

	switches *registry.Switches // what the newest version switches off, in force or not; nil: nothing
	noted    *Document          // the record that this one repeats with more Rejections or a mark; variants are made of that one
	notes    *notes             // what was added to them, and by whom
	mark     *mark              // nil: what becomes of the newest version is for it alone to say
	lost     bool               // a store kept something of it that cannot be read; until the source tells, nothing is known of it
	barred   []string           // ids of keys of a consumer that another one holds, or held when it was kept
	disputed *nacos.Change      // the version rejected because of another consumer's key, to be tried again
}

// Lost reports whether a store kept something of d that cannot be read, and nothing else is known of it.
func (d *Document) Lost() bool { return d.lost }

// LostNewest reports whether d was rejected, and what was rejected was kept and cannot be read.
func (d *Document) LostNewest() bool { return d.State == Rejected && d.MD5 == "" && !d.lost }

// Switches returns what the newest version switches off, be it rejected; nil if nothing.
func (d *Document) Switches() *registry.Switches { return d.switches }

// Barred returns the ids of a consumer's keys that do not count because another one holds them.
func (d *Document) Barred() []string { return d.barred }

// mark is what other documents of its service make of one that was accepted by itself.
type mark struct {
	unfit bool   // it does not go with them, and is rejected for it
	waits string // why it is not in force though nothing is wrong with it
}

// Content gives the version in force; nil if none is. It must not be changed.
func (d *Document) Content() []byte { return d.good.open() }

// Rejected gives the newest version if it was rejected; nil for one of more than 1 MiB. It must not be changed.
func (d *Document) Rejected() []byte { return d.rejected.open() }

// Service is a name under which clients find tools, with all that is decided before a call: access and versions.
type Service struct {
	Name       string
	Kind       registry.Kind
	Protocol   string
	NotServed  string // why it is not, empty if it is
	Behind     string // why it is served as it was before its newest documents, empty if it is not
	Deprecated bool
	Access     *access.Table
	Latest     *Variant            // nil if NotServed
	Others     map[string]*Variant // by version: those that the grants document lists

	manifest *Document
	grants   *Document  // that Access was compiled from
	others   string     // why other entries of the registry that carry the name do not have it
	resting  []*Variant // while it is switched off: what was served before, the latest first
}

// Variant gives the version asked for, the latest for "". Nil if there is none or the grants do not list it.
func (s *Service) Variant(version string) *Variant {
	if version == "" || s.Latest != nil && version == s.Latest.Version {
		return s.Latest
	}
	return s.Others[version]
}

// at returns the variant in a place, as the latest ("") or as another version; nil if there is none.
func (s *Service) at(version string) *Variant {
	switch {
	case s == nil:
		return nil
	case version == "":
		return s.Latest
	}
	return s.Others[version]
}

// has reports whether some variant of the service, which may be nil, is compiled as root.
func (s *Service) has(root *Variant) bool {
	return slices.ContainsFunc(s.variants(), func(v *Variant) bool { return v.root() == root })
}

// Variant is one version of a service with the documents it is made of. Its identity changes with any of them.
type Variant struct {
	Service string
	Version string
	Kind    registry.Kind

	own      *Document // kinds 1 and 2
	manifest *Document // kinds 3 and 4, with spec and tools
	spec     *Document
	tools    *Document
	upstream *Document // may be nil

	off  []string // tools that a newer version of tools switches off, though it is not in force; sorted
	only []string // the only tools that newer documents of a passed-through service leave, likewise; nil: all
	base *Variant // made of the same documents without off, where that was served too: what is compiled for it does for this one
}

// root returns the variant that is compiled for v.
func (v *Variant) root() *Variant {
	if v != nil && v.base != nil {
		return v.base
	}
	return v
}

// Off reports whether a tool of v is off for everyone though v itself has it.
func (v *Variant) Off(tool []byte) bool { return v.Narrowed() && v.isOff(string(tool)) }

func (v *Variant) isOff(tool string) bool {
	if _, off := slices.BinarySearch(v.off, tool); off {
		return true
	}
	if v.only == nil {
		return false
	}
	_, on := slices.BinarySearch(v.only, tool)
	return !on
}

// Narrowed reports whether some tool of v is off for everyone though v itself has it.
func (v *Variant) Narrowed() bool { return len(v.off) > 0 || v.only != nil }

// Tools gives the names of tools in document order; of passed-through services those that documents mention.
func (v *Variant) Tools() []string {
	return slices.DeleteFunc(v.allTools(), v.isOff)
}

// allTools returns the names of tools, those that are switched off included.
func (v *Variant) allTools() []string {
	for _, d := range []*Document{v.own, v.tools} {
		if d != nil {
			return d.value.(*summary).tools.all()
		}
	}
	return nil
}

// Title returns what the version's document calls itself, if not by the service's name.
func (v *Variant) Title() string {
	if v.own != nil {
		return v.own.value.(*summary).title
	}
	if spec, ok := v.spec.value.(*registry.Spec); ok {
		return spec.Title
	}
	return ""
}

// Display returns what a version of the registry says for people to look at: a web page about it, and icons as MCP shows them;
// blank and nil for none.
func (v *Variant) Display() (websiteURL string, icons []byte) {
	if v.spec == nil {
		return "", nil
	}
	if spec, ok := v.spec.value.(*registry.Spec); ok {
		return spec.WebsiteURL, spec.Icons
	}
	return "", nil
}

// Description returns what the version's documents say it is for.
func (v *Variant) Description() string {
	if v.own != nil {
		return v.own.value.(*summary).description
	}
	if spec, ok := v.spec.value.(*registry.Spec); ok && spec.Description != "" {
		return spec.Description
	}
	if m, ok := v.manifest.value.(*registry.Manifest); ok {
		return m.Description
	}
	return ""
}

// sameDocuments tells whether v is made of the same documents as o, so that o can stay in its place.
func (v *Variant) sameDocuments(o *Variant) bool {
	return v.sameBase(o) && slices.Equal(v.off, o.off) && slices.Equal(v.only, o.only)
}

// sameBase reports whether v is made of the same documents as o, apart from what newer ones switch off.
func (v *Variant) sameBase(o *Variant) bool {
	return o != nil && v.Service == o.Service && v.Version == o.Version && same(v.own, o.own) &&
		sameManifest(v.manifest, o.manifest) && same(v.spec, o.spec) && same(v.tools, o.tools) && same(v.upstream, o.upstream)
}

// same tells whether two records are of the same version of a document, however many notes were added to one.
func same(a, b *Document) bool {
	return a == b || a != nil && b != nil && a.plain() == b.plain()
}

func (d *Document) plain() *Document {
	if d.noted != nil {
		return d.noted
	}
	return d
}

// sameManifest ignores edits of a manifest that do not change this version, such as a new version beside it.
func sameManifest(a, b *Document) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	x, _ := a.value.(*registry.Manifest)
	y, _ := b.value.(*registry.Manifest)
	return x != nil && y != nil && x.ID == y.ID && x.Name == y.Name && x.Protocol == y.Protocol &&
		x.Description == y.Description && x.Status == y.Status && x.Enabled == y.Enabled
}
