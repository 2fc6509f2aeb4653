package robust

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// envMutations has TestMutations run, as scripts/robust mutations does.
const envMutations = "ROBUST_MUTATIONS"

// mutation is a fault put into the proxy: old is replaced by new, once, in a file.
type mutation struct{ what, file, old, new string }

var mutations = []mutation{
	{"a revocation is ignored: grants stay once given", "internal/catalog/writer.go",
		"	doc := r.document(ch, old, now)\n	b.docs.set",
		"	doc := r.document(ch, old, now)\n	if old != nil && old.value != nil && ch.Key.Group == registry.GroupGrants && len(ch.Content) < 60 {\n		return\n	}\n	b.docs.set"},
	{"a disabled key goes on", "internal/access/decision.go", "case !c.Enabled || k.Disabled:", "case !c.Enabled:"},
	{"an expired grant goes on", "internal/access/table.go", "return f.some && now < f.until", "return f.some"},
	{"an outage is taken for deletions", "nacos/watch_list.go",
		"	if err != nil {\n		return // tells nothing about any document\n	}",
		"	if err != nil {\n		for k, d := range w.docs {\n			if k.Group == group && d.exists {\n				d.exists, d.md5 = false, \"\"\n				w.emit(Change{Key: d.key, Deleted: true})\n			}\n		}\n		return\n	}"},
	{"a restarting Nacos that finds nothing is believed", "nacos/watch_query.go",
		"gone := d.exists && (", "gone := d.exists && (true || "},
	{"empty configuration is skipped: deletions never apply", "internal/catalog/writer.go",
		"	if ch.Deleted {\n		if old == nil {", "	if ch.Deleted {\n		if old != nil || old == nil {"},
	{"halves of two versions are served together", "internal/catalog/hold.go",
		"	if before == nil || ", "	if true || before == nil || "},
	{"a rejected grants document leaves the switch off", "internal/catalog/build.go", "return table.Closed()", "return table"},
	{"after a reconnect nothing is asked for anew", "nacos/client.go",
		"	for _, w := range watches {\n		w.askAnew()\n	}\n}\n\n// background", "	_ = watches\n}\n\n// background"},
	{"the store keeps no deletions", "internal/app/keep.go",
		"b.Delete = append(b.Delete, store.Name(key))", "_ = key"},
	{"the store keeps nothing that was refused", "internal/app/keep.go",
		"if d.State == catalog.Rejected && !r.Lost {", "if d.State == catalog.Rejected && !r.Lost && r.Content == nil {"},
	{"instances are forgotten when their connection is lost", "nacos/naming.go",
		"		if up {\n			poke(n.wake)\n		}",
		"		if up {\n			poke(n.wake)\n		} else {\n			n.mu.Lock()\n			for _, s := range n.subs {\n				s.latest, s.shown, s.dirty = nil, nil, true\n			}\n			n.mu.Unlock()\n			poke(n.news)\n		}"},
	{"a key is taken for its consumer's after it left the document", "internal/catalog/consumers.go",
		"		b.keys.remove(old.Keys[i].Digest)\n", "		_ = i\n"},
}

// TestMutations puts one fault after the other into the proxy and demands that the model finds it, within 300 schedules. What it
// took is printed as the table in docs/reliability.md.
func TestMutations(t *testing.T) {
	if os.Getenv(envMutations) == "" {
		t.Skipf("compiles the proxy once for each mutation: runs with %s=1, as scripts/robust mutations does", envMutations)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`schedule (\d+), seed (\d+): after step \d+, at \S+: (.*)`)
	for _, m := range mutations {
		if os.Getenv(envMutations) != "1" && !strings.Contains(m.what, os.Getenv(envMutations)) {
			continue
		}
		name := filepath.Join(root, m.file)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), m.old) != 1 {
			t.Errorf("%s: %s holds %q %d times, want once: adapt the mutation", m.what, m.file, m.old, strings.Count(string(text), m.old))
			continue
		}
		dir := t.TempDir()
		mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
		list, _ := json.Marshal(map[string]any{"Replace": map[string]string{name: mutant}})
		for file, content := range map[string][]byte{mutant: []byte(strings.Replace(string(text), m.old, m.new, 1)), overlay: list} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-count=1", "-run", "^TestRandomSchedules$", ".")
		cmd.Env = append(os.Environ(), envSchedules+"=300", envSeed+"=1", "ROBUST_SHRINK=off")
		out, err := cmd.CombinedOutput()
		hit := found.FindSubmatch(out)
		if err == nil || hit == nil {
			t.Errorf("%s: not found: %v\n%s", m.what, err, out)
			continue
		}
		t.Logf("| %s | %s | %s | %s |", m.what, hit[1], hit[2], hit[3])
	}
}
