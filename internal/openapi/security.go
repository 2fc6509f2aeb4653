package openapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// scheme is a way a credential travels to the backend.
type scheme struct {
	id       string // of the service document, and name of the credential
	kind     string // http or apiKey
	scheme   string // basic or bearer
	in, name string // of an apiKey
	about    string // what the credential is
}

// scheme reads the Security Scheme Object of a name; nil and a reason if a gateway cannot follow it.
func (im *importer) scheme(name string) (*scheme, string) {
	parent, key := im.root, "securityDefinitions"
	if !im.swagger {
		parent, key = im.root.at("components"), "securitySchemes"
	}
	p, err := im.child(parent, key)
	if err == nil {
		p, err = im.child(p, name)
	}
	if err != nil || !p.is(object) {
		return nil, "is not described"
	}
	s := &scheme{id: credentialName(name), kind: "http"}
	switch kind, how := p.get("type").str(), strings.ToLower(p.get("scheme").str()); {
	case kind == "apiKey":
		s.kind, s.in, s.name = "apiKey", p.get("in").str(), p.get("name").str()
		if s.in != "header" && s.in != "query" && s.in != "cookie" || s.name == "" {
			return nil, fmt.Sprintf("is a key in a %s, which is not supported", clean(s.in, maxTitle))
		}
		if s.in != "query" && !headerName.MatchString(s.name) {
			return nil, fmt.Sprintf("is a key in a %s whose name is not valid", s.in)
		}
		if s.in == "header" && http.CanonicalHeaderKey(s.name) != "Authorization" && slices.Contains(ignoredHeaders, http.CanonicalHeaderKey(s.name)) {
			return nil, fmt.Sprintf("is a key in the header %s, which is not supported", s.name)
		}
		s.about = fmt.Sprintf("API key, sent in the %s %s", map[string]string{"header": "header", "query": "query parameter", "cookie": "cookie"}[s.in], clean(s.name, maxTitle))
	case kind == "basic" || kind == "http" && how == "basic":
		s.scheme, s.about = "basic", "user:password"
	case kind == "http" && how == "bearer":
		s.scheme, s.about = "bearer", "bearer token"
	case kind == "oauth2" || kind == "openIdConnect":
		// The proxy runs no OAuth flow towards backends; a token that was got elsewhere does.
		s.scheme, s.about = "bearer", "OAuth access token"
	case kind == "http":
		return nil, fmt.Sprintf("is HTTP authentication by %s, which is not supported", clean(how, maxTitle))
	default:
		return nil, fmt.Sprintf("is of type %s, which is not supported", clean(kind, maxTitle))
	}
	return s, ""
}

// credentialName makes an identifier, so that templates can say .config.name.
func credentialName(s string) string {
	s = strings.Trim(strings.ReplaceAll(notInTool.ReplaceAllString(s, "_"), "-", "_"), "_")
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "key" + s
	}
	return shorten(s, maxName)
}

// secure chooses how calls of the operation authenticate: the first alternative that a gateway can follow, with one
// credential rather than several.
func (im *importer) secure(t *tool, op place) error {
	alternatives := op.at("security")
	if alternatives.node == nil {
		alternatives = im.root.at("security")
	}
	list := alternatives.each()
	if len(list) == 0 {
		return nil
	}
	var best, together []*scheme
	var reasons []string
	anonymous := false
	for _, alternative := range list {
		if !alternative.is(object) {
			continue
		}
		if len(alternative.keys) == 0 {
			anonymous = true
			continue
		}
		var schemes []*scheme
		for _, name := range alternative.keys {
			s, reason := im.scheme(name)
			if s == nil {
				reasons = append(reasons, fmt.Sprintf("%s %s", clean(name, maxTitle), reason))
				schemes = nil
				break
			}
			schemes = append(schemes, s)
		}
		switch {
		case len(schemes) == 0:
		case !compatible(schemes):
			if together == nil {
				together = schemes
			}
		case best == nil || len(schemes) < len(best):
			best = schemes
		}
	}
	if best == nil && together != nil {
		// A backend that wants two in one place cannot be; one of them is what it means.
		var left []string
		for _, s := range together {
			if compatible(append(best[:len(best):len(best)], s)) {
				best = append(best, s)
			} else {
				left = append(left, s.id)
			}
		}
		t.notes = append(t.notes, fmt.Sprintf("%s is not sent: another credential stands where it belongs", clean(strings.Join(left, " and "), maxTitle)))
	}
	if best == nil {
		if !anonymous && len(reasons) > 0 {
			t.notes = append(t.notes, "calls are sent without credentials: "+strings.Join(reasons, "; "))
		}
		return nil
	}
	for i, s := range best {
		s = im.use(s)
		switch {
		case i == 0:
			t.security = s.id
		case s.kind == "http":
			t.headers = append(t.headers, [2]string{"Authorization", map[string]string{"bearer": "Bearer ", "basic": "Basic "}[s.scheme] +
				map[string]string{"bearer": "{{.config." + s.id + "}}", "basic": "{{b64enc .config." + s.id + "}}"}[s.scheme]})
		case s.in == "header":
			t.headers = append(t.headers, [2]string{s.name, "{{.config." + s.id + "}}"})
		case s.in == "cookie":
			t.cookie(s.name + "={{.config." + s.id + "}}")
		default:
			t.query = append(t.query, pair{text: queryName(s.name) + "={{.config." + s.id + "}}"})
		}
		switch s.in {
		case "header":
			t.carried["header "+http.CanonicalHeaderKey(s.name)] = true
		case "query", "cookie":
			t.carried[s.in+" "+s.name] = true
		}
	}
	return nil
}

// cookie adds a pair to the tool's Cookie header.
func (t *tool) cookie(pair string) {
	for i := range t.headers {
		if h := &t.headers[i]; h[0] == "Cookie" {
			h[1] += "; " + pair
			return
		}
	}
	t.headers = append(t.headers, [2]string{"Cookie", pair})
}

// compatible tells whether several credentials can travel in one request.
func compatible(schemes []*scheme) bool {
	seen := map[string]bool{}
	for _, s := range schemes {
		where := s.in + " " + http.CanonicalHeaderKey(s.name)
		if s.kind == "http" {
			where = "header Authorization"
		}
		if seen[where] {
			return false
		}
		seen[where] = true
	}
	return true
}

// use notes that the service needs the scheme.
func (im *importer) use(s *scheme) *scheme {
	for i := 2; ; i++ {
		at := slices.IndexFunc(im.schemes, func(o *scheme) bool { return o.id == s.id })
		if at < 0 {
			im.schemes = append(im.schemes, s)
			return s
		}
		if *im.schemes[at] == *s {
			return im.schemes[at]
		}
		s.id = fmt.Sprintf("%s_%d", strings.TrimSuffix(s.id, fmt.Sprintf("_%d", i-1)), i)
	}
}

func (im *importer) credentials() (list []Credential) {
	for _, s := range im.schemes {
		list = append(list, Credential{Name: s.id, Description: s.about})
	}
	return list
}
