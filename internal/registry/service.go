package registry

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
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
	if forward := &def.Backend.ForwardHeaders; server.authorization && !contains(*forward, "Authorization") {
		*forward = append(*forward, "Authorization")
	}
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
	proxied bool // type: mcp-proxy
	// authorization is Higress's spelling of forwardHeaders: [Authorization].
	authorization bool
	transport     Transport
	url           string
	timeout       time.Duration
	downstream    *SecurityRef
	upstream      *SecurityRef
}

func readServer(r *reader, o *object, def *Definition) *server {
	s := &server{}
	s.object = o.object("server", "name", "type", "transport", "mcpServerURL", "timeout", "config", "securitySchemes",
		"allowTools", "description", "defaultDownstreamSecurity", "defaultUpstreamSecurity",
		"passthroughAuthHeader", "version", "protocolStrategy")
	if s.object == nil {
		return s
	}
	if name := s.text("name"); name != def.Name { // the service is named by its data id
		def.Title = name
	}
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
	s.authorization = s.boolean("passthroughAuthHeader", false)
	if n := s.at["config"]; !isNull(n) {
		if n.Kind != yaml.MappingNode {
			s.reject("config", "must be a mapping, not %s", kindOf(n))
		} else {
			def.Config, _ = r.value(n, "server.config").(map[string]any)
		}
	}
	def.SecuritySchemes = readSchemes(s.object)
	s.downstream = readSecurity(s.object, "defaultDownstreamSecurity", "id", "passthrough")
	s.object.needsPassthrough("defaultDownstreamSecurity", s.downstream)
	s.upstream = readSecurity(s.object, "defaultUpstreamSecurity", "id", "credential")
	return s
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
	def.AllowTools = make(map[string]bool, len(allow))
	for _, name := range allow {
		def.AllowTools[name] = true
	}
	if !def.Kind.Converted() {
		return // the backend's tools are known when it lists them
	}
	names := toolNames(o.at["tools"])
	have := make(map[string]bool, len(names))
	for _, name := range names {
		have[name] = true
	}
	unknown := 0
	for _, name := range allow {
		if have[name] {
			continue
		}
		hint := ""
		if unknown++; unknown <= maxListed { // what is not listed need not be held against every name
			hint = spelling.DidYouMean(name, names)
		}
		given.r.warn(given.at["allowTools"], join(given.path, "allowTools"), "no tool has the name %q%s", shown(name), hint)
	}
	def.Tools = slices.DeleteFunc(def.Tools, func(t Tool) bool { return !def.AllowTools[t.Name] })
}

// toolNames lists the names of tools as they are written, rejected ones too.
func toolNames(tools *yaml.Node) (names []string) {
	if tools == nil {
		return nil
	}
	for _, t := range tools.Content {
		t = resolve(t)
		for i := 0; t.Kind == yaml.MappingNode && i+1 < len(t.Content); i += 2 {
			if t.Content[i].Value == "name" {
				names = append(names, resolve(t.Content[i+1]).Value)
			}
		}
	}
	return names
}
