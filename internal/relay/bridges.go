package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// bridges holds the sessions of Streamable HTTP clients with backends that speak HTTP+SSE (2024-11-05). Such a session is
// an open socket: it lives in this replica, and another one, or this one after a restart, answers 404 for it.
type bridges struct {
	relay *Relay

	mu     sync.Mutex
	byID   map[string]*holding[*bridge] // by the id that is sealed into the client's
	places shares[*bridge]
	closed bool
	wg     sync.WaitGroup // readers, and messages that nobody waits for
}

func newBridges(r *Relay) *bridges {
	return &bridges{relay: r, byID: map[string]*holding[*bridge]{}}
}

func (bs *bridges) get(id string) *bridge {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	h := bs.byID[id]
	if h == nil {
		return nil
	}
	bs.places.use(h)
	return h.what
}

// add makes b findable and starts reading for it; false if the relay is closed. Where all places are taken, the longest
// unused session of whoever holds most makes room, which may be b's own owner.
func (bs *bridges) add(b *bridge) bool {
	b.id = rand.Text()
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if bs.closed {
		return false
	}
	if bs.places.len() >= bs.relay.o.Sessions {
		if h, _ := bs.places.loser(b.owner); h != nil {
			bs.drop(h)
		}
	}
	bs.byID[b.id] = bs.places.take(b.owner, b)
	bs.wg.Go(b.read)
	return true
}

// drop ends a session for which there is no place or no right any more. The lock is held.
func (bs *bridges) drop(h *holding[*bridge]) {
	bs.places.giveUp(h)
	delete(bs.byID, h.what.id)
	h.what.end(errEvicted)
}

func (bs *bridges) remove(b *bridge) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if h := bs.byID[b.id]; h != nil {
		bs.drop(h)
	}
}

// review ends the sessions whose consumer may see nothing any more.
func (bs *bridges) review(keep func(Caller) bool) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, h := range bs.byID {
		if b := h.what; !keep(Caller{Service: b.service, Version: b.version, Consumer: b.consumer}) {
			bs.drop(h)
		}
	}
}

func (bs *bridges) close() {
	bs.mu.Lock()
	bs.closed = true
	for _, h := range bs.byID {
		bs.drop(h)
	}
	bs.mu.Unlock()
	bs.wg.Wait()
}

// background runs something that outlives its exchange, unless the relay is closed.
func (bs *bridges) background(f func()) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if !bs.closed {
		bs.wg.Go(f)
	}
}

// serve carries one exchange of a bridged session.
func (bs *bridges) serve(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	if x.id() != nil && x.Env.Method == wire.MethodInitialize {
		return bs.initialize(w, req, x)
	}
	if x.Session == nil {
		if req.Method == http.MethodPost {
			// Legacy words for a modern client, too: they make it fall back to initialize.
			return refuse(w, req, x, wire.NoSession, "")
		}
		return refuse(w, req, x, wire.MethodNotAllowed, "")
	}
	b := bs.get(x.Session.Backend)
	if b == nil || b.service != x.Service || b.version != x.Version || b.consumer != x.Consumer {
		return lost(w, req, x)
	}
	if !b.enter() {
		return lost(w, req, x)
	}
	defer b.leave()
	switch {
	case req.Method == http.MethodGet:
		return b.listen(w, req, x)
	case req.Method == http.MethodDelete:
		b.end(errClosed)
		w.WriteHeader(http.StatusNoContent)
		return Outcome{Status: http.StatusNoContent}
	case x.id() != nil:
		return b.call(w, req, x)
	}
	return b.tell(w, req, x)
}

// initialize opens a session with the backend and carries the client's first call.
func (bs *bridges) initialize(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	b, err := bs.open(req, x)
	if err != nil {
		if status, ok := errors.AsType[noEvents](err); ok {
			if o, refused := refusedUnauthorized(w, req, x, int(status)); refused {
				return o
			}
		}
		return refuseError(w, req, x, err)
	}
	if !bs.add(b) {
		b.resp.Body.Close()
		b.reading.Release()
		b.end(errClosed)
		return refuse(w, req, x, wire.BackendUnavailable, "")
	}
	b.enter()
	defer b.leave()
	if err := bs.relay.seal(w.Header(), x, b.id, ""); err != nil {
		b.end(errClosed)
		return refuseError(w, req, x, err)
	}
	o := b.call(w, req, x)
	if o.Status != http.StatusOK || o.Err != nil {
		b.end(errClosed) // the client does not know the session
	}
	return o
}

// cancelTime bounds telling a backend that nobody waits for a call any more.
const cancelTime = 5 * time.Second

// cancelled tells the backend in the background that the client of x went away.
func (b *bridge) cancelled(req *http.Request, x *Exchange) {
	params := append([]byte(`{"requestId":`), x.id()...)
	params = append(params, `,"reason":"the client went away"}`...)
	note := *x
	note.Body = wire.AppendNotification(nil, wire.NotificationCancelled, params)
	note.Env = nil
	header := req.Header.Clone()
	b.of.background(func() {
		ctx, cancel := context.WithTimeout(b.ctx, cancelTime)
		defer cancel()
		resp, err := b.post((&http.Request{Header: header}).WithContext(ctx), &note)
		if err == nil {
			resp.Body.Close()
		}
	})
}
