package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// AuditOptions of an Audit.
type AuditOptions struct {
	Sink     io.Writer
	Allowed  bool // write allowed decisions too, not denials only
	Required bool // refuse calls while the sink fails, rather than go on without lines
	Log      *slog.Logger
}

// Audit writes one JSON line per Record, in the order in which calls ended. Lines go out from a goroutine of their own:
// neither a slow nor a failing sink ever makes a call wait. Lines that could not be written are counted.
type Audit struct {
	options AuditOptions
	wake    chan struct{} // capacity 1: there is something to write
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once

	mu      sync.Mutex
	pending []byte
	closed  bool

	made time.Time
	now  func() time.Time

	spare   []byte // of the writing goroutine, like torn
	torn    bool   // the last line written broke off
	failing atomic.Bool
	began   atomic.Int64 // when the write that is going on began, in nanoseconds since made, plus 1; 0: none is
	failed  atomic.Int64
	lines   atomic.Int64
}

const (
	maxAuditPending = 4 << 20 // bytes that wait for the sink; what comes on top is lost
	auditStall      = 5 * time.Second
	auditFlush      = 2 * time.Second // how long Close waits for the sink
)

var errAuditFull = errors.New("write audit log: the sink does not keep up")

// NewAudit gives an Audit. Close it.
func NewAudit(o AuditOptions) *Audit {
	return newAudit(o, time.Now)
}

func newAudit(o AuditOptions, now func() time.Time) *Audit {
	a := &Audit{options: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), made: now(), now: now}
	go a.run()
	return a
}

// Failed is how many lines could not be written.
func (a *Audit) Failed() int64 { return a.failed.Load() }

// Lines is how many lines were written.
func (a *Audit) Lines() int64 { return a.lines.Load() }

// wants spares the caller the making of a Record that nobody wants.
func (a *Audit) wants(allowed bool) bool { return a != nil && (a.options.Allowed || !allowed) }

// refuses tells that calls are to be refused because they could not be written down. Those refusals are Records too, so
// that the sink is tried again by each of them and calls go on by themselves once it works.
func (a *Audit) refuses() bool {
	if a == nil || !a.options.Required {
		return false
	}
	if a.failing.Load() {
		return true
	}
	began := a.began.Load()
	return began != 0 && a.now().Sub(a.made)-time.Duration(began) > auditStall
}

// Write adds a line for r.
func (a *Audit) Write(r *Record) {
	a.mu.Lock()
	full := a.closed || len(a.pending) > maxAuditPending
	if !full {
		a.pending = append(r.appendJSON(a.pending), '\n')
	}
	a.mu.Unlock()
	if full {
		a.lost(1, errAuditFull)
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits, within two seconds.
func (a *Audit) Close() {
	a.once.Do(func() {
		a.mu.Lock()
		a.closed = true
		a.mu.Unlock()
		close(a.stop)
	})
	select {
	case <-a.done:
	case <-time.After(auditFlush):
	}
}

func (a *Audit) run() {
	defer close(a.done)
	for {
		select {
		case <-a.wake:
			a.flush()
		case <-a.stop:
			a.flush()
			return
		}
	}
}

// flush writes all lines that wait, at once.
func (a *Audit) flush() {
	a.mu.Lock()
	batch := a.pending
	a.pending = a.spare[:0]
	a.mu.Unlock()
	if cap(batch) <= maxAuditPending/4 { // what a burst needed is not kept
		a.spare = batch
	} else {
		a.spare = nil
	}
	if len(batch) == 0 {
		return
	}
	a.began.Store(int64(a.now().Sub(a.made)) + 1)
	defer a.began.Store(0)
	if a.torn { // the next line must not continue half of another one
		if _, err := a.options.Sink.Write([]byte{'\n'}); err != nil {
			a.lost(bytes.Count(batch, []byte{'\n'}), err)
			return
		}
		a.torn = false
	}
	n, err := a.options.Sink.Write(batch)
	if err != nil {
		a.torn = n > 0 && batch[n-1] != '\n'
		a.lines.Add(int64(bytes.Count(batch[:n], []byte{'\n'})))
		a.lost(bytes.Count(batch[n:], []byte{'\n'}), err)
		return
	}
	a.lines.Add(int64(bytes.Count(batch, []byte{'\n'})))
	if a.failing.Swap(false) && a.options.Log != nil {
		a.options.Log.Info("audit log can be written again", "lost", a.failed.Load())
	}
}

// lost counts lines, and says so once until the sink works again.
func (a *Audit) lost(lines int, err error) {
	a.failed.Add(int64(lines))
	if a.failing.Swap(true) || a.options.Log == nil {
		return
	}
	meanwhile := "calls go on"
	if a.options.Required {
		meanwhile = "calls are refused, by log.auditRequired"
	}
	a.options.Log.Error("audit log cannot be written; lost lines are counted in nmp_audit_failed_total", "error", err, "meanwhile", meanwhile)
}
