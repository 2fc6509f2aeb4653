package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

const keyed = `server:
  name: shop
  securitySchemes: [{id: key, type: apiKey, in: header, name: X-Key, defaultCredential: "${credential:shop/key}"}]
upstream: {url: https://shop.example.com:8443/v1}
tools:
  - {name: one, requestTemplate: {url: /one, method: GET, security: {id: key}}}
  - {name: two, requestTemplate: {url: /two, method: GET}}
`

const shopKey = "services: [shop]\nhosts: ['shop.example.com:8443']\nvalues: {key: s3cret}\n"

const registryID = "4a6b5d3e-1c2f-4f6e-9d8a-7b6c5d4e3f2a"

// What a document needs of others is looked at before it is written, by the code that `check` uses: after each refusal and
// each write `check` finds nothing that it did not find before.
func TestWritesAreJudgedTogetherWithTheOtherDocuments(t *testing.T) {
	passed := strings.Replace(keyed, "/v1}", "/mcp, transport: streamable}", 1)
	passed = passed[:strings.Index(passed, "tools:")]
	for name, tc := range map[string]struct {
		documents map[string]string
		publish   string
		refused   []string // nil: written
	}{
		"a credential that nobody stored": {nil, keyed, []string{
			`proxy-services/shop.yaml:3: tool "one": securitySchemes.key.defaultCredential: ${credential:shop/key}: there is no such credential`,
			"nacos-mcp-proxy credentials set shop key --service shop --host shop.example.com:8443\n", "nothing was written"}},
		"a credential of other services": {map[string]string{"proxy-credentials/shop.yaml": strings.Replace(shopKey, "[shop]", "[other]", 1)}, keyed, []string{
			"or its document does not list this service", "nacos-mcp-proxy credentials set shop key --service shop"}},
		"a value that is not there": {map[string]string{"proxy-credentials/shop.yaml": strings.Replace(shopKey, "key:", "other:", 1)}, keyed, []string{
			`credential document "shop" has no value "key"`}},
		"a document of a group that the boot configuration does not list": {nil, strings.Replace(keyed, "${credential:shop/key}", "${nacos.key/secrets}", 1), []string{
			"${nacos.key/secrets}: add the group to credentials.groups in the boot configuration to allow it"}},
		"a credentials document that is rejected": {map[string]string{"proxy-credentials/shop.yaml": "services: [shop]\n"}, keyed, []string{
			"there is no such credential"}},
		"a credential that is there": {map[string]string{"proxy-credentials/shop.yaml": shopKey}, keyed, nil},
		"a credential that the service's upstream document refers to": {map[string]string{
			"proxy-upstreams/shop.yaml": "security: {id: key}\n"}, passed, []string{"${credential:shop/key}: there is no such credential"}},
		"a name in the Nacos MCP registry": {map[string]string{
			"mcp-server-versions/" + registryID + "-mcp-versions.json": `{"id":"` + registryID + `","name":"shop","protocol":"http","latestPublishedVersion":"1.0.0","versionDetails":[{"version":"1.0.0"}]}`},
			strings.Replace(keyed, "${credential:shop/key}", "plain", 1), []string{"the name shop is taken by proxy-services/shop.yaml"}},
		"a fault that was there before":            {map[string]string{"proxy-services/shop.yaml": keyed + "# before\n"}, keyed, nil},
		"a second fault beside one that was there": {map[string]string{"proxy-services/shop.yaml": keyed}, strings.Replace(keyed, "url: /two", `url: "/{{.args.x"`, 1), []string{`tool "two"`}},
		"faults of others":                         {map[string]string{"proxy-credentials/bad.yaml": "[]", "proxy-services/bad.yaml": "[]", "proxy-credentials/shop.yaml": shopKey}, keyed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			for doc, content := range tc.documents {
				s.put(doc, content)
			}
			s.run("check")
			before := s.out[:strings.LastIndex(strings.TrimSuffix("\n"+s.out, "\n"), "\n")]
			s.in = tc.publish
			code := s.run("services", "publish", "-", "--name", "shop")
			if tc.refused == nil && code != 0 || tc.refused != nil && code != exitFailed {
				t.Errorf("exit %d\n%s", code, s.err)
			}
			for _, want := range tc.refused {
				if !strings.Contains(s.err, want) {
					t.Errorf("not said: %s\nbut:\n%s", want, s.err)
				}
			}
			s.run("check")
			after := s.out[:strings.LastIndex(strings.TrimSuffix("\n"+s.out, "\n"), "\n")]
			if after != before {
				t.Errorf("check found\n%s\nand finds now\n%s", before, after)
			}
		})
	}
}

// Of several files none is written where one is refused.
func TestOfSeveralServicesAllAreWrittenOrNone(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.yaml"), service)
	writeFile(t, filepath.Join(dir, "shop.yaml"), keyed)
	s.fails(exitFailed, "the proxy would reject this (see above); nothing was written", "services", "publish", filepath.Join(dir, "a.yaml"), filepath.Join(dir, "shop.yaml"))
	if _, err := os.Stat(s.path("proxy-services")); err == nil {
		t.Error("one was written")
	}
	s.put("proxy-credentials/shop.yaml", shopKey)
	s.must("services", "publish", filepath.Join(dir, "a.yaml"), filepath.Join(dir, "shop.yaml"))
}

// Somebody whose document is rejected for a key that another one holds can still be disabled.
func TestConsumersThatAreRejectedInPartCanBeEdited(t *testing.T) {
	s := newShell(t)
	digest := strings.Repeat("ab", 32)
	s.put("proxy-consumers/alice.yaml", "keys: [{id: a, sha256: "+digest+"}]\n")
	s.put("proxy-consumers/bob.yaml", "keys: [{id: b, sha256: "+digest+"}]\n")
	s.must("consumers", "disable", "alice")
	s.must("consumers", "disable", "bob")
	s.put("proxy-consumers/bob.yaml", "keyes: []\n")
	s.fails(exitFailed, "is rejected as it stands, before this edit: mend it first", "consumers", "disable", "bob")
}

// A fault of many tools is told once and counted.
func TestTheSameFaultOfManyToolsIsToldOnce(t *testing.T) {
	s := newShell(t)
	s.in = keyed
	for i := range 20 {
		s.in += fmt.Sprintf("  - {name: more_%d, requestTemplate: {url: /one, method: GET, security: {id: key}}}\n", i)
	}
	s.fails(exitFailed, "proxy-services/shop.yaml: likewise 18 tools more\n", "services", "publish", "-", "--name", "shop")
	if n := strings.Count(s.err, "there is no such credential"); n != 3 {
		t.Errorf("told %d times:\n%s", n, s.err)
	}
}

// forbidding is a source of which this user may not read some groups.
type forbidding struct {
	source
	groups []string
}

func (f forbidding) List(ctx context.Context, group string) ([]nacos.Entry, error) {
	for _, g := range f.groups {
		if g == group {
			return nil, fmt.Errorf("list %s: %w", group, nacos.ErrForbidden)
		}
	}
	return f.source.List(ctx, group)
}

func (f forbidding) Get(ctx context.Context, key nacos.Key) (nacos.Document, error) {
	for _, g := range f.groups {
		if g == key.Group {
			return nacos.Document{}, fmt.Errorf("get %s: %w", key, nacos.ErrForbidden)
		}
	}
	return f.source.Get(ctx, key)
}

// A publisher may not read the backends' credentials: what cannot be checked is said, and stops nothing; what can be
// checked still is.
func TestWhoMayNotReadCredentialsIsWarned(t *testing.T) {
	s := newShell(t)
	s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
		d, err := openSources(ctx, cfg, log)
		if err == nil {
			d.main = forbidding{d.main, []string{registry.GroupCredentials, registry.GroupManifests, registry.GroupUpstreams}}
		}
		return d, err
	}
	s.in = keyed
	s.must("services", "publish", "-", "--name", "shop")
	for _, want := range []string{
		"you may not read proxy-credentials, so whether the credentials are there was not checked",
		"you may not read mcp-server-versions, so whether the name is taken in the Nacos MCP registry was not checked",
		"you may not read proxy-upstreams, so what it says of this service was not checked",
	} {
		if !strings.Contains(s.err, "proxy-services/shop.yaml: warning: "+want) {
			t.Errorf("not said: %s\nbut:\n%s", want, s.err)
		}
	}
	s.in = strings.Replace(keyed, "url: /two", `url: "/{{.args.x"`, 1)
	s.fails(exitFailed, "would be rejected", "services", "publish", "-", "--name", "shop")
	s.in = service
	s.must("services", "publish", "-", "--name", "plain")
	if strings.Contains(s.err, "proxy-credentials") {
		t.Errorf("a service without credentials:\n%s", s.err)
	}
}
