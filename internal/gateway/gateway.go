// Package gateway is what clients reach: it routes, authenticates, authorizes, bounds and audits every request, answers
// for converted services itself and hands the others to the relay.
// It must never let a request near a backend before its decision, nor speak to a backend other than through relay and
// upstream.
package gateway

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// Options of a Gateway. Durations of 0 mean no bound.
type Options struct {
	Catalog        *catalog.Catalog
	Relay          *relay.Relay
	Sealer         *session.Sealer
	Limiter        *access.Limiter
	Audit          *Audit   // nil: none
	Metrics        *Metrics // nil: none
	Log            *slog.Logger
	Version        string                // of this program, told to clients of converted services
	Sources        []registry.KeySource  // where consumers without sources of their own present keys
	Memory         *budget.Memory        // what messages above budget.Free are held by; nil: no bound
	RequestBody    int64                 // bytes
	BodyTime       time.Duration         // to read a request's body
	KeepAlive      time.Duration         // between comments on silent answers of the gateway's own; 0: none
	Places         Places                // where clients may come from
	TrustedProxies []netip.Prefix        // whose X-Forwarded-For is believed
	Stale          func() (string, bool) // whether configuration is too old to go by, and why
	RevealDenied   bool                  // say "not granted" rather than "unknown" for tools
	AuditArguments bool
}

// Gateway serves MCP clients. Make one with New; it is an http.Handler.
type Gateway struct {
	options  Options
	inflight inflight
	calls    sync.Pool // of *call
	active   atomic.Int64
	stop     chan struct{}
}

// New gives a Gateway.
func New(o Options) *Gateway {
	g := &Gateway{options: o, stop: make(chan struct{})}
	g.calls.New = func() any { return newCall() }
	go g.reviewRegularly(g.stop)
	return g
}

// now is the time of decisions made after the call began, in unix nanoseconds.
func (g *Gateway) now() int64 { return time.Now().UnixNano() }

// Active is how many requests are being served now, streams included.
func (g *Gateway) Active() int64 { return g.active.Load() }

// Close ends what goes on beside the requests; those in flight go on. The relay's own Close ends streams.
func (g *Gateway) Close() { close(g.stop) }

// ServeHTTP serves one request of a client.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.active.Add(1)
	defer g.active.Add(-1)
	start := time.Now()
	if g.options.BodyTime > 0 && r.Body != http.NoBody {
		// Also where the body is never looked at: net/http reads what is left of it before it goes on with the connection, and
		// would wait for it for ever.
		_ = http.NewResponseController(w).SetReadDeadline(start.Add(g.options.BodyTime))
	}
	if foreign := g.options.Places.Foreign(r); foreign != "" {
		refuse(w, nil, nil, wire.ForeignOrigin.Error(false, "Forbidden: this "+foreign+" is not allowed; whoever runs the proxy can add it to http.allowed"+foreign+"s"))
		g.auditRefusal(r, "foreign host or origin", http.StatusForbidden)
		return
	}
	if g.cors(w, r) {
		return
	}
	path := r.URL.Path
	if asksOAuth(path) {
		refuse(w, nil, nil, wire.NotFound.Error(false, g.noOAuth()))
		return
	}
	path = strings.TrimSuffix(path, "/") // many join URLs so; no service's name ends with it
	if target, ok := strings.CutPrefix(path, "/mcp/"); ok {
		name, version, _ := strings.Cut(target, "@")
		g.serve(w, r, start, name, version, false)
		return
	}
	if target, ok := strings.CutPrefix(path, "/sse/"); ok {
		g.serveSSE(w, r, start, target)
		return
	}
	refuse(w, nil, nil, wire.NotFound.Error(false, "Not found: services are at /mcp/{service}"))
}

// asksOAuth reports whether a path is one of those by which clients look for an authorization server (RFC 8414, RFC 9728,
// OpenID Connect Discovery), or where they take one to be for want of better knowledge.
func asksOAuth(path string) bool {
	switch path {
	case "/register", "/authorize", "/token":
		return true
	}
	return strings.Contains(path, "/.well-known/oauth-") || strings.Contains(path, "/.well-known/openid-configuration")
}

// noOAuth says where the key goes.
func (g *Gateway) noOAuth() string {
	var places []string
	for _, s := range g.options.Sources {
		switch {
		case s.Bearer:
			places = append(places, "Authorization: Bearer KEY")
		case s.Header != "":
			places = append(places, s.Header+": KEY")
		}
	}
	text := "Not found: this proxy takes API keys, there is no OAuth"
	if len(places) == 0 {
		return text
	}
	return text + "; have the client send the header " + strings.Join(places, " or ")
}

// serve takes one Streamable HTTP request through all steps, in the order that tells an outsider least:
// authentication, authorization, session, parsing. inner: it is of an HTTP+SSE client, over which the answer goes.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, start time.Time, name, version string, inner bool) {
	c := g.calls.Get().(*call)
	c.begin(g, w, r, start, name, version)
	c.inner = inner
	defer c.finish()
	if !c.admit() {
		return
	}
	switch r.Method {
	case http.MethodPost:
		c.post()
	case http.MethodGet, http.MethodDelete:
		c.stream()
	default:
		w.Header().Set("Allow", "POST, GET, DELETE")
		c.refuse(wire.MethodNotAllowed, "")
	}
}

// Values of headers that are the same in many answers. Nobody may change them.
var (
	jsonType      = []string{"application/json"}
	bearerWanted  = []string{"Bearer"}
	bearerTooWeak = []string{`Bearer error="insufficient_scope"`}
	postAllowed   = []string{"POST"}
)

// refuse answers with a JSON-RPC error, made in room, which is given back grown. It tells what was written of it.
func refuse(w http.ResponseWriter, room, id []byte, e *wire.Error) ([]byte, int) {
	room = e.Append(room[:0], id)
	h := w.Header()
	h[contentTypeKey] = jsonType
	switch e.Refusal {
	case wire.NoKey:
		h["Www-Authenticate"] = bearerWanted
	case wire.NoGrant:
		h["Www-Authenticate"] = bearerTooWeak
	case wire.MethodNotAllowed:
		if wire.First(h, "Allow") == "" {
			h["Allow"] = postAllowed
		}
	}
	w.WriteHeader(e.Status)
	n, _ := w.Write(room)
	return room, n
}

// auditRefusal writes down a refusal that came before any call was made of the request.
func (g *Gateway) auditRefusal(r *http.Request, reason string, status int) {
	if !g.options.Audit.wants(false) {
		return
	}
	g.options.Audit.Write(&Record{
		Time: time.Now(), Method: r.Method, Reason: reason, Status: status, Client: g.clientAddress(r),
		Service: strings.TrimPrefix(r.URL.Path, "/mcp/"),
	})
}
