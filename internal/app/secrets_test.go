package app_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretive are the names of what must not be shown.
var secretive = regexp.MustCompile(`(?i)(password|passwd|secret|secrets|secretkey|token|privatekey|apikey)$`)

// plain are the fields of such a name that hold a text all the same, and why.
var plain = map[string]string{
	"convert.masker.secrets":      "compared with those of the next call; never leaves the package",
	"convert.Request.secrets":     "what Preview masks; never leaves the package",
	"template.Template.secrets":   "references, not what they stand for",
	"relay.waiting.token":         "the client's progress token",
	"wire.Envelope.ProgressToken": "the client's progress token",
	"wire.scanner.paramsToken":    "the client's progress token",
}

// TestSecretsHaveTheirType looks at every field of every struct of ours: what is named like a secret is a secret.Text.
// Seen red with the tokens of nacos, which were texts, and with the list empty.
func TestSecretsHaveTheirType(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "scripts" || d.Name() == "examples" || strings.HasSuffix(d.Name(), "test") || strings.HasPrefix(d.Name(), ".git")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					what := file.Name.Name + "." + spec.Name.Name + "." + name.Name
					if !(secretive.MatchString(name.Name) || secretive.MatchString(spec.Name.Name) && name.Name == "Value") || !isText(field.Type) {
						continue
					}
					if seen[what] = true; plain[what] == "" {
						t.Errorf("%s is a text: make it a secret.Text, or say in plain why it is none", what)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for what := range plain {
		if !seen[what] {
			t.Errorf("%s is gone, or no text any more: take it off the list", what)
		}
	}
}

// isText reports whether a type is a string or bytes, or a list or map of them.
func isText(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "string" || e.Name == "byte"
	case *ast.ArrayType:
		return isText(e.Elt)
	case *ast.MapType:
		return isText(e.Value)
	case *ast.StarExpr:
		return isText(e.X)
	}
	return false
}
