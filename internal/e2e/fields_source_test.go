package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// decoderFields lists the fields that the decoders of internal/registry know, read from their source: "function field" or
// "function object.field", sorted. A decoder that gets its names in a way that is not understood here fails the test.
func decoderFields(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../registry/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of the decoders: %v", err)
	}
	d := decoders{t: t, set: token.NewFileSet(), lists: map[string][]string{}}
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(d.set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
		d.variables(f)
	}
	for _, f := range parsed {
		stored := false // it reads documents of the Nacos registry, whose fields are not listed but asked for
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			stored = stored || ok && (id.Name == "membersOf" || id.Name == "stored")
			return true
		})
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
				d.function(fn, stored)
			}
		}
	}
	slices.Sort(d.found)
	return slices.Compact(d.found)
}

type decoders struct {
	t     *testing.T
	set   *token.FileSet
	lists map[string][]string // package variables of text
	found []string
}

// variables notes lists of text, which may stand for names of fields.
func (d *decoders) variables(f *ast.File) {
	for _, decl := range f.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) {
				continue
			}
			for i, value := range v.Values {
				if list, ok := value.(*ast.CompositeLit); ok {
					names := []string{}
					for _, e := range list.Elts {
						names = append(names, literal(e))
					}
					if !slices.Contains(names, "") {
						d.lists[v.Names[i].Name] = names
					}
				}
			}
		}
	}
}

// literal is the value of a string literal; "" for anything else.
func literal(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	return ""
}

func (d *decoders) function(fn *ast.FuncDecl, stored bool) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if at, ok := n.(*ast.IndexExpr); ok && stored {
			d.add(fn, "", literal(at.Index))
		}
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		name, onReader := "", true
		switch f := call.Fun.(type) {
		case *ast.SelectorExpr:
			name = f.Sel.Name
			switch of := f.X.(type) {
			case *ast.Ident:
				onReader = of.Name == "r"
			case *ast.SelectorExpr:
				onReader = of.Sel.Name == "r"
			}
		case *ast.Ident:
			name = f.Name
		}
		switch first := literal(call.Args[0]); {
		case name == "readSecurity" && len(call.Args) > 2:
			d.known(fn, call, literal(call.Args[1]), 2)
		case name == "object" && onReader && len(call.Args) > 2:
			d.known(fn, call, "", 2)
		case name == "object" && len(call.Args) > 1:
			d.known(fn, call, first, 1)
		case stored && first != "" && slices.Contains([]string{"text", "object", "raw"}, name):
			d.add(fn, "", first)
		case stored && name == "flag" && len(call.Args) > 1:
			d.add(fn, "", literal(call.Args[1]))
		}
		return true
	})
}

// known adds the names that an object may hold: arguments of call from the one at on.
func (d *decoders) known(fn *ast.FuncDecl, call *ast.CallExpr, object string, at int) {
	args := call.Args[at:]
	if lists, ok := args[0].(*ast.CallExpr); ok { // slices.Concat(a, b)...
		args = lists.Args
	}
	for _, arg := range args {
		if s := literal(arg); s != "" {
			d.add(fn, object, s)
			continue
		}
		id, ok := arg.(*ast.Ident)
		if list := d.lists[nameOf(id)]; ok && len(list) > 0 {
			for _, s := range list {
				d.add(fn, object, s)
			}
			continue
		}
		if !ok || id.Name != "known" { // handed on by a helper whose callers are looked at
			d.t.Errorf("%s: cannot tell which fields this call knows: teach decoderFields", d.set.Position(call.Pos()))
		}
	}
}

func nameOf(id *ast.Ident) string {
	if id == nil {
		return ""
	}
	return id.Name
}

func (d *decoders) add(fn *ast.FuncDecl, object, field string) {
	if field == "" {
		return
	}
	if object != "" {
		field = object + "." + field
	}
	d.found = append(d.found, fn.Name.Name+" "+field)
}
