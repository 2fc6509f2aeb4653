package relay

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// Options are the bounds of a Relay. Zero values take the defaults named.
type Options struct {
	Sealer    *session.Sealer // makes what clients get to see of a backend's session ids; needed
	KeepAlive time.Duration   // silence after which a stream gets a comment; 15 s, negative: never
	// StreamIdle is how long a client may leave what was sent to it unread; 5 min.
	StreamIdle  time.Duration
	SessionIdle time.Duration // how long a client session bridged to an HTTP+SSE backend may be unused; 30 min
	MaxMessage  int           // bytes of one message that has to be held: filtered, or bridged from HTTP+SSE; 16 MiB
	// Sessions is how many client sessions are bridged to HTTP+SSE backends, and how many HTTP+SSE clients are connected, each
	// in fair shares of the consumers that hold any; 4096.
	Sessions int
	// Memory is what messages above budget.Free are held by; nil: no bound.
	Memory *budget.Memory
}

func (o *Options) defaults() {
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.StreamIdle <= 0 {
		o.StreamIdle = 5 * time.Minute
	}
	if o.SessionIdle <= 0 {
		o.SessionIdle = 30 * time.Minute
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = 16 << 20
	}
	if o.Sessions <= 0 {
		o.Sessions = 4096
	}
}

// Relay carries exchanges. It knows the open streams, so that they can be told of changes and ended.
type Relay struct {
	o Options

	mu       sync.Mutex
	draining bool
	closed   bool
	streams  map[*stream]struct{}

	bridges *bridges
	clients *clients
}

// New makes a Relay; Close ends it.
func New(o Options) *Relay {
	o.defaults()
	r := &Relay{o: o, streams: map[*stream]struct{}{}}
	r.bridges = newBridges(r)
	r.clients = newClients(r)
	return r
}

// Exchange is one request of a client whose right to make it was decided by the caller.
type Exchange struct {
	Backend   *upstream.Backend
	Transport registry.Transport
	Service   string
	Version   string
	Consumer  string // empty where the service is open
	Address   string // whose share it is where there is no Consumer; else not used
	// Session is what the client's Mcp-Session-Id was sealed over, checked against Service, Version and Consumer; nil
	// where the client sent none.
	Session *session.Session
	Body    []byte         // the client's own bytes; nil for GET and DELETE
	Env     *wire.Envelope // the scan of Body

	// Restricted: the client may see only part of the service, so that nothing unread may reach it.
	Restricted bool
	// See tells which tools the client may see; nil: all.
	See func(tool []byte) bool
	// Private: a key was needed, so that no answer may be shared by a cache.
	Private bool
	// ForwardHeaders are request headers that go to the backend besides the protocol's own; canonical.
	ForwardHeaders []string
	// Strip tells of a request header that it is not to reach the backend, as a key may stand in it; nil: none is such.
	Strip func(name string, values []string) bool
	// Withheld says why the client's Authorization is stripped, for the client; empty if it is not, or there is none. Nil:
	// nobody knows.
	Withheld func() string
	// Credential adds the credential towards the service's backend, its own or the caller's, and where it may go; nil: there
	// is none. A *CallerError is told to the client.
	Credential func(*upstream.Request) error
	// Key is the digest of the key that the client presented; zero where none was needed. View is what the decision about
	// this exchange let it see, for Review to compare with; Look gives it where it is nil, for exchanges that may become a
	// stream but seldom do.
	Key  [32]byte
	View any
	Look func() any

	// Share is what the exchange's messages are held by, for as long as Serve takes; nil: nothing bounds them. Its owner
	// releases it.
	Share *budget.Share

	client bool // it is an HTTP+SSE client's one stream
}

// owner is whose share the exchange takes of what there is a bound to.
func (x *Exchange) owner() owner {
	if x.Consumer != "" {
		return owner{consumer: x.Consumer}
	}
	return owner{address: x.Address}
}

// modern tells the era of the exchange.
func (x *Exchange) modern(req *http.Request) bool { return wire.ModernRequest(req.Header, x.Env) }

// id is the raw id to answer to; nil where there is none.
func (x *Exchange) id() []byte {
	if x.Env == nil || x.Env.Kind != wire.Request {
		return nil
	}
	return x.Env.ID
}

// rewriter says what changes on the way to the client. Only modern answers have a cacheScope, and a tool's result never
// does: it is not held for its sake.
func (x *Exchange) rewriter(req *http.Request) wire.Rewriter {
	rw := wire.Rewriter{See: x.See, DropInstructions: x.Restricted}
	if x.Private && x.Env != nil && x.Env.Method != wire.MethodToolsCall && x.modern(req) {
		rw.Private = true
	}
	return rw
}

// Outcome is what became of an exchange, for the audit log and metrics.
type Outcome struct {
	Status int   // sent to the client
	Bytes  int64 // of the body sent to the client
	Err    error // what went wrong between us and the backend; an *upstream.Error has a Detail for the log
	Reason string
	// BodyFree: nothing reads the Exchange's Body any more, nor the Exchange. Else something may do so for a while.
	BodyFree bool
	// Abort: the answer broke off where the client could take it for whole. The caller ends the connection with
	// panic(http.ErrAbortHandler) when it has done its accounting.
	Abort bool
}

// Reasons in outcomes.
const (
	reasonSessionLost = "session lost"
	reasonCut         = "access ended"
	reasonUnreadable  = "answer unreadable"
	reasonBackend     = "backend fault"
	reasonGone        = "client went away"
	reasonWithheld    = "authorization withheld"
)

// Serve carries the exchange. What it writes is complete: an answer, a stream up to its end, or a refusal.
func (r *Relay) Serve(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	if x.Transport == registry.SSE {
		return r.bridges.serve(w, req, x)
	}
	return r.direct(w, req, x)
}

// Caller is whose open answer or session something is.
type Caller struct {
	Service, Version, Consumer string
	Key                        [32]byte // digest of the key that opened it; zero where none was needed, and for sessions
}

// Review has everything that is open decided about anew. decide gives what its caller may see, as any comparable value,
// and whether it may see anything. Streams whose value differs from that of the last decision are told that their tools
// changed; what may see nothing any more is ended. It does not wait for any client.
func (r *Relay) Review(decide func(Caller) (view any, ok bool)) {
	r.mu.Lock()
	all := make([]*stream, 0, len(r.streams))
	for s := range r.streams {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		view, ok := decide(s.caller)
		if !ok {
			s.end()
			continue
		}
		if s.swapView(view) {
			s.changed()
		}
	}
	r.bridges.review(func(c Caller) bool {
		_, ok := decide(c)
		return ok
	})
}

// Drain ends the streams on which no answer is awaited, those of HTTP+SSE clients once they await none, and takes no new
// ones. Calls at work go on.
func (r *Relay) Drain() {
	r.mu.Lock()
	r.draining = true
	for s := range r.streams {
		if s.idle() {
			s.end()
		}
	}
	r.mu.Unlock()
	r.clients.drain()
}

// Close ends every stream and session, and tells backends of the latter, which may take some seconds where one does not
// answer. Handlers return soon after; new streams end at once.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	for s := range r.streams {
		s.end()
	}
	r.mu.Unlock()
	r.clients.close()
	r.bridges.close()
}

// refuse answers with a refusal of ours.
func refuse(w http.ResponseWriter, req *http.Request, x *Exchange, why wire.Refusal, message string) Outcome {
	e := why.Error(x.modern(req), message)
	body := e.Append(nil, x.id())
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Del("Content-Encoding")
	if why == wire.Overloaded {
		h["Retry-After"] = retrySoon
	}
	w.WriteHeader(e.Status)
	n, err := w.Write(body)
	return Outcome{Status: e.Status, Bytes: int64(n), Err: err, Reason: e.Message}
}

var retrySoon = []string{"1"}

// CallerError is why an Exchange's Credential cannot be added: something that the caller must mend, in words for it.
type CallerError struct{ Message string }

func (e *CallerError) Error() string { return e.Message }

// refusedUnauthorized answers where a backend refused, with this status, a request whose Authorization had to stay here: the
// client is to learn why. It reports false where that is not so.
func refusedUnauthorized(w http.ResponseWriter, req *http.Request, x *Exchange, status int) (Outcome, bool) {
	if status != http.StatusUnauthorized && status != http.StatusForbidden || x.Withheld == nil || !slices.Contains(x.ForwardHeaders, "Authorization") {
		return Outcome{}, false
	}
	why := x.Withheld()
	if why == "" {
		return Outcome{}, false
	}
	h := w.Header()
	h["Content-Type"] = jsonType
	w.WriteHeader(status)
	n, err := w.Write(wire.AppendError(nil, x.id(), wire.CodeInvalidRequest,
		"The backend refused with status "+strconv.Itoa(status)+". Your Authorization was not sent on: "+why, nil))
	return Outcome{Status: status, Bytes: int64(n), Err: err, Reason: reasonWithheld}, true
}

// refuseError answers for a call that upstream could not make.
func refuseError(w http.ResponseWriter, req *http.Request, x *Exchange, err error) Outcome {
	if caller, ok := errors.AsType[*CallerError](err); ok {
		return refuse(w, req, x, wire.InvalidRequest, caller.Message)
	}
	var o Outcome
	switch kind := upstream.KindOf(err); {
	case kind == upstream.Canceled:
		return Outcome{Status: 499, Err: err, Reason: reasonGone} // nobody is there to read an answer
	case kind == upstream.InstanceGone, kind == upstream.Refused && x.Session != nil && x.Session.Instance != "":
		o = refuse(w, req, x, wire.UnknownSession, "")
		o.Reason = reasonSessionLost
	case kind == upstream.Busy:
		o = refuse(w, req, x, wire.Overloaded, "")
		o.Reason = kind.String()
	case kind == upstream.Timeout:
		o = refuse(w, req, x, wire.BackendTimeout, "")
		o.Reason = kind.String()
	default:
		message := ""
		if kind != 0 {
			message = "The backend is not available: " + kind.String()
		}
		o = refuse(w, req, x, wire.BackendUnavailable, message)
		o.Reason = reasonBackend
		if kind != 0 {
			o.Reason = kind.String()
		}
	}
	o.Err = err
	return o
}
