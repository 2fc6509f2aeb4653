package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// trick is a request by which a consumer tries to have a tool executed that it was not granted.
type trick struct {
	name   string
	header http.Header
	body   string
}

// spellings are names that some decoder takes for name.
func spellings(name string) []string {
	escape := func(s string) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(s)) {
			fmt.Fprintf(&b, `\u%04X`, u)
		}
		return b.String()
	}
	all := []string{
		name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], name[:1] + strings.ToUpper(name[1:]),
		escape(name), escape(name[:1]) + name[1:], name[:len(name)-1] + strings.ToLower(escape(name[len(name)-1:])), escape(strings.ToUpper(name)),
		name + `\u0000`, name + `\u0000x`, name + " ", " " + name, `\t` + name, "_" + name, name + "_", name[:2] + "-" + name[2:],
	}
	for from, to := range map[string]string{"s": "ſ", "k": "K", "i": "ı"} {
		if strings.Contains(name, from) {
			all = append(all, strings.Replace(name, from, to, 1), strings.Replace(name, from, escape(to), 1))
		}
	}
	return all
}

// tricks are all ways we know to show a gateway the allowed tool and a backend the denied one.
func tricks(allowed, denied string) []trick {
	var all []trick
	add := func(name, body string, header ...string) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h[http.CanonicalHeaderKey(header[i])] = append(h[http.CanonicalHeaderKey(header[i])], header[i+1])
		}
		all = append(all, trick{name, h, body})
	}
	good := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, allowed)
	bad := strings.Replace(good, allowed, denied, 1)
	add("plain", bad)
	nameTricks(add, allowed, denied)
	for i, id := range []string{``, `"id":null,`, `"id":[1],`, `"id":{},`, `"id":true,`, `"id":1,"id":2,`, `"ID":1,`} {
		add(fmt.Sprintf("id %d", i), strings.Replace(bad, `"id":1,`, id, 1))
	}
	for i, head := range []string{``, `"jsonrpc":"1.0",`, `"jsonrpc":2.0,`, `"result":{},"jsonrpc":"2.0",`, `"error":{},"jsonrpc":"2.0",`, `"result":null,"jsonrpc":"2.0",`} {
		add(fmt.Sprintf("head %d", i), strings.Replace(bad, `"jsonrpc":"2.0",`, head, 1))
	}
	for i, whole := range []string{
		"\ufeff" + bad, "\ufeff\ufeff" + bad, "[" + bad + "]", "[" + good + "," + bad + "]", "[[" + bad + "]]", " \n[" + bad + "]",
		good + bad, good + "\n" + bad, good + "," + bad, good + "\x00" + bad, good + "\x1e" + bad, good + "}" + bad, good + " x " + bad,
		good + "/*" + bad + "*/", "/**/" + bad, bad + "\x00", "\x00" + bad, "\x0b" + bad, bad + "//", bad + ",", bad + strings.Repeat(" ", 4096) + "]",
		strings.Replace(bad, denied, "\xff"+denied, 1), strings.Replace(bad, denied, denied+"\xc0\x80", 1), strings.Replace(bad, `"name"`, "\"na\xffme\"", 1),
		strings.Replace(good, `"arguments"`, "\"name\xed\xa0\x80\":\""+denied+`","arguments"`, 1), strings.Replace(bad, `"method"`, "\"\xf8method\"", 1),
		strings.Replace(good, `"params"`, `"x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`,"params":{"name":"`+denied+`"},"params"`, 1),
		strings.Replace(good, `{}}}`, `{},"name":"`+denied+`","x":`+strings.Repeat(`{"a":`, 4000)+"1"+strings.Repeat("}", 4000)+`}}`, 1),
	} {
		add(fmt.Sprintf("whole %d", i), whole)
	}
	headerTricks(add, good, denied)
	return all
}

// nameTricks play with names and their values.
func nameTricks(add func(name, body string, header ...string), allowed, denied string) {
	const envelope = `{"jsonrpc":"2.0",%s}`
	pairs := []struct{ key, good, bad, more, in string }{
		{"name", `"` + allowed + `"`, `"` + denied + `"`, ``, `"id":1,"method":"tools/call","params":{%s}`},
		{"method", `"ping"`, `"tools/call"`, `,"params":{"name":"` + denied + `"}`, `"id":1,%s`},
		{"method", `"notifications/initialized"`, `"tools/call"`, `,"params":{"name":"` + denied + `"}`, `%s`},
		{"method", `"x/y"`, `"tools/call"`, `,"params":{"name":"` + denied + `"}`, `%s`},
		{"params", `{"name":"` + allowed + `"}`, `{"name":"` + denied + `"}`, ``, `"id":1,"method":"tools/call",%s`},
		{"params", `null`, `{"name":"` + denied + `"}`, ``, `"id":1,"method":"tools/call",%s`},
		{"params", `{"name":"` + allowed + `"}`, `[{"name":"` + denied + `"}],"params":{"name":"` + denied + `"}`, ``, `"id":1,"method":"tools/call",%s`},
	}
	for n, p := range pairs {
		for i, s := range spellings(p.key) {
			for j, both := range []string{
				fmt.Sprintf(`%q:%s,"%s":%s`, p.key, p.good, s, p.bad), fmt.Sprintf(`"%s":%s,%q:%s`, s, p.bad, p.key, p.good),
				fmt.Sprintf(`%q:%s,"%s":%s`, p.key, p.bad, s, p.good), fmt.Sprintf(`"%s":%s,%q:%s`, s, p.good, p.key, p.bad),
				fmt.Sprintf(`"%s":%s`, s, p.bad),
			} {
				add(fmt.Sprintf("%s %d.%d.%d", p.key, n, i, j), fmt.Sprintf(envelope, fmt.Sprintf(p.in, both+p.more)))
			}
		}
	}
	for i, s := range spellings(denied) {
		add(fmt.Sprintf("tool %d", i), fmt.Sprintf(envelope, `"id":1,"method":"tools/call","params":{"name":"`+s+`"}`))
	}
	for i, s := range append(spellings("tools/call"), `tools\/call`, `/tools/call`, `tools/call/`, `TOOLS\/CALL`, `tools/call\ud800`) {
		for j, id := range []string{`"id":1,`, ``, `"id":null,`} {
			add(fmt.Sprintf("method value %d.%d", i, j), fmt.Sprintf(envelope, id+`"method":"`+s+`","params":{"name":"`+denied+`"}`))
		}
	}
	for i, s := range []string{`\ud800`, `\udc00\ud800`, `\u0000`, `\ufffd`} {
		add(fmt.Sprintf("lone %d", i), fmt.Sprintf(envelope, `"id":1,"method":"tools/call","params":{"name":"`+denied+s+`"}`))
	}
}

// headerTricks say something in the header that the body does not.
func headerTricks(add func(name, body string, header ...string), good, denied string) {
	encoded := "=?base64?" + base64.StdEncoding.EncodeToString([]byte(denied)) + "?="
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	note := `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	response := `{"jsonrpc":"2.0","id":1,"result":{}}`
	for i, name := range []string{denied, encoded, strings.ToUpper(denied), " " + denied} {
		add(fmt.Sprintf("name header %d", i), good, "Mcp-Method", "tools/call", "Mcp-Name", name)
		add(fmt.Sprintf("name header, no method %d", i), good, "Mcp-Name", name)
		for j, body := range []string{ping, note, response} {
			add(fmt.Sprintf("method header %d.%d", i, j), body, "Mcp-Method", "tools/call", "Mcp-Name", name)
			add(fmt.Sprintf("name header without a name %d.%d", i, j), body, "Mcp-Name", name)
		}
	}
	add("second name header", good, "Mcp-Method", "tools/call", "Mcp-Name", gjson.Get(good, "params.name").Str, "Mcp-Name", denied)
	hide := func(s string) string { // UTF-7
		var raw []byte
		for _, u := range utf16.Encode([]rune(s)) {
			raw = append(raw, byte(u>>8), byte(u))
		}
		return "+" + base64.RawStdEncoding.EncodeToString(raw) + "-"
	}
	hidden := strings.Replace(good, `{}}}`, `{"x":"`+hide(`"},"name":"`+denied+`","y":{"z":"`)+`"}}}`, 1)
	for i, ct := range []string{"application/json; charset=utf-7", "application/json;charset=UTF-7", `application/json; charset="unicode-1-1-utf-7"`} {
		add(fmt.Sprintf("charset %d", i), hidden, "Content-Type", ct)
	}
	add("second content type", hidden, "Content-Type", "application/json", "Content-Type", "application/json; charset=utf-7")
	var wide bytes.Buffer
	for _, u := range utf16.Encode([]rune(strings.Replace(good, gjson.Get(good, "params.name").Str, denied, 1))) {
		wide.Write([]byte{byte(u), byte(u >> 8)})
	}
	add("UTF-16", wide.String(), "Content-Type", "application/json; charset=utf-16le")
}

// gullible is a backend that is every careless backend at once. It notes which tools some of them would execute.
type gullible struct {
	*httptest.Server
	mu       sync.Mutex
	executed map[string]string // tool to the first request and reading by which it was
	received int
	sessions map[string]chan string // of an HTTP+SSE backend: the answers that go on each stream
}

func newGullible(t testing.TB) *gullible {
	g := &gullible{executed: map[string]string{}, sessions: map[string]chan string{}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(func() { g.CloseClientConnections(); g.Close() })
	return g
}

func (g *gullible) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/event-stream")
		id, events := rand.Text(), make(chan string, 64)
		g.mu.Lock()
		g.sessions[id] = events
		g.mu.Unlock()
		defer func() {
			g.mu.Lock()
			delete(g.sessions, id)
			g.mu.Unlock()
		}()
		fmt.Fprintf(w, "event: endpoint\ndata: /message?session=%s\n\n", id)
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case e := <-events:
				fmt.Fprintf(w, "event: message\ndata: %s\n\n", e)
			case <-r.Context().Done():
				return
			}
		}
	}
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	g.received++
	for tool, by := range readings(r.Header, body) {
		if g.executed[tool] == "" {
			g.executed[tool] = fmt.Sprintf("%q %v read by %s", body, r.Header, strings.Join(by, ", "))
		}
	}
	g.mu.Unlock()
	id := gjson.GetBytes(body, "id").Raw
	answer := `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[],"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"g","version":"1"}}}`
	switch {
	case r.URL.Path == "/message":
		g.mu.Lock()
		events := g.sessions[r.URL.Query().Get("session")]
		g.mu.Unlock()
		if w.WriteHeader(http.StatusAccepted); id != "" && events != nil {
			events <- answer
		}
	case id == "":
		w.WriteHeader(http.StatusAccepted)
	case r.Header.Get("Mcp-Protocol-Version") == modernRevision: // as the SDKs do: events
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: message\ndata: %s\n\n", answer)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer)
	}
}

func (g *gullible) did(tool string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.executed[tool]
}

// TestA19_NoTrickExecutesADeniedTool shows every trick to services of every kind, of our own documents and of the registry,
// in both eras and over both transports towards clients, with a key that was granted one tool. Behind them is a backend that
// executes whatever any decoder could make of a request, and that answers modern requests with events. It was seen to fail with each of these taken out: the refusal of duplicates, of variants and of NUL
// among names (wire.scanner.field), of trailing bytes (wire.Scan), of headers that differ (wire.HeadersDiffer) or that
// choose a tool where the body does not (relay.unrouted), and of other charsets (gateway.isJSON with relay.requestHeader).
// A call without id is refused twice, in wire.scanner.finish and in gateway.mayPass.
func TestA19_NoTrickExecutesADeniedTool(t *testing.T) {
	for _, k := range tricks("echo", "danger") {
		if !strings.HasPrefix(k.name, "params ") && len(readings(k.header, []byte(k.body))["danger"]) == 0 {
			t.Errorf("trick %s would deceive nobody: %q", k.name, k.body)
		}
	}
	s := directory(t)
	direct, bridged, regdirect, regbridged, api := newGullible(t), newGullible(t), newGullible(t), newGullible(t), newRecorder(t, shop)
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-services", "direct.yaml", "upstream: {url: \""+direct.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-services", "bridged.yaml", "upstream: {url: \""+bridged.URL+"/sse\", transport: sse}\n")
	ownKinds(t, s, api, direct.Server)
	s.instance(t, "DEFAULT_GROUP", "direct", regdirect.Listener.Addr().String())
	s.instance(t, "DEFAULT_GROUP", "bridged", regbridged.Listener.Addr().String())
	s.instance(t, "DEFAULT_GROUP", "api", api.address())
	const none = `{"tools":[],"toolsMeta":{},"securitySchemes":[]}`
	triple(t, s, "11111111-1111-4111-8111-111111111111", "regstore", "http", "api", registryTools)
	triple(t, s, "22222222-2222-4222-8222-222222222222", "regdirect", "mcp-streamable", "direct", none)
	triple(t, s, "33333333-3333-4333-8333-333333333333", "regbridged", "mcp-sse", "bridged", none)
	for _, name := range []string{"direct", "bridged", "regdirect", "regbridged"} {
		s.put(t, "proxy-grants", name+".yaml", "tools: {echo: [bob]}\n")
	}
	for _, name := range []string{"store", "regstore"} {
		s.put(t, "proxy-grants", name+".yaml", "tools: {list_items: [bob]}\n")
	}
	p := start(t, s, func(c *config.Config) { c.Limits.CallTime = 2 * time.Second }).ready()
	for _, service := range []string{"direct", "bridged", "store", "regdirect", "regbridged", "regstore"} {
		t.Run(service, func(t *testing.T) {
			p := *p
			p.t = t
			allowed, denied := "echo", "danger"
			if strings.HasSuffix(service, "store") {
				allowed, denied = "list_items", "get_item"
			}
			c := p.client(service, bobKey)
			c.initialize()
			c.tryAll(t, tricks(allowed, denied))
			c.tryOverSSE(t, tricks(allowed, denied))
			if a := c.call(allowed, "{}"); a.Status != 200 || strings.Contains(a.Body, `"error"`) {
				t.Errorf("the granted tool: %d %s", a.Status, a.Body)
			}
		})
	}
	for _, g := range []*gullible{direct, bridged, regdirect, regbridged} {
		if how := g.did("danger"); how != "" {
			t.Errorf("a denied tool was executed: %s", how)
		}
		if g.did("echo") == "" {
			t.Error("the granted tool was never executed")
		}
	}
	for _, seen := range api.seen {
		if strings.HasPrefix(seen, "GET /items/") {
			t.Errorf("a denied tool was executed: %s", seen)
		}
	}
}

// tryAll posts tricks as they are and as a modern client would.
func (c *client) tryAll(t *testing.T, all []trick) {
	t.Helper()
	for _, k := range all {
		for _, modern := range []bool{false, true} {
			try := *c
			try.header = k.header.Clone()
			body := k.body
			if modern {
				if strings.HasSuffix(c.service, "bridged") {
					continue
				}
				try.session = ""
				setDefault(try.header, "Mcp-Protocol-Version", "2026-07-28")
				setDefault(try.header, "Mcp-Method", "tools/call")
				setDefault(try.header, "Mcp-Name", "=?base64?"+base64.StdEncoding.EncodeToString([]byte(gjson.Get(body, "params.name").Str))+"?=")
				meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"name"`
				body = strings.Replace(body, `"name"`, meta, 1)
			}
			if a := try.post(body); a.Status >= 500 {
				t.Errorf("trick %s: %d %s", k.name, a.Status, a.Body)
			}
		}
	}
}

func setDefault(h http.Header, name, value string) {
	if len(h[name]) == 0 && value != "" {
		h.Set(name, value)
	}
}

// tryOverSSE posts tricks to the message endpoint of HTTP+SSE.
func (c *client) tryOverSSE(t *testing.T, all []trick) {
	t.Helper()
	stream := connectSSE(t, c.p.URL+"/sse/"+c.service, c.key)
	go func() {
		for stream.lines.Scan() { // answers are not looked at, but must not pile up
		}
	}()
	for _, k := range all {
		req, err := http.NewRequest(http.MethodPost, stream.endpoint.String(), strings.NewReader(k.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = k.header.Clone()
		setDefault(req.Header, "Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+c.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode >= 500 {
			t.Errorf("trick %s: %d", k.name, resp.StatusCode)
		}
	}
}

// requests is how many requests came, whatever they were.
func (g *gullible) requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.received
}
