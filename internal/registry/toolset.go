package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// ToolSet is what a document of mcp-tools holds: the tools of one version, with and without a template.
type ToolSet struct {
	DataID          string
	SecuritySchemes []SecurityScheme
	tools           []storedTool
	hidden          map[string]bool
	downstream      *SecurityRef
	upstream        *SecurityRef
	unusable        map[string]string // schemes that were left out, by id: why
	downstreamLine  int               // 0 where unknown
	upstreamLine    int
}

// storedTool is a tool, and what keeps it from being called as HTTP.
type storedTool struct {
	Tool
	untemplated string
	faults      []Rejection
}

// ParseTools reads a document of mcp-tools. The ToolSet is nil where it is rejected. Faults of single tools
// come out of Assemble: whether a tool needs a template depends on the server's protocol.
func ParseTools(dataID string, content []byte) (*ToolSet, []Rejection) {
	s := &stored{group: GroupTools, dataID: dataID}
	root, ok := s.open(content)
	if !ok {
		return nil, s.found
	}
	if encrypted(root) {
		s.reject("encryptData", "the tools are encrypted, and the proxy has no key for them: publish them unencrypted")
		return nil, s.found
	}
	set := &ToolSet{DataID: dataID, hidden: map[string]bool{}}
	s.expect(root, "", sequence, "tools", "securitySchemes")
	s.expect(root, "", mapping, "toolsMeta", "extensions")
	s.expect(root.object("extensions"), "extensions.", mapping, "server.defaultDownstreamSecurity", "server.defaultUpstreamSecurity")
	s.readStoredSchemes(set, root["securitySchemes"])
	extensions := root.object("extensions")
	set.downstream = storedSecurity(extensions.object("server.defaultDownstreamSecurity"))
	if set.downstream != nil && !set.downstream.Passthrough {
		s.warn("extensions.server.defaultDownstreamSecurity", idleSecurity)
	}
	set.upstream = storedSecurity(extensions.object("server.defaultUpstreamSecurity"))
	set.downstreamLine = s.lineOf(extensions, "server.defaultDownstreamSecurity")
	set.upstreamLine = s.lineOf(extensions, "server.defaultUpstreamSecurity")
	meta := root.object("toolsMeta")
	for name := range meta {
		in := &stored{group: s.group, dataID: s.dataID, tool: shown(name), doc: s.doc}
		if !in.flag(meta.object(name), "enabled", "toolsMeta."+shown(name)+".enabled", true) {
			set.hidden[strings.Clone(name)] = true
		}
		s.found = append(s.found, in.found...)
	}
	names := servedNames(root["tools"])
	taken := map[string]bool{}
	root["tools"].ForEach(func(_, v gjson.Result) bool {
		m := membersOf(v)
		written := m.text("name")
		name := written
		if joined, ok := names[written]; ok {
			name = joined
		}
		t := s.readStoredTool(len(set.tools), v, m, meta.object(written), name, taken[name])
		taken[name] = true
		if set.hidden[written] {
			set.hidden[name] = true
		}
		set.tools = append(set.tools, t)
		return true
	})
	if Rejects(s.found) {
		return nil, s.found
	}
	return set, s.found
}

// encrypted reports whether the tools are somewhere in encryptData, where newer Nacos may have them instead of in the document.
func encrypted(root members) bool {
	if list := root["tools"]; list.IsArray() && list.Get("0").Exists() {
		return false
	}
	return root.object("encryptData").text("data") != "" || strings.Contains(strings.ToLower(root.text("specificationType")), "encrypt")
}

// readStoredSchemes reads the security schemes. One that cannot be used is left out, by name, so that the tools which name it
// can say why they are not served.
func (s *stored) readStoredSchemes(set *ToolSet, list gjson.Result) {
	i := -1
	list.ForEach(func(_, v gjson.Result) bool {
		i++
		m := membersOf(v)
		scheme := SecurityScheme{ID: m.text("id"), Type: m.text("type"), Scheme: m.text("scheme"), In: m.text("in"), Name: m.text("name"), DefaultCredential: m.text("defaultCredential")}
		if scheme == (SecurityScheme{}) {
			return true
		}
		switch strings.ToLower(scheme.Type) {
		case "oauth2", "openidconnect":
			s.warn(fmt.Sprintf("securitySchemes[%d].type", i), "%q counts as http bearer, with an access token as the credential: no OAuth flow is run towards backends", shown(scheme.Type))
			scheme.Type, scheme.Scheme = "http", "bearer"
		}
		scheme.Scheme = strings.ToLower(scheme.Scheme)
		if field, message := scheme.fault(); message != "" {
			s.warn(fmt.Sprintf("securitySchemes[%d].%s", i, field), "%s: the scheme is left out", message)
			if len(set.unusable) < maxSchemes && scheme.ID != "" {
				if set.unusable == nil {
					set.unusable = map[string]string{}
				}
				set.unusable[scheme.ID] = field + ": " + message
			}
			return true
		}
		set.SecuritySchemes = append(set.SecuritySchemes, scheme)
		return true
	})
}

// servedNames returns the names under which tools are served whose own have blanks, which a name cannot have but the
// operationId of an OpenAPI document can: with underscores, unless that is the name of another tool.
func servedNames(list gjson.Result) map[string]string {
	var blank []string
	list.ForEach(func(_, v gjson.Result) bool {
		if name := member(v, "name"); !validTool(name.Str) {
			blank = append(blank, textOf(name))
		}
		return true
	})
	if blank == nil {
		return nil
	}
	taken := map[string]bool{}
	list.ForEach(func(_, v gjson.Result) bool {
		taken[textOf(member(v, "name"))] = true
		return true
	})
	names := map[string]string{}
	for _, name := range blank {
		if joined := strings.Join(strings.Fields(name), "_"); joined != "" && !taken[joined] {
			names[name] = joined
		}
	}
	return names
}

func storedSecurity(m members) *SecurityRef {
	ref := SecurityRef{ID: m.text("id"), Credential: m.text("credential"), Passthrough: m.text("passthrough") == "true"}
	if ref.ID == "" {
		return nil
	}
	return &ref
}

// readStoredTool reads tools[index], which is served as name, together with its entry in toolsMeta.
func (s *stored) readStoredTool(index int, at gjson.Result, m, meta members, name string, taken bool) storedTool {
	in := &stored{group: s.group, dataID: s.dataID, tool: indexed("tools", index), doc: s.doc, line: s.doc.lineOf(at.Index)}
	t := storedTool{Tool: Tool{
		Name: name, Title: m.text("title"), Description: m.text("description"),
		Line: in.line, Meta: m.raw("_meta"), InputSchema: m.raw("inputSchema"), OutputSchema: m.raw("outputSchema"),
	}}
	switch {
	case t.Name == "":
		in.reject("name", `missing field "name"`)
	case !validTool(t.Name):
		in.reject("name", "must be 1 to 256 characters without blanks and control characters")
	case taken:
		in.tool = shown(t.Name)
		in.reject("name", "another tool has this name already")
		t.faults = in.found
		return t
	default:
		in.tool = shown(t.Name)
		if given := m.text("name"); given != t.Name {
			in.warn("name", "%q holds blanks: the tool is served, and granted, as %q", shown(given), shown(t.Name))
		}
	}
	if t.InputSchema == nil {
		if _, there := m["inputSchema"]; there {
			in.reject("inputSchema", "must be an object")
		}
		t.InputSchema = json.RawMessage(emptySchema)
	}
	in.expect(m, "", mapping, "security")
	in.expectOrLeave(m, textual, "title", "description")
	in.expectOrLeave(m, mapping, "annotations", "_meta", "outputSchema")
	complain := func(field, message string) { in.warn(field, "%s", message) }
	t.Annotations, t.Icons = readAnnotations(m.raw("annotations"), complain), readIcons(m["icons"], complain)
	template := meta.object("templates").object("json-go-template")
	switch {
	case meta == nil:
		t.untemplated = "is not in toolsMeta"
	case template == nil:
		t.untemplated = "has no json-go-template"
	default:
		in.readTemplate(&t.Tool, template)
	}
	if t.Security == nil {
		t.Security = storedSecurity(m.object("security"))
	}
	if t.Security != nil && !t.Security.Passthrough {
		in.warn("security", idleSecurity)
	}
	t.faults = in.found
	return t
}

func (s *stored) readTemplate(t *Tool, m members) {
	q := m.object("requestTemplate")
	s.expect(m, "", mapping, "requestTemplate", "responseTemplate", "argsPosition", "security")
	s.expect(m, "", textual, "errorResponseTemplate")
	s.expect(q, "requestTemplate.", textual, "url", "method")
	s.expect(q, "requestTemplate.", mapping, "security")
	if h := q["headers"]; h.Exists() && !h.IsObject() {
		s.expect(q, "requestTemplate.", sequence, "headers")
	}
	p := m.object("responseTemplate")
	s.expect(p, "responseTemplate.", textual, "body", "prependBody", "appendBody")
	headers := s.headers(q["headers"])
	t.Request = RequestTemplate{
		URL: q.text("url"), Method: q.text("method"), Body: s.body(q, headers), Headers: headers,
		ArgsToJSONBody: s.flag(q, "argsToJsonBody", "requestTemplate.argsToJsonBody", false),
		ArgsToURLParam: s.flag(q, "argsToUrlParam", "requestTemplate.argsToUrlParam", false),
		ArgsToFormBody: s.flag(q, "argsToFormBody", "requestTemplate.argsToFormBody", false),
		Security:       storedSecurity(q.object("security")),
	}
	t.Response = ResponseTemplate{Body: p.text("body"), PrependBody: p.text("prependBody"), AppendBody: p.text("appendBody")}
	t.ErrorResponse = m.text("errorResponseTemplate")
	t.Security = storedSecurity(m.object("security"))
	where := map[string]string{}
	given := m.object("argsPosition")
	for name := range given {
		position := strings.ToLower(given.text(name))
		if position != "" && !contains(positions, position) {
			s.reject("argsPosition."+shown(name), "%s", positionFault(position))
		}
		where[name] = position
	}
	t.Args = argsOfSchema(t.InputSchema, where, t.Request.URL)
}

// headers reads a list of {key, value}, or an object, in the document's order.
func (s *stored) headers(v gjson.Result) []KeyValue {
	var list []KeyValue
	add := func(key, value string) {
		switch why := headerFault(key); {
		case key == "":
		case why != "":
			s.warn("requestTemplate.headers", "ignored: %s", why)
		default:
			list = append(list, KeyValue{Key: key, Value: value})
		}
	}
	switch {
	case v.IsArray():
		v.ForEach(func(_, one gjson.Result) bool {
			m := membersOf(one)
			add(m.text("key"), m.text("value"))
			return true
		})
	case v.IsObject():
		m := membersOf(v)
		done := map[string]bool{}
		v.ForEach(func(k, _ gjson.Result) bool {
			if name := k.String(); !done[name] {
				done[name] = true
				add(strings.Clone(name), m.text(name))
			}
			return true
		})
	}
	return list
}

// PassthroughFaults returns what keeps the credentials that t names from being sent to an MCP backend. It does not concern
// tools that become HTTP requests.
func (t *ToolSet) PassthroughFaults() []Rejection {
	s := &stored{group: GroupTools, dataID: t.DataID}
	check := func(field string, ref *SecurityRef, line int) {
		if ref == nil || slices.ContainsFunc(t.SecuritySchemes, func(s SecurityScheme) bool { return s.ID == ref.ID }) {
			return
		}
		s.line = line
		s.reject("extensions.server."+field+".id", "%s", noScheme(ref.ID, t.unusable, nil))
	}
	if d := t.downstream; d != nil && d.Passthrough {
		check("defaultDownstreamSecurity", d, t.downstreamLine)
	}
	check("defaultUpstreamSecurity", t.upstream, t.upstreamLine)
	return s.found
}

// Disabled returns the names of the tools that are disabled for everyone, sorted.
func (t *ToolSet) Disabled() []string { return slices.Sorted(maps.Keys(t.hidden)) }

// Names gives the names of the tools that are not disabled, in document order, those that have no template too.
func (t *ToolSet) Names() []string {
	names := make([]string, 0, len(t.tools))
	for i := range t.tools {
		if name := t.tools[i].Name; name != "" && !t.hidden[name] {
			names = append(names, name)
		}
	}
	return names
}
