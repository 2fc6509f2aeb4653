package gateway

import (
	"context"
	"sync"
)

// inflight holds the calls that notifications/cancelled can end: those of legacy sessions in this replica.
type inflight struct {
	mu      sync.Mutex
	cancels map[string]context.CancelFunc
}

func inflightKey(sessionID string, requestID []byte) string {
	return sessionID + "\x00" + string(requestID)
}

func (f *inflight) begin(parent context.Context, key string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	f.mu.Lock()
	if f.cancels == nil {
		f.cancels = map[string]context.CancelFunc{}
	}
	_, taken := f.cancels[key] // a client that uses an id twice at once can cancel the first only
	if !taken {
		f.cancels[key] = cancel
	}
	f.mu.Unlock()
	return ctx, func() {
		if !taken {
			f.mu.Lock()
			delete(f.cancels, key)
			f.mu.Unlock()
		}
		cancel()
	}
}

func (f *inflight) cancel(key string) {
	f.mu.Lock()
	cancel := f.cancels[key]
	f.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
