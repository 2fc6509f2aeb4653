package catalog

import (
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// A store may be damaged. What it kept and cannot give back is not taken for what never was: a service whose grants document
// is lost is closed, whatever is the default without one; a consumer is unknown, and its keys are nobody else's; a service of
// whose documents one is lost is not served, and nothing takes its name. All of that lasts until the source tells.

const unreadable = "what the store kept of it is damaged: nothing of it is in force until the source answers"

// lose takes down that a store kept something of a document that cannot be read: all of it, or what was refused.
func (b *build) lose(key nacos.Key, refused bool) {
	doc := &Document{Key: key, State: Rejected, Since: b.now, lost: true}
	message := unreadable
	old, _ := b.docs.get(key)
	if refused && old != nil {
		switch key.Group {
		case registry.GroupGrants, registry.GroupServices, registry.GroupUpstreams, registry.GroupCredentials:
			// A rejected one of these switches nothing off but the status switch, which its being there does.
			message = "its newest version was rejected, and what the store kept of that is damaged"
			doc.lost = false
			doc.reject(old)
		}
	}
	doc.Rejections = []registry.Rejection{{Group: key.Group, DataID: key.DataID, Message: message}}
	b.docs.set(key, doc)
	if doc.lost {
		b.forget(old)
	}
	if doc.lost && key.Group == registry.GroupConsumers {
		b.w.lostConsumers[key] = true
	}
	if doc.lost && key.Group == registry.GroupManifests {
		b.w.lostManifests[key] = true
	}
	b.follow(key, doc)
	b.w.options.logRejected(doc)
}

// refuseUnkept takes down that the newest version of a document was rejected, and too large to be kept.
func (b *build) refuseUnkept(k Kept) {
	doc := &Document{Key: k.Key, MD5: k.MD5, State: Rejected, Since: k.Since}
	if s := k.Switches; s != nil && (s.Off != "" || len(s.Tools) > 0) {
		doc.switches = s
	}
	doc.Rejections = []registry.Rejection{{
		Group: k.Key.Group, DataID: k.Key.DataID, Message: "its newest version was rejected, and is too large to be kept: why shows when the source answers",
	}}
	old, _ := b.docs.get(k.Key)
	doc.reject(old)
	b.docs.set(k.Key, doc)
	b.follow(k.Key, doc)
	b.w.options.logRejected(doc)
}

// trust ends what holds only until the source has been read whole.
func (b *build) trust() {
	w := b.w
	w.synced = true
	b.retry = b.retry || len(w.disputed) > 0
	if w.unsure {
		w.unsure = false
		for name := range b.services.current().all() {
			if b.named(registry.GroupGrants, name) == nil {
				b.dirty[name] = true
			}
		}
	}
	for name, h := range w.holders {
		if h.since = b.now; !h.firm {
			w.holders[name] = h
		}
	}
	for name, bearers := range w.manifests {
		if len(bearers) > 1 || len(w.lostManifests) > 0 {
			b.dirty[name] = true
		}
	}
	clear(w.lostManifests) // what the source has of them has come
	for key := range w.lostWhole {
		delete(w.lostWhole, key)
		b.notWhole = append(b.notWhole, WholeKey{key.service, key.version})
		b.dirty[key.service] = true
	}
}

// withoutGrants is who may call what of a service that has no grants document, as far as is known.
func (b *build) withoutGrants() *access.Table {
	return access.Compile(nil, b.w.options.DefaultOpen && !b.w.unsure)
}

// lost returns a document of e that is lost; nil if none is.
func (e *entry) lost() *Document {
	for _, d := range e.documents() {
		if d.lost {
			return d
		}
	}
	return nil
}

// unknown returns why a version cannot be served because something of it is lost; "" if nothing is.
func (b *build) unknown(e *entry) string {
	if d := e.lost(); d != nil {
		return d.Key.String() + " cannot be read from the store, and the source has not answered yet"
	}
	if b.w.lostWhole[heldKey{e.service, e.version}] {
		return "the documents that it was served from cannot be read from the store, and the source has not answered yet"
	}
	return ""
}
