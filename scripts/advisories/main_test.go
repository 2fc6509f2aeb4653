package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const crafted = `# a comment
date 2026-01-02
module example.com/a
module example.com/b
module stdlib
GO-1 example.com/a <v1.2.0,>=v1.3.0<v1.3.2 example.com/a/x,example.com/a/y
GO-2 example.com/b * example.com/b/old
GO-3 stdlib >=v1.26.0-0<v1.26.3 net/http
GO-4 example.com/a >=v9.0.0-0<v9.1.0
`

func TestCheck(t *testing.T) {
	list, err := parse(strings.NewReader(crafted))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{"example.com/a/y": true, "example.com/b": true, "net/http": true}
	tests := []struct {
		name     string
		versions map[string]string
		imported map[string]bool
		want     []string
	}{
		{"none", map[string]string{"example.com/a": "v1.3.2", "example.com/b": "v1.0.0", "stdlib": "v1.26.3"}, all, nil},
		{"in the second range", map[string]string{"example.com/a": "v1.3.1"}, all,
			[]string{"GO-1: example.com/a v1.3.1 is affected (>=v1.3.0<v1.3.2): fixed in v1.3.2"}},
		{"between ranges", map[string]string{"example.com/a": "v1.2.0"}, all, nil},
		{"before the first fix", map[string]string{"example.com/a": "v0.0.0-20200102030405-123456789abc"}, all,
			[]string{"GO-1: example.com/a v0.0.0-20200102030405-123456789abc is affected (<v1.2.0): fixed in v1.2.0"}},
		{"package not imported", map[string]string{"example.com/a": "v1.3.1"}, map[string]bool{"example.com/a": true}, nil},
		{"whole module", map[string]string{"example.com/a": "v9.0.0"}, nil,
			[]string{"GO-4: example.com/a v9.0.0 is affected (>=v9.0.0-0<v9.1.0): fixed in v9.1.0"}},
		{"no fix", map[string]string{"example.com/b": "v7.0.0"}, map[string]bool{"example.com/b/old": true},
			[]string{"GO-2: example.com/b v7.0.0 is affected (*): there is no fix"}},
		{"the Go that builds", map[string]string{"stdlib": "v1.26.2"}, all,
			[]string{"GO-3: stdlib v1.26.2 is affected (>=v1.26.0-0<v1.26.3): fixed in v1.26.3"}},
		{"not covered", map[string]string{"example.com/new": "v1.0.0"}, all,
			[]string{"example.com/new: not covered by scripts/advisories/kept.txt: run go run ./scripts/advisories --keep DIR"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := check(list, needs{versions: test.versions, imported: test.imported})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The kept list finds what it is for: gRPC as it was here once.
func TestKeptListKnowsOldVersions(t *testing.T) {
	f, err := os.Open("kept.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := parse(f)
	if err != nil {
		t.Fatal(err)
	}
	used := needs{versions: map[string]string{"google.golang.org/grpc": "v1.67.3"}, imported: map[string]bool{"google.golang.org/grpc": true}}
	if got := check(list, used); len(got) == 0 {
		t.Error("gRPC 1.67.3 is found to have no advisories")
	}
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"GO-1 example.com/a 1.2.0":          `line 4: invalid range "1.2.0"`,
		"GO-1 example.com/a <1.2.0":         `line 4: invalid range "<1.2.0"`,
		"GO-1 example.com/a <":              `line 4: invalid range "<"`,
		"GO-1 example.com/a >=v1<v2,":       `line 4: invalid range ""`,
		"GO-1 example.com/a":                `line 4: unknown line`,
		"GO-1":                              `line 4: unknown line`,
		"GO-1 a * b c":                      `line 4: unknown line`,
		"GO-1 example.com/a >v1.0.0<v1.2.0": `line 4: invalid range ">v1.0.0<v1.2.0"`,
	} {
		_, err := parse(strings.NewReader("date 2026-01-02\nmodule a\nGO-0 a *\n" + line + "\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if _, err := parse(strings.NewReader("date 2026-01-02\n")); err == nil {
		t.Error("an empty list is taken")
	}
}

func TestConvert(t *testing.T) {
	used := needs{floor: "v1.26.0", versions: map[string]string{"example.com/a": "v1.0.0", "stdlib": "v1.26.1"}}
	tests := map[string]struct {
		text string
		want []string
	}{
		"ranges and packages": {
			`{"id":"GO-1","affected":[{"package":{"name":"example.com/a"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"1.2.0"},
			{"introduced":"1.3.0"},{"fixed":"1.3.1"}]}],"ecosystem_specific":{"imports":[{"path":"example.com/a/y"},{"path":"example.com/a/x"}]}},
			{"package":{"name":"example.com/other"},"ranges":[{"events":[{"introduced":"0"}]}]}]}`,
			[]string{"GO-1 example.com/a <v1.2.0,>=v1.3.0<v1.3.1 example.com/a/x,example.com/a/y"},
		},
		"no fix": {`{"id":"GO-2","affected":[{"package":{"name":"example.com/a"},"ranges":[{"events":[{"introduced":"1.0.0"}]}]}]}`,
			[]string{"GO-2 example.com/a >=v1.0.0"}},
		"every version": {`{"id":"GO-3","affected":[{"package":{"name":"example.com/a"},"ranges":[{"events":[{"introduced":"0"}]}]}]}`,
			[]string{"GO-3 example.com/a *"}},
		"withdrawn": {`{"id":"GO-4","withdrawn":"2026-01-01T00:00:00Z","affected":[{"package":{"name":"example.com/a"},"ranges":[{"events":[{"introduced":"0"}]}]}]}`, nil},
		"Go too old to build this": {`{"id":"GO-5","affected":[{"package":{"name":"stdlib"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"1.25.3"},
			{"introduced":"1.26.0-0"},{"fixed":"1.26.2"}]}]}]}`, []string{"GO-5 stdlib >=v1.26.0-0<v1.26.2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := convert([]byte(test.text), used)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGoVersion(t *testing.T) {
	for in, want := range map[string]string{
		"go1.26.8": "v1.26.8", "go1.27rc2": "v1.27.0-rc.2", "go1.26.8 X:nocoverageredesign": "v1.26.8", "go1.26.8-distro1": "v1.26.8",
	} {
		if got, err := goVersion(in); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	if _, err := goVersion("devel +0123456"); err == nil {
		t.Error("a version that cannot be compared is taken")
	}
}

// A proxy that answers everything with a page of its own is no database.
func TestReachable(t *testing.T) {
	site := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/index/db.json" {
				status = http.StatusNotFound
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	if !reachable(site(200, `{"modified":"2026-01-02T03:04:05Z"}`)) {
		t.Error("a database is not found")
	}
	for name, url := range map[string]string{
		"a page": site(200, "<html>"), "JSON of something else": site(200, `{"error":"blocked"}`),
		"refused": site(403, `{"modified":"2026-01-02T03:04:05Z"}`), "nobody": "http://127.0.0.1:1",
	} {
		if reachable(url) {
			t.Errorf("%s is taken for a database", name)
		}
	}
}
