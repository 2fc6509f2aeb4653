package openapi

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
)

// samples finds other people's descriptions, which are no part of this repository.
func samples(t *testing.T) []string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		if files, _ := filepath.Glob(filepath.Join(at, "shared", "data", "openapi", "*.json")); len(files) > 0 {
			return files
		}
	}
	t.Skip("no shared/data/openapi beside the repository")
	return nil
}

// TestSamplesAnswerCalls imports people's descriptions and calls every tool against a backend that records what
// reaches it.
func TestSamplesAnswerCalls(t *testing.T) {
	var got []string
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	defer backend.Close()
	tools := 0
	for _, file := range samples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r, err := Import(t.Context(), read(t, file), Options{Name: "sample", UpstreamURL: backend.URL + "/base"})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range r.Skipped {
				t.Logf("skipped %s", s)
				if !strings.Contains(s.Text, "multipart/form-data") {
					t.Errorf("skipped for no known reason: %s", s)
				}
			}
			service := compiled(t, r.Document)
			if len(service.Order) != len(r.Tools) {
				t.Errorf("%d of %d tools can be called", len(service.Order), len(r.Tools))
			}
			for _, tool := range service.Order {
				got = nil
				call(t, tool, backend.URL+"/base")
				if len(got) != 1 || !strings.Contains(got[0], " /base/") || strings.Contains(got[0], "{") {
					t.Errorf("%s reached the backend as %q", tool.Name, got)
				}
				tools++
			}
		})
	}
	if tools < 15 {
		t.Errorf("only %d tools were called", tools)
	}
}

func call(t *testing.T, tool *convert.Tool, base string) {
	t.Helper()
	request, result, err := tool.Request(convert.Call{Arguments: example(inputSchema(t, tool)).appendJSON(nil), Header: http.Header{}})
	if err != nil || request == nil {
		t.Fatalf("%s: no request: %v %s", tool.Name, err, result)
	}
	out, err := http.NewRequestWithContext(t.Context(), request.Method, base+request.URL, strings.NewReader(string(request.Body)))
	if err != nil {
		t.Fatal(err)
	}
	out.Header = request.Header
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// example makes a value that fits a simple schema.
func example(schema *node) *node {
	if e := schema.get("enum"); e != nil {
		return e.items[0]
	}
	types := append(typesOf(schema.get("type")), "string")
	switch types[0] {
	case "object":
		made := newObject()
		properties := schema.get("properties")
		for i := range itemsOf(properties) {
			made.set(properties.keys[i], example(properties.items[i]))
		}
		return made
	case "array":
		if items := schema.get("items"); items != nil {
			return newList(example(items))
		}
		return newList()
	case "integer", "number":
		return &node{kind: number, text: "7"}
	case "boolean":
		return newBool(true)
	}
	return newText("a b")
}
