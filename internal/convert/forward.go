package convert

import (
	"net/http"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Unforwarded says why a header of clients, canonical, reaches the backend of a service in no call, though the service forwards
// it; "" if it may.
func Unforwarded(def *registry.Definition, header string) string {
	if header == "Accept-Encoding" {
		return "the proxy says itself which encodings it can read"
	}
	schemes := map[string]*registry.SecurityScheme{}
	for i := range def.SecuritySchemes {
		schemes[def.SecuritySchemes[i].ID] = &def.SecuritySchemes[i]
	}
	takes := func(ref *registry.SecurityRef) bool {
		if ref == nil || ref.Passthrough {
			return false
		}
		s := schemes[ref.ID]
		return s != nil && (s.Type == "http" && header == "Authorization" || s.Type == "apiKey" && s.In == registry.InHeader && http.CanonicalHeaderKey(s.Name) == header)
	}
	switch {
	case takes(def.Backend.Security):
		return "the service's own credential stands there"
	case !def.Kind.Converted():
		return ""
	}
	calling := 0
	for i := range def.Tools {
		t := &def.Tools[i]
		if t.Request.URL == "" {
			continue
		}
		if calling++; !setsHeader(t, header, takes) {
			return ""
		}
	}
	if calling == 0 {
		return "no tool of the service calls a backend"
	}
	return "every tool that calls a backend sets it itself"
}

// setsHeader reports whether every request of a tool has a value of its own for a header.
func setsHeader(t *registry.Tool, header string, takes func(*registry.SecurityRef) bool) bool {
	if takes(t.Request.Security) && (t.Security == nil || !t.Security.Passthrough) {
		return true
	}
	for _, h := range t.Request.Headers {
		if http.CanonicalHeaderKey(strings.TrimSpace(h.Key)) == header && h.Value != "" && !strings.Contains(h.Value, "{{") {
			return true
		}
	}
	for i := range t.Args {
		a := &t.Args[i]
		if a.Position == registry.InHeader && http.CanonicalHeaderKey(a.Name) == header && (a.Required || len(a.Default) > 0) {
			return true
		}
	}
	return false
}
