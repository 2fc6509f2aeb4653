package app_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nacos-mcp-proxy/nacos-mcp-proxy/"

// allowed says which packages of ours a package may import directly (ARCHITECTURE.md, "Who may import whom").
// A package that is not listed may import none; tests are not bound.
var allowed = map[string][]string{
	"cmd/nacos-mcp-proxy":       {"internal/cli"},
	"nacos":                     {"internal/certfile", "internal/secret"},
	"internal/spelling":         {},
	"internal/hostfile":         {},
	"internal/certfile":         {"internal/hostfile"},
	"internal/budget":           {},
	"internal/jsontext":         {},
	"internal/secret":           {},
	"internal/registry":         {"internal/jsontext", "internal/secret", "internal/spelling"},
	"internal/wire":             {"internal/jsontext"},
	"internal/session":          {},
	"internal/access":           {"internal/registry"},
	"internal/convert/template": {"internal/jsontext", "internal/spelling"},
	"internal/convert":          {"internal/registry", "internal/convert/template", "internal/jsontext", "internal/secret", "internal/spelling"},
	"internal/openapi":          {"internal/jsontext", "internal/registry"},
	"internal/config":           {"internal/hostfile", "internal/registry", "internal/secret", "internal/spelling"},
	"internal/store":            {"nacos"},
	"internal/upstream":         {"internal/budget", "internal/hostfile", "internal/httphead", "internal/registry", "nacos"},
	"internal/relay":            {"internal/budget", "internal/registry", "internal/session", "internal/upstream", "internal/wire"},
	"internal/catalog":          {"internal/access", "internal/convert", "internal/hostfile", "internal/registry", "internal/secret", "internal/spelling", "internal/upstream", "nacos"},
	"internal/gateway": {"internal/access", "internal/budget", "internal/catalog", "internal/convert", "internal/jsontext", "internal/registry", "internal/relay",
		"internal/session", "internal/upstream", "internal/wire"},
	"internal/httphead": {},
	"internal/listener": {"internal/httphead"},
	"internal/admin":    {"internal/budget", "internal/catalog", "internal/certfile", "internal/secret"},
	"internal/app": {"internal/access", "internal/admin", "internal/budget", "internal/catalog", "internal/certfile", "internal/config", "internal/convert",
		"internal/gateway", "internal/listener", "internal/registry", "internal/relay", "internal/session", "internal/store", "internal/upstream",
		"internal/wire", "nacos"},
	"internal/cli": {"internal/access", "internal/admin", "internal/app", "internal/catalog", "internal/config", "internal/convert",
		"internal/openapi", "internal/registry", "internal/secret", "internal/spelling", "internal/store", "internal/upstream", "nacos"},
}

// pure packages do no I/O: they may not reach the network, files or processes on their own account.
var pure = []string{"internal/registry", "internal/access", "internal/convert", "internal/convert/template", "internal/session", "internal/spelling", "internal/jsontext", "internal/secret", "internal/httphead", "internal/robust/model"}

var impure = []string{"net", "os", "os/exec", "syscall"}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "../../...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "examples/") || strings.HasSuffix(name, "test") || name == "internal/faultproxy" || name == "internal/fakenacos" || strings.HasPrefix(name, "scripts/") {
			continue
		}
		may, listed := allowed[name]
		for _, imported := range p.Imports {
			ours, ok := strings.CutPrefix(imported, module)
			if ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s (listed: %v): put the code where it belongs, or change ARCHITECTURE.md and this table", name, ours, listed)
			}
		}
	}
}

func TestPurePackagesDoNoIO(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if !slices.Contains(pure, name) {
			continue
		}
		for _, bad := range impure {
			if slices.Contains(p.Imports, bad) {
				t.Errorf("%s imports %s, but it is to do no I/O", name, bad)
			}
		}
	}
}
