package registry

import (
	"fmt"
	"testing"
)

func TestSwitchesOf(t *testing.T) {
	cases := []struct{ name, group, doc, off, tools string }{
		{"nothing", GroupSpecs, ``, "", "[]"},
		{"not said", GroupSpecs, `{"name":"a"`, "", "[]"},
		{"null", GroupSpecs, `{"enabled":null`, "", "[]"},
		{"blank", GroupSpecs, `{"enabled":""`, "", "[]"},
		{"on", GroupSpecs, `{"enabled":"TRUE",,}`, "", "[]"},
		{"off", GroupSpecs, `{"enabled":false,,}`, "disabled in the server spec", "[]"},
		{"off before a byte order mark", GroupSpecs, "\xef\xbb\xbf{\"enabled\":false", "disabled in the server spec", "[]"},
		{"the last of two", GroupSpecs, `{"enabled":false,"enabled":true,`, "", "[]"},
		{"behind the fault", GroupSpecs, `{"name" "a", "enabled":false}`, "disabled in the server spec", "[]"},
		{"misspelt", GroupSpecs, `{"enabled":flase}`, "disabled in the server spec", "[]"},
		{"somebody else's", GroupSpecs, `{"tool":{"enabled":false},}`, "", "[]"},
		{"manifest", GroupManifests, `{"enabled":"False"`, "disabled in the manifest", "[]"},
		{"deleted", GroupManifests, `{"status":"DELETED"`, "status is deleted", "[]"},
		{"deprecated", GroupManifests, `{"status":"deprecated"`, "", "[]"},
		{"tools", GroupTools, `{"toolsMeta":{"a":{"enabled":false},"b":{"enabled":true},"c":{},"d":{"enabled":0}},`, "", "[a d]"},
		{"tools have no switch", GroupTools, `{"enabled":false,`, "", "[]"},
		{"no registry document", GroupServices, `{"enabled":false}`, "", "[]"},
		{"consumer", GroupConsumers, "enabled: false\nunknown: 1\n", "disabled", "[]"},
		{"malformed consumer", GroupConsumers, "enabled: false # left\r\ngroups: [\n", "disabled", "[]"},
		{"malformed consumer, quoted", GroupConsumers, "}\n\"enabled\": \"No\"\n", "disabled", "[]"},
		{"malformed consumer that is on", GroupConsumers, "enabled: true\ngroups: [\n", "", "[]"},
		{"malformed consumer, a key's", GroupConsumers, "keys:\n  - id: a\n    enabled: false\n}\n", "", "[]"},
		{"not an object", GroupSpecs, `[{"enabled":false}]`, "", "[]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := SwitchesOf(c.group, []byte(c.doc))
			if got := fmt.Sprint(s.Tools); s.Off != c.off || got != c.tools {
				t.Errorf("off %q, tools %s; want %q and %s", s.Off, got, c.off, c.tools)
			}
		})
	}
}

func FuzzSwitches(f *testing.F) {
	f.Add([]byte(`{"enabled":false,"status":"deleted","toolsMeta":{"a":{"enabled":false}}`))
	f.Add([]byte(`{"toolsMeta":{"a":[`))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, group := range []string{GroupManifests, GroupSpecs, GroupTools} {
			SwitchesOf(group, content) // neither panics nor hangs
		}
		// What a spec that was accepted says of its switch must be what is read of it when it is rejected for something else.
		if s, _ := ParseSpec("x", content); s != nil && s.Enabled == (SwitchesOf(GroupSpecs, content).Off == offInSpec) {
			t.Errorf("enabled %v of %q", s.Enabled, content)
		}
	})
}
