package robust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/robust/model"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// ground is what a schedule runs on: a Nacos, backends and a proxy, true or in memory.
type ground interface {
	put(key nacos.Key, content string)
	remove(key nacos.Key)
	// instance makes generation n of a service's backends known in the naming service under a name of its own.
	instance(service string, n int)
	// address is where generation n of a service's backends is; its host's last number is n.
	address(service string, n int) string
	namespace() string
}

// naming is the naming service of a generation of a service's backends.
func naming(service string, n int) string { return fmt.Sprintf("%s-%d", service, n) }

// world is what the documents are, and were.
type world struct {
	ground
	began     time.Time
	know      knowledge
	consumers map[string]*history[model.Consumer]
	grants    map[string]*history[model.Grants]
	content   map[string]*history[model.Service]
	on        map[string]*history[struct{}] // registry entries: nil where it is switched off or deleted
	marks     map[string]int                // newest version of a service
	versions  map[string][]int              // of an entry: at which marks a new one began
	open      bool                          // services without a grants document are
	ill       map[string]bool               // services whose backend is hurt
}

func newWorld(on ground) *world {
	w := &world{
		ground: on, began: time.Now(), consumers: map[string]*history[model.Consumer]{}, grants: map[string]*history[model.Grants]{},
		content: map[string]*history[model.Service]{}, on: map[string]*history[struct{}]{}, marks: map[string]int{},
		versions: map[string][]int{}, ill: map[string]bool{},
	}
	for _, name := range consumers {
		w.consumers[name] = &history[model.Consumer]{}
	}
	for _, name := range services {
		w.grants[name], w.content[name], w.on[name] = &history[model.Grants]{}, &history[model.Service]{}, &history[struct{}]{}
	}
	return w
}

// secretOf returns a key of a consumer.
func secretOf(consumer string, n int) string {
	return fmt.Sprintf("nmp_%s%d_%s", consumer, n, strings.Repeat("k", 40))
}

func (w *world) instant(d duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return w.began.Add(time.Duration(d))
}

// edit carries out a step that writes documents; it reports whether it was one.
func (w *world) edit(x step) bool {
	switch x.Do {
	case "consumer":
		w.editConsumer(x)
	case "grants":
		w.editGrants(x)
	case "service":
		if strings.HasPrefix(x.Name, fromRegistry) {
			w.editEntry(x)
		} else {
			w.editService(x)
		}
	default:
		return false
	}
	return true
}

// spoil makes a document one that is rejected.
func spoil(content, how string) string {
	if how == "malformed" {
		return content + "}\n  - [\n"
	}
	return content + "tipo: true\n"
}

func (w *world) editConsumer(x step) {
	key := nacos.Key{Group: "proxy-consumers", DataID: x.Name + ".yaml"}
	h, now := w.consumers[x.Name], time.Now()
	if x.Gone {
		h.writing(now, nil)
		w.remove(key)
		h.set(time.Now(), nil)
		return
	}
	c := &model.Consumer{Off: x.Off, Groups: x.In, Keys: map[string]model.Key{}}
	var b strings.Builder
	fmt.Fprintf(&b, "enabled: %t\ngroups: [%s]\nkeys:\n", !x.Off, strings.Join(x.In, ", "))
	if len(x.Keys) == 0 {
		b.Reset()
		fmt.Fprintf(&b, "enabled: %t\ngroups: [%s]\n", !x.Off, strings.Join(x.In, ", "))
	}
	for _, k := range x.Keys {
		secret := secretOf(x.Name, k.N)
		c.Keys[secret] = model.Key{Off: k.Off, Until: w.instant(k.Until)}
		sum := sha256.Sum256([]byte(secret))
		fmt.Fprintf(&b, "  - {id: k%d, sha256: %s, enabled: %t%s}\n", k.N, hex.EncodeToString(sum[:]), !k.Off, w.notAfter(k.Until))
	}
	if x.Bad == "" {
		h.writing(now, c)
		w.put(key, b.String())
		h.set(time.Now(), c)
		return
	}
	h.setBad(now, w.know.since(now), func(before *model.Consumer) []*model.Consumer {
		if before == nil {
			return []*model.Consumer{nil}
		}
		kept, less := *before, *before
		kept.Off, less.Off = before.Off || x.Off, before.Off || x.Off
		less.Keys = map[string]model.Key{}
		for secret, k := range before.Keys {
			k.Off = k.Off || c.Keys[secret].Off
			less.Keys[secret] = k
		}
		if x.Bad == "malformed" { // its keys may be beyond reading
			return []*model.Consumer{&kept, &less}
		}
		return []*model.Consumer{&less}
	})
	w.put(key, spoil(b.String(), x.Bad))
	h.again()
}

func (w *world) notAfter(d duration) string {
	if d == 0 {
		return ""
	}
	return ", notAfter: " + w.instant(d).UTC().Format(time.RFC3339)
}

func (w *world) editGrants(x step) {
	key := nacos.Key{Group: "proxy-grants", DataID: x.Name + ".yaml"}
	h, now := w.grants[x.Name], time.Now()
	if x.Gone {
		h.writing(now, nil)
		w.remove(key)
		h.set(time.Now(), nil)
		return
	}
	g := &model.Grants{Open: x.Open, Tools: map[string][]model.Grantee{}}
	list := func(all []granteeStep) (to []model.Grantee, text string) {
		var parts []string
		for _, one := range all {
			if group, ok := strings.CutPrefix(one.To, "@"); ok {
				to = append(to, model.Grantee{Group: group, Until: w.instant(one.Until)})
				parts = append(parts, "{group: "+group+w.notAfter(one.Until)+"}")
			} else {
				to = append(to, model.Grantee{Consumer: one.To, Until: w.instant(one.Until)})
				parts = append(parts, "{consumer: "+one.To+w.notAfter(one.Until)+"}")
			}
		}
		return to, "[" + strings.Join(parts, ", ") + "]"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "auth: %s\n", map[bool]string{true: "disabled", false: "required"}[x.Open])
	if len(x.All) > 0 {
		to, text := list(x.All)
		g.All = to
		fmt.Fprintf(&b, "consumers: %s\n", text)
	}
	if len(x.Tools) > 0 {
		b.WriteString("tools:\n")
	}
	for _, tool := range sorted(x.Tools) {
		to, text := list(x.Tools[tool])
		g.Tools[tool] = to
		fmt.Fprintf(&b, "  %q: %s\n", tool, text)
	}
	if x.Bad == "" {
		h.writing(now, g)
		w.put(key, b.String())
		h.set(time.Now(), g)
		return
	}
	h.setBad(now, w.know.since(now), func(before *model.Grants) []*model.Grants {
		if before == nil {
			return []*model.Grants{{}}
		}
		kept := *before
		kept.Open = false
		return []*model.Grants{&kept}
	})
	w.put(key, spoil(b.String(), x.Bad))
	h.again()
}

func (w *world) editService(x step) {
	key := nacos.Key{Group: "proxy-services", DataID: x.Name + ".yaml"}
	h, now := w.content[x.Name], time.Now()
	if x.Gone {
		h.writing(now, nil)
		w.remove(key)
		h.set(time.Now(), nil)
		return
	}
	w.marks[x.Name]++
	n := w.marks[x.Name]
	var b strings.Builder
	if strings.Contains(x.Name, passedOn) {
		fmt.Fprintf(&b, "upstream: {url: \"http://%s/v%d\", transport: streamable}\n", w.address(x.Name, n), n)
	} else {
		fmt.Fprintf(&b, "upstream: {url: \"http://%s\"}\ntools:\n", w.address(x.Name, n))
		if len(x.Has) == 0 {
			b.Reset()
			fmt.Fprintf(&b, "upstream: {url: \"http://%s\"}\ntools: []\n", w.address(x.Name, n))
		}
		for _, tool := range x.Has {
			fmt.Fprintf(&b, "  - name: %s\n    description: d\n    args: [{name: n, type: integer, position: query}]\n    requestTemplate: {url: /v%d/%s, method: GET}\n    responseTemplate: {body: \"{{.text}} v%d\"}\n", tool, n, tool, n)
		}
	}
	if x.Bad == "" {
		next := &model.Service{Tools: x.toolsOf(), Mark: mark(n)}
		h.writing(now, next)
		w.put(key, b.String())
		h.set(time.Now(), next)
		return
	}
	h.setBad(now, w.know.since(now), func(before *model.Service) []*model.Service { return []*model.Service{before} })
	w.put(key, spoil(b.String(), x.Bad))
	h.again()
}

func mark(n int) string { return fmt.Sprint("v", n) }

// editEntry writes an entry of the registry: a new version or the newest one in place, in an order that Nacos uses.
func (w *world) editEntry(x step) {
	i := slices.Index(services, x.Name)
	id := fmt.Sprintf("0000000%d-0000-4000-8000-000000000000", i)
	manifest := nacos.Key{Group: "mcp-server-versions", DataID: id + "-mcp-versions.json"}
	now := time.Now()
	if x.Gone {
		w.on[x.Name].writing(now, nil)
		w.content[x.Name].writing(now, nil)
		w.remove(manifest)
		w.on[x.Name].set(time.Now(), nil)
		w.content[x.Name].set(time.Now(), nil)
		for _, at := range w.versions[x.Name] {
			w.remove(nacos.Key{Group: "mcp-server", DataID: fmt.Sprintf("%s-1.0.%d-mcp-server.json", id, at)})
			w.remove(nacos.Key{Group: "mcp-tools", DataID: fmt.Sprintf("%s-1.0.%d-mcp-tools.json", id, at)})
		}
		w.versions[x.Name] = nil
		return
	}
	w.marks[x.Name]++
	n := w.marks[x.Name]
	if !x.InPlace || len(w.versions[x.Name]) == 0 {
		w.versions[x.Name] = append(w.versions[x.Name], n)
	}
	at := w.versions[x.Name][len(w.versions[x.Name])-1]
	version, protocol := fmt.Sprint("1.0.", at), "http"
	if strings.Contains(x.Name, passedOn) {
		protocol = "mcp-streamable"
	}
	var becomes *struct{}
	if !x.Off {
		becomes = &struct{}{}
	}
	w.on[x.Name].writing(now, becomes)
	w.content[x.Name].writing(now, &model.Service{Tools: x.toolsOf(), Mark: mark(n)})
	w.instance(x.Name, n)
	var details []map[string]string
	for _, at := range w.versions[x.Name] {
		details = append(details, map[string]string{"version": fmt.Sprint("1.0.", at), "release_date": "2026-11-23T00:00:00Z"})
	}
	type object = map[string]any
	texts := []struct {
		key     nacos.Key
		content object
	}{
		{nacos.Key{Group: "mcp-tools", DataID: id + "-" + version + "-mcp-tools.json"}, entryTools(x, n)},
		{manifest, object{
			"id": id, "name": x.Name, "protocol": protocol, "frontProtocol": "mcp-streamable", "description": "d", "enabled": !x.Off, "status": "active",
			"capabilities": []string{"TOOL"}, "latestPublishedVersion": version, "versionDetails": details,
		}},
		{nacos.Key{Group: "mcp-server", DataID: id + "-" + version + "-mcp-server.json"}, object{
			"id": id, "name": x.Name, "protocol": protocol, "frontProtocol": "mcp-streamable", "description": "d", "enabled": true, "status": "active",
			"versionDetail": object{"version": version}, "capabilities": []string{"TOOL"}, "toolsDescriptionRef": id + "-" + version + "-mcp-tools.json",
			"remoteServerConfig": object{"exportPath": "/" + mark(n), "serviceRef": object{
				"namespaceId": w.namespace(), "groupName": "DEFAULT_GROUP", "serviceName": naming(x.Name, n), "transportProtocol": "http",
			}},
		}},
	}
	if x.Last {
		texts[1], texts[2] = texts[2], texts[1]
	}
	for i, one := range texts {
		if i > 0 {
			time.Sleep(time.Duration(x.Gap))
		}
		text, err := json.Marshal(one.content)
		if err != nil {
			panic(err)
		}
		w.put(one.key, string(text))
	}
	done := time.Now()
	w.on[x.Name].set(done, becomes)
	w.content[x.Name].set(done, &model.Service{Tools: x.toolsOf(), Mark: mark(n)})
}

func entryTools(x step, n int) map[string]any {
	type object = map[string]any
	list, meta := []any{}, object{}
	for _, tool := range x.Has {
		if strings.Contains(x.Name, passedOn) {
			break
		}
		list = append(list, object{"name": tool, "description": "d", "inputSchema": object{"type": "object", "properties": object{"n": object{"type": "integer"}}}})
		meta[tool] = object{"enabled": true, "templates": object{"json-go-template": object{
			"requestTemplate":  object{"url": fmt.Sprintf("/v%d/%s?n={{.args.n}}", n, tool), "method": "GET"},
			"responseTemplate": object{"body": fmt.Sprintf("{{.text}} v%d", n)},
		}}}
	}
	return object{"tools": list, "toolsMeta": meta, "securitySchemes": []any{}}
}

// setBad appends a version that is rejected: it means what f makes of each that may have been in force.
func (h *history[T]) setBad(at, since time.Time, f func(*T) []*T) {
	var may []*T
	good := h.good(since)
	for _, before := range good {
		may = append(may, f(before)...)
	}
	*h = append(*h, version[T]{from: at, may: may, good: good, bad: true, left: f})
}

func sorted[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// toolsOf returns the tools that a version of a service has: a backend that is an MCP server decides itself.
func (x step) toolsOf() []string {
	if strings.Contains(x.Name, passedOn) {
		return tools
	}
	return x.Has
}

// restarted notes that the proxy begins anew at an instant.
func (w *world) restarted(at time.Time) {
	floor := w.know.stored(at)
	for _, h := range w.consumers {
		h.restart(at, floor)
	}
	for _, h := range w.grants {
		h.restart(at, floor)
	}
	for _, h := range w.content {
		h.restart(at, floor)
	}
	w.know.restart(at)
}
