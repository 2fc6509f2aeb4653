package cli

import (
	"context"
	"log/slog"
	"strings"
	"testing"

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
