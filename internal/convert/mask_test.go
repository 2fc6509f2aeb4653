package convert

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/text/encoding/unicode"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// A credential with everything that encoders treat in their own ways.
const echoedSecret = `s3c/ret+"<&é 1234567`

const echoService = `
server:
  config: {key: "${credential:petstore/echo}"}
  securitySchemes: [{id: k, type: apiKey, in: query, name: api_key, defaultCredential: "{{.config.key}}"}]
upstream: {url: https://petstore.example.com}
tools:
  - {name: raw, requestTemplate: {url: /x, security: {id: k}}}
  - {name: structured, outputSchema: {type: object}, requestTemplate: {url: /x, security: {id: k}}}
  - {name: templated, requestTemplate: {url: "/x?k={{.config.key}}"}, responseTemplate: {body: "{{range splitList \"\" .echo}}{{.}}-{{end}} {{upper .echo}} {{b64enc .echo}} {{.a}}{{.b}}"}, errorResponseTemplate: "{{upper .echo}} {{index ._headers \"location\" | lower}}"}
  - {name: fails, requestTemplate: {url: "/x?k={{.config.key}}"}, responseTemplate: {body: "{{fail .echo}}"}}
  - {name: fails_early, args: [{name: a}], requestTemplate: {url: "/x?k={{.config.key}}&a={{fail .args.a}}"}}
  - {name: fails_before, args: [{name: a}], requestTemplate: {url: "/x?a={{fail .args.a}}"}}
  - {name: without, requestTemplate: {url: /x}}
  - {name: short, requestTemplate: {url: "/x?k=${credential:petstore/short}"}}
`

func echoTools(t testing.TB) *Service {
	vault := vault{"credential:petstore/echo": {Value: secret.New(echoedSecret + "\n")}, "credential:petstore/short": {Value: secret.New("1234567")}}
	s, found := Compile(parse(t, echoService), Options{Secrets: vault})
	for _, r := range found {
		t.Fatal(r)
	}
	return s
}

// echoes are the ways in which a backend may send a credential back.
func echoes() map[string]string {
	inJSON, _ := json.Marshal(echoedSecret)
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(echoedSecret)
	trimmed := strings.Trim(strings.TrimSpace(plain.String()), `"`)
	forms := map[string]string{
		"raw": echoedSecret, "query": url.QueryEscape(echoedSecret), "path": url.PathEscape(echoedSecret),
		"json": string(inJSON[1 : len(inJSON)-1]), "json plain": trimmed,
		"json slashes": strings.ReplaceAll(trimmed, "/", `\/`), "html": html.EscapeString(echoedSecret),
		"unreserved": string(queryEscape(nil, echoedSecret)), "lower escapes": lowerEscapes(string(queryEscape(nil, echoedSecret))),
	}
	for i, before := range []string{"", "a", "ab", "Basic: user:"} {
		forms["base64 "+string(rune('0'+i))] = base64.StdEncoding.EncodeToString([]byte(before + echoedSecret + " and more"))
		forms["base64 url "+string(rune('0'+i))] = base64.RawURLEncoding.EncodeToString([]byte(before + echoedSecret))
	}
	return forms
}

// leaks reports whether an echo came through, but for what stands at its ends.
func leaks(result []byte, echo string) bool {
	runes := []rune(echo)
	return bytes.Contains(result, []byte(string(runes[2:len(runes)-3])))
}

// Whatever a backend sends back, the credential that was sent to it does not reach the client.
// Seen red with, one by one: hide left out of body, header, the text of another charset, the template's output, Conceal;
// and with each form of appendForms taken out.
func TestCredentialsDoNotComeBack(t *testing.T) {
	s := echoTools(t)
	for name, echo := range echoes() {
		literal, _ := json.Marshal(echo)
		if strings.HasPrefix(name, "json") {
			literal = []byte(`"` + echo + `"`)
		}
		body := []byte(`{"echo":` + string(literal) + `,"n":1}`)
		encode := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().Bytes
		utf16, _ := encode([]byte("you sent " + echo))
		// Escapes that nobody needs, in a charset in which nothing is found before it is decoded.
		needless, _ := encode(bytes.ReplaceAll(body, []byte("s3c"), []byte(`\u00733c`)))
		for _, answer := range []struct {
			tool   string
			status int
			header http.Header
			body   []byte
		}{
			{"raw", 200, http.Header{"Content-Type": {"application/json"}}, body},
			{"raw", 200, http.Header{"Content-Type": {"text/plain"}}, []byte("you sent " + echo + " and " + echo)},
			{"raw", 200, http.Header{"Content-Type": {"text/plain; charset=utf-16"}}, utf16},
			{"raw", 200, http.Header{"Content-Type": {"application/json; charset=utf-16"}}, needless},
			{"raw", 500, http.Header{"Content-Type": {"application/json; charset=utf-16"}}, needless},
			{"raw", 404, http.Header{"Content-Type": {"text/html"}}, []byte("<h1>no such page: /x?api_key=" + echo + "</h1>")},
			{"raw", 302, http.Header{"Location": {"/login?" + echo}}, []byte("moved to /login?" + echo)},
			{"raw", 200, http.Header{"Content-Type": {"image/png"}}, []byte("png" + echo)},
			{"raw", 200, http.Header{"Content-Type": {"application/pdf"}}, []byte("pdf" + echo)},
			{"raw", 200, http.Header{"Content-Type": {"application/" + url.PathEscape(echo)}}, []byte{0, 1, 2}},
			{"structured", 200, http.Header{"Content-Type": {"application/json"}}, body},
			{"templated", 500, http.Header{"Content-Type": {"application/json"}, "Location": {"/a?" + echo}}, body},
			{"fails", 200, http.Header{"Content-Type": {"application/json"}}, body},
		} {
			w := new(Work)
			if _, _, err := s.Tools[answer.tool].RequestIn(w, http.Header{}, Call{}); err != nil {
				t.Fatal(err)
			}
			result := s.Tools[answer.tool].ResultIn(w, Call{}, answer.status, answer.header, answer.body)
			folded := bytes.ToLower(result)
			if unescaped := unescapeJSON(bytes.ReplaceAll(result, []byte(`\\`), []byte(`\`))); leaks(result, echo) || leaks(unescaped, echo) || leaks(result, echoedSecret) || leaks(folded, strings.ToLower(echo)) || !json.Valid(result) {
				t.Errorf("%s, %s %d: %s", name, answer.tool, answer.status, result)
			}
			pieces := [][]byte{[]byte("a " + echo), []byte("b")}
			if got := s.Tools[answer.tool].GatheredResult(w, Call{}, answer.status, answer.header, pieces); leaks(got, echo) {
				t.Errorf("%s, %s in pieces: %s", name, answer.tool, got)
			}
			if got := s.Tools[answer.tool].Conceal(w, []byte("a "+echo)); leaks(got, echo) {
				t.Errorf("%s, %s, told of: %s", name, answer.tool, got)
			}
		}
	}
	// a template that puts it together again, or takes it apart
	w := new(Work)
	if _, _, err := s.Tools["templated"].RequestIn(w, http.Header{}, Call{}); err != nil {
		t.Fatal(err)
	}
	whole, _ := json.Marshal(echoedSecret)
	a, _ := json.Marshal(echoedSecret[:8])
	b, _ := json.Marshal(echoedSecret[8:])
	got := s.Tools["templated"].ResultIn(w, Call{}, 200, http.Header{}, []byte(`{"echo":`+string(whole)+`,"a":`+string(a)+`,"b":`+string(b)+`}`))
	if want := `{"content":[{"type":"text","text":"*-*-*- *** Kioq ***"}]}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What was not used is not searched for, nor what is too short; and a credential that is gone from one call to the next
// is replaced by the new one.
func TestOnlyTheCallsOwnCredentialsAreReplaced(t *testing.T) {
	s := echoTools(t)
	for tool, want := range map[string]string{"without": echoedSecret, "short": "1234567"} {
		w := new(Work)
		if _, _, err := s.Tools[tool].RequestIn(w, http.Header{}, Call{}); err != nil {
			t.Fatal(err)
		}
		got := s.Tools[tool].ResultIn(w, Call{}, 200, http.Header{"Content-Type": {"text/plain"}}, []byte(want))
		if bytes.Contains(got, []byte(mask)) || !bytes.Contains(got, []byte("234567")) {
			t.Errorf("%s: %s", tool, got)
		}
	}
	value := "first-credential"
	s, _ = Compile(parse(t, echoService), Options{Secrets: changing{&value}})
	for _, value = range []string{"first-credential", "second-credential"} {
		w := new(Work)
		if _, _, err := s.Tools["raw"].RequestIn(w, http.Header{}, Call{}); err != nil {
			t.Fatal(err)
		}
		got := s.Tools["raw"].ResultIn(w, Call{}, 200, http.Header{"Content-Type": {"text/plain"}}, []byte("first-credential second-credential"))
		if want := strings.Replace("first-credential second-credential", value, mask, 1); !bytes.Contains(got, []byte(want)) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// After a credential was looked up, a template's failure says no more than where.
func TestTemplateErrorsHaveAFixedTextOnceACredentialWasLookedUp(t *testing.T) {
	s := echoTools(t)
	for tool, want := range map[string]string{
		"fails_early":  `the tool's template failed at requestTemplate.url:1:26`,
		"fails_before": `the tool's template failed: requestTemplate.url:1:8: fail: told`,
	} {
		r, result, err := s.Tools[tool].Request(Call{Arguments: []byte(`{"a":"told"}`)})
		if r != nil || err != nil || string(result) != `{"content":[{"type":"text","text":"`+want+`"}],"isError":true}` {
			t.Errorf("%s: %s, %v", tool, result, err)
		}
	}
	w := new(Work)
	if _, _, err := s.Tools["fails"].RequestIn(w, http.Header{}, Call{}); err != nil {
		t.Fatal(err)
	}
	got := s.Tools["fails"].ResultIn(w, Call{}, 200, http.Header{}, []byte(`{"echo":"told"}`))
	if want := `{"content":[{"type":"text","text":"the tool's template failed at responseTemplate.body:1:3"}],"isError":true}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The caller's own credential, handed on, is the caller's to see: it is masked where a request is shown to somebody, and
// stays in results.
func TestTheCallersOwnCredentialStaysInResults(t *testing.T) {
	s := compileText(t, `
server: {securitySchemes: [{id: user, type: http, scheme: bearer}]}
upstream: {url: https://api.example.com}
tools: [{name: whoami, security: {id: user, passthrough: true}, requestTemplate: {url: /me}}]
`)
	w := new(Work)
	r, _, err := s.Tools["whoami"].RequestIn(w, http.Header{}, Call{Header: http.Header{"Authorization": {"Bearer callers-own-token"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Preview(""); strings.Contains(got, "callers-own") {
		t.Errorf("shown as %s", got)
	}
	if got := s.Tools["whoami"].ResultIn(w, Call{}, 200, http.Header{"Content-Type": {"text/plain"}}, []byte("callers-own-token")); !bytes.Contains(got, []byte("callers-own-token")) {
		t.Errorf("got %s", got)
	}
}

// The token without the word before it, and the password without the user, are no less secret.
func TestPartsOfACredentialAreReplaced(t *testing.T) {
	vault := vault{"credential:petstore/word": {Value: secret.New("Bearer tok-12345678")}, "credential:petstore/login": {Value: secret.New("ann:pass-12345678")},
		"credential:petstore/encoded": {Value: secret.New(base64.StdEncoding.EncodeToString([]byte("ann:pass-12345678")))}}
	s, found := Compile(parse(t, `
server:
  securitySchemes: [{id: bearer, type: http, scheme: bearer}, {id: basic, type: http, scheme: basic}]
upstream: {url: https://petstore.example.com}
tools:
  - {name: bearer, requestTemplate: {url: /x, security: {id: bearer, credential: "${credential:petstore/word}"}}}
  - {name: header, requestTemplate: {url: /x, headers: [{key: Authorization, value: "${credential:petstore/word}"}]}}
  - {name: login, requestTemplate: {url: /x, security: {id: basic, credential: "${credential:petstore/login}"}}}
  - {name: encoded, requestTemplate: {url: /x, security: {id: basic, credential: "Basic ${credential:petstore/encoded}"}}}
`), Options{Secrets: vault})
	for _, r := range found {
		t.Fatal(r)
	}
	for tool, echo := range map[string]string{"bearer": "tok-12345678", "header": "tok-12345678", "login": "pass-12345678", "encoded": "pass-12345678"} {
		w := new(Work)
		if _, _, err := s.Tools[tool].RequestIn(w, http.Header{}, Call{}); err != nil {
			t.Fatal(err)
		}
		got := s.Tools[tool].ResultIn(w, Call{}, 200, http.Header{"Content-Type": {"text/plain"}}, []byte("got "+echo))
		if want := `{"content":[{"type":"text","text":"got ***"}]}`; string(got) != want {
			t.Errorf("%s: %s", tool, got)
		}
	}
}

// A credential that a template prints over and over is searched for once, and so many lookups end the template: printed
// two million times it took gigabytes to search for. Seen red with reveal appending what it finds, and without lookUpSteps.
func TestA33_CredentialsOfACallAreBounded(t *testing.T) {
	many := map[string]string{}
	for i := range 300 {
		many[strings.Repeat("k", i+1)] = strings.Repeat("secret-", 2) + strings.Repeat("v", i)
	}
	doc, _ := json.Marshal(many)
	s, found := Compile(parse(t, `
server: {name: x}
upstream: {url: https://petstore.example.com}
tools:
  - {name: often, requestTemplate: {url: /x, method: POST, body: "{{range 3000}}${credential:petstore/echo}{{end}}"}}
  - {name: endless, requestTemplate: {url: /x, method: POST, body: "{{range 100000}}${credential:petstore/echo}{{end}}"}}
  - {name: many, requestTemplate: {url: /x, method: POST, body: "${nacos.many.json/proxy-credentials}"}}
`), Options{Secrets: vault{"credential:petstore/echo": {Value: secret.New(echoedSecret)}, "nacos.many.json/proxy-credentials": {Value: secret.New(string(doc))}}})
	for _, r := range found {
		t.Fatal(r)
	}
	w := new(Work)
	if r, finished, err := s.Tools["often"].RequestIn(w, http.Header{}, Call{Arguments: []byte("{}")}); r == nil || err != nil {
		t.Fatalf("%s, %v", finished, err)
	}
	if n := len(w.execution.seen); n != 1 {
		t.Errorf("one credential counts as %d", n)
	}
	for _, name := range []string{"endless", "many"} {
		if r, finished, _ := s.Tools[name].RequestIn(new(Work), http.Header{}, Call{Arguments: []byte("{}")}); r != nil || bytes.Contains(finished, []byte("secret-")) {
			t.Errorf("%s: %s", name, finished)
		}
	}
}

// countingVault counts what is looked up.
type countingVault struct {
	vault
	n map[string]int
}

func (c countingVault) Lookup(service, ref string) (Secret, error) {
	c.n[ref]++
	return c.vault.Lookup(service, ref)
}

// TestADocumentIsReadOnceForACall: however often it is printed, when a tool is compiled as when it is called.
// Seen red with a lookup, and with reading the document as JSON, for each time that it is printed.
func TestADocumentIsReadOnceForACall(t *testing.T) {
	const ref = "nacos.keys/proxy-credentials"
	doc := `{"filler":"` + strings.Repeat("f", 256<<10) + `","key":"the-secret-key"}`
	c := countingVault{vault{ref: {Value: secret.New(doc), Path: true}}, map[string]int{}}
	s, found := Compile(parse(t, `
server: {name: x}
upstream: {url: https://petstore.example.com}
tools:
  - {name: often, requestTemplate: {url: "/x{{range 100}}{{${nacos.keys/proxy-credentials}.key}}{{end}}", method: POST, body: "{{range 2000}}{{${nacos.keys/proxy-credentials}.key}}{{end}}"}}
`), Options{Secrets: c})
	for _, r := range found {
		t.Fatal(r)
	}
	if c.n[ref] > 10 {
		t.Errorf("looked up %d times to be compiled", c.n[ref])
	}
	c.n[ref] = 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := new(Work)
	r, finished, err := s.Tools["often"].RequestIn(w, http.Header{}, Call{Arguments: []byte("{}")})
	runtime.ReadMemStats(&after)
	if r == nil || err != nil {
		t.Fatalf("%s, %v", finished, err)
	}
	if c.n[ref] != 1 {
		t.Errorf("looked up %d times for a call", c.n[ref])
	}
	if n := bytes.Count(r.Body, []byte("the-secret-key")); n != 2000 {
		t.Errorf("printed %d times", n)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 100<<20 {
		t.Errorf("%d MiB were allocated", made>>20)
	}
	if w.Reset(); len(w.execution.known) > 0 || cap(w.execution.known) > 0 && w.execution.known[:1][0].ref != "" {
		t.Error("credentials are kept after a call")
	}
}
