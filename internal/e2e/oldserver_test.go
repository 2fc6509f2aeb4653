package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/tidwall/gjson"
)

// oldServer is a backend of the HTTP+SSE transport of 2024-11-05, with a stream for each session.
type oldServer struct {
	*httptest.Server
	answer func(body []byte) string // the events for a message that was posted

	mu      sync.Mutex
	streams map[string]chan string
	opened  int // streams, ever
	most    int // streams, at once
}

func newOldServer(t testing.TB, answer func(body []byte) string) *oldServer {
	s := &oldServer{answer: answer, streams: map[string]chan string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *oldServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		s.post(w, r)
		return
	}
	s.mu.Lock()
	s.opened++
	id, out := strconv.Itoa(s.opened), make(chan string, 16)
	s.streams[id] = out
	s.most = max(s.most, len(s.streams))
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, id)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: endpoint\ndata: /message?session=%s\n\n", id)
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case events := <-out:
			_, _ = io.WriteString(w, events)
		case <-r.Context().Done():
			return
		}
	}
}

func (s *oldServer) post(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	out := s.streams[r.URL.Query().Get("session")]
	s.mu.Unlock()
	if out == nil {
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	if events := s.answer(body); events != "" {
		out <- events
	}
}

// open is how many streams are open.
func (s *oldServer) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// oldAnswer answers requests as simple servers do.
func oldAnswer(body []byte) string {
	id := gjson.GetBytes(body, "id").Raw
	if id == "" {
		return ""
	}
	return `data: {"jsonrpc":"2.0","id":` + id + `,"result":{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"old","version":"1"},"tools":[],"content":[]}}` + "\n\n"
}
