package gateway

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

// TestSilentAnswersGetComments lets an answer be silent for a while and then go on: comments come in the pauses, and none
// after its end. Seen to fail without the timer, and without its Reset.
func TestSilentAnswersGetComments(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		e := startEvents(w, 15*time.Second)
		e.send([]byte("1"))
		time.Sleep(14 * time.Second)
		e.send([]byte("2"))
		time.Sleep(31 * time.Second)
		e.send([]byte("3"))
		n := e.end()
		time.Sleep(time.Minute)
		e.send([]byte("4"))
		const want = "event: message\ndata: 1\n\nevent: message\ndata: 2\n\n: keep-alive\n\n: keep-alive\n\nevent: message\ndata: 3\n\n"
		if got := w.Body.String(); got != want || n != int64(len(want)) {
			t.Errorf("got %d bytes: %q", n, got)
		}
		if w.Header().Get("Content-Type") != "text/event-stream" || w.Header().Get("X-Accel-Buffering") != "no" {
			t.Errorf("header: %v", w.Header())
		}
	})
}
