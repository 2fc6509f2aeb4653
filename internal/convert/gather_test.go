package convert

import (
	"net/http"
	"testing"
)

func TestPiecesOfAStreamBecomeOneResult(t *testing.T) {
	s := compileText(t, `
upstream: {url: https://api.example.com}
tools:
  - {name: raw, requestTemplate: {url: /x}}
  - {name: template, requestTemplate: {url: /x}, responseTemplate: {body: "{{range .}}{{.delta}}{{else}}nothing{{end}}"}}
  - {name: one, requestTemplate: {url: /x}, responseTemplate: {body: "{{.delta}}"}}
`)
	for _, test := range []struct {
		name, tool string
		status     int
		pieces     []string
		want       string
	}{
		{"events as they came", "raw", 200, []string{`{"delta":"a"}`, `{"delta":"b"}`, "[DONE]"}, `{"content":[{"type":"text","text":"{\"delta\":\"a\"}\n{\"delta\":\"b\"}"}]}`},
		{"words", "raw", 200, []string{"hello", "", "world"}, `{"content":[{"type":"text","text":"hello\nworld"}]}`},
		{"a template sees the list", "template", 200, []string{`{"delta":"a"}`, ` {"delta":"b"} `}, `{"content":[{"type":"text","text":"ab"}]}`},
		{"a single piece is itself", "one", 200, []string{`{"delta":"a"}`, "[DONE]"}, `{"content":[{"type":"text","text":"a"}]}`},
		{"no piece at all", "raw", 200, nil, `{"content":[{"type":"text","text":"success"}]}`},
		{"a template needs JSON", "template", 200, []string{"hello"}, `{"content":[{"type":"text","text":"the response is not JSON, but the tool's template needs JSON: read JSON: unexpected 'h' at byte 0"}],"isError":true}`},
		{"a fault", "raw", 500, []string{`{"error":"x"}`}, `{"content":[{"type":"text","text":"call failed, status: 500, response: {\"error\":\"x\"}"}],"isError":true}`},
		{"JSON text sequence", "template", 200, []string{"\x1e{\"delta\":\"a\"}\n", "\x1e{\"delta\":\"b\"}\n"}, `{"content":[{"type":"text","text":"ab"}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var pieces [][]byte
			for _, p := range test.pieces {
				pieces = append(pieces, []byte(p))
			}
			h := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}
			if got := string(s.Tools[test.tool].GatheredResult(new(Work), Call{}, test.status, h, pieces)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if h.Get("Content-Type") != "text/event-stream; charset=utf-8" {
				t.Error("the response's header was changed")
			}
		})
	}
}

func TestStreamsAreToldByTheirContentType(t *testing.T) {
	for kind, want := range map[string]Stream{
		"text/event-stream": SSE, "Text/Event-Stream;charset=utf-8": SSE, "application/x-ndjson": NDJSON, "application/jsonl": NDJSON,
		"application/json": NoStream, "": NoStream, "text/plain": NoStream,
	} {
		if got := StreamOf(kind); got != want {
			t.Errorf("StreamOf(%q) = %d, want %d", kind, got, want)
		}
	}
}
