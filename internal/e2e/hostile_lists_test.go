package e2e

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The entries of a list, as somebody may write them. All but the first are not bob's, or may be read as not being his.
const (
	echoEntry = "{\"x\" : 9007199254740993,\"name\":\"echo\",\"inputSchema\":{\"z\":1.50,\"a\":1E400},\"unknown\":\"\\u00e9\\/\\ud83d\\ude00\",\"_meta\":{\"name\":\"danger-no\"}}"
	others    = ` {"name":"danger"} ,{"name":"\u0064anger","description":"d"}, {"NAME":"echo","name":"danger"},{"name":"echo","name":"danger"},` +
		`{"description":"danger"},{"name":["danger"]},"danger",{"name":"echo","Name":"danger"},{"name":"danger\u0000echo"}`
)

// listMessage is an answer to tools/list; its id is that of client.list.
func listMessage(entries, rest string) string {
	return "{ \"zz\":-0.0 ,\"jsonrpc\" : \"2.0\",\"id\":\"l\",\"result\":{\"n\":12345678901234567890,\"tools\":[" + entries + "],\"nextCursor\":\"\\u0063+/=\"" + rest + "}\t}"
}

// encode compresses b.
func encode(t testing.TB, coding string, b string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	default:
		return []byte(b)
	}
	_, _ = io.WriteString(w, b)
	_ = w.Close()
	return out.Bytes()
}

// eventForms are the ways to write a message on an event stream.
func eventForms(message string) map[string]string {
	return map[string]string{
		"event":           "event: message\ndata: " + message + "\n\n",
		"no event name":   "data:" + message + "\n\n",
		"with id":         ": comment\nid: 5\nretry: 10\ndata: " + message + "\n\n",
		"CR LF":           "event: message\r\ndata: " + message + "\r\n\r\n",
		"CR":              "data: " + message + "\r\r",
		"several lines":   "data: " + strings.Replace(message, ",", ",\ndata: ", 3) + "\n\n",
		"other name":      "event: other\ndata: " + message + "\n\n",
		"no blank at end": "data: " + message + "\n",
		"after another":   "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\ndata: " + message + "\n\n",
		"byte order mark": "\ufeffdata: " + message + "\n\n",
	}
}

// withBlank returns an event stream with the blank line that the proxy adds where none follows the last event; other texts stay.
func withBlank(body string) string {
	if strings.HasPrefix(body, "data: ") && !strings.HasSuffix(body, "\n\n") && !strings.HasSuffix(body, "\r\r") {
		return body + "\n\n"
	}
	return body
}

// messages are those of an event stream, joined as clients join them; a body that is none is its own message.
func messages(body string) []string {
	body = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(body, "\ufeff"))
	var all, data []string
	isStream := false
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") { // an event that no blank line ends is none
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			isStream, data = true, append(data, strings.TrimPrefix(value, " "))
		}
		if line == "" && data != nil {
			all, data = append(all, strings.Join(data, "\n")), nil
		}
	}
	if !isStream && body != "" {
		return []string{body}
	}
	return all
}

// TestA18_ListsAreFilteredWhereverTheyStand has a backend answer with lists in every form there is, to a consumer of one
// tool and to one of all. The first sees no trace of the others; what remains keeps its bytes; and the second gets the
// backend's own bytes. Seen to fail with nil from gateway.see for restricted consumers, with event streams passed on
// unread for them (relay.events), with compressed answers not decoded (relay.direct), and with names that hold a NUL taken
// for harmless (wire.splicer.member).
func TestA18_ListsAreFilteredWhereverTheyStand(t *testing.T) {
	s := directory(t)
	var contentType, coding string
	var body []byte
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		_, _ = w.Write(body)
	})
	s.put(t, "proxy-services", "lists.yaml", "upstream: {url: \""+backend.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-grants", "lists.yaml", "consumers: [alice]\ntools: {echo: [bob]}\n")
	p := start(t, s).ready()
	alice, bob := p.client("lists", aliceKey), p.client("lists", bobKey)
	modern := `{"jsonrpc":"2.0","id":"l","method":"tools/list","params":{"cursor":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	requests := map[string]func(c *client) answer{
		"tools/list": func(c *client) answer { return c.list() },
		"a page": func(c *client) answer {
			return c.post(`{"jsonrpc":"2.0","id":"l","method":"tools/list","params":{"cursor":"x"}}`)
		},
		"modern": func(c *client) answer {
			m := *c
			m.header = http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/list"}}
			return m.post(modern)
		},
		"a call's answer": func(c *client) answer { return c.call("echo", "{}") },
		"GET":             func(c *client) answer { return c.do(http.MethodGet, "") },
		"resumed": func(c *client) answer {
			r := *c
			r.header = http.Header{"Last-Event-Id": {"4"}}
			return r.do(http.MethodGet, "")
		},
	}
	mixed, only := listMessage(echoEntry+","+others, ""), listMessage(echoEntry, "")
	check := func(t *testing.T, name string, ask func(*client) answer, form func(message string) string) {
		t.Helper()
		body = encode(t, coding, form(mixed))
		if a := ask(bob); a.Status != 200 || strings.Contains(a.Body, `danger"`) || strings.Contains(a.Body, `\u0064anger`) {
			t.Errorf("%s: bob got %d %s", name, a.Status, a.Body)
		} else if diff := cmp.Diff(messages(withBlank(form(only))), messages(a.Body)); diff != "" {
			t.Errorf("%s: what remains is not as it was:\n%s", name, diff)
		}
		want := withBlank(form(mixed))
		if a := ask(alice); a.Body != want && (coding == "" || a.Body != form(mixed)) { // a compressed stream may be passed unread
			t.Errorf("%s: alice's bytes were changed:\n%s", name, cmp.Diff(want, a.Body))
		}
	}
	asIs := func(m string) string { return m }
	for what, ask := range requests {
		for _, coding = range []string{"", "gzip", "deflate"} {
			if coding == "deflate" && what != "tools/list" {
				continue
			}
			name := strings.TrimSpace(what + " " + coding)
			t.Run(name, func(t *testing.T) {
				toAlice := ask
				if coding == "deflate" { // alice gets it as the backend sends it, and her client library knows only gzip
					toAlice = func(c *client) answer {
						if c == alice {
							return answer{Body: mixed}
						}
						return ask(c)
					}
				}
				if what != "GET" && what != "resumed" {
					contentType = "application/json"
					check(t, name+" JSON", toAlice, asIs)
				}
				if coding == "deflate" {
					return
				}
				contentType = "text/event-stream"
				for form := range eventForms("") {
					check(t, name+" "+form, ask, func(m string) string { return eventForms(m)[form] })
				}
			})
		}
	}
	t.Run("batch", func(t *testing.T) {
		coding, contentType = "", "application/json"
		check(t, "batch", requests["tools/list"], func(m string) string { return "[" + m + "," + m + "]" })
	})
	t.Run("not to be read", func(t *testing.T) {
		const clear = `{"jsonrpc":"2.0","id":"l","result":{"tools":[{"name":"danger"}]}}`
		for name, sent := range map[string]struct{ contentType, coding, body string }{
			"encoding nobody asked for": {"application/json", "br", clear},
			"cut":                       {"application/json", "", clear[:len(clear)-3]},
			"other type":                {"text/html", "", "<b>danger\"</b>"},
			"two lists":                 {"application/json", "", `{"jsonrpc":"2.0","id":"l","result":{"tools":[]},"result":{"tools":[{"name":"danger"}]}}`},
			"variant":                   {"application/json", "", `{"jsonrpc":"2.0","id":"l","Result":{"tools":[{"name":"danger"}]}}`},
			"variant of tools":          {"application/json", "", `{"jsonrpc":"2.0","id":"l","result":{"Tools":[{"name":"danger"}]}}`},
			"NUL in a name":             {"application/json", "", `{"jsonrpc":"2.0","id":"l","result":{"tools\u0000x":[{"name":"danger"}]}}`},
			"object for a list":         {"application/json", "", `{"jsonrpc":"2.0","id":"l","result":{"tools":{"a":{"name":"danger"}}}}`},
			"UTF-16":                    {"application/json", "", string([]byte{0xff, 0xfe}) + strings.Join(strings.Split(clear, ""), "\x00")},
		} {
			contentType, coding, body = sent.contentType, sent.coding, []byte(sent.body)
			if a := bob.list(); strings.Contains(strings.ReplaceAll(a.Body, "\x00", ""), `danger"`) {
				t.Errorf("%s: bob got %d %s", name, a.Status, a.Body)
			}
		}
	})
}

// oddities are messages whose bytes a decoder and an encoder would not both keep.
var oddities = []string{
	`{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"\u00e9\/\u0041\ud83d\ude00\u2028<>&"}],"big":9007199254740993,"huge":123456789012345678901234567890,"f":1.50,"e":1E+05,"z":-0.0,"small":1e-400}}`,
	`{"result":{"content":[{"type":"hologram","data":{"b":1,"a":[ ]}}],"structuredContent":{"z":null,"y":{"x":[1,2,{"w":true}]}},"isError":false,"_meta":{"x/y":1},"future":{"deep":[[[[]]]]}},"id":7,"jsonrpc":"2.0","extra":"member"}`,
	" {\t\"jsonrpc\" :\r \"2.0\" , \"id\" : 7.0e0 , \"result\" : { \"content\" : [ ] , \"content2\" : \"\u007f\u00ff\ufffd\" } } ",
	`{"jsonrpc":"2.0","id":7,"error":{"code":-32099,"message":"\u0000odd","data":{"b":9007199254740993,"a":"\\"}}}`,
	`{"jsonrpc":"2.0","id":7,"result":{"requestState":"AAECAw==\/\u003d","resultType":"input_required","inputRequests":{"b":{"method":"elicitation/create"},"a":{}}}}`,
	`{"jsonrpc":"2.0","id":7,"result":{"dup":1,"dup":2,"content":[],"nested":{"tools":[{"name":"danger"}]}}}`,
}

// TestBytesComeThroughUnchanged passes odd answers and requests through, to a consumer of everything and to one of a single
// tool, as JSON and as events. Seen to fail with the answer (relay.filterAnswer) or the request (relay.outgoing) decoded by
// encoding/json and encoded again.
func TestBytesComeThroughUnchanged(t *testing.T) {
	s := directory(t)
	var contentType, body string
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	})
	s.put(t, "proxy-services", "odd.yaml", "upstream: {url: \""+backend.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-grants", "odd.yaml", "consumers: [alice]\ntools: {echo: [bob]}\n")
	p := start(t, s).ready()
	for i, message := range oddities {
		for who, key := range map[string]string{"alice": aliceKey, "bob": bobKey} {
			c := p.client("odd", key)
			contentType, body = "application/json", message
			if a := c.call("echo", "{}"); a.Body != body {
				t.Errorf("%d to %s:\n%s", i, who, cmp.Diff(body, a.Body))
			}
			contentType = "text/event-stream"
			for form, text := range eventForms(strings.NewReplacer("\r", " ").Replace(message)) {
				body = text
				a := c.call("echo", "{}")
				if diff := cmp.Diff(messages(withBlank(body)), messages(a.Body)); diff != "" || who == "alice" && a.Body != withBlank(body) {
					t.Errorf("%d to %s as %s:\n%s%s", i, who, form, a.Body, diff)
				}
			}
		}
	}
	contentType, body = "application/json", oddities[0]
	for i, sent := range []string{
		`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"echo","arguments":{"n":9007199254740993,"f":1.50,"e":1E+05,"s":"\u00e9\/","dup":1,"dup":2},"future":{"b":1,"a":2}},"extra":[ ]}`,
		" {\t\"method\":\"tools\\/call\" , \"id\":\"\\u0069d\",\r\n\"params\":{\"arguments\":{\"\":{}} ,\"n\\u0061me\":\"\\u0065cho\"},\"jsonrpc\":\"2.0\"}\n ",
		`{"jsonrpc":"2.0","id":1.50,"method":"tools/call","params":{"name":"echo","requestState":"\u003d=","inputResponses":{"z":1,"a":2},"_meta":{"progressToken":9007199254740993}}}`,
	} {
		for who, key := range map[string]string{"alice": aliceKey, "bob": bobKey} {
			p.client("odd", key).post(sent)
			if got := strings.TrimPrefix(backend.last(), "POST /mcp "); got != strings.TrimRight(sent, " \n") { // the recorder trims
				t.Errorf("request %d of %s:\n%s", i, who, cmp.Diff(sent, got))
			}
		}
	}
}
