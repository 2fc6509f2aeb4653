package gateway

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// maxPiece bounds one event or line of a backend that answers in pieces; all together are bounded by limits.responseBody.
const maxPiece = 1 << 20

// gather reads an answer that comes in pieces and tells a caller that asked for progress of each.
func (c *call) gather(resp *upstream.Response, kind convert.Stream) ([][]byte, error) {
	next := lines(resp.Body)
	if kind == convert.SSE {
		next = events(resp.Body)
	}
	var pieces [][]byte
	for {
		piece, err := next()
		if len(piece) > 0 {
			pieces = append(pieces, append([]byte(nil), piece...))
			c.progress(len(pieces), pieces[len(pieces)-1])
		}
		if errors.Is(err, io.EOF) {
			return pieces, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func events(r io.Reader) func() ([]byte, error) {
	reader := wire.NewEventReader(r, maxPiece)
	return func() ([]byte, error) {
		e, err := reader.Next()
		return e.Data, err
	}
}

func lines(r io.Reader) func() ([]byte, error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxPiece)
	return func() ([]byte, error) {
		if scanner.Scan() {
			return scanner.Bytes(), nil
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
	if !c.eventing {
		c.eventing = true
		c.startEvents()
	}
	params := append([]byte(`{"progressToken":`), c.env.ProgressToken...)
	params = strconv.AppendInt(append(params, `,"progress":`...), int64(n), 10)
	params = append(params, `,"message":`...)
	params = append(jsontext.AppendString(params, piece), '}')
	c.sendEvent(wire.AppendNotification(nil, wire.NotificationProgress, params))
}

func (c *call) startEvents() {
	h := c.w.Header()
	h.Set(contentTypeKey, "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
}

func (c *call) sendEvent(message []byte) {
	n, _ := c.w.Write(wire.AppendEvent(nil, "", "message", message))
	c.written += int64(n)
	_ = http.NewResponseController(c.w).Flush()
}
