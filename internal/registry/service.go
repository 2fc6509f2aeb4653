package registry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ParseService reads a proxy-services document: the dialect of Higress's mcp-server plugin and our upstream
// block. The Definition is nil where the document is rejected whole; a tool with a fault is left out of it alone.
func ParseService(dataID string, content []byte) (*Definition, []Rejection) {
	r, name, root, ok := open(GroupServices, dataID, content)
	if !ok {
		return nil, r.sorted()
	}
	o := r.object(root, "", "server", "upstream", "tools", "allowTools", "toolSet", "description")
	if o == nil {
		return nil, r.sorted()
	}
	def := &Definition{Name: name, Description: o.text("description")}
	if o.has("toolSet") {
		o.reject("toolSet", "composing a service from the tools of others is not supported: publish them as services of their own")
	}
	server := readServer(r, o, def)
	upstream := readBackend(r, o, def)
	def.kind(o, server, upstream)
	checkSchemes(r, "server.securitySchemes", def.SecuritySchemes)
	def.defaultSecurity(r, o, server)
	if def.Kind.Converted() {
		readTools(r, o, def, server)
	} else if n := o.at["tools"]; !isNull(n) && len(n.Content) > 0 {
		r.warn(n, "tools", "ignored field %q: an MCP backend lists its own tools", "tools")
	}
	def.allowOnly(o, server)
	if r.refused {
		return nil, r.sorted()
	}
	return def, r.sorted()
}

// server is what the server block says besides what goes straight into the Definition.
type server struct {
	*object
	proxied    bool // type: mcp-proxy
	transport  Transport
	url        string
	timeout    time.Duration
	downstream *SecurityRef
	upstream   *SecurityRef
}

func readServer(r *reader, o *object, def *Definition) *server {
	s := &server{}
	s.object = o.object("server", "name", "type", "transport", "mcpServerURL", "timeout", "config", "securitySchemes",
		"allowTools", "description", "defaultDownstreamSecurity", "defaultUpstreamSecurity",
		"passthroughAuthHeader", "version", "protocolStrategy")
	if s.object == nil {
		return s
	}
	s.text("name") // informational: the service is named by its data id
	if d := s.text("description"); d != "" {
		def.Description = d
	}
	s.proxied = s.oneOf("type", "rest", "mcp-proxy") == "mcp-proxy"
	switch s.oneOf("transport", "http", "streamable", "sse") {
	case "http", "streamable":
		s.transport = Streamable
	case "sse":
		s.transport = SSE
	}
	if s.transport != "" && !s.proxied {
		s.ignore("transport", "it needs type: mcp-proxy; say upstream.transport for an MCP backend")
	}
	s.url = s.str("mcpServerURL")
	s.timeout = time.Duration(s.integer("timeout", int(maxTimeout.Milliseconds()))) * time.Millisecond
	s.ignore("version", "clients are told the backend's version")
	s.ignore("protocolStrategy", "every protocol revision is served")
	if s.boolean("passthroughAuthHeader", false) {
		s.ignore("passthroughAuthHeader", "Authorization is where the proxy's own keys stand; use security with passthrough: true and a scheme of another header")
	}
	if n := s.at["config"]; !isNull(n) {
		if n.Kind != yaml.MappingNode {
			s.reject("config", "must be a mapping, not %s", kindOf(n))
		} else {
			def.Config, _ = r.value(n, "server.config").(map[string]any)
		}
	}
	def.SecuritySchemes = readSchemes(s.object)
	s.downstream = readSecurity(s.object, "defaultDownstreamSecurity", "id", "passthrough")
	s.upstream = readSecurity(s.object, "defaultUpstreamSecurity", "id", "credential")
	return s
}

// maxSchemes bounds the work of looking schemes up by id.
const maxSchemes = 100

func readSchemes(o *object) []SecurityScheme {
	var list []SecurityScheme
	if n := o.at["securitySchemes"]; n != nil && len(n.Content) > maxSchemes {
		o.reject("securitySchemes", "must be at most %d schemes", maxSchemes)
		return nil
	}
	o.each("securitySchemes", func(path string, n *yaml.Node) {
		s := o.r.object(n, path, "id", "type", "scheme", "in", "name", "defaultCredential")
		if s == nil {
			return
		}
		scheme := SecurityScheme{
			ID: s.text("id"), Type: s.text("type"), Scheme: s.text("scheme"), In: s.text("in"), Name: s.text("name"),
			DefaultCredential: s.text("defaultCredential"), Line: n.Line,
		}
		if scheme == (SecurityScheme{Line: n.Line}) {
			// Consoles leave such entries behind: {id: "", type: ""}.
			o.r.warn(n, path, "ignored: the scheme says nothing")
			return
		}
		list = append(list, scheme)
	})
	return list
}

// checkSchemes rejects schemes that could not carry a credential. It runs on what is read already, so that
// its positions are the schemes' lines.
func checkSchemes(r *reader, path string, schemes []SecurityScheme) {
	seen := map[string]bool{}
	for i, s := range schemes {
		if field, message := s.fault(); message != "" {
			r.reject(&yaml.Node{Line: s.Line}, fmt.Sprintf("%s[%d].%s", path, i, field), "%s", message)
		}
		if seen[s.ID] {
			r.reject(&yaml.Node{Line: s.Line}, fmt.Sprintf("%s[%d].id", path, i), "another scheme has the id %q already", shown(s.ID))
		}
		seen[s.ID] = true
	}
}

// fault tells what is wrong with a scheme: the field and a message; "" if nothing is.
func (s SecurityScheme) fault() (field, message string) {
	switch {
	case s.ID == "":
		return "id", `missing field "id"`
	case s.Type == "":
		return "type", `missing field "type"`
	case s.Type != "http" && s.Type != "apiKey":
		return "type", fmt.Sprintf(`must be "http" or "apiKey", not %q%s`, shown(s.Type), suggest(s.Type, []string{"http", "apiKey"}))
	case s.Type == "http" && s.Scheme != "basic" && s.Scheme != "bearer":
		return "scheme", fmt.Sprintf(`must be "basic" or "bearer" where type is http, not %q%s`, shown(s.Scheme), suggest(s.Scheme, []string{"basic", "bearer"}))
	case s.Type == "apiKey" && s.In != "header" && s.In != "query":
		return "in", fmt.Sprintf(`must be "header" or "query" where type is apiKey, not %q%s`, shown(s.In), suggest(s.In, []string{"header", "query"}))
	case s.Type == "apiKey" && s.Name == "":
		return "name", `missing field "name"`
	case s.Type == "apiKey" && s.In == "header":
		if why := unsafeToSend(s.Name); why != "" {
			return "name", fmt.Sprintf("header %q cannot carry a credential: %s", shown(s.Name), why)
		}
	}
	return "", ""
}

// readSecurity reads a reference to a scheme; nil where there is none. {id: ""} is none too.
func readSecurity(o *object, name string, known ...string) *SecurityRef {
	s := o.object(name, known...)
	if s == nil {
		return nil
	}
	ref := SecurityRef{ID: s.text("id"), Credential: s.text("credential"), Passthrough: s.boolean("passthrough", false)}
	if ref == (SecurityRef{}) {
		return nil
	}
	if ref.ID == "" {
		s.require("id")
	}
	return &ref
}

// backend is what the upstream block says.
type backend struct {
	*object
	transport Transport
	security  *SecurityRef
}

func readBackend(r *reader, o *object, def *Definition) *backend {
	u := &backend{}
	u.object = o.object("upstream", "url", "nacos", "transport", "path", "timeout", "tls", "forwardHeaders", "security")
	if u.object == nil {
		return u
	}
	if u.has("url") {
		if s, ok := r.str(u.at["url"], "upstream.url"); ok {
			def.Backend.URL = s
			if fault := urlFault(s); fault != "" {
				u.reject("url", "%s", fault)
			}
		}
	}
	if ref := u.object.object("nacos", "namespace", "group", "service", "scheme"); ref != nil {
		b := &BackendRef{Namespace: ref.text("namespace"), Group: ref.text("group"), Service: ref.str("service"), Scheme: ref.oneOf("scheme", "http", "https")}
		ref.require("service")
		if b.Group == "" {
			b.Group = "DEFAULT_GROUP"
		}
		if b.Scheme == "" {
			b.Scheme = "http"
		}
		def.Backend.Ref = b
	}
	if u.has("url") && u.has("nacos") {
		u.reject("nacos", "is given together with upstream.url: keep one")
	}
	switch u.oneOf("transport", "streamable", "http", "sse") {
	case "streamable", "http":
		u.transport = Streamable
	case "sse":
		u.transport = SSE
	}
	if u.has("path") {
		def.Backend.Path = u.str("path")
		if fault := pathFault(def.Backend.Path); fault != "" && def.Backend.Path != "" {
			u.reject("path", "%s", fault)
		}
		if def.Backend.URL != "" {
			u.reject("path", "is for a backend in the naming service: write the path into upstream.url")
		}
	}
	def.Backend.Timeout = u.duration("timeout")
	def.Backend.TLS = readTLS(u.object)
	def.Backend.ForwardHeaders = readForwardHeaders(u.object)
	u.security = readSecurity(u.object, "security", "id", "credential")
	return u
}

// kind decides between conversion and passthrough, and completes the backend of the latter.
func (def *Definition) kind(o *object, s *server, u *backend) {
	transport := u.transport
	if transport == "" {
		transport = s.transport
	}
	if def.Backend.Timeout == 0 {
		def.Backend.Timeout = s.timeout
	}
	if u.transport == "" && !s.proxied {
		def.Kind, def.Protocol = ConvertedDocument, "http"
		def.Backend.Security = u.security
		if strings.Contains(def.Backend.URL, "?") {
			u.reject("url", "must not hold a query: write it into the url of each tool")
		}
		if s.url != "" {
			s.reject("mcpServerURL", `needs server.type: mcp-proxy`)
		}
		if def.Backend.Path != "" {
			u.reject("path", "is for MCP backends: write it into the url of each tool")
		}
		if n := o.at["tools"]; isNull(n) {
			if def.Backend.URL != "" || def.Backend.Ref != nil {
				o.r.reject(o.node, "tools", `missing field "tools" (for an MCP backend say upstream.transport: streamable or sse)`)
			} else {
				o.require("tools")
				if n != nil {
					o.reject("tools", "must hold at least one tool")
				}
			}
		}
		return
	}
	def.Kind, def.Transport, def.Protocol = PassthroughDocument, transport, "mcp-streamable"
	if transport == "" {
		def.Transport = Streamable
	}
	if def.Transport == SSE {
		def.Protocol = "mcp-sse"
	}
	def.Backend.Security = u.security
	if def.Backend.Security == nil {
		def.Backend.Security = s.upstream
	}
	def.endpoint(o, s, u)
}

// endpoint completes the backend of a passthrough service from server.mcpServerURL, which is a URL or, beside
// upstream.nacos, a path.
func (def *Definition) endpoint(o *object, s *server, u *backend) {
	switch {
	case s.url == "":
	case def.Backend.URL != "":
		s.reject("mcpServerURL", "is given together with upstream.url: keep one")
	case def.Backend.Ref != nil:
		if fault := pathFault(s.url); fault != "" {
			s.reject("mcpServerURL", "%s", fault)
		} else if def.Backend.Path != "" {
			s.reject("mcpServerURL", "is given together with upstream.path: keep one")
		}
		def.Backend.Path = s.url
	case strings.HasPrefix(s.url, "/"):
		s.reject("mcpServerURL", "is a path: give the whole URL, or the backend as upstream.nacos")
	default:
		if fault := urlFault(s.url); fault != "" {
			s.reject("mcpServerURL", "%s", fault)
		}
		def.Backend.URL = s.url
	}
	if def.Backend.URL == "" && def.Backend.Ref == nil && !u.has("url") && !s.has("mcpServerURL") {
		o.r.reject(o.node, "upstream", "must say where the MCP backend is: url or nacos")
	}
	if def.Backend.Ref != nil && def.Backend.Path == "" {
		def.Backend.Path = "/mcp"
		if def.Transport == SSE {
			def.Backend.Path = "/sse"
		}
	}
}

// defaultSecurity checks the references at service level.
func (def *Definition) defaultSecurity(r *reader, o *object, s *server) {
	for _, ref := range []struct {
		field string
		ref   *SecurityRef
	}{{"server.defaultDownstreamSecurity.id", s.downstream}, {"server.defaultUpstreamSecurity.id", s.upstream}, {"upstream.security.id", def.Backend.Security}} {
		if ref.ref == nil || ref.ref.ID == "" || ref.ref == s.upstream && strings.HasPrefix(ref.field, "upstream") {
			continue
		}
		if !def.HasScheme(ref.ref.ID) {
			r.reject(o.find(ref.field), ref.field, "no security scheme has the id %q%s", shown(ref.ref.ID), suggest(ref.ref.ID, def.schemeIDs()))
		}
	}
}

// HasScheme tells whether a security scheme has this id. After WithUpstream it is worth asking for
// Backend.Security: an upstreams document may name a scheme of the service's own.
func (def *Definition) HasScheme(id string) bool {
	return slices.ContainsFunc(def.SecuritySchemes, func(s SecurityScheme) bool { return s.ID == id })
}

func (def *Definition) schemeIDs() []string {
	ids := make([]string, len(def.SecuritySchemes))
	for i, s := range def.SecuritySchemes {
		ids[i] = s.ID
	}
	return ids
}

// allowOnly applies allowTools, which stands at the top of Higress's documents or in the server block.
func (def *Definition) allowOnly(o *object, s *server) {
	var given *object
	var allow []string
	for _, from := range []*object{o, s.object} {
		if from.has("allowTools") && !isNull(from.at["allowTools"]) {
			given = from
			allow = append(allow, from.strings("allowTools")...)
		}
	}
	if given == nil {
		return
	}
	if len(allow) == 0 {
		// Higress takes an empty list for "no restriction"; whoever writes it may mean the opposite.
		given.reject("allowTools", "must name at least one tool, or be left out to allow all")
		return
	}
	def.AllowTools = allow
	allowed := make(map[string]bool, len(allow))
	for _, name := range allow {
		allowed[name] = true
	}
	kept := def.Tools[:0:0]
	for _, t := range def.Tools {
		if allowed[t.Name] {
			kept = append(kept, t)
			continue
		}
		if def.Hidden == nil {
			def.Hidden = map[string]bool{}
		}
		def.Hidden[t.Name] = true
	}
	def.Tools = kept
}

// urlFault tells why s cannot be a backend's URL; "" if it can.
func urlFault(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not a URL" // the error would repeat what may hold a password
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with http:// or https://"
	case u.Hostname() == "":
		return "names no host"
	case u.User != nil:
		return "must not hold a user or password: use security"
	case u.Fragment != "" || strings.Contains(s, "#"):
		return "must not hold a fragment"
	}
	return ""
}

// pathFault tells why s cannot be the path (and query) of an endpoint; "" if it can.
func pathFault(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") {
		return "must be a path that begins with one /"
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f || c == '\\' || c == '#' {
			return "must be a path without blanks, control characters, '\\' and '#'"
		}
	}
	if _, err := url.Parse(s); err != nil {
		return "is not a path"
	}
	return ""
}
