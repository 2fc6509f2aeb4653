package gateway

import (
	"context"
	"sync"
)

// inflight holds the calls that notifications/cancelled can end: those of legacy sessions in this replica.
type inflight struct {
	mu      sync.Mutex
	cancels map[flightKey]context.CancelFunc
}

// flightKey is a call by its session's id and its own, as they came.
type flightKey struct{ session, request string }

// flight is one call that can be cancelled.
type flight struct {
	key    flightKey
	first  bool // of its key: a client that uses an id twice at once can cancel the first only
	cancel context.CancelFunc
}

func (f *inflight) begin(parent context.Context, key flightKey) (context.Context, flight) {
	ctx, cancel := context.WithCancel(parent)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancels == nil {
		f.cancels = map[flightKey]context.CancelFunc{}
	}
	_, taken := f.cancels[key]
	if !taken {
		f.cancels[key] = cancel
	}
	return ctx, flight{key, !taken, cancel}
}

func (f *inflight) end(of flight) {
	if of.first {
		f.mu.Lock()
		delete(f.cancels, of.key)
		f.mu.Unlock()
	}
	of.cancel()
}

func (f *inflight) cancel(key flightKey) {
	f.mu.Lock()
	cancel := f.cancels[key]
	f.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
