package relay

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// errCut ends a stream whose client lost its access, or that the proxy closes.
var errCut = errors.New("stream was ended")

// keepAlive is a comment: clients ignore it, what stands between us and them sees life.
var keepAlive = []byte(": keep-alive\n\n")

// stream is an event stream to a client. Whole events are written by the handler, keep-alives and notices of changed
// tools by a timer between them. It costs no goroutine of its own while it is idle. Thousands of them may be: what one
// holds is counted by a test.
type stream struct {
	relay   *Relay
	caller  Caller
	answers bool // the answer of a call comes on it, and then its end
	client  bool // it is the one stream of an HTTP+SSE client, on which the answers of its calls come
	notices
	pending atomic.Bool // the tools changed and the client was not told yet
	timer   *time.Timer

	ctx    context.Context // ends with the client, and what cancel is given
	cancel context.CancelCauseFunc
	// Idle streams have no cancel, and so no context of their own, which would be half of all they hold.
	over chan struct{} // closed by the first stop of an idle stream

	noteMu sync.Mutex // apart from mu, which is held while a client is slow to read; guards
	view   any        // what the client may see, by the last decision
	why    error      // over is closed

	mu       sync.Mutex // guards what follows, and w
	w        http.ResponseWriter
	rc       http.ResponseController
	open     bool
	between  bool // no event is half written
	bytes    int64
	last     time.Time // last write
	deadline time.Time // when the write deadline was set
	err      error     // of a write
}

// notices says whether and how a stream carries notifications/tools/list_changed.
type notices struct {
	wanted       bool
	subscription []byte // raw id of the modern subscription they belong to; nil in the legacy era
}

// Values of headers that are the same in all streams. Nobody may change them.
var (
	eventStream = []string{"text/event-stream"}
	notCached   = []string{"no-cache, no-transform"}
	notBuffered = []string{"no"}
)

// stream begins a stream to the client: its header is sent. cancel ends ctx; with nil the stream is idle, and only ended by
// its client or a cut. The caller ends the stream with close.
func (r *Relay) stream(ctx context.Context, cancel context.CancelCauseFunc, w http.ResponseWriter, status int, x *Exchange, n notices) *stream {
	s := &stream{
		relay: r, caller: Caller{x.Service, x.Version, x.Consumer, x.Key}, view: x.View, notices: n, ctx: ctx, cancel: cancel,
		answers: x.id() != nil && x.Env.Method != wire.MethodListen, client: x.client,
		w: w, rc: *http.NewResponseController(w), open: true, between: true, last: time.Now(),
	}
	if cancel == nil {
		s.over = make(chan struct{})
	}
	every := r.o.KeepAlive
	if every < 0 {
		every = time.Hour
	}
	// Known to Relay before the client sees the header: from then on it must hear of every change.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(every, s.beat)
	r.enter(s)
	h := w.Header()
	h["Content-Type"], h["X-Accel-Buffering"] = eventStream, notBuffered
	if _, ok := h["Cache-Control"]; !ok {
		h["Cache-Control"] = notCached
	}
	delete(h, "Content-Length")
	w.WriteHeader(status)
	s.flush()
	return s
}

// close ends the stream. Nothing is written afterwards.
func (s *stream) close() {
	s.mu.Lock()
	s.open = false
	s.timer.Stop()
	if !s.deadline.IsZero() {
		s.rc.SetWriteDeadline(time.Time{}) // the connection lives on
	}
	s.mu.Unlock()
	s.stop(nil)
	s.relay.leave(s)
}

// stop ends what the stream lives from; the first cause counts.
func (s *stream) stop(cause error) {
	if s.cancel != nil {
		s.cancel(cause)
		return
	}
	if cause == nil {
		cause = context.Canceled
	}
	s.noteMu.Lock()
	defer s.noteMu.Unlock()
	if s.why == nil {
		s.why = cause
		close(s.over)
	}
}

// enter makes a stream known to those who tell streams of changes and end them.
func (r *Relay) enter(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.draining && s.idle() {
		s.end()
	}
	r.streams[s] = struct{}{}
}

func (r *Relay) leave(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, s)
}

// idle tells whether nobody awaits an answer on the stream, as far as it knows itself.
func (s *stream) idle() bool { return !s.answers && !s.client }

// end makes the handler end the stream, in order.
func (s *stream) end() { s.stop(errCut) }

// cut tells whether the stream was ended by us.
func (s *stream) cut() bool {
	if s.cancel != nil {
		return errors.Is(upstream.Cause(s.ctx), errCut)
	}
	s.noteMu.Lock()
	defer s.noteMu.Unlock()
	return errors.Is(s.why, errCut)
}

// swapView notes a new decision and tells whether it is another one than before.
func (s *stream) swapView(view any) bool {
	s.noteMu.Lock()
	defer s.noteMu.Unlock()
	if s.view == view {
		return false
	}
	s.view = view
	return true
}

// changed tells the client, as soon as no event is half written, that its tools changed.
func (s *stream) changed() {
	if s.wanted {
		s.pending.Store(true)
		s.timer.Reset(0) // not here: the client may be slow to take it
	}
}

// write sends p, after which the stream is between two events or not.
func (s *stream) write(p []byte, between bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return errCut
	}
	s.send(p)
	s.between = between
	if between && s.pending.Load() {
		s.notice()
	}
	s.flush()
	return s.err
}

// beat is the timer's: it writes what is to be written between events.
func (s *stream) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open || s.err != nil {
		return
	}
	if s.between && s.pending.Load() {
		s.notice()
		s.flush()
	}
	every := s.relay.o.KeepAlive
	if every < 0 {
		return
	}
	rest := every - time.Since(s.last)
	if rest <= 0 {
		if rest = every; s.between {
			s.send(keepAlive)
			s.flush()
		}
	}
	s.timer.Reset(rest)
}

func (s *stream) notice() {
	s.pending.Store(false)
	s.send(wire.AppendEvent(nil, "", "message", wire.AppendToolsListChanged(nil, s.subscription)))
}

// send and flush are called with the lock held. A client that leaves what was sent unread for StreamIdle is given up.
func (s *stream) send(p []byte) {
	if s.err != nil || len(p) == 0 {
		return
	}
	now := time.Now()
	s.last = now
	if idle := s.relay.o.StreamIdle; now.Sub(s.deadline) > idle/8 {
		s.deadline = now
		s.rc.SetWriteDeadline(now.Add(idle)) // not every ResponseWriter can: then there is none
	}
	n, err := s.w.Write(p)
	s.bytes += int64(n)
	s.failed(err)
}

func (s *stream) flush() {
	if s.err == nil {
		s.failed(s.rc.Flush())
	}
}

func (s *stream) failed(err error) {
	if err != nil && s.err == nil && !errors.Is(err, http.ErrNotSupported) {
		s.err = err
		s.stop(err)
	}
}

// Idle serves a stream that only the proxy itself writes to: for converted services, and for subscriptions that it
// answers itself. It carries first, if not nil, as its first message and then only notices of changed tools, until the
// client leaves or the stream is cut. A subscription to nothing ends at once; one that is cut gets its result.
func (r *Relay) Idle(w http.ResponseWriter, req *http.Request, x *Exchange, first []byte) Outcome {
	n := carriesNotices(req, x)
	s := r.stream(req.Context(), nil, w, http.StatusOK, x, n)
	defer s.close()
	if first != nil {
		s.write(wire.AppendEvent(nil, "", "message", first), true)
	}
	o, listens := Outcome{Status: http.StatusOK}, x.id() != nil
	if n.wanted || !listens {
		select {
		case <-s.ctx.Done():
		case <-s.over:
		}
		if o.Reason = reasonGone; s.cut() {
			o.Reason = reasonCut
		}
	}
	if listens && o.Reason != reasonGone {
		s.write(wire.AppendEvent(nil, "", "message", wire.AppendListenEnd(nil, x.id())), true)
	}
	o.Bytes = s.sent()
	return o
}

func (s *stream) sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}
