package relay

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// tell carries a notification, or a client's answer, to the backend.
func (b *bridge) tell(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	resp, err := b.post(req, x)
	if err != nil {
		return refuseError(w, req, x, err)
	}
	defer resp.Body.Close()
	if o, refused := b.refused(w, req, x, resp); refused {
		return o
	}
	w.WriteHeader(http.StatusAccepted)
	return Outcome{Status: http.StatusAccepted}
}

// refused hands on a backend's refusal of a message.
func (b *bridge) refused(w http.ResponseWriter, req *http.Request, x *Exchange, resp *upstream.Response) (Outcome, bool) {
	switch {
	case resp.Status >= 200 && resp.Status <= 299:
		io.CopyN(io.Discard, resp.Body, 4<<10)
		return Outcome{}, false
	case resp.Status == http.StatusNotFound || resp.Status == http.StatusGone || x.Session != nil && forgotten(resp, x):
		b.end(errClosed)
		return lost(w, req, x), true
	}
	copyAnswerHeader(w.Header(), resp, x)
	w.Header().Del(wire.HeaderSession)
	if o, refused := refusedUnauthorized(w, req, x, resp.Status); refused {
		return o, true
	}
	rw := x.rewriter(req)
	if rw.Idle() && !x.Restricted {
		return copyAnswer(w, x, resp), true
	}
	return filterAnswer(w, req, x, resp, rw), true
}

// sent is what became of sending a call.
type sent struct {
	resp *upstream.Response
	err  error
}

// call carries a call and waits for its answer on the backend's stream. The answer is plain JSON, or an event stream
// from the first other message on that is for this call.
func (b *bridge) call(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	c := &waiting{
		id: string(x.Env.ID), token: string(x.Env.ProgressToken), events: acceptsEvents(req),
		messages: make(chan message, 4), gone: make(chan struct{}),
	}
	if !b.wait(c) {
		return refuse(w, req, x, wire.InvalidRequest, "Invalid Request: this id is in use, or too many calls wait for an answer")
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	posted := make(chan sent, 1)
	// Aside, because a backend may send much on its stream before it answers the POST itself.
	go func() {
		resp, err := b.post(req.WithContext(ctx), x)
		posted <- sent{resp, err}
	}()
	defer func() {
		cancel(nil)
		close(c.gone)
		b.recover(c)
		b.mu.Lock()
		waited := b.forget(c)
		b.mu.Unlock()
		if posted != nil {
			if p := <-posted; p.resp != nil {
				p.resp.Body.Close()
			}
		}
		if waited && b.ctx.Err() == nil && x.Env.Method != wire.MethodInitialize {
			b.cancelled(req, x)
		}
	}()
	a := answer{relay: b.of.relay, w: w, req: req, x: x, rw: x.rewriter(req), ctx: ctx, cancel: cancel}
	defer a.close()
	limit := time.NewTimer(b.backend.Timeout())
	defer limit.Stop()
	for {
		select {
		case m := <-c.messages:
			limit.Reset(b.of.relay.o.StreamIdle)
			o, done := a.take(m)
			if b.drop(m); done {
				return o
			}
		case p := <-posted:
			posted = nil
			if p.err != nil {
				return a.fail(p.err)
			}
			o, refused := Outcome{}, false
			if a.stream == nil {
				o, refused = b.refused(w, req, x, p.resp)
			}
			p.resp.Body.Close()
			if refused {
				return o
			}
		case <-limit.C:
			return a.fail(errNoAnswer)
		case <-b.ctx.Done():
			select { // the answer may have come just before the end
			case m := <-c.messages:
				o, done := a.take(m)
				if b.drop(m); done {
					return o
				}
			default:
			}
			return a.fail(context.Cause(b.ctx))
		case <-ctx.Done():
			return a.fail(ctx.Err())
		}
	}
}

func acceptsEvents(req *http.Request) bool {
	for _, v := range req.Header["Accept"] {
		if strings.Contains(v, "text/event-stream") {
			return true
		}
	}
	return false
}

// listen carries what the backend sends of its own accord on the client's stream. A client may open another before the
// proxy has noticed that the first is gone: the newest one counts, and a 405 would tell the client not to ask again.
func (b *bridge) listen(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	c := &waiting{events: true, messages: make(chan message, 16), gone: make(chan struct{})}
	b.mu.Lock()
	b.streams = append(b.streams, c)
	queue := b.emptied()
	b.mu.Unlock()
	defer b.leaveStream(c)
	ctx, cancel := context.WithCancelCause(req.Context())
	a := answer{relay: b.of.relay, w: w, req: req, x: x, rw: x.rewriter(req), ctx: ctx, cancel: cancel}
	a.begin()
	defer a.close()
	for _, m := range queue {
		a.event(m.data)
		b.drop(m)
	}
	for {
		select {
		case m := <-c.messages:
			a.event(m.data)
			b.drop(m)
		case <-b.ctx.Done():
			return a.outcome(context.Cause(b.ctx))
		case <-ctx.Done():
			return a.outcome(ctx.Err())
		}
	}
}

// answer is what a bridged exchange writes to the client: nothing yet, one JSON message, or events.
type answer struct {
	relay  *Relay
	w      http.ResponseWriter
	req    *http.Request
	x      *Exchange
	rw     wire.Rewriter
	ctx    context.Context
	cancel context.CancelCauseFunc
	stream *stream // nil until events are needed
}

func (a *answer) begin() {
	a.stream = a.relay.stream(a.ctx, a.cancel, a.w, http.StatusOK, a.x, carriesNotices(a.req, a.x))
}

func (a *answer) close() {
	if a.stream != nil {
		a.stream.close()
	}
}

// event writes a message as an event. What cannot be read is not passed to a client that may see only part.
func (a *answer) event(data []byte) error {
	data, _, err := a.rw.Apply(nil, data)
	if err != nil {
		return err
	}
	return a.stream.write(wire.AppendEvent(nil, "", "message", data), true)
}

// take writes a message; done tells that it was the answer.
func (a *answer) take(m message) (o Outcome, done bool) {
	if !m.final {
		if a.stream == nil {
			a.begin()
		}
		a.event(m.data)
		return Outcome{}, false
	}
	if a.stream != nil {
		if err := a.event(m.data); err != nil {
			return a.fail(err), true
		}
		return a.outcome(nil), true
	}
	data, _, err := a.rw.Apply(nil, m.data)
	if err != nil {
		a.w.Header().Del(wire.HeaderSession)
		o := refuse(a.w, a.req, a.x, wire.BackendUnavailable, "The backend's answer cannot be read")
		o.Err, o.Reason = err, reasonUnreadable
		return o, true
	}
	h := a.w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(data))}
	a.w.WriteHeader(http.StatusOK)
	n, err := a.w.Write(data)
	return Outcome{Status: http.StatusOK, Bytes: int64(n), Err: err}, true
}

var errNoAnswer error = &timeoutError{}

// timeoutError is a backend that took a call and did not answer it.
type timeoutError struct{}

func (*timeoutError) Error() string { return "backend did not answer in time" }

// fail ends a call without its answer: the client is told, if it is still there.
func (a *answer) fail(err error) Outcome {
	if a.ctx.Err() != nil && (a.stream == nil || !a.stream.cut()) {
		return Outcome{Status: 499, Err: err, Reason: reasonGone}
	}
	if a.stream == nil {
		a.w.Header().Del(wire.HeaderSession)
		if err == errNoAnswer {
			o := refuse(a.w, a.req, a.x, wire.BackendTimeout, "")
			o.Err = err
			return o
		}
		return refuseError(a.w, a.req, a.x, err)
	}
	e := wire.BackendUnavailable.Error(false, "")
	switch {
	case a.stream.cut():
		e.Message = "The stream was ended by the proxy: send the request again"
	case err == errNoAnswer:
		e = wire.BackendTimeout.Error(false, "")
	}
	a.stream.write(wire.AppendEvent(nil, "", "message", e.Append(nil, a.x.id())), true)
	return a.outcome(err)
}

// outcome sums a stream up.
func (a *answer) outcome(err error) Outcome {
	o := Outcome{Status: http.StatusOK, Bytes: a.stream.sent()}
	switch {
	case err == nil:
	case a.stream.cut():
		o.Reason = reasonCut
	case a.req.Context().Err() != nil:
		o.Reason = reasonGone
	default:
		o.Err, o.Reason = err, reasonBackend
	}
	return o
}
