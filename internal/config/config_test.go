package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

var equate = cmp.Options{cmp.Transformer("reveal", func(s Secret) string { return s.Reveal() }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()}

// load runs Load on arguments and a file's content; "" means no file.
func load(t *testing.T, file string, args ...string) (Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	SourceFlags(fs)
	ServeFlags(fs)
	if file != "" {
		path := filepath.Join(t.TempDir(), "boot.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs)
}

func TestNothingGivenIsTheDefault(t *testing.T) {
	got, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, equate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := Load(nil); err != nil || !cmp.Equal(got, Default(), equate) {
		t.Errorf("without flags: %v", err)
	}
	if got.Limits.RequestBody != 4<<20 || got.Limits.StreamIdle != 5*time.Minute || got.Access.Default != registry.AuthRequired ||
		!cmp.Equal(got.Access.Sources, []registry.KeySource{{Bearer: true}, {Header: "X-Api-Key"}}) {
		t.Errorf("%+v", got)
	}
}

func TestExampleFileHasEveryKeyWithItsDefault(t *testing.T) {
	path := "../../docs/nacos-mcp-proxy.yaml"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := load(t, string(content))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, equate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		n, commented := doc.Content[0], false
	parts:
		for _, part := range strings.Split(s.key, ".") {
			for i := 0; i < len(n.Content); i += 2 {
				if n.Content[i].Value == part {
					commented = commented || n.Content[i].HeadComment != ""
					n = n.Content[i+1]
					continue parts
				}
			}
			t.Errorf("%s is not in %s", s.key, path)
			break
		}
	}
	for _, line := range strings.Split(string(content), "\n") {
		if len(line) > 120 {
			t.Errorf("long line: %s", line)
		}
	}
}

func TestFlagsBeatEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	t.Setenv("NMP_NACOS_NAMESPACE", "from-env")
	t.Setenv("NMP_NACOS_PASSWORD", "secret")
	t.Setenv("NMP_NACOS_LIST_INTERVAL", "7s")
	t.Setenv("NMP_UPSTREAM_ALLOW", "10.0.0.0/8, 192.0.2.1")
	t.Setenv("NMP_LOG_FORMAT", "") // as good as not set
	got, err := load(t, `
source: nacos
nacos: {addresses: [a:1, b:2], namespace: from-file, username: u, listInterval: 9s}
listen: 127.0.0.1:1
limits: {requestBody: 1048576}
dir:
access:
  sources: [{query: api_key}, bearer]
`, "--nacos-namespace", "from-flag", "--access-default=disabled", "--nacos-tls-enabled", "--credentials-env=A,B", "--upstream-tls-dir=/etc/tls/")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Source = "nacos"
	want.Nacos.Addresses = []string{"a:1", "b:2"}
	want.Nacos.Namespace = "from-flag"
	want.Nacos.AccessNamespace = "from-flag"
	want.Nacos.Username = "u"
	want.Nacos.Password = secret.New("secret")
	want.Nacos.TLS.Enabled = true
	want.Nacos.ListInterval = 7 * time.Second
	want.Listen = "127.0.0.1:1"
	want.Limits.RequestBody = 1 << 20
	want.Access.Default = registry.AuthDisabled
	want.Access.Sources = []registry.KeySource{{Query: "api_key"}, {Bearer: true}}
	want.Upstream.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	want.Credentials.Env = []string{"A", "B"}
	want.Upstream.TLSDir = "/etc/tls"
	if diff := cmp.Diff(want, got, equate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Setenv("NMP_CONFIG", filepath.Join(t.TempDir(), "nowhere"))
	if _, err := load(t, ""); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("NMP_CONFIG: %v", err)
	}
}

// Each bad file says in comments at its top what is reported, line by line.
func TestFaultsAreAllReported(t *testing.T) {
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(bad) == 0 {
		t.Fatal(err)
	}
	for _, path := range bad {
		t.Run(filepath.Base(path), func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want Faults
			for line := range strings.SplitSeq(string(content), "\n") {
				text, ok := strings.CutPrefix(line, "# ")
				if !ok {
					break
				}
				want = append(want, text)
			}
			fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
			SourceFlags(fs)
			fs.Set("config", path)
			_, err = Load(fs)
			faults, _ := err.(Faults)
			for i := range faults {
				faults[i] = strings.ReplaceAll(faults[i], path, "FILE")
			}
			if diff := cmp.Diff(want, faults); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultsNameFlagAndVariable(t *testing.T) {
	t.Setenv("NMP_LIMITS_DRAIN", "20")
	t.Setenv("NMP_SESSION_SECRETS", "canary-short")
	_, err := load(t, "", "--source=nacs")
	want := "boot configuration has 3 faults:\n" +
		"  --source: source \"nacs\" is none of dir, nacos\n" +
		"  NMP_SESSION_SECRETS: session.secrets secret 1 is shorter than 32 characters (make one: openssl rand -hex 32)\n" +
		"  NMP_LIMITS_DRAIN: limits.drain \"20\" is no duration (e.g. 500ms, 30s, 5m)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestUnknownVariablesAreWarnedOf(t *testing.T) {
	t.Setenv("NMP_NACOS_PASWORD", "x")
	c, err := load(t, "")
	want := []string{`environment variable NMP_NACOS_PASWORD means nothing (did you mean "NMP_NACOS_PASSWORD"?)`}
	if diff := cmp.Diff(want, c.Warnings); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestA20_SecretsAreNeverPrinted(t *testing.T) {
	const canary = "canary-0123456789-0123456789-0123456789"
	for _, v := range []string{"ADMIN_TOKEN", "NACOS_PASSWORD", "SESSION_SECRETS", "NACOS_SECRET_KEY"} {
		t.Setenv("NMP_"+v, canary)
	}
	c, err := load(t, "nacos: {accessKey: a}")
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	t.Setenv("NMP_NACOS_PASSWORD", "")
	if c, err = load(t, "nacos: {accessKey: a}"); err != nil {
		t.Fatal(err)
	}
	if c.Admin.Token.Reveal() != canary {
		t.Fatal("the secret is not there")
	}
	var out bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, format+"\n", c)
		fmt.Fprintf(&out, format+"\n", &c)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "s", c.Admin.Token)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "s", c.Session)
	json.NewEncoder(&out).Encode(c)
	yaml.NewEncoder(&out).Encode(c)
	if strings.Contains(out.String(), "canary") {
		t.Errorf("printed: %s", out.String())
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	SourceFlags(fs)
	ServeFlags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		for _, s := range settings() {
			if s.secret && s.flag() == f.Name {
				t.Errorf("--%s is a flag, which everybody on the machine can see", f.Name)
			}
		}
	})
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"4MiB": 4 << 20, "1.5 KiB": 1536, "7": 7, "7B": 7, "1GiB": 1 << 30} {
		var c Config
		set := size(func(c *Config) *int64 { return &c.Limits.RequestBody })
		if err := set(&c, in); err != nil || c.Limits.RequestBody != want {
			t.Errorf("%s: %d %v", in, c.Limits.RequestBody, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "listen: a", "a: &a [*a]", "nacos: {tls: []}", "listen: {a: b}", "limits: {drain: 1e400s}", "access: {sources: [{header: {}}]}"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "boot.yaml")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		SourceFlags(fs)
		fs.Set("config", path)
		_, _ = Load(fs)
	})
}
