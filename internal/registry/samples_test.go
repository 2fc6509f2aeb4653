package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// samples finds the shared sample data beside the repository, or skips.
func samples(t *testing.T, parts ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	path := filepath.Join(append([]string{filepath.Dir(dir), "shared", "data"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no sample data at %s", path)
	}
	return path
}

func TestHigressSamplesLoadWhole(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(samples(t, "higress-services"), "*.yaml"))
	if len(files) != 18 {
		t.Errorf("found %d sample files, want 18", len(files))
	}
	tools := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		def, found := ParseService(filepath.Base(file), content)
		for _, r := range found {
			if !r.Warning {
				t.Errorf("%s", r.Error())
			}
		}
		if def == nil {
			continue
		}
		if def.Kind != ConvertedDocument {
			t.Errorf("%s: kind %d, want %d", file, def.Kind, ConvertedDocument)
		}
		tools += len(def.Tools)
	}
	if tools != 117 {
		t.Errorf("%d tools loaded, want 117", tools)
	}
}

func TestNacosSamplesAssemble(t *testing.T) {
	root := samples(t, "nacos-3.1.0", "config")
	read := func(group, dataID string) []byte {
		content, err := os.ReadFile(filepath.Join(root, group, dataID))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	want := map[string]string{
		"everything-sse@2026.8.31": "kind 4 sse http mcp-endpoints/everything-sse::2026.8.31 /sse tools: hidden:0",
		"everything@2026.8.31":     "kind 4 streamable http mcp-endpoints/everything::2026.8.31 /mcp tools: hidden:0",
		"files@1.0.0":              "not served: protocol stdio cannot be proxied",
		"inventory@0.9.0":          "not served: disabled in the server spec",
		"orders@1.0.0":             "kind 3  http mcp-endpoints/orders::1.0.0  tools:get_order,create_order hidden:1",
		"orders@1.1.0":             "kind 3  http mcp-endpoints/orders::1.1.0  tools:get_order,create_order hidden:1",
		"weather@1.0.0":            "kind 3  http mcp-endpoints/weather::1.0.0  tools:get_weather hidden:0",
	}
	manifests, _ := filepath.Glob(filepath.Join(root, GroupManifests, "*"))
	for _, file := range manifests {
		dataID := filepath.Base(file)
		m, found := ParseManifest(dataID, read(GroupManifests, dataID))
		for _, version := range m.Versions {
			spec, more := ParseSpec(m.SpecDataID(version), read(GroupSpecs, m.SpecDataID(version)))
			found = append(found, more...)
			set, more := ParseTools(m.ToolsDataID(version), read(GroupTools, m.ToolsDataID(version)))
			found = append(found, more...)
			got := "not served: " + NotServed(m, spec)
			if NotServed(m, spec) == "" {
				def, more := Assemble(m, version, spec, set)
				found = append(found, more...)
				got = describe(def)
			}
			if got != want[m.Name+"@"+version] {
				t.Errorf("%s@%s: %s\nwant %s", m.Name, version, got, want[m.Name+"@"+version])
			}
			delete(want, m.Name+"@"+version)
		}
		for _, r := range found {
			t.Errorf("%s", r.Error())
		}
	}
	for missing := range want {
		t.Errorf("%s was not found", missing)
	}
}

func describe(d *Definition) string {
	var b strings.Builder
	b.WriteString("kind " + string('0'+rune(d.Kind)) + " " + string(d.Transport) + " " + d.Backend.Ref.Scheme + " " + d.Backend.Ref.Group + "/" + d.Backend.Ref.Service + " " + d.Backend.Path + " tools:")
	for i, t := range d.Tools {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(t.Name)
	}
	b.WriteString(" hidden:" + string('0'+rune(len(d.Hidden))))
	return b.String()
}
