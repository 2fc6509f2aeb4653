package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestToolsSwitchedOffBesideAFaultAreOff: what goes on being served because a newer document has a fault neither lists nor
// runs the tools that the newest documents switch off, converted or passed through, and answers as if they did not exist.
func TestToolsSwitchedOffBesideAFaultAreOff(t *testing.T) {
	s := directory(t)
	fourKinds(t, s)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, k := range kinds {
		s.put(t, "proxy-grants", k.service+".yaml", "auth: required\nconsumers: [alice]\n")
	}
	p := start(t, s).ready()
	for _, c := range []struct{ service, id, off, other, arguments, tools string }{
		{"regstore", "11111111-1111-4111-8111-111111111111", "get_item", "list_items", `{"id":7}`,
			strings.Replace(registryTools, `"toolsMeta":{`, `"toolsMeta":{"none":{},`, 1)},
		{"regtools", "22222222-2222-4222-8222-222222222222", "add", "echo", `{"a":2,"b":3}`, `{"tools":[{"name":"add"}],"toolsMeta":{"add":{"enabled":true}}}`},
	} {
		client := p.client(c.service, aliceKey)
		eventually(t, 30*time.Second, c.service+" opens a session", func() bool { return client.initialize().Status == 200 })
		eventually(t, 30*time.Second, c.service+" is served", func() bool { return slices.Contains(client.list().tools(), c.off) })
		before := client.call(c.off, c.arguments)
		if before.Status != 200 || before.text() == "" {
			t.Fatalf("%s before: %d %s", c.service, before.Status, before.Body)
		}
		unknown := client.call("no_such", c.arguments)
		s.put(t, "mcp-server", c.id+"-1.0.0-mcp-server.json", `{"enabled": true,`)
		s.put(t, "mcp-tools", c.id+"-1.0.0-mcp-tools.json", `{"tools":[],"toolsMeta":{"`+c.off+`":{"enabled":false}}}`)
		eventually(t, 30*time.Second, c.off+" is not listed", func() bool {
			return slices.Equal(slices.DeleteFunc(client.list().tools(), func(name string) bool { return name != c.other && name != c.off }), []string{c.other})
		})
		after := client.call(c.off, c.arguments)
		got, want := strings.ReplaceAll(string(after.Body), c.off, "no_such"), string(unknown.Body)
		if c.service == "regtools" {
			want = got // the backend has words of its own for a tool that it does not know
		}
		if after.Status != unknown.Status || got != want || after.text() == before.text() {
			t.Errorf("%s: a tool that is off answers\n%d %s, one that does not exist\n%d %s", c.service, after.Status, got, unknown.Status, want)
		}
	}
}
