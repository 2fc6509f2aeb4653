package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// assembled reads one version of a registry service and lists what is wrong with it.
func assembled(t *testing.T, manifest, spec, tools string) (*Definition, []string) {
	t.Helper()
	m, found := ParseManifest("x-mcp-versions.json", []byte(manifest))
	s, more := ParseSpec("x-1-mcp-server.json", []byte(spec))
	found = append(found, more...)
	set, more := ParseTools("x-1-mcp-tools.json", []byte(tools))
	found = append(found, more...)
	var def *Definition
	if m != nil && s != nil && set != nil {
		def, more = Assemble(m, "1", s, set)
		found = append(found, more...)
	}
	var list []string
	for _, r := range found {
		list = append(list, r.Error())
	}
	return def, list
}

const (
	plainManifest = `{"name":"x","protocol":"http","latestPublishedVersion":"1"}`
	plainSpec     = `{"remoteServerConfig":{"serviceRef":{"serviceName":"s"}}}`
)

// TestBodyWrittenAsJSON was seen to fail with an empty body, which is what went to the backend.
func TestBodyWrittenAsJSON(t *testing.T) {
	for _, c := range []struct{ body, headers, want, fault string }{
		{`{"a":"{{.args.id}}","n":1.50,"l":[true,null,"x\"y"],"{{.args.key}}":{}}`, `[]`, `{"a":"{{.args.id}}","n":1.50,"l":[true,null,"x\"y"],"{{.args.key}}":{}}`, ""},
		{`["{{if eq .args.id \"a\"}}\u00e9\"{{end}}"]`, `[]`, `["{{if eq .args.id "a"}}é\"{{end}}"]`, ""},
		{`{"a":"{{ open"}`, `[]`, `{"a":"{{ open"}`, ""},
		{`{"a":1}`, `[{"key":"content-type","value":"application/merge-patch+json"}]`, `{"a":1}`, ""},
		{`"{\"a\":1}"`, `[]`, `{"a":1}`, ""},
		{`7`, `[]`, `7`, ""},
		{`{"a":1}`, `{"Content-Type":"application/x-www-form-urlencoded"}`, "",
			`mcp-tools/x-1-mcp-tools.json: tool "t": requestTemplate.body: is JSON, but the header Content-Type says "application/x-www-form-urlencoded": write the body as text`},
	} {
		def, found := assembled(t, plainManifest, plainSpec, `{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"id":{"type":"string"}}}}],
			"toolsMeta":{"t":{"templates":{"json-go-template":{"requestTemplate":{"url":"/x","method":"POST","headers":`+c.headers+`,"body":`+c.body+`}}}}}}`)
		if c.fault != "" {
			if len(def.Tools) != 0 || len(found) != 1 {
				t.Errorf("%s: %d tools, found %q", c.body, len(def.Tools), found)
			}
			continue
		}
		if len(found) > 0 || len(def.Tools) != 1 {
			t.Fatalf("%s: found %q", c.body, found)
		}
		if got := def.Tools[0].Request.Body; got != c.want {
			t.Errorf("body is %s, want %s", got, c.want)
		}
	}
}

// TestValuesOfAnotherShapeAreNotPassedOver was seen to fail for every line while such values counted as absent.
func TestValuesOfAnotherShapeAreNotPassedOver(t *testing.T) {
	tool := func(fields, template string) string {
		return `{"tools":[{"name":"t"` + fields + `}],"toolsMeta":{"t":{"templates":{"json-go-template":{"requestTemplate":{"url":"/x"}` + template + `}}}}}`
	}
	for _, c := range []struct{ manifest, spec, tools, want string }{
		{tools: tool("", `,"requestTemplate":{"url":["/x"]}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": requestTemplate.url: must be text`},
		{tools: tool("", `,"requestTemplate":"/x","responseTemplate":{"body":"b"}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": requestTemplate: must be an object`},
		{tools: tool("", `,"requestTemplate":{"url":"/x","method":{}}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": requestTemplate.method: must be text`},
		{tools: tool("", `,"requestTemplate":{"url":"/x","headers":"X-A: b"}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": requestTemplate.headers: must be a list`},
		{tools: tool("", `,"requestTemplate":{"url":"/x","security":"k"}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": requestTemplate.security: must be an object`},
		{tools: tool("", `,"security":"k"`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": security: must be an object`},
		{tools: tool(`,"security":"k"`, ""), want: `mcp-tools/x-1-mcp-tools.json: tool "t": security: must be an object`},
		{tools: tool("", `,"responseTemplate":"{{.}}"`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": responseTemplate: must be an object`},
		{tools: tool("", `,"responseTemplate":{"body":{"a":1}}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": responseTemplate.body: must be text`},
		{tools: tool("", `,"errorResponseTemplate":{"a":1}`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": errorResponseTemplate: must be text`},
		{tools: tool("", `,"argsPosition":["a"]`), want: `mcp-tools/x-1-mcp-tools.json: tool "t": argsPosition: must be an object`},
		{tools: tool(`,"title":{}`, ""), want: `mcp-tools/x-1-mcp-tools.json: warning: tool "t": title: ignored: must be text`},
		{tools: tool(`,"outputSchema":true`, ""), want: `mcp-tools/x-1-mcp-tools.json: warning: tool "t": outputSchema: ignored: must be an object`},
		{tools: tool(`,"annotations":[]`, ""), want: `mcp-tools/x-1-mcp-tools.json: warning: tool "t": annotations: ignored: must be an object`},
		{tools: `{"tools":{"t":{"name":"t"}}}`, want: `mcp-tools/x-1-mcp-tools.json: tools: must be a list`},
		{tools: `{"tools":[],"securitySchemes":{"id":"k","type":"http","scheme":"bearer"}}`, want: `mcp-tools/x-1-mcp-tools.json: securitySchemes: must be a list`},
		{tools: `{"tools":[],"extensions":{"server.defaultUpstreamSecurity":"k"}}`, want: `mcp-tools/x-1-mcp-tools.json: extensions.server.defaultUpstreamSecurity: must be an object`},
		{tools: tool("", `,"security":"","responseTemplate":"","errorResponseTemplate":""`), want: ""},
		{spec: `{"status":{},"remoteServerConfig":{"serviceRef":{"serviceName":"s"}}}`, want: `mcp-server/x-1-mcp-server.json: status: must be text`},
		{spec: `{"remoteServerConfig":{"exportPath":{},"serviceRef":{"serviceName":"s"}}}`, want: `mcp-server/x-1-mcp-server.json: remoteServerConfig.exportPath: must be text`},
		{spec: `{"remoteServerConfig":{"serviceRef":"s"}}`, want: `mcp-server/x-1-mcp-server.json: remoteServerConfig.serviceRef: must be an object`},
		{manifest: `{"name":"x","protocol":"http","status":["deleted"],"latestPublishedVersion":"1"}`, want: `mcp-server-versions/x-mcp-versions.json: status: must be text`},
		{manifest: `{"name":"x","protocol":"http","versionDetails":{}}`, want: `mcp-server-versions/x-mcp-versions.json: warning: versionDetails: ignored: must be a list`},
	} {
		for at, plain := range map[*string]string{&c.manifest: plainManifest, &c.spec: plainSpec, &c.tools: tool("", "")} {
			if *at == "" {
				*at = plain
			}
		}
		_, found := assembled(t, c.manifest, c.spec, c.tools)
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s %s %s (-want +got):\n%s", c.manifest, c.spec, c.tools, diff)
		}
	}
}
