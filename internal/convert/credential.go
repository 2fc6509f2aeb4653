package convert

import (
	"maps"
	"net/http"
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Credential is what is added to every request to a service's MCP backend: a credential of the service's own, or the
// caller's. (Tools of converted services have it in their plans.) It is immutable and safe for concurrent use.
type Credential struct {
	tool *Tool
	plan securityPlan
}

// CompileCredential compiles the service's security towards its backend; nil where it has none, or one with a fault.
// references are the credential references in it, as in Service.
func CompileCredential(def *registry.Definition, o Options) (credential *Credential, references []string, found []registry.Rejection) {
	if def.Backend.Security == nil && def.Downstream == nil {
		return nil, nil, nil
	}
	config, err := newConfiguration(def.Config)
	if err != nil {
		return nil, nil, []registry.Rejection{{Field: "server.config", Message: err.Error()}}
	}
	c := &toolCompiler{service: def, def: &registry.Tool{}, options: &o, refs: map[string]bool{}}
	c.tool = &Tool{service: def.Name, method: http.MethodPost, data: config, secrets: o.Secrets, budget: o.Budget}
	var plan securityPlan
	var ok bool
	if def.Downstream != nil {
		plan, ok = c.handOn("defaultDownstreamSecurity", def.Downstream, "security", def.Backend.Security)
	} else {
		plan, ok = c.plan("security", def.Backend.Security)
	}
	references = slices.Sorted(maps.Keys(c.refs))
	if !ok {
		return nil, references, c.found
	}
	return &Credential{tool: c.tool, plan: plan}, references, c.found
}

// NoCredentialError says that a caller must send a credential of its own, and where.
type NoCredentialError struct{ where string }

func (e *NoCredentialError) Error() string {
	return "This service needs your own credential with each request: " + e.where
}

// Apply puts the credential into a request's header, and into its query (without "?"), which is returned. The Header and
// Query of caller are where a credential of its own is looked for. Hosts bound where the request may go, like
// Request.SecretHosts. An error holds no secret; a *NoCredentialError is the caller's to mend.
func (c *Credential) Apply(h http.Header, query string, caller Call) (newQuery string, hosts [][]string, err error) {
	if c.plan.from != nil && c.plan.credential == nil && callersOwn(c.plan.from, &caller) == "" {
		return query, nil, &NoCredentialError{wanted(c.plan.from, &caller)}
	}
	x := &execution{tool: c.tool, call: &caller, args: &arguments{}}
	r := &Request{Header: h}
	to := target{query: []byte(query)}
	if err := c.plan.apply(x, r, &to); err != nil {
		return query, nil, err
	}
	return string(to.query), x.hosts, nil
}
