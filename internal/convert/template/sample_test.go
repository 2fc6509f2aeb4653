package template

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// sharedData finds the samples that people's files are, beside the repository.
func sharedData(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if d := filepath.Join(dir, "shared", "data"); isDir(d) {
			return d
		}
	}
	t.Skip("no shared/data beside the repository: samples are not checked")
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Every template of people's files parses, and runs on no data at all.
func TestPeoplesTemplatesParseAndRun(t *testing.T) {
	dir := sharedData(t)
	var files []string
	for _, pattern := range []string{"higress-services/*.yaml", "nacos-3.1.0/config/mcp-tools/*.json"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	count := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(raw, &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var visit func(n *yaml.Node)
		visit = func(n *yaml.Node) {
			for _, c := range n.Content {
				visit(c)
			}
			if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "{{") {
				return
			}
			count++
			tmpl, err := Parse(filepath.Base(file), n.Value, Options{})
			if err != nil {
				t.Errorf("line %d: %v", n.Line, err)
				return
			}
			if _, err := tmpl.Execute(nil, request(`{}`, `{}`), env, Budget{}); err != nil {
				t.Errorf("line %d: %v", n.Line, err)
			}
		}
		visit(&doc)
	}
	t.Logf("%d templates in %d files", count, len(files))
}

// No template and no data make it panic, run on, or write beyond its budget.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{
		`{{.a.b}} {{range $i, $v := .l}}{{if $i}}, {{end}}{{$v | toJson}}{{else}}x{{end}}`, `{{gjson "l.#(v>1)#.n"}}`, `{{printf "%5.2f|%q" .a .l}}`,
		`{{define "x"}}{{template "x" .}}{{end}}{{template "x" .}}`, `{{join ',' .l}}{{index .l 1}}{{slice .l 1 9}}`, `${nacos.a/b}{{ ${env:X}.y }}`,
		`{{with $x := dict "a" .a}}{{set $x "b" $x}}{{end}}`, `{{now | date "2006"}}{{regexReplaceAll "(a)" .a "$1$1"}}`, `{{range 99999999}}{{end}}`,
		`{{add .a 1}}{{mul .a .a}}{{div .a 3}}{{mod 7 .a}}{{round .a 2}}{{seq 1 .a}}{{until 5}}`, `{"a": "{{.a}}", "b": {{.l}}}`, `https://h/{{.a}}?q={{.l}}`,
		`{{trunc 3 .a}}{{substr 1 2 .a}}{{wrap 3 .a}}{{abbrev 5 .a}}{{splitn "," 2 .a}}{{chunk 2 .l}}{{dig "a" "b" "c" .}}`, "{{`x`}}{{/* c */}}{{- 1 -}}{{break}}",
	} {
		f.Add(text, `{"a":{"b":1.50},"l":[1,{"v":2,"n":"x"},"s",null]}`, uint8(0))
		f.Add(text, `{"args":{"a":"../%\"","l":[1]},"a":"5"}`, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text, raw string, mode uint8) {
		if len(text) > 2000 || len(raw) > 2000 {
			return
		}
		data, err := ParseJSON([]byte(raw))
		if err != nil {
			data = Null()
		}
		if args := data.Get("args"); args.Exists() {
			data = data.With("args", args.Tainted())
		}
		tmpl, err := Parse("f", text, Options{Mode: Mode(mode % 5), MultiSegment: []string{"l"}})
		if err != nil {
			var at *Error
			if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 {
				t.Fatalf("%q: %v has no position", text, err)
			}
			return
		}
		start := time.Now()
		budget := Budget{Steps: 20_000, Output: 10_000, Depth: 10}
		out, err := tmpl.Execute(nil, data, env, budget)
		if err != nil && strings.Contains(err.Error(), "a function cannot work") {
			t.Fatalf("%q: panicked", text)
		}
		if len(out) > budget.Output {
			t.Fatalf("%q: %d bytes", text, len(out))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%q: took %v", text, took)
		}
	})
}
