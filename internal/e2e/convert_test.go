package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
)

// openService publishes a service that anybody may call.
func openService(t testing.TB, s *source, name, document string) {
	t.Helper()
	s.put(t, "proxy-services", name+".yaml", document)
	s.put(t, "proxy-grants", name+".yaml", "auth: disabled\n")
}

// messages posts a message and gives the data of the events that come, as they come.
func (c *client) messages(ctx context.Context, body string) <-chan string {
	c.p.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.p.URL+"/mcp/"+c.service, strings.NewReader(body))
	if err != nil {
		c.p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	out := make(chan string, 16)
	go func() {
		defer close(out)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				out <- data
			} else if strings.HasPrefix(s.Text(), "{") {
				out <- s.Text()
			}
		}
	}()
	return out
}

// TestPiecesAreGatheredWithProgress has backends answer in events and in lines. Each piece reaches a client that asked
// for progress before the next is sent; one that did not ask gets the gathered result alone. Seen red with progress
// sent only at the end (the backend then waits for ever for its first piece to be seen), and with lines read as one.
func TestPiecesAreGatheredWithProgress(t *testing.T) {
	seen := make(chan struct{})
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		pieces := []string{"data: {\"n\":1}\n\n", "data: {\"n\":\ndata: 2}\n\n", ": comment\n\n", "data: [DONE]\n\n"}
		w.Header().Set("Content-Type", "text/event-stream")
		if strings.HasPrefix(r.URL.Path, "/lines") {
			pieces = []string{"{\"n\":1}\n", "{\"n\":2}\n"}
			w.Header().Set("Content-Type", "application/x-ndjson; charset=utf-8")
		}
		for i, piece := range pieces {
			fmt.Fprint(w, piece)
			_ = http.NewResponseController(w).Flush()
			if i == 0 && r.URL.RawQuery == "wait" {
				select {
				case <-seen:
				case <-r.Context().Done():
				}
			}
		}
	})
	s := directory(t)
	openService(t, s, "pieces", `
upstream: {url: "`+backend.URL+`"}
tools:
  - {name: events, description: d, requestTemplate: {url: /events, method: GET}}
  - {name: events_slowly, description: d, requestTemplate: {url: "/events?wait", method: GET}}
  - {name: lines_slowly, description: d, requestTemplate: {url: "/lines?wait", method: GET}}
  - {name: sum, description: d, requestTemplate: {url: /lines, method: GET}, responseTemplate: {body: "{{range .}}<{{.n}}>{{end}}"}}
`)
	c := start(t, s).ready().client("pieces", "")
	if a := c.call("events", "{}"); a.text() != "{\"n\":1}\n{\"n\":\n2}" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("gathered: %s %q", a.Header.Get("Content-Type"), a.text())
	}
	if a := c.call("sum", "{}"); a.text() != "<1><2>" {
		t.Errorf("templated: %s", a.Body)
	}
	for _, tool := range []string{"events_slowly", "lines_slowly"} {
		events := c.messages(t.Context(), `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"`+tool+`","arguments":{},"_meta":{"progressToken":"p-1"}}}`)
		first, _ := next(t, events, tool+": progress before the end")
		if first != `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p-1","progress":1,"message":"{\"n\":1}"}}` {
			t.Errorf("%s: %s", tool, first)
		}
		seen <- struct{}{}
		last := ""
		for e := range events {
			last = e
		}
		if got := (answer{Body: last}).text(); !strings.HasPrefix(got, "{\"n\":1}\n{\"n\":") {
			t.Errorf("%s: the result is %s", tool, last)
		}
	}
}

// TestA22_BackendsThatEchoGiveNoCredentialAway has backends send back what they were sent: in a 404 and a redirect that say
// the address, in a body that says the headers, in pieces, and as an error of the connection. Seen red without the masker
// in convert, without Conceal in gather, and, for the tools that ask about it, without the check of templates.
func TestA22_BackendsThatEchoGiveNoCredentialAway(t *testing.T) {
	const secret = "s3cr3t-of-the-backend"
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		what := r.URL.RequestURI() + " " + r.Header.Get("Authorization") + " " + r.Header.Get("X-Basic")
		switch {
		case strings.HasPrefix(r.URL.Path, "/missing"):
			http.Error(w, "no such page: "+what, http.StatusNotFound)
		case strings.HasPrefix(r.URL.Path, "/moved"):
			http.Redirect(w, r, "http://elsewhere.example/?"+r.URL.RawQuery, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/pieces"):
			w.Header().Set("Content-Type", "application/x-ndjson")
			fmt.Fprintf(w, "{\"one\":%q}\n{\"two\":%q}\n", what, what)
		case strings.HasPrefix(r.URL.Path, "/coded"):
			w.Header().Set("Content-Encoding", what)
			fmt.Fprint(w, "x")
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"echo":%q}`, what)
		}
	})
	s := directory(t)
	s.put(t, "proxy-credentials", "echo.yaml", "services: [echo]\nhosts: ['"+backend.address()+"']\npath: true\nvalues: {key: \""+secret+"\"}\n")
	openService(t, s, "echo", `
server: {config: {key: "${credential:echo/key}"}}
upstream: {url: "`+backend.URL+`"}
tools:
  - {name: plain, description: d, requestTemplate: {url: "/plain?k={{.config.key}}", method: GET, headers: [{key: Authorization, value: "APPCODE {{.config.key}}"}, {key: X-Basic, value: "Basic {{.config.key | b64enc}}"}]}}
  - {name: missing, description: d, requestTemplate: {url: "/missing/{{.config.key}}?k={{.config.key}}", method: GET}}
  - {name: moved, description: d, requestTemplate: {url: "/moved?k={{.config.key}}", method: GET}, errorResponseTemplate: "{{.}} {{index ._headers \"location\"}}"}
  - {name: pieces, description: d, requestTemplate: {url: "/pieces?k={{.config.key}}", method: GET}}
  - {name: coded, description: d, requestTemplate: {url: "/coded?k={{.config.key}}", method: GET}}
  - {name: upper, description: d, requestTemplate: {url: "/plain?k={{.config.key}}", method: GET}, responseTemplate: {body: "{{upper .echo}}"}}
  - {name: told, description: d, requestTemplate: {url: "/plain?k={{fail .config.key}}", method: GET}}
  - {name: asked, description: d, args: [{name: g, required: true}], requestTemplate: {url: "/plain?{{if hasPrefix .args.g .config.key}}a{{end}}", method: GET}}
  - {name: direct, description: d, responseTemplate: {body: "{{.config.key}}"}}
`)
	c := start(t, s).ready().client("echo", "")
	for _, tool := range []string{"plain", "missing", "moved", "pieces", "coded", "upper"} {
		a := c.call(tool, "{}")
		if got := strings.ToLower(a.Body); strings.Contains(got, secret) || strings.Contains(got, "of-the") || strings.Contains(got, "b2ytdghl") || a.Status != http.StatusOK {
			t.Errorf("%s: HTTP %d %s", tool, a.Status, a.Body)
		}
	}
	if got := backend.count(); got < 6 {
		t.Errorf("the backend was called %d times", got)
	}
	for e := range c.messages(t.Context(), `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"pieces","arguments":{},"_meta":{"progressToken":"p-1"}}}`) {
		if strings.Contains(e, secret) || !strings.Contains(e, "***") {
			t.Errorf("told of while it came: %s", e)
		}
	}
	for _, tool := range []string{"told", "asked", "direct"} {
		if a := c.call(tool, `{"g":"s"}`); !strings.Contains(a.Body, "Unknown tool") {
			t.Errorf("%s was served: %s", tool, a.Body)
		}
	}
}

// TestCancelledCallsEndTheBackendsRequest cancels by notification, and by going away. Seen red with the notification
// ignored, and with the backend's request made under a context of its own.
func TestCancelledCallsEndTheBackendsRequest(t *testing.T) {
	arrived, ended := make(chan struct{}, 4), make(chan struct{}, 4)
	backend := newRecorder(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	s := directory(t)
	openService(t, s, "slow", `
upstream: {url: "`+backend.URL+`"}
tools: [{name: wait, description: d, requestTemplate: {url: /, method: GET}}]
`)
	p := start(t, s).ready()
	wait := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(20 * time.Second):
			t.Fatalf("not within 20 s: %s", what)
		}
	}
	const call = `{"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{"name":"wait","arguments":{}}}`

	c := p.client("slow", "")
	c.initialize()
	result := c.messages(t.Context(), call)
	wait("the call reaches the backend", arrived)
	if a := c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"other"}}`); a.Status != http.StatusAccepted {
		t.Errorf("notification: %d %s", a.Status, a.Body)
	}
	if len(ended) > 0 {
		t.Error("another call's cancellation ended this one")
	}
	c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c-1","reason":"enough"}}`)
	wait("the backend's request is cancelled", ended)
	if got, _ := next(t, result, "an answer after cancellation"); !strings.Contains(got, `"isError":true`) {
		t.Errorf("cancelled call: %s", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	gone := p.client("slow", "").messages(ctx, call)
	wait("the second call reaches the backend", arrived)
	cancel()
	wait("the backend's request ends with its caller", ended)
	for range gone {
		t.Error("an answer to a client that went away")
	}
}

// TestTimeoutsAreResults has a backend that does not answer, one that stops in the middle, and none. Seen red with
// faults answered as JSON-RPC errors, and with the backend's address in the text.
func TestTimeoutsAreResults(t *testing.T) {
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	s := directory(t)
	document := func(url string) string {
		return `
upstream: {url: "` + url + `", timeout: 300ms}
tools:
  - {name: never, description: d, requestTemplate: {url: /never, method: GET}}
  - {name: half, description: d, requestTemplate: {url: /half, method: GET}}
`
	}
	openService(t, s, "slow", document(backend.URL))
	openService(t, s, "gone", document("http://127.0.0.1:1"))
	p := start(t, s, func(c *config.Config) { c.Limits.StreamIdle = 300 * time.Millisecond }).ready()
	for _, tc := range []struct{ service, tool, want string }{
		{"slow", "never", "call failed: backend did not answer in time"},
		{"slow", "half", "call failed: backend did not answer in time"},
		{"gone", "never", "call failed: backend unreachable"},
	} {
		a := p.client(tc.service, "").call(tc.tool, "{}")
		if a.Status != http.StatusOK || !strings.Contains(a.Body, `"isError":true`) || a.text() != tc.want || strings.Contains(a.Body, "127.0.0.1") {
			t.Errorf("%s %s: %d %s, want %q", tc.service, tc.tool, a.Status, a.Body, tc.want)
		}
	}
}

// TestHigressFilesAreServed brings people's files as they are. Seen red with one of them damaged.
func TestHigressFilesAreServed(t *testing.T) {
	dir := sharedData(t, "higress-services")
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) != 18 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	s := directory(t)
	want := map[string][]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Tools []struct{ Name string } }
		if err := yaml.Unmarshal(content, &doc); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		want[name] = []string{}
		for _, tool := range doc.Tools {
			want[name] = append(want[name], tool.Name)
		}
		openService(t, s, name, string(content))
	}
	p := start(t, s).ready()
	got, tools := map[string][]string{}, 0
	for name := range want {
		got[name] = p.client(name, "").list().tools()
		tools += len(got[name])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	eventually(t, 20*time.Second, "every definition is validated", func() bool { return p.status().Pending == 0 })
	warnings := 0
	for _, d := range p.status().Documents {
		if d.State != catalog.Applied {
			t.Errorf("%s/%s is %s: %s", d.Group, d.DataID, d.State, d.Error)
		}
		for _, f := range d.Faults {
			if !f.Warning {
				t.Errorf("%s: tool %s: %s", d.DataID, f.Tool, f.Message)
			}
			warnings++
		}
	}
	t.Logf("%d files, %d tools served, %d warnings", len(files), tools, warnings)
}

// sharedData finds people's files, which are no part of this repository.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		path := filepath.Join(at, "shared", "data", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skipf("no shared/data/%s beside the repository", name)
	return ""
}

// consoleTools are what the Nacos console writes after an import ({{.args.x}}, no argsPosition) and what other writers
// do ({x}), one of them switched off, with an error template and a credential.
func consoleTools(off, errorTemplate string) string {
	return `{"tools":[
 {"name":"by_args","description":"d","inputSchema":{"type":"object","properties":{"id":{"type":"string"},"q":{"type":"string"}},"required":["id"]}},
 {"name":"by_braces","description":"d","inputSchema":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]}},
 {"name":"other","description":"d","inputSchema":{"type":"object","properties":{}}}],
"toolsMeta":{
 "by_args":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/items/{{.args.id}}?q={{.args.q}}","method":"GET","headers":[{"key":"X-Token","value":"{{ ${nacos.token.json/proxy-credentials}.token }}"}]},"responseTemplate":{"body":"{{.name}} costs {{.price}}"},"errorResponseTemplate":` + fmt.Sprintf("%q", errorTemplate) + `}}},
 "by_braces":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/items/{id}","method":"GET","security":{"id":"key"}},"argsPosition":{"id":"path"}}}},
 "other":{"enabled":` + off + `,"templates":{"json-go-template":{"requestTemplate":{"url":"/items","method":"GET"}}}}},
"securitySchemes":[{"id":"key","type":"apiKey","in":"header","name":"X-Key","defaultCredential":"${credential:console/key}"}]}`
}

// putMCP edits the tools of an entry of the registry in place, as the console does.
func putMCP(t testing.TB, server *nacostest.Server, namespace, name, tools, address string) {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	server.MustAdmin(t, http.MethodPut, "/nacos/v3/admin/ai/mcp", nil, url.Values{
		"namespaceId": {namespace}, "mcpName": {name}, "latest": {"true"}, "toolSpecification": {tools},
		"serverSpecification":   {fmt.Sprintf(`{"name":%q,"protocol":"http","frontProtocol":"mcp-streamable","description":"edited","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"exportPath":"/"},"enabled":true}`, name)},
		"endpointSpecification": {fmt.Sprintf(`{"type":"DIRECT","data":{"address":%q,"port":%q,"transportProtocol":"http"}}`, host, port)},
	})
}

// TestConsoleServicesOnNacos creates a service in the real Nacos the console's way and edits it live: a tool is switched
// off and on, an error template changes, and a credential changes in both of its forms. Seen red with each edit left out
// of the test, so that what it waits for does not come, and with the error template not read.
func TestConsoleServicesOnNacos(t *testing.T) {
	s, server, namespace := realNacos(t)
	api := newRecorder(t, shop)
	credential := func(key, token string) {
		s.put(t, "proxy-credentials", "console.yaml", "services: [console]\nhosts: ['127.0.0.1']\nvalues: {key: "+key+"}\n")
		s.put(t, "proxy-credentials", "token.json", `{"services":["console"],"hosts":["127.0.0.1"],"values":{"token":"`+token+`"}}`)
	}
	credential("key-1", "token-1")
	publishMCP(t, server, namespace, "console", "http", consoleTools("false", "gone: {{.message}}"), api.address())
	s.put(t, "proxy-grants", "console.yaml", "auth: disabled\n")
	p := start(t, s).ready()
	c := p.client("console", "")
	sent := func(header string) string {
		api.mu.Lock()
		defer api.mu.Unlock()
		return api.head[len(api.head)-1].Get(header)
	}
	eventually(t, 15*time.Second, "the service is served", func() bool { return len(c.list().tools()) == 2 })
	if diff := cmp.Diff([]string{"by_args", "by_braces"}, c.list().tools()); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	eventually(t, 15*time.Second, "its backend is known", func() bool { return c.call("by_args", `{"id":"7"}`).text() == "Lamp costs 12.50" })
	if a := c.call("by_args", `{"id":"7","q":"a&b c"}`); a.text() != "Lamp costs 12.50" || api.last() != "GET /items/7?q=a%26b%20c" || sent("X-Token") != "token-1" {
		t.Errorf("by_args: %s, sent %q with token %q", a.Body, api.last(), sent("X-Token"))
	}
	if a := c.call("by_args", `{"id":"x/7"}`); a.text() != "gone: no such item" || api.last() != "GET /items/x%2F7" {
		t.Errorf("error template: %s, sent %q", a.Body, api.last())
	}
	if a := c.call("by_braces", `{"id":"7"}`); !strings.Contains(a.text(), `"Lamp"`) || api.last() != "GET /items/7" || sent("X-Key") != "key-1" {
		t.Errorf("by_braces: %s, sent %q with key %q", a.Body, api.last(), sent("X-Key"))
	}
	if a := c.call("other", "{}"); !strings.Contains(a.Body, "Unknown tool") {
		t.Errorf("a tool that is switched off: %s", a.Body)
	}

	putMCP(t, server, namespace, "console", consoleTools("true", "edited: {{.message}}"), api.address())
	eventually(t, 10*time.Second, "the tool is switched on", func() bool { return slices.Contains(c.list().tools(), "other") })
	eventually(t, 10*time.Second, "the error template is the edited one", func() bool { return c.call("by_args", `{"id":"0"}`).text() == "edited: no such item" })
	credential("key-2", "token-2")
	eventually(t, 10*time.Second, "the key is the edited one", func() bool { c.call("by_braces", `{"id":"7"}`); return sent("X-Key") == "key-2" })
	eventually(t, 10*time.Second, "the token is the edited one", func() bool { c.call("by_args", `{"id":"7"}`); return sent("X-Token") == "token-2" })
	putMCP(t, server, namespace, "console", consoleTools("false", "edited: {{.message}}"), api.address())
	eventually(t, 10*time.Second, "the tool is switched off", func() bool { return !slices.Contains(c.list().tools(), "other") })
}
