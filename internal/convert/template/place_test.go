package template

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestReferencesAreResolvedInsideAndOutsideActions(t *testing.T) {
	data := request(`{"user":"u"}`, `{"x":"nacos.other/group"}`)
	for _, tc := range []struct {
		mode       Mode
		text, want string
		refs       []string
	}{
		{Text, `{{ ${nacos.key/credentials}.token }}`, `s3cret`, []string{"nacos.key/credentials"}},
		{Text, `{{ index ${nacos.key/credentials}.hosts 0 }}-{{ .config.user }}`, `a-u`, []string{"nacos.key/credentials"}},
		{Header, `Bearer ${credential:petstore/key}`, `Bearer k3y`, []string{"credential:petstore/key"}},
		{Text, `{{ ${nacos.key/credentials}.hosts }} {{ ${nacos.key/credentials}.none }}`, `["a"] `, []string{"nacos.key/credentials"}},
		{Header, `Basic {{ ${credential:petstore/key} | b64enc }}`, `Basic azN5`, []string{"credential:petstore/key"}},
		{Text, `{{ b64enc ${nacos.key/credentials}.token }}`, `czNjcmV0`, []string{"nacos.key/credentials"}},
		{URL, `https://h/x?key=${credential:petstore/key}`, `https://h/x?key=k3y`, []string{"credential:petstore/key"}},
		{JSONBody, `{"k": "${credential:petstore/key}"}`, `{"k": "k3y"}`, []string{"credential:petstore/key"}},
		{Text, `${credential:petstore/none}`, `run: tool get_pet:1:1: look up ${credential:petstore/none}: no such credential`, []string{"credential:petstore/none"}},
		{Text, "a\n{{.config.user}} ${credential:petstore/key} {{fail \"x\"}}", `run: tool get_pet:2:47: fail: x`, []string{"credential:petstore/key"}},
		{Text, `${HOME} $ {x} ${} ${a b {{"${credential:petstore/key}"}} {{/* ${env:X} */}}`, `${HOME} $ {x} ${} ${a b ${credential:petstore/key} `, nil},
		{Text, `{{secret_reference .args.x}}`, `parse: tool get_pet:1:3: function "secret_reference" not defined`, nil},
		{Text, `{{printf "nacos.key/%s" "credentials" | secret_reference}}`, `parse: tool get_pet:1:41: function "secret_reference" not defined`, nil},
	} {
		got := run(t, Options{Mode: tc.mode}, tc.text, data)
		if got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
		if tmpl, err := Parse("x", tc.text, Options{}); err == nil {
			if d := cmp.Diff(tc.refs, tmpl.Secrets()); d != "" {
				t.Errorf("%s: secrets (-want +got)\n%s", tc.text, d)
			}
		}
	}
}

func TestHeadersRefuseControlCharacters(t *testing.T) {
	data := request(`{"x":"a\nb"}`, `{"ok":"a\tb é","cr":"a\rX: y","lf":"a\nX: y","nul":"a\u0000","del":"\u007f"}`)
	for _, tc := range []struct{ text, want string }{
		{`v {{.args.ok}}`, "v a\tb é"},
		{`{{.args.cr}}`, `run: tool get_pet:1:3: a value holds a line break or another control character`},
		{`{{.args.lf}}`, `run: tool get_pet:1:3: a value holds a line break or another control character`},
		{`{{.args.nul}}`, `run: tool get_pet:1:3: a value holds a line break or another control character`},
		{`{{.args.del}}`, `run: tool get_pet:1:3: a value holds a line break or another control character`},
		{`{{.config.x}}`, `run: tool get_pet:1:3: a value holds a line break or another control character`},
		{`{{.args.lf | toJson}}`, `"a\nX: y"`},
	} {
		if got := run(t, Options{Mode: Header}, tc.text, data); got != tc.want {
			t.Errorf("%s\n got %q\nwant %q", tc.text, got, tc.want)
		}
	}
}

func TestFormsEscapeArgumentsOnly(t *testing.T) {
	data := request(`{"fixed":"a=1&b=2"}`, `{"x":"1&y=2 é","n":1000000,"l":["a"]}`)
	const text = `{{.config.fixed}}&x={{.args.x}}&n={{.args.n}}&l={{.args.l}}&d={{if empty .args.d}}{{now | date "2006"}}{{end}}`
	const want = `a=1&b=2&x=1%26y%3D2%20%C3%A9&n=1000000&l=%5B%22a%22%5D&d=2026`
	if got := run(t, Options{Mode: Form}, text, data); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestRefsAreThePathsRead(t *testing.T) {
	const text = `{{.config.base}}/{{.args.a}}/{{index .args "x-y"}}{{with .args}}{{.b}}{{$.args.c}}{{end}}` +
		`{{$v := .args.d}}{{$v.e}}{{range .args.l}}{{.unknown}}{{end}}{{gjson "args.g\\.h"}}{{gjson "args.#(x)"}}` +
		"\n{{if eq .args.f (get .args \"k\")}}{{end}}{{define \"t\"}}{{.unknown}}{{end}}{{(.args).m}}"
	tmpl, err := Parse("x", text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range tmpl.Refs() {
		got = append(got, strings.Join(r.Path, "/"))
	}
	want := []string{"config/base", "args/a", "args", "args/x-y", "args", "args/b", "args/c", "args/d", "args/d/e", "args/l",
		"args/g.h", "args/f", "args", "args/k", "args", "args/m"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("refs (-want +got)\n%s", d)
	}
	if last := tmpl.Refs()[11]; last.Line != 2 || last.Column != 9 {
		t.Errorf("args/f at %d:%d, want 2:9", last.Line, last.Column)
	}
}

// What a function makes of numbers may stand bare in JSON only if it cannot say anything else.
func TestNumbersCannotBreakOutOfJSON(t *testing.T) {
	data := request(`{}`, `{"n":34,"l":[34,44]}`)
	for _, tc := range []struct{ text, want string }{
		{`{"a": {{printf "%d" .args.n}}}`, `{"a": 34}`},
		{`{"a": {{printf "%c" .args.n}}}`, `{"a": %!c(string=34)}`},
		{`{"a": {{trunc 1 (print .args.n)}}}`, `{"a": "3"}`},
		{`{"a": [{{join ", " .args.l}}]}`, `{"a": [34, 44]}`},
		{`{"a": {{join "," (list .args.n "x")}}}`, `{"a": "34,x"}`},
	} {
		if got := run(t, Options{Mode: JSONBody}, tc.text, data); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestGJSONModifiersThatMayGrowWithoutBoundAreRefused(t *testing.T) {
	for _, name := range []string{"@pretty", "@group", "@dig:a"} {
		if got := run(t, Options{}, `{{gjson "`+name+`"}}`, mustJSON(`{"a":[1]}`)); !strings.Contains(got, "is not available") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := run(t, Options{}, `{{gjson "a|@reverse"}} {{gjson "@keys"}} {{gjson "[a.0,a.#]"}} {{gjson "a.@tostr"}}`, mustJSON(`{"a":[1,2]}`)); got != `[2,1] ["a"] [1,2] [1,2]` {
		t.Errorf("got %s", got)
	}
}

// A template is shared by all calls of its tool.
func TestExecutionsDoNotDisturbEachOther(t *testing.T) {
	tmpl, err := Parse("x", `{{$d := dict "a" .n}}{{range $i := until 20}}{{$_ := set $d (print $i) $.n}}{{end}}{{len $d}} {{.n}} {{regexFind "[0-9]+" (toJson .)}} {{gjson "n"}} {{set .shared "x" .n | len}}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	shared := Object(Member{"y", Null()})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			n := strconv.Itoa(g)
			want := "21 " + n + " " + n + " " + n + " 2"
			for range 200 {
				out, err := tmpl.Execute(nil, Object(Member{"n", mustJSON(n)}, Member{"shared", shared}), Env{}, Budget{})
				if err != nil || string(out) != want {
					t.Errorf("got %s, want %s; %v", out, want, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := shared.Text(); got != `{"y":null}` {
		t.Errorf("shared data became %s", got)
	}
}

// Whatever the arguments hold: the URL keeps scheme, host and number of segments, and a JSON body its shape.
func FuzzA31_ArgumentsStayInTheirPlace(f *testing.F) {
	for _, s := range []string{"", "x", "..", ".", "../..", "%2f", "a/b", "@evil", "\r\nX: y", "?q", "#f", "\x00", `"}`, `\`, "\u2028", "%", "//evil", "\xff"} {
		f.Add(s, s)
	}
	asURL, err := Parse("u", `{{.config.base}}/p/x{{.args.a}}{{.args.b}}/q/{{.args.a | trim}}?k={{.args.a}}&l={{.args.b}}`, Options{Mode: URL})
	if err != nil {
		f.Fatal(err)
	}
	asJSON, err := Parse("j", `{"a": "{{.args.a}}", "b": {{.args.b}}, "c": {{.args.a | lower}}, "d": "x{{toJson .args.b}}", "e": {{toJson .args.a}}}`, Options{Mode: JSONBody})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		args := Object(Member{"a", String(a)}, Member{"b", String(b)}).Tainted()
		data := Object(Member{"config", mustJSON(`{"base":"https://api.example.com/v1"}`)}, Member{"args", args})
		out, err := asURL.Execute(nil, data, Env{}, Budget{})
		if err != nil && strings.Contains(err.Error(), errDots.Error()) {
			return // TestDotSegment
		}
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(string(out))
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if u.Scheme != "https" || u.Host != "api.example.com" || u.User != nil || u.Fragment != "" {
			t.Fatalf("%s is another host", out)
		}
		segments := strings.Split(u.EscapedPath(), "/")
		if len(segments) != 6 || segments[1] != "v1" || segments[2] != "p" || segments[4] != "q" || segments[5] == ".." || segments[5] == "." {
			t.Fatalf("%s has another path", out)
		}
		if q := u.Query(); len(q) != 2 || q.Get("k") != a || q.Get("l") != b {
			t.Fatalf("%s has another query", out)
		}
		if out, err = asJSON.Execute(nil, data, Env{}, Budget{}); err != nil {
			t.Fatal(err)
		}
		var body struct{ A, B, C, D, E string }
		if err := json.Unmarshal(out, &body); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if utf8.ValidString(a) && (body.A != a || body.E != a) {
			t.Fatalf("%s does not hold %q", out, a)
		}
	})
}
