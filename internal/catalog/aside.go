package catalog

import (
	"fmt"
	"sync"
	"time"
)

// Compiling costs what a document's author makes it cost, and waits for what its files lie on. So it is never done by
// somebody whom others wait for, above all not by the writer, and what does not come to its end is bounded: by itself in the
// time that it keeps others waiting, by service, and in all.
const (
	// patience is how long a task may take before its service's documents say that it is stuck.
	patience = 5 * time.Second
	// stay is how long a compilation may take before others no longer wait for it to leave its place.
	stay = 250 * time.Millisecond
	// maxTasks is how many tasks of one service may be unfinished. More than one, so that an edit that mends a document is
	// not held up by the one that it replaces.
	maxTasks = 3
	// maxStuck is how many tasks there may be in all that have given their places up and still run.
	maxStuck = 256
)

// aside runs tasks beside everybody, a few at once, in the order in which they came.
type aside struct {
	places   int // how many run at once, not counting those that have given their places up
	stay     time.Duration
	patience time.Duration
	changed  func() // called when a task has ended or become late; must not wait

	mu         sync.Mutex
	unfinished map[string]int // by service; those that wait are counted, too
	waiting    []*task
	running    int
	stuck      int
	closed     bool
	ended      *sync.Cond // one less is running, or stuck
}

// task is something that is run aside.
type task struct {
	service string
	run     func()
	done    chan struct{} // closed when it has come to its end
	late    chan struct{} // closed when it has run for long without that
	over    bool          // done; guarded by aside.mu
	stuck   bool          // has given its place up; guarded by aside.mu
}

func newAside(places int, stay, patience time.Duration, changed func()) *aside {
	a := &aside{places: places, stay: stay, patience: patience, changed: changed, unfinished: map[string]int{}}
	a.ended = sync.NewCond(&a.mu)
	return a
}

// start has run called for a service, soon. It fails while too many tasks of the service are unfinished.
func (a *aside) start(service string, run func()) (*task, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosing
	}
	if n := a.unfinished[service]; n >= maxTasks {
		return nil, fmt.Errorf("%d earlier compilations of this service have not come to an end", n)
	}
	t := &task{service: service, run: run, done: make(chan struct{}), late: make(chan struct{})}
	a.unfinished[service]++
	a.waiting = append(a.waiting, t)
	a.dispatch()
	return t, nil
}

// dispatch runs what waits while there are places. The lock is held.
func (a *aside) dispatch() {
	for a.running < a.places && len(a.waiting) > 0 && !a.closed {
		t := a.waiting[0]
		a.waiting[0] = nil
		a.waiting = a.waiting[1:]
		a.running++
		go a.work(t)
	}
}

func (a *aside) work(t *task) {
	leave := time.AfterFunc(a.stay, func() { a.leave(t) })
	late := time.AfterFunc(a.patience, func() { a.late(t) })
	t.run()
	leave.Stop()
	late.Stop()
	defer a.changed()
	a.mu.Lock()
	defer a.mu.Unlock()
	t.over = true
	close(t.done)
	if t.stuck {
		a.stuck--
	} else {
		a.running--
	}
	if a.unfinished[t.service]--; a.unfinished[t.service] == 0 {
		delete(a.unfinished, t.service)
	}
	a.ended.Broadcast()
	a.dispatch()
}

// leave lets others have the place of a task that is still running.
func (a *aside) leave(t *task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !t.over && a.stuck < maxStuck {
		t.stuck = true
		a.stuck++
		a.running--
		a.ended.Broadcast()
		a.dispatch()
	}
}

// late marks a task that is still running.
func (a *aside) late(t *task) {
	defer a.changed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !t.over {
		close(t.late)
	}
}

// isLate reports whether a task has been running for long.
func (t *task) isLate() bool {
	select {
	case <-t.late:
		return true
	default:
		return false
	}
}

// close starts nothing more and waits for what has a place.
func (a *aside) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, t := range a.waiting {
		close(t.done)
	}
	a.waiting = nil
	for a.running > 0 && a.stuck < maxStuck {
		a.ended.Wait()
	}
}
