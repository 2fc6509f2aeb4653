package registry

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// seed gives the documents of testdata in one group to a fuzz target.
func seed(f *testing.F, group string) {
	files, _ := filepath.Glob("testdata/*/*.txtar")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, document := range txtar.Parse(data).Files {
			if filepath.Dir(document.Name) == group {
				f.Add(document.Data)
			}
		}
	}
}

// settled fails where the answer contradicts itself: rejected and served, or neither.
func settled(t *testing.T, accepted bool, found []Rejection) {
	if accepted == Rejects(found) {
		t.Errorf("taken: %v, with %v", accepted, found)
	}
	for _, r := range found {
		if r.Message == "" || r.Group == "" || r.DataID == "" {
			t.Errorf("rejection says nothing: %+v", r)
		}
	}
}

func usable(t *testing.T, d *Definition) {
	for _, tool := range d.Tools {
		for _, raw := range []json.RawMessage{tool.InputSchema, tool.OutputSchema, tool.Annotations, tool.Meta} {
			if raw != nil && !json.Valid(raw) {
				t.Errorf("tool %q holds what is no JSON: %s", tool.Name, raw)
			}
		}
		if tool.InputSchema == nil {
			t.Errorf("tool %q has no schema", tool.Name)
		}
	}
}

func FuzzParseService(f *testing.F) {
	seed(f, GroupServices)
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, dataID := range []string{"a.yaml", "a.json"} {
			d, found := ParseService(dataID, content)
			settled(t, d != nil, found)
			if d != nil {
				usable(t, d)
			}
		}
	})
}

func FuzzParseUpstream(f *testing.F) {
	seed(f, GroupUpstreams)
	f.Fuzz(func(t *testing.T, content []byte) {
		u, found := ParseUpstream("a.yaml", content)
		settled(t, u != nil, found)
	})
}

func FuzzParseConsumer(f *testing.F) {
	seed(f, GroupConsumers)
	f.Fuzz(func(t *testing.T, content []byte) {
		c, found := ParseConsumer("a.yaml", content)
		settled(t, c != nil, found)
		if c == nil {
			return
		}
		ids := map[string]bool{}
		for _, k := range c.Keys {
			if ids[k.ID] || k.ID == "" || k.Digest == ([32]byte{}) {
				t.Errorf("key %q is twice there or nothing", k.ID)
			}
			ids[k.ID] = true
		}
	})
}

func FuzzParseGrants(f *testing.F) {
	seed(f, GroupGrants)
	f.Fuzz(func(t *testing.T, content []byte) {
		g, found := ParseGrants("a.yaml", content)
		settled(t, g != nil, found)
		if g == nil {
			return
		}
		for _, grant := range g.Consumers {
			if (grant.Consumer == "") == (grant.Group == "") {
				t.Errorf("grant to nobody or two: %+v", grant)
			}
		}
	})
}

func FuzzParseCredentials(f *testing.F) {
	seed(f, GroupCredentials)
	f.Fuzz(func(t *testing.T, content []byte) {
		c, found := ParseCredentials("a.yaml", content)
		settled(t, c != nil, found)
		if c != nil && (len(c.Services) == 0 || len(c.Hosts) == 0) {
			t.Errorf("usable by anybody or anywhere: %v %v", c.Services, c.Hosts)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	seed(f, GroupManifests)
	f.Fuzz(func(t *testing.T, content []byte) {
		m, found := ParseManifest("a-mcp-versions.json", content)
		settled(t, m != nil, found)
		if m != nil && !ValidName(m.Name) {
			t.Errorf("name %q", m.Name)
		}
	})
}

func FuzzAssemble(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/registry-*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var spec, tools []byte
		for _, document := range archive.Files {
			switch filepath.Dir(document.Name) {
			case GroupSpecs:
				spec = document.Data
			case GroupTools:
				tools = document.Data
			}
		}
		f.Add(spec, tools)
	}
	f.Fuzz(func(t *testing.T, spec, tools []byte) {
		s, found := ParseSpec("a-1-mcp-server.json", spec)
		settled(t, s != nil, found)
		set, found := ParseTools("a-1-mcp-tools.json", tools)
		settled(t, set != nil, found)
		if s == nil || set == nil {
			return
		}
		for _, protocol := range []string{"http", "mcp-sse"} {
			s.Protocol = protocol
			d, found := Assemble(&Manifest{ID: "a", Name: "a", Protocol: protocol}, "1", s, set)
			settled(t, d != nil, found)
			if d != nil {
				usable(t, d)
			}
		}
	})
}
