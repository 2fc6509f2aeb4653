package convert

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// The credential that a proxy-upstreams document adds goes to the service's backend, and to no other host that a tool
// may name.
func TestUpstreamSecurityGoesToTheBackendOnly(t *testing.T) {
	def := parse(t, `
upstream: {url: https://petstore.example.com/v2}
tools:
  - {name: own, requestTemplate: {url: /x}}
  - {name: same, requestTemplate: {url: "https://PETSTORE.example.com/x"}}
  - {name: other, requestTemplate: {url: "https://other.example.com/x"}}
`)
	up, found := registry.ParseUpstream("petstore.yaml", []byte(`
securitySchemes: [{id: up, type: apiKey, in: header, name: X-Key, defaultCredential: "${credential:petstore/key}"}]
security: {id: up}
`))
	if up == nil {
		t.Fatal(found)
	}
	s, found := Compile(def.WithUpstream(up), Options{Secrets: testVault})
	if len(found) > 0 {
		t.Fatal(found)
	}
	for tool, want := range map[string]string{"own": "s3cret-key", "same": "s3cret-key", "other": ""} {
		r, _, err := s.Tools[tool].Request(Call{})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("X-Key"); got != want {
			t.Errorf("%s: X-Key is %q, want %q", tool, got, want)
		}
		if bounded := len(r.SecretHosts) > 0; bounded != (want != "") {
			t.Errorf("%s: SecretHosts is %v", tool, r.SecretHosts)
		}
	}
	c, _, found := CompileCredential(def.WithUpstream(up), Options{Secrets: testVault})
	if c == nil {
		t.Fatal(found)
	}
	h := http.Header{}
	query, hosts, err := c.Apply(h, "a=1", Call{})
	if err != nil || query != "a=1" || h.Get("X-Key") != "s3cret-key" || len(hosts) != 1 {
		t.Errorf("applied %v, %q, %v, %v", h, query, hosts, err)
	}
}

// changing is a vault whose content changes between calls.
type changing struct{ value *string }

func (c changing) Lookup(service, ref string) (Secret, error) {
	if *c.value == "" {
		return Secret{}, errNoSecrets
	}
	return Secret{Value: secret.New(*c.value)}, nil
}

func TestAnEditedCredentialHoldsFromTheNextCallOn(t *testing.T) {
	value := "first"
	s, found := Compile(parse(t, `
server:
  config: {key: "${credential:petstore/key}"}
  securitySchemes: [{id: k, type: http, scheme: bearer, defaultCredential: "{{.config.key}}"}]
tools: [{name: x, requestTemplate: {url: "https://api.example.com/", security: {id: k}}}]
`), Options{Secrets: changing{&value}})
	if len(found) > 0 {
		t.Fatal(found)
	}
	for _, value = range []string{"first", "second", "third\n"} {
		r, _, err := s.Tools["x"].Request(Call{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.Header.Get("Authorization"), "Bearer "+strings.TrimSpace(value); got != want {
			t.Errorf("Authorization is %q, want %q", got, want)
		}
	}
	value = ""
	r, result, err := s.Tools["x"].Request(Call{})
	if r != nil || err == nil || !strings.Contains(string(result), `"isError":true`) || strings.Contains(string(result), "petstore/key") {
		t.Errorf("with the credential gone: %v, %s, %v", r, result, err)
	}
}

func TestPreviewShowsNoCredential(t *testing.T) {
	s := compileText(t, `
server:
  config: {apiKey: "${credential:petstore/key}", inline: written-in-the-file}
  securitySchemes:
    - {id: inQuery, type: apiKey, in: query, name: api_key, defaultCredential: "${credential:petstore/odd}"}
    - {id: basic, type: http, scheme: basic, defaultCredential: "${credential:petstore/basic}"}
upstream: {url: https://petstore.example.com/v2}
tools:
  - name: query
    args: [{name: a}]
    requestTemplate:
      url: "/x?a={{.args.a}}"
      method: POST
      headers: [{key: X-Token, value: "{{.config.inline}}"}, {key: X-Note, value: "key is {{.config.apiKey}}"}]
      body: '{"k":"${credential:petstore/odd}","t":"{{ ${nacos.key/credentials}.token }}"}'
      security: {id: inQuery}
  - name: basic
    requestTemplate: {url: /x, security: {id: basic}}
`)
	want := map[string]string{
		"query": `POST https://petstore.example.com/v2/x?a=1&api_key=***
Content-Type: application/json; charset=utf-8
X-Note: key is ***
X-Token: ***

{"k":"***","t":"***"}
`,
		"basic": `GET https://petstore.example.com/v2/x
Authorization: Basic ***
`,
	}
	for tool, want := range want {
		r, _, err := s.Tools[tool].Request(Call{Arguments: []byte(`{"a":"1"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Preview("https://petstore.example.com/v2/")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tool, diff)
		}
	}
}

func TestForwardedHeaders(t *testing.T) {
	def := parse(t, `
upstream: {url: https://petstore.example.com, forwardHeaders: [X-Tenant]}
tools: [{name: x, requestTemplate: {url: /, headers: [{key: Baggage, value: own}]}}]
`)
	s, _ := Compile(def, Options{ForwardHeaders: []string{"traceparent", "baggage", "mcp-session-id", "connection"}})
	h := http.Header{}
	for _, name := range []string{"Traceparent", "Baggage", "Mcp-Session-Id", "Connection", "X-Tenant", "Authorization", "Cookie", "X-Higress-Mcpserver-Config"} {
		h.Set(name, "client's")
	}
	h.Add("X-Tenant", "nmp_key_in_disguise")
	r, _, err := s.Tools["x"].Request(Call{Header: h})
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Traceparent": {"client's"}, "X-Tenant": {"client's"}, "Baggage": {"own"}}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// Hostile schemas and arguments end in bounded time (A33); the bound is generous, for busy machines.
// Seen to fail without the cost check in schema.validate: "recursion that doubles" then ran for ten minutes.
func TestA33_SchemasAreRejectedOrBounded(t *testing.T) {
	deep := `{"type":"object","properties":{"x":{"$ref":"#/$defs/n"}},"$defs":{"n":{"anyOf":[{"properties":{"c":{"$ref":"#/$defs/n"},"a":{"type":"string"}}},{"properties":{"c":{"$ref":"#/$defs/n"},"b":{"type":"string"}}}]}}}`
	var wide strings.Builder
	wide.WriteString(`{"type":"object","$ref":"#/$defs/a0","$defs":{`)
	for i := range 40 {
		fmt.Fprintf(&wide, `"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	wide.WriteString(`"a40":{"type":"object"}}}`)
	nested := strings.Repeat(`{"c":`, 50) + `{"a":1,"b":1}` + strings.Repeat(`}`, 50)
	for _, test := range []struct{ name, schema, args, want string }{
		{"remote reference", `{"type":"object","properties":{"x":{"$ref":"https://example.com/s.json"}}}`, ``, "references outside the document are not followed"},
		{"file reference", `{"type":"object","properties":{"x":{"$ref":"file:///etc/passwd"}}}`, ``, "references outside the document are not followed"},
		{"reference to itself", `{"type":"object","properties":{"x":{"$ref":"#/properties/x"}}}`, ``, "refers to itself"},
		{"doubling references", wide.String(), ``, "too costly"},
		{"recursion that doubles", deep, `{"x":` + nested + `}`, "nested too deeply"},
		{"harmless recursion", deep, `{"x":{"c":{"a":"s"}}}`, ``},
		{"deep nesting", `{"type":"object"}`, `{"x":` + strings.Repeat("[", 100_000), "nested deeper than"},
		{"huge exponent", `{"type":"object","properties":{"x":{"type":"integer","minimum":1}}}`, `{"x":1e999999999}`, "exponent"},
		{"huge exponent in text", `{"type":"object","properties":{"x":{"type":"integer","minimum":1}}}`, `{"x":"1e999999999"}`, "must be integer"},
		{"long number", `{"type":"object","properties":{"x":{"type":"number","multipleOf":0.1}}}`, `{"x":` + strings.Repeat("9", 1_000_000) + `}`, "longer than"},
		{"pattern that backtracks elsewhere", `{"type":"object","properties":{"x":{"pattern":"^(a+)+$"}}}`, `{"x":"` + strings.Repeat("a", 50_000) + `!"}`, "does not match"},
		{"schema nested deeply", `{"type":"object","properties":` + strings.Repeat(`{"not":`, 5000) + `{}` + strings.Repeat("}", 5001), ``, "nested deeper than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			def := &registry.Definition{Name: "s", Backend: registry.Backend{URL: "https://api.example.com"}, Tools: []registry.Tool{{
				Name: "x", InputSchema: []byte(test.schema), Request: registry.RequestTemplate{URL: "/x", Method: "GET"}}}}
			s, found := Compile(def, Options{})
			got := ""
			for _, r := range found {
				got += r.Message
			}
			if test.args != "" && s.Tools["x"] != nil {
				_, result, _ := s.Tools["x"].Request(Call{Arguments: []byte(test.args)})
				got += string(result)
			}
			if !strings.Contains(got, test.want) || (test.want == "" && got != "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
