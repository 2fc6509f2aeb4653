package config

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var limitRow = regexp.MustCompile("(?m)^\\| ([^|]+) \\| ([^|]+) \\| `([A-Za-z.]+)` \\|$")

// TestEveryLimitIsWhatItsPageSays holds docs/limits.md to the settings and constants that it names. Seen to fail with a
// changed default, a changed constant, and a setting without a row.
func TestEveryLimitIsWhatItsPageSays(t *testing.T) {
	page, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for _, s := range settings() {
		defaults[s.key] = shown(s.def)
	}
	rows := limitRow.FindAllStringSubmatch(string(page), -1)
	if len(rows) < 40 {
		t.Fatalf("only %d rows found", len(rows))
	}
	named := map[string]bool{}
	for _, row := range rows {
		what, said, name := row[1], row[2], row[3]
		named[name] = true
		if def, ok := defaults[name]; ok {
			if amount(said) != amount(def) {
				t.Errorf("%s: the page says %s, %s is %s by default", what, said, name, def)
			}
			continue
		}
		pkg, ident, _ := strings.Cut(name, ".")
		got, ok := constantOf(t, pkg, ident)
		if !ok {
			t.Errorf("%s: there is no constant %s", what, name)
		} else if want := amount(said); got != want {
			t.Errorf("%s: the page says %s (%s), %s is %s", what, said, want, name, got)
		}
	}
	for key := range defaults {
		if strings.HasPrefix(key, "limits.") && !named[key] {
			t.Errorf("%s is not in docs/limits.md", key)
		}
	}
}

// amount is a number, a size in bytes or a duration in nanoseconds as a plain number; other texts are left as they are.
func amount(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "min", "m")
	if d, err := time.ParseDuration(s); err == nil {
		return strconv.FormatInt(int64(d), 10)
	}
	for unit, shift := range map[string]uint{"KiB": 10, "MiB": 20} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
				return strconv.FormatInt(n<<shift, 10)
			}
		}
	}
	return s
}

var timeUnits = regexp.MustCompile(`time\.(Millisecond|Second|Minute|Hour)`)

// constantOf evaluates a constant of a package.
func constantOf(t *testing.T, pkg, name string) (string, bool) {
	t.Helper()
	dir := filepath.Join("..", pkg)
	if pkg == "template" {
		dir = "../convert/template"
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, s := range group.Specs {
				s := s.(*ast.ValueSpec)
				for i, id := range s.Names {
					if id.Name != name || i >= len(s.Values) {
						continue
					}
					e := s.Values[i]
					text := string(source[fset.Position(e.Pos()).Offset:fset.Position(e.End()).Offset])
					text = timeUnits.ReplaceAllStringFunc(text, func(u string) string {
						d, _ := time.ParseDuration("1" + map[string]string{"Millisecond": "ms", "Second": "s", "Minute": "m", "Hour": "h"}[u[len("time."):]])
						return strconv.FormatInt(int64(d), 10)
					})
					v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, text)
					if err != nil {
						t.Fatalf("%s.%s = %s: %v", pkg, name, text, err)
					}
					return constant.ToInt(v.Value).ExactString(), true
				}
			}
		}
	}
	return "", false
}
