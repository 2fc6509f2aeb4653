//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// backend is the cheapest honest one: an HTTP API, and an MCP server that knows one tool and streams.
func backend() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/items/", func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/items/")
		body := make([]byte, 0, 128)
		body = append(append(body, `{"id":`...), id...)
		body = append(append(body, `,"name":"item `...), id...)
		body = append(body, `","price":12.5,"tags":["small","blue"],"stock":{"here":3,"there":4}}`...)
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.Write(body)
	})
	mux.HandleFunc("/mcp", speakMCP)
	return mux
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// speakMCP answers tools/call of echo, and of the tools that streams are measured with.
func speakMCP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	case http.MethodDelete: // a session that a client is done with
		return
	}
	in := bodies.Get().(*bytes.Buffer)
	in.Reset()
	defer bodies.Put(in)
	if _, err := in.ReadFrom(r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, text := messageID(in.Bytes()), between(in.Bytes(), `"text":"`, `"`)
	switch {
	case id == nil: // a notification
		w.WriteHeader(http.StatusAccepted)
	case text == nil:
		manage(w, id, in.Bytes())
	case string(text) == "ticks":
		ticks(w, id)
	case string(text) == "big":
		big(w, id)
	default:
		body := make([]byte, 0, 256)
		body = append(append(body, `{"jsonrpc":"2.0","id":`...), id...)
		body = append(append(body, `,"result":{"content":[{"type":"text","text":"`...), text...)
		body = append(body, `"}],"isError":false}}`...)
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.Write(body)
	}
}

// manage answers what comes before and beside calls. Sessions are named and not remembered.
func manage(w http.ResponseWriter, id, in []byte) {
	result := "{}"
	switch method := between(in, `"method":"`, `"`); string(method) {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", fmt.Sprintf("bench-%d", sessions.Add(1)))
		result = fmt.Sprintf(`{"protocolVersion":"%s","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}`, between(in, `"protocolVersion":"`, `"`))
	case "tools/list":
		result = `{"tools":[{"name":"echo","description":"says it again","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}]}`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

var sessions atomic.Int64

// messageID is the message's id, a number or a string, wherever in the message it stands.
func messageID(b []byte) []byte {
	_, id, _ := bytes.Cut(b, []byte(`"id":`))
	if end := bytes.IndexAny(id, ",}"); end > 0 {
		return bytes.TrimSpace(id[:end])
	}
	return nil
}

// ticks sends events that say when they were sent.
func ticks(w http.ResponseWriter, id []byte) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range tickCount {
		time.Sleep(3 * time.Millisecond)
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":%d}}\n\n", time.Now().UnixNano())
		w.(http.Flusher).Flush()
	}
	fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[]}}\n\n", id)
}

const (
	tickCount = 200
	bigSize   = 10 << 20
)

// big sends a result of 10 MiB.
func big(w http.ResponseWriter, id []byte) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"`, id)
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 2<<10)
	for n := 0; n < bigSize; n += len(chunk) {
		w.Write(chunk)
	}
	io.WriteString(w, `"}]}}`)
}

func between(b []byte, before, after string) []byte {
	i := bytes.Index(b, []byte(before))
	if i < 0 {
		return nil
	}
	b = b[i+len(before):]
	if j := bytes.Index(b, []byte(after)); j >= 0 {
		return b[:j]
	}
	return nil
}
