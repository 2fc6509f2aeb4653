package registry

import (
	"fmt"
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// ParseUpstream reads a proxy-upstreams document. The Upstream is nil where it is rejected.
func ParseUpstream(dataID string, content []byte) (*Upstream, []Rejection) {
	r, name, root, ok := open(GroupUpstreams, dataID, content)
	if !ok {
		return nil, r.sorted()
	}
	o := r.object(root, "", "securitySchemes", "security", "timeout", "tls", "forwardHeaders")
	if o == nil {
		return nil, r.sorted()
	}
	u := &Upstream{Service: name, SecuritySchemes: readSchemes(o), Timeout: o.duration("timeout"), TLS: readTLS(o), ForwardHeaders: readForwardHeaders(o)}
	u.Security = readSecurity(o, "security", "id", "credential")
	if n := o.at["security"]; n != nil {
		u.securityLine = n.Line
	}
	checkSchemes(r, "securitySchemes", u.SecuritySchemes)
	if r.refused {
		return nil, r.sorted()
	}
	return u, r.sorted()
}

// Fault returns what keeps u from being used with a service that has security schemes of these ids; nil if nothing does.
func (u *Upstream) Fault(dataID string, schemes []string) *Rejection {
	if u.Security == nil || slices.Contains(schemes, u.Security.ID) ||
		slices.ContainsFunc(u.SecuritySchemes, func(s SecurityScheme) bool { return s.ID == u.Security.ID }) {
		return nil
	}
	return &Rejection{
		Group: GroupUpstreams, DataID: dataID, Field: "security.id", Line: u.securityLine,
		Message: fmt.Sprintf("neither this document nor the service has a security scheme with the id %q%s", shown(u.Security.ID), spelling.DidYouMean(u.Security.ID, schemes)),
	}
}

// Rejects returns what was found wrong with the credential of u, as a rejection of its document.
func (u *Upstream) Rejects(dataID string, found Rejection) Rejection {
	found.Group, found.DataID = GroupUpstreams, dataID
	if found.Line == 0 {
		found.Line = u.securityLine
	}
	return found
}

// WithUpstream gives a copy of d with what u adds to its backend. What u says beats the service's own
// document, so that its security takes the place of callers' own credentials too; header lists add up; a scheme of u replaces the service's of the same id. A nil u changes nothing.
func (d *Definition) WithUpstream(u *Upstream) *Definition {
	c := *d
	if u == nil {
		return &c
	}
	if u.Timeout > 0 {
		c.Backend.Timeout = u.Timeout
	}
	if u.TLS != nil {
		c.Backend.TLS = u.TLS
	}
	if u.Security != nil {
		c.Backend.Security, c.Downstream = u.Security, nil // who runs the backend decides what it is sent
	}
	c.Backend.ForwardHeaders = slices.Clone(d.Backend.ForwardHeaders)
	for _, h := range u.ForwardHeaders {
		if !slices.Contains(c.Backend.ForwardHeaders, h) {
			c.Backend.ForwardHeaders = append(c.Backend.ForwardHeaders, h)
		}
	}
	c.SecuritySchemes = slices.Clone(u.SecuritySchemes)
	for _, s := range d.SecuritySchemes {
		if !slices.ContainsFunc(u.SecuritySchemes, func(o SecurityScheme) bool { return o.ID == s.ID }) {
			c.SecuritySchemes = append(c.SecuritySchemes, s)
		}
	}
	return &c
}
