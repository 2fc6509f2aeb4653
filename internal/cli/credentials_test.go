package cli

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func TestCredentialsSetMakesAndEditsTheDocument(t *testing.T) {
	s := newShell(t)
	s.fails(exitUsage, "proxy-credentials/shop.yaml is new: say which service may use it and where it may be sent, with --service and --host", "credentials", "set", "shop", "key")
	s.fails(exitUsage, "there is no secret: type it, or give it on standard input", "credentials", "set", "shop", "key", "--service", "shop", "--host", "a.example.com")
	s.fails(exitUsage, `"a/b" is no valid name of a secret`, "credentials", "set", "shop", "a/b", "--service", "shop", "--host", "a.example.com")
	s.in = "pass word: #1\r\nsecond line\n"
	s.fails(exitFailed, "must be a host such as api.example.com", "credentials", "set", "shop", "key", "--service", "shop", "--host", "https://a.example.com")
	out := s.must("credentials", "set", "shop", "key", "--service", "shop", "--host", "a.example.com")
	s.want("proxy-credentials/shop.yaml", credentialsHeader+"services: [shop]\nhosts: [a.example.com]\nvalues:\n  key: 'pass word: #1'\n")
	if !strings.Contains(out, "Services refer to it as ${credential:shop/key}.") {
		t.Errorf("got\n%s", out)
	}
	s.put("proxy-credentials/shop.yaml", "# ours\nservices: [shop]   # since May\nhosts:\n- a.example.com\nvalues: {key: old, other: stays}\n")
	s.in = "12345"
	s.must("credentials", "set", "shop", "key", "--service", "shop,more", "--host", "*.example.com")
	s.want("proxy-credentials/shop.yaml", "# ours\nservices: [shop, more] # since May\nhosts:\n- a.example.com\n- '*.example.com'\nvalues: {key: \"12345\", other: stays}\n")
	if out := s.must("credentials", "list"); out != "NAME  SERVICES   HOSTS                        SECRETS\nshop  shop,more  a.example.com,*.example.com  key, other\n" {
		t.Errorf("got\n%s", out)
	}
}

func TestA20_CredentialsAreNotPrinted(t *testing.T) {
	s := newShell(t)
	s.in = "CANARY-new"
	all := ""
	run := func(args ...string) {
		t.Helper()
		s.run(args...)
		all += s.out + s.err
	}
	run("credentials", "set", "shop", "key", "--service", "shop", "--host", "a.example.com", "--dry-run")
	run("credentials", "set", "shop", "key", "--service", "shop", "--host", "a.example.com", "-o", "json")
	s.put("proxy-credentials/shop.yaml", "# it was CANARY-comment\nservices: [shop] # CANARY-comment\nhosts: [a.example.com]\nvalues:\n  key: CANARY-old # CANARY-comment\n  text: |\n    CANARY-block\n")
	run("credentials", "set", "shop", "key", "--host", "b.example.com")
	run("credentials", "set", "shop", "second", "--service", "more")
	run("credentials", "list")
	run("credentials", "list", "-o", "json")
	s.put("proxy-credentials/shop.yaml", "services: [shop]\nhosts: [a.example.com]\nvalues: {key: {nested: CANARY-nested}}\nvalue: CANARY-misplaced\n")
	run("credentials", "set", "shop", "key")
	run("credentials", "list")
	s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
		d, err := openSources(ctx, cfg, log)
		if err == nil {
			d.main = &racing{d.main, nacos.Key{Group: "proxy-credentials", DataID: "shop.yaml"}, func() {
				s.put("proxy-credentials/shop.yaml", "services: [shop]\nhosts: [a.example.com]\nvalues: {key: CANARY-theirs}\n")
			}}
		}
		return d, err
	}
	s.put("proxy-credentials/shop.yaml", "services: [shop]\nhosts: [a.example.com]\nvalues: {key: CANARY-old}\n")
	run("credentials", "set", "shop", "key", "--service", "more")
	if !strings.Contains(all, "was changed by somebody else") || !strings.Contains(all, "+   second: ••••") {
		t.Errorf("the test shows too little:\n%s", all)
	}
	if strings.Contains(all, "CANARY") {
		t.Errorf("a secret is shown:\n%s", all)
	}
}
