package convert

import (
	"net/http"
	"strings"
	"testing"
)

const benchService = `
server:
  config: {base: "https://api.example.com/v1", key: secret}
  securitySchemes: [{id: k, type: apiKey, in: header, name: X-API-Key, defaultCredential: "{{.config.key}}"}]
upstream: {url: https://petstore.example.com/v2}
tools:
  - name: small
    description: A small call
    args: [{name: petId, type: integer, required: true, position: path}, {name: q, type: string, position: query}]
    requestTemplate: {url: "/pet/{petId}", security: {id: k}}
    responseTemplate: {body: "{{.name}} is {{.status}}"}
  - name: json
    args: [{name: name, type: string, required: true}, {name: age, type: integer}, {name: tags, type: array, items: {type: string}}]
    requestTemplate: {url: "/pet", method: POST, argsToJsonBody: true, headers: [{key: X-Key, value: "K {{.config.key}}"}]}
  - name: template
    args: [{name: id, type: string, required: true}, {name: note, type: string}]
    requestTemplate: {url: "{{.config.base}}/a/{{.args.id | upper}}", method: POST, body: '{"id": "{{.args.id}}", "note": {{.args.note}}}'}
`

func BenchmarkRequest(b *testing.B) {
	s := compileText(b, benchService)
	for tool, args := range map[string]string{
		"small":    `{"petId": 7, "q": "x y"}`,
		"json":     `{"name": "Rex", "age": 3, "tags": ["a", "b"]}`,
		"template": `{"id": "abc", "note": "hello \"world\""}`,
	} {
		b.Run(tool, func(b *testing.B) {
			c, w, h := Call{Arguments: []byte(args), Header: http.Header{}}, new(Work), http.Header{}
			b.ReportAllocs()
			for b.Loop() {
				w.Reset()
				clear(h)
				if r, _, err := s.Tools[tool].RequestIn(w, h, c); r == nil || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkResult(b *testing.B) {
	s := compileText(b, benchService)
	h := http.Header{"Content-Type": {"application/json"}}
	large := []byte(`{"list":"` + strings.Repeat("some text, ", 10_000) + `"}`)
	for _, bench := range []struct {
		name, tool string
		body       []byte
	}{
		{"template", "small", []byte(`{"id": 7, "name": "Rex", "status": "sold", "tags": [1, 2, 3]}`)},
		{"raw", "json", []byte(`{"id": 7, "name": "Rex", "status": "sold", "tags": [1, 2, 3]}`)},
		{"raw110k", "json", large},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := new(Work)
			b.ReportAllocs()
			for b.Loop() {
				w.Reset()
				s.Tools[bench.tool].ResultIn(w, Call{}, 200, h, bench.body)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	def := parse(b, benchService)
	b.ReportAllocs()
	for b.Loop() {
		Compile(def, Options{Secrets: testVault})
	}
}
