package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestDiff(t *testing.T) {
	before := "a\nb\nc\nd\ne\nf\ng\nvalue: secret\n"
	after := "a\nb\nc\nd\nE\nf\ng\nvalue: other\nnmp_x_SECRET\n"
	want := "  ...\n  c\n  d\n- e\n+ E\n  f\n  g\n- value: ••••\n+ value: ••••\n+ nmp_••••\n"
	if d := cmp.Diff(want, diff(before, after)); d != "" {
		t.Error(d)
	}
	if got := diff("same\n", "same\n"); strings.Contains(got, "same") {
		t.Errorf("got %q", got)
	}
}

// What cannot be edited without changing something else is refused: a list that two places share, where a grant of one tool
// would become one of the service, and a second document in the same text, which would be lost.
func TestDocumentsThatAnEditWouldHarmAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"auth: required\nconsumers: &all\n  - alice\ntools:\n  a: *all\n": "edit proxy-grants/p.yaml: line 5: an anchor is used there, so that an edit in one place would change another: write it out; mend it first",
		"---\nconsumers: [alice]\n---\nauth: disabled\n":                  "edit proxy-grants/p.yaml: it holds several documents, separated by ---; mend it first",
	} {
		s := newShell(t)
		s.put("proxy-consumers/bob.yaml", "keys: []\n")
		s.put("proxy-grants/p.yaml", content)
		s.fails(exitFailed, want, "grants", "allow", "p", "--consumer", "bob", "--tool", "a")
		s.want("proxy-grants/p.yaml", content)
	}
}

// Whatever people wrote, an edit must give the same values as the encoder's own version of it.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{handwritten, "auth: required\n", "consumers: [a]\ntools:\n  t: [b] # c\n", "{auth: required}", "a: &x [1]\nconsumers: *x\n",
		"consumers:\n- a\n-   {consumer: b}\n", "# only\nauth: required\r\nconsumers:\r\n  - a\r\n", "a: |\n  text\n\n  more\nconsumers: []\n", "---\nauth: x\n...\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		d, err := openDocument("x.yaml", content)
		if err != nil || len(content) > 10_000 {
			return
		}
		if err := addGrant(d.root(), principal{consumer: "added"}, nil, testNow); err != nil {
			return
		}
		want, err := encode(&d.node)
		if err != nil {
			return
		}
		got, err := d.String()
		if err != nil {
			return
		}
		var a, b yaml.Node
		if yaml.Unmarshal([]byte(want), &a) != nil {
			return // the encoder's own mistake; what is written is validated again
		}
		if err := yaml.Unmarshal([]byte(got), &b); err != nil || !sameValues(&a, &b) {
			t.Errorf("%v\n%q\nwant %q\ngot  %q", err, content, want, got)
		}
	})
}
