package listener

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// watchAfter is how long a request is served before the connection is watched for its client leaving. Most are over by
// then; a client that leaves earlier is noticed this much later.
const watchAfter = 10 * time.Millisecond

// longAgo as a deadline ends what waits.
var longAgo = time.Unix(1, 0)

// caller is the context of one request: it ends when the handler has returned, or when the client leaves. Only once
// somebody has asked for its end, and then only after a moment, is the connection watched.
type caller struct {
	c *conn

	mu     sync.Mutex
	err    error
	done   chan struct{} // nil until somebody asks
	after  []*func()     // to be run when it ends
	timer  *time.Timer   // nil until somebody asks; starts the watch
	watch  chan struct{} // closed when the watch has ended; nil: there was none
	unread bool          // of the body: until it has been read, what comes is no sign of leaving
}

// Deadline: there is none.
func (x *caller) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Value has what net/http's has.
func (x *caller) Value(key any) any {
	switch key {
	case http.ServerContextKey:
		return x.c.s.http
	case http.LocalAddrContextKey:
		return x.c.local
	}
	return nil
}

// Err is context.Canceled after the end.
func (x *caller) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Done is closed at the end.
func (x *caller) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
	}
	x.follow()
	return x.done
}

// AfterFunc spares contexts derived from this one a goroutine (context.AfterFunc looks for it).
func (x *caller) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		go f()
		return func() bool { return false }
	}
	x.follow()
	own := &f
	x.after = append(x.after, own)
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		i := slices.Index(x.after, own)
		if i >= 0 {
			x.after = slices.Delete(x.after, i, i+1)
		}
		return i >= 0
	}
}

// follow has the connection watched in a moment. The lock is held.
func (x *caller) follow() {
	if x.timer == nil && x.err == nil {
		x.timer = time.AfterFunc(watchAfter, x.begin)
	}
}

// begin watches the connection, in the timer's goroutine, until the client leaves, sends more, or the handler has returned.
func (x *caller) begin() {
	x.mu.Lock()
	switch {
	case x.err != nil:
		x.mu.Unlock()
		return
	case x.unread: // see bodyRead
		x.timer = nil
		x.mu.Unlock()
		return
	}
	ended := make(chan struct{})
	x.watch = ended
	_ = x.c.nc.SetReadDeadline(time.Time{})
	x.mu.Unlock()
	defer close(ended)
	if x.c.awaitLeaving() {
		x.end()
	}
}

// bodyRead: nothing but the next request, or the end, can come now.
func (x *caller) bodyRead() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unread = false
	if x.done != nil || len(x.after) > 0 {
		x.follow()
	}
}

func (x *caller) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return
	}
	x.err = context.Canceled
	if x.done != nil {
		close(x.done)
	}
	for _, f := range x.after {
		go (*f)()
	}
	x.after = nil
}

// finish ends the context after the handler, and the watch: nobody but the connection's goroutine reads from it any more.
func (x *caller) finish() {
	x.end()
	x.mu.Lock()
	timer, watch := x.timer, x.watch
	x.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	if watch != nil {
		_ = x.c.nc.SetReadDeadline(longAgo)
		<-watch
		_ = x.c.nc.SetReadDeadline(time.Time{})
		x.c.until = time.Time{}
	}
}
