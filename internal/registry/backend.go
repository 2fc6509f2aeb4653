package registry

import (
	"net/url"
	"strings"
)

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
	} else if s.upstream != nil {
		s.ignore("defaultUpstreamSecurity", "upstream.security comes before it")
	}
	if s.downstream != nil && s.downstream.Passthrough {
		def.Downstream = s.downstream
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
