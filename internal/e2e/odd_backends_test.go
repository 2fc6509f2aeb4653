package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// TestStatusTellsOfOddBackends: of event streams that end without a blank line behind the last event, and of endpoints that Nacos
// keeps beside a new one. Seen red without notes.
func TestStatusTellsOfOddBackends(t *testing.T) {
	s := directory(t)
	var c config.Config
	s.configure(&c)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if r.URL.Path == "/mcp" {
			io.WriteString(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n")
			return
		}
		io.WriteString(w, "data: one\n\ndata: two\n")
	}))
	defer cut.Close()
	s.put(t, "proxy-services", "passed.yaml", "upstream: {url: \""+cut.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-services", "converted.yaml", "upstream: {url: \""+cut.URL+"\"}\ntools: [{name: a, requestTemplate: {url: /x}}]\n")
	api := newRecorder(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	other := newRecorder(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	entry := func(id, name, group string, ephemeral bool) {
		t.Helper()
		const tools = `{"tools":[{"name":"a"}],"toolsMeta":{"a":{"templates":{"json-go-template":{"requestTemplate":{"url":"/x"}}}}}}`
		triple(t, s, id, name, "http", name+"::1.0.0", tools)
		spec := fmt.Sprintf(`{"protocol":"http","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":%q,"serviceName":"%s::1.0.0"}},"toolsDescriptionRef":"%s-1.0.0-mcp-tools.json"}`, group, name, id)
		s.put(t, "mcp-server", id+"-1.0.0-mcp-server.json", spec)
		list := ""
		for _, at := range []string{api.address(), other.address()} {
			host, port, _ := strings.Cut(at, ":")
			list += fmt.Sprintf("- {host: %s, port: %s, ephemeral: %v}\n", host, port, ephemeral)
		}
		file := filepath.Join(c.Dir.Path, "naming", group, name+"::1.0.0.yaml")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entry("33333333-3333-4333-8333-333333333331", "entered", "mcp-endpoints", false)
	entry("33333333-3333-4333-8333-333333333332", "registered", "mcp-endpoints", true)
	entry("33333333-3333-4333-8333-333333333333", "elsewhere", "DEFAULT_GROUP", false)
	names := []string{"passed", "converted", "entered", "registered", "elsewhere"}
	for _, name := range names {
		s.put(t, "proxy-grants", name+".yaml", "auth: disabled\n")
	}
	p := start(t, s).ready()
	notes := func() map[string]string {
		found := map[string]string{}
		for _, v := range p.status().Services {
			if len(v.Notes) > 0 {
				found[v.Name] = strings.Join(v.Notes, "; ")
			}
		}
		return found
	}
	eventually(t, 10*time.Second, "the services", func() bool { return len(p.status().Services) == len(names) })
	if got := notes(); len(got) > 0 {
		t.Errorf("told before any call: %v", got)
	}
	for _, name := range names {
		if a := p.client(name, "").call("a", "{}"); a.Status != 200 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	got := notes()
	for name, want := range map[string]string{
		"passed": "without a blank line behind its last event", "converted": "without a blank line behind its last event",
		"entered": "calls go to each of the 2 endpoints ", "registered": "", "elsewhere": "",
	} {
		if (got[name] != "") != (want != "") || !strings.Contains(got[name], want) {
			t.Errorf("%s: notes %q, want %q", name, got[name], want)
		}
	}
	for _, part := range []string{api.address(), other.address(), "service entered::1.0.0 of group mcp-endpoints"} {
		if !strings.Contains(got["entered"], part) {
			t.Errorf("notes of the endpoints do not name %s: %s", part, got["entered"])
		}
	}
}
