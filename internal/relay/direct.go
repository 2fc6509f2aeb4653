package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// requests are used again. The header of the answer, too, is in a map of theirs: what of it goes to the client are its
// values, which are the answer's own.
var requests = sync.Pool{New: func() any {
	up := new(upstream.Request)
	up.Reset()
	return up
}}

// direct carries an exchange with a backend that speaks Streamable HTTP itself.
func (r *Relay) direct(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	up := requests.Get().(*upstream.Request)
	o := r.exchange(w, req, x, up)
	o.BodyFree = !up.Kept()
	up.Reset()
	requests.Put(up)
	return o
}

func (r *Relay) exchange(w http.ResponseWriter, req *http.Request, x *Exchange, up *upstream.Request) Outcome {
	if err := prepare(up, req, x, req.Method, x.Body); err != nil {
		return refuseError(w, req, x, err)
	}
	if s := x.Session; s != nil {
		if s.Instance == "" && x.Backend.Naming() { // made when the backend was a URL: nobody knows where it lives
			return lost(w, req, x)
		}
		up.Instance = s.Instance
		if s.Backend != "" {
			up.Header[wire.HeaderSession] = []string{s.Backend}
		}
	}
	rw := x.rewriter(req)
	if !rw.Idle() || x.Restricted || isInner(req) { // its messages are read, here or by sink
		up.Header["Accept-Encoding"] = notEncoded
		up.Decode = true
	} else if ae, ok := req.Header["Accept-Encoding"]; ok && req.Method == http.MethodPost && x.Env.Method != wire.MethodListen {
		up.Header["Accept-Encoding"] = ae
	}
	resp, err := x.Backend.Do(req.Context(), up)
	if err != nil {
		return refuseError(w, req, x, err)
	}
	defer resp.Body.Close()
	if x.Session != nil && forgotten(resp, x) {
		return lost(w, req, x)
	}
	h := w.Header()
	copyAnswerHeader(h, resp, x)
	if o, refused := refusedUnauthorized(w, req, x, resp.Status); refused {
		return o
	}
	if err := r.sealSession(h, req, x, resp); err != nil {
		return refuseError(w, req, x, err)
	}
	read := !rw.Idle() || x.Restricted
	if read && resp.Status >= 200 && resp.Status <= 299 && awaitsNothing(req, x) {
		return acknowledge(w, resp)
	}
	if mediaType(resp.Header) == "text/event-stream" {
		if x.View == nil && x.Look != nil {
			x.View = x.Look()
		}
		up.Sent()
		return r.events(w, req, x, resp, rw)
	}
	if !read {
		return copyAnswer(w, x, resp)
	}
	return filterAnswer(w, req, x, resp, rw)
}

// awaitsNothing reports whether the client sent what has no answer but a status: a notification, a response, or DELETE.
func awaitsNothing(req *http.Request, x *Exchange) bool {
	return req.Method == http.MethodDelete || x.Env != nil && x.Env.Kind != wire.Request
}

// acknowledge gives the client the status of what has no other answer. What stands in it is text, null or HTML with many
// backends (the protocol has no body there), which could not be read, and need not be.
func acknowledge(w http.ResponseWriter, resp *upstream.Response) Outcome {
	io.CopyN(io.Discard, resp.Body, 4<<10) // a short one read to its end leaves the connection usable
	h := w.Header()
	h.Del("Content-Type")
	h.Del("Content-Encoding")
	w.WriteHeader(resp.Status)
	return Outcome{Status: resp.Status}
}

// lost tells the client that its session is gone: the 404 makes it start anew.
func lost(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome {
	o := refuse(w, req, x, wire.UnknownSession, "")
	o.Reason = reasonSessionLost
	return o
}

// forgotten tells whether the backend no longer knows the session. The protocol asks for 404; many servers say 400 in
// words, the reference ones among them. A body that had to be read to know is put back.
func forgotten(resp *upstream.Response, x *Exchange) bool {
	if resp.Status == http.StatusNotFound {
		return x.Env == nil || x.Env.Kind != wire.Request || !isMethodNotFound(resp)
	}
	if resp.Status != http.StatusBadRequest || wire.First(resp.Header, "Content-Encoding") != "" {
		return false
	}
	head := wire.WithoutMark(peek(resp))
	if message := gjson.GetBytes(head, "error.message"); message.Exists() {
		text := strings.ToLower(message.Str)
		return strings.Contains(text, "session") || strings.Contains(text, "not initialized")
	}
	return saysForgotten(mediaType(resp.Header), head)
}

// saysForgotten reports whether a refusal that is no JSON-RPC says that the session is not known: plain text, as the Python
// SDK had it up to 1.12.4, or the JSON object of a web framework.
func saysForgotten(media string, body []byte) bool {
	text := string(body)
	if wire.Valid(body) {
		fields := gjson.GetManyBytes(body, "error", "message", "detail")
		text = fields[0].Str + " " + fields[1].Str + " " + fields[2].Str
		if v := gjson.ParseBytes(body); v.Type == gjson.String {
			text = v.Str
		}
	} else if media != "" && media != "text/plain" {
		return false
	}
	// A tool's own refusal may speak of sessions, too: of one that lacks something it does so in other words.
	text = strings.ToLower(text)
	if !strings.Contains(text, "session") {
		return false
	}
	for _, word := range []string{"valid", "not found", "no ", "unknown", "missing", "expired", "required", "terminated", "exist", "closed"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// isMethodNotFound tells a modern server's 404 for a method from one for a session.
func isMethodNotFound(resp *upstream.Response) bool {
	return gjson.GetBytes(peek(resp), "error.code").Int() == wire.CodeMethodNotFound
}

// peek gives the beginning of an answer, which is then read again from the start.
func peek(resp *upstream.Response) []byte {
	head, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var rest io.Reader = resp.Body
	if err != nil {
		rest = failed{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	return head
}

type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// sealSession gives the client its form of the backend's session id.
func (r *Relay) sealSession(h http.Header, req *http.Request, x *Exchange, resp *upstream.Response) error {
	id := wire.First(resp.Header, wire.HeaderSession)
	if id == "" || resp.Status < 200 || resp.Status > 299 || x.modern(req) { // the modern era has no sessions
		return nil
	}
	if x.Session != nil && x.Session.Backend == id {
		h.Set(wire.HeaderSession, wire.First(req.Header, wire.HeaderSession)) // some servers repeat it in every answer
		return nil
	}
	return r.seal(h, x, id, resp.Instance)
}

func (r *Relay) seal(h http.Header, x *Exchange, backend, instance string) error {
	id, err := r.o.Sealer.Seal(session.Session{
		Backend: backend, Instance: instance,
		Service: x.Service, Version: x.Version, Consumer: x.Consumer, Issued: time.Now(),
	})
	if err != nil {
		return fmt.Errorf("seal session of the backend: %w", err)
	}
	h[wire.HeaderSession] = []string{id}
	return nil
}

// SelfCounted is up to how many bytes an answer that is written whole needs no Content-Length of ours: the server adds it
// (net/http, ResponseWriter.Write), and without making garbage.
const SelfCounted = 1 << 10

// smallBody is how much of an answer is read before its header goes out.
const smallBody = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, smallBody); return &b }}

// copyAnswer hands on an answer whose bytes are nobody's business.
func copyAnswer(w http.ResponseWriter, x *Exchange, resp *upstream.Response) Outcome {
	h := w.Header()
	if v, ok := resp.Header["Content-Encoding"]; ok {
		h["Content-Encoding"] = v
	}
	if resp.ContentLength > SelfCounted {
		h["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	}
	o := Outcome{Status: resp.Status}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	// Read ahead: a small answer, the usual one, goes out in one piece, or as a clean refusal if it breaks off.
	n, err := readFull(resp.Body, *buf)
	if err != nil && err != io.EOF {
		return brokenAnswer(w, x, err)
	}
	w.WriteHeader(resp.Status)
	for {
		m, werr := w.Write((*buf)[:n])
		o.Bytes += int64(m)
		switch {
		case werr != nil:
			o.Err, o.Reason = werr, reasonGone
			return o
		case err == io.EOF:
			return o
		case err != nil:
			o.Err, o.Reason, o.Abort = err, reasonBackend, true
			return o
		}
		n, err = resp.Body.Read(*buf)
	}
}

// readFull fills p as far as r goes; the error is io.EOF where r ended within it, or nil where p is full.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// brokenAnswer stands for an answer that failed before anything of it was sent.
func brokenAnswer(w http.ResponseWriter, x *Exchange, err error) Outcome {
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	h.Del(wire.HeaderSession)
	why := wire.BackendUnavailable
	if upstream.KindOf(err) == upstream.Timeout {
		why = wire.BackendTimeout
	}
	e := why.Error(false, "")
	if k := upstream.KindOf(err); k != 0 && k != upstream.Timeout {
		e.Message = "The backend is not available: " + k.String()
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	n, _ := w.Write(e.Append(nil, x.id()))
	return Outcome{Status: e.Status, Bytes: int64(n), Err: err, Reason: reasonBackend}
}

var errNoMemory = &upstream.Error{Kind: upstream.Busy, Sent: true}

var errUnreadable = errors.New("answer to a client that may see only part of the service cannot be read")

// filterAnswer hands on an answer that had to be read whole.
func filterAnswer(w http.ResponseWriter, req *http.Request, x *Exchange, resp *upstream.Response, rw wire.Rewriter) Outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	resp.Hold = x.Share
	body, err := resp.AppendBody((*buf)[:0])
	if err == nil && x.Share != nil && len(body) > budget.Free && !x.Share.Grow(2*int64(len(body))) { // for what is made of it
		err = errNoMemory
	}
	if err != nil {
		w.Header().Del(wire.HeaderSession)
		return refuseError(w, req, x, err)
	}
	out, reason := body, ""
	if len(body) > 0 && !isPlainRefusal(resp.Status, body) {
		if out, _, err = rw.Apply(nil, body); err != nil {
			if resp.Status < 400 {
				w.Header().Del(wire.HeaderSession)
				o := refuse(w, req, x, wire.BackendUnavailable, "The backend's answer cannot be read")
				o.Err, o.Reason = errors.Join(errUnreadable, err), reasonUnreadable
				return o
			}
			w.Header().Set("Content-Type", "application/json")
			out = wire.AppendError(nil, x.id(), wire.CodeInternal, "The backend refused with status "+strconv.Itoa(resp.Status), nil)
			reason = reasonUnreadable
		}
	}
	if len(out) > SelfCounted {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(out))}
	}
	w.WriteHeader(resp.Status)
	n, err := w.Write(out)
	return Outcome{Status: resp.Status, Bytes: int64(n), Err: err, Reason: reason}
}

// isPlainRefusal tells whether body is the short plain text of a refusal, which no client takes for a message.
func isPlainRefusal(status int, body []byte) bool {
	if status < 400 || len(body) > 4<<10 {
		return false
	}
	head := bytes.TrimLeft(body, " \t\r\n\ufeff")
	return len(head) > 0 && head[0] != '{' && head[0] != '['
}
