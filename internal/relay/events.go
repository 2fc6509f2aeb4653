package relay

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// eventBuffer is what a relayed stream reads into: thousands of them may be idle at once.
const eventBuffer = 4 << 10

var eventBuffers = sync.Pool{New: func() any { b := make([]byte, eventBuffer); return &b }}

// events hands on an answer that is an event stream, as it comes.
func (r *Relay) events(w http.ResponseWriter, req *http.Request, x *Exchange, resp *upstream.Response, rw wire.Rewriter) Outcome {
	if v, ok := resp.Header["Content-Encoding"]; ok { // only where nothing has to be read: it goes out as it came
		w.Header()["Content-Encoding"] = v
	}
	s := r.stream(resp.Context(), resp.Cancel, w, resp.Status, x, carriesNotices(req, x))
	defer s.close()
	var f framing
	var err error
	if rw.Idle() && !x.Restricted {
		err = passEvents(s, resp, &f)
	} else {
		err = r.filterEvents(s, resp, rw, &f)
	}
	o := Outcome{Status: resp.Status}
	switch {
	case err == nil:
	case err == wire.ErrUnended:
		o.Err = err
	case s.cut():
		o.Reason = reasonCut
	case s.ctx.Err() != nil && upstream.KindOf(err) != upstream.Timeout: // the backend's silence ends the context, too
		o.Err, o.Reason = err, reasonGone
	default:
		o.Err, o.Reason = err, reasonBackend
	}
	// A call whose stream broke off would be waited for: unless the client can resume, it is told.
	cut := err == wire.ErrCutEvent
	if id := x.id(); o.Reason != "" && o.Reason != reasonGone && id != nil && !f.ids && (f.between() || cut) {
		var out []byte
		if !f.between() {
			out = append(out, "\n\n"...) // what has come of the event is no JSON
		}
		s.write(wire.AppendEvent(out, "", "message", x.broken(id, err, s.cut())), true)
	}
	o.Bytes = s.sent()
	o.Abort = o.Reason == reasonBackend && !f.between() && !cut // nothing can be said within an event
	return o
}

// broken is what a call gets for an answer when its stream broke off, or was cut by us.
func (x *Exchange) broken(id []byte, err error, cut bool) []byte {
	e := wire.BackendUnavailable.Error(false, "")
	switch {
	case cut && x.Env.Method == wire.MethodListen:
		return wire.AppendListenEnd(nil, id)
	case cut:
		e.Message = "The stream was ended by the proxy: send the request again"
	case upstream.KindOf(err) == upstream.Timeout:
		e = wire.BackendTimeout.Error(false, "")
	}
	return e.Append(nil, id)
}

// carriesNotices tells whether notices of changed tools may go on this exchange's stream: on the stream that a legacy
// client opens for such, and on a modern subscription to them.
func carriesNotices(req *http.Request, x *Exchange) notices {
	if req.Method == http.MethodGet {
		return notices{wanted: !isInner(req)}
	}
	if x.Env != nil && x.Env.Method == wire.MethodListen && gjson.GetBytes(x.Env.Notifications, "toolsListChanged").Bool() {
		return notices{true, append([]byte(nil), x.Env.ID...)}
	}
	return notices{}
}

// passEvents copies the stream as it comes. Nil: the backend ended it.
func passEvents(s *stream, resp *upstream.Response, f *framing) error {
	buf := eventBuffers.Get().(*[]byte)
	defer eventBuffers.Put(buf)
	encoded := resp.Header.Get("Content-Encoding") != ""
	if encoded {
		s.mu.Lock()
		s.between = false // for good: nothing can be put into it
		s.mu.Unlock()
	}
	for {
		n, err := resp.Body.Read(*buf)
		if n > 0 {
			f.feed((*buf)[:n])
			if werr := s.write((*buf)[:n], !encoded && f.between()); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			if encoded {
				return nil
			}
			err := f.rest()
			if err == wire.ErrUnended {
				// Where the last byte is a CR, the first line feed belongs to it.
				if werr := s.write([]byte("\n\n"), true); werr != nil {
					return werr
				}
			}
			return err
		}
		if err != nil {
			return err
		}
	}
}

// filterEvents copies the stream event by event. What cannot be read is left out.
func (r *Relay) filterEvents(s *stream, resp *upstream.Response, rw wire.Rewriter, f *framing) error {
	reader := wire.NewEventReader(resp.Body, r.o.MaxMessage)
	held := r.o.Memory.Share()
	defer held.Release()
	reader.Hold = func(n int64) bool { return held.Set(2 * n) } // what goes to the client is made of it
	var out, room []byte
	var end error
	for ended := false; !ended; {
		ev, err := reader.Next()
		if err == io.EOF {
			if ev, end = reader.Rest(); end != wire.ErrUnended {
				return end
			}
			ended = true
		} else if err != nil {
			return err
		}
		f.ids = f.ids || len(ev.ID) > 0
		if out, room, err = rw.AppendTo(out[:0], ev, room); err != nil {
			if errors.Is(err, wire.ErrMessage) {
				continue // no message, so no client misses it
			}
			return err
		}
		if err := s.write(out, true); err != nil {
			return err
		}
		if cap(out) > smallBody {
			out = nil
		}
		if cap(room) > smallBody {
			room = nil
		}
	}
	return end
}
