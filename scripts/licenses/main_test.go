package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/licenseclassifier/v2/assets"
)

func TestCollect(t *testing.T) {
	c, err := assets.DefaultClassifier()
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) string {
		b, err := assets.ReadLicenseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	mit, apache, agpl := text("License/MIT/pristine.txt"), text("License/Apache-2.0/pristine.txt"), text("License/AGPL-3.0/license.txt")
	tests := []struct {
		name  string
		files map[string]string // below the module's root; the package is at a/b
		want  string            // names of licenses
		fault string
	}{
		{"at the root", map[string]string{"LICENSE": mit}, "MIT", ""},
		{"spelt otherwise", map[string]string{"licence.md": mit}, "MIT", ""},
		{"code of others", map[string]string{"LICENSE": mit, "a/LICENSE-x": apache}, "Apache-2.0, MIT", ""},
		{"not above the package", map[string]string{"LICENSE": mit, "c/LICENSE": agpl}, "MIT", ""},
		{"none", map[string]string{"README": mit, "NOTICES.go": mit}, "", "example.com/m: no license"},
		{"not allowed", map[string]string{"LICENSE": agpl}, "", "example.com/m: LICENSE is AGPL-3.0, which is not allowed here"},
		{"not allowed beside one that is", map[string]string{"LICENSE": mit, "a/b/COPYING": agpl}, "", "example.com/m: a/b/COPYING is AGPL-3.0"},
		{"unknown", map[string]string{"LICENSE": "You may look at it, on Sundays."}, "", "example.com/m: LICENSE is no license that is known"},
		{"a notice is no license", map[string]string{"NOTICE": "M, by its authors."}, "", "example.com/m: no license"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range test.files {
				name = filepath.Join(root, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(root, "a", "b")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			parts, err := collect(c, []pkg{{dir, "example.com/m", root}})
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Fatalf("%v, want %s", err, test.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(parts[0].names, ", "); got != test.want {
				t.Errorf("licenses %s, want %s", got, test.want)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	parts := []part{{"example.com/a", []string{"MIT"}, []string{"text one"}}, {"example.com/b", []string{"ISC"}, []string{"text two"}}}
	if err := compare(render(parts), parts); err != nil {
		t.Error(err)
	}
	other := func(change func([]part)) []byte {
		p := []part{parts[0], parts[1]}
		change(p)
		return render(p)
	}
	for name, test := range map[string]struct {
		was  []byte
		want string
	}{
		"missing":         {render(parts[:1]), "(example.com/b)"},
		"gone":            {render(append([]part{{"example.com/0", []string{"MIT"}, []string{"text one"}}}, parts...)), "(texts differ)"},
		"another license": {other(func(p []part) { p[0].names = []string{"ISC"} }), "(example.com/a)"},
		"another text":    {other(func(p []part) { p[1].texts = []string{"text 2"} }), "(texts differ)"},
	} {
		if err := compare(test.was, parts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}
