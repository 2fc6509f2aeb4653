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

// A document whose tools are encrypted was one without tools, in silence. Seen red with what it says of that not read.
func TestEncryptedTools(t *testing.T) {
	const refused = `mcp-tools/x-1-mcp-tools.json: encryptData: the tools are encrypted, and the proxy has no key for them: publish them unencrypted`
	for _, c := range []struct{ doc, want string }{
		{`{"specificationType":"encrypted","encryptData":{"data":"AAAA","encryptInfo":{"algorithm":"aes"}}}`, refused},
		{`{"encryptData":{"data":"AAAA"},"tools":[],"toolsMeta":{},"securitySchemes":[]}`, refused},
		{`{"specificationType":"ENCRYPTED"}`, refused},
		{`{"specificationType":"plain","encryptData":null,"tools":[]}`, ""},
		{`{"specificationType":null,"encryptData":{"data":null,"encryptInfo":{}},"tools":[]}`, ""},
		{`{"encryptData":{"data":"AAAA"},"tools":[{"name":"a"}]}`, ""},
	} {
		set, found := ParseTools("x-1-mcp-tools.json", []byte(c.doc))
		got := ""
		for _, r := range found {
			got += r.Error()
		}
		if got != c.want || (set == nil) != (c.want != "") {
			t.Errorf("%s: %v, %q", c.doc, set, got)
		}
	}
}

// Nacos from 3.2 on stores more of what MCP shows. A hint or an icon of another type than MCP has would have clients refuse the
// whole list. Seen red with annotations as they are stored, and without icons.
func TestWhatIsShownOfAStoredTool(t *testing.T) {
	for _, c := range []struct{ name, tool, annotations, icons, warned string }{
		{"all of it", `"annotations":{"title":"T","readOnlyHint":true,"x":{"y":null}},"icons":[{"src":"https://example.com/a.png","mimeType":"image/png","sizes":["48x48","any"],"theme":"dark","more":1},{"src":"data:image/png;base64,AA==","sizes":"16x16 32x32"}]`,
			`{"title":"T","readOnlyHint":true,"x":{"y":null}}`,
			`[{"src":"https://example.com/a.png","mimeType":"image/png","sizes":["48x48","any"],"theme":"dark"},{"src":"data:image/png;base64,AA==","sizes":["16x16","32x32"]}]`, ``},
		{"nulls, as Java writes them", `"annotations":{"title":null,"readOnlyHint":false,"destructiveHint":null},"icons":null`, `{"readOnlyHint":false}`, ``, ``},
		{"nothing but nulls", `"annotations":{"title":null},"icons":[]`, ``, ``, ``},
		{"other types", `"annotations":{"title":7,"readOnlyHint":"yes","idempotentHint":true},"icons":{"src":"x"}`, `{"idempotentHint":true}`, ``,
			`annotations.title: ignored: must be text; annotations.readOnlyHint: ignored: must be true or false; icons: ignored: must be a list`},
		{"sources of icons", `"icons":[{"src":"javascript:alert(1)"},{"src":"data:text/html,x"},{"src":"/a.png"},{"src":"https://user@example.com/"},{},"x",{"src":"http://example.com/","theme":"red","sizes":[1]}]`, ``,
			`[{"src":"http://example.com/"}]`,
			`icons[0].src: ignored: must be an http or https URL or a data: URI of an image; icons[1].src: ignored: must be an http or https URL or a data: URI of an image; ` +
				`icons[2].src: ignored: must be an http or https URL or a data: URI of an image; icons[3].src: ignored: must be an http or https URL or a data: URI of an image; ` +
				`icons[4]: ignored: missing field "src"; icons[5]: ignored: missing field "src"`},
		{"many icons", `"icons":[` + strings.Repeat(`{"src":"http://a/"},`, 11) + `{}]`, ``, `[` + strings.Repeat(`{"src":"http://a/"},`, 9) + `{"src":"http://a/"}]`, `icons: only the first 10 are shown`},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, _ := ParseTools("x-1-mcp-tools.json", []byte(`{"tools":[{"name":"a",`+c.tool+`}],"toolsMeta":{"a":{"templates":{"json-go-template":{"requestTemplate":{"url":"/a"}}}}}}`))
			def, found := Assemble(&Manifest{ID: "x", Name: "x", Protocol: "http"}, "1", &Spec{Ref: &SpecRef{Service: "s"}}, set)
			if def == nil || len(def.Tools) != 1 {
				t.Fatalf("not served: %v", found)
			}
			var warned []string
			for _, r := range found {
				warned = append(warned, r.Field+": "+r.Message)
			}
			got := def.Tools[0]
			if string(got.Annotations) != c.annotations || string(got.Icons) != c.icons || strings.Join(warned, "; ") != c.warned {
				t.Errorf("annotations %s\nicons %s\nwarnings %q", got.Annotations, got.Icons, warned)
			}
		})
	}
}

// Seen red without the comparison.
func TestProtocolsThatDiffer(t *testing.T) {
	for _, c := range []struct{ manifest, spec, want string }{
		{"http", "http", ""}, {"http", "", ""}, {"", "http", ""},
		{"mcp-sse", "http", `protocol: is "http", but the manifest says "mcp-sse": this one counts`},
		{"http", "mcp-streamable", `protocol: is "mcp-streamable", but the manifest says "http": this one counts`},
	} {
		set, _ := ParseTools("x-1-mcp-tools.json", []byte(`{}`))
		def, found := Assemble(&Manifest{ID: "x", Name: "x", Protocol: c.manifest}, "1", &Spec{Protocol: c.spec, Ref: &SpecRef{Service: "s"}}, set)
		got := ""
		for _, r := range found {
			if got = r.Field + ": " + r.Message; !r.Warning {
				t.Errorf("%s and %s: rejected", c.manifest, c.spec)
			}
		}
		if def == nil || got != c.want {
			t.Errorf("%s and %s: %q, want %q", c.manifest, c.spec, got, c.want)
		}
	}
}
