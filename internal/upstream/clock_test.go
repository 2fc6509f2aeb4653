package upstream

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

var errWhy = errors.New("why")

func newClock(t testing.TB, parent context.Context, d time.Duration) *clock {
	c := new(clock)
	c.start(parent, d)
	t.Cleanup(c.stop)
	return c
}

// TestClocksEnd: by whom, and what they say of it, whether or not somebody waited.
func TestClocksEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		end   func(*clock, context.CancelCauseFunc)
		cause error
		kind  Kind
	}{
		{"the caller", time.Minute, func(_ *clock, cancel context.CancelCauseFunc) { cancel(errWhy) }, errWhy, Canceled},
		{"the caller without a reason", time.Minute, func(_ *clock, cancel context.CancelCauseFunc) { cancel(nil) }, context.Canceled, Canceled},
		{"the limit", time.Millisecond, func(*clock, context.CancelCauseFunc) {}, errTimeout, Timeout},
		{"a limit set anew", time.Minute, func(c *clock, _ context.CancelCauseFunc) { c.bound(time.Millisecond) }, errTimeout, Timeout},
		{"a limit lifted and set anew", time.Minute, func(c *clock, _ context.CancelCauseFunc) {
			c.bound(0)
			time.Sleep(2 * watchAfter)
			c.bound(time.Millisecond)
		}, errTimeout, Timeout},
		{"word", time.Minute, func(c *clock, cancel context.CancelCauseFunc) { c.end(errWhy); cancel(nil) }, errWhy, Canceled},
		{"its own end", time.Minute, func(c *clock, _ context.CancelCauseFunc) { c.stop() }, context.Canceled, Canceled},
	} {
		for _, waited := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				parent, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				k := newClock(t, parent, c.limit)
				if waited {
					k.Done()
				}
				c.end(k, cancel)
				<-k.Done()
				if err := k.Err(); !errors.Is(err, context.Canceled) || !errors.Is(err, c.cause) {
					t.Errorf("Err is %v, want canceled by %v", err, c.cause)
				}
				if got := Cause(k); got != c.cause {
					t.Errorf("cause %v, want %v", got, c.cause)
				}
				if got := contextError(k, true); got.Kind != c.kind {
					t.Errorf("kind %v, want %v", got.Kind, c.kind)
				}
			})
		}
	}
}

// TestClocksGoOn: a limit that was moved or lifted does not end a call at the time it was first set to.
func TestClocksGoOn(t *testing.T) {
	for name, change := range map[string]func(*clock){
		"moved":  func(c *clock) { c.bound(time.Minute) },
		"lifted": func(c *clock) { c.bound(0) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newClock(t, t.Context(), 3*watchAfter)
			change(k)
			select {
			case <-k.Done():
				t.Errorf("ended by %v", Cause(k))
			case <-time.After(6 * watchAfter):
			}
			if Cause(k) != nil || k.Err() != nil {
				t.Errorf("ended by %v", Cause(k))
			}
		})
	}
}

// aborted counts how often it is aborted.
type aborted struct{ atomic.Int32 }

func (a *aborted) abort() { a.Add(1) }

// TestWhatAClockHoldsIsAborted: once, by whoever ends the call, and not after it was let go.
func TestWhatAClockHoldsIsAborted(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	var conn aborted
	k := newClock(t, parent, time.Minute)
	if !k.hold(&conn) {
		t.Fatal("it has not ended")
	}
	cancel() // nobody asked for Done: the caller is looked after nevertheless
	for end := time.Now().Add(10 * time.Second); conn.Load() == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if conn.Load() == 0 {
		t.Fatal("not aborted when the caller left")
	}
	k.end(errWhy)
	if n := conn.Load(); n != 1 || k.letGo() {
		t.Errorf("aborted %d times, want once, and said", n)
	}
	if k.hold(&conn) {
		t.Error("an ended call took a connection")
	}

	k = newClock(t, t.Context(), time.Minute)
	k.hold(&conn)
	if !k.letGo() {
		t.Error("let go of what was never aborted: not said")
	}
	k.stop()
	if n := conn.Load(); n != 1 {
		t.Errorf("aborted after it was let go")
	}
}

// TestContextsDerivedFromAClock end with it, and cost it nothing once they ended themselves.
func TestContextsDerivedFromAClock(t *testing.T) {
	k := newClock(t, t.Context(), time.Minute)
	one, cancelOne := context.WithCancelCause(k)
	two, cancelTwo := context.WithTimeout(k, time.Minute)
	defer cancelTwo()
	cancelOne(nil)
	if n := len(k.after); n != 1 {
		t.Errorf("%d are told of the end, want 1", n)
	}
	if k.Err() != nil || one.Err() == nil {
		t.Error("a derived context ended its parent, or not itself")
	}
	k.end(errWhy)
	<-two.Done()
	var after atomic.Int32
	done := make(chan bool)
	stop := context.AfterFunc(k, func() { after.Add(1); close(done) })
	<-done
	if stop() {
		t.Error("what has run was stopped")
	}
}

// TestClocksAreQuietAfterTheirEnd: the timer goes on to another call.
func TestClocksAreQuietAfterTheirEnd(t *testing.T) {
	for range 200 {
		first := new(clock)
		first.start(t.Context(), time.Microsecond*50)
		time.Sleep(40 * time.Microsecond) // it may be ringing while it is stopped
		first.stop()
		second := new(clock)
		second.start(t.Context(), time.Minute)
		first.bound(time.Nanosecond)
		first.ring()
		if err := second.Err(); err != nil {
			t.Fatalf("another call's alarm ended it: %v", err)
		}
		second.stop()
	}
}
