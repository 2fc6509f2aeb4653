package cli

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files")

var changing = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(nmp_[a-z0-9-]+_)[A-Z2-7]{52}`), "${1}SECRET"},
	{regexp.MustCompile(`"md5": "[0-9a-f]{32}"`), `"md5": "MD5"`},
	{regexp.MustCompile(`"(go|os|arch)": "[^"]*"`), `"$1": "…"`},
	{regexp.MustCompile(`"(since)": "[^"]*"`), `"$1": "…"`},
}

// TestJSONOfEveryCommand runs the commands of testdata/json.txtar one after the other on one directory and compares their
// JSON: always one object. -update writes what they print. Commands that are not there have goldens of their own or need
// a running proxy.
func TestJSONOfEveryCommand(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "petstore.yaml"), service)
	file := filepath.Join("testdata", "json.txtar")
	golden, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{"call": true, "status": true, "serve": true}
	for i, step := range golden.Files {
		seen[strings.Join(words(s, step.Name), " ")] = true
		s.in = "s3cret"
		args := strings.Fields(strings.ReplaceAll(step.Name, "DIR", dir))
		s.run(append(args, "-o", "json")...)
		got := s.out
		for _, c := range changing {
			got = c.pattern.ReplaceAllString(got, c.with)
		}
		got = strings.ReplaceAll(got, s.root, "ROOT")
		var object map[string]any
		if err := json.Unmarshal([]byte(s.out), &object); err != nil {
			t.Errorf("%s prints no object: %v\n%s%s", step.Name, err, s.out, s.err)
		}
		if *update {
			golden.Files[i].Data = []byte(got)
		} else if diff := cmp.Diff(string(step.Data), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s%s", step.Name, diff, s.err)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(golden), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range leaves((&program{}).root()) {
		if !seen[path] {
			t.Errorf("%s is not in %s", path, file)
		}
	}
}

// words are the names of the command that a line runs.
func words(s *shell, line string) []string {
	c, _, err := (&program{}).root().Find(strings.Fields(line))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Fields(c.CommandPath())[1:]
}

func leaves(c *cobra.Command) (paths []string) {
	if !c.HasSubCommands() {
		return []string{strings.TrimPrefix(c.CommandPath(), "nacos-mcp-proxy ")}
	}
	for _, below := range c.Commands() {
		paths = append(paths, leaves(below)...)
	}
	return paths
}
