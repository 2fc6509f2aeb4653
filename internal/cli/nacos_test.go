package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// The same commands as on a directory, on a real Nacos whose access groups are in another namespace, one right after
// the other as scripts run them.
func TestCommandsOnNacos(t *testing.T) {
	server := nacostest.Start(t)
	services, access := server.Namespace(t), server.Namespace(t)
	t.Setenv("NMP_NACOS_USERNAME", server.User)
	t.Setenv("NMP_NACOS_PASSWORD", server.Password)
	s := newShell(t)
	run := func(line string) string {
		t.Helper()
		return s.must(append(strings.Fields(line), "--source", "nacos", "--nacos-addresses", server.Addr,
			"--nacos-namespace", services, "--nacos-access-namespace", access)...)
	}
	file := t.TempDir() + "/petstore.yaml"
	writeFile(t, file, service)
	run("services publish " + file)
	run("consumers create alice --key-id one")
	run("consumers keys add alice --id two")
	run("consumers keys revoke alice one")
	run("grants allow petstore --consumer alice --tool get_pet")
	run("grants allow petstore --consumer bob --create")
	run("grants revoke petstore --consumer alice --all")
	if out := run("grants show petstore"); !strings.Contains(out, "bob  service  every tool") || strings.Contains(out, "alice") {
		t.Errorf("got\n%s", out)
	}
	if out := run("consumers show alice"); !strings.Contains(out, "key two: ok") || strings.Contains(out, "key one") {
		t.Errorf("got\n%s", out)
	}
	if out := run("services list"); !strings.Contains(out, "petstore  http") {
		t.Errorf("got\n%s", out)
	}
	if out := run("check"); !strings.Contains(out, "4 documents, 1 service: 0 documents and 0 tools rejected, 0 warnings") {
		t.Errorf("got\n%s", out)
	}
	run("consumers delete alice")
	run("services remove petstore")

	// An edit in the console between our read and our write is shown, not lost.
	key := nacos.Key{Group: registry.GroupGrants, DataID: "petstore.yaml"}
	s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
		d, err := openSources(ctx, cfg, log)
		if err == nil {
			plain := d.access
			d.access = &racing{plain, key, func() {
				doc := nacos.Document{Key: key, Content: []byte("auth: required\n# theirs\n")}
				if err := nacostest.Insist(t, func() error { return plain.Publish(ctx, doc, nacos.AnyMD5) }); err != nil {
					t.Error(err)
				}
			}}
		}
		return d, err
	}
	args := strings.Fields("grants disable petstore --source nacos --nacos-addresses " + server.Addr + " --nacos-namespace " + services + " --nacos-access-namespace " + access)
	s.fails(exitConflict, "nothing was written", args...)
	if !strings.Contains(s.err, "+ # theirs") {
		t.Errorf("their edit is not shown:\n%s", s.err)
	}
}

// A publish that failed between manifest and spec leaves an entry that Nacos finds by its manifest only: it answers 404 to
// a look-up and 409 to a creation. Publishing again makes it whole. Seen red, on the real Nacos, with the 409 handed on.
func TestPublishRegistryRepairsWhatFailedHalfWay(t *testing.T) {
	server := nacostest.Start(t)
	ns := server.Namespace(t)
	t.Setenv("NMP_NACOS_USERNAME", server.User)
	t.Setenv("NMP_NACOS_PASSWORD", server.Password)
	s := newShell(t)
	where := []string{"--source", "nacos", "--nacos-addresses", server.Addr, "--nacos-namespace", ns}
	publish := append(strings.Fields("services publish --openapi "+books(t)+" --name books --upstream http://127.0.0.1:9/v1 --registry"), where...)
	s.in = "s3cret-of-books\n"
	s.must(append(strings.Fields("credentials set books key --service books --host 127.0.0.1:9"), where...)...)
	if out := s.must(publish...); !strings.Contains(out, "books: created, as 1.0.0") {
		t.Fatalf("got\n%s", out)
	}
	c, err := nacos.Connect(t.Context(), nacos.Config{Addresses: []string{server.Addr}, Namespace: ns, Username: server.User, Password: nacos.NewSecret(server.Password)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	only := func(group string) nacos.Key {
		t.Helper()
		entries, err := c.List(t.Context(), group)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%s: %v %v", group, entries, err)
		}
		return entries[0].Key
	}
	spec := only(registry.GroupSpecs)
	for _, version := range []string{"1.0.0", "2.0.0"} { // as it was, and a newer one
		t.Run(version, func(t *testing.T) {
			if err := c.Remove(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			entry := url.Values{"namespaceId": {ns}, "mcpName": {"books"}}
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if _, err := c.Admin(t.Context(), http.MethodGet, mcpPath, entry, nil); errors.Is(err, nacos.ErrNotFound) {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the entry is still found")
				}
			}
			out := s.must(append(publish, "--registry-version", version)...)
			if !strings.Contains(out, "books: updated, as "+version) {
				t.Errorf("got\n%s", out)
			}
			if out := s.must(append(strings.Fields("services show books"), where...)...); !strings.Contains(out, "version: "+version) || !strings.Contains(out, "getBook") {
				t.Errorf("got\n%s", out)
			}
			if out := s.must(append([]string{"check"}, where...)...); !strings.Contains(out, "1 service: 0 documents and 0 tools rejected") {
				t.Errorf("got\n%s", out)
			}
		})
	}
}
