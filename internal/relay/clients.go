package relay

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// SSEClient is a client that speaks the HTTP+SSE transport of 2024-11-05: it holds one event stream open, on which
// everything comes back, and posts its messages to an endpoint that the stream names.
type SSEClient struct {
	Service, Version, Consumer string
	Address                    string // as in Exchange
	// Endpoint gives the path, and query, where the messages of a session are posted.
	Endpoint func(session string) string
	// Handle treats one message as if it had come over Streamable HTTP: a POST with body; a GET without one, for the
	// stream of what the server sends of its own accord; a DELETE at the end. req is made for it: the header is the
	// client's own, with the session id that Handle gave in answer to initialize; its context ends with the session.
	Handle func(w http.ResponseWriter, req *http.Request, body []byte)
	Key    [32]byte // as in Exchange, and View
	View   any
}

// maxInFlight is how many messages of one HTTP+SSE client may be at work at once.
const maxInFlight = 64

// clients holds the HTTP+SSE clients that are connected.
type clients struct {
	relay  *Relay
	mu     sync.Mutex
	byID   map[string]*sseClient
	places shares[*sseClient] // of those connected, those included whose stream is only being begun
	closed bool
	wg     sync.WaitGroup // clients, until the session behind each is ended
}

func newClients(r *Relay) *clients { return &clients{relay: r, byID: map[string]*sseClient{}} }

type sseClient struct {
	SSEClient
	stream *stream
	place  *holding[*sseClient]
	first  *http.Request // that opened the stream

	mu       sync.Mutex
	session  string             // what Handle gave for Mcp-Session-Id
	inFlight map[string]*posted // by id; the newest, where a client gives ids anew
	busy     int
	listens  bool
	ended    bool
	leaving  bool // ends once no message is at work
	wg       sync.WaitGroup
}

type innerKey struct{}

// isInner tells a request that was made for an HTTP+SSE client: notices of changed tools go on its one stream.
func isInner(req *http.Request) bool { return req.Context().Value(innerKey{}) != nil }

// ServeSSE serves the event stream of an HTTP+SSE client, until it leaves or is cut.
func (r *Relay) ServeSSE(w http.ResponseWriter, req *http.Request, client SSEClient) Outcome {
	x := &Exchange{Service: client.Service, Version: client.Version, Consumer: client.Consumer, Address: client.Address, Key: client.Key, View: client.View, client: true}
	c := &sseClient{SSEClient: client, first: req, inFlight: map[string]*posted{}}
	ctx, cancel := context.WithCancelCause(req.Context())
	ctx = context.WithValue(ctx, innerKey{}, true)
	id := rand.Text()
	cs := r.clients
	cs.mu.Lock()
	if cs.closed || !cs.room(x.owner()) {
		cs.mu.Unlock()
		cancel(nil)
		return refuse(w, req, x, wire.TooManyRequests, "Too many HTTP+SSE sessions: try again later, or use Streamable HTTP")
	}
	c.place = cs.places.take(x.owner(), c)
	cs.wg.Add(1)
	cs.mu.Unlock()
	defer cs.wg.Done()
	s := r.stream(ctx, cancel, w, http.StatusOK, x, notices{wanted: true})
	cs.mu.Lock()
	c.stream = s
	cs.byID[id] = c
	if cs.closed || c.place.of == nil {
		c.stream.end()
	}
	cs.mu.Unlock()
	c.stream.write(wire.AppendEvent(nil, "", "endpoint", []byte(client.Endpoint(id))), true)
	<-ctx.Done()
	cs.mu.Lock()
	delete(cs.byID, id)
	cs.places.giveUp(c.place)
	cs.mu.Unlock()
	c.finish()
	c.stream.close()
	o := Outcome{Status: http.StatusOK, Bytes: c.stream.sent(), Reason: reasonGone}
	if c.stream.cut() {
		o.Reason = reasonCut
	}
	return o
}

// room reports whether there is a place for one more of o's. Where all are taken, the longest unused client of whoever holds
// most is disconnected, but only if that is more than o would hold: clients connect anew at once, and would drive each
// other out for ever. The lock is held.
func (cs *clients) room(o owner) bool {
	if cs.places.len() < cs.relay.o.Sessions {
		return true
	}
	h, fair := cs.places.loser(o)
	if h == nil || !fair {
		return false
	}
	cs.places.giveUp(h)
	if s := h.what.stream; s != nil { // else it ends as soon as it has begun
		s.end()
	}
	return true
}

// PostSSE takes a message that an HTTP+SSE client posted for a session. The answer goes on the session's stream; w gets
// 202, or a refusal. env is the scan of body, both are the caller's again when PostSSE returns.
func (r *Relay) PostSSE(w http.ResponseWriter, req *http.Request, session, service, version, consumer string, body []byte, env *wire.Envelope) Outcome {
	x := &Exchange{Service: service, Version: version, Consumer: consumer, Env: env}
	cs := r.clients
	cs.mu.Lock()
	c := cs.byID[session]
	if c != nil && c.Consumer == consumer {
		cs.places.use(c.place)
	}
	cs.mu.Unlock()
	if c == nil || c.Service != service || c.Version != version || c.Consumer != consumer {
		return lost(w, req, x)
	}
	held := r.o.Memory.Share()
	held.Own(consumer)
	if !held.Grow(2 * int64(len(body))) { // Handle reads it into a copy
		return refuse(w, req, x, wire.Overloaded, "")
	}
	m := &posted{client: c, held: held, req: c.inner(http.MethodPost, req.Header), body: append([]byte(nil), body...), method: env.Method}
	if id := x.id(); id != nil {
		m.id = string(id)
	}
	if env.Method == wire.NotificationCancelled {
		m.cancels = string(env.CancelID)
	}
	if !c.begin(m) {
		m.held.Release()
		return refuse(w, req, x, wire.TooManyRequests, "")
	}
	if m.id != "" {
		go m.run()
	} else {
		m.run() // in order: what comes after "initialized" may rely on it
	}
	w.WriteHeader(http.StatusAccepted)
	return Outcome{Status: http.StatusAccepted}
}

// inner makes a request for Handle.
func (c *sseClient) inner(method string, header http.Header) *http.Request {
	req := c.first.Clone(c.stream.ctx)
	req.Method, req.Header, req.Body, req.ContentLength = method, header.Clone(), http.NoBody, 0
	req.Header["Accept"] = []string{"application/json, text/event-stream"}
	req.Header.Del("Accept-Encoding")
	if method == http.MethodPost {
		req.Header["Content-Type"] = []string{"application/json"}
	}
	req.Header.Del(wire.HeaderSession)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != "" {
		req.Header[wire.HeaderSession] = []string{c.session}
	}
	return req
}

// keepSession remembers the session that Handle opened; what the client posts next is for it.
func (c *sseClient) keepSession(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = id
}

// posted is a message on its way through Handle.
type posted struct {
	client  *sseClient
	req     *http.Request
	body    []byte
	method  string
	id      string // raw; empty if it is no call
	held    budget.Share
	cancel  context.CancelFunc
	cancels string // raw id of the call that it cancels
}

// begin counts a message in; false if there are too many, or the session ended.
func (c *sseClient) begin(m *posted) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.leaving || c.busy >= maxInFlight {
		return false
	}
	c.busy++
	c.wg.Add(1)
	ctx, cancel := context.WithCancel(m.req.Context())
	m.req, m.cancel = m.req.WithContext(ctx), cancel
	if m.id != "" {
		c.inFlight[m.id] = m
	}
	return true
}

func (m *posted) run() {
	c := m.client
	defer c.wg.Done()
	defer m.held.Release()
	defer m.cancel()
	s := newSink(c, m.id)
	c.Handle(s, m.req, m.body)
	status, answered := s.finish()
	c.mu.Lock()
	c.busy--
	last := c.leaving && c.busy == 0
	if c.inFlight[m.id] == m {
		delete(c.inFlight, m.id)
	}
	if call := c.inFlight[m.cancels]; call != nil {
		call.cancel()
	}
	listen := m.method == wire.NotificationInitialized && status < 300 && c.session != "" && !c.listens && !c.ended && !c.leaving
	if listen {
		c.listens = true
		c.wg.Add(1)
	}
	had := m.req.Header.Get(wire.HeaderSession) != ""
	c.mu.Unlock()
	if listen {
		go c.listen()
	}
	if m.id != "" && !answered && m.req.Context().Err() == nil {
		e := wire.BackendUnavailable.Error(false, "The call was not answered")
		c.stream.write(wire.AppendEvent(nil, "", "message", e.Append(nil, []byte(m.id))), true)
	}
	if last || status == http.StatusNotFound && had && m.method != "" {
		c.stream.end() // the session behind is gone: the client is to connect anew
	}
}

// listen brings what the server sends of its own accord, for as long as Handle gives streams.
func (c *sseClient) listen() {
	defer c.wg.Done()
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		began := time.Now()
		s := newSink(c, "")
		c.Handle(s, c.inner(http.MethodGet, c.first.Header), nil)
		if status, _ := s.finish(); status != http.StatusOK {
			return
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		select {
		case <-c.stream.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// finish ends what is at work, and then the session behind.
func (c *sseClient) finish() {
	c.mu.Lock()
	c.ended = true
	session := c.session
	c.mu.Unlock()
	c.wg.Wait()
	if session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.stream.ctx), cancelTime)
	defer cancel()
	s := newSink(c, "")
	c.Handle(s, c.inner(http.MethodDelete, c.first.Header).WithContext(ctx), nil)
	s.finish()
}

// drain lets no new client in, and ends each that is there as soon as none of its messages is at work.
func (cs *clients) drain() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	for _, c := range cs.byID {
		c.mu.Lock()
		c.leaving = true
		if c.busy == 0 {
			c.stream.end()
		}
		c.mu.Unlock()
	}
}

// close ends all clients, and waits until the sessions behind them are ended, too.
func (cs *clients) close() {
	cs.mu.Lock()
	cs.closed = true
	for _, c := range cs.byID {
		c.stream.end()
	}
	cs.mu.Unlock()
	cs.wg.Wait()
}
