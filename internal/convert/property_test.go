package convert

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
)

// hostile are pieces that arguments are made of.
var hostile = []string{
	"../", "..", ".", "/", "//", "\\", "%2f", "%2F", "%2e%2e", "%", "%00", "@", ":", "@evil.example.net", "http://evil.example.net/",
	"\r\n", "\r\nX-Evil: 1\r\n\r\n", "\n", "\x00", "?", "#", "&", "=", "&admin=1", ";", ";x=1", ",", "+", " ", "\t", "\"", "'", "<", ">",
	"{{.config.secret}}", "{{", "}}", "{id}", "${credential:petstore/key}", "\x000a\x00", "\x001b\x00", "é", "中", "😀", "\u2028", "\ufffd", "a", "B", "7", "-", "_", "~",
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString(hostile[r.IntN(len(hostile))])
	}
	return b.String()
}

func quoted(s string) string {
	out, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(out)
}

const propertyService = `
server: {config: {base: "https://api.example.com/v1", secret: hunter2}}
upstream: {url: https://petstore.example.com/v2}
tools:
  - name: braces
    args:
      - {name: id, required: true, position: path}
      - {name: q, position: query}
      - {name: X-A, position: header}
      - {name: c, position: cookie}
      - {name: b, position: body}
    requestTemplate: {url: "https://api.example.com/v1/a/{id}/z?fixed=1&q=t", method: POST, headers: [{key: X-F, value: f}]}
  - name: actions
    args:
      - {name: id, required: true}
      - {name: q}
      - {name: X-A, position: header}
      - {name: c, position: cookie}
      - {name: b}
    requestTemplate: {url: "{{.config.base}}/a/{{.args.id}}/z?fixed=1&q={{.args.q}}", method: POST, headers: [{key: X-F, value: f}], body: '{"b":"{{.args.b}}"}'}
  - name: piped
    args:
      - {name: id, required: true}
      - {name: q}
      - {name: X-A, position: header}
      - {name: c, position: cookie}
      - {name: b}
    requestTemplate: {url: "{{.config.base}}/a/{{.args.id | trim | printf \"%s\"}}/z?fixed=1&q={{default \"\" .args.q}}", method: POST, headers: [{key: X-F, value: "{{\"f\"}}"}], body: '{"b":{{default "" .args.b | toJson}}}'}
`

// Whatever the arguments hold, a call makes no request, or one to the host, of the path shape and with the headers that
// its author wrote.
func TestA31_ArgumentsCannotChangeWhereARequestGoes(t *testing.T) {
	// Seen to fail with appendEscaped appending its text as it is, and with fieldValue always answering true.
	s := compileText(t, propertyService)
	r := rand.New(rand.NewPCG(31, 7))
	sent := map[string]int{}
	for range 20_000 {
		id, q, xa, c, b := randomText(r), randomText(r), randomText(r), randomText(r), randomText(r)
		args := fmt.Sprintf(`{"id":%s,"q":%s,"X-A":%s,"c":%s,"b":%s}`, quoted(id), quoted(q), quoted(xa), quoted(c), quoted(b))
		for name, tool := range s.Tools {
			req, result, err := tool.Request(Call{Arguments: []byte(args)})
			if err != nil {
				t.Fatalf("%s %s: %v", name, args, err)
			}
			if req == nil {
				if !strings.Contains(string(result), `"isError":true`) {
					t.Fatalf("%s %s: %s", name, args, result)
				}
				continue
			}
			sent[name]++
			checkIntended(t, name, args, req)
			if strings.Contains(dump(req), "hunter2") {
				t.Fatalf("%s %s: an argument was taken for a template: %s", name, args, dump(req))
			}
			u, _ := url.Parse(req.URL)
			segment, err := url.PathUnescape(strings.Split(u.EscapedPath(), "/")[3])
			if name == "piped" {
				continue // printf and trim change what is sent
			}
			if err != nil || segment != id {
				t.Fatalf("%s %s: path segment is %q (%v), not %q", name, args, segment, err, id)
			}
			if got := u.Query()["q"]; len(got) != 1 || got[0] != q {
				t.Fatalf("%s %s: q is %q, not %q", name, args, got, q)
			}
			var body map[string]string
			if err := json.Unmarshal(req.Body, &body); err != nil || body["b"] != b {
				t.Fatalf("%s %s: body is %s", name, args, req.Body)
			}
		}
	}
	for name := range s.Tools {
		if sent[name] < 5_000 {
			t.Errorf("%s: only %d requests were made", name, sent[name])
		}
	}
}

func checkIntended(t *testing.T, name, args string, req *Request) {
	t.Helper()
	hr, err := http.NewRequest(req.Method, req.URL, strings.NewReader(string(req.Body)))
	if err != nil {
		t.Fatalf("%s %s: %q: %v", name, args, req.URL, err)
	}
	u := hr.URL
	segments := strings.Split(u.EscapedPath(), "/")
	if u.Scheme != "https" || u.Host != "api.example.com" || u.User != nil || u.Fragment != "" || req.Host != "" {
		t.Fatalf("%s %s: goes to %q", name, args, req.URL)
	}
	if len(segments) != 5 || segments[1] != "v1" || segments[2] != "a" || segments[4] != "z" || segments[3] == "" || segments[3] == "." || segments[3] == ".." {
		t.Fatalf("%s %s: path is %q", name, args, u.EscapedPath())
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(q) != 1+len(q["q"]) || len(q["q"]) > 1 || q.Get("fixed") != "1" || len(q["fixed"]) != 1 {
		t.Fatalf("%s %s: query is %q", name, args, u.RawQuery)
	}
	allowed := map[string]bool{"X-F": true, "X-A": true, "Cookie": true, "Content-Type": true}
	for h, v := range req.Header {
		if !allowed[h] || len(v) != 1 || strings.ContainsAny(v[0], "\r\n\x00") {
			t.Fatalf("%s %s: header %s: %q", name, args, h, v)
		}
	}
	if req.Header["X-F"][0] != "f" || strings.Count(strings.Join(req.Header["Cookie"], ""), "=") > 1 && strings.Contains(req.Header["Cookie"][0], ";") {
		t.Fatalf("%s %s: headers are %v", name, args, req.Header)
	}
}

const roundTripService = `
upstream: {url: https://petstore.example.com}
tools:
  - {name: path, args: [{name: v, type: TYPE, required: true, position: path}], requestTemplate: {url: "/{v}"}}
  - {name: action, args: [{name: v, type: TYPE, required: true}], requestTemplate: {url: "/{{.args.v}}"}}
  - {name: piped, args: [{name: v, type: TYPE, required: true}], requestTemplate: {url: "/{{.args.v | default 1}}"}}
  - {name: query, args: [{name: v, type: TYPE, required: true, position: query}], requestTemplate: {url: "/x"}}
  - {name: header, args: [{name: v, type: TYPE, required: true, position: header}], requestTemplate: {url: "/x"}}
  - {name: cookie, args: [{name: v, type: TYPE, required: true, position: cookie}], requestTemplate: {url: "/x"}}
  - {name: form, args: [{name: v, type: TYPE, required: true}], requestTemplate: {url: "/x", argsToFormBody: true}}
  - {name: body, args: [{name: v, type: TYPE, required: true, position: body}], requestTemplate: {url: "/x"}}
  - {name: template, args: [{name: v, type: TYPE, required: true}], requestTemplate: {url: "/x", body: '{"v": {{.args.v}}}'}}
`

// carried reads the argument back out of a request, as a backend would. ok is false where the place cannot hold it.
func carried(t *testing.T, s *Service, tool, raw string) (text string, ok bool) {
	t.Helper()
	req, result, err := s.Tools[tool].Request(Call{Arguments: []byte(`{"v":` + raw + `}`)})
	if err != nil {
		t.Fatalf("%s %s: %v", tool, raw, err)
	}
	if req == nil {
		if !strings.Contains(string(result), `argument \"v\"`) && (tool != "piped" || !strings.Contains(string(result), "an argument holds . or ..")) {
			t.Fatalf("%s %s: the fault does not name the argument: %s", tool, raw, result)
		}
		return "", false
	}
	u, err := url.Parse(req.URL)
	if err != nil {
		t.Fatal(err)
	}
	switch tool {
	case "path", "action", "piped":
		text, err = url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	case "query":
		text = u.Query().Get("v")
	case "header":
		text = req.Header.Get("v")
	case "cookie":
		text, err = url.PathUnescape(strings.TrimPrefix(req.Header.Get("Cookie"), "v="))
	case "form":
		var q url.Values
		q, err = url.ParseQuery(string(req.Body))
		text = q.Get("v")
	default:
		var body struct{ V json.RawMessage }
		err = json.Unmarshal(req.Body, &body)
		text = string(body.V)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", tool, raw, err)
	}
	return text, true
}

var places = []string{"path", "action", "piped", "query", "header", "cookie", "form", "body", "template"}

func TestNumbersKeepTheirDigitsEverywhere(t *testing.T) {
	s := compileText(t, strings.ReplaceAll(roundTripService, "TYPE", "number"))
	numbers := []string{"0", "-0", "1000000", "12345678901234567890", "1e6", "1E+06", "-1.50", "0.1e-7", "9007199254740993", "1e400", "123456789.123456789123456789"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		numbers = append(numbers, fmt.Sprintf("%d.%de%d", r.Int64N(1e18), r.Int64N(1e18), r.IntN(600)-300), fmt.Sprint(r.Int64()))
	}
	for _, n := range numbers {
		for _, place := range places {
			if place == "piped" && strings.Trim(strings.SplitN(strings.ToLower(n), "e", 2)[0], "-0.") == "" {
				continue // default replaces a zero
			}
			if got, ok := carried(t, s, place, n); !ok || got != n {
				t.Errorf("%s: %s arrives as %q", place, n, got)
			}
		}
	}
}

func TestStringsArriveAsTheyWereGivenEverywhere(t *testing.T) {
	s := compileText(t, strings.ReplaceAll(roundTripService, "TYPE", "string"))
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		want := randomText(r)
		for _, place := range places {
			got, ok := carried(t, s, place, quoted(want))
			switch {
			case !ok && (place == "header" && !fieldValue(want) || want == "" && (place == "path" || place == "action")):
				continue
			case (place == "path" || place == "action" || place == "piped") && want != "":
				if template.DotSegment(appendSegment(nil, want)) == ok {
					t.Fatalf("%s: %q is sent: %t", place, want, ok)
				}
				if !ok {
					continue
				}
			case !ok:
				t.Fatalf("%s: %q is refused", place, want)
			case place == "header" && got == strings.Trim(want, " \t"), place == "piped" && want == "" && got == "1":
				continue // RFC 9110 5.5: blanks round a field value are no part of it
			case place == "body" || place == "template":
				var text string
				if err := json.Unmarshal([]byte(got), &text); err != nil {
					t.Fatalf("%s: %q arrives as %s", place, want, got)
				}
				got = text
			}
			if got != want {
				t.Fatalf("%s: %q arrives as %q", place, want, got)
			}
		}
	}
}
