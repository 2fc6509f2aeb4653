package convert

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

func paramTool(t *testing.T, schema string) (*Tool, []registry.Rejection) {
	t.Helper()
	s, found := Compile(&registry.Definition{Tools: []registry.Tool{{
		Name: "t", InputSchema: []byte(schema), Request: registry.RequestTemplate{URL: "http://b/x", Method: "GET"},
	}}}, Options{})
	if s.Tools["t"] == nil {
		t.Fatalf("compile: %v", found)
	}
	return s.Tools["t"], found
}

func TestParamHeadersMustBeTheArguments(t *testing.T) {
	tool, found := paramTool(t, `{"type":"object","properties":{
		"region":{"type":"string","x-mcp-header":"Region"},
		"n":{"type":"integer","x-mcp-header":"N"},
		"deep":{"type":"object","properties":{"on":{"type":"boolean","x-mcp-header":"On"}}}}}`)
	if len(found) != 0 {
		t.Fatalf("rejections: %v", found)
	}
	decode := func(s string) (string, error) {
		if s == "broken" {
			return "", errors.New("broken")
		}
		return strings.TrimPrefix(s, "decoded "), nil
	}
	cases := []struct {
		name, arguments string
		headers         []string // name, value, …
		want            string
	}{
		{"none", `{}`, nil, ""},
		{"no arguments", ``, nil, ""},
		{"null is none", `{"region":null}`, nil, ""},
		{"the same", `{"region":"eu","n":42,"deep":{"on":true}}`, []string{"Region", "eu", "N", "42", "On", "true"}, ""},
		{"decoded", `{"region":"é"}`, []string{"Region", "decoded é"}, ""},
		{"the same number in other digits", `{"n":42}`, []string{"N", "42.0"}, ""},
		{"a large number", `{"n":9007199254740993}`, []string{"N", "9007199254740993"}, ""},
		{"its neighbour", `{"n":9007199254740993}`, []string{"N", "9007199254740992"}, "the Mcp-Param-N header differs from the argument n"},
		{"another text", `{"region":"eu"}`, []string{"Region", "us"}, "the Mcp-Param-Region header differs from the argument region"},
		{"another, deep", `{"deep":{"on":true}}`, []string{"On", "false"}, "the Mcp-Param-On header differs from the argument deep.on"},
		{"missing", `{"region":"eu"}`, nil, "the Mcp-Param-Region header is required with the argument region"},
		{"without argument", `{}`, []string{"Region", "eu"}, "the Mcp-Param-Region header is given without the argument region"},
		{"twice", `{"region":"eu"}`, []string{"Region", "eu", "Region", "eu"}, "the Mcp-Param-Region header is given more than once"},
		{"bad encoding", `{"region":"eu"}`, []string{"Region", "broken"}, "the Mcp-Param-Region header is not valid base64 of UTF-8"},
		{"an object", `{"region":{}}`, []string{"Region", "{}"}, "the Mcp-Param-Region header differs from the argument region"},
		{"arguments that are none", `[1`, nil, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			for i := 0; i < len(c.headers); i += 2 {
				h.Add("Mcp-Param-"+c.headers[i], c.headers[i+1])
			}
			got := ""
			if err := tool.ParamsDiffer([]byte(c.arguments), h, decode); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParamHeaderAnnotationsThatClientsRefuseAreWarnings(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}`:                                          "x-mcp-header of a needs the type string, integer or boolean: clients leave the tool out",
		`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A B"}}}`:                                        "x-mcp-header of a must be the name of a header: clients leave the tool out",
		`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":""}}}`:                                           "x-mcp-header of a must be the name of a header: clients leave the tool out",
		`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":["A"]}}}`:                                        "x-mcp-header of a must be the name of a header: clients leave the tool out",
		`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"X"},"b":{"type":"string","x-mcp-header":"x"}}}`: `is given twice: clients leave the tool out`,
	} {
		_, found := paramTool(t, schema)
		if len(found) != 1 || !found[0].Warning || !strings.Contains(found[0].Message, want) {
			t.Errorf("%s: got %v, want the warning %q", schema, found, want)
		}
	}
}
