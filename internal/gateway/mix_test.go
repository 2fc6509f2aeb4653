package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"
)

// TestCallsDoNotMix has calls of many sizes and both kinds go on at once, each with a text of its own in the body, in a
// header: what one call leaves in memory that is used again must never show in another one's
// request or answer. Bodies beyond 16 KiB go through http.Transport. The race detector looks on. Seen to fail where a
// Request's headers are not emptied.
func TestCallsDoNotMix(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text, note := gjson.GetBytes(body, "params.arguments.text").Str, r.Header.Get("Tracestate")
		if !strings.HasPrefix(text, note) || len(r.Header["Traceparent"]) > 0 && r.Header.Get("Traceparent") != note {
			t.Errorf("text %.20q came with the header of %.20q", text, note)
		}
		w.Header().Set("Mcp-Note", note)
		if len(text)%3 == 0 {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"text\":%q}}\n\n", gjson.GetBytes(body, "id").Raw, text)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"text":%q}}`, gjson.GetBytes(body, "id").Raw, text)
	}))
	defer echo.Close()
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name":"item %s","price":%s}`, path.Base(r.URL.Path), path.Base(r.URL.Path))
	}))
	defer store.Close()
	g := gatewayBefore(t, strings.TrimPrefix(echo.URL, "http://"), strings.TrimPrefix(store.URL, "http://"))
	ask := func(service, tool, arguments, note string, i int) *httptest.ResponseRecorder {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, i, tool, arguments)
		r := httptest.NewRequest(http.MethodPost, "/mcp/"+service, strings.NewReader(body))
		r.Header.Set("X-Api-Key", benchKey)
		r.Header.Set("Tracestate", note)
		if i%2 == 0 {
			r.Header.Set("Traceparent", note)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w
	}
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range 60 {
				note := fmt.Sprintf("%d.%d.", worker, i)
				text := note + strings.Repeat(string(rune('a'+worker)), []int{0, 40, 500, 20 << 10}[i%4]+i)
				w := ask([]string{"echo", "some"}[i%2], "echo", fmt.Sprintf(`{"text":%q}`, text), note, i)
				if want := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"text":%q}}`, i, text); w.Header().Get("Mcp-Note") != note ||
					strings.TrimSpace(strings.TrimPrefix(w.Body.String(), "data: ")) != want {
					t.Errorf("%s: answered %v %.200q", note, w.Header(), w.Body)
				}
				id := 1000*worker + i
				w = ask("store", "get_item", fmt.Sprintf(`{"id":%d}`, id), note, i)
				if want := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"item %d costs %d"}]}}`, i, id, id); w.Body.String() != want {
					t.Errorf("%s: answered %s, want %s", note, w.Body, want)
				}
				if w = ask("none", "echo", "{}", note, i); w.Code != http.StatusForbidden || w.Header().Get("Mcp-Note") != "" {
					t.Errorf("%s: a service that does not exist answered %d", note, w.Code)
				}
			}
		})
	}
	wg.Wait()
}
