package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func TestMain(m *testing.M) {
	if os.Getenv(executeVariable) != "" {
		os.Exit(Execute("v1.2.3"))
	}
	leak := goleak.IgnoreCurrent()
	code := nacostest.Main(m)
	if err := goleak.Find(leak); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shell runs commands on a directory source of its own.
type shell struct {
	t    *testing.T
	root string
	in   string // standard input of every command
	out  string // of the last command
	err  string
	open func(context.Context, config.Config, *slog.Logger) (*documents, error)
}

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newShell(t *testing.T) *shell {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "config"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &shell{t: t, root: root, open: openSources}
}

// run gives the exit code.
func (s *shell) run(args ...string) int {
	s.t.Helper()
	var out, errs bytes.Buffer
	p := &program{version: "v1.2.3", in: strings.NewReader(s.in), out: &out, err: &errs, now: func() time.Time { return testNow }, open: s.open}
	code := p.execute(s.t.Context(), append(args, "--dir-path", s.root))
	s.out, s.err = out.String(), errs.String()
	return code
}

func (s *shell) must(args ...string) string {
	s.t.Helper()
	if code := s.run(args...); code != 0 {
		s.t.Fatalf("%q: exit %d\n%s%s", args, code, s.out, s.err)
	}
	return s.out
}

// fails wants an exit code and what stderr says at its end.
func (s *shell) fails(code int, want string, args ...string) {
	s.t.Helper()
	if got := s.run(args...); got != code || !strings.Contains(s.err, want) {
		s.t.Errorf("%q: exit %d, want %d\nstderr %s\nwant   %s", args, got, code, s.err, want)
	}
}

func (s *shell) path(doc string) string { return filepath.Join(s.root, "config", doc) }

func (s *shell) put(doc, content string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(doc)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(doc), []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shell) get(doc string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(doc))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *shell) want(doc, content string) {
	s.t.Helper()
	if diff := cmp.Diff(content, s.get(doc)); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", doc, diff)
	}
}

const service = `server: {name: petstore}
upstream: {url: http://127.0.0.1:1}
tools:
  - name: get_pet
    description: Find a pet
    args: [{name: id, type: integer, required: true, position: path, description: its id}]
    requestTemplate: {url: "/pet/{id}", method: GET}
`

func TestConsumersCreateShowsTheKeyOnceAndStoresItsDigest(t *testing.T) {
	s := newShell(t)
	out := s.must("consumers", "create", "alice", "--description", "Alice's agents", "--group", "research", "--until", "2026-12-31")
	key := regexp.MustCompile(`nmp_alice-1_[A-Z2-7]{52}`).FindString(out)
	if key == "" {
		t.Fatalf("no key:\n%s", out)
	}
	digest := sha256.Sum256([]byte(key))
	s.want("proxy-consumers/alice.yaml", consumerHeader+`enabled: true
description: Alice's agents
groups: [research]
keys:
  - id: alice-1
    sha256: `+hex.EncodeToString(digest[:])+`
    notAfter: 2026-12-31T23:59:59Z
`)
	if c, found := registry.ParseConsumer("alice.yaml", []byte(s.get("proxy-consumers/alice.yaml"))); c == nil || len(found) > 0 {
		t.Errorf("what was written is rejected: %v", found)
	}
	s.fails(exitFailed, "consumer alice exists already", "consumers", "create", "alice")
	if strings.Contains(s.must("consumers", "show", "alice")+s.must("consumers", "list", "-o", "json"), hex.EncodeToString(digest[:8])) {
		t.Error("a digest is shown")
	}
	s.fails(exitUsage, "is no valid name", "consumers", "create", "../alice")
	s.fails(exitUsage, "that is over", "consumers", "create", "bob", "--until", "2020-01-01")
	s.fails(exitUsage, "NAME is missing", "consumers", "create")
}

func TestA20_DryRunAndErrorsShowNoKey(t *testing.T) {
	s := newShell(t)
	out := s.must("consumers", "create", "alice", "--dry-run")
	if strings.Contains(out, "nmp_") || !strings.Contains(out, "dry run: nothing was written") {
		t.Errorf("got\n%s", out)
	}
	if _, err := os.Stat(s.path("proxy-consumers")); err == nil {
		t.Error("a dry run wrote")
	}
	s.put("proxy-consumers/bob.yaml", "# nmp_old_CANARY\nkeys:\n  - id: a\n    value: canary-plain-key-0123456789\n")
	s.must("consumers", "disable", "bob")
	s.must("consumers", "keys", "add", "bob", "--dry-run")
	all := s.out + s.err
	s.must("consumers", "show", "bob")
	all += s.out + s.err
	s.must("consumers", "delete", "bob")
	all += s.out + s.err
	if strings.Contains(strings.ToLower(all), "canary") {
		t.Errorf("a key is shown:\n%s", all)
	}
}

func TestConsumersKeysRotate(t *testing.T) {
	s := newShell(t)
	s.must("consumers", "create", "alice", "--no-key")
	var added outcome
	if err := json.Unmarshal([]byte(s.must("consumers", "keys", "add", "alice", "-o", "json")), &added); err != nil || added.KeyID != "alice-1" || !strings.HasPrefix(added.Key, "nmp_alice-1_") {
		t.Errorf("%+v %v", added, err)
	}
	s.must("consumers", "keys", "add", "alice", "--id", "laptop", "--until", "30d")
	s.fails(exitFailed, `alice has a key "laptop" already`, "consumers", "keys", "add", "alice", "--id", "laptop")
	s.fails(exitNotFound, `alice has no key "lptop"; it has alice-1, laptop`, "consumers", "keys", "revoke", "alice", "lptop")
	s.must("consumers", "keys", "revoke", "alice", "alice-1")
	var v consumerView
	if err := json.Unmarshal([]byte(s.must("consumers", "show", "alice", "-o", "json")), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Keys) != 1 || v.Keys[0].ID != "laptop" || v.Keys[0].State != "ok" || !v.Keys[0].NotAfter.Equal(testNow.AddDate(0, 0, 30)) {
		t.Errorf("%+v", v)
	}
	s.must("consumers", "keys", "revoke", "alice", "laptop")
	if !strings.HasSuffix(s.get("proxy-consumers/alice.yaml"), "\nkeys: []\n") {
		t.Errorf("got\n%s", s.get("proxy-consumers/alice.yaml"))
	}
	s.must("consumers", "keys", "add", "alice")
	s.fails(exitNotFound, `there is no consumer "alise" (did you mean "alice"?); create it: nacos-mcp-proxy consumers create alise`, "consumers", "disable", "alise")
}

const handwritten = `# Our petstore.   Ask Mallory before you edit.

auth:   required      # never off!

consumers:
- alice     # the boss

# added for the audit
- {group: auditors, notAfter: 2027-01-01T00:00:00Z}

tools:
    # reading
    get_pet:   [bob]

    "list_*": [ bob,   carol ]
`

func TestGrantsKeepWhatPeopleWrote(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		edit func(string) string
	}{
		"allow at service level": {[]string{"allow", "petstore", "--consumer", "bob"}, func(s string) string {
			return strings.Replace(s, "2027-01-01T00:00:00Z}\n", "2027-01-01T00:00:00Z}\n- bob\n", 1)
		}},
		"allow a group for a time": {[]string{"allow", "petstore", "--group", "ops", "--until", "2026-12-01T00:00:00Z"}, func(s string) string {
			return strings.Replace(s, "2027-01-01T00:00:00Z}\n", "2027-01-01T00:00:00Z}\n- {group: ops, notAfter: '2026-12-01T00:00:00Z'}\n", 1)
		}},
		"allow a tool": {[]string{"allow", "petstore", "--consumer", "bob", "--tool", "new"}, func(s string) string {
			return s + "    new: [bob]\n"
		}},
		"allow what is allowed": {[]string{"allow", "petstore", "--consumer", "alice"}, func(s string) string { return s }},
		"revoke at service level": {[]string{"revoke", "petstore", "--consumer", "alice"}, func(s string) string {
			return strings.Replace(s, "- alice     # the boss\n", "", 1)
		}},
		"revoke a tool": {[]string{"revoke", "petstore", "--consumer", "carol", "--tool", "list_*"}, func(s string) string {
			return strings.Replace(s, `[ bob,   carol ]`, "[bob]", 1)
		}},
		"revoke a group":    {[]string{"revoke", "petstore", "--group", "auditors"}, nil},
		"revoke everything": {[]string{"revoke", "petstore", "--consumer", "bob", "--all"}, nil},
		"switch off": {[]string{"disable", "petstore"}, func(s string) string {
			return strings.Replace(s, "auth:   required      # never off!", "auth: disabled # never off!", 1)
		}},
		"switch on": {[]string{"enable", "petstore"}, func(s string) string { return s }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			for _, c := range []string{"alice", "bob", "carol"} {
				s.must("consumers", "create", c)
			}
			s.put("proxy-grants/petstore.yaml", handwritten)
			s.must(append([]string{"grants"}, test.args...)...)
			got := s.get("proxy-grants/petstore.yaml")
			for _, comment := range []string{"Ask Mallory", "# never off!"} {
				if !strings.Contains(got, comment) {
					t.Errorf("comment %q is lost", comment)
				}
			}
			if g, found := registry.ParseGrants("petstore.yaml", []byte(got)); g == nil {
				t.Errorf("rejected: %v", found)
			}
			if test.edit != nil {
				s.want("proxy-grants/petstore.yaml", test.edit(handwritten))
			}
		})
	}
}

func TestGrantsAllow(t *testing.T) {
	s := newShell(t)
	s.put("proxy-services/petstore.yaml", service)
	s.fails(exitNotFound, `there is no consumer "alice"; create it: nacos-mcp-proxy consumers create alice (or add --create)`, "grants", "allow", "petstore", "--consumer", "alice")
	out := s.must("grants", "allow", "petstore", "--consumer", "alice", "--create")
	if n := strings.Count(out, "nmp_alice-1_"); n != 1 {
		t.Errorf("the key is shown %d times:\n%s", n, out)
	}
	s.want("proxy-grants/petstore.yaml", grantsHeader+"auth: required\nconsumers:\n  - alice\n")
	s.must("grants", "allow", "petstore", "--consumer", "alice", "--create") // is there already
	if strings.Contains(s.out, "nmp_") || !strings.Contains(s.out, "nothing to change") {
		t.Errorf("got\n%s", s.out)
	}
	s.must("grants", "allow", "petstore", "--consumer", "alice", "--until", "2026-12-31")
	s.must("grants", "allow", "petstore", "--consumer", "alice", "--tool", "get_pet")
	s.want("proxy-grants/petstore.yaml", grantsHeader+"auth: required\nconsumers:\n  - {consumer: alice, notAfter: '2026-12-31T23:59:59Z'}\ntools:\n  get_pet: [alice]\n")
	s.must("grants", "allow", "petstore", "--consumer", "alice") // without end again
	s.must("grants", "revoke", "petstore", "--consumer", "alice")
	if !strings.Contains(s.out, "alice is still granted tool get_pet; --all takes that away too.") {
		t.Errorf("got\n%s", s.out)
	}
	s.want("proxy-grants/petstore.yaml", grantsHeader+"auth: required\ntools:\n  get_pet: [alice]\n")
	s.fails(exitNotFound, "alice has no such grant on petstore; it is granted tool get_pet", "grants", "revoke", "petstore", "--consumer", "alice")
	s.must("grants", "revoke", "petstore", "--consumer", "alice", "--all")
	s.want("proxy-grants/petstore.yaml", grantsHeader+"auth: required\n")
	s.must("grants", "allow", "petstor", "--consumer", "alice")
	if !strings.Contains(s.err, `there is no service "petstor" yet (did you mean "petstore"?)`) {
		t.Errorf("stderr %s", s.err)
	}
	s.fails(exitUsage, "say for whom", "grants", "allow", "petstore")
	s.fails(exitUsage, "say for whom", "grants", "allow", "petstore", "--consumer", "a", "--group", "b")
	s.fails(exitFailed, "would be rejected", "grants", "allow", "petstore", "--consumer", "alice", "--tool", "no tool!")
	if !strings.Contains(s.must("grants", "show", "petstore"), "Nobody is granted anything") {
		t.Error(s.out)
	}
}

func TestGrantsNameTheGroupsThatRemain(t *testing.T) {
	s := newShell(t)
	s.must("consumers", "create", "alice", "--group", "staff")
	s.put("proxy-grants/p.yaml", "consumers: [alice, {group: staff}]\n")
	s.must("grants", "revoke", "p", "--consumer", "alice")
	if !strings.Contains(s.out, "alice is in group staff, which is granted the whole service.") {
		t.Errorf("got\n%s", s.out)
	}
	s.want("proxy-grants/p.yaml", "consumers: [{group: staff}]\n")
	s.must("grants", "allow", "p", "--group", "staf")
	if want := "warning: nobody is in group \"staf\" yet (did you mean \"staff\"?); see consumers list\n"; !strings.Contains(s.err, want) {
		t.Errorf("not said: %s\n%s", want, s.err)
	}
	if s.must("grants", "allow", "p", "--group", "staff"); strings.Contains(s.err, "nobody is in") {
		t.Errorf("of a group with members: %s", s.err)
	}
}

func TestJSONDocumentsStayJSON(t *testing.T) {
	s := newShell(t)
	s.must("consumers", "create", "alice")
	s.put("proxy-grants/p.json", `{"auth": "required", "tools": {"a\"b": []}, "versions": ["1.0"]}`)
	s.put("proxy-grants/p.json", `{"auth": "required", "tools": {"t": ["x"]}, "versions": ["1.0"]}`)
	s.must("grants", "allow", "p", "--consumer", "alice", "--until", "2026-12-31")
	s.want("proxy-grants/p.json", `{
  "auth": "required",
  "tools": {
    "t": [
      "x"
    ]
  },
  "versions": [
    "1.0"
  ],
  "consumers": [
    {
      "consumer": "alice",
      "notAfter": "2026-12-31T23:59:59Z"
    }
  ]
}
`)
	if _, err := os.Stat(s.path("proxy-grants/p.yaml")); err == nil {
		t.Error("a second document was made")
	}
}

func TestNothingIsWrittenThatCheckWouldReject(t *testing.T) {
	s := newShell(t)
	s.must("consumers", "create", "alice")
	bad := "auth: requird\nconsumers: []\n"
	s.put("proxy-grants/p.yaml", bad)
	s.fails(exitFailed, "proxy-grants/p.yaml is rejected as it stands, before this edit", "grants", "allow", "p", "--consumer", "alice")
	if !strings.Contains(s.err, "proxy-grants/p.yaml:1: auth: ") {
		t.Errorf("stderr %s", s.err)
	}
	s.want("proxy-grants/p.yaml", bad)
	for _, broken := range []string{"[]", "a: [", "", "text"} {
		s.put("proxy-grants/p.yaml", broken)
		if code := s.run("grants", "allow", "p", "--consumer", "alice"); code != exitFailed {
			t.Errorf("%q: exit %d", broken, code)
		}
		s.want("proxy-grants/p.yaml", broken)
	}
	file := filepath.Join(t.TempDir(), "petstore.yaml")
	os.WriteFile(file, []byte(strings.Replace(service, "/pet/{id}", "{{.args.id", 1)), 0o600)
	s.fails(exitFailed, "nothing was written", "services", "publish", file)
	if _, err := os.Stat(s.path("proxy-services")); err == nil {
		t.Error("a bad service was written")
	}
}

// racing makes somebody else's edit between our read and our write.
type racing struct {
	source
	key  nacos.Key
	edit func()
}

func (r *racing) Publish(ctx context.Context, doc nacos.Document, expect string) error {
	if doc.Key == r.key && r.edit != nil {
		edit := r.edit
		r.edit = nil
		edit()
	}
	return r.source.Publish(ctx, doc, expect)
}

func TestSomebodyElsesEditIsNotLost(t *testing.T) {
	s := newShell(t)
	s.must("consumers", "create", "alice")
	s.put("proxy-grants/p.yaml", "auth: required\n")
	race := func(edit func()) {
		s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
			d, err := openSources(ctx, cfg, log)
			if err == nil {
				d.access = &racing{d.access, nacos.Key{Group: "proxy-grants", DataID: "p.yaml"}, edit}
			}
			return d, err
		}
	}
	race(func() { s.put("proxy-grants/p.yaml", "auth: required\nconsumers: [bob]\n") })
	s.fails(exitConflict, "with --force to overwrite theirs", "grants", "allow", "p", "--consumer", "alice")
	for _, part := range []string{"was changed by somebody else", "+ consumers: [bob]", "- consumers: [bob]\n+ consumers:\n+   - alice"} {
		if !strings.Contains(s.err, part) {
			t.Errorf("%q is not in\n%s", part, s.err)
		}
	}
	s.want("proxy-grants/p.yaml", "auth: required\nconsumers: [bob]\n")
	s.open = openSources
	s.must("grants", "allow", "p", "--consumer", "alice")
	s.want("proxy-grants/p.yaml", "auth: required\nconsumers: [bob, alice]\n")
	race(func() { s.put("proxy-grants/p.yaml", "auth: required\n# theirs\n") })
	s.must("grants", "disable", "p", "--force")
	s.want("proxy-grants/p.yaml", "auth: disabled\nconsumers: [bob, alice]\n")
	race(func() { os.Remove(s.path("proxy-grants/p.yaml")) })
	s.fails(exitConflict, "does not exist any more", "grants", "enable", "p")
}

func TestServicesPublishShowRemove(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "petstore.yaml")
	os.WriteFile(file, []byte(service), 0o600)
	out := s.must("services", "publish", file)
	if !strings.Contains(out, "Nobody may call petstore yet: nacos-mcp-proxy grants allow petstore --consumer NAME --create") {
		t.Errorf("got\n%s", out)
	}
	s.want("proxy-services/petstore.yaml", service)
	if !strings.Contains(s.must("services", "publish", file), "nothing to change") {
		t.Error(s.out)
	}
	if out := s.must("services", "show", "petstore"); !strings.Contains(out, "served, protocol http") || !strings.Contains(out, "    get_pet\n") {
		t.Errorf("got\n%s", out)
	}
	s.must("services", "publish", file, "--name", "other")
	if out := s.must("services", "list"); !strings.Contains(out, "other     http") {
		t.Errorf("got\n%s", out)
	}
	s.fails(exitNotFound, `there is no service "petstor" (did you mean "petstore"?)`, "services", "show", "petstor")
	s.fails(exitNotFound, "no such file", "services", "publish", "nowhere.yaml")
	s.fails(exitUsage, "standard input has no name", "services", "publish", "-")
	s.must("services", "remove", "other")
	s.fails(exitNotFound, `there is no service "other"`, "services", "remove", "other")
}

func TestCheckSaysWhatTheProxyWouldReject(t *testing.T) {
	s := newShell(t)
	s.put("proxy-services/good.yaml", service)
	s.put("proxy-services/bad.yaml", strings.Replace(service, "{name: petstore}", "{nam: petstore}", 1))
	s.put("proxy-services/template.yaml", service+"  - name: second\n    requestTemplate: {url: \"/x/{{.args.y\", method: GET}\n")
	s.put("proxy-services/twice.yaml", service)
	s.put("proxy-services/twice.json", `{"upstream": {"url": "http://127.0.0.1:1/mcp", "transport": "streamable"}}`)
	s.put("proxy-grants/good.yaml", "auth: required\nconsumers: [alice, alcie]\n")
	s.put("proxy-grants/nobody.yaml", "auth: required\n")
	s.put("proxy-grants/typo.yaml", "auth: required\ntool: {}\n")
	digest := strings.Repeat("ab", 32)
	s.put("proxy-consumers/alice.yaml", "keys: [{id: a, sha256: "+digest+"}]\n")
	s.put("proxy-consumers/bob.yaml", "keys: [{id: b, sha256: "+digest+"}]\n")
	if code := s.run("check", s.root); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{
		`proxy-services/bad.yaml:1: server: unknown field "nam" (did you mean "name"?)`,
		`proxy-services/template.yaml:9: tool "second": `,
		`proxy-services/twice.json: another document of the same name takes precedence`,
		`proxy-grants/good.yaml:2: warning: consumers[1]: there is no consumer "alcie" (did you mean "alice"?)`,
		`proxy-grants/nobody.yaml: warning: kept for a service that does not exist yet`,
		`proxy-grants/typo.yaml:2: unknown field "tool" (did you mean "tools"?)`,
		`proxy-consumers/bob.yaml:1: keys[0]: key "b" is held by another consumer already and does not count here`,
	} {
		if !strings.Contains(s.out, want) {
			t.Errorf("not said: %s", want)
		}
	}
	if t.Failed() {
		t.Log(s.out)
	}
	var result checked
	s.run("check", "-o", "json")
	if err := json.Unmarshal([]byte(s.out), &result); err != nil || result.Documents != 10 || result.Rejected != (catalog.RejectedCount{Documents: 4, Tools: 1}) || result.Warnings != 2 {
		t.Errorf("%+v %v", result, err)
	}
	for _, doc := range []string{"proxy-services/bad.yaml", "proxy-services/template.yaml", "proxy-services/twice.json", "proxy-grants/typo.yaml", "proxy-consumers/bob.yaml"} {
		os.Remove(s.path(doc))
	}
	if out := s.must("check"); !strings.HasSuffix(out, "5 documents, 2 services: 0 documents and 0 tools rejected, 2 warnings\n") {
		t.Errorf("warnings failed the check:\n%s", out)
	}
	s.fails(exitNotFound, "no such file", "check", filepath.Join(s.root, "nowhere"))
	s.fails(exitUsage, "check either PATH or --source nacos", "check", s.root, "--source", "nacos")
}

func TestCheckConfinesTLSFiles(t *testing.T) {
	s := newShell(t)
	s.put("proxy-services/a.yaml", strings.Replace(service, "127.0.0.1:1}", "127.0.0.1:1, tls: {ca: /dev/ptmx}}", 1))
	s.put("proxy-services/b.yaml", service)
	s.put("proxy-upstreams/b.yaml", "tls: {ca: none.pem}\n")
	const notSet = "names a file of the proxy's host, but upstream.tlsDir is not set in the boot configuration: no such file is read\n"
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"proxy-services/a.yaml:2: upstream.tls.ca: " + notSet, "proxy-upstreams/b.yaml:1: tls.ca: " + notSet, ": 2 documents and 0 tools rejected"}},
		{[]string{"--upstream-tls-dir", dir}, []string{
			"proxy-services/a.yaml:2: upstream.tls.ca: is not below the directory that upstream.tlsDir names in the boot configuration\n",
			"proxy-upstreams/b.yaml:1: tls.ca: cannot be read below upstream.tlsDir: no such file or directory\n",
			": 2 documents and 0 tools rejected",
		}},
		{[]string{"--upstream-tls-dir", filepath.Join(dir, "on-the-proxy")}, []string{
			"proxy-upstreams/b.yaml:1: warning: tls.ca: was not looked at: the directory that upstream.tlsDir names is not on this machine\n",
			": 1 document and 0 tools rejected",
		}},
	} {
		if code := s.run(append([]string{"check"}, c.args...)...); code != exitFailed {
			t.Errorf("%q: exit %d", c.args, code)
		}
		for _, want := range c.want {
			if !strings.Contains(s.out, want) {
				t.Errorf("%q: not said: %s\nbut:\n%s", c.args, want, s.out)
			}
		}
	}
}

func TestEmptySourceAndMissingOne(t *testing.T) {
	s := newShell(t)
	if out := s.must("check"); out != "0 documents, 0 services: 0 documents and 0 tools rejected, 0 warnings\n" {
		t.Errorf("got %q", out)
	}
	if want := "There is not one document: are source and dir.path right?\n"; s.err != want {
		t.Errorf("stderr %q, want %q", s.err, want)
	}
	s.must("services", "list")
	s.must("consumers", "list")
	os.Remove(filepath.Join(s.root, "config"))
	s.fails(exitUnavailable, "does not exist (create it with mkdir -p, or mend dir.path)", "check")
	s.fails(exitUnavailable, "does not exist", "consumers", "create", "alice")
}

// Who cannot reach the source, or is not let in, is told what to look at.
func TestSourcesThatDoNotAnswer(t *testing.T) {
	s := newShell(t)
	const where = "Is it running, and is nacos.addresses (--nacos-addresses, NMP_NACOS_ADDRESSES) or dir.path right?\n"
	began := time.Now()
	s.fails(exitUnavailable, where, "consumers", "list", "--source", "nacos", "--nacos-addresses", "127.0.0.1:1")
	s.fails(exitUnavailable, where, "grants", "allow", "p", "--group", "g", "--source", "nacos", "--nacos-addresses", "127.0.0.1:1")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	s.open = func(context.Context, config.Config, *slog.Logger) (*documents, error) {
		return nil, fmt.Errorf("log in as %q: %w", "nacos", nacos.ErrLogin)
	}
	s.fails(exitUnavailable, "Check nacos.username (--nacos-username, NMP_NACOS_USERNAME) and nacos.password (NMP_NACOS_PASSWORD).\n", "consumers", "list")
}

func TestWrongUsage(t *testing.T) {
	s := newShell(t)
	s.fails(exitUsage, `unknown command "grant" for "nacos-mcp-proxy" (did you mean "grants"?)`, "grant")
	s.fails(exitUsage, `unknown command "alow" for "nacos-mcp-proxy grants" (did you mean "allow"?)`, "grants", "alow")
	s.fails(exitUsage, "unknown flag: --bogus", "check", "--bogus")
	s.fails(exitUsage, "output is text or json", "version", "-o", "xml")
	s.fails(exitUsage, `source "x" is none of dir, nacos`, "check", "--source", "x")
	s.fails(exitUnavailable, "is it running", "status", "--admin-listen", "127.0.0.1:1")
}

func TestEveryCommandExplainsItself(t *testing.T) {
	p := &program{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Long == "" && c.Example == "" {
			t.Errorf("%s: no help", c.CommandPath())
		}
		if c.HasSubCommands() {
			for _, below := range c.Commands() {
				walk(below)
			}
		} else if !strings.Contains(c.Example, "nacos-mcp-proxy "+strings.TrimPrefix(c.CommandPath(), "nacos-mcp-proxy ")) {
			t.Errorf("%s: no example", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Long+"\n"+c.Example, "\n") {
			if len([]rune(line)) > 120 {
				t.Errorf("%s: long line %q", c.CommandPath(), line)
			}
		}
	}
	walk(p.root())
}

func TestCompletion(t *testing.T) {
	s := newShell(t)
	s.put("proxy-services/petstore.yaml", service)
	s.must("consumers", "create", "alice", "--key-id", "laptop")
	s.must("consumers", "create", "bob")
	for _, test := range []struct{ args, want string }{
		{"grants allow pe", "petstore"},
		{"grants allow petstore --consumer ", "alice bob"},
		{"grants allow petstore --tool g", "get_pet"},
		{"consumers show a", "alice"},
		{"call pe", "petstore"},
		{"call petstore g", "get_pet"},
		{"grants explain petstore --consumer b", "bob"},
		{"consumers keys revoke alice ", "laptop"},
		{"consumers disable alice ", ""},
		{"check --source ", "dir nacos"},
	} {
		args := append([]string{"__complete", "--dir-path", s.root}, strings.Split(test.args, " ")...)
		var out, errs bytes.Buffer
		p := &program{in: strings.NewReader(""), out: &out, err: &errs, now: time.Now, open: openSources}
		p.execute(t.Context(), args)
		var got []string
		for line := range strings.SplitSeq(out.String(), "\n") {
			if line != "" && !strings.HasPrefix(line, ":") {
				got = append(got, line)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q: %q, want %q (%s)", test.args, got, test.want, errs.String())
		}
	}
}

func TestVersion(t *testing.T) {
	s := newShell(t)
	if out := s.must("version"); !strings.HasPrefix(out, "nacos-mcp-proxy v1.2.3 (go") {
		t.Errorf("got %q", out)
	}
	var v map[string]string
	if err := json.Unmarshal([]byte(s.must("version", "-o", "json")), &v); err != nil || v["version"] != "v1.2.3" {
		t.Errorf("%v %v", v, err)
	}
	if versionOf("x") != "x" || versionOf("") == "" {
		t.Error("version of a build")
	}
}

func TestUntil(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "0001-01-01T00:00:00Z",
		"2026-12-31":                "2026-12-31T23:59:59Z",
		"2026-12-31T18:00:00+02:00": "2026-12-31T16:00:00Z",
		"36h":                       "2026-11-25T00:00:00Z",
		"7d":                        "2026-11-30T12:00:00Z",
		"2026-11-23":                "2026-11-23T23:59:59Z",
		"yesterday":                 "--until yesterday: write a time (2026-12-31T18:00:00Z), a day (2026-12-31) or a span (12h, 30d)",
		"2026-11-22":                "--until 2026-11-22: that is over",
		"-1h":                       "--until -1h: that is over",
	} {
		got, err := parseUntil(in, testNow)
		have := got.Format(time.RFC3339)
		if err != nil {
			have = err.Error()
		}
		if have != want {
			t.Errorf("%q: %s, want %s", in, have, want)
		}
	}
}

func TestNewKeysDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		key, digest := newKey("x")
		secret := strings.TrimPrefix(key, "nmp_x_")
		if len(secret)*5 < 160 || seen[key] || len(digest) != 64 {
			t.Errorf("%s", fmt.Sprint(len(secret), len(digest)))
		}
		seen[key] = true
	}
}

// failing is a source in whose place Nacos answers writes, and what is named, with a failure of its own.
type failing struct {
	source
	also string // get or list
}

func (f failing) failed(what string) error {
	return fmt.Errorf("%s: %w: SQL state [40XL1] (code 500)", what, nacos.ErrFailed)
}

func (f failing) Publish(context.Context, nacos.Document, string) error { return f.failed("publish") }
func (f failing) Remove(context.Context, nacos.Key) error               { return f.failed("remove") }
func (f failing) Get(ctx context.Context, key nacos.Key) (nacos.Document, error) {
	if f.also == "get" {
		return nacos.Document{}, f.failed("get")
	}
	return f.source.Get(ctx, key)
}

func (f failing) List(ctx context.Context, group string) ([]nacos.Entry, error) {
	if f.also == "list" {
		return nil, f.failed("list")
	}
	return f.source.List(ctx, group)
}

// Nobody is sent to look whether Nacos runs where it answered, and what a write leaves in doubt is said. Seen red, all, with
// a failure taken for silence; "before a key is stored" with what to do about a key said of every error.
func TestNacosAnswersButFails(t *testing.T) {
	const failed = "Nacos answered, but failed; its own log says why. "
	const again = failed + "The change may have been made: run the command again, it writes only what is missing.\n"
	key := func(id string) string {
		return failed + "consumers show NAME tells whether the key " + id + " is stored, which nobody has seen then: consumers keys add NAME makes another one, " +
			"and consumers keys revoke NAME " + id + " removes it. If it is not stored, run the command again.\n"
	}
	for name, test := range map[string]struct {
		args string
		also string
		want string
	}{
		"an edit":                {"grants allow p --consumer alice", "", again},
		"a removal":              {"consumers delete alice", "", failed + "proxy-consumers/alice.yaml may have been removed: run the command again, it says so then.\n"},
		"the first key":          {"consumers create bob", "", strings.ReplaceAll(key("bob-1"), "NAME", "bob")},
		"a key on the way":       {"grants allow p --consumer bob --create", "", strings.ReplaceAll(key("bob-1"), "NAME", "bob")},
		"no key":                 {"consumers create bob --no-key", "", again},
		"another key":            {"consumers keys add alice --id laptop", "", strings.ReplaceAll(key("laptop"), "NAME", "alice")},
		"reading":                {"consumers show alice", "get", failed + "Run the command again.\n"},
		"before a key is stored": {"consumers create bob", "list", failed + "Run the command again.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			s.must("consumers", "create", "alice", "--key-id", "one")
			s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
				d, err := openSources(ctx, cfg, log)
				if err == nil {
					d.access = failing{d.access, test.also}
				}
				return d, err
			}
			s.fails(exitUnavailable, "SQL state [40XL1] (code 500)\n"+test.want, strings.Fields(test.args)...)
			if strings.Contains(s.out+s.err, "nmp_") {
				t.Errorf("a key is shown that may not be stored:\n%s%s", s.out, s.err)
			}
		})
	}
}
