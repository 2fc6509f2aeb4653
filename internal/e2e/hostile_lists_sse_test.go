package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// TestA18_ListsAreFilteredOverHTTPAndSSE is the matrix of TestA18_ListsAreFilteredWhereverTheyStand for the transport of
// 2024-11-05 on either side: a Streamable HTTP client of an HTTP+SSE backend, and HTTP+SSE clients of both. Seen to fail
// with nil from gateway.see for restricted consumers, and with what cannot be read passed on (relay.answer.event and take).
func TestA18_ListsAreFilteredOverHTTPAndSSE(t *testing.T) {
	s := directory(t)
	var body, contentType, coding string // what the backends answer
	old := newOldServer(t, func(message []byte) string {
		switch gjson.GetBytes(message, "method").Str {
		case "tools/list", "tools/call":
			return body
		}
		return oldAnswer(message)
	})
	streamable := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		_, _ = w.Write(encode(t, coding, body))
	})
	s.put(t, "proxy-services", "old.yaml", "upstream: {url: \""+old.URL+"/sse\", transport: sse}\n")
	s.put(t, "proxy-services", "lists.yaml", "upstream: {url: \""+streamable.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, name := range []string{"old", "lists"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\ntools: {echo: [bob]}\n")
	}
	p := start(t, s).ready()
	mixed, only := listMessage(echoEntry+","+others, ""), listMessage(echoEntry, "")
	keys := map[string]string{"alice": aliceKey, "bob": bobKey}

	// How a client asks, and gives the messages up to the answer.
	const list, page = `{"jsonrpc":"2.0","id":"l","method":"tools/list"}`, `{"jsonrpc":"2.0","id":"l","method":"tools/list","params":{"cursor":"x"}}`
	const call = `{"jsonrpc":"2.0","id":"l","method":"tools/call","params":{"name":"echo"}}`
	overStreamable := map[string]*client{}
	overSSE := map[string]map[string]*plainSSE{"old": {}, "lists": {}}
	for who, key := range keys {
		overStreamable[who] = p.client("old", key)
		if a := overStreamable[who].initialize(); a.Status != 200 {
			t.Fatalf("initialize: %d %s", a.Status, a.Body)
		}
		for service := range overSSE {
			contentType, coding, body = "application/json", "", `{"jsonrpc":"2.0","id":"x-1","result":{}}`
			c := connectSSE(t, p.URL+"/sse/"+service, key)
			if result, fault := c.ask("initialize", `{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"plain","version":"1"}}`); result == "" {
				t.Fatalf("initialize: %s", fault)
			}
			overSSE[service][who] = c
		}
	}
	asks := map[string]func(who, request string) []string{
		"Streamable HTTP to HTTP+SSE": func(who, request string) []string {
			a := overStreamable[who].post(request)
			if a.Status != 200 {
				return []string{fmt.Sprint(a.Status, a.Body)}
			}
			return messages(a.Body)
		},
	}
	for service, to := range map[string]string{"old": "HTTP+SSE", "lists": "Streamable HTTP"} {
		asks["HTTP+SSE to "+to] = func(who, request string) (all []string) {
			c := overSSE[service][who]
			c.post(request)
			for len(all) == 0 || gjson.Get(all[len(all)-1], "id").Str != "l" {
				_, data := c.next()
				all = append(all, data)
			}
			return all
		}
	}
	for way, ask := range asks {
		forms := eventForms
		skip := []string{"no blank at end"} // it is no event
		if strings.HasSuffix(way, "to HTTP+SSE") {
			skip = append(skip, "other name", "byte order mark") // on a stream that goes on, neither is a message
		}
		check := func(t *testing.T, name, request string, form func(message string) string) {
			t.Helper()
			body = form(mixed)
			bob := ask("bob", request)
			if diff := cmp.Diff(messages(form(only)), bob); diff != "" {
				t.Errorf("%s: bob (-want +got):\n%s", name, diff)
			}
			if diff := cmp.Diff(messages(form(mixed)), ask("alice", request)); diff != "" {
				t.Errorf("%s: alice (-want +got):\n%s", name, diff)
			}
		}
		t.Run(way, func(t *testing.T) {
			for _, request := range []string{list, page, call} {
				for _, coding = range []string{"", "gzip"} {
					if coding != "" && strings.HasSuffix(way, "to HTTP+SSE") {
						continue // that backend does not compress
					}
					contentType = "text/event-stream"
					for form := range forms("") {
						if strings.Contains(strings.Join(skip, ","), form) {
							continue
						}
						check(t, strings.Join([]string{request, coding, form}, " "), request, func(m string) string { return forms(m)[form] })
					}
					if strings.HasSuffix(way, "to Streamable HTTP") {
						contentType = "application/json"
						check(t, request+" "+coding+" JSON", request, func(m string) string { return m })
					}
				}
			}
			coding, contentType = "", "text/event-stream"
			for name, answer := range map[string]string{
				"two lists":         `{"jsonrpc":"2.0","id":"l","result":{"tools":[]},"result":{"tools":[{"name":"danger"}]}}`,
				"variant":           `{"jsonrpc":"2.0","id":"l","Result":{"tools":[{"name":"danger"}]}}`,
				"variant of tools":  `{"jsonrpc":"2.0","id":"l","result":{"Tools":[{"name":"danger"}]}}`,
				"NUL in a name":     `{"jsonrpc":"2.0","id":"l","result":{"tools\u0000x":[{"name":"danger"}]}}`,
				"object for a list": `{"jsonrpc":"2.0","id":"l","result":{"tools":{"a":{"name":"danger"}}}}`,
				"an answer that nobody waits for": `{"jsonrpc":"2.0","id":"other","result":{"tools":[{"name":"danger"}]}}` +
					"\n\ndata: " + `{"jsonrpc":"2.0","id":"l","result":{"tools":[]}}`,
			} {
				body = "data: " + answer + "\n\n"
				if all := strings.Join(ask("bob", list), " "); strings.Contains(all, `danger"`) {
					t.Errorf("%s: bob got %s", name, all)
				}
			}
		})
	}
}
