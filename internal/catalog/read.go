package catalog

import (
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// summary is what is kept of a definition between compilations: a compiled service is large, this is not.
type summary struct {
	name        string
	kind        registry.Kind
	protocol    string
	description string
	deprecated  bool
	tools       []string
}

// keptRejected is the size up to which a rejected version is kept, so that after a restart /status says of it what it
// said before. Larger ones are read again from the source.
const keptRejected = 1 << 20

// raw marks a document of a credential group that is looked up by field and otherwise not read.
type raw struct{}

// read makes the record of a document's new version. What cannot be accepted leaves the old version in force.
func (w *writer) read(ch nacos.Change, old *Document, now time.Time) *Document {
	value, rejections := w.parse(ch.Key, ch.Content)
	for i := range rejections {
		rejections[i].Group, rejections[i].DataID = ch.Key.Group, ch.Key.DataID
	}
	doc := &Document{
		Key: ch.Key, MD5: ch.MD5, State: Applied, Since: now, Rejections: rejections,
		GoodMD5: ch.MD5, GoodSince: now, good: ch.Content, value: value,
	}
	if value == nil {
		doc.reject(old)
	}
	return doc
}

// reject leaves in force what was in force before, if anything.
func (d *Document) reject(old *Document) {
	if len(d.good) <= keptRejected {
		d.rejected = d.good
	}
	d.State, d.GoodMD5, d.GoodSince, d.good, d.value = Rejected, "", time.Time{}, nil, nil
	if old != nil {
		d.GoodMD5, d.GoodSince, d.good, d.value = old.GoodMD5, old.GoodSince, old.good, old.value
	}
}

// parse gives what a document's content means, nil if it is rejected whole.
func (w *writer) parse(key nacos.Key, content []byte) (any, []registry.Rejection) {
	switch key.Group {
	case registry.GroupServices:
		def, rejections := registry.ParseService(key.DataID, content)
		if def == nil {
			return nil, rejections
		}
		return summarize(def), rejections
	case registry.GroupManifests:
		return present(registry.ParseManifest(key.DataID, content))
	case registry.GroupSpecs:
		return present(registry.ParseSpec(key.DataID, content))
	case registry.GroupTools:
		set, rejections := registry.ParseTools(key.DataID, content)
		if set == nil {
			return nil, rejections
		}
		return &summary{tools: set.Names()}, rejections
	case registry.GroupUpstreams:
		return present(registry.ParseUpstream(key.DataID, content))
	case registry.GroupConsumers:
		return present(registry.ParseConsumer(key.DataID, content))
	case registry.GroupGrants:
		return present(registry.ParseGrants(key.DataID, content))
	case registry.GroupCredentials:
		return present(registry.ParseCredentials(key.DataID, content))
	}
	return raw{}, nil
}

// present turns a nil pointer into a nil interface.
func present[T any](v *T, rejections []registry.Rejection) (any, []registry.Rejection) {
	if v == nil {
		return nil, rejections
	}
	return v, rejections
}

func summarize(def *registry.Definition) *summary {
	s := &summary{
		name: def.Name, kind: def.Kind, protocol: def.Protocol, description: def.Description, deprecated: def.Deprecated,
		tools: make([]string, 0, len(def.Tools)),
	}
	for i := range def.Tools {
		s.tools = append(s.tools, def.Tools[i].Name)
	}
	return s
}
