package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func TestMain(m *testing.M) {
	code := nacostest.Main(m)
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	if !promiseKept() && code == 0 {
		fmt.Println("half of the edits took more than the second within which they are to hold")
		code = 1
	}
	os.Exit(code)
}

// realNacos gives a source in a namespace of the test's own in a real Nacos.
func realNacos(t testing.TB) (*source, *nacostest.Server, string) {
	t.Helper()
	server := nacostest.Start(t)
	namespace := server.Namespace(t)
	s := nacosSource(t, server, namespace)
	return s, server, namespace
}

func nacosSource(t testing.TB, server *nacostest.Server, namespace string) *source {
	t.Helper()
	c, err := nacos.Connect(context.Background(), nacos.Config{
		Addresses: []string{server.Addr}, Namespace: namespace, Username: server.User, Password: nacos.NewSecret(server.Password), Logger: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &source{Source: c, configure: func(c *config.Config) {
		c.Source = config.SourceNacos
		c.Nacos.Addresses, c.Nacos.Namespace, c.Nacos.AccessNamespace = []string{server.Addr}, namespace, namespace
		c.Nacos.Username, c.Nacos.Password = server.User, nacos.NewSecret(server.Password)
	}}
}

// publishMCP publishes a service into Nacos's MCP registry the way its console does.
func publishMCP(t testing.TB, server *nacostest.Server, namespace, name, protocol, tools, address string) {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	publishEndpoint(t, server, namespace, name, protocol, tools, fmt.Sprintf(`{"type":"DIRECT","data":{"address":%q,"port":%q,"transportProtocol":"http"}}`, host, port))
}

// publishRef publishes a service whose instances are those of a naming service, as the console does for an existing one.
func publishRef(t testing.TB, server *nacostest.Server, namespace, name, protocol, tools, service string) {
	t.Helper()
	publishEndpoint(t, server, namespace, name, protocol, tools, fmt.Sprintf(`{"type":"REF","data":{"namespaceId":%q,"groupName":"DEFAULT_GROUP","serviceName":%q}}`, namespace, service))
}

func publishEndpoint(t testing.TB, server *nacostest.Server, namespace, name, protocol, tools, endpoint string) {
	t.Helper()
	spec := fmt.Sprintf(`{"name":%q,"protocol":%q,"frontProtocol":"mcp-streamable","description":"%s of the tests","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"exportPath":"/"},"enabled":true}`, name, protocol, name)
	form := url.Values{
		"namespaceId": {namespace}, "mcpName": {name}, "serverSpecification": {spec}, "endpointSpecification": {endpoint},
	}
	if tools != "" {
		form.Set("toolSpecification", tools)
	}
	server.MustAdmin(t, http.MethodPost, "/nacos/v3/admin/ai/mcp", nil, form)
}

const registryTools = `{"tools":[
 {"name":"get_item","description":"one item","inputSchema":{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}},
 {"name":"list_items","description":"all items","inputSchema":{"type":"object","properties":{"q":{"type":"string"}}}}],
 "toolsMeta":{"get_item":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/items/{{.args.id}}","method":"GET"},"responseTemplate":{"body":"{{.name}} costs {{.price}}"}}}},
 "list_items":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/items","method":"GET"},"argsPosition":{"q":"query"}}}}},"securitySchemes":[]}`

// fourKindsOnNacos publishes the four kinds into a real Nacos, those of the registry through its own admin API.
func fourKindsOnNacos(t testing.TB, s *source, server *nacostest.Server, namespace string) (*recorder, *httptest.Server) {
	api, backend := newRecorder(t, shop), mcpBackend(t)
	ownKinds(t, s, api, backend)
	publishMCP(t, server, namespace, "regstore", "http", registryTools, api.address())
	publishMCP(t, server, namespace, "regtools", "mcp-streamable", "", backend.Listener.Addr().String())
	return api, backend
}

// TestFourKindsOnNacos publishes everything into the real Nacos, calls it with curl and the official Python client in
// both eras, and revokes the grants by publishing the grants document.
func TestFourKindsOnNacos(t *testing.T) {
	s, server, namespace := realNacos(t)
	fourKindsOnNacos(t, s, server, namespace)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, k := range kinds {
		s.put(t, "proxy-grants", k.service+".yaml", "auth: required\nconsumers: [alice]\ntools: {"+k.tool+": [bob]}\n")
	}
	p := start(t, s).ready()
	for _, k := range kinds {
		t.Run(k.service, func(t *testing.T) {
			checkKind(t, p, k)
			t.Run("python auto", func(t *testing.T) { pythonClient(t, p, k, aliceKey, "auto") })
			t.Run("python legacy", func(t *testing.T) { pythonClient(t, p, k, bobKey, "legacy") })
			t.Run("curl", func(t *testing.T) { curl(t, p, k) })
		})
		s.put(t, "proxy-grants", k.service+".yaml", "auth: required\n")
		within(t, k.service+" refuses alice", func() bool { return p.client(k.service, aliceKey).list().Status == 403 })
	}
}

// pythonClient has the official Python client list and call.
func pythonClient(t *testing.T, p *proxy, k kind, key, mode string) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	cmd := exec.Command("../../scripts/clients/python", "mcp", "testdata/client.py", p.URL+"/mcp/"+k.service, key, mode, k.tool, k.arguments)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python client: %v\n%s", err, stderr.String())
	}
	var got struct {
		Tools   []string
		Text    string
		IsError bool
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("python client said %s: %v", out, err)
	}
	if got.Text != k.want || got.IsError {
		t.Errorf("call: %+v, want %q", got, k.want)
	}
	if key == bobKey {
		if diff := cmp.Diff([]string{k.tool}, got.Tools); diff != "" {
			t.Errorf("tools of bob: %s", diff)
		}
	} else if !slices.Contains(got.Tools, k.other) {
		t.Errorf("tools of alice: %v", got.Tools)
	}
}

// curl calls with the curl of the machine.
func curl(t *testing.T, p *proxy, k kind) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	session := p.client(k.service, aliceKey)
	session.initialize()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, k.tool, k.arguments)
	out, err := exec.Command("curl", "-s", p.URL+"/mcp/"+k.service, "-H", "X-API-Key: "+aliceKey,
		"-H", "Mcp-Session-Id: "+session.session, "-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream", "-d", body).Output()
	if err != nil {
		t.Fatalf("curl: %v", err)
	}
	if got := (answer{Body: string(out)}).text(); got != k.want {
		t.Errorf("curl got %s", out)
	}
}
