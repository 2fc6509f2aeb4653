package convert

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// What `check` says of bad tools, word for word: testdata/bad/*.txtar hold a service and, as "check", the messages.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad/*.txtar")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, check := compileExample(string(archive.Files[0].Data))
			if s == nil {
				t.Fatal(check)
			}
			for name := range s.Tools {
				check += "served: " + name + "\n"
			}
			check = sortServed(check)
			got := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{archive.Files[0], {Name: "check", Data: []byte(check)}}}
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(got))); diff != "" {
				t.Errorf("messages differ (-want +got):\n%s", diff)
			}
		})
	}
}

// sortServed puts the names of the tools that are served in order, after the messages.
func sortServed(check string) string {
	i := strings.Index(check, "served: ")
	if i < 0 {
		return check
	}
	served := strings.Split(strings.TrimSpace(check[i:]), "\n")
	slices.Sort(served)
	return check[:i] + strings.Join(served, "\n") + "\n"
}
