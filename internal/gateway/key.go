package gateway

import (
	"crypto/sha256"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unsafe"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// keyPrefix begins every key that we make; nothing that begins so ever leaves the proxy.
const keyPrefix = "nmp_"

// identity is who a request comes from.
type identity struct {
	consumer *registry.Consumer // nil: nobody we know, or nobody asked
	key      *registry.Key
	problem  string // for the audit log: why there is no consumer
}

// Problems with keys, as the audit log names them. Clients get the same answer for all.
const (
	noKey         = "no key"
	unknownKey    = "unknown key"
	twoKeys       = "two different keys"
	keyMisplaced  = "key in a place that its consumer does not allow"
	keyNotInForce = "key or consumer "
)

// identify finds the consumer by the keys that stand in the request. Places are looked at whether or not the
// consumer's own document allows them, because the consumer is known only by the key.
func (g *Gateway) identify(r *http.Request, x *catalog.Index, now int64) identity {
	found := identity{problem: noKey}
	var query url.Values
	look := func(source registry.KeySource) {
		switch {
		case source.Bearer:
			for _, v := range r.Header[authorization] {
				if key, ok := bearer(v); ok {
					g.consider(&found, key, source, x, now)
				}
			}
		case source.Header != "":
			for _, v := range r.Header[source.Header] {
				g.consider(&found, textproto.TrimString(v), source, x, now)
			}
		case source.Query != "" && r.URL.RawQuery != "":
			if query == nil {
				query = r.URL.Query()
			}
			for _, v := range query[source.Query] {
				g.consider(&found, v, source, x, now)
			}
		}
	}
	for _, source := range g.options.Sources {
		look(source)
	}
	for _, source := range x.KeySources() {
		if !slices.Contains(g.options.Sources, source) {
			look(source)
		}
	}
	return found
}

// consider looks one presented value up. Values that are no keys are passed over: they may be the caller's own
// credentials for the backend.
func (g *Gateway) consider(found *identity, key string, source registry.KeySource, x *catalog.Index, now int64) {
	if key == "" || found.problem == twoKeys {
		return
	}
	holder, ok := x.Holder(digest(key))
	switch {
	case !ok:
		if found.consumer == nil && found.problem == noKey {
			found.problem = unknownKey
		}
	case found.key != nil && found.key.Digest != holder.Key.Digest:
		*found = identity{problem: twoKeys}
	case !g.mayStand(holder.Consumer, source):
		if found.consumer == nil {
			found.problem = keyMisplaced
		}
	default:
		if state := access.KeyState(holder.Consumer, holder.Key, now); state != access.KeyOK {
			*found = identity{key: holder.Key, problem: keyNotInForce + state.String()}
			return
		}
		*found = identity{consumer: holder.Consumer, key: holder.Key}
	}
}

// mayStand tells whether c may present its keys there.
func (g *Gateway) mayStand(c *registry.Consumer, source registry.KeySource) bool {
	if len(c.Sources) == 0 {
		return slices.Contains(g.options.Sources, source)
	}
	return slices.Contains(c.Sources, source)
}

// bearer gives the token of an Authorization value of that scheme (RFC 6750, section 2.1; the scheme is
// case-insensitive by RFC 9110, section 11.1).
func bearer(v string) (string, bool) {
	const scheme = "bearer "
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimLeft(v[len(scheme):], " "), true
}

// digest avoids the copy that []byte(key) would make.
func digest(key string) [32]byte {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// strip removes from h what stands where the caller may present a key, whether or not it is one, what is a key of anybody's
// where somebody may present one, and everything that looks like a key of ours. Authorization has a rule of its own, see
// withheld.
func (g *Gateway) strip(h http.Header, c *registry.Consumer, x *catalog.Index) {
	for name, values := range h {
		if g.mayHoldKey(name, values, c, x) {
			delete(h, name)
		}
	}
}

func (g *Gateway) mayHoldKey(name string, values []string, c *registry.Consumer, x *catalog.Index) bool {
	if name == authorization {
		return g.withheld(values, x) != ""
	}
	if name == "X-Higress-Mcpserver-Config" || slices.ContainsFunc(values, holdsKey) {
		return true
	}
	if strings.Contains(name, "_") { // CGI, WSGI and the like read X_API_KEY and X-API-Key as one
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	here := func(s registry.KeySource) bool {
		return s.Header != "" && s.Header == name
	}
	if c != nil && len(c.Sources) > 0 && slices.ContainsFunc(c.Sources, here) {
		return true
	}
	if !slices.ContainsFunc(g.options.Sources, here) && !slices.ContainsFunc(x.KeySources(), here) {
		return false
	}
	// Not a place of this caller's: it may be its own credential for the backend.
	elsewhere := c != nil && (len(c.Sources) > 0 || !slices.ContainsFunc(g.options.Sources, here))
	return !elsewhere || slices.ContainsFunc(values, func(v string) bool {
		if token, ok := bearer(v); ok {
			v = token
		}
		return x.Known(digest(textproto.TrimString(v)))
	})
}

func holdsKey(v string) bool { return strings.Contains(v, keyPrefix) }
