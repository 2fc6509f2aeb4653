//go:build unix

package app

import (
	"context"
	"crypto/md5" //nolint:gosec // what Nacos tells versions by
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestCostOfAnEditFromPushToStore: what an edit costs once its document has arrived (read, build, swap, effects on
// streams, the store, the documents to watch) hardly depends on how many services and consumers there are. The watch's
// part is held in package nacos. Measured is processor time, of which a busy machine has no more. Seen red with all
// wanted documents handed on, and with all services looked at, at every swap.
func TestCostOfAnEditFromPushToStore(t *testing.T) {
	few, many := costOfEdits(t, 100), costOfEdits(t, 10_000)
	t.Logf("six edits, each swapped in for itself, among %6d services and consumers: %s", 100, few)
	t.Logf("six edits, each swapped in for itself, among %6d services and consumers: %s (%.2f times)", 10_000, many, float64(many)/float64(few))
	if many > 2*few+time.Millisecond {
		t.Errorf("%s among 10,000, %s among 100", many, few)
	}
}

// costOfEdits gives the processor time that a round of edits takes in an App with n services and n consumers.
func costOfEdits(t *testing.T, n int) time.Duration {
	cfg := config.Default()
	cfg.Source, cfg.Dir.Path, cfg.State.Path = config.SourceDir, t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(cfg.Dir.Path, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Admin.Listen, cfg.Log.Audit = "127.0.0.1:0", "127.0.0.1:0", "off"
	a, err := Start(t.Context(), cfg, "test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Drain() })
	var all []nacos.Change
	for i := range n {
		all = append(all, serviceChange(i, 0), grantsChange(i, 0), consumerChange(i, 0))
	}
	a.apply(t, all...)
	await(t, "all services are known and validated", func() bool {
		return a.Ready() && a.catalog.Index().Service(fmt.Sprintf("s%d", n-1)) != nil && a.catalog.Pending() == 0
	})
	var rounds []time.Duration
	for round := 1; round <= 15; round++ {
		i := round * n / 16
		before := processorTime(t)
		a.apply(t, serviceChange(i, round))
		a.apply(t, grantsChange(i, round))
		a.apply(t, consumerChange(i, round))
		a.apply(t, nacos.Change{Key: serviceChange(i, 0).Key, Deleted: true})
		a.apply(t, serviceChange(i, 0))
		a.apply(t, nacos.Change{Key: consumerChange(i, 0).Key, Deleted: true})
		rounds = append(rounds, processorTime(t)-before)
	}
	slices.Sort(rounds)
	return rounds[len(rounds)/3] // the collector falls into some
}

// apply feeds changes as a watch would and waits until they are in force, stored and validated.
func (a *App) apply(t *testing.T, changes ...nacos.Change) {
	t.Helper()
	serial := a.catalog.Index().Serial()
	a.catalog.Apply(changes)
	await(t, "an edit is in force", func() bool {
		return a.catalog.Index().Serial() > serial && !a.catalog.Busy() && a.catalog.Pending() == 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := a.kept.flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func serviceChange(i, version int) nacos.Change {
	return changeOf("proxy-services", fmt.Sprintf("s%d.yaml", i), fmt.Sprintf(`server: {name: s%d}
tools:
  - name: tool_%d
    description: does what it does
    requestTemplate: {url: "http://127.0.0.1:9/%d", method: GET}
`, i, version, i))
}

func grantsChange(i, version int) nacos.Change {
	return changeOf("proxy-grants", fmt.Sprintf("s%d.yaml", i), fmt.Sprintf("auth: required\nconsumers: [c%d]\ntools: {tool_%d: [c%d]}\n", i, version, i+1))
}

func consumerChange(i, version int) nacos.Change {
	keys := ""
	for k := range 3 {
		sum := sha256.Sum256(fmt.Appendf(nil, "key %d of %d, version %d", k, i, version))
		keys += fmt.Sprintf("  - {id: k%d, sha256: %s}\n", k, hex.EncodeToString(sum[:]))
	}
	return changeOf("proxy-consumers", fmt.Sprintf("c%d.yaml", i), "keys:\n"+keys)
}

func changeOf(group, dataID, content string) nacos.Change {
	sum := md5.Sum([]byte(content)) //nolint:gosec // see above
	return nacos.Change{Key: nacos.Key{Group: group, DataID: dataID}, Content: []byte(content), MD5: hex.EncodeToString(sum[:])}
}
