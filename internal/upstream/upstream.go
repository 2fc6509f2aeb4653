package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Options are the bounds that hold for every backend. Zero values take the defaults named.
type Options struct {
	// Subscribe follows a naming service: the callback gets all its instances, now and after every change. It may block.
	// Nil: services that name one have no instances.
	Subscribe func(registry.BackendRef, func([]Instance)) (stop func(), err error)
	// Namespace is the source's own; a reference that spells it out is the same as one without.
	Namespace string
	// Deny always refuses; Allow, where not empty, is all that may be dialled. Neither opens what is never dialled:
	// link-local, metadata services, unspecified and multicast addresses, and Never.
	Allow, Deny []netip.Prefix
	// Never gives what else is not to be dialled: Nacos, our own listeners. Asked at every new connection. Port 0 means all
	// ports of the address, an unspecified address all addresses of this host.
	Never func() []netip.AddrPort

	// TLSFiles are the files that backends' definitions may name.
	TLSFiles TLSFiles

	CallTime     time.Duration // until the first byte; 60 s
	StreamIdle   time.Duration // silence of a stream, SSE comments not counted; 5 min
	DialTime     time.Duration // one connection attempt including TLS; 5 s
	FirstList    time.Duration // how long a call waits for a naming service's first list; 3 s
	ResponseBody int64         // bytes of an answer after decoding; 16 MiB. Streams of events are not bound by it.

	Descriptors *budget.Descriptors // bounds connections to backends; nil: nothing does

	Resolver *net.Resolver // nil: the system's
	// Dial connects, once an address may be dialled; nil: a net.Dialer. Names are not resolved for it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger // nil: none
}

func (o *Options) defaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&o.CallTime, 60*time.Second)
	set(&o.StreamIdle, 5*time.Minute)
	set(&o.DialTime, 5*time.Second)
	set(&o.FirstList, 3*time.Second)
	if o.ResponseBody <= 0 {
		o.ResponseBody = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Upstreams holds what backends share: connections per TLS identity, and one subscription per naming service.
type Upstreams struct {
	o     Options
	guard guard

	mu    sync.Mutex
	pools map[identity]*pool
	sets  map[registry.BackendRef]*set
	wg    sync.WaitGroup // subscriptions
}

// New makes an empty Upstreams. Close it when every call has ended.
func New(o Options) *Upstreams {
	o.defaults()
	return &Upstreams{
		o:     o,
		guard: guard{allow: o.Allow, deny: o.Deny, never: o.Never},
		pools: map[identity]*pool{},
		sets:  map[registry.BackendRef]*set{},
	}
}

// Open prepares the backend of a service. It does not dial, nor wait for the naming service. TLS files are read here, which
// may take as long as their file system takes; one that cannot be read or parsed is the error. Every Backend opened is to be
// closed.
func (u *Upstreams) Open(service string, def registry.Backend) (*Backend, error) {
	b := &Backend{u: u, service: service, timeout: def.Timeout, ref: def.Ref}
	if b.timeout <= 0 {
		b.timeout = u.o.CallTime
	}
	if err := b.locate(def); err != nil {
		return nil, err
	}
	material, err := u.o.TLSFiles.load(def.TLS)
	if err != nil {
		return nil, fmt.Errorf("open backend of %s: %w", service, err)
	}
	id := identify(def.TLS, material)
	if id.skipVerify {
		u.o.Log.Warn("TLS certificates of this service's backend are NOT verified", "service", service)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if b.pool = u.pools[id]; b.pool == nil {
		p := &pool{id: id}
		p.conf.Store(id.config(material))
		p.rt = u.newTransport(p.conf.Load)
		if files := def.TLS.Files(); len(files) > 0 {
			done := make(chan struct{})
			p.done = done
			u.wg.Go(func() { p.follow(done, u.o.TLSFiles, def.TLS, material.digest, u.o.Log) })
		}
		b.pool, u.pools[id] = p, p
	}
	b.pool.refs++
	if b.ref != nil {
		b.set = u.join(*b.ref)
	}
	return b, nil
}

// join names the set of ref once more, following it if nobody did. The lock is held.
func (u *Upstreams) join(ref registry.BackendRef) *set {
	s := u.sets[ref]
	if s == nil {
		s = &set{ref: ref, first: make(chan struct{}), done: make(chan struct{})}
		u.sets[ref] = s
		if u.o.Subscribe != nil {
			u.wg.Go(func() {
				s.follow(u.o.Subscribe, func(err error) {
					u.o.Log.Warn("cannot follow the instances of a naming service", "service", refName(ref), "error", err)
				})
			})
		}
	}
	s.refs++
	return s
}

// release undoes what Open took. Connections and subscriptions nobody uses any more end.
func (u *Upstreams) release(b *Backend) {
	u.mu.Lock()
	unused := false
	if b.pool.refs--; b.pool.refs == 0 {
		if b.pool.id != (identity{}) { // the plain pool is everybody's; its idle connections time out
			delete(u.pools, b.pool.id)
			b.pool.unfollow()
		}
		unused = true
	}
	if b.set != nil {
		if b.set.refs--; b.set.refs == 0 {
			delete(u.sets, b.set.ref)
			close(b.set.done)
		}
	}
	u.mu.Unlock()
	if unused {
		b.pool.rt.CloseIdleConnections() // without the lock: those at the other end may be slow to take our farewell
	}
}

// place takes a descriptor for a connection. Where there is none left, idle connections make room.
func (u *Upstreams) place() bool {
	d := u.o.Descriptors
	if d.Take(budget.Backends) {
		return true
	}
	u.mu.Lock()
	pools := slices.Collect(maps.Values(u.pools))
	u.mu.Unlock()
	for _, p := range pools {
		p.rt.CloseIdleConnections()
	}
	return d.Take(budget.Backends)
}

// placed is a connection that gives its descriptor back.
type placed struct {
	*net.TCPConn
	of   *budget.Descriptors
	gone atomic.Bool
}

// Close may be called more than once.
func (c *placed) Close() error {
	err := c.TCPConn.Close()
	if !c.gone.Swap(true) {
		c.of.Release(budget.Backends)
	}
	return err
}

// Close ends subscriptions, idle connections and waits for the former. Calls in flight go on.
func (u *Upstreams) Close() {
	u.mu.Lock()
	for ref, s := range u.sets {
		delete(u.sets, ref)
		s.refs = -1 << 30 // backends closed later have nothing to end
		close(s.done)
	}
	for _, p := range u.pools {
		p.rt.CloseIdleConnections()
		p.unfollow()
	}
	u.mu.Unlock()
	u.wg.Wait()
}

// locate reads where the backend is from its definition.
func (b *Backend) locate(def registry.Backend) error {
	raw := def.URL
	switch {
	case def.Ref != nil:
		if s := def.Ref.Scheme; s != "" && s != "http" && s != "https" {
			return &OpenError{b.service, "scheme of the naming service must be http or https"}
		}
		// Host and scheme are those of the instance that is chosen.
		raw = "http://naming.invalid" + ensureSlash(def.Path)
	case raw == "":
		return nil // every request brings its own URL
	}
	base, err := parseTarget(raw)
	if err != nil {
		return &OpenError{b.service, "url: " + err.Error()}
	}
	b.base = base
	return nil
}

// OpenError says what is wrong with a backend's definition.
type OpenError struct{ Service, Reason string }

// Error names the service and the reason.
func (e *OpenError) Error() string { return "open backend of " + e.Service + ": " + e.Reason }

func ensureSlash(p string) string {
	if p == "" || p[0] == '/' || p[0] == '?' {
		return p
	}
	return "/" + p
}

// SameOrigin tells whether two URLs have the same scheme, host and port.
func SameOrigin(a, b *url.URL) bool { return origin(a) == origin(b) }

// origin is what two URLs of one service have in common: scheme, host and port, in one spelling.
func origin(u *url.URL) string { return u.Scheme + "://" + hostPort(u) }

// hostPort gives host:port in lower case, with the scheme's port where the URL has none.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), port)
}
