package convert

import (
	"maps"
	"net/http"
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Credential is what a proxy-upstreams document adds to every request to a service's MCP backend. (Tools of converted
// services have it in their plans.) It is immutable and safe for concurrent use.
type Credential struct {
	tool *Tool
	plan securityPlan
}

// CompileCredential compiles the service's upstream security; nil where it has none, or one with a fault. references
// are the credential references in it, as in Service.
func CompileCredential(def *registry.Definition, o Options) (credential *Credential, references []string, found []registry.Rejection) {
	if def.Backend.Security == nil {
		return nil, nil, nil
	}
	config, err := newConfiguration(def.Config)
	if err != nil {
		return nil, nil, []registry.Rejection{{Field: "server.config", Message: err.Error()}}
	}
	c := &toolCompiler{service: def, def: &registry.Tool{}, options: &o, refs: map[string]bool{}}
	c.tool = &Tool{service: def.Name, method: http.MethodPost, data: config, secrets: o.Secrets, budget: o.Budget}
	plan, ok := c.plan("security", def.Backend.Security)
	references = slices.Sorted(maps.Keys(c.refs))
	if !ok {
		return nil, references, c.found
	}
	return &Credential{tool: c.tool, plan: plan}, references, c.found
}

// Apply puts the credential into a request's header, and into its query (without "?"), which is returned. Hosts bound
// where the request may go, like Request.SecretHosts. An error holds no secret.
func (c *Credential) Apply(h http.Header, query string) (newQuery string, hosts [][]string, err error) {
	x := &execution{tool: c.tool, call: &Call{}, args: &arguments{}}
	r := &Request{Header: h}
	to := target{query: []byte(query)}
	if err := c.plan.apply(x, r, &to); err != nil {
		return query, nil, err
	}
	return string(to.query), x.hosts, nil
}
