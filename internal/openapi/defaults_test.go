package openapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
)

// forms are the two documents that an import writes, compiled.
func forms(t *testing.T, src string) map[string]*convert.Service {
	t.Helper()
	document, err := Import(t.Context(), []byte(src), Options{Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := ImportRegistry(t.Context(), []byte(src), "", Options{Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*convert.Service{"document": compiled(t, document.Document), "registry": assembled(t, stored)}
}

// TestDefaultsAreToldNotSent was seen to fail for every tool while defaults of a description became defaults of
// arguments: the PATCH then also made the room public and closed it.
func TestDefaultsAreToldNotSent(t *testing.T) {
	const src = `{"openapi":"3.1.0","servers":[{"url":"https://example.com"}],"paths":{
		"/rooms/{id}":{
			"patch":{"operationId":"patch","parameters":[
					{"name":"id","in":"path","required":true,"schema":{"type":"string"}},
					{"name":"notify","in":"query","description":"Whom to tell.","schema":{"type":"boolean","default":true}},
					{"name":"sort[by]","in":"query","schema":{"type":"string","default":"name"}},
					{"name":"X-Mode","in":"header","schema":{"type":"string","default":"fast"}},
					{"name":"X-Tags","in":"header","schema":{"type":"array","items":{"type":"string"},"default":["a"]}},
					{"name":"lang","in":"cookie","schema":{"type":"string","default":"en"}}],
				"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{
					"name":{"type":"string"},
					"open":{"type":"boolean","default":false,"description":"closed or open"},
					"size":{"type":["integer","null"],"minimum":1,"default":3,"description":"Defaults to 3 seats."},
					"door":{"type":"object","properties":{"colour":{"type":"string","default":"red"}}}}}}}}},
			"put":{"operationId":"form","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
				"requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{
					"name":{"type":"string"},"open":{"type":"boolean","default":false},"tags[]":{"type":"array","items":{"type":"string"},"default":["a","b"]}}}}}}},
			"post":{"operationId":"whole","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
				"requestBody":{"content":{"application/json":{"schema":{"anyOf":[{"type":"object","properties":{"open":{"type":"boolean","default":false}}},{"type":"string","default":"x"}]}}}}}}}}`
	for form, service := range forms(t, src) {
		for _, c := range []struct{ tool, arguments, want string }{
			{"patch", `{"id":"1"}`, "PATCH /rooms/1?\n"},
			{"patch", `{"id":"1","name":"n","door":{}}`, "PATCH /rooms/1?\nContent-Type: application/json; charset=utf-8\n\n" + `{"name":"n","door":{}}`},
			{"form", `{"id":"1","name":"n"}`, "PUT /rooms/1?\nContent-Type: application/x-www-form-urlencoded\n\nname=n"},
			{"whole", `{"id":"1","body":{}}`, "POST /rooms/1?\nContent-Type: application/json\n\n{}"},
		} {
			if diff := cmp.Diff(c.want, normal(sent(t, service, c.tool, c.arguments))); diff != "" {
				t.Errorf("%s, %s %s (-want +got):\n%s", form, c.tool, c.arguments, diff)
			}
		}
		all := ""
		for _, tool := range service.Order {
			all += string(tool.Entry)
		}
		if strings.Contains(all, `"default"`) {
			t.Errorf("%s: a client that fills defaults in would send them", form)
		}
		for _, told := range []string{`"Whom to tell. Default: true."`, `"closed or open (default: false)"`, `"Defaults to 3 seats."`,
			`Default: \"name\".`, `Default: \"fast\".`, `Default: [\"a\"].`, `Default: \"en\".`, `Default: \"red\".`, `Default: [\"a\",\"b\"].`, `Default: \"x\".`} {
			if !strings.Contains(all, told) {
				t.Errorf("%s: no %s is told", form, told)
			}
		}
	}
}

// TestWhatLeavesNoChoiceIsAConstant was seen to fail, without constantParameter and constantMembers, with "is required":
// a default no longer fills in what there is to say.
func TestWhatLeavesNoChoiceIsAConstant(t *testing.T) {
	const src = `{"openapi":"3.1.0","servers":[{"url":"https://example.com"}],"paths":{
		"/{version}/rooms/{id}":{
			"patch":{"operationId":"patch","parameters":[
					{"name":"version","in":"path","required":true,"schema":{"type":"string","enum":["v 1"]}},
					{"name":"id","in":"path","required":true,"schema":{"type":"string"}},
					{"name":"api-version","in":"query","required":true,"schema":{"type":"string","enum":["2024&01"]}},
					{"name":"maybe","in":"query","schema":{"type":"string","enum":["yes"]}},
					{"name":"X-Version","in":"header","required":true,"schema":{"type":"integer","const":3}},
					{"name":"X-Odd","in":"header","required":true,"schema":{"type":"string","enum":["{{.config.x}}"]}}],
				"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["kind","na-me"],"properties":{
					"na-me":{"type":"string"},"kind":{"type":"string","enum":["a \"room\""]},"size":{"type":"integer"},"mark":{"type":"string","enum":["x"]}}}}}}},
			"put":{"operationId":"form","parameters":[{"name":"version","in":"path","required":true,"schema":{"type":"string"}},{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
				"requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","required":["kind"],"properties":{
					"kind":{"type":"string","enum":["a room"]},"name":{"type":"string"}}}}}}},
			"post":{"operationId":"only","parameters":[{"name":"version","in":"path","required":true,"schema":{"type":"string"}},{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
				"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["on"],"properties":{"on":{"type":"boolean","enum":[true]}}}}}}}}}}`
	const json = "Content-Type: application/json; charset=utf-8\n"
	for form, service := range forms(t, src) {
		for _, c := range []struct{ tool, arguments, want string }{
			{"patch", `{"id":"1","na-me":"n","X-Odd":"{{.config.x}}"}`, "PATCH /v%201/rooms/1?api-version=2024%2601\n" + json + "X-Odd: {{.config.x}}\nX-Version: 3\n\n" + `{"kind":"a \"room\"","na-me":"n"}`},
			{"patch", `{"id":"1","na-me":"n","X-Odd":"{{.config.x}}","size":7,"mark":"x","maybe":"yes"}`,
				"PATCH /v%201/rooms/1?api-version=2024%2601&maybe=yes\n" + json + "X-Odd: {{.config.x}}\nX-Version: 3\n\n" + `{"kind":"a \"room\"","na-me":"n","size":7,"mark":"x"}`},
			{"form", `{"version":"v","id":"1"}`, "PUT /v/rooms/1?\nContent-Type: application/x-www-form-urlencoded\n\nkind=a+room"},
			{"form", `{"version":"v","id":"1","name":"n&m"}`, "PUT /v/rooms/1?\nContent-Type: application/x-www-form-urlencoded\n\nkind=a+room&name=n%26m"},
			{"only", `{"version":"v","id":"1"}`, "POST /v/rooms/1?\n" + json + "\n" + `{"on":true}`},
		} {
			if diff := cmp.Diff(c.want, normal(sent(t, service, c.tool, c.arguments))); diff != "" {
				t.Errorf("%s, %s %s (-want +got):\n%s", form, c.tool, c.arguments, diff)
			}
		}
		if got := asked(t, service.Tools["patch"]); !cmp.Equal(got, []string{"id", "maybe", "X-Odd", "na-me", "size", "mark"}) {
			t.Errorf("%s: asks for %q", form, got)
		}
	}
}

// inputSchema returns the schema that a tool shows its callers.
func inputSchema(t *testing.T, tool *convert.Tool) *node {
	t.Helper()
	var entry struct {
		InputSchema json.RawMessage `json:"inputSchema"`
	}
	if err := json.Unmarshal(tool.Entry, &entry); err != nil {
		t.Fatal(err)
	}
	schema, err := parseJSON(entry.InputSchema)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asked lists the properties of a tool's input schema.
func asked(t *testing.T, tool *convert.Tool) []string {
	t.Helper()
	return inputSchema(t, tool).get("properties").keys
}
