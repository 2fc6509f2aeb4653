package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// assembled gives the tools of a registry import as the proxy sees them once Nacos has stored them.
func assembled(t *testing.T, r *RegistryResult) *convert.Service {
	t.Helper()
	const id = "3f0e9bb6-5b2c-4a3e-9d7e-0a1b2c3d4e5f"
	var server struct {
		Name, Protocol, Description string
	}
	if err := json.Unmarshal(r.ServerSpecification, &server); err != nil {
		t.Fatal(err)
	}
	manifest, found := registry.ParseManifest(id+"-mcp-versions.json", fmt.Appendf(nil,
		`{"id":%q,"name":%q,"protocol":%q,"enabled":true,"status":"active","latestPublishedVersion":"1.0.0","versionDetails":[{"version":"1.0.0"}]}`, id, server.Name, server.Protocol))
	spec, more := registry.ParseSpec(id+"-1.0.0-mcp-server.json", fmt.Appendf(nil,
		`{"id":%q,"name":%q,"protocol":%q,"enabled":true,"status":"active","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"mcp-endpoints","serviceName":"x::1.0.0","transportProtocol":"https"},"exportPath":"/"}}`, id, server.Name, server.Protocol))
	found = append(found, more...)
	tools, more := registry.ParseTools(id+"-1.0.0-mcp-tools.json", r.ToolSpecification)
	found = append(found, more...)
	def, more := registry.Assemble(manifest, "1.0.0", spec, tools)
	found = append(found, more...)
	service, more := convert.Compile(def, convert.Options{Secrets: secrets{}})
	for _, r := range append(found, more...) {
		t.Errorf("rejected: %v", r)
	}
	return service
}

func TestRegistryFormSendsTheSame(t *testing.T) {
	prefix := map[string]string{"library.yaml": "/api", "warehouse.json": "/v1", "payments.yaml": ""}
	for _, name := range descriptions {
		r, err := ImportRegistry(t.Context(), read(t, "testdata/good/"+name), "", options(name))
		if err != nil {
			t.Fatal(err)
		}
		service := assembled(t, r)
		for _, call := range calls {
			if call.description != name || call.tool == "chapter" { // the registry cannot say that slashes stay
				continue
			}
			t.Run(name+" "+call.name, func(t *testing.T) {
				method, rest, _ := strings.Cut(call.want, " ")
				want := method + " " + prefix[name] + rest
				if diff := cmp.Diff(normal(want), normal(sent(t, service, call.tool, call.arguments))); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// normal makes requests comparable that say the same: the order of query parameters, an empty last pair and the two ways
// of writing a blank in a form do not matter.
func normal(request string) string {
	line, rest, _ := strings.Cut(request, "\n")
	head, query, _ := strings.Cut(line, "?")
	pairs := strings.Split(query, "&")
	slices.Sort(pairs)
	if strings.Contains(rest, mediaForm) {
		rest = strings.ReplaceAll(strings.TrimSuffix(rest, "&"), "%20", "+")
	}
	return head + "?" + strings.Join(pairs, "&") + "\n" + rest
}

func TestRegistryForm(t *testing.T) {
	const src = `{"openapi":"3.0.0","info":{"title":"T"},"servers":[{"url":"https://[::1]/base"}],
		"paths":{"/x":{"get":{"operationId":"x","security":[{"k":[]}],"parameters":[{"name":"q","in":"query","schema":{"type":"string"}}]}}},
		"components":{"securitySchemes":{"k":{"type":"apiKey","in":"header","name":"X-Key"}}}}`
	r, err := ImportRegistry(t.Context(), []byte(src), "2.0.0", Options{Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name, want string
		got        []byte
	}{
		{"server", `{"protocol":"https","frontProtocol":"mcp-streamable","name":"demo","description":"T","versionDetail":{"version":"2.0.0"},"enabled":true,"capabilities":["TOOL"],"remoteServerConfig":{"exportPath":"/"}}`, r.ServerSpecification},
		{"tools", `{"tools":[{"name":"x","description":"GET /x","inputSchema":{"type":"object","properties":{"q":{"type":"string"}}},"annotations":{"readOnlyHint":true}}],` +
			`"toolsMeta":{"x":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/base/x","method":"GET","security":{"id":"k"}},"responseTemplate":{},"argsPosition":{"q":"query"}}}}},` +
			`"securitySchemes":[{"id":"k","type":"apiKey","in":"header","name":"X-Key","defaultCredential":"${credential:demo/k}"}]}`, r.ToolSpecification},
		{"endpoint", `{"type":"DIRECT","data":{"address":"::1","port":"443","transportProtocol":"https"}}`, r.EndpointSpecification},
	} {
		if diff := cmp.Diff(part.want, string(part.got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", part.name, diff)
		}
	}
}
