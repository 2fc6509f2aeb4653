package wire

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestRewriteGoldens changes the messages and streams in testdata/rewrite. The line "rewrite:" of each says how: see=
// patterns of tools that may be seen, private, drop (instructions), events (it is an event stream).
func TestRewriteGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/rewrite/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil || len(a.Files) != 2 {
				t.Fatalf("%d parts, %v", len(a.Files), err)
			}
			_, how, _ := strings.Cut(string(a.Comment), "rewrite:")
			r, events := rewriterOf(t, strings.Fields(how))
			var got []byte
			if events {
				got = rewriteStream(t, r, a.Files[0].Data)
			} else if got, _, err = r.Apply(nil, a.Files[0].Data); err != nil {
				t.Fatal(err)
			}
			if *update {
				a.Files[1].Data = got
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(a.Files[1].Data), string(got)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func rewriterOf(t *testing.T, how []string) (r Rewriter, events bool) {
	for _, word := range how {
		patterns, see := strings.CutPrefix(word, "see=")
		switch {
		case see:
			r.See = func(name []byte) bool {
				for p := range strings.SplitSeq(patterns, ",") {
					if ok, _ := path.Match(p, string(name)); ok {
						return true
					}
				}
				return false
			}
		case word == "private":
			r.Private = true
		case word == "drop":
			r.DropInstructions = true
		case word == "events":
			events = true
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return r, events
}

func rewriteStream(t *testing.T, r Rewriter, in []byte) (out []byte) {
	er := NewEventReader(bytes.NewReader(in), 1<<20)
	var room []byte
	for {
		ev, err := er.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out, room, err = r.AppendTo(out, ev, room); err != nil {
			t.Fatal(err)
		}
	}
}
