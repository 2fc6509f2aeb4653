package gateway

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// maxPiece bounds one event or line of a backend that answers in pieces; all together are bounded by limits.responseBody.
const maxPiece = 1 << 20

// maxPieces bounds their number: each takes more than its bytes.
const maxPieces = 100_000

// pieceCost is what a piece takes besides its bytes, until the result is made.
const pieceCost = 160

// Progress is told of the first promptPieces pieces, then at most once each progressGap: nobody reads faster.
const (
	promptPieces = 1000
	progressGap  = 20 * time.Millisecond
)

// gather reads an answer that comes in pieces and tells a caller that asked for progress of each. No piece is kept or told
// of before conceal has seen it.
func (c *call) gather(x *catalog.Compiled, resp *upstream.Response, kind convert.Stream, conceal func([]byte) []byte) ([][]byte, error) {
	next := lines(resp.Body)
	if kind == convert.SSE {
		next = c.backendEvents(x, resp.Body)
	}
	var pieces [][]byte
	var told time.Time
	held := 0 // and not accounted for yet
	for {
		piece, err := next()
		if len(piece) > 0 {
			if len(pieces) >= maxPieces {
				return nil, &upstream.Error{Kind: upstream.TooLarge, Sent: true}
			}
			if held += 3*len(piece) + pieceCost; held > budget.Free { // the text and the result are made of them
				if !c.share.Grow(int64(held)) {
					return nil, &upstream.Error{Kind: upstream.Busy, Sent: true}
				}
				held = 0
			}
			pieces = append(pieces, append([]byte(nil), conceal(piece)...))
			if len(pieces) <= promptPieces || time.Since(told) > progressGap {
				c.progress(len(pieces), pieces[len(pieces)-1])
				told = time.Now()
			}
		}
		if errors.Is(err, io.EOF) {
			return pieces, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// backendEvents reads an event stream. If it ends within an event, that one counts if its data is a whole JSON object or array,
// and is dropped otherwise, as browsers drop it; operators are told.
func (c *call) backendEvents(x *catalog.Compiled, r io.Reader) func() ([]byte, error) {
	reader := wire.NewEventReader(r, maxPiece)
	return func() ([]byte, error) {
		e, err := reader.Next()
		if err == io.EOF {
			var fault error
			if e, fault = reader.Rest(); fault != nil {
				x.SawUnendedEvents()
				c.noteFault(fault)
			}
		}
		return e.Data, err
	}
}

func lines(r io.Reader) func() ([]byte, error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxPiece)
	begun := false
	return func() ([]byte, error) {
		if scanner.Scan() {
			line := scanner.Bytes()
			if !begun {
				line, begun = wire.WithoutMark(line), true
			}
			return line, nil
		}
		if err := scanner.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
}

// progress sends notifications/progress, if the caller named a token and takes an event stream. The answer then is one.
func (c *call) progress(n int, piece []byte) {
	if c.env.ProgressToken == nil || !strings.Contains(c.r.Header.Get("Accept"), "text/event-stream") {
		return
	}
	if c.events == nil {
		c.status = http.StatusOK
		c.events = startEvents(c.w, c.g.options.KeepAlive)
	}
	params := append([]byte(`{"progressToken":`), c.env.ProgressToken...)
	params = strconv.AppendInt(append(params, `,"progress":`...), int64(n), 10)
	params = append(params, `,"message":`...)
	params = append(jsontext.AppendString(params, piece), '}')
	c.events.send(wire.AppendNotification(nil, wire.NotificationProgress, params))
}

// eventAnswer is an answer that has become an event stream. While it is silent it carries comments, so that nobody on the
// way takes the connection for dead.
type eventAnswer struct {
	every time.Duration // between comments; 0: none

	mu    sync.Mutex // guards what follows, and w
	w     http.ResponseWriter
	timer *time.Timer
	ended bool
	bytes int64
}

// startEvents sends the head of such an answer. It must be ended before the handler returns.
func startEvents(w http.ResponseWriter, every time.Duration) *eventAnswer {
	h := w.Header()
	h.Set(contentTypeKey, "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	e := &eventAnswer{w: w, every: every}
	e.mu.Lock()
	defer e.mu.Unlock()
	if every > 0 {
		e.timer = time.AfterFunc(every, func() { e.write([]byte(": keep-alive\n\n")) })
	}
	return e
}

func (e *eventAnswer) send(message []byte) { e.write(wire.AppendEvent(nil, "", "message", message)) }

func (e *eventAnswer) write(p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	n, _ := e.w.Write(p)
	e.bytes += int64(n)
	_ = http.NewResponseController(e.w).Flush()
	if e.timer != nil {
		e.timer.Reset(e.every)
	}
}

// end lets nothing more be written, and tells how much was.
func (e *eventAnswer) end() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	if e.timer != nil {
		e.timer.Stop()
	}
	return e.bytes
}
