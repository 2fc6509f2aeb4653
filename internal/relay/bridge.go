package relay

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// Why a bridged session ended.
var (
	errEvicted = errors.New("session was dropped for newer ones")
	errClosed  = errors.New("session was closed")
	errUnused  = errors.New("session was unused for too long")
	errEnded   = errors.New("backend ended its event stream")
)

// endpointTime bounds the wait for a backend's endpoint event, which is to be its first (2024-11-05, transports).
const endpointTime = 30 * time.Second

// What is kept for a client without an open stream, and the calls it may have waiting.
const (
	maxQueued      = 256
	maxQueuedBytes = 4 << 20
	maxCalls       = 256
)

// bridge is one session: the backend's event stream and the clients' calls that wait for something on it.
type bridge struct {
	of                         *bridges
	owner                      owner // whose share of the sessions it takes
	id                         string
	service, version, consumer string
	backend                    *upstream.Backend
	endpoint                   string // absolute URL, on the backend's own origin
	resp                       *upstream.Response
	events                     *wire.EventReader
	reading                    budget.Share // what events holds; the reader's alone
	ctx                        context.Context
	cancel                     context.CancelCauseFunc
	timer                      *time.Timer // ends the session when unused

	mu      sync.Mutex
	users   int
	calls   map[string]*waiting // by raw id
	newest  *waiting
	streams []*waiting // open GETs: what is for none of the calls goes on the newest
	queue   []message  // that found nobody
	queued  int        // bytes of them
}

// waiting is a client's exchange that messages can be given to.
type waiting struct {
	id       string // raw; empty for a GET
	token    string // raw progress token; empty if there is none
	events   bool   // takes messages besides its answer
	messages chan message
	gone     chan struct{} // closed when the exchange ended
}

type message struct {
	data  []byte
	final bool  // the answer to the call
	held  int64 // of the relay's Memory: to be released by whoever drops the message
}

// open makes a session with the backend: its event stream, up to the endpoint event.
func (bs *bridges) open(req *http.Request, x *Exchange) (*bridge, error) {
	b := &bridge{of: bs, owner: x.owner(), service: x.Service, version: x.Version, consumer: x.Consumer, backend: x.Backend, calls: map[string]*waiting{}}
	b.ctx, b.cancel = context.WithCancelCause(context.WithoutCancel(req.Context()))
	up, err := outgoing(req, x, http.MethodGet, nil)
	if err != nil {
		b.cancel(err)
		return nil, err
	}
	up.Header["Accept"] = []string{"text/event-stream"}
	up.Header["Accept-Encoding"] = []string{"identity"}
	up.Header.Del("Content-Type")
	up.Decode, up.Idle = true, -1
	// Until it is there, the session depends on the client that asks for it, and on a bound of its own.
	stop := context.AfterFunc(req.Context(), func() { b.cancel(errClosed) })
	defer stop()
	limit := time.AfterFunc(endpointTime, func() { b.cancel(errUnused) })
	defer limit.Stop()
	if b.resp, err = b.backend.Do(b.ctx, up); err != nil {
		b.cancel(err)
		return nil, err
	}
	if err := b.findEndpoint(bs.relay.o.MaxMessage); err != nil {
		b.reading.Release()
		b.resp.Body.Close()
		b.cancel(err)
		return nil, err
	}
	b.timer = time.AfterFunc(bs.relay.o.SessionIdle, b.expire)
	return b, nil
}

// noEvents is the status of a backend that did not answer with an event stream.
type noEvents int

func (status noEvents) Error() string {
	return "open session: the backend does not answer with an event stream, but with status " + strconv.Itoa(int(status))
}

var errEndpoint = errors.New("open session: the backend's endpoint event is missing, or is not on its own origin")

func (b *bridge) findEndpoint(maxEvent int) error {
	if b.resp.Status != http.StatusOK || mediaType(b.resp.Header) != "text/event-stream" {
		return noEvents(b.resp.Status)
	}
	b.events = wire.NewEventReader(b.resp.Body, maxEvent)
	b.reading = b.of.relay.o.Memory.Share()
	b.events.Hold = b.reading.Set
	for {
		ev, err := b.events.Next()
		if err != nil {
			return err
		}
		if string(ev.Name) != "endpoint" {
			// It is to be the first (2024-11-05, transports), but keep-alives of a name of their own, and blocks of nothing but
			// "retry:", come before it from some backends; the clients of the official SDKs wait for it.
			b.arrived(ev)
			continue
		}
		base := b.backend.URL(b.resp.Instance)
		u, err := base.Parse(strings.TrimSpace(string(ev.Data)))
		// A foreign endpoint would send the client's messages, and the service's credential, to whom the backend likes.
		if err != nil || u.User != nil || u.Opaque != "" || !upstream.SameOrigin(u, base) {
			return errEndpoint
		}
		u.Fragment, u.RawFragment = "", ""
		b.endpoint = u.String()
		return nil
	}
}

// read gives out what the backend sends, until its stream ends.
func (b *bridge) read() {
	defer b.resp.Body.Close()
	defer b.reading.Release()
	for {
		ev, err := b.events.Next()
		if err != nil {
			why := errEnded
			if err == io.EOF {
				ev, err := b.events.Rest()
				switch err {
				case wire.ErrUnended:
					b.arrived(ev)
				case wire.ErrCutEvent:
					why = err
				}
			}
			b.end(why)
			return
		}
		b.arrived(ev)
	}
}

// arrived takes an event; what is no message is passed over.
func (b *bridge) arrived(ev wire.Event) {
	data := wire.WithoutMark(ev.Data)
	if len(data) > 0 && (ev.Name == nil || string(ev.Name) == "message") && wire.Valid(data) {
		b.take(data)
	}
}

// take makes a message of data, which is the reader's. A large one for which there is no memory is dropped; who waits for it
// is told.
func (b *bridge) take(data []byte) {
	held := int64(0)
	if len(data) > budget.Free {
		held = 3 * int64(len(data)) // what the client gets is made of it
	}
	if b.memory().Take(held) {
		b.give(append([]byte(nil), data...), held)
		return
	}
	fields := gjson.GetManyBytes(data, "id", "method")
	if id := fields[0].Raw; !fields[1].Exists() && id != "" && len(id) < 1<<10 {
		b.give(wire.Overloaded.Error(false, "").Append(nil, []byte(id)), 0)
	}
}

func (b *bridge) memory() *budget.Memory { return b.of.relay.o.Memory }

// drop lets go of a message.
func (b *bridge) drop(m message) { b.memory().Release(m.held) }

// give hands a message to whom it is for: an answer to the call that waits for it, progress to the call it is of, other
// messages to the newest stream, else to the newest call, else to the queue. Where no call has exactly that id, or token,
// the only one that has it but for its type does; the client gets its own bytes.
func (b *bridge) give(data []byte, held int64) {
	m := message{data: data, held: held}
	fields := gjson.GetManyBytes(data, "id", "method", "params.progressToken")
	id, method, token := fields[0].Raw, fields[1].Str, fields[2].Raw
	b.mu.Lock()
	var to *waiting
	switch {
	case !fields[1].Exists():
		if to = b.calls[id]; to == nil {
			if to = b.only(func(c *waiting) bool { return sameLoosely(c.id, id) }); to != nil {
				m.data = withMember(data, "id", to.id)
			}
		}
		if to == nil || m.data == nil {
			b.mu.Unlock()
			b.drop(m)
			return // nobody waits for it any more
		}
		m.final = true
		b.forget(to)
	case method == wire.NotificationProgress:
		to = b.only(func(c *waiting) bool { return c.events && c.token != "" && c.token == token })
		if to == nil {
			to = b.only(func(c *waiting) bool { return c.events && sameLoosely(c.token, token) })
			if to != nil {
				if own := withMember(data, "params.progressToken", to.token); own != nil {
					m.data = own
				}
			}
		}
	}
	if to == nil {
		if n := len(b.streams); n > 0 {
			to = b.streams[n-1]
		} else if b.newest != nil && b.newest.events {
			to = b.newest
		}
	}
	if to == nil {
		b.enqueue(m)
	}
	b.mu.Unlock()
	if to == nil {
		return
	}
	select {
	case to.messages <- m:
		select {
		case <-to.gone: // in this moment, and perhaps before the message was there
			b.recover(to)
		default:
		}
	case <-to.gone:
		if to.id == "" { // a stream that left in this moment
			b.give(data, held)
			return
		}
		b.drop(m)
	case <-b.ctx.Done():
		b.drop(m)
	}
}

// only returns the one waiting call that fits, nil where there is none or are several. The lock is held.
func (b *bridge) only(fits func(*waiting) bool) (found *waiting) {
	for _, c := range b.calls {
		if fits(c) {
			if found != nil {
				return nil
			}
			found = c
		}
	}
	return found
}

// leaveStream is the end of a stream. What it did not deliver goes to another one, or waits for the next.
func (b *bridge) leaveStream(c *waiting) {
	b.mu.Lock()
	b.streams = slices.DeleteFunc(b.streams, func(other *waiting) bool { return other == c })
	b.mu.Unlock()
	close(c.gone)
	b.recover(c)
}

// recover takes what an exchange that is gone did not take: for another stream, if it was one, else to be dropped.
func (b *bridge) recover(c *waiting) {
	for {
		select {
		case m := <-c.messages:
			if c.id == "" {
				b.give(m.data, m.held)
			} else {
				b.drop(m)
			}
		default:
			return
		}
	}
}

// enqueue keeps a message for the next stream; the oldest go where they are too many. The lock is held.
func (b *bridge) enqueue(m message) {
	if b.ctx.Err() != nil || len(m.data) > maxQueuedBytes {
		b.drop(m)
		return
	}
	if m.held == 0 { // small ones, too: sessions are many, and their queues last
		m.held = int64(len(m.data)) + queuedCost
		if !b.memory().Take(m.held) {
			return
		}
	}
	b.queue = append(b.queue, m)
	b.queued += len(m.data)
	for len(b.queue) > maxQueued || b.queued > maxQueuedBytes {
		b.drop(b.queue[0])
		b.queued -= len(b.queue[0].data)
		b.queue[0] = message{}
		b.queue = b.queue[1:]
	}
}

// queuedCost is what a message in a queue takes besides its bytes.
const queuedCost = 64

// emptied returns the queue, which is then empty. The lock is held.
func (b *bridge) emptied() []message {
	queue := b.queue
	b.queue, b.queued = nil, 0
	return queue
}

// wait registers a call; false if its id is taken or too many wait.
func (b *bridge) wait(c *waiting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls[c.id] != nil || len(b.calls) >= maxCalls {
		return false
	}
	b.calls[c.id] = c
	b.newest = c
	return true
}

// forget is wait's end. The lock is held. waited tells whether the call was still without an answer.
func (b *bridge) forget(c *waiting) (waited bool) {
	if waited = b.calls[c.id] == c; waited {
		delete(b.calls, c.id)
	}
	if b.newest == c {
		b.newest = nil
		for _, other := range b.calls {
			b.newest = other
		}
	}
	return waited
}

// enter and leave count the exchanges of the session; without any it expires. A session that ended lets nobody in.
func (b *bridge) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.users++
	b.timer.Stop()
	return true
}

func (b *bridge) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users--; b.users == 0 && b.ctx.Err() == nil {
		b.timer.Reset(b.of.relay.o.SessionIdle)
	}
}

func (b *bridge) expire() {
	b.mu.Lock()
	unused := b.users == 0
	b.mu.Unlock()
	if unused {
		b.of.remove(b)
	}
}

// end ends the session; exchanges that wait are told. It takes no lock of bridges, whose eviction calls it.
func (b *bridge) end(why error) {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.cancel(why)
	b.mu.Lock()
	queue := b.emptied()
	b.mu.Unlock()
	for _, m := range queue {
		b.drop(m)
	}
	if why == errEnded || why == wire.ErrCutEvent || why == errClosed {
		go b.of.remove(b)
	}
}

// post sends x's message to the backend's endpoint.
func (b *bridge) post(req *http.Request, x *Exchange) (*upstream.Response, error) {
	up, err := outgoing(req, x, http.MethodPost, x.Body)
	if err != nil {
		return nil, err
	}
	credential := strings.TrimPrefix(up.Path, "?") // that of the service may go in the query
	if up.Path = b.endpoint; credential != "" {
		sep := "?"
		if strings.Contains(b.endpoint, "?") {
			sep = "&"
		}
		up.Path += sep + credential
	}
	up.Header["Accept-Encoding"] = []string{"identity"}
	up.Header["Content-Type"] = []string{"application/json"}
	up.Header.Del(wire.HeaderLastEventID)
	up.Decode = true
	return b.backend.Do(req.Context(), up)
}
