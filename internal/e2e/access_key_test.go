package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

const (
	canary      = "nmp_canary_0123456789abcdefghijklmnopqrs" // a key that we made
	plainCanary = "canary-of-somebodys-own-making-0123456"   // one that somebody brought along
)

// holds tells where one of the canaries is in what a backend was asked.
func (r *recorder) holds(secrets ...string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, line := range r.seen {
		head := fmt.Sprint(r.head[i])
		for _, secret := range secrets {
			for _, form := range []string{secret, url.QueryEscape(secret)} {
				if strings.Contains(line, form) || strings.Contains(head, form) {
					return line + " " + head
				}
			}
		}
	}
	return ""
}

// TestA21_KeysNeverReachBackends presents keys in every way, on all four kinds and on one whose backend redirects, while
// the boot configuration forwards each header that it may.
//
// Seen to fail: with gateway.strip doing nothing, and with it leaving what has an underscore.
func TestA21_KeysNeverReachBackends(t *testing.T) {
	w := directoryWorld(t)
	elsewhere := newRecorder(t, shop)
	moved := newRecorder(t, func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, elsewhere.URL+"/items/7", http.StatusTemporaryRedirect)
	})
	w.put(t, "proxy-services", "moved.yaml", ownService(moved.URL, "one", "one"))
	w.put(t, "proxy-consumers", "made.yaml", "sources: [bearer, {header: X-API-Key}, {query: api_key}]\nkeys: [{id: k1, sha256: "+digest(canary)+"}]\n")
	w.put(t, "proxy-consumers", "brought.yaml", "sources: [bearer, {header: X-API-Key}, {query: api_key}]\nkeys: [{id: k1, value: "+plainCanary+"}]\n")
	w.put(t, "proxy-consumers", "team.yaml", "sources: [{header: X-Team}]\nkeys: [{id: k1, value: team-"+plainCanary+"}]\n")
	all := append([]kind{{service: "moved", tool: "one", arguments: "{}"}}, kinds...)
	for _, k := range all {
		w.put(t, "proxy-grants", k.service+".yaml", "consumers: [made, brought, team]\n")
	}
	p := start(t, w.source, func(c *config.Config) {
		c.Upstream.ForwardHeaders = []string{"Authorization", "X-Api-Key", "X_API_KEY", "X_api_key", "X-Team", "X_Team", "Cookie", "X-Other", "Traceparent", "User-Agent"}
	}).ready()
	for _, secret := range []string{canary, plainCanary} {
		for _, v := range []struct {
			name   string
			header http.Header
			query  string
			works  bool
		}{
			{"bearer", http.Header{"Authorization": {"Bearer " + secret}}, "", true},
			{"bearer in another case", http.Header{"aUTHORIZATION": {"bEARER " + secret}}, "", true},
			{"header", http.Header{"X-API-Key": {secret}}, "", true},
			{"header in another case", http.Header{"x-apI-kEY": {secret}}, "", true},
			{"header with underscores besides", http.Header{"X-Api-Key": {secret}, "X_API_KEY": {secret}, "x_api_key": {secret}, "X_Api-Key": {secret}}, "", true},
			{"header twice", http.Header{"X-Api-Key": {secret, secret}, "Authorization": {"Bearer " + secret}}, "", true},
			{"header listed in Connection", http.Header{"X-Api-Key": {secret}, "Connection": {"X-API-Key, Authorization"}, "Authorization": {"Bearer " + secret}}, "", true},
			{"query", nil, "?api_key=" + secret, true},
			{"query twice, and another parameter", nil, "?x=1&api_key=" + secret + "&api_key=" + secret + "&other=" + secret, true},
			{"all places", http.Header{"X-Api-Key": {secret}, "Authorization": {"Bearer " + secret}}, "?api_key=" + secret, true},
			{"a place of somebody else's besides", http.Header{"X-Api-Key": {secret}, "X-Team": {secret}}, "", true},
			{"no scheme", http.Header{"Authorization": {secret}}, "", false},
		} {
			for _, k := range all {
				c := p.client(k.service+v.query, "")
				c.header = v.header.Clone()
				if c.header == nil {
					c.header = http.Header{}
				}
				c.header.Set("X-Other", "fine")
				a := c.callIn(modern, k.tool, k.arguments)
				if v.works != (a.Status == http.StatusOK) || v.works && k.want != "" && a.text() != k.want {
					t.Errorf("%s on %s: %d %s", v.name, k.service, a.Status, a.Body)
				}
				c.initialize()
				c.list()
			}
		}
	}
	c := p.client("store", "")
	c.header = http.Header{"X-Team": {"team-" + plainCanary}, "Authorization": {"Bearer team-" + plainCanary}, "X-Api-Key": {plainCanary}}
	if a := c.list(); a.Status != http.StatusUnauthorized {
		t.Errorf("two keys: %d %s", a.Status, a.Body)
	}
	delete(c.header, "X-Api-Key")
	if a := c.call("get_item", `{"id":7}`); a.text() != "Lamp costs 12.50" {
		t.Errorf("a consumer with its own place: %d %s", a.Status, a.Body)
	}
	for name, backend := range map[string]*recorder{"the API": w.api, "the MCP server": w.tools, "the one that redirects": moved, "where it redirects to": elsewhere} {
		if where := backend.holds(canary, plainCanary); where != "" {
			t.Errorf("%s got a key: %s", name, where)
		}
	}
	if w.api.count() == 0 || w.tools.count() == 0 || moved.count() == 0 {
		t.Error("a backend was not asked at all")
	}
}

// TestA20_KeysAppearNowhere uses keys rightly and wrongly, breaks what can be broken, and then looks for them in all that
// the proxy writes, keeps and says, with logging at its most talkative.
//
// Seen to fail: with Record's texts written as they come (a key in the path, as a tool's name and in the arguments), with
// the store's sealing off, and with a key quoted in a rejection.
func TestA20_KeysAppearNowhere(t *testing.T) {
	w := directoryWorld(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	w.put(t, "proxy-services", "gone.yaml", ownService(gone.URL, "one", "one"))
	w.put(t, "proxy-consumers", "made.yaml", "sources: [bearer, {query: api_key}]\nkeys: [{id: k1, sha256: "+digest(canary)+"}]\n")
	w.put(t, "proxy-consumers", "brought.yaml", "keys: [{id: k1, value: "+plainCanary+"}]\n")
	// Documents that are wrong just where the key stands.
	for name, content := range map[string]string{
		"broken":  "keys: [{id: k1, value: " + plainCanary + "1, sha256: " + digest(canary) + "}]\n",
		"worse":   "keys: [{id: k1, sha256: " + plainCanary + "}]\n",
		"worst":   "keys: [" + plainCanary + "]\n",
		"syntax":  "keys: [{id: " + canary + ", value: '" + plainCanary + "]\n",
		"field":   "keys: [{id: k1, " + canary + ": x}]\n", // a name that is no field has to be said, but not one that is a key of ours
		"again":   "keys: [{id: k1, value: " + plainCanary + "}]\n",
		"enabled": "enabled: " + plainCanary + "\n",
	} {
		w.put(t, "proxy-consumers", name+".yaml", content)
	}
	for _, k := range append([]kind{{service: "gone"}}, kinds...) {
		w.put(t, "proxy-grants", k.service+".yaml", "consumers: [made]\ntools: {no_such: [brought]}\n")
	}
	dir := t.TempDir()
	audit := filepath.Join(dir, "audit.log")
	p := start(t, w.source, func(c *config.Config) {
		c.State.Path = filepath.Join(dir, "state")
		c.Log.Audit, c.Log.AuditAllowed, c.Log.AuditArguments = audit, true, true
		c.Log.Level = slog.LevelDebug
	}).ready()
	var said strings.Builder // all answers
	note := func(a answer) { fmt.Fprintln(&said, a.Status, a.Header, a.Body) }
	for _, k := range append([]kind{{service: "gone", tool: "one", arguments: "{}"}}, kinds...) {
		for _, secret := range []string{canary, plainCanary} {
			c := p.client(k.service, secret)
			note(c.initialize())
			note(c.list())
			note(c.call(k.tool, k.arguments))
			note(c.do(http.MethodDelete, ""))
			c.session = secret
			note(c.list())
			note(c.do(http.MethodGet, ""))
		}
		c := p.client(k.service, canary)
		note(c.callIn(modern, k.tool, k.arguments))
		note(c.post(`{"jsonrpc":"2.0","id":"` + canary + `","method":"x"`))
		note(c.post(`{"jsonrpc":"2.0","id":1,"method":"` + canary + `"`))
		for _, h := range map[string]http.Header{
			"two keys":       {"X-Api-Key": {plainCanary}},
			"unknown key":    {"Authorization": {"Bearer " + canary + "x"}},
			"misplaced":      {"Authorization": {"x"}, "X-Api-Key": {canary}},
			"no scheme":      {"Authorization": {canary}},
			"origin":         {"Origin": {"https://" + canary}},
			"version":        {"Mcp-Protocol-Version": {canary}},
			"name":           {"Mcp-Name": {canary}, "Mcp-Protocol-Version": {"2026-07-28"}},
			"content type":   {"Content-Type": {canary}},
			"trace":          {"Traceparent": {"00-" + canary + "-b7ad6b7169203331-01"}},
			"forwarded":      {"X-Forwarded-For": {canary}},
			"last event":     {"Last-Event-Id": {canary}},
			"accept nothing": {"Accept": {canary}},
		} {
			c := p.client(k.service, canary)
			c.header = h
			note(c.list())
		}
		note(p.client(k.service+"?api_key="+canary, "").list())
		note(p.client(k.service+"?api_key="+canary+"x", "").list())
		note(p.client(k.service+"@"+canary, canary).list())
		note(p.client(canary+"/"+k.service, "").list())
	}
	// What somebody sends in a message goes back to that somebody, and to the audit log without the key.
	p.client("store", canary).call(canary, "{}")
	p.client("store", canary).call("get_item", `{"id":"`+canary+`"}`)

	eventually(t, 10*time.Second, "the audit log has the last call", func() bool {
		b, _ := os.ReadFile(audit)
		return strings.Contains(string(b), `"arguments":"{\"id\":\"nmp_…\"}"`)
	})
	places := map[string]string{"an answer": said.String(), "the log": p.log.String()}
	for _, path := range []string{"/status", "/metrics", "/readyz", "/status/access?service=store", "/status/access?service=" + canary} {
		resp, err := http.Get("http://" + p.AdminAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if strings.Contains(path, canary) {
			b = []byte(strings.ReplaceAll(string(b), canary, "")) // what was asked for
		}
		places[path] = string(b)
	}
	if err := p.Drain(); err != nil {
		t.Error(err)
	}
	stored := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		places[path] = string(b)
		stored++
		return err
	})
	if err != nil || stored < 2 {
		t.Fatalf("files of the proxy: %d %v", stored, err)
	}
	for place, text := range places {
		for name, secret := range map[string]string{
			"the made key": canary, "the brought key": plainCanary, "a digest": digest(canary), "another digest": digest(plainCanary),
		} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s holds %s: …%q…", place, name, text[max(0, i-120):min(len(text), i+120)])
			}
		}
	}
	for line := range strings.Lines(places[audit]) {
		if !json.Valid([]byte(line)) {
			t.Errorf("audit line: %s", line)
		}
	}
	if !strings.Contains(places["/status"], registry.GroupConsumers) || !strings.Contains(places["/metrics"], "nmp_requests_total") {
		t.Error("the places were not looked at")
	}
}
