package convert

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// What the reader accepts, encoding/json reads the same way; what it refuses is refused for a reason.
func FuzzParseValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.50,1e6,"x\u00e9\ud83d\ude00\n",true,null]}`, `"\ud800"`, `[[[]]]`, `{"a":1,"a":2}`, `1e99999`, `"` + "\xff" + `"`, ` {} `, `01`, `{"a":}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parseValue(raw, true)
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var want any
		wantErr := d.Decode(&want)
		if err != nil {
			why := err.Error()
			known := strings.Contains(why, "deeper") || strings.Contains(why, "number") || strings.Contains(why, "UTF-8")
			if wantErr == nil && json.Valid(raw) && !known {
				t.Fatalf("refused %q: %v", raw, err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("accepted %q", raw)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read %q as %#v, encoding/json as %#v", raw, got, want)
		}
		if compact := appendCompact(nil, raw); !json.Valid(compact) {
			t.Fatalf("compacted %q to %q", raw, compact)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add([]byte("a\"b\\\n\x00\xff\u2028<é>"))
	f.Fuzz(func(t *testing.T, s []byte) {
		var got string
		if err := json.Unmarshal(jsontext.AppendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(string(s), "\ufffd"); utf8.Valid(s) && got != want {
			t.Fatalf("%q became %q", want, got)
		}
	})
}

// Whatever bytes come as arguments: no panic, and one request of the intended shape or a result that says why not.
func FuzzArguments(f *testing.F) {
	s := compileText(f, propertyService)
	f.Add([]byte(`{"id":"../x","q":"&","X-A":"a","c":";","b":"\""}`))
	f.Add([]byte(`{"id":"\u00000a\u0000","q":{"a":[1]}}`))
	f.Add([]byte(`{"id":".."}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, args []byte) {
		for name, tool := range s.Tools {
			r, result, err := tool.Request(Call{Arguments: args, Header: http.Header{}})
			switch {
			case err != nil:
				t.Fatalf("%s: %v", name, err)
			case r == nil:
				if !json.Valid(result) || !bytes.Contains(result, []byte(`"isError":true`)) {
					t.Fatalf("%s: %s", name, result)
				}
			default:
				checkIntended(t, name, string(args), r)
			}
		}
	})
}

// Whatever a backend answers: no panic, and a result that is valid JSON without line breaks.
func FuzzResult(f *testing.F) {
	s := compileText(f, benchService+`
  - name: structured
    outputSchema: {type: object}
    requestTemplate: {url: /x}
    errorResponseTemplate: "{{.message}} {{gjson \"_headers.\\\\:status\"}}"
`)
	f.Add(200, "application/json", []byte(`{"name":"x"}`))
	f.Add(404, "text/html; charset=gbk", []byte("\xb0\xa1"))
	f.Add(200, "image/png", []byte("\x89PNG"))
	f.Add(200, "text/plain; charset=utf-16", []byte("\xff\xfea\x00"))
	f.Add(500, "", []byte(`{"message":"m"}`))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		for name, tool := range s.Tools {
			h := http.Header{"Content-Type": {kind}}
			for _, result := range [][]byte{tool.Result(Call{}, status, h, body), tool.GatheredResult(new(Work), Call{}, status, h, bytes.Split(body, []byte("\n")))} {
				if !json.Valid(result) || bytes.ContainsAny(result, "\r\n") || !utf8.Valid(result) {
					t.Fatalf("%s: %q", name, result)
				}
			}
		}
	})
}

// Any text may be a tool's URL: it is refused, or makes requests that can be sent.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"/a/{id}?q={{.args.q}}#x", "https://{id}/", "{{.config.base}}/{{.args.id | upper}}", "//x", "https://a@b/", "/{id}{id}", "/{{if .args.q}}?{{end}}{id}", "/\x00{id}", "${env:API_BASE}/x"} {
		f.Add(seed, "../v?x#y")
	}
	f.Fuzz(func(t *testing.T, address, id string) {
		if !utf8.ValidString(address) {
			return
		}
		out, err := json.Marshal(map[string]any{
			"server":   map[string]any{"config": map[string]any{"base": "https://api.example.com/v1"}},
			"upstream": map[string]any{"url": "https://petstore.example.com"},
			"tools": []any{map[string]any{"name": "x", "args": []any{map[string]any{"name": "id"}, map[string]any{"name": "q"}},
				"requestTemplate": map[string]any{"url": address}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := compileExample(string(out))
		if s == nil || s.Tools["x"] == nil {
			return
		}
		plain, _, _ := s.Tools["x"].Request(Call{Arguments: []byte(`{"id":"v","q":"w"}`)})
		r, _, err := s.Tools["x"].Request(Call{Arguments: []byte(`{"id":` + quoted(id) + `,"q":` + quoted(id) + `}`)})
		if err != nil || r == nil || plain == nil {
			return
		}
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatalf("%q makes %q: %v", address, r.URL, err)
		}
		w, err := url.Parse(plain.URL)
		if err != nil || u.Scheme != w.Scheme || u.Host != w.Host || r.Host != plain.Host {
			t.Fatalf("%q with %q goes to %q, with v to %q", address, id, r.URL, plain.URL)
		}
	})
}
