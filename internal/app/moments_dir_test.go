package app

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestNoMixOfMomentsInADirectory: the same for a directory, which goes away and comes back, and whose removals are believed
// later than its edits are taken. In the time of the machine, as its file system is.
func TestNoMixOfMomentsInADirectory(t *testing.T) {
	for _, seed := range momentSeeds(8) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 13))
			root := filepath.Join(t.TempDir(), "source")
			away := root + "-away"
			at := root
			file := func(k nacos.Key) string { return filepath.Join(at, "config", k.Group, k.DataID) }
			w := newMomentWorld(t, r, func(k nacos.Key, content string) {
				if err := os.MkdirAll(filepath.Dir(file(k)), 0o755); err != nil {
					t.Error(err)
				}
				tmp := filepath.Join(filepath.Dir(file(k)), ".new")
				if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
					t.Error(err)
				}
				if err := os.Rename(tmp, file(k)); err != nil {
					t.Error(err)
				}
			}, func(k nacos.Key) { _ = os.Remove(file(k)) })
			d, err := nacos.OpenDir(root, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			f := &feeds{main: d, access: d}
			c, err := catalog.New(catalog.Options{
				Services: 100, OnWants: f.want, OnSwap: w.swapped, Log: slog.New(slog.DiscardHandler),
				Convert: func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} },
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			defer f.close()
			w.catalog = c
			w.begin()
			if err := f.follow(nil, c.Feed, c.Synced); err != nil {
				t.Fatal(err)
			}
			w.convergesWithin(time.Minute)
			for round := range 3 {
				w.begin()
				if round > 0 {
					w.note("away")
					if err := os.Rename(root, away); err != nil {
						t.Fatal(err)
					}
					at = away
				}
				for range 2 + r.IntN(8) {
					w.edit()
					time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
				}
				if round > 0 {
					time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
					at = root
					if err := os.Rename(away, root); err != nil {
						t.Fatal(err)
					}
					w.note("back")
				}
				w.convergesWithin(time.Minute)
			}
		})
	}
}
