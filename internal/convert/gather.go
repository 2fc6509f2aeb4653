package convert

import (
	"bytes"
	"net/http"
)

// Stream is how a backend's response comes in pieces.
type Stream uint8

// Streams of pieces.
const (
	NoStream Stream = iota
	SSE             // text/event-stream: one piece per event
	NDJSON          // one piece per line
)

// StreamOf tells from a Content-Type whether a response is to be gathered piece by piece.
func StreamOf(contentType string) Stream {
	switch mediaOf(contentType).kind {
	case "text/event-stream":
		return SSE
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq":
		return NDJSON
	}
	return NoStream
}

// GatheredResult is the result of a response that came in pieces: the data of events, or lines. Without a template the
// pieces are the text, one per line. A template sees the list of them, or the one piece itself if there is only one.
// Blank pieces and the "[DONE]" that ends many event streams are left out. The result stands in w, as in ResultIn.
func (t *Tool) GatheredResult(w *Work, c Call, status int, h http.Header, pieces [][]byte) []byte {
	var kept [][]byte
	json := true
	for _, p := range pieces {
		if p = bytes.TrimSpace(bytes.TrimPrefix(p, []byte{0x1e})); len(p) == 0 || string(p) == "[DONE]" { // RFC 7464 puts RS before each
			continue
		}
		kept = append(kept, p)
		if json {
			_, err := parseValue(p, true)
			json = err == nil
		}
	}
	own := http.Header{}
	for name, v := range h {
		own[name] = v
	}
	if json && len(kept) > 0 && (t.response.body != nil || len(kept) == 1) {
		own["Content-Type"] = []string{"application/json"}
		if len(kept) == 1 {
			return t.ResultIn(w, c, status, own, kept[0])
		}
		body := append(bytes.Join(kept, []byte{','}), ']')
		return t.ResultIn(w, c, status, own, append([]byte{'['}, body...))
	}
	own["Content-Type"] = []string{"text/plain; charset=utf-8"}
	return t.ResultIn(w, c, status, own, bytes.Join(kept, []byte{'\n'}))
}
