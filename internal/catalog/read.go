package catalog

import (
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// summary is what is kept of a definition between compilations: a compiled service is large, this is not.
type summary struct {
	name        string
	kind        registry.Kind
	protocol    string
	title       string
	description string
	deprecated  bool
	tools       names
	schemes     names                // ids of its security schemes
	disabled    []string             // of tools: those that are disabled
	passthrough []registry.Rejection // of tools: why an MCP backend cannot be sent the credentials that they name
}

// names is a list of names, each with a line feed behind it: one piece of memory in place of one for each.
type names string

func namesOf(list []string) names {
	var b strings.Builder
	for _, name := range list {
		b.WriteString(strings.ReplaceAll(name, "\n", " ")) // nothing that can be called has one
		b.WriteByte('\n')
	}
	return names(strings.Clone(b.String()))
}

func (n names) all() []string {
	if n == "" {
		return nil
	}
	return strings.Split(string(n[:len(n)-1]), "\n")
}

// keptRejected is the size up to which a rejected version is kept, so that after a restart /status says of it what it
// said before. Larger ones are read again from the source.
const keptRejected = 1 << 20

// raw marks a document of a credential group that is looked up by field and otherwise not read.
type raw struct{}

// document makes the record of a document's new version. What cannot be accepted leaves the old version in force.
func (r reading) document(ch nacos.Change, old *Document, now time.Time) *Document {
	doc := &Document{
		Key: ch.Key, MD5: ch.MD5, State: Applied, Since: now, Rejections: r.rejections,
		GoodMD5: ch.MD5, GoodSince: now, good: r.content, value: r.value, switches: r.switches, barred: r.barred,
	}
	if r.value == nil {
		doc.reject(old)
	}
	return doc
}

// reject leaves in force what was in force before, if anything. What old says may be marked: its own version is meant.
func (d *Document) reject(old *Document) {
	if max(d.good.size, len(d.good.bytes)) <= keptRejected {
		d.rejected = d.good
	}
	d.State, d.GoodMD5, d.GoodSince, d.good, d.value = Rejected, "", time.Time{}, content{}, nil
	if old != nil {
		old = old.plain()
		d.GoodMD5, d.GoodSince, d.good, d.value = old.GoodMD5, old.GoodSince, old.good, old.value
	}
}

// reading is what was read from one version of a document.
type reading struct {
	value      any
	rejections []registry.Rejection
	content    content
	switches   *registry.Switches
	barred     []string
	refused    [][32]byte // keys of a consumer's document that was rejected
}

// read reads one version of a document. A panic is the fault of that document.
func (o *Options) read(ch nacos.Change) (r reading) {
	defer func() {
		if p := recover(); p != nil {
			o.Log.Error("reading a document panicked", "document", ch.Key.String(), "panic", p, "stack", string(debug.Stack()))
			r = reading{content: pack(ch.Content), rejections: []registry.Rejection{
				{Group: ch.Key.Group, DataID: ch.Key.DataID, Message: "reading it failed by a fault of the proxy; see its log"},
			}}
		}
	}()
	value, rejections := o.parse(ch.Key, ch.Content)
	for i := range rejections {
		rejections[i].Group, rejections[i].DataID = ch.Key.Group, ch.Key.DataID
	}
	r = reading{value: value, rejections: rejections, content: pack(ch.Content), switches: switches(ch, value)}
	if value == nil && ch.Key.Group == registry.GroupConsumers {
		r.refused = registry.KeyDigests(ch.Content)
	}
	return r
}

// switches returns what a document of the registry switches off; nil: nothing that its value does not say.
func switches(ch nacos.Change, value any) *registry.Switches {
	var s registry.Switches
	switch v := value.(type) {
	case nil:
		s = registry.SwitchesOf(ch.Key.Group, ch.Content)
	case *summary:
		s.Tools = v.disabled
	}
	if s.Off == "" && len(s.Tools) == 0 {
		return nil
	}
	return &s
}

// readAll reads changes before they are applied one after the other, on all processors where there are many.
func (o *Options) readAll(changes []nacos.Change) []reading {
	all := make([]reading, len(changes))
	var next atomic.Int64
	var done sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 1+len(changes)/64) {
		done.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(changes)); i = next.Add(1) - 1 {
				if !changes[i].Deleted {
					all[i] = o.read(changes[i])
				}
			}
		})
	}
	done.Wait()
	return all
}

// parse gives what a document's content means, nil if it is rejected whole.
func (o *Options) parse(key nacos.Key, content []byte) (any, []registry.Rejection) {
	switch key.Group {
	case registry.GroupServices:
		def, rejections := registry.ParseService(key.DataID, content)
		if def == nil {
			return nil, rejections
		}
		if fault := o.TLSFiles.Fault(def.Backend.TLS); fault != nil {
			return nil, append(rejections, tlsRejection("upstream.tls.", fault))
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
		return &summary{tools: namesOf(set.Names()), schemes: schemesOf(set.SecuritySchemes), disabled: set.Disabled(), passthrough: set.PassthroughFaults()}, rejections
	case registry.GroupUpstreams:
		u, rejections := registry.ParseUpstream(key.DataID, content)
		if u == nil {
			return nil, rejections
		}
		if fault := o.TLSFiles.Fault(u.TLS); fault != nil {
			return nil, append(rejections, tlsRejection("tls.", fault))
		}
		return u, rejections
	case registry.GroupConsumers:
		return present(registry.ParseConsumer(key.DataID, content))
	case registry.GroupGrants:
		return present(registry.ParseGrants(key.DataID, content))
	case registry.GroupCredentials:
		return present(registry.ParseCredentials(key.DataID, content))
	}
	return raw{}, nil
}

// tlsRejection rejects a document for a TLS file that it names.
func tlsRejection(prefix string, fault *upstream.TLSFault) registry.Rejection {
	return registry.Rejection{Field: prefix + fault.Field, Line: fault.Line, Message: fault.Reason, Warning: fault.Unchecked}
}

// present turns a nil pointer into a nil interface.
func present[T any](v *T, rejections []registry.Rejection) (any, []registry.Rejection) {
	if v == nil {
		return nil, rejections
	}
	return v, rejections
}

func summarize(def *registry.Definition) *summary {
	tools := make([]string, len(def.Tools))
	for i := range def.Tools {
		tools[i] = def.Tools[i].Name
	}
	if !def.Kind.Converted() {
		tools = slices.Sorted(maps.Keys(def.AllowTools)) // the backend knows which of them there are
	}
	return &summary{
		name: def.Name, kind: def.Kind, protocol: def.Protocol, title: def.Title, description: def.Description, deprecated: def.Deprecated, tools: namesOf(tools),
		schemes: schemesOf(def.SecuritySchemes),
	}
}

func schemesOf(all []registry.SecurityScheme) names {
	if len(all) == 0 {
		return ""
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	return namesOf(ids)
}
