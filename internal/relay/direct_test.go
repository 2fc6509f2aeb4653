package relay

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// odd is a message that decoding and encoding would change.
const odd = `{ "result" : {"unknown":9007199254740993,"x":1.50,"\u0065":"\/\u00e9\ud83d\ude00","tools":[ {"name":"a","z":1e400},{"name":"b"}],"b":{"y":1,"a":2}} ,"id":7, "jsonrpc":"2.0"}`

func TestBytesComeThroughUnchanged(t *testing.T) {
	for _, typ := range []string{"application/json", "text/event-stream"} {
		t.Run(typ, func(t *testing.T) {
			body := odd
			if typ == "text/event-stream" {
				body = ": hi\nid: 1\ndata:\n\nretry: 5\r\nevent: message\r\ndata: " + odd + "\r\n\r\ndata: half"
			}
			var got []byte
			s := backend(t, func(w http.ResponseWriter, r *http.Request) {
				got, _ = io.ReadAll(r.Body)
				w.Header().Set("Content-Type", typ)
				io.WriteString(w, body)
			})
			f := newFront(t, s.URL+"/mcp", registry.Streamable, Options{}, nil)
			sent := `{"params":{"name":"a","arguments":{"n":9007199254740993,"e":1E+2,"\u0061":"\/"}} , "method":"tools\/call","id":9007199254740993.5,"jsonrpc":"2.0","extra":[1, 2]}`
			resp, answer := do(t, "POST", f.URL, sent, nil)
			if string(got) != sent {
				t.Errorf("backend got\n%s, want\n%s", got, sent)
			}
			if answer != body || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != typ {
				t.Errorf("client got %d\n%q, want\n%q", resp.StatusCode, answer, body)
			}
		})
	}
}

// TestA18_ListsAreFiltered: with See taken out of the rewriter, "b" arrives.
func TestA18_ListsAreFiltered(t *testing.T) {
	filtered := strings.Replace(odd, `,{"name":"b"}`, "", 1)
	for _, c := range []struct {
		name, typ, body, want string
		encoding              string
		told                  string // a call gets it on top
	}{
		{name: "json", typ: "application/json", body: odd, want: filtered},
		{name: "gzip although identity was asked for", typ: "application/json", body: odd, want: filtered, encoding: "gzip"},
		{name: "events", typ: "text/event-stream", body: "id: 1\ndata: " + odd + "\n\n: c\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n\n",
			want: "id: 1\ndata: " + filtered + "\n\n: c\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n\n"},
		{name: "gzip events", typ: "text/event-stream; charset=utf-8", body: "data: " + odd + "\n\n", want: "data: " + filtered + "\n\n", encoding: "gzip"},
		{name: "an event without a blank line", typ: "text/event-stream", body: "data: " + odd, want: "data: " + filtered + "\n\n"},
		{name: "an event cut off", typ: "text/event-stream", body: "data: " + odd[:len(odd)-1], want: "",
			told: "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":8,\"error\":{\"code\":-32603,\"message\":\"The backend is not available\"}}\n\n"},
		{name: "an event that is no message", typ: "text/event-stream", body: "data: {\"tools\":[{\"na\n\ndata: 1\n\n", want: ""},
		{name: "wrong type", typ: "text/plain", body: odd, want: filtered},
	} {
		for _, method := range []string{"POST", "GET"} {
			t.Run(c.name+" "+method, func(t *testing.T) {
				var asked string
				s := backend(t, func(w http.ResponseWriter, r *http.Request) {
					asked = r.Header.Get("Accept-Encoding")
					w.Header().Set("Content-Type", c.typ)
					body := []byte(c.body)
					if c.encoding == "gzip" {
						w.Header().Set("Content-Encoding", "gzip")
						body = zip(body)
					}
					w.Write(body)
				})
				f := newFront(t, s.URL, registry.Streamable, Options{}, onlyA)
				sent := ""
				if method == "POST" {
					sent = listBody
				}
				resp, answer := do(t, method, f.URL, sent, http.Header{"Accept-Encoding": {"gzip, br"}})
				if asked != "identity" {
					t.Errorf("backend was asked for %q", asked)
				}
				want := c.want
				if method == "POST" {
					want += c.told
				}
				if answer != want || resp.Header.Get("Content-Encoding") != "" {
					t.Errorf("got\n%q, want\n%q", answer, want)
				}
			})
		}
	}
}

func TestUnreadableAnswersAreNotPassedToTheRestricted(t *testing.T) {
	for _, c := range []struct {
		name, encoding, body string
		status, want         int
		text                 string
	}{
		{"unknown encoding", "br", odd, 200, 502, "not available"},
		{"not JSON", "", "{tools:", 200, 502, "cannot be read"},
		{"duplicate result", "", `{"result":{"tools":[]},"result":{"tools":[{"name":"b"}]}}`, 200, 502, "cannot be read"},
		{"refusal that is not JSON", "", "{tools:", 400, 400, "refused with status 400"},
		{"plain refusal", "", "Bad Request: no", 400, 400, "Bad Request: no"},
		{"corrupt gzip", "gzip", odd, 200, 502, "not available"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := backend(t, func(w http.ResponseWriter, r *http.Request) {
				if c.encoding != "" {
					w.Header().Set("Content-Encoding", c.encoding)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			f := newFront(t, s.URL, registry.Streamable, Options{}, onlyA)
			resp, answer := do(t, "POST", f.URL, listBody, nil)
			if resp.StatusCode != c.want || !strings.Contains(answer, c.text) {
				t.Errorf("got %d %s", resp.StatusCode, answer)
			}
		})
	}
}

func TestHiddenToolsAndCacheScope(t *testing.T) {
	const list = `{"jsonrpc":"2.0","id":8,"result":{"resultType":"complete","tools":[{"name":"a"},{"name":"b"}],"ttlMs":5,"cacheScope":"public","instructions":"i"}}`
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, list)
	})
	hideB := func(tool []byte) bool { return string(tool) != "b" }
	for _, c := range []struct {
		name   string
		change func(*Exchange)
		header http.Header
		want   string
	}{
		{"open, modern", nil, modernHeader("tools/list"), list},
		{"hidden for everyone", func(x *Exchange) { x.See = hideB }, nil, strings.Replace(list, `,{"name":"b"}`, "", 1)},
		{"key needed, modern", func(x *Exchange) { x.Private = true }, modernHeader("tools/list"), strings.Replace(list, "public", "private", 1)},
		{"key needed, legacy", func(x *Exchange) { x.Private = true }, nil, list},
		{"restricted", onlyA, nil, strings.Replace(strings.Replace(list, `,{"name":"b"}`, "", 1), `,"instructions":"i"`, "", 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, s.URL, registry.Streamable, Options{}, c.change)
			if _, got := do(t, "POST", f.URL, listBody, c.header); got != c.want {
				t.Errorf("got\n%s, want\n%s", got, c.want)
			}
		})
	}
}

// TestA21_OnlyProtocolHeadersReachTheBackend: without requestHeader's list the key arrives.
func TestA21_OnlyProtocolHeadersReachTheBackend(t *testing.T) {
	var got http.Header
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone(); w.WriteHeader(202) })
	f := newFront(t, s.URL, registry.Streamable, Options{}, func(x *Exchange) {
		x.ForwardHeaders = []string{"Traceparent", "X-Tenant", "X-Api-Key", "Connection", "Mcp-Session-Id", "X-Listed", "X-Other"}
		x.Strip = func(name string, _ []string) bool { return name == "X-Api-Key" || name == "Authorization" }
		x.Credential = func(r *upstream.Request) error { r.Header.Set("Authorization", "Bearer of-the-service"); return nil }
	})
	do(t, "POST", f.URL, callBody, http.Header{
		"Authorization": {"Bearer nmp_k_s"}, "X-Api-Key": {"plain key"}, "x_api_key": {"nmp_k_s"}, "Cookie": {"k=nmp_k_s"},
		"X-Other": {"nmp_k_s"}, "X-Tenant": {"t1"}, "Traceparent": {"00-1"}, "Mcp-Name": {"a"}, "Mcp-Method": {"tools/call"},
		"Mcp-Param-Region": {"eu"}, "Mcp-Protocol-Version": {"2025-06-18"}, "Last-Event-Id": {"5"}, "X-Listed": {"1"},
		"Connection": {"X-Listed"}, "X-Forwarded-For": {"1.2.3.4"}, "User-Agent": {"me"}, "Origin": {"http://x"},
	})
	want := http.Header{
		"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}, "Content-Length": {"68"},
		"Authorization": {"Bearer of-the-service"}, "X-Tenant": {"t1"}, "Traceparent": {"00-1"}, "Mcp-Name": {"a"},
		"Mcp-Method": {"tools/call"}, "Mcp-Param-Region": {"eu"}, "Mcp-Protocol-Version": {"2025-06-18"}, "Last-Event-Id": {"5"},
		"User-Agent": {"nacos-mcp-proxy"},
	}
	if diff := diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnswerHeadersThatReachTheClient(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		for _, kv := range []string{"Set-Cookie: a=b", "Server: x", "Mcp-Session-Id: secret-id", "Mcp-Protocol-Version: 2025-06-18",
			"Www-Authenticate: Bearer", "Connection: X-H", "X-H: 1", "Retry-After: 3", "Access-Control-Allow-Origin: *"} {
			k, v, _ := strings.Cut(kv, ": ")
			w.Header().Set(k, v)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	})
	f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
	resp, _ := do(t, "POST", f.URL, initBody, nil)
	sealed := resp.Header.Get(wire.HeaderSession)
	if o, err := f.sealer.Open(sealed); err != nil || o.Backend != "secret-id" {
		t.Errorf("session %q: %+v, %v", sealed, o, err)
	}
	for _, k := range []string{"Date", wire.HeaderSession, "Connection"} {
		resp.Header.Del(k)
	}
	want := http.Header{"Content-Type": {"application/json"}, "Mcp-Protocol-Version": {"2025-06-18"}, "Retry-After": {"3"}, "Content-Length": {"2"}}
	if diff := diff(want, resp.Header); diff != "" {
		t.Error(diff)
	}
}

// Seen to fail, of those in plain text and of web frameworks, with error.message looked at alone; with "session" as the only
// word the two others.
func TestSessionsThatBackendsForgot(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   int
	}{
		{"404", func(w http.ResponseWriter) { http.Error(w, "session not found", 404) }, 404},
		{"400 in words", func(w http.ResponseWriter) {
			w.WriteHeader(400)
			io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)
		}, 404},
		{"400 in plain text", func(w http.ResponseWriter) {
			w.Header()["Content-Type"] = nil
			w.WriteHeader(400)
			io.WriteString(w, "Bad Request: No valid session ID provided")
		}, 404},
		{"400 of a web framework", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			io.WriteString(w, `{"detail":"Session expired"}`)
		}, 404},
		{"400 as a page", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(400)
			io.WriteString(w, `<p id="id":>No session</p>`)
		}, 400},
		{"400 in plain text for another reason", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(400)
			io.WriteString(w, `"id": too many sessions are open in this account`)
		}, 400},
		{"400 for another reason", func(w http.ResponseWriter) {
			w.WriteHeader(400)
			io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32602,"message":"bad argument"},"id":7}`)
		}, 400},
		{"404 for a method", func(w http.ResponseWriter) {
			w.WriteHeader(404)
			io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":7}`)
		}, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := backend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get(wire.HeaderSession) == "" {
					w.Header().Set(wire.HeaderSession, "s1")
					return
				}
				if got := r.Header.Get(wire.HeaderSession); got != "s1" {
					t.Errorf("backend got session %q", got)
				}
				c.answer(w)
			})
			f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
			resp, _ := do(t, "POST", f.URL, initBody, nil)
			h := http.Header{wire.HeaderSession: resp.Header[wire.HeaderSession]}
			resp, body := do(t, "POST", f.URL, callBody, h)
			if resp.StatusCode != c.want || !strings.Contains(body, `"id":`) {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if lost := strings.Contains(body, "send initialize"); lost != (c.want == 404 && c.name != "404 for a method") {
				t.Errorf("got %s", body)
			}
		})
	}
}

func TestLegacyRefusalsReachTheClientUnchanged(t *testing.T) {
	const refusal = `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}`
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		io.WriteString(w, refusal)
	})
	for _, change := range []func(*Exchange){nil, onlyA} {
		f := newFront(t, s.URL, registry.Streamable, Options{}, change)
		resp, body := do(t, "POST", f.URL, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, modernHeader("server/discover"))
		if resp.StatusCode != 400 || body != refusal {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
	}
}

func TestBackendFaultsAreClearAndNameNoAddress(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/drop":
			panic(http.ErrAbortHandler)
		case "/short":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{}")
		case "/huge":
			w.Header().Set("Content-Length", "100000000")
			w.WriteHeader(200)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: {}\n\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, c := range []struct {
		url    string
		status int
		text   string
	}{
		{s.URL + "/slow", 504, "did not answer in time"},
		{s.URL + "/drop", 502, "backend connection failed"},
		{s.URL + "/short", 502, "backend connection failed"},
		{s.URL + "/huge", 502, "over the size limit"},
		{s.URL + "/events", 200, "not available"},
		{closed.URL, 502, "backend unreachable"},
		{"http://169.254.169.254/", 502, "not allowed"},
	} {
		f := newFrontOn(t, upstream.Options{CallTime: 100 * time.Millisecond}, registry.Backend{URL: c.url}, registry.Streamable, Options{}, nil)
		resp, body := do(t, "POST", f.URL, callBody, nil)
		if resp.StatusCode != c.status || !strings.Contains(body, c.text) || strings.Contains(body, "127.0.0.1") || strings.Contains(body, "169.254") {
			t.Errorf("%s: got %d %s", c.url, resp.StatusCode, body)
		}
	}
}

func TestAnswersThatBreakOffLateEndTheConnection(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(bytes.Repeat([]byte(" "), 200<<10))
		panic(http.ErrAbortHandler)
	})
	f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
	resp := start(t, t.Context(), "POST", f.URL, callBody, nil)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the client takes half an answer for a whole one")
	}
}

// What backends write into answers that have nothing to say (the protocol has no body there) stops no client that may see
// only part of the service; of errors as much arrives as did.
//
// Seen to fail without acknowledge: 502 in most rows that are read.
func TestOnlyTheStatusOfAnswersToNotifications(t *testing.T) {
	const note, response = `{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`
	hideB := func(x *Exchange) { x.See = func(tool []byte) bool { return string(tool) != "b" } }
	for _, c := range []struct {
		status    int
		typ, body string
	}{
		{202, "", ""},
		{202, "text/plain", "Accepted"},
		{202, "application/json", `"Accepted"`},
		{202, "application/json", "null"},
		{200, "application/json", "null"},
		{200, "application/json", "{}"},
		{200, "application/json", `{"jsonrpc":"2.0","id":8,"result":{"tools":[{"name":"b"}]}}`},
		{200, "text/html", "<p>ok</p>"},
		{200, "text/event-stream", "data: " + odd + "\n\n"},
		{200, "application/octet-stream", "\x00\x01"},
		{204, "", ""},
		{400, "text/plain", "no such session"},
		{400, "application/json", `{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"}}`},
		{500, "text/plain", "oh"},
	} {
		s := backend(t, func(w http.ResponseWriter, r *http.Request) {
			if c.typ != "" {
				w.Header().Set("Content-Type", c.typ)
			}
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		for who, change := range map[string]func(*Exchange){
			"with tool grants": onlyA, "with a hidden tool": hideB, "with a key, modern": func(x *Exchange) { x.Private = true }, "unrestricted": nil,
		} {
			f := newFront(t, s.URL, registry.Streamable, Options{}, change)
			header := http.Header{}
			if who == "with a key, modern" {
				header = modernHeader("notifications/initialized")
			}
			for _, ask := range []struct{ method, body string }{{"POST", note}, {"POST", response}, {"DELETE", ""}} {
				if who == "with a key, modern" && ask.method == "DELETE" {
					continue // that era has no sessions to end
				}
				resp, answer := do(t, ask.method, f.URL, ask.body, header)
				want := c.body
				if c.status < 300 && who != "unrestricted" {
					want = ""
				}
				if resp.StatusCode != c.status || answer != want {
					t.Errorf("%s %s, %s: %d %s %q: got %d %q, want %q", ask.method, ask.body, who, c.status, c.typ, c.body, resp.StatusCode, answer, want)
				}
			}
		}
	}
}

// Seen to fail without WithoutMark: in Apply, in bridge.read, and in sink.finish.
func TestByteOrderMarksOfBackendsAreTolerated(t *testing.T) {
	const list = `{"jsonrpc":"2.0","id":8,"result":{"tools":[{"name":"a"},{"name":"b"}]}}`
	filtered := strings.Replace(list, `,{"name":"b"}`, "", 1)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, "\ufeff"+list)
	})
	f := newFront(t, s.URL, registry.Streamable, Options{}, onlyA)
	if resp, answer := do(t, "POST", f.URL, listBody, nil); resp.StatusCode != 200 || answer != filtered {
		t.Errorf("direct: %d %q", resp.StatusCode, answer)
	}
	for name, change := range map[string]func(*Exchange){"restricted": onlyA, "unrestricted": nil} {
		b := newSSEBackend(t)
		f = newFront(t, b.URL, registry.SSE, Options{}, change)
		h := b.begin(t, f)
		want := list
		if change != nil {
			want = filtered
		}
		if _, answer := do(t, "POST", f.URL, listBody, nil2(h, func() { <-b.posts; b.send("\ufeff" + list) })); answer != want {
			t.Errorf("bridged, %s: %q", name, answer)
		}
		f = newFront(t, s.URL, registry.Streamable, Options{}, change)
		if answer := overSSE(t, f, listBody); answer != want {
			t.Errorf("an HTTP+SSE client, %s: %q", name, answer)
		}
	}
}

// overSSE posts one message as an HTTP+SSE client does, and returns what comes on its stream.
func overSSE(t testing.TB, f *front, body string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events := wire.NewEventReader(start(t, ctx, "GET", f.URL+"/sse", "", nil).Body, 1<<20)
	next := func() string {
		for {
			ev, err := events.Next()
			if err != nil {
				t.Fatalf("read stream: %v", err)
			}
			if !ev.Comment {
				return string(ev.Data)
			}
		}
	}
	if resp, answer := do(t, "POST", f.URL+next(), body, nil); resp.StatusCode != 202 {
		t.Fatalf("post: %d %s", resp.StatusCode, answer)
	}
	return next()
}

// An HTTP+SSE client is told why its message was refused, also where that was before anybody read its id. An answer that
// breaks off is refused under the id of its request.
//
// Seen to fail with "The call was not answered" in place of the refusal, and with id null.
func TestRefusalsHaveTheIDOfTheirRequest(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Mcp-Protocol-Version") == "broken" {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "{")
			return
		}
		w.WriteHeader(403)
		io.WriteString(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Forbidden: no"}}`)
	})
	f := newFront(t, s.URL, registry.Streamable, Options{}, nil)
	if got := overSSE(t, f, callBody); got != `{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"Forbidden: no"}}` {
		t.Errorf("over HTTP+SSE: %s", got)
	}
	if resp, got := do(t, "POST", f.URL, callBody, http.Header{"Mcp-Protocol-Version": {"broken"}}); resp.StatusCode != 502 || !strings.Contains(got, `"id":7,`) {
		t.Errorf("broken off: %d %s", resp.StatusCode, got)
	}
}

// A backend's page is none on the proxy's origin, and whether a closed service's answers may be kept is not for it to say.
//
// Seen to fail with the backend's Content-Type and Cache-Control handed on.
func TestBackendsServeNoPagesOnOurOrigin(t *testing.T) {
	for _, c := range []struct{ sent, want, sniff string }{
		{"text/html; charset=utf-8", "text/plain", "nosniff"},
		{"TEXT/HTML", "text/plain", "nosniff"},
		{"application/xhtml+xml", "text/plain", "nosniff"},
		{"image/svg+xml", "text/plain", "nosniff"},
		{"text/javascript", "text/plain", "nosniff"},
		{"", "text/plain", "nosniff"}, // else it would be guessed from the bytes
		{"text/html, application/json", "text/plain", "nosniff"},
		{"application/json", "application/json", ""},
		{"application/json; charset=utf-8", "application/json; charset=utf-8", ""},
		{"application/problem+json", "application/problem+json", ""},
	} {
		const page = "<script>alert(1)</script>"
		s := backend(t, func(w http.ResponseWriter, _ *http.Request) {
			if w.Header()["Content-Type"] = nil; c.sent != "" {
				w.Header().Set("Content-Type", c.sent)
			}
			w.Header().Set("Cache-Control", "public, max-age=3600")
			w.WriteHeader(418)
			io.WriteString(w, page)
		})
		for private, cached := range map[bool]string{false: "public, max-age=3600", true: "no-store"} {
			f := newFront(t, s.URL, registry.Streamable, Options{}, func(x *Exchange) { x.Private = private })
			for _, method := range []string{"POST", "GET"} {
				body := ""
				if method == "POST" {
					body = callBody
				}
				resp, got := do(t, method, f.URL, body, nil)
				h := resp.Header
				if resp.StatusCode != 418 || got != page || h.Get("Content-Type") != c.want || h.Get("X-Content-Type-Options") != c.sniff || h.Get("Cache-Control") != cached {
					t.Errorf("%s of %q, private %v: %d %q %v", method, c.sent, private, resp.StatusCode, got, h)
				}
			}
		}
	}
}

// TestStreamsThatEndWithinAnEvent: without a blank line behind the last event, a client would wait for a message that it dropped.
// One that is whole gets the blank line; of one that is cut the call is told. Never does a call get both.
// Seen red without the look at where the stream ends: the call was never answered; and with an error for whole messages, too.
func TestStreamsThatEndWithinAnEvent(t *testing.T) {
	const answer = `data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}`
	const notice = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n"
	for _, c := range []struct {
		name, stream string
		fault        error
		want         string // what the call gets
	}{
		{"whole", notice + answer + "\n\n", nil, "result"},
		{"no blank line", notice + answer + "\n", wire.ErrUnended, "result"},
		{"no blank line, CR LF", notice + answer + "\r\n", wire.ErrUnended, "result"},
		{"no blank line, CR", notice + answer + "\r", wire.ErrUnended, "result"},
		{"no end of the line", answer, wire.ErrUnended, "result"},
		{"white space behind it", answer + " \t", wire.ErrUnended, "result"},
		{"byte order mark", "\ufeff" + answer + "\n", wire.ErrUnended, "result"},
		{"other fields behind it", answer + "\nevent: message\n: that was it\nretry: 10\n", wire.ErrUnended, "result"},
		{"several lines", "event: message\n" + strings.Replace(answer, ",", ",\ndata: ", 2), wire.ErrUnended, "result"},
		{"within the message", notice + answer[:30], wire.ErrCutEvent, "error"},
		{"within several lines", notice + answer[:30] + "\ndata: \"id\":7,\n", wire.ErrCutEvent, "error"},
		{"before the message", notice + "event: message\n", wire.ErrCutEvent, "error"},
		{"nothing but a comment", answer + "\n\n: that was it", nil, "result"},
		{"a comment on a line of its own", answer + "\n\n: that was it\n", nil, "result"},
		{"nothing but a time", answer + "\n\nretry: 10", nil, "result"},
		{"resumable, cut", "id: 1\n" + notice + answer[:30] + "\n", wire.ErrCutEvent, ""},
		{"resumable", "id: 1\n" + notice + "id: 2\n" + answer + "\n", wire.ErrUnended, "result"},
	} {
		for _, who := range []struct {
			name   string
			change func(*Exchange)
		}{{"unread", nil}, {"read", onlyA}} {
			t.Run(c.name+", "+who.name, func(t *testing.T) {
				s := backend(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, c.stream)
				})
				f := newFront(t, s.URL, registry.Streamable, Options{}, who.change)
				_, body := do(t, "POST", f.URL, callBody, nil)
				o := <-f.outcomes
				if o.Err != c.fault || o.Abort || (o.Reason != "") != (c.fault == wire.ErrCutEvent) {
					t.Errorf("outcome %+v, want %v", o, c.fault)
				}
				got := ""
				reader := wire.NewEventReader(strings.NewReader(body), 1<<20)
				for {
					ev, err := reader.Next()
					if err != nil {
						break
					}
					if m := gjson.ParseBytes(ev.Data); wire.Valid(ev.Data) && m.Get("id").Raw == "7" {
						got += map[bool]string{true: "result", false: "error"}[m.Get("result").Exists()]
					}
				}
				if got != c.want {
					t.Errorf("the call got %q, want %q:\n%s", got, c.want, body)
				}
			})
		}
	}
}
