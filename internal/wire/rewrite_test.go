package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func seeNoD(name []byte) bool { return !bytes.HasPrefix(name, []byte("d")) }

func TestA18_FilterTools(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		err            error
	}{
		{"nothing to hide stays byte for byte", `{ "jsonrpc" : "2.0","id":9007199254740993,"result":{"tools":[ {"name":"a"} ],"x":1e2}} `,
			`{ "jsonrpc" : "2.0","id":9007199254740993,"result":{"tools":[ {"name":"a"} ],"x":1e2}} `, nil},
		{"first", `{"result":{"tools":[{"name":"d1"},{"name":"a"},{"name":"b"}]}}`, `{"result":{"tools":[{"name":"a"},{"name":"b"}]}}`, nil},
		{"middle", `{"result":{"tools":[{"name":"a"},{"name":"d1"},{"name":"b"}]}}`, `{"result":{"tools":[{"name":"a"},{"name":"b"}]}}`, nil},
		{"last", `{"result":{"tools":[{"name":"a"},{"name":"b"},{"name":"d1"}]}}`, `{"result":{"tools":[{"name":"a"},{"name":"b"}]}}`, nil},
		{"all", `{"result":{"tools":[ {"name":"d1"} , {"name":"d2"} ],"nextCursor":"c"}}`, `{"result":{"tools":[],"nextCursor":"c"}}`, nil},
		{"none there", `{"result":{"tools":[ ]}}`, `{"result":{"tools":[ ]}}`, nil},
		{"white space of those that stay", "{\"result\":{\"tools\":[\n  {\"name\":\"a\"},\n  {\"name\":\"d\"},\n  {\"name\":\"b\"}\n]}}",
			"{\"result\":{\"tools\":[\n  {\"name\":\"a\"},\n  {\"name\":\"b\"}\n]}}", nil},
		{"two first", "{\"result\":{\"tools\":[\n{\"name\":\"d\"},\n{\"name\":\"d\"},\n{\"name\":\"b\"}]}}", "{\"result\":{\"tools\":[\n{\"name\":\"b\"}]}}", nil},
		{"name behind other fields", `{"result":{"tools":[{"x":{"name":"a"},"name":"d"},{"x":{"name":"d"},"name":"a"}]}}`, `{"result":{"tools":[{"x":{"name":"d"},"name":"a"}]}}`, nil},
		{"escaped name", `{"result":{"tools":[{"name":"\u0064"},{"n\u0061me":"a"}]}}`, `{"result":{"tools":[{"n\u0061me":"a"}]}}`, nil},
		{"tools under an escaped name", `{"result":{"t\u006fols":[{"name":"d"}]}}`, `{"result":{"t\u006fols":[]}}`, nil},
		{"entries without a certain name", `{"result":{"tools":[{"name":"a","name":"d"},{"name":"a","Name":"d"},{"title":"a"},{"name":["a"]},"a",null,[{"name":"a"}],{},{"name":"a\ud800"},{"name":"a","\ud800name":"d"},{"name":"ok"}]}}`,
			`{"result":{"tools":[{"name":"ok"}]}}`, nil},
		{"in a batch", `[{"result":{"tools":[{"name":"d"}]}},{"method":"x"}]`, `[{"result":{"tools":[]}},{"method":"x"}]`, nil},
		{"a notification passes", `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":{"result":{"tools":[{"name":"d"}]}}}}`,
			`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":{"result":{"tools":[{"name":"d"}]}}}}`, nil},
		{"an error passes", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}`, nil},
		{"tools null", `{"result":{"tools":null}}`, `{"result":{"tools":null}}`, nil},
		{"capabilities are no list", `{"result":{"capabilities":{"tools":{"listChanged":true}}}}`, `{"result":{"capabilities":{"tools":{"listChanged":true}}}}`, nil},
		{"result twice", `{"result":{},"result":{"tools":[{"name":"d"}]}}`, "", ErrAmbiguous},
		{"result in another case", `{"Result":{"tools":[{"name":"d"}]}}`, "", ErrAmbiguous},
		{"tools twice", `{"result":{"tools":[],"tools":[{"name":"d"}]}}`, "", ErrAmbiguous},
		{"tools in another case", `{"result":{"TOOLS":[{"name":"d"}]}}`, "", ErrAmbiguous},
		{"tools with the long s", `{"result":{"toolſ":[{"name":"d"}]}}`, "", ErrAmbiguous},
		{"tools by name", `{"result":{"tools":{"d":{"name":"d"}}}}`, "", ErrTools},
		{"cut off", `{"result":{"tools":[{"name":"d"}`, "", ErrMessage},
		{"trailing garbage", `{"result":{"tools":[{"name":"a"}]}}x`, "", ErrMessage},
		{"invalid UTF-8", "{\"result\":{\"tools\":[{\"name\":\"a\",\"x\":\"\xff\"}]}}", "", ErrMessage},
		{"not a message", `"x"`, "", ErrMessage},
		{"nothing", ``, "", ErrMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _, err := FilterTools(nil, []byte(c.in), seeNoD)
			if !errors.Is(err, c.err) || string(out) != c.want {
				t.Fatalf("got %s, %v\nwant %s, %v", out, err, c.want, c.err)
			}
			filtered(t, []byte(c.in))
		})
	}
}

func TestIsToolList(t *testing.T) {
	for in, want := range map[string]bool{
		`{"result":{"tools":[]}}`:        true,
		`{"result":{"tools":[{"x":1}]}}`: true,
		`{"result":{"tools":{}}}`:        false,
		`{"result":{"content":[]}}`:      false,
		`{"params":{"tools":[]}}`:        false,
		`{"result":{"tools":[]}`:         false,
	} {
		if got := IsToolList([]byte(in)); got != want {
			t.Errorf("%s: got %v", in, got)
		}
	}
}

func TestRewriterTouchesOnlyWhatItMust(t *testing.T) {
	private := Rewriter{Private: true}
	drop := Rewriter{DropInstructions: true}
	all := Rewriter{See: seeNoD, Private: true, DropInstructions: true}
	for _, c := range []struct {
		name     string
		r        Rewriter
		in, want string
	}{
		{"public becomes private", private, `{"result":{"tools":[],"ttlMs":1.0, "cacheScope" : "public" ,"x":1}}`, `{"result":{"tools":[],"ttlMs":1.0, "cacheScope" : "private" ,"x":1}}`},
		{"private stays", private, `{"result":{"cacheScope":"private"}}`, `{"result":{"cacheScope":"private"}}`},
		{"another spelling of private is made plain", private, `{"result":{"cacheScope":"\u0070rivate"}}`, `{"result":{"cacheScope":"private"}}`},
		{"an unknown scope", private, `{"result":{"cacheScope":{"a":1}}}`, `{"result":{"cacheScope":"private"}}`},
		{"absent means public", private, `{"result":{"tools":[],"ttlMs":5}}`, `{"result":{"tools":[],"ttlMs":5,"cacheScope":"private"}}`},
		{"twice", private, `{"result":{"cacheScope":"public","cacheScope":"public"}}`, `{"result":{"cacheScope":"private","cacheScope":"private"}}`},
		{"in another case", private, `{"result":{"CacheScope":"public","ttlMs":5}}`, `{"result":{"ttlMs":5,"cacheScope":"private"}}`},
		{"no result of the modern era", private, `{"result":{"tools":[]}}`, `{"result":{"tools":[]}}`},
		{"not in the content", private, `{"result":{"contents":[{"cacheScope":"public"}]}}`, `{"result":{"contents":[{"cacheScope":"public"}]}}`},
		{"instructions first", drop, `{"result":{"instructions":"use d","serverInfo":{}}}`, `{"result":{"serverInfo":{}}}`},
		{"instructions last", drop, `{"result":{"serverInfo":{} , "instructions":"use d" }}`, `{"result":{"serverInfo":{}  }}`},
		{"instructions alone", drop, `{"result":{ "instructions":"use d" }}`, `{"result":{}}`},
		{"instructions in another case", drop, `{"result":{"Instructions":"use d","x":1}}`, `{"result":{"x":1}}`},
		{"all at once", all, `{"result":{"ttlMs":5,"instructions":"d","tools":[{"name":"d"}]}}`, `{"result":{"ttlMs":5,"tools":[],"cacheScope":"private"}}`},
		{"added where the last one goes", all, `{"result":{"ttlMs":5,"instructions":"d"}}`, `{"result":{"ttlMs":5,"cacheScope":"private"}}`},
		{"nothing asked, nothing done", Rewriter{}, `{"Result":1,"result":{"Tools":1,"instructions":"d","cacheScope":"public"}}`, `{"Result":1,"result":{"Tools":1,"instructions":"d","cacheScope":"public"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _, err := c.r.Apply(nil, []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(out)); diff != "" {
				t.Fatal(diff)
			}
			again, _, err := c.r.Apply(nil, out)
			if err != nil || string(again) != string(out) {
				t.Fatalf("a second time gives %s, %v", again, err)
			}
		})
	}
}

func TestUnchangedMessagesAreNotCopied(t *testing.T) {
	in := []byte(`{"result":{"tools":[{"name":"a"}]}}`)
	out, list, err := FilterTools(nil, in, seeNoD)
	if err != nil || !list || &out[0] != &in[0] {
		t.Fatalf("got %s, %v, %v, want the very input", out, list, err)
	}
}

func FuzzFilterTools(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"d"}],"nextCursor":"x"}}`,
		`{"result":{"tools":[{"name":"a","name":"d"},{"Name":"d"},7,{"name":"\u0064"}]}}`,
		`{"result":{"Tools":[{"name":"d"}],"tools":[]}}`,
		`[{"result":{"tools":[{"name":"d"}]}}]`,
		`{"result":{"tools":{"a":1}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(filtered)
}

type listed struct {
	Result struct {
		Tools []json.RawMessage `json:"tools"`
	} `json:"result"`
}

// filtered checks what FilterTools gives: exactly the allowed entries, in order, raw, everything else as it was, and no
// denied name for a reader that matches names without case.
func filtered(t *testing.T, in []byte) {
	out, list, err := FilterTools(nil, in, seeNoD)
	if err != nil {
		if out != nil {
			t.Fatalf("output %q beside %v", out, err)
		}
		return
	}
	if !json.Valid(out) {
		t.Fatalf("not JSON: %q from %q", out, in)
	}
	if bytes.HasPrefix(bytes.TrimLeft(in, " \t\r\n"), []byte("[")) {
		var a, b []json.RawMessage
		if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil || len(a) != len(b) {
			t.Fatalf("batch %q became %q", in, out)
		}
		for i := range a {
			filtered(t, a[i])
		}
		return
	}
	before, after := members(t, in), members(t, out)
	bt, btOK := toolsOf(t, before["result"])
	at, atOK := toolsOf(t, after["result"])
	if btOK != atOK || list != btOK {
		t.Fatalf("list %v, before %v, after %v: %q", list, btOK, atOK, in)
	}
	var want []string
	for _, raw := range bt {
		var entry map[string]json.RawMessage
		var name string
		if json.Unmarshal(raw, &entry) != nil || entry["name"] == nil || entry["name"][0] != '"' ||
			json.Unmarshal(entry["name"], &name) != nil || ambiguous(raw) || !seeNoD([]byte(name)) {
			continue
		}
		want = append(want, string(raw))
	}
	var got []string
	for _, raw := range at {
		got = append(got, string(raw))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("entries %q, want %q", got, want)
	}
	if r, ok := before["result"]; ok && r[0] == '{' {
		x, y := members(t, r), members(t, after["result"])
		delete(x, "tools")
		delete(y, "tools")
		if !cmp.Equal(x, y) {
			t.Fatal(cmp.Diff(x, y))
		}
	}
	delete(before, "result")
	delete(after, "result")
	if !cmp.Equal(before, after) {
		t.Fatal(cmp.Diff(before, after))
	}
	var l listed
	if json.Unmarshal(out, &l) == nil {
		for _, raw := range l.Result.Tools {
			var entry struct{ Name string }
			if json.Unmarshal(raw, &entry) == nil && strings.HasPrefix(entry.Name, "d") {
				t.Fatalf("a lenient reader sees %q in %q", entry.Name, out)
			}
		}
	}
}

func members(t *testing.T, raw []byte) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v: %q", err, raw)
	}
	return m
}

func toolsOf(t *testing.T, result json.RawMessage) (entries []json.RawMessage, ok bool) {
	t.Helper()
	if len(result) == 0 || result[0] != '{' {
		return nil, false
	}
	raw := members(t, result)["tools"]
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatal(err)
	}
	return entries, true
}

// ambiguous tells, by the reference, whether an entry's name could be another for another reader.
func ambiguous(entry []byte) bool {
	n, err := refParse(entry)
	if err != nil {
		return true
	}
	if _, err := refFields(n, []string{"name"}); err != nil {
		return true
	}
	for _, m := range n.members {
		if m.name.text == "name" && m.value.lone {
			return true
		}
	}
	return false
}
