package registry

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

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
			ID: s.text("id"), Type: s.text("type"), Scheme: strings.ToLower(s.text("scheme")), In: s.text("in"), Name: s.text("name"),
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

// keyPlaces are where an apiKey may stand.
var keyPlaces = []string{InHeader, InQuery, InCookie}

// fault tells what is wrong with a scheme: the field and a message; "" if nothing is.
func (s SecurityScheme) fault() (field, message string) {
	switch {
	case s.ID == "":
		return "id", `missing field "id"`
	case s.Type == "":
		return "type", `missing field "type"`
	case s.Type != "http" && s.Type != "apiKey":
		return "type", fmt.Sprintf(`must be "http" or "apiKey", not %q%s`, shown(s.Type), spelling.DidYouMean(s.Type, []string{"http", "apiKey"}))
	case s.Type == "http" && s.Scheme != "basic" && s.Scheme != "bearer":
		return "scheme", fmt.Sprintf(`must be "basic" or "bearer" where type is http, not %q%s`, shown(s.Scheme), spelling.DidYouMean(s.Scheme, []string{"basic", "bearer"}))
	case s.Type == "apiKey" && !contains(keyPlaces, s.In):
		return "in", fmt.Sprintf(`must be "header", "query" or "cookie" where type is apiKey, not %q%s`, shown(s.In), spelling.DidYouMean(s.In, keyPlaces))
	case s.Type == "apiKey" && s.Name == "":
		return "name", `missing field "name"`
	case s.Type == "apiKey" && s.In == "header":
		if why := unsafeToSend(s.Name); why != "" {
			return "name", fmt.Sprintf("header %q cannot carry a credential: %s", shown(s.Name), why)
		}
	case s.Type == "apiKey" && s.In == "cookie" && !httpguts.ValidHeaderFieldName(s.Name): // RFC 6265, 4.1.1: a token as well
		return "name", fmt.Sprintf("%q cannot be the name of a cookie", shown(s.Name))
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

// idleSecurity is why a reference to the callers' own credential does nothing.
const idleSecurity = "ignored without passthrough: true, which hands the caller's own credential on: callers present the proxy's keys"

func (o *object) needsPassthrough(name string, ref *SecurityRef) {
	if ref != nil && !ref.Passthrough {
		o.r.warn(o.at[name], join(o.path, name), idleSecurity)
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
			r.reject(o.find(ref.field), ref.field, "%s", noScheme(ref.ref.ID, def.Unusable, def.schemeIDs()))
		}
	}
}

// HasScheme tells whether a security scheme has this id. After WithUpstream it is worth asking for
// Backend.Security: an upstreams document may name a scheme of the service's own.
func (def *Definition) HasScheme(id string) bool {
	return slices.ContainsFunc(def.SecuritySchemes, func(s SecurityScheme) bool { return s.ID == id })
}

// noScheme says that no scheme of an id can be used: it was left out, for the reason that unusable holds, or is not among ids.
func noScheme(id string, unusable map[string]string, ids []string) string {
	if why, ok := unusable[id]; ok {
		return fmt.Sprintf("the security scheme %q cannot be used (%s)", shown(id), why)
	}
	return fmt.Sprintf("no security scheme has the id %q%s", shown(id), spelling.DidYouMean(id, ids))
}

func (def *Definition) schemeIDs() []string {
	ids := make([]string, len(def.SecuritySchemes))
	for i, s := range def.SecuritySchemes {
		ids[i] = s.ID
	}
	return ids
}
