package nacos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
)

const (
	// requestTimeout is when a request counts as unanswered, and its connection as lost.
	requestTimeout = 5 * time.Second
	// aliveEvery is the silence after which the server is asked whether it still knows us; only that tells a
	// connection whose push stream died quietly from a quiet one.
	aliveEvery   = 1500 * time.Millisecond
	aliveTimeout = 2500 * time.Millisecond
	checkTimeout = 1500 * time.Millisecond
	attendEvery  = 250 * time.Millisecond
	startTimeout = 4 * time.Second
	// Pauses between attempts to connect: doubled from the first to the last, each times 0.5 to 1.5.
	minPause = 100 * time.Millisecond
	maxPause = time.Second
)

// link keeps one gRPC connection to the cluster up.
type link struct {
	c         *Client
	module    string // "config" or "naming": Nacos keeps instances only for connections that say "naming"
	namespace string
	handle    func(*conn)                        // registers what the server may push
	changed   func(up bool, a string, err error) // called by one goroutine, in order
	prove     func(*conn)                        // proves that pushes arrive, until the connection is lost; may be nil
	arrived   func()                             // called for each push; may be nil
	troubled  func(bool)                         // told when answers become slow, and when they are quick again

	cancel context.CancelFunc
	ctx    context.Context
	done   chan struct{}
	last   atomic.Pointer[error]

	mu    sync.Mutex
	cur   *conn
	ready chan struct{} // closed while there is a connection
}

func newLink(c *Client, module, namespace string) *link {
	l := &link{c: c, module: module, namespace: namespace, done: make(chan struct{}), ready: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	return l
}

func (l *link) start() { go l.run() }

// stop ends the link and waits for it.
func (l *link) stop() {
	l.cancel()
	<-l.done
}

// current is the connection, or nil.
func (l *link) current() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur
}

// await gives a connection, waiting for one up to connectWait.
func (l *link) await(ctx context.Context) (*conn, error) {
	timer := time.NewTimer(connectWait)
	defer timer.Stop()
	for {
		l.mu.Lock()
		cur, ready := l.cur, l.ready
		l.mu.Unlock()
		if cur != nil {
			return cur, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-l.ctx.Done():
			return nil, fmt.Errorf("%w: client closed", ErrUnavailable)
		case <-timer.C:
			if err := l.last.Load(); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, *err)
			}
			return nil, fmt.Errorf("%w: not connected", ErrUnavailable)
		}
	}
}

func (l *link) set(c *conn) {
	l.mu.Lock()
	l.cur = c
	if c != nil {
		close(l.ready)
	} else {
		l.ready = make(chan struct{})
	}
	l.mu.Unlock()
}

func (l *link) run() {
	defer close(l.done)
	pause := minPause
	for l.ctx.Err() == nil {
		began := time.Now()
		c, err := l.open()
		if err == nil {
			l.last.Store(nil)
			l.c.auth.reconnected()
			l.set(c)
			l.changed(true, c.address, nil)
			err = l.attend(c)
			l.set(nil)
			c.close()
		}
		if l.ctx.Err() != nil {
			break
		}
		l.last.Store(&err)
		l.changed(false, "", err)
		if time.Since(began) > 5*time.Second {
			pause = minPause
		}
		sleep(l.ctx, jitter(pause))
		pause = min(2*pause, maxPause)
	}
}

// jitter spreads what many replicas would otherwise do at the same moment: 0.5 to 1.5 times d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// turn is a mutex that waiting for can be given up. Make one with make(turn, 1).
type turn chan struct{}

// take reports whether the turn is the caller's; it is not once ctx has ended.
func (t turn) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turn) release() { <-t }

// event is something that others wait for, again and again.
type event struct {
	mu   sync.Mutex
	next chan struct{}
}

// wait returns what is closed when the event happens next.
func (e *event) wait() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = make(chan struct{})
	}
	return e.next
}

func (e *event) happen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next != nil {
		close(e.next)
		e.next = nil
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// attend returns when the connection is no longer of use, with the reason.
func (l *link) attend(c *conn) error {
	if l.prove != nil {
		l.c.background(func() { l.prove(c) })
	}
	ticker := time.NewTicker(attendEvery)
	defer ticker.Stop()
	var answers answering
	for {
		select {
		case <-l.ctx.Done():
			return l.ctx.Err()
		case <-c.lost:
			return c.why
		case <-ticker.C:
		}
		if c.idle() < aliveEvery {
			continue
		}
		began := time.Now()
		if _, err := c.request(l.ctx, rpc_request.NewHealthCheckRequest(), aliveTimeout); err != nil {
			return fmt.Errorf("server no longer answers: %w", err)
		}
		answers.took(time.Since(began), l.troubled)
	}
}

// open makes one connection to the first member that answers.
func (l *link) open() (*conn, error) {
	var failures []error
	first := rand.IntN(len(l.c.servers))
	for i := range l.c.servers {
		s := l.c.servers[(first+i)%len(l.c.servers)]
		c, err := l.dial(s)
		if err == nil {
			return c, nil
		}
		if l.ctx.Err() != nil {
			return nil, l.ctx.Err()
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.grpc(), err))
	}
	return nil, errors.Join(failures...)
}

// dial connects to one server.
func (l *link) dial(s server) (*conn, error) {
	c, err := newConn(s.grpc(), l.c.tls.config(), l.c.cfg.Dial)
	if err != nil {
		return nil, err
	}
	l.handle(c)
	c.arrived = l.arrived
	ctx, cancel := context.WithTimeout(l.ctx, startTimeout)
	defer cancel()
	if err := c.start(ctx, l.module, l.namespace); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}
