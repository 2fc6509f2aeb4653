package openapi

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxListed bounds the findings that are repeated in the document's header; the Result has all.
const maxListed = 30

// flowWidth is up to where a mapping is written on one line.
const flowWidth = 110

// document writes the service document.
func (im *importer) document() ([]byte, error) {
	doc := newMap()
	server := newMap()
	server.add("name", str(im.options.Name))
	if len(im.schemes) > 0 {
		config, schemes := newMap(), &yaml.Node{Kind: yaml.SequenceNode}
		for _, s := range im.schemes {
			value := str("${credential:" + im.options.Name + "/" + s.id + "}")
			value.LineComment = s.about
			config.add(s.id, value)
			schemes.Content = append(schemes.Content, oneLine(s.yaml("{{.config."+s.id+"}}")))
		}
		server.add("config", config.node())
		server.add("securitySchemes", schemes)
	}
	doc.add("server", server.node())
	upstream := newMap()
	upstream.add("url", str(im.upstream))
	doc.add("upstream", upstream.node())
	tools := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range im.tools {
		tools.Content = append(tools.Content, t.yaml())
	}
	doc.add("tools", tools)

	root := doc.node()
	// A comment on the first key would be glued to it: the header stands by itself.
	var b bytes.Buffer
	for _, line := range strings.Split(strings.TrimRight(im.header(), "\n"), "\n") {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write document: %w", err)
	}
	return spaced(b.Bytes()), enc.Close()
}

// spaced puts an empty line before each block at the top and before each tool.
func spaced(doc []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(doc) + len(doc)/50)
	first, comment, tools := true, false, false
	for line := range bytes.Lines(doc) {
		header := line[0] == '#'
		tool := tools && (bytes.HasPrefix(line, []byte("  - ")) || bytes.HasPrefix(line, []byte("  # ")))
		top := line[0] >= 'a' && line[0] <= 'z'
		if top && !first || tool && !comment && !first {
			b.WriteByte('\n')
		}
		first = top && bytes.HasPrefix(line, []byte("tools:"))
		tools = tools || first
		comment = bytes.HasPrefix(line, []byte("  # "))
		if header {
			first = false
		}
		b.Write(line)
	}
	return b.Bytes()
}

// header says what the document is and what is left to do.
func (im *importer) header() string {
	var b strings.Builder
	r := &im.result
	title := strings.TrimSpace(strings.ReplaceAll(r.Title, "\n", " ") + " " + clean(r.Version, maxTitle))
	if title == "" {
		title = "An API"
	}
	fmt.Fprintf(&b, "%s: %d of %s as tools, from its API description. Yours to edit.\n", title, len(im.tools), count(r.Found, "operation"))
	if len(im.schemes) > 0 {
		fmt.Fprintf(&b, "\nThe backend wants credentials: create proxy-credentials/%s.yaml with\n", im.options.Name)
		fmt.Fprintf(&b, "  services: [%s]\n  hosts: [%s]\n  values:\n", im.options.Name, strings.Join(im.hosts(), ", "))
		for _, s := range im.schemes {
			fmt.Fprintf(&b, "    %s: …  # %s\n", s.id, s.about)
		}
	}
	findings := func(heading string, list []Finding) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%s\n", heading)
		for _, f := range list[:min(len(list), maxListed)] {
			fmt.Fprintf(&b, "  %s\n", clean(strings.ReplaceAll(f.String(), "\n", " "), 200))
		}
		if more := len(list) - maxListed; more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
	}
	findings("Not converted:", r.Skipped)
	findings("To be looked at:", slices.DeleteFunc(slices.Clone(r.Notes), func(f Finding) bool { return f.Operation != "" }))
	return b.String()
}

// hosts are those that tools with a credential send it to.
func (im *importer) hosts() (hosts []string) {
	for _, t := range im.tools {
		base := t.base
		if base == "" {
			base = im.upstream
		}
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || t.security == "" || slices.Contains(hosts, u.Host) {
			continue
		}
		if hosts = append(hosts, u.Host); len(hosts) == maxListed {
			break
		}
	}
	return hosts
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// yaml gives a securitySchemes entry.
func (s *scheme) yaml(credential string) *yaml.Node {
	m := newMap()
	for _, f := range s.fields(credential) {
		m.add(f[0], str(f[1]))
	}
	return m.node()
}

func (s *scheme) fields(credential string) (list [][2]string) {
	for _, f := range [][2]string{{"id", s.id}, {"type", s.kind}, {"scheme", s.scheme}, {"in", s.in}, {"name", s.name}, {"defaultCredential", credential}} {
		if f[1] != "" {
			list = append(list, f)
		}
	}
	return list
}

// yaml gives a tools entry.
func (t *tool) yaml() *yaml.Node {
	plain := t.plain()
	if !plain {
		t.templateAll()
	}
	m := newMap()
	m.add("name", str(t.name))
	if t.title != "" {
		m.add("title", str(t.title))
	}
	m.add("description", prose(t.description))
	if a := t.annotations(); a != nil {
		m.add("annotations", oneLine(fromNode(a)))
	}
	if plain && len(t.args) > 0 {
		args := &yaml.Node{Kind: yaml.SequenceNode}
		for _, a := range t.args {
			args.Content = append(args.Content, a.yaml())
		}
		m.add("args", args)
	} else if len(t.args) > 0 {
		m.add("inputSchema", compact(fromNode(t.inputSchema())))
		if p := t.positions(); len(p.keys) > 0 {
			m.add("argsPosition", oneLine(fromNode(p)))
		}
	}
	m.add("requestTemplate", compact(fromNode(t.request())))
	if t.output != nil {
		m.add("outputSchema", compact(fromNode(t.output)))
	}
	n := m.node()
	for i, note := range t.notes {
		if i > 0 {
			n.HeadComment += "\n"
		}
		n.HeadComment += "# " + clean(strings.ReplaceAll(note, "\n", " "), 200)
	}
	return n
}

// plainKeywords are what an entry of args can say.
var plainKeywords = []string{"type", "description", "enum", "items", "properties"}

// plain tells whether the arguments lose nothing as entries of args, which are the easier ones to edit. A path whose
// "/" stay has no other way.
func (t *tool) plain() bool {
	must, loses := false, false
	for _, a := range t.args {
		must = must || a.multi
		types := typesOf(a.schema.get("type"))
		loses = loses || len(types) != 1 || types[0] == "null" || a.schema.get("items").is(boolean)
		for _, key := range a.schema.keys {
			loses = loses || !slices.Contains(plainKeywords, key)
		}
	}
	return must || !loses
}

// templateAll makes templates of what inputSchema and argsPosition cannot say: lists that are repeated.
func (t *tool) templateAll() {
	for _, a := range t.args {
		if a.explode && a.position == "query" {
			t.query = append(t.query, a.pair())
			a.explode, a.position = false, ""
		}
	}
	if slices.ContainsFunc(t.args, func(a *argument) bool { return a.explode && a.position == "body" }) {
		t.formTemplate(nil)
	}
}

// annotations follow from what HTTP says of the method (RFC 9110, section 9.2).
func (t *tool) annotations() *node {
	switch t.method {
	case "GET", "HEAD", "OPTIONS":
		return newObject().set("readOnlyHint", newBool(true))
	case "PUT":
		return newObject().set("idempotentHint", newBool(true))
	case "DELETE":
		return newObject().set("destructiveHint", newBool(true)).set("idempotentHint", newBool(true))
	}
	return nil
}

func (t *tool) inputSchema() *node {
	properties, required := newObject(), newList()
	for _, a := range t.args {
		properties.set(a.name, a.schema)
		if a.required {
			required.items = append(required.items, newText(a.name))
		}
	}
	schema := newObject().set("type", newText("object")).set("properties", properties)
	if len(required.items) > 0 {
		schema.set("required", required)
	}
	return schema
}

func (t *tool) positions() *node {
	p := newObject()
	for _, a := range t.args {
		if a.position != "" {
			p.set(a.name, newText(a.position))
		}
	}
	return p
}

func (t *tool) request() *node {
	target := t.base + t.path
	if len(t.query) > 0 {
		_, own, has := strings.Cut(t.path, "?")
		if !has {
			target += "?"
		}
		target += joinPairs(t.query, own != "" && !strings.HasSuffix(own, "&"))
	}
	r := newObject().set("url", newText(target)).set("method", newText(t.method))
	if len(t.headers) > 0 {
		headers := newList()
		for _, h := range t.headers {
			headers.items = append(headers.items, newObject().set("key", newText(h[0])).set("value", newText(h[1])))
		}
		r.set("headers", headers)
	}
	if t.body != "" {
		r.set("body", newText(t.body))
	}
	if t.security != "" {
		r.set("security", newObject().set("id", newText(t.security)))
	}
	return r
}

// yaml gives an args entry.
func (a *argument) yaml() *yaml.Node {
	m := newMap()
	m.add("name", str(a.name))
	if types := typesOf(a.schema.get("type")); len(types) > 0 {
		m.add("type", str(types[0]))
	}
	if a.required {
		m.add("required", fromNode(newBool(true)))
	}
	if v := a.schema.get("enum"); v != nil {
		m.add("enum", fromNode(v))
	}
	if a.position != "" {
		m.add("position", str(a.position))
	}
	if a.explode {
		m.add("explode", fromNode(newBool(true)))
	}
	if a.multi {
		m.add("multiSegment", fromNode(newBool(true)))
	}
	if d := a.schema.get("description").str(); d != "" {
		m.add("description", prose(d))
	}
	for _, key := range []string{"items", "properties"} {
		if v := a.schema.get(key); v.is(object) {
			m.add(key, compact(fromNode(v)))
		}
	}
	return compact(m.node())
}
