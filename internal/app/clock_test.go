package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/clocktest"
)

// A replica that starts without its source is as stale as the store says, however its clock is set after that.
//
// Seen to fail with the stored time returned as it is: set back by two hours, an hour's staleness was gone.
func TestStalenessOutlivesAClockThatIsSet(t *testing.T) {
	started := time.Now()
	stored := started.Add(-time.Hour).Round(0) // as it is read from the store
	for _, set := range []time.Duration{0, -2 * time.Hour, 2 * time.Hour} {
		now := clocktest.Set(started.Add(time.Minute), set)
		if age := now.Sub(silentSince(started, stored)); age != time.Hour+time.Minute {
			t.Errorf("clock set by %v: silent for %v, want 1h1m0s", set, age)
		}
	}
	if since := silentSince(started, stored); !since.Round(0).Equal(stored) {
		t.Errorf("since %v, want %v", since, stored)
	}
	// Stored by a process whose clock was ahead: the future must not make what is old fresh.
	for _, stored := range []time.Time{{}, started.Add(time.Hour).Round(0)} {
		if since := silentSince(started, stored); since != started {
			t.Errorf("stored %v: since %v, want the start", stored, since)
		}
	}
}

// wallClock is where a time may lose its monotonic reading: where the wall clock is what is meant.
var wallClock = []string{
	"internal/access/table.go",             // expiry, which documents give as a date
	"internal/catalog/explain.go",          // expiry
	"internal/catalog/status.go",           // expiry
	"internal/cli/consumers.go",            // expiry
	"internal/gateway/call.go",             // expiry
	"internal/gateway/gateway.go",          // expiry
	"internal/app/keep.go",                 // shown in /status only
	"internal/app/follow.go",               // shown in /status only
	"internal/listener/answer.go",          // the Date header
	"internal/listener/caller.go",          // a deadline that is over
	"internal/upstream/transport_plain.go", // a deadline that is over
	"internal/session/session.go",          // read by other replicas
	"nacos/sign.go",                        // checked by Nacos
	"nacos/history.go",                     // Nacos's own time
}

// Spans are measured by times as time.Now returns them. Converted to a number, or made of one, a time follows the wall
// clock, and an hour set back makes a second last an hour.
//
// Seen to fail with the end of an ejection kept in Unix nanoseconds.
func TestSpansAreNotMeasuredByTheWallClock(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, top := range []string{"internal", "nacos", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, path)
			name = filepath.ToSlash(name)
			dir := filepath.Base(filepath.Dir(path))
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(dir, "test") ||
				dir == "fakenacos" || dir == "faultproxy" || dir == "template" || slices.Contains(wallClock, name) {
				return nil
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				s, ok := call.Fun.(*ast.SelectorExpr)
				if ok && slices.Contains([]string{"Unix", "UnixNano", "UnixMilli", "UnixMicro"}, s.Sel.Name) {
					t.Errorf("%s: %s makes a time of the wall clock: keep a time.Time, or a Duration since one; where the wall clock is meant, say so in this test",
						fset.Position(call.Pos()), s.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
