package convert

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// samples finds people's files, which are no part of this repository; without them the test is skipped.
func samples(t *testing.T, dir string) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		if path := filepath.Join(at, "shared", "data", dir); exists(path) {
			return path
		}
	}
	t.Skipf("no shared/data/%s beside the repository", dir)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sampleSchema is what sampleArguments needs of a schema.
type sampleSchema struct {
	Type       any
	Enum       []any
	Items      *sampleSchema
	Properties map[string]sampleSchema
}

// value makes a value that fits the schema.
func (s *sampleSchema) value() any {
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type == "integer":
		return 7
	case s.Type == "number":
		return 1.5
	case s.Type == "boolean":
		return true
	case s.Type == "array":
		if s.Items != nil {
			return []any{s.Items.value(), s.Items.value()}
		}
		return []any{"a", "b c"}
	case s.Type == "object":
		out := map[string]any{}
		for name, p := range s.Properties {
			out[name] = p.value()
		}
		return out
	default:
		return "x y&z"
	}
}

// sampleArguments makes arguments that fit a schema.
func sampleArguments(t *testing.T, raw json.RawMessage) []byte {
	t.Helper()
	var s sampleSchema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(s.value())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Services that people wrote for Higress load, and each of their tools makes a request that can be sent (or answers by
// itself). NMP_SAMPLES_OUT names a directory for the requests, to be read by eye.
func TestServicesPeopleHaveConvert(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(samples(t, "higress-services"), "*.yaml"))
	if len(files) != 18 {
		t.Fatalf("found %d files, want 18", len(files))
	}
	tools := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			def, found := registry.ParseService(filepath.Base(file), text)
			if def == nil {
				t.Fatalf("rejected: %v", found)
			}
			withReferences(t, def)
			s, more := Compile(def, Options{})
			var seen strings.Builder
			for _, r := range append(found, more...) {
				fmt.Fprintf(&seen, "# %v\n", r)
				if !r.Warning {
					t.Errorf("%v", r)
				}
			}
			for i := range def.Tools {
				d := &def.Tools[i]
				tool := s.Tools[d.Name]
				if tool == nil {
					continue
				}
				tools++
				r, result, err := tool.Request(Call{Arguments: sampleArguments(t, d.InputSchema), ClientIP: "192.0.2.1"})
				switch {
				case err != nil:
					t.Errorf("%s: %v", d.Name, err)
				case r == nil && (tool.method != "" || strings.Contains(string(result), "isError")):
					t.Errorf("%s: no request, but %s", d.Name, result)
				case r == nil:
					fmt.Fprintf(&seen, "\n## %s\n%s\n", d.Name, result)
				default:
					if u, err := url.Parse(r.URL); err != nil || u.Host == "" {
						t.Errorf("%s: %q is no absolute URL", d.Name, r.URL)
					}
					fmt.Fprintf(&seen, "\n## %s\n%s", d.Name, dump(r))
				}
			}
			if dir := os.Getenv("NMP_SAMPLES_OUT"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(seen.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Logf("%d tools", tools)
}

// withReferences compiles a service as its owner would run it: with references in place of the credentials in config.
func withReferences(t *testing.T, def *registry.Definition) {
	t.Helper()
	private := *def
	private.Config = map[string]any{}
	for name, v := range def.Config {
		if private.Config[name] = v; !strings.Contains(strings.ToLower(name), "url") {
			private.Config[name] = "${credential:petstore/key}"
		}
	}
	s, found := Compile(&private, Options{Secrets: testVault})
	for _, r := range found {
		if !r.Warning {
			t.Errorf("with references: %v", r)
		}
	}
	if len(private.Config) > 0 && len(s.References) == 0 && !strings.Contains(fmt.Sprint(def.Config), "http") {
		t.Error("no tool uses a reference")
	}
	for i := range def.Tools {
		if tool := s.Tools[def.Tools[i].Name]; tool != nil {
			if _, _, err := tool.Request(Call{Arguments: sampleArguments(t, def.Tools[i].InputSchema)}); err != nil {
				t.Errorf("with references: %s: %v", tool.Name, err)
			}
		}
	}
}

// Registry services as a Nacos console writes them: both argument forms, relative and absolute URLs, error templates.
func TestRegistryServicesConvert(t *testing.T) {
	dir := samples(t, "nacos-3.1.0/config")
	manifests, _ := filepath.Glob(filepath.Join(dir, registry.GroupManifests, "*.json"))
	calls := 0
	for _, file := range manifests {
		m, found := registry.ParseManifest(filepath.Base(file), read(t, file))
		if m == nil {
			t.Fatal(found)
		}
		for _, version := range m.Versions {
			specFile, toolsFile := filepath.Join(dir, registry.GroupSpecs, m.SpecDataID(version)), filepath.Join(dir, registry.GroupTools, m.ToolsDataID(version))
			if !exists(specFile) || !exists(toolsFile) {
				continue
			}
			spec, _ := registry.ParseSpec(filepath.Base(specFile), read(t, specFile))
			set, _ := registry.ParseTools(filepath.Base(toolsFile), read(t, toolsFile))
			if registry.NotServed(m, spec) != "" {
				continue
			}
			def, found := registry.Assemble(m, version, spec, set)
			if def == nil {
				t.Fatal(found)
			}
			s, found := Compile(def, Options{})
			for _, r := range found {
				if !r.Warning {
					t.Error(r)
				}
			}
			for i := range def.Tools {
				d := &def.Tools[i]
				tool := s.Tools[d.Name]
				if tool == nil {
					continue
				}
				r, result, err := tool.Request(Call{Arguments: sampleArguments(t, d.InputSchema)})
				if err != nil || r == nil {
					t.Errorf("%s %s: %s %v", def.Name, d.Name, result, err)
					continue
				}
				calls++
				if r.Absolute || !strings.HasPrefix(r.URL, "/") {
					t.Errorf("%s %s: %s does not go to the service's instances", def.Name, d.Name, r.URL)
				}
				t.Logf("%s@%s\n%s", def.Name, version, dump(r))
			}
		}
	}
	if calls == 0 {
		t.Error("no tool was called")
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
