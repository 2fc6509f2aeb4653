package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Most attempts on different instances, and most redirects, of one call.
const (
	maxAttempts  = 3
	maxRedirects = 5
)

// keyPrefix begins the proxy's own keys; nothing that starts with it leaves.
const keyPrefix = "nmp_"

// Backend is where the calls of one service go.
type Backend struct {
	u       *Upstreams
	service string
	timeout time.Duration
	base    *url.URL // nil: every request brings an absolute URL. With ref, scheme and host are placeholders.
	ref     *registry.BackendRef
	set     *set // nil without ref
	pool    *pool
	closed  sync.Once
}

// Request is one call. Do changes its Header. It keeps nothing of the Request once it has returned, but for the Body where
// Kept says so.
type Request struct {
	Method string
	// Path is path?query behind the backend's own, "?query" to add only that, "" for the backend's URL itself, or an
	// absolute URL.
	Path string
	// Host replaces the Host header; it does not change where the request goes.
	Host   string
	Header http.Header
	Body   []byte
	// Instance pins the call to one address of the naming service; "" lets Do choose. Ignored where the backend is a URL.
	Instance string
	// SecretHosts holds, for each secret in the request, where it may be sent: see mayReceive.
	SecretHosts [][]string
	// Stream: the timeout ends with the answer's header, then only silence is bounded. Else it bounds the whole call.
	Stream bool
	// Decode undoes gzip and deflate, within the limit on the size. Else the body comes as the backend encoded it.
	Decode bool
	// LooseCoding has a Content-Encoding that is no coding (none, aws-chunked, the name of a charset) count as none.
	LooseCoding bool
	// Timeout, if not zero, replaces the backend's; Idle replaces StreamIdle, a negative one lifts it.
	Timeout, Idle time.Duration

	joined  url.URL // of the backend's own and Path
	message message
	lent    http.Header // to the answer; nil: it gets a map of its own
}

// maxReused bounds the maps that a Request keeps.
const maxReused = 32

// Reset readies r for another call with the memory of the last one: the map of its Header, empty, and the one that the
// Header of its answer is. Nobody may use those of the last call any more.
func (r *Request) Reset() {
	header, lent := emptied(r.Header), emptied(r.lent)
	*r = Request{Header: header, lent: lent}
}

func emptied(h http.Header) http.Header {
	if h == nil || len(h) > maxReused {
		return make(http.Header, 8) // as many as a map holds without a second allocation
	}
	clear(h)
	return h
}

// Kept tells after Do, and until the next Reset, whether something may read on in Body: http.Transport does where a backend answers early.
func (r *Request) Kept() bool { return r.message.kept }

// Sent lets go of what was sent, for the sake of an answer that lasts. All that can be done with r afterwards is to Reset it.
func (r *Request) Sent() { *r = Request{message: message{kept: r.message.kept}} }

// Response is an answer. Body is to be closed; reading it fails with an *Error. Body must not be read and closed at once.
type Response struct {
	Status        int
	Header        http.Header // of a Request that was Reset: until it is again
	ContentLength int64       // -1 where unknown or decoded
	Body          io.ReadCloser
	Instance      string // the address that answered, for naming backends
	// Hold, where the caller sets it, is what AppendBody has to hold the body by; the bytes stay in it. Nil: no bound but that
	// on its size.
	Hold  *budget.Share
	clock *clock
}

// exchange is what one call needs, in one piece.
type exchange struct {
	clock    clock
	response Response
	body     body
	answer   answer
	plain    plainBody
	values   [8]string // of a usual answer's header
}

// Context ends with the call: when the caller's does, when a limit is reached, when the body is closed, or by Cancel.
// Cause tells why.
func (r *Response) Context() context.Context { return r.clock }

// Cancel ends the call from another goroutine than the one that reads the body; cause is the Cause of Context.
func (r *Response) Cancel(cause error) { r.clock.end(cause) }

// InstanceState is an instance as /status shows it.
type InstanceState struct {
	Address          string
	Healthy, Ejected bool
	Persistent       bool // there until somebody removes it
}

// Instances gives what is known of a naming backend's instances; nil for a URL.
func (b *Backend) Instances() []InstanceState {
	if b.set == nil {
		return nil
	}
	p := b.set.picker.Load()
	if p == nil {
		return nil
	}
	now := time.Now()
	out := make([]InstanceState, 0, len(p.all))
	for _, n := range p.all {
		out = append(out, InstanceState{Address: n.address, Healthy: n.healthy, Ejected: n.active(now), Persistent: n.persistent})
	}
	return out
}

// Usable reports whether a call would find an instance; it is always true of a URL.
func (b *Backend) Usable() bool {
	if b.set == nil {
		return true
	}
	p := b.set.picker.Load()
	return p != nil && len(p.usable) > 0
}

// Naming tells whether the backend is a naming service, so that answers name an instance to pin.
func (b *Backend) Naming() bool { return b.set != nil }

// Timeout is how long a call may take to its first byte.
func (b *Backend) Timeout() time.Duration { return b.timeout }

// URL returns the backend's own URL at the instance given, for resolving what the backend writes relative to it.
func (b *Backend) URL(instance string) *url.URL {
	if b.base == nil {
		return nil
	}
	u := *b.base
	if b.set != nil {
		u.Host = instance
		_, port, _ := net.SplitHostPort(instance)
		n, _ := strconv.Atoi(port)
		u.Scheme = b.ref.SchemeAt(n)
	}
	return &u
}

// Close lets go of connections and subscriptions. Calls in flight go on. Closing twice is harmless.
func (b *Backend) Close() { b.closed.Do(func() { b.u.release(b) }) }

// Do sends r and gives the answer as soon as its header is there. It is sent to another instance only if the first could
// not be connected to. Every error is an *Error.
func (b *Backend) Do(ctx context.Context, r *Request) (*Response, error) {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = b.timeout
	}
	k := new(exchange)
	k.clock.start(ctx, timeout)
	resp, err := b.attempts(k, r)
	if err != nil {
		k.clock.stop()
		return nil, err
	}
	return resp, nil
}

func (b *Backend) attempts(k *exchange, r *Request) (*Response, *Error) {
	var tried []*instance
	var last *Error
	for len(tried) < maxAttempts {
		u, in, err := b.target(&k.clock, r, tried)
		if err != nil {
			if last != nil && err.Kind == NoInstance {
				return nil, last
			}
			return nil, err
		}
		var ref *registry.BackendRef
		if in != nil {
			ref = b.ref
		}
		if len(r.SecretHosts) > 0 && !mayReceive(r.SecretHosts, hostPort(u), ref, b.u.o.Namespace) {
			return nil, &Error{Kind: Blocked, detail: "a credential of this call may not be sent to " + hostPort(u)}
		}
		if len(r.SecretHosts) > 0 && r.Host != "" && !mayName(r.SecretHosts, r.Host, u) {
			return nil, &Error{Kind: Blocked, detail: "a credential of this call may not be sent to the host that its Host header names"}
		}
		resp, err := b.follow(k, r, u)
		if err == nil {
			if in != nil {
				in.answered()
				resp.Instance = in.address
			}
			return resp, nil
		}
		if err.Kind != Refused || in == nil {
			return nil, err
		}
		in.refused(time.Now())
		if last = err; r.Instance != "" || isAbsolute(r.Path) {
			break
		}
		tried = append(tried, in)
	}
	return nil, last
}

// target says where the next attempt goes. in is nil for URLs.
func (b *Backend) target(c *clock, r *Request, tried []*instance) (*url.URL, *instance, *Error) {
	bad := func(err error) (*url.URL, *instance, *Error) {
		return nil, nil, &Error{Kind: Protocol, detail: "request URL", err: err}
	}
	switch {
	case isAbsolute(r.Path):
		u, err := parseTarget(r.Path)
		if err != nil {
			return bad(err)
		}
		return keyless(u, b.known(u))
	case b.base == nil:
		return bad(errors.New("is relative, but the service has no backend of its own"))
	}
	u, err := join(b.base, r.Path, &r.joined)
	if err != nil {
		return bad(err)
	}
	if b.set == nil {
		return keyless(u, nil)
	}
	p, e := b.set.current(c, b.u.o.FirstList)
	if e != nil {
		return nil, nil, e
	}
	var in *instance
	if r.Instance != "" {
		if in = p.find(r.Instance); in == nil {
			return nil, nil, &Error{Kind: InstanceGone, detail: r.Instance + " of " + refName(*b.ref)}
		}
	} else if in = p.pick(time.Now(), tried); in == nil {
		return nil, nil, &Error{Kind: NoInstance, detail: refName(*b.ref)}
	}
	r.joined = *u
	r.joined.Scheme, r.joined.Host = in.scheme, in.address
	return keyless(&r.joined, in)
}

// known gives the instance that an absolute URL names; nil for any other address.
func (b *Backend) known(u *url.URL) *instance {
	if b.set == nil {
		return nil
	}
	in := b.set.picker.Load().find(hostPort(u))
	if in == nil || u.Scheme != in.scheme {
		return nil
	}
	return in
}

// keyless refuses a URL that carries one of the proxy's own keys.
func keyless(u *url.URL, in *instance) (*url.URL, *instance, *Error) {
	if strings.Contains(u.RawQuery, "="+keyPrefix) {
		return nil, nil, &Error{Kind: Blocked, detail: "the query holds a key of this proxy"}
	}
	return u, in, nil
}

// follow sends r to u and follows redirects that stay there.
func (b *Backend) follow(k *exchange, r *Request, u *url.URL) (*Response, *Error) {
	method, body := r.Method, r.Body
	for range maxRedirects + 1 {
		resp, err := b.send(k, r, method, u, body)
		if err != nil {
			return nil, err
		}
		location := ""
		if isRedirect(resp.status) {
			location = resp.header.Get("Location")
		}
		if location == "" {
			return b.response(k, r, resp)
		}
		io.CopyN(io.Discard, resp.body, 4<<10) // a short one read to its end leaves the connection usable
		resp.body.Close()
		next, perr := u.Parse(location)
		if perr != nil || origin(next) != origin(u) || next.User != nil || next.Opaque != "" {
			return nil, &Error{Kind: Redirect, Sent: true, detail: "status " + strconv.Itoa(resp.status)}
		}
		next.Fragment, next.RawFragment = "", ""
		if strings.Contains(next.RawQuery, "="+keyPrefix) {
			return nil, &Error{Kind: Blocked, Sent: true, detail: "a redirect holds a key of this proxy"}
		}
		// RFC 9110, 15.4: 303 asks for a GET, 301 and 302 get one by custom where the method was POST.
		if s := resp.status; s == 303 && method != http.MethodHead || (s == 301 || s == 302) && method == http.MethodPost {
			if r.Stream && method != http.MethodGet {
				return nil, &Error{Kind: Redirect, Sent: true, detail: "status " + strconv.Itoa(resp.status) + " would lose the body"}
			}
			method, body = http.MethodGet, nil
			r.Header.Del("Content-Type")
		}
		u = next
	}
	return nil, &Error{Kind: Redirect, Sent: true, detail: "too many redirects"}
}

func isRedirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// send is one request on the wire.
func (b *Backend) send(k *exchange, r *Request, method string, u *url.URL, body []byte) (*answer, *Error) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	clean(r.Header)
	if have := r.Header["Accept-Encoding"]; r.Decode && (len(have) == 0 || have[0] == "") {
		r.Header["Accept-Encoding"] = gzipOnly
	}
	m := &r.message
	*m = message{method: method, url: u, host: r.Host, header: r.Header, body: body, stream: r.Stream, lent: r.lent, kept: m.kept}
	resp, err := b.pool.rt.roundTrip(k, m)
	if err != nil {
		return nil, classify(&k.clock, err)
	}
	return resp, nil
}

var (
	gzipOnly  = []string{"gzip"}
	userAgent = []string{"nacos-mcp-proxy"}
)

// clean removes what never leaves: hop-by-hop fields (RFC 9110, 7.6.1), which are the client library's business, and
// values that are keys of this proxy.
func clean(h http.Header) {
	for _, f := range h["Connection"] {
		for name := range strings.SplitSeq(f, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for name, values := range h {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "Content-Length":
			delete(h, name)
			continue
		}
		if slices.ContainsFunc(values, isKey) {
			delete(h, name)
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = userAgent
	}
}

// isKey tells whether a header's value is, or carries after its scheme, a key of this proxy.
func isKey(v string) bool {
	if !strings.Contains(v, keyPrefix) {
		return false
	}
	v = strings.TrimSpace(v)
	if strings.HasPrefix(v, keyPrefix) {
		return true
	}
	i := strings.LastIndexAny(v, " \t,;=")
	return i >= 0 && strings.HasPrefix(v[i+1:], keyPrefix)
}

// classify says what an error of the transport means.
func classify(c *clock, err error) *Error {
	if d, ok := errors.AsType[*dialError](err); ok {
		switch {
		case errors.Is(err, errBlocked):
			return &Error{Kind: Blocked, err: err}
		case errors.Is(err, errNoPlace):
			return &Error{Kind: Busy, err: err}
		case c.Err() != nil:
			return contextError(c, false)
		}
		return &Error{Kind: Refused, err: d.err}
	}
	if c.Err() != nil {
		return contextError(c, true)
	}
	return &Error{Kind: Protocol, Sent: true, err: err}
}
