package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// command runs the real binary.
type command struct {
	t      *testing.T
	binary string
	source []string // flags that name the source
	env    []string
	in     string // standard input
}

func newCommand(t *testing.T, source ...string) *command {
	t.Helper()
	c := &command{t: t, binary: filepath.Join(t.TempDir(), "nacos-mcp-proxy"), source: source}
	if out, err := exec.Command("go", "build", "-o", c.binary, "../../cmd/nacos-mcp-proxy").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return c
}

// path is the directory of a source in one.
func (s *source) path() string {
	c := config.Default()
	s.configure(&c)
	return c.Dir.Path
}

// run gives standard output; the command must succeed.
func (c *command) run(args ...string) string {
	c.t.Helper()
	cmd := exec.Command(c.binary, slices.Concat(args, c.source)...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdin = strings.NewReader(c.in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%q: %v\n%s%s", args, err, &out, &errs)
	}
	return out.String()
}

const itemsAPI = `{"openapi":"3.1.0","info":{"title":"Items","version":"3"},
"components":{"securitySchemes":{"key":{"type":"apiKey","in":"header","name":"X-Key"}}},
"paths":{
 "/items/{id}":{"get":{"operationId":"get_item","security":[{"key":[]}],"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"integer"}}],"responses":{"200":{"description":"ok"}}}},
 "/items":{"get":{"operationId":"list_items","parameters":[{"name":"q","in":"query","schema":{"type":"array","items":{"type":"string"}}}],"responses":{"200":{"description":"ok"}}}}}}`

// itemsBackend is what the description describes, below /v1.
func itemsBackend(t testing.TB, name string) *recorder {
	return newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"by":%q,"path":%q,"key":%q}`, name, r.URL.RequestURI(), r.Header.Get("X-Key"))
	})
}

// TestOpenAPIServiceAnswersFromADirectory imports, allows and calls by command alone. Seen red with the credential document
// left out.
func TestOpenAPIServiceAnswersFromADirectory(t *testing.T) {
	s := directory(t)
	api := itemsBackend(t, "one")
	file := filepath.Join(t.TempDir(), "items.json")
	if err := os.WriteFile(file, []byte(itemsAPI), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, s).ready()
	c := newCommand(t, "--dir-path", s.path())
	s.put(t, "proxy-credentials", "items.yaml", "services: [items]\nhosts: ['127.0.0.1']\nvalues: {key: s3cret}\n")
	c.run("services", "publish", "--openapi", file, "--name", "items", "--upstream", api.URL+"/v1")
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(c.run("grants", "allow", "items", "--consumer", "alice", "--create", "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"NMP_KEY=" + made.Key, "NMP_URL=" + p.URL}
	client := p.client("items", made.Key)
	eventually(t, 10*time.Second, "both tools are served", func() bool { return len(client.list().tools()) == 2 })
	if out := c.run("call", "items", "get_item", "id=7"); out != `{"by":"one","path":"/v1/items/7","key":"s3cret"}`+"\n" {
		t.Errorf("get_item: %s", out)
	}
	if out := c.run("call", "items", "list_items", "q=a", "q=b c"); out != `{"by":"one","path":"/v1/items?q=a&q=b%20c","key":""}`+"\n" {
		t.Errorf("list_items: %s", out)
	}
}

// TestOpenAPIIntoTheNacosRegistry publishes a description through Nacos's MCP admin API, calls it through a running proxy,
// publishes it again for another backend, and edits it as the console does. Seen red without the endpoint in the form, and
// without the removal of the former address, which Nacos itself leaves in place.
func TestOpenAPIIntoTheNacosRegistry(t *testing.T) {
	s, server, namespace := realNacos(t)
	one, two := itemsBackend(t, "one"), itemsBackend(t, "two")
	file := filepath.Join(t.TempDir(), "items.json")
	if err := os.WriteFile(file, []byte(itemsAPI), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCommand(t, "--source", "nacos", "--nacos-addresses", server.Addr, "--nacos-namespace", namespace)
	c.env = []string{"NMP_NACOS_USERNAME=" + server.User, "NMP_NACOS_PASSWORD=" + server.Password}
	publish := func(upstream string) string {
		t.Helper()
		return c.run("services", "publish", "--openapi", file, "--name", "items", "--upstream", upstream, "--registry")
	}
	p := start(t, s).ready()
	// The credential first, by the command that a publisher is told to run where it is missing.
	c.in = "s3cret\n"
	c.run("credentials", "set", "items", "key", "--service", "items", "--host", "127.0.0.1")
	out := publish(one.URL + "/v1")
	for _, want := range []string{"2 of 2 operations", "items: created, as 1.0.0", "grants allow items"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	s.put(t, "proxy-grants", "items.yaml", "auth: disabled\n")
	client := p.client("items", "")
	answers := func(want string) func() bool {
		return func() bool { return client.call("get_item", `{"id":7}`).text() == want }
	}
	eventually(t, 20*time.Second, "it answers through the proxy", answers(`{"by":"one","path":"/v1/items/7","key":"s3cret"}`))
	if a := client.call("list_items", `{"q":["a","b c"]}`); !strings.Contains(a.text(), "/v1/items?q=a&q=b") {
		t.Errorf("list_items: %s", a.Body)
	}

	if out = publish(two.URL + "/v2"); !strings.Contains(out, "items: updated") {
		t.Errorf("published again:\n%s", out)
	}
	eventually(t, 20*time.Second, "it answers from the new backend", answers(`{"by":"two","path":"/v2/items/7","key":"s3cret"}`))
	if !strings.Contains(out, "The former address "+one.address()+" is not called any more.") {
		t.Errorf("published again:\n%s", out)
	}
	eventually(t, 20*time.Second, "the former backend is not called any more", func() bool {
		before := one.count()
		for range 10 {
			client.call("get_item", `{"id":7}`)
		}
		return one.count() == before
	})

	// In the console: it is in the list, and what the console reads can be edited and put back.
	list := server.MustAdmin(t, http.MethodGet, "/nacos/v3/admin/ai/mcp/list", url.Values{"namespaceId": {namespace}, "search": {"blur"}, "pageNo": {"1"}, "pageSize": {"10"}}, nil)
	if !strings.Contains(string(list), `"name":"items"`) {
		t.Errorf("not in the console's list: %s", list)
	}
	var detail struct {
		Data struct {
			Name, Description string
			ToolSpec          json.RawMessage
		}
	}
	if err := json.Unmarshal(server.MustAdmin(t, http.MethodGet, "/nacos/v3/admin/ai/mcp", url.Values{"namespaceId": {namespace}, "mcpName": {"items"}}, nil), &detail); err != nil {
		t.Fatal(err)
	}
	if detail.Data.Description != "Items" || !strings.Contains(string(detail.Data.ToolSpec), `"get_item"`) {
		t.Errorf("the console reads %+v", detail)
	}
	edited := strings.Replace(string(detail.Data.ToolSpec), `/v2/items/`, `/v3/items/`, 1)
	putMCP(t, server, namespace, "items", edited, two.address())
	eventually(t, 20*time.Second, "the console's edit is in force", answers(`{"by":"two","path":"/v3/items/7","key":"s3cret"}`))
}
