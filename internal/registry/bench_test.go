package registry

import (
	"fmt"
	"strings"
	"testing"
)

// What a start reads ten thousand times (A13).
func BenchmarkParseConsumer(b *testing.B) {
	doc := []byte("enabled: true\ngroups: [research]\nkeys:\n" +
		"  - {id: a, sha256: 8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92}\n" +
		"  - {id: b, sha256: 8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c93}\n" +
		"  - {id: c, sha256: 8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c94, notAfter: 2027-01-01T00:00:00Z}\n")
	b.ReportAllocs()
	for b.Loop() {
		ParseConsumer("alice.yaml", doc)
	}
}

func BenchmarkAssembleTenTools(b *testing.B) {
	var tools, meta []string
	for i := range 10 {
		tools = append(tools, fmt.Sprintf(`{"name":"tool_%d","description":"One of ten","inputSchema":{"type":"object","properties":{"id":{"type":"integer"},"expand":{"type":"array","items":{"type":"string"}}},"required":["id"]}}`, i))
		meta = append(meta, fmt.Sprintf(`"tool_%d":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"/v1/things/{id}","method":"GET"},"responseTemplate":{"body":"{{.name}}"},"argsPosition":{"id":"path","expand":"query"}}}}`, i))
	}
	doc := []byte(`{"tools":[` + strings.Join(tools, ",") + `],"toolsMeta":{` + strings.Join(meta, ",") + `}}`)
	manifest := []byte(`{"name":"a","protocol":"http","latestPublishedVersion":"1","versionDetails":[{"version":"1"}]}`)
	spec := []byte(`{"protocol":"http","remoteServerConfig":{"serviceRef":{"serviceName":"s"},"exportPath":"/"}}`)
	b.ReportAllocs()
	for b.Loop() {
		m, _ := ParseManifest("id-mcp-versions.json", manifest)
		s, _ := ParseSpec(m.SpecDataID("1"), spec)
		set, _ := ParseTools(m.ToolsDataID("1"), doc)
		if d, found := Assemble(m, "1", s, set); d == nil || len(d.Tools) != 10 {
			b.Fatal(found)
		}
	}
}
