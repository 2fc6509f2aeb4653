package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/app"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

const shopTools = `server:
  name: shop
  config: {apiKey: "${credential:shop/key}"}
  securitySchemes: [{id: key, type: apiKey, in: header, name: X-API-Key, defaultCredential: "{{.config.apiKey}}"}]
upstream: {url: %s}
tools:
  - name: get_item
    description: One item
    args: [{name: id, type: integer, required: true, position: path, description: its id}]
    requestTemplate: {url: "/items/{id}", method: GET, security: {id: key}}
    responseTemplate: {body: "{{.name}} costs {{.price}}"}
  - name: raw
    description: The number as it is
    requestTemplate: {url: /number, method: GET}
    outputSchema: {type: object, properties: {n: {type: integer}}}
  - name: slow
    description: In pieces
    requestTemplate: {url: /pieces, method: GET}
  - name: hello
    description: No backend
    args: [{name: who, type: string, required: true, description: whom to greet}]
    responseTemplate: {body: "Hello {{.args.who}}"}
`

// running is a proxy on a shell's directory, with a backend behind it.
type running struct {
	*shell
	*app.App
	key string // alice's, who may call everything
	bob string // may call hello only
}

func runProxy(t *testing.T) *running {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/items/7":
			_, _ = w.Write([]byte(`{"name":"Lamp","price":1.50}`))
		case "/number":
			_, _ = w.Write([]byte(`{"n":12345678901234567890}`))
		case "/pieces":
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = w.Write([]byte("{\"at\":1}\n{\"at\":2}\n"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(backend.Close)
	r := &running{shell: newShell(t)}
	r.put("proxy-services/shop.yaml", fmt.Sprintf(shopTools, backend.URL))
	r.put("proxy-services/closed.yaml", fmt.Sprintf(shopTools, backend.URL))
	r.put("proxy-credentials/shop.yaml", "services: [shop]\nhosts: ['127.0.0.1']\nvalues: {key: s3cret-of-the-shop}\n")
	keyOf := func(args ...string) string {
		var out outcome
		if err := json.Unmarshal([]byte(r.must(append(args, "-o", "json")...)), &out); err != nil {
			t.Fatal(err)
		}
		return out.Key
	}
	r.key = keyOf("grants", "allow", "shop", "--consumer", "alice", "--create")
	r.bob = keyOf("grants", "allow", "shop", "--consumer", "bob", "--tool", "hello", "--create")
	c := config.Default()
	c.Listen, c.Admin.Listen, c.State.Path, c.Log.Audit = "127.0.0.1:0", "127.0.0.1:0", config.StateOff, "off"
	c.Source, c.Dir.Path, c.Limits.Drain = config.SourceDir, r.root, 5*time.Second
	var err error
	if r.App, err = app.Start(context.Background(), c, "test", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Drain(); err != nil {
			t.Errorf("drain: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	for began := time.Now(); !r.Ready(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the proxy is not ready")
		}
	}
	t.Setenv("NMP_URL", "http://"+r.Addr().String())
	t.Setenv("NMP_KEY", r.key)
	return r
}

// Every line was seen red with what it shows taken out: typed values, the exit code, the answer's bytes, progress, each
// explanation, the key's id in place of the key.
func TestCallThroughAProxy(t *testing.T) {
	r := runProxy(t)
	for _, tc := range []struct {
		name, args, key string
		code            int
		out, err        string // what standard output is, and what standard error has
	}{
		{name: "text", args: "shop get_item id=7", out: "Lamp costs 1.50\n"},
		{name: "arguments as JSON", args: `shop get_item --args {"id":7}`, out: "Lamp costs 1.50\n"},
		{name: "a value beats JSON", args: `shop get_item id=7 --args {"id":8}`, out: "Lamp costs 1.50\n"},
		{name: "text that looks like a number", args: "shop hello who=42", out: "Hello 42\n"},
		{name: "a header beside the key", args: "shop hello who=you --header Authorization:mine --header X-Tenant:acme", out: "Hello you\n"},
		{name: "a header that is none", args: "shop hello who=you --header s3cret", code: exitUsage, err: "write NAME: VALUE"},
		{name: "a header of the protocol", args: "shop hello who=you --header Mcp-Name:x", code: exitUsage, err: "belongs to the MCP protocol"},
		{name: "without backend, as bob", args: "shop hello who=you", key: r.bob, out: "Hello you\n"},
		{name: "progress beside the result", args: "shop slow", out: "{\"at\":1}\n{\"at\":2}\n", err: "{\"at\":1}\n{\"at\":2}"},
		{name: "an error of the backend", args: "shop get_item id=8", code: exitFailed, out: "call failed, status: 404, response: \n"},
		{name: "an argument that is missing", args: "shop get_item", code: exitFailed, out: "invalid arguments: argument \"id\" is required\n"},
		{name: "an argument of the wrong type", args: "shop get_item id=x", code: exitUsage, err: `argument id must be integer, is "x"`},
		{name: "an argument given twice", args: "shop get_item id=1 id=2", code: exitUsage, err: "argument id is no list, and is given 2 times"},
		{name: "an unknown argument", args: "shop hello who=x whom=y", out: "Hello x\n", err: `no argument "whom" (did you mean "who"?)`},
		{name: "no argument at all", args: "shop hello who", code: exitUsage, err: `"who" is no argument of a tool: write name=value`},
		{name: "no JSON", args: "shop hello --args {", code: exitUsage, err: "--args must be a JSON object"},
		{name: "an unknown tool", args: "shop get_itm", code: exitNotFound, err: `shop has no tool "get_itm" that this key may call (did you mean "get_item"?); there are: get_item, raw, slow, hello`},
		{name: "a tool not granted", args: "shop get_item id=7", key: r.bob, code: exitNotFound, err: "there are: hello"},
		{name: "a service not granted", args: "closed hello who=x", key: r.bob, code: exitUnavailable, err: "key bob-1 may not call closed, or there is no such service: grants explain closed says why"},
		{name: "a service that is not there", args: "nowhere hello who=x", code: exitUnavailable, err: "key alice-1 may not call nowhere"},
		{name: "no key", args: "shop hello who=x", key: "-", code: exitUnavailable, err: "shop wants an API key: set NMP_KEY"},
		{name: "a wrong key", args: "shop hello who=x", key: r.key[:len(r.key)-8] + "AAAAAAAA", code: exitUnavailable, err: "the proxy does not accept key alice-1"},
		{name: "a key of others", args: "shop hello who=x", key: "nmp_their_own", code: exitUnavailable, err: "the proxy does not accept the key:"},
		{name: "no proxy", args: "shop hello who=x --url http://127.0.0.1:1", code: exitUnavailable, err: "is the proxy running, and --url right?"},
		{name: "no URL", args: "shop hello who=x --url 127.0.0.1", code: exitUsage, err: `"127.0.0.1" is no URL of a proxy`},
		{name: "the URL that clients have", args: "shop hello who=x --url " + "http://" + r.Addr().String() + "/mcp/shop", out: "Hello x\n"},
		{name: "--key", args: "shop hello who=x --key " + r.bob, key: "-", out: "Hello x\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.key != "" {
				t.Setenv("NMP_KEY", strings.TrimPrefix(tc.key, "-"))
			}
			s := *r.shell
			s.t = t
			code := s.run(append([]string{"call"}, strings.Fields(tc.args)...)...)
			if code != tc.code || s.out != tc.out || !strings.Contains(s.err, tc.err) || tc.err == "" && s.err != "" {
				t.Errorf("exit %d, want %d\nout %q\nwant %q\nerr %q\nwant %q", code, tc.code, s.out, tc.out, s.err, tc.err)
			}
			for _, secret := range []string{r.key, r.bob, os.Getenv("NMP_KEY")} {
				if secret != "" && strings.Contains(s.out+s.err, secret) {
					t.Errorf("the key is shown:\n%s%s", s.out, s.err)
				}
			}
		})
	}
}

// Seen red with the result as the SDK reads it: the number then ends in zeros.
func TestCallJSONKeepsTheBytesOfTheResult(t *testing.T) {
	r := runProxy(t)
	out := r.must("call", "shop", "raw", "-o", "json")
	if !strings.Contains(out, `"n": 12345678901234567890`) {
		t.Errorf("got %s", out)
	}
	if code := r.run("call", "shop", "get_item", "id=8", "-o", "json"); code != exitFailed || !json.Valid([]byte(r.out)) {
		t.Errorf("exit %d: %s%s", code, r.out, r.err)
	}
}

// A server that knows only revision 2025-11-25 is called all the same. Seen red with the fixture refusing initialize.
func TestCallFallsBackToTheLegacyHandshake(t *testing.T) {
	var methods []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if r.Method != http.MethodPost || json.NewDecoder(bufio.NewReader(r.Body)).Decode(&m) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		methods = append(methods, m.Method)
		results := map[string]string{
			"initialize": `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}`,
			"tools/list": `{"tools":[{"name":"hi","inputSchema":{"type":"object"}}]}`,
			"tools/call": `{"content":[{"type":"text","text":"hi"}]}`,
		}
		w.Header().Set("Content-Type", "application/json")
		switch result := results[m.Method]; {
		case result != "":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
		case m.ID == nil:
			w.WriteHeader(http.StatusAccepted)
		default:
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID)
		}
	}))
	defer server.Close()
	s := newShell(t)
	if out := s.must("call", "old", "hi", "--url", server.URL); out != "hi\n" {
		t.Errorf("got %q", out)
	}
	if diff := cmp.Diff([]string{"server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"}, methods); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
}

// Seen red with conceal left out of the preview, and with the proxy asked.
func TestCallDryRunMakesTheRequestWithoutAProxy(t *testing.T) {
	s := newShell(t)
	s.put("proxy-services/shop.yaml", fmt.Sprintf(shopTools, "http://127.0.0.1:1"))
	s.put("proxy-credentials/shop.yaml", "services: [shop]\nhosts: ['127.0.0.1']\nvalues: {key: s3cret-of-the-shop}\n")
	s.put("proxy-services/tools.yaml", "server: {name: tools}\nupstream: {url: http://127.0.0.1:1/mcp, transport: streamable}\n")
	s.put("proxy-services/naming.yaml", strings.Replace(service, "{url: http://127.0.0.1:1}", "{nacos: {group: G, service: pets, scheme: https}}", 1))
	s.put("proxy-services/broken.yaml", strings.Replace(service, `"/pet/{id}"`, `"/pet/{{.args.nope}}"`, 1))
	for _, tc := range []struct {
		args, out, err string
		code           int
	}{
		{args: "shop get_item id=7", out: "GET http://127.0.0.1:1/items/7\nX-Api-Key: ***\n"},
		{args: "shop get_item", code: exitFailed, out: "invalid arguments: argument \"id\" is required\n", err: "Nothing would be sent"},
		{args: "shop hello who=x", out: "Hello x\n", err: "Nothing would be sent"},
		{args: "naming get_pet id=7", out: "GET https://{instance}/pet/7\n", err: "an instance of the Nacos service G/pets"},
		{args: "shop get_itm", code: exitNotFound, err: `(did you mean "get_item"?)`},
		{args: "shp get_item", code: exitNotFound, err: `there is no service "shp" (did you mean "shop"?)`},
		{args: "shop@2 get_item", code: exitNotFound, err: `no version "2"`},
		{args: "tools add", code: exitFailed, err: "passed through to an MCP server"},
		{args: "broken get_pet id=7", code: exitNotFound, err: `tool "get_pet"`},
	} {
		t.Run(tc.args, func(t *testing.T) {
			s := *s
			s.t = t
			code := s.run(append([]string{"call", "--dry-run"}, strings.Fields(tc.args)...)...)
			if code != tc.code || s.out != tc.out || !strings.Contains(s.err, tc.err) {
				t.Errorf("exit %d, want %d\nout %q\nwant %q\nerr %q\nwant %q", code, tc.code, s.out, tc.out, s.err, tc.err)
			}
		})
	}
	out := s.must("call", "shop", "get_item", "id=7", "--dry-run", "-o", "json")
	if strings.Contains(out, "s3cret") || !strings.Contains(out, `"request": "GET http://127.0.0.1:1/items/7\nX-Api-Key: ***\n"`) {
		t.Errorf("got %s", out)
	}
}

// Seen red with the order of types ignored, and with every value made text.
func TestValuesAreTypedByTheSchema(t *testing.T) {
	for _, tc := range []struct{ schema, value, want string }{
		{`{"type":"string"}`, "7", `"7"`},
		{`{"type":"integer"}`, "12345678901234567890", "12345678901234567890"},
		{`{"type":"number"}`, "1.50", "1.50"},
		{`{"type":"number"}`, "1e3x", `!must be number, is "1e3x"`},
		{`{"type":"boolean"}`, "true", "true"},
		{`{"type":"boolean"}`, "yes", `!must be boolean, is "yes"`},
		{`{"type":"object"}`, `{"a":1}`, `{"a":1}`},
		{`{"type":"object"}`, "a", `!must be object, is "a"`},
		{`{"type":["string","null"]}`, "null", "null"},
		{`{"type":["string","integer"]}`, "7", "7"},
		{`{"type":["string","integer"]}`, "x", `"x"`},
		{`{"anyOf":[{"type":"integer"},{"type":"string"}]}`, "7", "7"},
		{`{"anyOf":[{"type":"integer"},{"type":"boolean"}]}`, "x", `!must be integer or boolean, is "x"`},
		{`{"enum":["1","2"]}`, "1", `"1"`},
		{`{"enum":[1,2]}`, "1", "1"},
		{`{}`, "7", "7"},
		{`{}`, "a b", `"a b"`},
		{`{"type":"array","items":{"type":"string"}}`, "1", `["1"]`},
		{`{"type":"array","items":{"type":"integer"}}`, "1", `[1]`},
		{`{"type":"array","items":{"type":"integer"}}`, "[1, 2]", "[1, 2]"},
		{`{"type":"array","items":{"type":"integer"}}`, "x", `!must be integer, is "x"`},
		{`{"type":"integer"}`, "", `!must be integer, is ""`},
		{`{"type":"string"}`, "", `""`},
	} {
		var schema any
		if err := json.Unmarshal([]byte(tc.schema), &schema); err != nil {
			t.Fatal(err)
		}
		got, err := typedAll([]string{tc.value}, schema)
		if err != nil {
			got = json.RawMessage("!" + err.Error())
		}
		if string(got) != tc.want {
			t.Errorf("%s as %s: %s, want %s", tc.value, tc.schema, got, tc.want)
		}
	}
}

// Seen red with the proxy's answer ignored, with a table that is not narrowed, and with the fallback taken out.
func TestGrantsExplain(t *testing.T) {
	r := runProxy(t)
	admin := "--admin-listen=" + r.AdminAddr().String()
	const none = "--admin-listen=127.0.0.1:1"
	table := `CONSUMER  TOOL         MAY CALL  WHY
alice     (every one)  yes       service grant
bob       get_item     no        no grant
bob       raw          no        no grant
bob       slow         no        no grant
bob       hello        yes       tool grant on hello
`
	for _, tc := range []struct{ name, args, out string }{
		{"by the proxy", "shop " + admin, "shop: switch on, only those granted may call (as the proxy at " + r.AdminAddr().String() + " goes by)\n" + table},
		{"by the documents", "shop " + none, "shop: switch on, only those granted may call (as the documents say)\n" + table},
		{"one cell", "shop --consumer bob --tool raw " + admin, "shop: switch on, only those granted may call (as the proxy at " + r.AdminAddr().String() + " goes by)\n" +
			"CONSUMER  TOOL  MAY CALL  WHY\nbob       raw   no        no grant\nAllow it: nacos-mcp-proxy grants allow shop --consumer bob --tool raw\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.out, r.must(append([]string{"grants", "explain"}, strings.Fields(tc.args)...)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var said explained
	if err := json.Unmarshal([]byte(r.must("grants", "explain", "shop", "--consumer", "alice", none, "-o", "json")), &said); err != nil {
		t.Fatal(err)
	}
	if len(said.Consumers) != 1 || !said.Consumers[0].Tools["raw"].Allowed || said.From != "source" {
		t.Errorf("JSON: %+v", said)
	}
	r.fails(exitNotFound, `there is no service "shp" (did you mean "shop"?)`, "grants", "explain", "shp", none)
	r.fails(exitNotFound, `there is no consumer "bo" (did you mean "bob"?)`, "grants", "explain", "shop", "--consumer", "bo", none)
	r.fails(exitNotFound, `shop has no tool "rw" that its documents name (did you mean "raw"?)`, "grants", "explain", "shop", "--tool", "rw", none)

	// What a passed-through service has is not in documents.
	r.put("proxy-services/tools.yaml", "server: {name: tools}\nupstream: {url: http://127.0.0.1:1/mcp, transport: streamable}\n")
	r.put("proxy-grants/tools.yaml", "auth: required\ntools: {'add*': [bob]}\n")
	if out := r.must("grants", "explain", "tools", "--consumer", "bob", "--tool", "add_two", none); !strings.Contains(out, "bob       add_two  yes       tool grant on add*") {
		t.Errorf("got\n%s", out)
	}
	// Reasons that are no grant's.
	r.put("proxy-services/tools.yaml", "upstream: {url: http://127.0.0.1:1/mcp, transport: streamable}\nallowTools: [add_one]\n")
	if out := r.must("grants", "explain", "tools", "--consumer", "bob", "--tool", "add_two", none); !strings.Contains(out, "bob       add_two  no        the tool is disabled for everybody") ||
		strings.Contains(out, "grants allow") {
		t.Errorf("got\n%s", out)
	}
	r.must("consumers", "disable", "bob")
	if out := r.must("grants", "explain", "shop", "--consumer", "bob", none); !strings.Contains(out, "consumer disabled") || !strings.Contains(out, "consumers enable bob") {
		t.Errorf("got\n%s", out)
	}
	r.must("consumers", "keys", "revoke", "alice", "alice-1")
	if out := r.must("grants", "explain", "shop", "--consumer", "alice", none); !strings.Contains(out, "service grant; but no key of this consumer is in force") || !strings.Contains(out, "consumers keys add alice") {
		t.Errorf("got\n%s", out)
	}
}

// Seen red with /status read from elsewhere and with a rejected document not counted.
func TestStatusOfARunningProxy(t *testing.T) {
	r := runProxy(t)
	admin := "--admin-listen=" + r.AdminAddr().String()
	out := r.must("status", admin)
	for began := time.Now(); !strings.Contains(out, "1 tool rejected") && time.Since(began) < 20*time.Second; out = r.must("status", admin) {
		time.Sleep(10 * time.Millisecond)
	}
	// One tool needs a credential that its service may not read, as validation finds soon after the start.
	for _, want := range []string{"nacos-mcp-proxy test, replica ", ": ready\n", "Source dir: connected\n", "6 documents, 2 services, 0 not served, 2 consumers: 0 documents and 1 tool rejected\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	r.put("proxy-grants/shop.yaml", "auth: required\ntool: {}\n")
	for began := time.Now(); !strings.Contains(out, ": 1 document and 1 tool rejected"); out = r.must("status", admin) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the rejection does not show:\n%s", out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(out, `proxy-grants/shop.yaml:2: unknown field "tool" (did you mean "tools"?)`) || !strings.Contains(out, "the version before is in force") {
		t.Errorf("got\n%s", out)
	}
	// A tool is rejected by itself: `check` and `status` count it alike.
	r.put("proxy-services/shop.yaml", fmt.Sprintf(shopTools, "http://127.0.0.1:1")+"  - {name: broken, requestTemplate: {url: \"/{{.args.x\", method: GET}}\n")
	for began := time.Now(); !strings.Contains(out, ": 1 document and 2 tools rejected\n"); out = r.must("status", admin) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the rejected tool does not show:\n%s", out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !regexp.MustCompile(`\n  proxy-services/shop\.yaml:\d+: tool "broken": .*; the other tools are in force\)\n`).MatchString(out) {
		t.Errorf("got\n%s", out)
	}
	var said struct{ Rejected catalog.RejectedCount }
	if err := json.Unmarshal([]byte(r.must("status", admin, "-o", "json")), &said); err != nil {
		t.Error(err)
	}
	if code := r.run("check"); code != exitFailed || !strings.HasSuffix(r.out, ": 1 document and 2 tools rejected, 0 warnings\n") {
		t.Errorf("check says otherwise:\n%s", r.out)
	}
	r.run("check", "-o", "json")
	var checked checked
	if err := json.Unmarshal([]byte(r.out), &checked); err != nil || checked.Rejected != said.Rejected || said.Rejected != (catalog.RejectedCount{Documents: 1, Tools: 2}) {
		t.Errorf("status %+v, check %+v %v", said.Rejected, checked.Rejected, err)
	}
	r.fails(exitUnavailable, "is it running, and is admin.listen right?", "status", "--admin-listen=127.0.0.1:1")

	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret-of-admins" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"version":"v9","ready":false,"source":{"kind":"nacos"}}`)
	}))
	defer guarded.Close()
	admin = "--admin-listen=" + guarded.Listener.Addr().String()
	r.fails(exitUnavailable, "wants a token: set NMP_ADMIN_TOKEN", "status", admin)
	t.Setenv("NMP_ADMIN_TOKEN", "s3cret-of-admins")
	if code := r.run("status", admin); code != exitFailed || !strings.Contains(r.out, "v9") || !strings.Contains(r.out, "not ready") {
		t.Errorf("exit %d\n%s%s", code, r.out, r.err)
	}
}
