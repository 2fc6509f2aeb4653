package nacos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func next(t *testing.T, c <-chan []Instance) []Instance {
	t.Helper()
	select {
	case in := <-c:
		return in
	case <-time.After(10 * time.Second):
		t.Fatal("no instances were told of")
		return nil
	}
}

func TestDirSubscriptionFollowsANamingFile(t *testing.T) {
	d, root := openTestDir(t)
	c := make(chan []Instance, 10)
	stop, err := d.Subscribe(ServiceRef{Namespace: "public", Group: "mcp-endpoints", Service: "pet::1.0.0"}, func(in []Instance) { c <- in })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if got := next(t, c); got == nil || len(got) != 0 {
		t.Errorf("absent service: %v", got)
	}
	file := "naming/mcp-endpoints/pet::1.0.0.yaml"
	putFile(t, root, file, `
- ip: 127.0.0.1
  port: 8080
- {host: api.example.com, port: 443, weight: 0.5, healthy: false, enabled: false, metadata: {zone: a}}
`)
	want := []Instance{
		{Host: "127.0.0.1", Port: 8080, Weight: 1, Healthy: true, Enabled: true},
		{Host: "api.example.com", Port: 443, Weight: 0.5, Metadata: map[string]string{"zone": "a"}},
	}
	if diff := cmp.Diff(want, next(t, c)); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	// A bad edit keeps what was there.
	putFile(t, root, file, "- {host: x, prot: 1}")
	waitFor(t, "told", func() bool { return len(d.Status().Problems) == 1 })
	if p := d.Status().Problems[0]; !strings.HasSuffix(p, "line 1: field prot not found in type nacos.dirInstance") {
		t.Errorf("problem: %s", p)
	}
	putFile(t, root, file, "- {host: x, port: 1}")
	if diff := cmp.Diff([]Instance{{Host: "x", Port: 1, Weight: 1, Healthy: true, Enabled: true}}, next(t, c)); diff != "" {
		t.Errorf("the bad edit changed something (-want +got):\n%s", diff)
	}
	if err := os.Remove(filepath.Join(root, file)); err != nil {
		t.Fatal(err)
	}
	if got := next(t, c); len(got) != 0 {
		t.Errorf("removed: %v", got)
	}
}

func TestDirRegisterKeepsWhatPeopleWrote(t *testing.T) {
	d, root := openTestDir(t)
	ref := ServiceRef{Service: "s"}
	file := "naming/DEFAULT_GROUP/s.yaml"
	putFile(t, root, file, "# ours\n- {host: a, port: 1} # the first\n")
	in := Instance{Host: "b", Port: 2, Weight: 1, Healthy: true, Enabled: true, Metadata: map[string]string{"k": "v"}}
	for range 2 { // the second time replaces
		if err := d.Register(t.Context(), ref, in); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := "# ours\n- {host: a, port: 1} # the first\n- host: b\n  port: 2\n  weight: 1\n  healthy: true\n  enabled: true\n  metadata:\n    k: v\n"
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("registered (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := d.Deregister(t.Context(), ref, in); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff("# ours\n- {host: a, port: 1} # the first\n", read()); diff != "" {
		t.Errorf("deregistered (-want +got):\n%s", diff)
	}
	if err := d.Deregister(t.Context(), ref, Instance{Host: "a", Port: 1}); err != nil {
		t.Fatal(err)
	}
	if in, err := parseInstances([]byte(read())); err != nil || len(in) != 0 {
		t.Errorf("emptied: %q: %v", read(), err)
	}
	if err := d.Register(t.Context(), ServiceRef{Group: "g", Service: "made/anew"}, in); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "naming/g/made%2Fanew.yaml")); err != nil {
		t.Error(err)
	}
	for _, bad := range []ServiceRef{{Service: ""}, {Service: "../x"}, {Service: "x", Group: "../.."}, {Service: strings.Repeat("x", 300)}} {
		if err := d.Register(t.Context(), bad, in); err == nil {
			t.Errorf("Register in %v was taken", bad)
		}
	}
}

func TestNamingFiles(t *testing.T) {
	bad, err := filepath.Glob("testdata/dir/bad/*.yaml")
	if err != nil || len(bad) == 0 {
		t.Fatal(err, bad)
	}
	for _, path := range bad {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := strings.CutPrefix(strings.SplitN(string(content), "\n", 2)[0], "# ")
		if !ok {
			t.Fatalf("%s: the first line is to be a comment with the error", path)
		}
		if _, err := parseInstances(content); err == nil || strings.ReplaceAll(err.Error(), "\n", "|") != want {
			t.Errorf("%s:\ngot  %v\nwant %s", path, err, want)
		}
	}
}

func FuzzNamingFile(f *testing.F) {
	for _, seed := range []string{"", "[]", "- {host: a, port: 1}", "# c\n- ip: a\n  port: 2\n  weight: 0\n", "a: b", "- *x", "- &a [*a]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		before, err := parseInstances(content)
		if err != nil {
			return
		}
		in := Instance{Host: "added.example", Port: 7, Weight: 1, Healthy: true, Enabled: true}
		edited, err := editInstanceList(content, in, true)
		if err != nil {
			return
		}
		after, err := parseInstances(edited)
		if err != nil {
			t.Fatalf("what Register wrote cannot be read: %v\n%s", err, edited)
		}
		if n := len(after); n == 0 || after[n-1].Host != in.Host || n > len(before)+1 {
			t.Fatalf("before %v\nafter %v", before, after)
		}
	})
}
