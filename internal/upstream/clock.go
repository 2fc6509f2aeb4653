package upstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var errTimeout = errors.New("time limit reached")

// watchAfter is for how long a call goes on before it looks after its caller. Most calls are over by then and save what
// following a context allocates; one that was given up is ended this much later.
const watchAfter = 10 * time.Millisecond

// clock is the context of one call: it ends with the caller's, when a limit on time is reached, or when it is told to. It
// is one object with a timer that is used again, where context.WithCancelCause, context.AfterFunc and time.AfterFunc
// would make about ten.
type clock struct {
	parent context.Context

	mu      sync.Mutex
	cause   error         // why it ended; nil while it goes on
	done    chan struct{} // nil until somebody asks
	after   []*func()     // to be run when it ends
	conn    abortable     // what waits and is to be ended, too; nil: nothing
	unwatch func() bool   // ends the watch of parent; nil: there is none
	alarm   *alarm        // nil: stopped

	// Until the alarm goes off for the first time, which few calls live to see, no time is read: the alarm keeps it.
	first time.Duration // when that is, from the start; 0: it was
	limit time.Duration // of then, from the start or, if moved, from when it goes off; 0: none
	moved bool
	until time.Time // the limit from then on; zero: none
	rings time.Time // when alarm goes off; zero: not at all
}

type abortable interface{ abort() }

// alarm is a timer that outlives its clock.
type alarm struct {
	timer *time.Timer
	of    atomic.Pointer[clock]
}

var alarms sync.Pool

// start begins a call that may last for d.
func (c *clock) start(parent context.Context, d time.Duration) {
	c.mu.Lock() // the alarm may ring before its timer is known
	defer c.mu.Unlock()
	wait := min(d, watchAfter)
	c.parent, c.first, c.limit = parent, wait, d
	a, _ := alarms.Get().(*alarm)
	if a == nil {
		a = new(alarm)
		a.of.Store(c)
		c.alarm = a
		a.timer = time.AfterFunc(wait, a.ring)
		return
	}
	a.of.Store(c)
	c.alarm = a
	a.timer.Reset(wait)
}

func (a *alarm) ring() {
	if c := a.of.Load(); c != nil {
		c.ring()
	}
}

// ring ends the call if its time is over, or looks after its caller from now on.
func (c *clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil || c.alarm == nil {
		return
	}
	now := time.Now()
	c.rung(now)
	if !c.until.IsZero() && !now.Before(c.until) {
		c.endLocked(errTimeout)
		return
	}
	c.watch()
	c.arm(now)
}

// rung sets the limit that was left to the first alarm. The lock is held.
func (c *clock) rung(now time.Time) {
	if c.first > 0 && c.limit > 0 {
		if c.until = now.Add(c.limit); !c.moved {
			c.until = c.until.Add(-c.first)
		}
	}
	c.first = 0
}

// arm sets the alarm to the limit. The lock is held.
func (c *clock) arm(now time.Time) {
	if c.rings = c.until; !c.rings.IsZero() {
		c.alarm.timer.Reset(c.rings.Sub(now))
	}
}

// watch has the call end with its caller. The lock is held.
func (c *clock) watch() {
	if c.unwatch == nil && c.alarm != nil {
		c.unwatch = context.AfterFunc(c.parent, func() { c.end(context.Cause(c.parent)) })
	}
}

// bound replaces the limit: d from now, or none if d is 0. It may be as much as watchAfter late, but not by more than d.
func (c *clock) bound(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alarm == nil || c.cause != nil {
		return
	}
	if c.first > 0 && (d <= 0 || d >= watchAfter) {
		c.limit, c.moved = max(d, 0), true
		return
	}
	c.first = 0
	if d <= 0 {
		c.until = time.Time{}
		return
	}
	now := time.Now()
	// An alarm that rings too early sees that and is set anew: cheaper than setting it with every piece of an answer.
	if c.until = now.Add(d); c.rings.IsZero() || c.until.Before(c.rings) {
		c.arm(now)
	}
}

// end ends the call for a reason; the first one counts.
func (c *clock) end(cause error) {
	if cause == nil {
		cause = context.Canceled
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.endLocked(cause)
	}
}

func (c *clock) endLocked(cause error) {
	c.cause = cause
	if c.done != nil {
		close(c.done)
	}
	if c.conn != nil {
		c.conn.abort()
	}
	for _, f := range c.after {
		go (*f)()
	}
	c.after = nil
}

// stop ends what is left of the call and gives back what it held. Calling it twice is harmless.
func (c *clock) stop() {
	c.mu.Lock()
	if a := c.alarm; a != nil {
		c.alarm = nil
		if a.timer.Stop() { // else it is ringing now, or has
			a.of.Store(nil)
			alarms.Put(a)
		}
	}
	unwatch := c.unwatch
	c.unwatch = nil
	if c.cause == nil {
		c.endLocked(context.Canceled)
	}
	c.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
}

// hold has conn aborted when the call ends. It reports false if that has happened.
func (c *clock) hold(conn abortable) bool {
	if c.Err() != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	return c.cause == nil
}

// letGo undoes hold. It reports false if the connection may have been aborted.
func (c *clock) letGo() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	return c.cause == nil
}

// Deadline is the caller's: limits of ours may move.
func (c *clock) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value is the caller's.
func (c *clock) Value(key any) any { return c.parent.Value(key) }

// Done is for those who wait on something else than a connection of ours: from then on the caller is followed closely.
func (c *clock) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.cause != nil {
			close(c.done)
		}
	}
	c.watch()
	return c.done
}

// Err tells that the call ended, with its cause behind it.
func (c *clock) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && c.parent.Err() != nil {
		c.endLocked(context.Cause(c.parent))
	}
	if c.cause == nil {
		return nil
	}
	return endedError{c.cause}
}

// AfterFunc spares contexts derived from this one a goroutine (context.AfterFunc looks for it).
func (c *clock) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch()
	if c.cause != nil {
		go f()
		return func() bool { return false }
	}
	own := &f
	c.after = append(c.after, own)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.after, own)
		if i >= 0 {
			c.after = slices.Delete(c.after, i, i+1)
		}
		return i >= 0
	}
}

// endedError is what the context of an ended call says: that it was canceled, and why.
type endedError struct{ cause error }

func (e endedError) Error() string        { return context.Canceled.Error() }
func (e endedError) Is(target error) bool { return target == context.Canceled }
func (e endedError) Unwrap() error        { return e.cause }

// Cause tells why a call's context ended, like context.Cause, which knows the context package's own only; nil if it did
// not.
func Cause(ctx context.Context) error {
	c, ok := ctx.(*clock)
	if !ok {
		return context.Cause(ctx)
	}
	if c.Err() == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// contextError tells a limit of ours, or a deadline of the caller's, from a caller that went away.
func contextError(ctx context.Context, sent bool) *Error {
	cause := Cause(ctx)
	if errors.Is(cause, errTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Kind: Timeout, Sent: sent}
	}
	return &Error{Kind: Canceled, Sent: sent}
}
