package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	segment "github.com/segmentio/encoding/json"
	"github.com/tidwall/gjson"
)

// tricks are the ways around authorization of assertion 19, and near misses. what is the expected end: "" for accepted.
var tricks = []struct {
	name, body, what string
}{
	{"plain call", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied","arguments":{}}}`, ""},
	{"case variant of name after it", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied","NAME":"allowed"}}`, "names in params"},
	{"case variant of name before it", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"denied","name":"allowed"}}`, "names in params"},
	{"case variant of name alone", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"denied"}}`, "names in params"},
	{"name twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","name":"denied"}}`, "names in params"},
	{"name twice, once escaped", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","\u006eame":"denied"}}`, "names in params"},
	{"escaped case variant", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","\u004eame":"denied"}}`, "names in params"},
	{"escaped name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"\u006eame":"denied"}}`, ""},
	{"escaped value", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\u0064enied"}}`, ""},
	{"underscore in name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","na_me":"denied"}}`, "names in params"},
	{"NUL behind name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","name\u0000":"denied"}}`, "names in params"},
	{"text behind a NUL behind name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","name\u0000x":"denied"}}`, "names in params"},
	{"NUL in the value", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied\u0000allowed"}}`, "without NUL"},
	{"method twice", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"denied"}}`, "names of a message"},
	{"case variant of method", `{"jsonrpc":"2.0","id":1,"method":"tools/call","METHOD":"ping","params":{"name":"denied"}}`, "names of a message"},
	{"case variant of params", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed"},"Params":{"name":"denied"}}`, "names of a message"},
	{"params twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed"},"params":{"name":"denied"}}`, "names of a message"},
	{"long s in params", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed"},"paramſ":{"name":"denied"}}`, "names of a message"},
	{"Kelvin sign in progressToken", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"progressTo\u212aen":1}}}`, "names in params"},
	{"dotless i in id", `{"jsonrpc":"2.0","id":1,"ıd":2,"method":"ping"}`, "names of a message"},
	{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, "names of a message"},
	{"meta twice", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{},"_meta":{}}}`, "names in params"},
	{"meta in capitals", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_META":{}}}`, "names in params"},
	{"meta without underscore is somebody's own", `{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"meta":{}}}`, ""},
	{"revision twice", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/protocolVersion":"2025-06-18"}}}`, "names in params"},
	{"revision in another case", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}}}`, "names in params"},
	{"lone surrogate in a name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed","\ud800name":"denied"}}`, "names in params"},
	{"lone surrogate in the value", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied\udc00"}}`, "lone surrogates"},
	{"two low surrogates", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied\udc00\udc00"}}`, "lone surrogates"},
	{"high surrogate before a letter", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied\ud800\u0041"}}`, "lone surrogates"},
	{"two high surrogates", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied\ud800\ud800"}}`, "lone surrogates"},
	{"lone surrogate in arguments", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied","arguments":{"x":"\ud800"}}}`, ""},
	{"surrogate pair", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud83d\udc36"}}`, ""},
	{"duplicates inside arguments", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied","arguments":{"name":1,"NAME":2,"name":3}}}`, ""},
	{"method in another case", `{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"denied"}}`, "method must be"},
	{"method with a space", `{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"denied"}}`, "method must be"},
	{"method with NUL", `{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000","params":{"name":"denied"}}`, "method must be"},
	{"method with a slash before it", `{"jsonrpc":"2.0","id":1,"method":"/tools/call","params":{"name":"denied"}}`, "method must be"},
	{"method no string", `{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"denied"}}`, "method must be"},
	{"escaped method", `{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"denied"}}`, ""},
	{"call as a notification", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"denied"}}`, "must have an id"},
	{"call and answer at once", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied"},"result":{}}`, "either a method"},
	{"nulls of an eager serializer", `{"jsonrpc":"2.0","id":1,"method":"ping","params":null,"result":null,"error":null}`, ""},
	{"params by position", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["denied",{}]}`, "must be objects"},
	{"name no string", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["denied"]}}`, "name must be"},
	{"name missing", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`, "name must be"},
	{"params missing", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, "name must be"},
	{"uri missing", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"x"}}`, "uri must be"},
	{"uri missing where the modern era has no such method", `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe"}`, ""},
	{"uri no string there", `{"jsonrpc":"2.0","id":1,"method":"resources/unsubscribe","params":{"uri":["x"]}}`, "uri must be"},
	{"byte order mark", "\ufeff" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Parse error: a value was expected at byte 0"},
	{"batch", `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied"}}]`, "batches"},
	{"two messages", `{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"denied"}}`, "something follows the message at byte 40"},
	{"NUL behind the message", `{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\x00", "something follows"},
	{"invalid UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"denied\xff\"}}", "invalid UTF-8"},
	{"overlong UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"x\":\"\xc1\xae\"}}", "invalid UTF-8"},
	{"surrogate in UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"x\":\"\xed\xa0\x80\"}}", "invalid UTF-8"},
	{"UTF-16", "{\x00\"\x00j\x00", "a name in double quotes"},
	{"comment", `{"jsonrpc":"2.0","id":1,/*"method":"ping",*/"method":"tools/call","params":{"name":"denied"}}`, "a name in double quotes"},
	{"trailing comma", `{"jsonrpc":"2.0","id":1,"method":"ping",}`, "a name in double quotes"},
	{"single quotes", `{'jsonrpc':'2.0'}`, "a name in double quotes"},
	{"NaN", `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, "a value was expected"},
	{"octal", `{"jsonrpc":"2.0","id":01,"method":"ping"}`, "a comma or a closing bracket"},
	{"raw line feed in a string", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}", "unescaped control character"},
	{"vertical tab as space", "{\v\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", "a name in double quotes"},
	{"nested to the limit", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":` + strings.Repeat("[", MaxDepth-2) + strings.Repeat("]", MaxDepth-2) + `}}`, ""},
	{"nested deeper", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}}`, "nested deeper than 128"},
	{"nested very deep", strings.Repeat(`{"x":`, 100000), "nested deeper than 128"},
	{"empty", "", "unexpected end at byte 0"},
	{"only space", " \n", "unexpected end"},
	{"a string", `"tools/call"`, "must be an object"},
	{"null id", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "id must be"},
	{"true as id", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, "id must be"},
	{"object as id", `{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, "id must be"},
	{"large id", `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, ""},
	{"fraction as id", `{"jsonrpc":"2.0","id":-1.50e+2,"method":"ping"}`, ""},
	{"no jsonrpc", `{"id":1,"method":"ping"}`, "jsonrpc must be"},
	{"jsonrpc 1.0", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, "jsonrpc must be"},
	{"jsonrpc a number", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, "jsonrpc must be"},
	{"neither method nor answer", `{"jsonrpc":"2.0","id":1}`, "either a method"},
	{"answer", `{"jsonrpc":"2.0","id":"s-1","result":{"action":"accept"}}`, ""},
	{"error for null", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, ""},
	{"result for null", `{"jsonrpc":"2.0","id":null,"result":{}}`, "id must be"},
	{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, "either a method"},
	{"revision with a lone surrogate", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"\ud800"}}}`, "protocolVersion must be"},
	{"unknown fields", `{"jsonrpc":"2.0","id":1,"method":"ping","trace":{"a":[1,2]},"params":{"x":1,"x":2}}`, ""},
}

func TestA19_Tricks(t *testing.T) {
	for _, c := range tricks {
		t.Run(c.name, func(t *testing.T) {
			var e Envelope
			err := Scan([]byte(c.body), &e)
			var got string
			if err != nil {
				got = err.Error()
			}
			if (c.what == "") != (err == nil) || !strings.Contains(got, c.what) {
				t.Fatalf("Scan gave %q, want %q", got, c.what)
			}
			var refusal *Error
			if err != nil && (!errors.As(err, &refusal) || refusal.Status != 400) {
				t.Fatalf("got %#v, want an *Error with status 400", err)
			}
			agree(t, []byte(c.body))
		})
	}
}

// A refusal is answered to the message's id, but only if there can be no other.
func TestIDAfterAnError(t *testing.T) {
	for body, want := range map[string]string{
		`{"jsonrpc":"2.0","id":7,"method":"ping","method":"ping"}`:                  "7",
		`{"jsonrpc":"2.0","method":"tools/call","params":{"name":1},"id":"a"}`:      `"a"`,
		`{"jsonrpc":"1.0","id":7,"method":"ping"}`:                                  "7",
		`{"jsonrpc":"2.0","id":7,"method":"ping","id":8}`:                           "",
		`{"jsonrpc":"2.0","id":7,"method":"ping","ID":8}`:                           "",
		`{"jsonrpc":"2.0","id":7,"method":"ping","\ud800id":8}`:                     "",
		`{"jsonrpc":"2.0","id":{},"method":"ping"}`:                                 "",
		`{"jsonrpc":"2.0","id":7,"method":"ping"`:                                   "",
		`{"jsonrpc":"2.0","id":7,"method":"ping"} x`:                                "",
		`[{"jsonrpc":"2.0","id":7,"method":"ping"}]`:                                "",
		`{"jsonrpc":"2.0","id":7,"method":"ping","params":{"name":"a","name":"b"}}`: "7",
	} {
		var e Envelope
		if err := Scan([]byte(body), &e); err == nil || string(e.ID) != want {
			t.Errorf("%s: id %q, %v", body, e.ID, err)
		}
	}
}

// What an Envelope holds of messages with everything in them.
func TestScanReadsAllFields(t *testing.T) {
	type read struct {
		Kind                                                              Kind
		Method, Name, ID, Result, Error, Arguments, Token                 string
		Cursor, Cancel, Level, Ref, Argument, Notifications, Capabilities string
		Info, Task, Version, ClientCapabilities                           string
		MetaVersion                                                       bool
	}
	for _, c := range []struct {
		body string
		want read
	}{
		{`{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"a\u002fb","arguments":{"x":1e2},"_meta":{"progressToken":"t","io.modelcontextprotocol/protocolVersion":"2026-07-2\u0038","io.modelcontextprotocol/clientCapabilities":{"a":{}},"io.modelcontextprotocol/clientInfo":{"name":"c"}}}}`,
			read{Kind: Request, Method: "tools/call", Name: "a/b", ID: "1.0", Arguments: `{"x":1e2}`, Token: `"t"`, Version: V20260728, MetaVersion: true,
				ClientCapabilities: `{"a":{}}`, Info: `{"name":"c"}`}},
		{`{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"clientInfo":{"name":"c"},"arguments":null,"_meta":null}}`,
			read{Kind: Request, Method: "initialize", ID: `"i"`, Version: V20250618, Capabilities: `{"roots":{}}`, Info: `{"name":"c"}`}},
		{`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"c1","protocolVersion":"x"}}`, read{Kind: Request, Method: "tools/list", ID: "2", Cursor: `"c1"`}},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"r"}}`, read{Kind: Notification, Method: "notifications/cancelled", Cancel: "7"}},
		{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"progress":1}}`, read{Kind: Notification, Method: "notifications/progress", Token: "5"}},
		{`{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{"level":"info"}}`, read{Kind: Request, Method: "logging/setLevel", ID: "3", Level: `"info"`}},
		{`{"jsonrpc":"2.0","id":3,"method":"completion/complete","params":{"ref":{"type":"t"},"argument":{"name":"n"}}}`, read{Kind: Request, Method: "completion/complete", ID: "3", Ref: `{"type":"t"}`, Argument: `{"name":"n"}`}},
		{`{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`, read{Kind: Request, Method: "subscriptions/listen", ID: "3", Notifications: `{"toolsListChanged":true}`}},
		{`{"jsonrpc":"2.0","id":3,"method":"tasks/get","params":{"taskId":"t"}}`, read{Kind: Request, Method: "tasks/get", ID: "3", Task: `"t"`}},
		{`{"jsonrpc":"2.0","id":3,"method":"resources/read","params":{"uri":"file:\/\/\/a"}}`, read{Kind: Request, Method: "resources/read", ID: "3", Name: "file:///a"}},
		{`{"jsonrpc":"2.0","id":3,"result":{"a":1.50},"error":null}`, read{Kind: Response, ID: "3", Result: `{"a":1.50}`}},
		{`{"jsonrpc":"2.0","id":3,"error":{"code":1},"result":null}`, read{Kind: Response, ID: "3", Error: `{"code":1}`}},
	} {
		e := Envelope{Name: []byte("left over"), Method: "left over", CancelID: []byte("1")}
		if err := Scan([]byte(c.body), &e); err != nil {
			t.Fatalf("%s: %v", c.body, err)
		}
		got := read{e.Kind, e.Method, string(e.Name), string(e.ID), string(e.Result), string(e.Error), string(e.Arguments), string(e.ProgressToken),
			string(e.Cursor), string(e.CancelID), string(e.Level), string(e.Ref), string(e.Argument), string(e.Notifications), string(e.Capabilities),
			string(e.ClientInfo), string(e.TaskID), string(e.Version), string(e.ClientCapabilities), e.MetaVersion}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.body, diff)
		}
		if (e.Arguments == nil) != (c.want.Arguments == "") {
			t.Errorf("%s: arguments %q", c.body, e.Arguments)
		}
	}
}

// FuzzScan looks for a message that Scan lets through and another parser reads differently (encoding/json, gjson, Segment's, and
// what lowers names), or that Scan and the reference do not agree to accept. Seen to fail with each of: variants allowed, duplicates allowed, no check of UTF-8,
// escapes in names not decoded, lone surrogates allowed.
func FuzzScan(f *testing.F) {
	for _, c := range tricks {
		if len(c.body) < 1<<12 {
			f.Add([]byte(c.body))
		}
	}
	f.Add(smallCall)
	f.Add(modernCall)
	f.Fuzz(agree)
}

// lenient is how many a backend reads a message: without case, the last duplicate wins.
type lenient struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name string `json:"name"`
		URI  string `json:"uri"`
	} `json:"params"`
}

// agree holds Scan against encoding/json and the reference. It is run over every input of the tests.
func agree(t *testing.T, body []byte) {
	var e Envelope
	err := Scan(body, &e)
	root, broken := refParse(body)
	ref, refErr := refMessage{}, broken
	if broken == nil {
		ref, refErr = refScan(root)
	}
	if (err == nil) != (refErr == nil) {
		t.Fatalf("Scan says %v, the reference %v: %q", err, refErr, body)
	}
	if Valid(body) != (broken == nil) {
		t.Fatalf("Valid says %v, the reference %v: %q", Valid(body), broken, body)
	}
	if err != nil {
		if e.ID != nil && !json.Valid(e.ID) {
			t.Fatalf("id %q after an error", e.ID)
		}
		return
	}
	if e.Kind != ref.kind || e.Method != ref.method || string(e.Name) != ref.name || string(e.ID) != ref.id {
		t.Fatalf("Scan read %d %q %q %q, the reference %+v: %q", e.Kind, e.Method, e.Name, e.ID, ref, body)
	}
	exact(t, body, &e)
	var l lenient
	if json.Unmarshal(body, &l) != nil {
		return // such a backend executes nothing
	}
	name := l.Params.Name
	switch e.Method {
	case MethodResourcesRead, MethodResourcesSubscribe, MethodResourcesUnsubscribe:
		name = l.Params.URI
	case MethodToolsCall, MethodPromptsGet:
	default:
		name = ""
	}
	if l.Method != e.Method || name != string(e.Name) || string(l.ID) != string(e.ID) {
		t.Fatalf("Scan read %q %q %q, a lenient backend %q %q %q: %q", e.Method, e.Name, e.ID, l.Method, name, l.ID, body)
	}
	inPassing(t, body, &e)
	if lower := lowered(root); lower["method"] != e.Method {
		t.Fatalf("Scan read %q, a backend that lowers names %q: %q", e.Method, lower["method"], body)
	}
}

// inPassing holds what Scan read against two parsers of a kind that backends and gateways use as well: gjson, which takes the
// first of two members and checks little, and Segment's, which is another implementation of encoding/json's rules. What a call
// is granted by must be what each of them would run.
func inPassing(t *testing.T, body []byte, e *Envelope) {
	t.Helper()
	member := ""
	switch e.Method {
	case MethodToolsCall, MethodPromptsGet:
		member = "name"
	case MethodResourcesRead, MethodResourcesSubscribe, MethodResourcesUnsubscribe:
		member = "uri"
	}
	g := gjson.ParseBytes(body)
	if got := g.Get("method").String(); got != e.Method {
		t.Fatalf("Scan read method %q, gjson %q: %q", e.Method, got, body)
	}
	if got := g.Get("id").Raw; got != string(e.ID) {
		t.Fatalf("Scan read id %q, gjson %q: %q", e.ID, got, body)
	}
	if member != "" {
		if got := g.Get("params." + member).String(); got != string(e.Name) {
			t.Fatalf("Scan read name %q, gjson %q: %q", e.Name, got, body)
		}
	}
	var env struct {
		ID     segment.RawMessage            `json:"id"`
		Method string                        `json:"method"`
		Params map[string]segment.RawMessage `json:"params"`
	}
	if rest, err := segment.Parse(body, &env, segment.DontMatchCaseInsensitiveStructFields); err != nil || len(bytes.TrimSpace(rest)) > 0 {
		if e.Params != nil && e.Params[0] != '{' {
			return // such a backend runs nothing
		}
		t.Fatalf("Scan accepts what Segment's parser does not: %v, rest %q: %q", err, rest, body)
	}
	if env.Method != e.Method || string(env.ID) != string(e.ID) {
		t.Fatalf("Scan read %q %q, Segment's parser %q %q: %q", e.Method, e.ID, env.Method, env.ID, body)
	}
	if member == "" || env.Params[member] == nil {
		return
	}
	var name string
	if err := segment.Unmarshal(env.Params[member], &name); err != nil || name != string(e.Name) {
		t.Fatalf("Scan read name %q, Segment's parser %q, %v: %q", e.Name, name, err, body)
	}
}

// exact holds what Scan read against encoding/json's maps, which keep case.
func exact(t *testing.T, body []byte, e *Envelope) {
	var env, params map[string]json.RawMessage
	if err := json.Unmarshal(body, &env); err != nil {
		t.Fatalf("Scan accepts what encoding/json does not: %v: %q", err, body)
	}
	if string(env["id"]) != string(e.ID) {
		t.Fatalf("id %q, encoding/json has %q", e.ID, env["id"])
	}
	var method string
	if env["method"] != nil {
		if err := json.Unmarshal(env["method"], &method); err != nil || method != e.Method {
			t.Fatalf("method %q, encoding/json has %q, %v", e.Method, method, err)
		}
	}
	if e.Params == nil {
		return
	}
	if string(env["params"]) != string(e.Params) {
		t.Fatalf("params %q, encoding/json has %q", e.Params, env["params"])
	}
	if err := json.Unmarshal(env["params"], &params); err != nil {
		t.Fatal(err)
	}
	if e.Arguments != nil && string(params["arguments"]) != string(e.Arguments) {
		t.Fatalf("arguments %q, encoding/json has %q", e.Arguments, params["arguments"])
	}
	if e.Cursor != nil && string(params["cursor"]) != string(e.Cursor) {
		t.Fatalf("cursor %q, encoding/json has %q", e.Cursor, params["cursor"])
	}
}

// lowered reads the envelope as decoders do that lower all names first; the first one wins.
func lowered(root refNode) map[string]string {
	out := map[string]string{}
	for _, m := range root.members {
		name := strings.Map(unicode.ToLower, m.name.text)
		if _, ok := out[name]; !ok {
			out[name] = m.value.text
		}
	}
	return out
}
