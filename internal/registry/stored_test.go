package registry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStoredFaultsNameTheLineWhereThereAreSeveral(t *testing.T) {
	doc := "{\n \"tools\": [\n  {\"name\": \"a\"},\n  {\"name\": \"b\\u0001\"}\n ],\n \"toolsMeta\": {\n  \"a\": {\n   \"enabled\": 7\n  }\n }\n}"
	lines := func(doc string) []string {
		set, found := ParseTools("x-1-mcp-tools.json", []byte(doc))
		_, more := Assemble(&Manifest{ID: "x", Name: "x", Protocol: "http"}, "1", &Spec{Ref: &SpecRef{Service: "s"}}, set)
		var list []string
		for _, r := range append(found, more...) {
			list = append(list, r.Error())
		}
		return list
	}
	want := []string{
		`mcp-tools/x-1-mcp-tools.json:8: tool "a": toolsMeta.a.enabled: must be true or false`,
		`mcp-tools/x-1-mcp-tools.json:4: tools[1]: name: must be 1 to 256 characters without blanks and control characters`,
	}
	if diff := cmp.Diff(want, lines(doc)); diff != "" {
		t.Errorf("several lines: -want +got:\n%s", diff)
	}
	for i := range want {
		want[i] = strings.NewReplacer("json:8:", "json:", "json:4:", "json:").Replace(want[i])
	}
	if diff := cmp.Diff(want, lines(strings.ReplaceAll(doc, "\n", " "))); diff != "" {
		t.Errorf("one line: -want +got:\n%s", diff)
	}
}

func TestToolWithUnreadableEnabledIsHidden(t *testing.T) {
	set, _ := ParseTools("x-1-mcp-tools.json", []byte(`{"tools":[{"name":"a"}],"toolsMeta":{"a":{"enabled":"maybe","templates":{"json-go-template":{"requestTemplate":{"url":"/a"}}}}}}`))
	def, _ := Assemble(&Manifest{ID: "x", Name: "x", Protocol: "http"}, "1", &Spec{Ref: &SpecRef{Service: "s"}}, set)
	if len(def.Tools) != 0 || !def.Hidden["a"] {
		t.Errorf("tools %v, hidden %v", def.Tools, def.Hidden)
	}
}

func TestNotServed(t *testing.T) {
	active := Manifest{Name: "x", Protocol: "http", Latest: "1", Enabled: true}
	with := func(change func(*Manifest)) *Manifest {
		m := active
		change(&m)
		return &m
	}
	cases := []struct {
		name string
		m    *Manifest
		s    *Spec
		want string
	}{
		{"served", &active, &Spec{Enabled: true}, ""},
		{"spec not read yet", &active, nil, ""},
		{"manifest disabled", with(func(m *Manifest) { m.Enabled = false }), &Spec{Enabled: true}, "disabled in the manifest"},
		{"spec disabled", &active, &Spec{}, "disabled in the server spec"},
		{"manifest deleted", with(func(m *Manifest) { m.Status = "deleted" }), nil, "status is deleted"},
		{"spec deleted", &active, &Spec{Enabled: true, Status: "deleted"}, "status is deleted"},
		{"deprecated is served", with(func(m *Manifest) { m.Status = "deprecated" }), nil, ""},
		{"nothing published", with(func(m *Manifest) { m.Latest = "" }), nil, "no version is published"},
		{"stdio", with(func(m *Manifest) { m.Protocol = "stdio" }), nil, "protocol stdio cannot be proxied"},
		{"dubbo in the spec", &active, &Spec{Enabled: true, Protocol: "dubbo"}, "protocol dubbo cannot be proxied"},
		{"none", with(func(m *Manifest) { m.Protocol = "" }), nil, "no protocol is given"},
		{"new one", with(func(m *Manifest) { m.Protocol = "a2a" }), nil, "protocol a2a is not known"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := NotServed(c.m, c.s); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestManifestVersions(t *testing.T) {
	cases := []struct{ name, doc, latest, versions string }{
		{"latest named", `{"name":"a","latestPublishedVersion":"2","versionDetails":[{"version":"1"},{"version":"2"}]}`, "2", "[1 2]"},
		{"latest not listed", `{"name":"a","latestPublishedVersion":"3","versionDetails":[{"version":"1"}]}`, "3", "[1 3]"},
		{"latest by flag", `{"name":"a","versionDetails":[{"version":"1","is_latest":true},{"version":"2"}]}`, "1", "[1 2]"},
		{"drafts only", `{"name":"a","versionDetails":[{"version":"1"}]}`, "", "[1]"},
		{"numbers and repetitions", `{"name":"a","latestPublishedVersion":1.0,"versionDetails":[{"version":1.0},{"version":"1.0"},null,{}]}`, "1.0", "[1.0]"},
		{"no list", `{"name":"a","versionDetails":"x"}`, "", "[]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, found := ParseManifest("id-mcp-versions.json", []byte(c.doc))
			if m == nil {
				t.Fatal(found)
			}
			if got := fmt.Sprint(m.Versions); m.Latest != c.latest || got != c.versions {
				t.Errorf("latest %q of %s, want %q of %s", m.Latest, got, c.latest, c.versions)
			}
		})
	}
}

func TestSchemeOfRegistryBackends(t *testing.T) {
	cases := []struct{ protocol, transport, want, on443 string }{
		{"http", "", "http", "https"}, {"https", "", "https", "https"}, {"https", "http", "http", "http"}, {"http", "HTTPS", "https", "https"},
		{"mcp-sse", "", "http", "https"}, {"mcp-streamable", "https", "https", "https"}, {"mcp-streamable", "http", "http", "http"},
	}
	for _, c := range cases {
		t.Run(c.protocol+" "+c.transport, func(t *testing.T) {
			spec, _ := ParseSpec("x-1-mcp-server.json", fmt.Appendf(nil, `{"protocol":%q,"remoteServerConfig":{"serviceRef":{"serviceName":"s","transportProtocol":%q},"exportPath":"/mcp"}}`, c.protocol, c.transport))
			set, _ := ParseTools("x-1-mcp-tools.json", []byte(`{}`))
			def, found := Assemble(&Manifest{ID: "x", Name: "x"}, "1", spec, set)
			if def == nil {
				t.Fatal(found)
			}
			if got, on443 := def.Backend.Ref.SchemeAt(8443), def.Backend.Ref.SchemeAt(443); got != c.want || on443 != c.on443 {
				t.Errorf("scheme %q, on port 443 %q, want %q and %q", got, on443, c.want, c.on443)
			}
			if converted := def.Kind.Converted(); converted != (def.Backend.Path == "") {
				t.Errorf("converted %v with path %q: exportPath is no prefix of an HTTP backend's paths", converted, def.Backend.Path)
			}
		})
	}
}

// Registry documents may be megabytes; none may cost more than its size.
func TestA33_StoredDocumentsTakeBoundedTime(t *testing.T) {
	if testing.Short() {
		t.Skip("parses many megabytes")
	}
	const whole, part = MaxStored - 200, MaxStored / 8
	list := func(head, format, tail string) func(int) string {
		return func(size int) string {
			var b strings.Builder
			b.WriteString(head)
			for i := 0; b.Len() < size; i++ {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, format, i)
			}
			return b.String() + tail
		}
	}
	const meta = `"toolsMeta":{"a":{"templates":{"json-go-template":{"requestTemplate":{"url":"/x"},"argsPosition":{`
	cases := map[string]func(int) string{
		"versions":       list(`{"name":"a","versionDetails":[`, `{"version":"%d"}`, `]}`),
		"tools":          list(`{"tools":[`, `{"name":"t%d"}`, `]}`),
		"same tools":     list(`{`+meta+`}}}}},"tools":[`, `{"name":"a","x":%d}`, `]}`),
		"lines":          list("{\"tools\":[\n", "{\"name\":\n%d}", `]}`),
		"positions":      list(`{"tools":[{"name":"a"}],`+meta, `"b%d":"x"`, `}}}}}}`),
		"schemes":        list(`{"securitySchemes":[`, `{"id":"a%d"}`, `]}`),
		"bad flags":      list(`{"toolsMeta":{`, "\"b%d\":{\"enabled\":\n9}", `}}`),
		"schema members": list(`{`+meta+`}}}}},"tools":[{"name":"a","inputSchema":{"properties":{`, `"b%d":{}`, `}}}]}`),
		"nested":         func(size int) string { return strings.Repeat("[", size) },
	}
	for name, shape := range cases {
		t.Run(name, func(t *testing.T) {
			growsLikeItsSize(t, func(size int) {
				doc := []byte(shape(size))
				ParseManifest("x-mcp-versions.json", doc)
				spec, _ := ParseSpec("x-1-mcp-server.json", doc)
				if set, _ := ParseTools("x-1-mcp-tools.json", doc); set != nil && spec != nil {
					spec.Ref = &SpecRef{Service: "s"}
					Assemble(&Manifest{ID: "x", Name: "x", Protocol: "http"}, "1", spec, set)
				}
			}, part, whole)
		})
	}
}
