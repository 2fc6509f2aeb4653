package convert

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// securityPlan puts one credential into a request.
type securityPlan struct {
	scheme     registry.SecurityScheme
	credential *text
	from       *registry.SecurityScheme // passed through: where the caller's own credential stands
	origin     string                   // of the service's backend: a credential for it goes nowhere else
	backend    bool
}

// securities plans the credentials: the tool's own, the caller's that is passed through, and the one that the
// proxy-upstreams document adds for the service's backend.
func (c *toolCompiler) securities() {
	if c.tool.method == "" {
		return
	}
	q, pass := c.def.Request.Security, c.def.Security
	if b := c.service.Backend.Security; b != nil {
		if p, ok := c.plan("upstream security", b); ok {
			p.backend, p.origin = true, originOf(c.service.Backend.URL)
			c.tool.security = append(c.tool.security, p)
		}
	}
	switch {
	case pass != nil && pass.Passthrough:
		if p, ok := c.handOn("security", pass, "requestTemplate.security", q); ok {
			c.tool.security = append(c.tool.security, p)
		}
	case q != nil:
		if p, ok := c.plan("requestTemplate.security", q); ok {
			c.tool.security = append(c.tool.security, p)
		}
	}
	if pass != nil && !pass.Passthrough {
		c.scheme("security.id", pass.ID)
	}
}

// handOn plans to hand the caller's own credential of the scheme pass on, translated to the scheme to, which may be nil.
func (c *toolCompiler) handOn(passField string, pass *registry.SecurityRef, toField string, to *registry.SecurityRef) (securityPlan, bool) {
	from, ok := c.scheme(passField+".id", pass.ID)
	if !ok {
		return securityPlan{}, false
	}
	if from.In == registry.InCookie {
		c.reject(passField+".id", from.Line, "security scheme %q is a cookie, which cannot be the caller's own credential: browsers send those unasked", from.ID)
		return securityPlan{}, false
	}
	p := securityPlan{scheme: canonical(*from), from: from}
	if to == nil {
		return p, true
	}
	target, ok := c.scheme(toField+".id", to.ID)
	if !ok {
		return securityPlan{}, false
	}
	p.scheme = canonical(*target)
	if to.Credential != "" { // for callers who have none of their own
		own, ok := c.plan(toField, to)
		if !ok {
			return securityPlan{}, false
		}
		p.credential = own.credential
	}
	return p, true
}

// plan compiles a reference to a scheme with a configured credential.
func (c *toolCompiler) plan(field string, ref *registry.SecurityRef) (securityPlan, bool) {
	scheme, ok := c.scheme(field+".id", ref.ID)
	if !ok {
		return securityPlan{}, false
	}
	src, line := ref.Credential, 0
	if src == "" {
		src, line, field = scheme.DefaultCredential, scheme.Line, "securitySchemes."+scheme.ID+".defaultCredential"
	} else {
		field += ".credential"
	}
	before := len(c.found)
	t := c.text(field, line, src, template.Options{Mode: template.Header, Holding: c.tool.data.holding}, true)
	if t.template != nil {
		c.checkRefs(field, line, t.template, false)
		c.fold(t, src)
	} else if len(c.found) == before && strings.TrimSpace(t.literal) == "" {
		c.warn(field, line, "the credential is empty: requests are sent without it")
	}
	for _, f := range c.found[before:] {
		if !f.Warning {
			return securityPlan{}, false
		}
	}
	return securityPlan{scheme: canonical(*scheme), credential: t}, true
}

// canonical is a scheme whose header, if it has one, is spelled as http.Header wants it.
func canonical(s registry.SecurityScheme) registry.SecurityScheme {
	if s.Type == "apiKey" && s.In == "header" {
		s.Name = http.CanonicalHeaderKey(s.Name)
	}
	return s
}

func (c *toolCompiler) scheme(field, id string) (*registry.SecurityScheme, bool) {
	var ids []string
	for i := range c.service.SecuritySchemes {
		s := &c.service.SecuritySchemes[i]
		if s.ID == id {
			if fault := faultOf(s); fault != "" {
				c.reject(field, s.Line, "security scheme %q %s", id, fault)
				return nil, false
			}
			return s, true
		}
		ids = append(ids, s.ID)
	}
	c.reject(field, 0, "no security scheme has the id %q%s", id, spelling.DidYouMean(id, ids))
	return nil, false
}

// faultOf says why a scheme cannot be used.
func faultOf(s *registry.SecurityScheme) string {
	switch s.Type {
	case "http":
		if scheme := strings.ToLower(s.Scheme); scheme != "basic" && scheme != "bearer" {
			return fmt.Sprintf("has the scheme %q: it must be basic or bearer", s.Scheme)
		}
	case "apiKey":
		switch {
		case s.In != registry.InHeader && s.In != registry.InQuery && s.In != registry.InCookie:
			return fmt.Sprintf("is an apiKey in %q: it must be in header, query or cookie", s.In)
		case s.Name == "":
			return "is an apiKey without a name"
		case s.In == registry.InCookie && !isToken(s.Name):
			return fmt.Sprintf("is an apiKey in the cookie %q, which is not the name of one", s.Name)
		case s.In == "header" && (!isToken(s.Name) || ownHeader(http.CanonicalHeaderKey(s.Name)) || strings.EqualFold(s.Name, "Host")):
			return fmt.Sprintf("is an apiKey in the header %q, which cannot be set", s.Name)
		}
	default:
		return fmt.Sprintf("has the type %q: it must be http or apiKey", s.Type)
	}
	return ""
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

var (
	errLineBreak = errors.New("a credential holds a line break or control character")
	errCookie    = errors.New("a credential that goes into a cookie holds a blank or one of ; , \" \\")
)

// apply puts the credential into the request.
func (p *securityPlan) apply(x *execution, r *Request, to *target) error {
	if p.backend && to.origin != "" && !x.tool.url.hostOnly && p.origin != "" && !strings.EqualFold(to.origin, p.origin) {
		return nil
	}
	var secret string
	seen := &x.seen
	if p.from != nil {
		if secret = callersOwn(p.from, x.call); secret != "" {
			seen = &x.own
		}
	}
	if secret == "" {
		if p.credential == nil {
			return &argumentError{"", "this tool needs your own credential with the request: " + wanted(p.from, x.call)}
		}
		var err error
		if secret, err = p.credential.string(x); err != nil {
			return err
		}
	}
	secret = bare(&p.scheme, strings.TrimSpace(secret))
	if secret == "" {
		return nil // reported when the tool was compiled
	}
	if !fieldValue(secret) {
		return errLineBreak
	}
	*seen = append(*seen, secret)
	if p.scheme.Type == "http" && strings.EqualFold(p.scheme.Scheme, "basic") {
		*seen = append(*seen, password(secret))
	}
	if p.scheme.Type == "apiKey" && p.scheme.In == "query" {
		to.query = without(to.query, func(name string) bool { return name == p.scheme.Name })
		if len(to.query) > 0 {
			to.query = append(to.query, '&')
		}
		to.query = append(queryEscape(to.query, p.scheme.Name), '=')
		to.query = queryEscape(to.query, secret)
		return nil
	}
	if p.scheme.Type == "apiKey" && p.scheme.In == registry.InCookie {
		return r.setCookie(p.scheme.Name, secret)
	}
	name, v := header(&p.scheme, secret)
	r.Header[name] = []string{v}
	r.masked = append(r.masked, name)
	return nil
}

// setCookie sends a credential as a cookie, in place of any of that name that the tool's template or an argument gave. It
// goes as it is: cookies have no escaping, and what the backend handed out is what it wants back.
func (r *Request) setCookie(name, secret string) error {
	if strings.ContainsFunc(secret, func(c rune) bool { return c == ';' || c == ',' || c == ' ' || c == '"' || c == '\\' }) { // RFC 6265, 4.1.1
		return errCookie
	}
	var cookies []string
	for cookie := range strings.SplitSeq(strings.Join(r.Header["Cookie"], ";"), ";") {
		cookie = strings.TrimSpace(cookie)
		if other, _, _ := strings.Cut(cookie, "="); cookie != "" && strings.TrimSpace(other) != name {
			cookies = append(cookies, cookie)
		}
	}
	r.Header["Cookie"] = []string{strings.Join(append(cookies, name+"="+secret), "; ")}
	r.masked = append(r.masked, "Cookie")
	return nil
}

// bare is a credential without the word that its scheme writes before it. People store what stood in the header.
func bare(s *registry.SecurityScheme, secret string) string {
	if s.Type != "http" {
		return secret
	}
	word, rest, _ := strings.Cut(secret, " ")
	if strings.EqualFold(word, s.Scheme) {
		return strings.TrimSpace(rest)
	}
	return secret
}

// password is the secret part of user:password, which may be encoded already; empty if it is neither.
func password(secret string) string {
	if decoded, err := base64.StdEncoding.DecodeString(secret); err == nil && !strings.Contains(secret, ":") {
		secret = string(decoded)
	}
	_, password, _ := strings.Cut(secret, ":")
	return password
}

// header gives the header that carries a credential of a scheme that is canonical. Basic takes user:password, or what is encoded already.
func header(s *registry.SecurityScheme, secret string) (name, v string) {
	switch {
	case s.Type == "apiKey":
		return s.Name, secret
	case strings.EqualFold(s.Scheme, "bearer"):
		return "Authorization", "Bearer " + secret
	case strings.Contains(secret, ":"): // base64 has no colon
		return "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(secret))
	}
	return "Authorization", "Basic " + secret
}

// callersOwn takes the caller's credential of a scheme out of its request; one of the proxy's own keys is none.
func callersOwn(s *registry.SecurityScheme, c *Call) string {
	v := ""
	switch {
	case s.Type == "apiKey" && s.In == "query":
		if q, err := url.ParseQuery(c.Query); err == nil {
			v = q.Get(s.Name)
		}
	case s.Type == "apiKey":
		v = c.Header.Get(s.Name)
	default:
		scheme, rest, _ := strings.Cut(c.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, s.Scheme) {
			v = rest
		}
	}
	if v = strings.TrimSpace(v); ownKey(v) {
		return ""
	}
	return v
}

// inAuthorization reports whether a scheme's credential travels in Authorization.
func inAuthorization(s *registry.SecurityScheme) bool {
	return s.Type == "http" || s.In == "header" && strings.EqualFold(s.Name, "Authorization")
}

// asksAuthorization reports whether requests of the tool carry the client's Authorization where that may be sent.
func (t *Tool) asksAuthorization() bool {
	return slices.Contains(t.forward, "Authorization") ||
		slices.ContainsFunc(t.security, func(p securityPlan) bool { return p.from != nil && inAuthorization(p.from) })
}

// wanted says where the caller's own credential of a scheme is expected, and why what stood there does not count.
func wanted(s *registry.SecurityScheme, c *Call) string {
	if c.Withheld != "" && inAuthorization(s) {
		return whereIs(s) + "; what came there was not sent on: " + c.Withheld
	}
	return whereIs(s)
}

func whereIs(s *registry.SecurityScheme) string {
	switch {
	case s.Type == "apiKey" && s.In == "query":
		return "query parameter " + s.Name
	case s.Type == "apiKey":
		return "header " + s.Name
	}
	return "header Authorization, " + strings.ToLower(s.Scheme)
}
