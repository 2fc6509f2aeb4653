package registry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the want sections of testdata")

// TestGoodDocuments reads each archive of testdata/good and compares what becomes of its documents.
func TestGoodDocuments(t *testing.T) {
	golden(t, "testdata/good", func(r result) string {
		var b bytes.Buffer
		for _, f := range r.found {
			if !f.Warning {
				t.Errorf("rejected: %s", f.Error())
			}
			fmt.Fprintln(&b, f.Error())
		}
		encoder := json.NewEncoder(&b)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if c, ok := r.value.(*Credentials); ok { // their values cannot be written
			revealed := map[string]string{}
			for name, v := range c.Values {
				revealed[name] = v.Reveal()
			}
			r.value = struct {
				Name     string
				Services []string
				Hosts    []string
				Path     bool
				Values   map[string]string
			}{c.Name, c.Services, c.Hosts, c.Path, revealed}
		}
		if err := encoder.Encode(r.value); err != nil {
			t.Fatal(err)
		}
		return b.String()
	})
}

// TestBadDocuments reads each archive of testdata/bad and compares the exact messages and what is left.
func TestBadDocuments(t *testing.T) {
	golden(t, "testdata/bad", func(r result) string {
		var b strings.Builder
		faults := 0
		for _, f := range r.found {
			fmt.Fprintln(&b, f.Error())
			if !f.Warning {
				faults++
			}
		}
		if faults == 0 {
			t.Error("nothing is rejected")
		}
		switch v := r.value.(type) {
		case nil:
			b.WriteString("=> document rejected\n")
		case *Definition:
			b.WriteString("=> tools served:")
			for _, tool := range v.Tools {
				b.WriteString(" " + tool.Name)
			}
			b.WriteString("\n")
		default:
			t.Errorf("%T is taken", v)
		}
		return b.String()
	})
}

// result is what became of one archive: a Definition, Consumer and so on, or nil.
type result struct {
	value any
	found []Rejection
}

func golden(t *testing.T, dir string, show func(result) string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			documents := map[string][]byte{}
			want := -1
			for i, f := range archive.Files {
				if f.Name == "want" {
					want = i
				} else {
					documents[f.Name] = f.Data
				}
			}
			got := show(read(t, documents))
			if *update {
				if want < 0 {
					archive.Files, want = append(archive.Files, txtar.File{Name: "want"}), len(archive.Files)
				}
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 {
				t.Fatal("no want section: run with -update and look at it")
			}
			if diff := cmp.Diff(string(archive.Files[want].Data), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// read parses one document of ours, or the three that make a service of the Nacos registry.
func read(t *testing.T, documents map[string][]byte) result {
	t.Helper()
	for name, content := range documents {
		group, dataID := filepath.Split(name)
		switch strings.TrimSuffix(group, "/") {
		case GroupServices:
			return taken(ParseService(dataID, content))
		case GroupUpstreams:
			return taken(ParseUpstream(dataID, content))
		case GroupConsumers:
			c, found := ParseConsumer(dataID, content)
			if c == nil {
				return result{nil, found}
			}
			return result{readableConsumer(c), found}
		case GroupGrants:
			return taken(ParseGrants(dataID, content))
		case GroupCredentials:
			return taken(ParseCredentials(dataID, content))
		}
	}
	return readRegistry(t, documents)
}

func taken[T any](v *T, found []Rejection) result {
	if v == nil {
		return result{nil, found}
	}
	return result{v, found}
}

// readableConsumer shows digests as hex.
func readableConsumer(c *Consumer) any {
	type key struct {
		Key
		Digest string
	}
	keys := make([]key, len(c.Keys))
	for i, k := range c.Keys {
		keys[i] = key{k, hex.EncodeToString(k.Digest[:])}
	}
	return struct {
		Consumer
		Keys []key
	}{*c, keys}
}

func readRegistry(t *testing.T, documents map[string][]byte) result {
	t.Helper()
	var found []Rejection
	for name, content := range documents {
		group, dataID := filepath.Split(name)
		if group != GroupManifests+"/" {
			continue
		}
		m, found := ParseManifest(dataID, content)
		if m == nil {
			return result{nil, found}
		}
		spec, more := ParseSpec(m.SpecDataID(m.Latest), documents[GroupSpecs+"/"+m.SpecDataID(m.Latest)])
		found = append(found, more...)
		set, more := ParseTools(m.ToolsDataID(m.Latest), documents[GroupTools+"/"+m.ToolsDataID(m.Latest)])
		found = append(found, more...)
		if spec == nil || set == nil {
			return result{nil, found}
		}
		if reason := NotServed(m, spec); reason != "" {
			return result{map[string]string{"not served": reason}, found}
		}
		def, more := Assemble(m, m.Latest, spec, set)
		found = append(found, more...)
		return taken(def, found)
	}
	t.Fatal("no document in the archive")
	return result{nil, found}
}
