package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What documents ask for and can never get is warned of, and rejects nothing. Seen red without each of the looks: at names
// in grants, and at headers to be forwarded.
func TestCheckWarnsOfWhatIsAskedInVain(t *testing.T) {
	s := newShell(t)
	tools := func(forward, more string) string {
		return "server: {securitySchemes: [{id: k, type: apiKey, in: header, name: X-Service, defaultCredential: s}]}\n" +
			"upstream: {url: http://127.0.0.1:1, forwardHeaders: [" + forward + "]}\n" +
			"tools:\n  - {name: get_pet, args: [{name: t}], requestTemplate: {url: /x" + more + "}}\n"
	}
	s.put("proxy-services/fine.yaml", tools("X-Tenant, X-Service, Authorization", ""))
	s.put("proxy-grants/fine.yaml", "tools: {get_pet: [], \"get_*\": [], \"*\": []}\nlimits:\n  rps: 1\n  tools: {get_pet: {rps: 1}, \"*_pet\": {rps: 1}}\n")
	s.put("proxy-services/forward.yaml", tools("X-Tenant, X-API-Key, x-service, X-Fixed, accept-encoding", ", security: {id: k}, headers: [{key: X-Fixed, value: f}, {key: X-Tenant, value: \"{{.args.t}}\"}]"))
	s.put("proxy-services/direct.yaml", "upstream: {url: http://127.0.0.1:1, forwardHeaders: [X-Tenant]}\ntools:\n  - {name: a, responseTemplate: {body: b}}\n")
	s.put("proxy-services/added.yaml", service)
	s.put("proxy-upstreams/added.yaml", "securitySchemes: [{id: u, type: http, scheme: bearer, defaultCredential: s}]\nsecurity: {id: u}\nforwardHeaders: [Authorization, X-Tenant]\n")
	s.put("proxy-services/passed.yaml", "server: {securitySchemes: [{id: u, type: http, scheme: bearer, defaultCredential: s}]}\nupstream: {url: http://127.0.0.1:1, transport: streamable, security: {id: u}, forwardHeaders: [Authorization, X-Tenant]}\n")
	s.put("proxy-grants/passed.yaml", "tools: {whatever: []}\n")
	s.put("proxy-grants/forward.yaml", "auth: disabled\nlimits:\n  concurrent: 2\n  tools: {get_pot: {rps: 1}}\n")
	s.put("proxy-grants/added.yaml", "tools:\n  get_pet: []\n  get_pets: []\n  \"list_*\": []\n  nmp_alice_0123456789: []\n")
	out := s.must("check")
	var got []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "warning: ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`proxy-grants/added.yaml:3: warning: tools.get_pets: the service offers no tool of the name "get_pets" (did you mean "get_pet"?)`,
		`proxy-grants/added.yaml:4: warning: tools.list_*: the service offers no tool of the name "list_*"`,
		`proxy-grants/added.yaml:5: warning: tools.…: the service offers no tool of the name "…"`,
		`proxy-grants/forward.yaml:3: warning: limits.tools.get_pot: the service offers no tool of the name "get_pot" (did you mean "get_pet"?)`,
		`proxy-services/direct.yaml: warning: upstream.forwardHeaders: X-Tenant never reaches the backend: no tool of the service calls a backend`,
		`proxy-services/forward.yaml: warning: upstream.forwardHeaders: X-Api-Key never reaches the backend: the proxy's own keys are presented there (access.sources), and stay here`,
		`proxy-services/forward.yaml: warning: upstream.forwardHeaders: X-Service never reaches the backend: every tool that calls a backend sets it itself`,
		`proxy-services/forward.yaml: warning: upstream.forwardHeaders: X-Fixed never reaches the backend: every tool that calls a backend sets it itself`,
		`proxy-services/forward.yaml: warning: upstream.forwardHeaders: Accept-Encoding never reaches the backend: the proxy says itself which encodings it can read`,
		`proxy-services/passed.yaml: warning: upstream.forwardHeaders: Authorization never reaches the backend: the service's own credential stands there`,
		`proxy-upstreams/added.yaml: warning: forwardHeaders: Authorization never reaches the backend: the service's own credential stands there`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, out)
	}
}
