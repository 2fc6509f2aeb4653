package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityNamesTestsThatExist: what SECURITY.md says that a test shows is shown by a test. Seen red with a name altered, and
// with a row that names none.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name, n := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`"), 0
	for i, line := range strings.Split(string(text), "\n") {
		names := name.FindAllStringSubmatch(line, -1)
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| what holds") && len(names) == 0 {
			t.Errorf("SECURITY.md:%d: no test shows it: %s", i+1, line)
		}
		for _, m := range names {
			n++
			if !have[m[1]] {
				t.Errorf("SECURITY.md:%d: there is no test %s", i+1, m[1])
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d tests are named", n)
	}
}
