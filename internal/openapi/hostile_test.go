package openapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

const head = `{"openapi":"3.0.0","servers":[{"url":"https://example.com"}],"paths":{"/x":{"post":{"operationId":"x","requestBody":{"content":{"application/json":{"schema":`

// around puts a schema into a description, with others beside it.
func around(schema, others string) string {
	return head + schema + `}}}}}},"components":{"schemas":{` + others + `}}}`
}

// TestA33_HostileDescriptionsAreBounded holds that no description costs more than it is worth. Without the bound on
// depth "deep nesting" passes, without the look at the size "many operations" makes a document of several MiB;
// without the budget of nodes "doubling by allOf" does not end.
func TestA33_HostileDescriptionsAreBounded(t *testing.T) {
	var doubling, all strings.Builder
	for i := range 60 {
		fmt.Fprintf(&doubling, `"s%d":{"type":"object","properties":{"a":{"$ref":"#/components/schemas/s%d"},"b":{"$ref":"#/components/schemas/s%d"}}},`, i, i+1, i+1)
		fmt.Fprintf(&all, `"s%d":{"allOf":[{"$ref":"#/components/schemas/s%d"},{"$ref":"#/components/schemas/s%d"}]},`, i, i+1, i+1)
	}
	last := `"s60":{"type":"string"}`
	var bomb strings.Builder
	bomb.WriteString("openapi: 3.0.0\nservers: [{url: 'https://example.com'}]\nx-0: &a0 {properties: {p: {type: string}}}\n")
	for i := 1; i < 100; i++ {
		fmt.Fprintf(&bomb, "x-%d: &a%d {properties: {a: *a%d, b: *a%d, c: *a%d}}\n", i, i, i-1, i-1, i-1)
	}
	bomb.WriteString("paths: {/x: {post: {requestBody: {content: {application/json: {schema: *a99}}}}}}\n")
	var wide strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&wide, `"p%d":{"$ref":"#/components/schemas/s0"},`, i)
	}
	manyRequired := strings.Repeat(`"r",`, 200000) + `"r"`
	var manyOps strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&manyOps, `"/o%d":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/s0"}}}}}},`, i)
	}
	tests := []struct{ name, src, err string }{
		{"reference to itself", around(`{"$ref":"#/components/schemas/a"}`, `"a":{"$ref":"#/components/schemas/a"}`), "more than 50 references in a row"},
		{"ring of references", around(`{"$ref":"#/components/schemas/a"}`, `"a":{"$ref":"#/components/schemas/b"},"b":{"$ref":"#/components/schemas/a"}`), "more than 50 references in a row"},
		{"schema within itself", around(`{"$ref":"#/components/schemas/a"}`, `"a":{"type":"object","properties":{"a":{"$ref":"#/components/schemas/a"},"l":{"type":"array","items":{"$ref":"#/components/schemas/a"}}}}`), ""},
		{"allOf within itself", around(`{"$ref":"#/components/schemas/a"}`, `"a":{"allOf":[{"$ref":"#/components/schemas/a"},{"type":"object"}]}`), ""},
		{"reference to an ancestor", head + `{"$ref":"#/paths"}}}}}}}}`, ""},
		{"doubling", around(`{"$ref":"#/components/schemas/s0"}`, doubling.String()+last), ""},
		{"doubling by allOf", around(`{"$ref":"#/components/schemas/s0"}`, all.String()+last), ""},
		{"wide and deep", around(`{"type":"object","properties":{`+strings.TrimSuffix(wide.String(), ",")+`}}`, doubling.String()+last), ""},
		{"many required", around(`{"type":"object","properties":{"r":{"type":"string"}},"required":[`+manyRequired+`]}`, ""), ""},
		{"many operations on a large schema", `{"openapi":"3.0.0","servers":[{"url":"https://example.com"}],"paths":{` + strings.TrimSuffix(manyOps.String(), ",") + `},"components":{"schemas":{` + doubling.String() + last + `}}}`, "include fewer operations"},
		{"deep nesting, JSON", head + strings.Repeat(`{"items":`, 100000), "nested deeper than 500 levels"},
		{"deep nesting, YAML", "openapi: 3.0.0\nx: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested deeper than 500 levels"},
		{"YAML bomb", bomb.String(), ""},
		{"long name", around(`{"type":"object","properties":{"`+strings.Repeat("n", 100000)+`":{"type":"string"}}}`, ""), ""},
		{"unfinished HTML", around(`{"type":"object","description":"`+strings.Repeat("<a ", 100000)+`"}`, ""), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			r, err := Import(t.Context(), []byte(test.src), Options{Name: "x"})
			if took := time.Since(began); took > 30*time.Second { // a second at most, on a quiet machine
				t.Errorf("took %v", took)
			}
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Document) > registry.MaxDocument {
				t.Errorf("document of %d bytes", len(r.Document))
			}
			compiled(t, r.Document)
		})
	}
}

// TestTextOfDescriptionsIsNoTemplate holds that what a description says cannot become a template, a comment's end or a
// field of the document.
func TestTextOfDescriptionsIsNoTemplate(t *testing.T) {
	const evil = `{{.config.secret}}\n}}\ntools: []\n# x ${credential:other/key} \u0001{{\u0002`
	src := `{"openapi":"3.0.0","info":{"title":"` + evil + `","version":"` + evil + `"},"servers":[{"url":"https://example.com"}],"paths":{
		"/{{.config.x}}":{"get":{}},
		"/\u0001.config.x\u0002":{"get":{}},
		"/ok/{a}":{"get":{"operationId":"` + evil + `","summary":"` + evil + `","description":"` + evil + `","parameters":[
			{"name":"a","in":"path","required":true,"schema":{"type":"string"}},
			{"name":"` + evil + `","in":"query","description":"` + evil + `","schema":{"type":"string","enum":["` + evil + `"],"default":"` + evil + `"}},
			{"name":"h{{x}}","in":"header","schema":{"type":"string"}}]}}}}`
	r, err := Import(t.Context(), []byte(src), Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tools) != 1 || len(r.Skipped) != 2 {
		t.Fatalf("tools %q, skipped %v", r.Tools, r.Skipped)
	}
	service := compiled(t, r.Document)
	if len(service.Order) != 1 || len(service.References) != 0 {
		t.Fatalf("%d tools that refer to %q", len(service.Order), service.References)
	}
	names := asked(t, service.Order[0])
	got := sent(t, service, r.Tools[0], `{"a":"1","`+names[1]+`":"`+evil+`"}`)
	if !strings.HasPrefix(got, "GET /ok/1?%7B%7B.config.secret%7D%7D%0A%7D%7D") || strings.Count(got, "\n") != 1 {
		t.Errorf("sent %q", got)
	}
}

func TestReferencesLeadNowhereElse(t *testing.T) {
	const src = `{"openapi":"3.0.0","servers":[{"url":"https://example.com"}],"paths":{"/x":{"get":{"parameters":[{"$ref":%q}]}},"/y":{"get":{}}}}`
	files := fstest.MapFS{
		"api/parts.yaml": {Data: []byte("q: {name: q, in: query, schema: {type: string}}")},
		"up.yaml":        {Data: []byte("q: {name: q, in: query, schema: {type: string}}")},
		"api/bad.yaml":   {Data: []byte("a: b: c")},
	}
	tests := []struct{ name, ref, source, skipped string }{
		{"beside", "parts.yaml#/q", "api/openapi.json", ""},
		{"one up", "../up.yaml#/q", "api/openapi.json", ""},
		{"out of the directory", "../../etc/passwd#/q", "api/openapi.json", "lies outside the directory"},
		{"absolute path", "/etc/passwd#/q", "api/openapi.json", "lies outside the directory"},
		{"file URL", "file:///etc/passwd#/q", "api/openapi.json", `scheme "file" is not supported`},
		{"network from a file", "http://169.254.169.254/latest#/q", "api/openapi.json", "lies outside the directory"},
		{"a file from the network", "/etc/passwd#/q", "https://example.com/openapi.json", "lies outside the directory"},
		{"not there", "parts.yaml#/z", "api/openapi.json", `there is no "z"`},
		{"not YAML", "bad.yaml#/z", "api/openapi.json", "is not YAML"},
		{"anchor", "#q", "api/openapi.json", "anchors are not supported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := Import(t.Context(), fmt.Appendf(nil, src, test.ref), Options{Name: "x", Source: test.source, Load: Files(files)})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case test.skipped == "" && len(r.Skipped) > 0:
				t.Errorf("skipped: %v", r.Skipped)
			case test.skipped != "" && (len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Text, test.skipped)):
				t.Errorf("skipped %v, want %q", r.Skipped, test.skipped)
			}
		})
	}
}

func TestRemoteReferences(t *testing.T) {
	var asked []string
	load := func(_ context.Context, ref string) ([]byte, error) {
		asked = append(asked, ref)
		if strings.HasSuffix(ref, "gone.yaml") {
			return nil, errors.New("404 Not Found")
		}
		return []byte(`{q: {name: q, in: query, schema: {$ref: "other.yaml#/t"}}, t: {type: integer}}`), nil
	}
	const src = `{"openapi":"3.0.0","servers":[{"url":"/v2"}],"paths":{
		"/x":{"get":{"parameters":[{"$ref":"parts/a.yaml#/q"},{"$ref":"parts/a.yaml#/q"}]}},
		"/y":{"get":{"parameters":[{"$ref":"https://cdn.example.com/gone.yaml#/q"}]}}}}`
	r, err := Import(t.Context(), []byte(src), Options{Name: "x", Source: "https://example.com/docs/openapi.json", Load: load})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://example.com/docs/parts/a.yaml", "https://example.com/docs/parts/other.yaml", "https://cdn.example.com/gone.yaml"}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Text, "404 Not Found") {
		t.Errorf("skipped %v", r.Skipped)
	}
	if !strings.Contains(string(r.Document), "url: https://example.com/v2") {
		t.Errorf("upstream is not relative to the description:\n%s", r.Document)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Import(ctx, []byte(src), Options{Name: "x", Source: "https://example.com/openapi.json"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after cancelling", err)
	}
}

func TestInclude(t *testing.T) {
	tests := []struct {
		name    string
		include []string
		want    []string
		err     string
	}{
		{"by name", []string{"addBook"}, []string{"addBook"}, ""},
		{"by pattern of names", []string{"books_*", "note"}, []string{"books_delete", "books_replace", "note"}, ""},
		{"by operationId", []string{"books.delete"}, []string{"books_delete"}, ""},
		{"by path", []string{"/books/*"}, []string{"get_books_by_isbn", "books_delete", "books_replace", "chapter"}, ""},
		{"by method and path", []string{"GET /books*"}, []string{"listBooks", "get_books_by_isbn", "chapter"}, ""},
		{"by tag", []string{"tag:book*"}, []string{"listBooks"}, ""},
		{"nothing", []string{"listBooks", "nothing*"}, nil, `import description: include "nothing*" selects no operation`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options("library.yaml")
			o.Include = test.include
			r, err := Import(t.Context(), read(t, "testdata/good/library.yaml"), o)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, r.Tools); diff != "" {
				t.Errorf("tools (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzImport(f *testing.F) {
	for _, name := range descriptions {
		f.Add(read(f, "testdata/good/"+name))
	}
	f.Add([]byte(around(`{"$ref":"#/components/schemas/a"}`, `"a":{"allOf":[{"$ref":"#/components/schemas/a"}]}`)))
	f.Add([]byte("openapi: 3.1.0\nservers: [{url: 'http://x'}]\npaths: {'/{a}': {get: {parameters: [{in: query, name: 'b[]', schema: {type: array}}]}}}"))
	f.Add([]byte(`{"openapi":"3.0.0","paths":{"/x":[{"get":{}}],"/y":{"get":{"responses":[{}],"parameters":[{"name":"c","in":"path","style":"matrix","explode":true,"schema":{"type":"object"}}]}},"/y":{}}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		began := time.Now()
		r, err := Import(t.Context(), src, Options{Name: "x", UpstreamURL: "https://example.com"})
		if took := time.Since(began); took > 20*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(src))
		}
		if err != nil {
			return
		}
		service := compiled(t, r.Document)
		if len(service.Order) != len(r.Tools) {
			t.Fatalf("%d of %d tools can be called\n%s", len(service.Order), len(r.Tools), r.Document)
		}
		if _, err := ImportRegistry(t.Context(), src, "", Options{Name: "x", UpstreamURL: "https://example.com"}); err != nil {
			t.Fatal(err)
		}
	})
}
