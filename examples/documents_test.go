package examples

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// TestDocumentsAreAccepted reads every document as the proxy does: not one word may be said against any of them.
func TestDocumentsAreAccepted(t *testing.T) {
	none := func(found []registry.Rejection) {
		t.Helper()
		for _, r := range found {
			t.Errorf("rejected: %v", r)
		}
	}
	compile := func(def *registry.Definition, tools int) {
		t.Helper()
		if def == nil || len(def.Tools) != tools {
			t.Fatalf("service is %+v, want one with %d tools", def, tools)
		}
		_, found := convert.Compile(def, convert.Options{})
		none(found)
	}
	const orders, workshop = "93fbb2ae-c526-4019-a26d-5af8bae2b56c", "926ef613-68cf-4e92-a2ad-1a49f1bc4b27"
	doc := func(group, id string) (string, []byte) { return id, []byte(read(t, "registry/config/"+group+"/"+id)) }

	def, found := registry.ParseService(doc("proxy-services", "petstore.yaml"))
	none(found)
	compile(def, 3)
	def, found = registry.ParseService(doc("proxy-services", "toolbox.yaml"))
	none(found)
	if def == nil || def.Kind != registry.PassthroughDocument {
		t.Errorf("toolbox is %+v", def)
	}
	for id, tools := range map[string]int{orders: 2, workshop: 0} {
		manifest, found := registry.ParseManifest(doc("mcp-server-versions", id+"-mcp-versions.json"))
		none(found)
		spec, found := registry.ParseSpec(doc("mcp-server", id+"-1.0.0-mcp-server.json"))
		none(found)
		set, found := registry.ParseTools(doc("mcp-tools", id+"-1.0.0-mcp-tools.json"))
		none(found)
		def, found := registry.Assemble(manifest, "1.0.0", spec, set)
		none(found)
		compile(def, tools)
	}
	for group, parse := range map[string]func(string, []byte) []registry.Rejection{
		"proxy-consumers":   func(id string, b []byte) []registry.Rejection { _, f := registry.ParseConsumer(id, b); return f },
		"proxy-grants":      func(id string, b []byte) []registry.Rejection { _, f := registry.ParseGrants(id, b); return f },
		"proxy-credentials": func(id string, b []byte) []registry.Rejection { _, f := registry.ParseCredentials(id, b); return f },
	} {
		entries, err := os.ReadDir(filepath.Join("registry/config", group))
		if err != nil || len(entries) == 0 {
			t.Errorf("%s: %d documents, %v", group, len(entries), err)
		}
		for _, e := range entries {
			none(parse(doc(group, e.Name())))
		}
	}
}
