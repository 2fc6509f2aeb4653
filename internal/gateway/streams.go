package gateway

import (
	"net/http"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// stream is an open answer that outlives one decision: it hears when what its caller may see changes and ends when the
// caller may see nothing any more.
type stream struct {
	service, version, consumer string
	keyDigest                  [32]byte
	cut                        chan struct{} // closed when the caller lost everything
	changed                    chan struct{} // capacity 1: the caller's list of tools is another one

	mu      sync.Mutex // guards the rest
	view    view
	ended   bool
	expires *time.Timer
}

// view is what a caller's list of tools depends on.
type view struct {
	variant  *catalog.Variant
	table    *access.Table
	decision access.Level
}

type streams struct {
	mu         sync.Mutex
	byService  map[string]map[*stream]struct{}
	byConsumer map[string]map[*stream]struct{}
	closed     bool
}

func (s *streams) init() {
	s.byService = map[string]map[*stream]struct{}{}
	s.byConsumer = map[string]map[*stream]struct{}{}
}

func add(m map[string]map[*stream]struct{}, key string, st *stream) {
	if m[key] == nil {
		m[key] = map[*stream]struct{}{}
	}
	m[key][st] = struct{}{}
}

func drop(m map[string]map[*stream]struct{}, key string, st *stream) {
	delete(m[key], st)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// openStream enters a stream for a call that was admitted. Close it with closeStream.
func (c *call) openStream() *stream {
	st := &stream{
		service: c.name, version: c.version, consumer: c.consumerName(),
		cut: make(chan struct{}), changed: make(chan struct{}, 1),
		view: view{c.variant, c.service.Access, c.decision.Level},
	}
	if c.identity.key != nil {
		st.keyDigest = c.identity.key.Digest
	}
	s := &c.g.streams
	s.mu.Lock()
	closed := s.closed
	if !closed {
		add(s.byService, st.service, st)
		add(s.byConsumer, st.consumer, st)
	}
	s.mu.Unlock()
	if closed {
		st.end()
	}
	c.g.review(st, c.g.options.Catalog.Index()) // it may have changed since the decision
	return st
}

func (g *Gateway) closeStream(st *stream) {
	s := &g.streams
	s.mu.Lock()
	drop(s.byService, st.service, st)
	drop(s.byConsumer, st.consumer, st)
	s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ended = true
	if st.expires != nil {
		st.expires.Stop()
	}
}

// end closes the stream from our side.
func (st *stream) end() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.ended {
		st.ended = true
		close(st.cut)
	}
}

func (s *streams) closeAll() {
	s.mu.Lock()
	s.closed = true
	var all []*stream
	for _, set := range s.byService {
		for st := range set {
			all = append(all, st)
		}
	}
	s.mu.Unlock()
	for _, st := range all {
		st.end()
	}
}

// Swapped makes open streams follow an Index that was just published.
func (g *Gateway) Swapped(d catalog.Delta) {
	s := &g.streams
	affected := map[*stream]struct{}{}
	s.mu.Lock()
	for name := range d.Services {
		for st := range s.byService[name] {
			affected[st] = struct{}{}
		}
	}
	for name := range d.Consumers {
		for st := range s.byConsumer[name] {
			affected[st] = struct{}{}
		}
	}
	s.mu.Unlock()
	for st := range affected {
		g.review(st, d.Index)
	}
}

// review decides about a stream anew.
func (g *Gateway) review(st *stream, x *catalog.Index) {
	now := time.Now().UnixNano()
	next, expiry, ok := st.decide(x, now)
	if !ok {
		st.end()
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return
	}
	if next != st.view {
		st.view = next
		select {
		case st.changed <- struct{}{}:
		default:
		}
	}
	if st.expires != nil {
		st.expires.Stop()
	}
	if expiry > 0 {
		st.expires = time.AfterFunc(time.Duration(expiry-now)+time.Millisecond, func() {
			select {
			case st.changed <- struct{}{}:
			default:
			}
			g.review(st, g.options.Catalog.Index())
		})
	}
}

// decide gives what the stream's caller sees now, when that changes by itself (0: never), and whether it sees anything.
func (st *stream) decide(x *catalog.Index, now int64) (view, int64, bool) {
	service := x.Service(st.service)
	if service == nil || service.NotServed != "" {
		return view{}, 0, false
	}
	variant := service.Variant(st.version)
	if variant == nil {
		return view{}, 0, false
	}
	v := view{variant: variant, table: service.Access}
	if service.Access.Open() {
		return v, 0, true
	}
	holder, ok := x.Holder(st.keyDigest)
	if !ok || holder.Consumer.Name != st.consumer || access.KeyState(holder.Consumer, holder.Key, now) != access.KeyOK {
		return view{}, 0, false
	}
	decision := service.Access.Service(holder.Consumer, now)
	if !decision.Allowed {
		return view{}, 0, false
	}
	v.decision = decision.Level
	expiry := service.Access.NextExpiry(holder.Consumer, now)
	if end := holder.Key.NotAfter; !end.IsZero() && (expiry == 0 || end.UnixNano() < expiry) {
		expiry = end.UnixNano()
	}
	return v, expiry, true
}

// hold keeps an SSE answer of ours open: comments to keep it alive, a notification when the list of tools changes.
// subscription is the raw id of the modern subscriptions/listen; nil in the legacy era.
func (c *call) hold(st *stream, subscription []byte) {
	defer c.g.closeStream(st)
	control := http.NewResponseController(c.w)
	_ = control.SetWriteDeadline(time.Time{})
	var tick <-chan time.Time
	if c.g.options.KeepAlive > 0 {
		ticker := time.NewTicker(c.g.options.KeepAlive)
		defer ticker.Stop()
		tick = ticker.C
	}
	send := func(b []byte) bool {
		n, err := c.w.Write(b)
		c.written += int64(n)
		return err == nil && control.Flush() == nil
	}
	if !send([]byte(": open\n\n")) {
		return
	}
	for {
		select {
		case <-c.r.Context().Done():
			return
		case <-st.cut:
			return
		case <-tick:
			if !send([]byte(": keep-alive\n\n")) {
				return
			}
		case <-st.changed:
			if !send(wire.AppendEvent(nil, "", "message", wire.AppendToolsListChanged(nil, subscription))) {
				return
			}
		}
	}
}

// listen answers the modern subscriptions/listen by ourselves: only the list of tools is followed.
func (c *call) listen() {
	st := c.openStream()
	id := append([]byte(nil), c.env.ID...)
	c.startEvents()
	params := append([]byte(`{"notifications":{"toolsListChanged":true},"_meta":{"`+wire.MetaSubscriptionID+`":`), id...)
	params = append(params, `}}`...)
	_, _ = c.w.Write(wire.AppendEvent(nil, "", "message", wire.AppendNotification(nil, wire.NotificationAcknowledged, params)))
	c.hold(st, id)
}

// stream serves GET and DELETE of Streamable HTTP.
func (c *call) stream() {
	if !c.variant.Kind.Converted() {
		c.passthrough()
		return
	}
	if c.session == nil {
		c.refuse(wire.MethodNotAllowed, "")
		return
	}
	if c.r.Method == http.MethodDelete {
		// The session's state is in its id: nothing is held that could be ended, and no replica could tell the others.
		// 405 says that clients do not end sessions here (2025-11-25, Transports, Session Management).
		c.w.Header().Set("Allow", "POST, GET")
		c.refuse(wire.MethodNotAllowed, "Sessions of this service need not be ended")
		return
	}
	st := c.openStream()
	c.startEvents()
	c.hold(st, nil)
}
