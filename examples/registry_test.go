// Package examples holds what newcomers start from; its test keeps that consistent with itself.
package examples

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDemoKeysMatchTheirDigests(t *testing.T) {
	files, _ := filepath.Glob("registry/config/proxy-consumers/*.yaml")
	if len(files) != 2 {
		t.Fatalf("%d consumers, want 2", len(files))
	}
	readmes := read(t, "registry/README.md") + read(t, "clients/README.md")
	for _, file := range files {
		text := read(t, file)
		key := regexp.MustCompile(`nmp_[a-z]+_[A-Za-z0-9]+`).FindString(text)
		digest := sha256.Sum256([]byte(key))
		if !strings.Contains(text, "sha256: "+hex.EncodeToString(digest[:])) {
			t.Errorf("%s: the digest is not that of %s", file, key)
		}
		if !strings.Contains(strings.ToLower(key), "demo") {
			t.Errorf("%s: %s does not say that it is for the demo only", file, key)
		}
		if strings.Count(readmes, key) != 2 {
			t.Errorf("%s: %s is not in both READMEs", file, key)
		}
	}
}

// A colon in a file name would make Windows check-outs and module downloads fail, so the examples use naming
// services whose names have none.
func TestFileNamesArePortable(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if strings.ContainsAny(path, `:*?"<>|`) {
			t.Errorf("%s: not a file name everywhere", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestJSONFilesAreJSON(t *testing.T) {
	found := 0
	for _, pattern := range []string{"registry/config/mcp-*/*.json", "clients/*/*.json"} {
		files, _ := filepath.Glob(pattern)
		found += len(files)
		for _, file := range files {
			if !json.Valid([]byte(read(t, file))) {
				t.Errorf("%s is not JSON", file)
			}
		}
	}
	if found != 10 {
		t.Errorf("%d files, want 10", found)
	}
}
