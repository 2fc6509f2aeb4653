package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWinsGivesEveryNameToOne(t *testing.T) {
	ours, ours2 := Origin{GroupServices, "a.json"}, Origin{GroupServices, "a.yaml"}
	small, large := Origin{GroupManifests, "0b"}, Origin{GroupManifests, "a0"}
	order := []Origin{ours, ours2, small, large}
	for i, a := range order {
		for j, b := range order {
			if got, want := Wins(a, b), i < j; got != want {
				t.Errorf("Wins(%v, %v) = %v, want %v", a, b, got, want)
			}
		}
	}
}

// A40: a consumer document that repeats another's digest gains nothing and takes nothing away.
func TestA40_ADigestHeldByAnotherCountsForItsHolderOnly(t *testing.T) {
	alice, _ := ParseConsumer("alice.yaml", []byte("keys: [{id: a, value: hunter2hunter2hunter2}]"))
	mallory, _ := ParseConsumer("mallory.yaml", []byte("groups: [g]\nkeys:\n  - {id: own, value: mallory-mallory-mallory}\n  - {id: stolen, value: hunter2hunter2hunter2}\n"))
	held := map[[32]byte]string{}
	holder := func(d [32]byte) string { return held[d] }
	claim := func(c *Consumer) (*Consumer, []Rejection) {
		got, found := ClaimKeys(c.Name+".yaml", c, holder)
		for _, k := range got.Keys {
			held[k.Digest] = c.Name
		}
		return got, found
	}
	if got, found := claim(alice); got != alice || len(found) > 0 {
		t.Errorf("the first: %v %v", got, found)
	}
	got, found := claim(mallory)
	if len(got.Keys) != 1 || got.Keys[0].ID != "own" || len(mallory.Keys) != 2 {
		t.Errorf("the newcomer keeps %v of %v", got.Keys, mallory.Keys)
	}
	const want = `proxy-consumers/mallory.yaml:4: keys[1]: key "stolen" is held by another consumer already and does not count here`
	if len(found) != 1 || found[0].Error() != want {
		t.Errorf("got  %v\nwant %s", found, want)
	}
	if got, found := claim(alice); got != alice || len(found) > 0 {
		t.Errorf("the holder again: %v %v", got, found)
	}
}

func TestUnknownNamesAreWarnings(t *testing.T) {
	g, _ := ParseGrants("petstore.yaml", []byte("consumers:\n  - alcie\n  - {group: reserch}\n  - bob\ntools:\n  get: [{group: ops}, nobody]\n"))
	var got []string
	for _, r := range UnknownNames("petstore.yaml", g, map[string]bool{"alice": true, "bob": true}, map[string]bool{"research": true}) {
		if !r.Warning {
			t.Errorf("%v rejects", r)
		}
		got = append(got, r.Error())
	}
	want := []string{
		`proxy-grants/petstore.yaml:2: warning: consumers[0]: there is no consumer "alcie" (did you mean "alice"?)`,
		`proxy-grants/petstore.yaml:3: warning: consumers[1]: no consumer is in a group "reserch" (did you mean "research"?)`,
		`proxy-grants/petstore.yaml:6: warning: tools.get[0]: no consumer is in a group "ops"`,
		`proxy-grants/petstore.yaml:6: warning: tools.get[1]: there is no consumer "nobody"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestUpstreamBeatsTheServicesOwn(t *testing.T) {
	def, found := ParseService("petstore.yaml", []byte(`
server: {securitySchemes: [{id: a, type: http, scheme: bearer, defaultCredential: old}, {id: b, type: http, scheme: basic}]}
upstream: {url: https://example.com, timeout: 5s, forwardHeaders: [X-C, X-A]}
tools: [{name: t, requestTemplate: {url: /t}}]
`))
	if def == nil {
		t.Fatal(found)
	}
	before := *def
	u, found := ParseUpstream("petstore.yaml", []byte(`
securitySchemes: [{id: a, type: http, scheme: bearer, defaultCredential: new}]
security: {id: b}
timeout: 7s
tls: {ca: /ca}
forwardHeaders: [x-a, x-b]
`))
	if u == nil {
		t.Fatal(found)
	}
	got := def.WithUpstream(u)
	want := Backend{URL: "https://example.com", Timeout: 7 * time.Second, TLS: &TLS{CA: "/ca", CALine: 5}, ForwardHeaders: []string{"X-C", "X-A", "X-B"}, Security: &SecurityRef{ID: "b"}}
	if diff := cmp.Diff(want, got.Backend); diff != "" {
		t.Errorf("backend: -want +got:\n%s", diff)
	}
	if s := got.SecuritySchemes; len(s) != 2 || s[0].DefaultCredential != "new" || s[1].ID != "b" {
		t.Errorf("schemes: %v", s)
	}
	if !got.HasScheme("b") || got.HasScheme("c") {
		t.Error("HasScheme")
	}
	if diff := cmp.Diff(before, *def); diff != "" {
		t.Errorf("the service's own changed: -before +after:\n%s", diff)
	}
	if diff := cmp.Diff(def, def.WithUpstream(nil)); diff != "" {
		t.Errorf("without upstream: -before +after:\n%s", diff)
	}
}

func TestBackendsArePlainURLs(t *testing.T) {
	cases := map[string]bool{
		"https://a.example.com": true, "http://10.0.0.1:8080/base/": true, "https://[::1]:8443": true, "https://a.example.com/mcp?x=1": true,
		"": false, "a.example.com": false, "//a.example.com": false, "file:///etc/passwd": false, "https://": false, "https://:80": false,
		"https://u@h/": false, "https://h/#f": false, "https://h/#": false, "https://{{.config.host}}/": false, "https://h:x/": false, "javascript:alert(1)": false,
	}
	for url, ok := range cases {
		def, found := ParseService("a.yaml", []byte("upstream: {transport: streamable, url: \""+url+"\"}"))
		if (def != nil) != ok {
			t.Errorf("%q: taken %v: %v", url, def != nil, found)
		}
	}
}

func TestExportPathsStayOnTheBackend(t *testing.T) {
	cases := map[string]string{"": "/", "/mcp": "/mcp", "mcp": "/mcp", "/mcp?key=1": "/mcp?key=1", "//evil": "", "http://evil/x": "", "/a b": "", "/a\nb": "", "/\\evil": "", "/a#b": "", "/%zz": ""}
	for path, want := range cases {
		def, found := Assemble(&Manifest{ID: "x", Name: "x", Protocol: "mcp-streamable"}, "1", &Spec{Ref: &SpecRef{Service: "s"}, ExportPath: path}, &ToolSet{})
		got := ""
		if def != nil {
			got = def.Backend.Path
		}
		if got != want {
			t.Errorf("%q: got %q, want %q: %v", path, got, want, found)
		}
	}
}

func TestHeadersThatMayCarryAKey(t *testing.T) {
	for _, name := range []string{"X-API-Key", "api-key", "Ocp-Apim-Subscription-Key", "X-Goog-Api-Key"} {
		if err := CheckKeyHeader(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range strings.Fields("host COOKIE set-cookie content-length Content-Foo mcp-name Mcp-Session-Id connection keep-alive te trailer upgrade transfer-encoding proxy-authorization proxy-x forwarded x-forwarded-host x-real-ip via accept accept-encoding origin referer user-agent authorization sec-fetch-mode if-match last-event-id expect traceparent x(y é") {
		if CheckKeyHeader(name) == nil {
			t.Errorf("%q may carry a key", name)
		}
	}
}
