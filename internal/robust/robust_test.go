package robust

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

// Environment variables of the random run; make robust sets them.
const (
	envSchedules = "ROBUST_SCHEDULES" // how many
	envSeed      = "ROBUST_SEED"      // of the first; the next has the next number
	envSteps     = "ROBUST_STEPS"     // of each
	envLog       = "ROBUST_LOG"       // a file for the log of the proxy in a run that failed
	envReplay    = "ROBUST_REPLAY"    // a file with one schedule, as a failure prints it
)

// inShort is how many schedules run where nothing is said: in continuous integration.
func inShort() int {
	if bubble.Race {
		return 8
	}
	return 25
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestRandomSchedules runs schedules of random seeds. One that fails is shrunk, and printed as TestReplay reads it. What each of
// its checks is worth is shown by TestMutations.
func TestRandomSchedules(t *testing.T) {
	first := uint64(number(envSeed, 1))
	if os.Getenv(envSeed) == "random" {
		first = uint64(time.Now().UnixNano() % 1_000_000_000)
	}
	n, steps := number(envSchedules, inShort()), number(envSteps, 25)
	t.Logf("seeds %d to %d; again with %s=%d %s=%d %s=%d", first, first+uint64(n)-1, envSeed, first, envSchedules, n, envSteps, steps)
	began, calls, failed := time.Now(), 0, 0
	for i := range uint64(n) {
		s := generate(first+i, steps)
		v, done := run(t, s)
		calls += done
		if v != nil {
			report(t, fmt.Sprintf("schedule %d, seed %d", i+1, first+i), s, v)
			if failed++; failed >= 10 {
				break
			}
		}
		if n >= 500 && (i+1)%500 == 0 {
			fmt.Printf("%d schedules, %d calls, %s\n", i+1, calls, time.Since(began).Round(time.Second))
		}
	}
	t.Logf("%d schedules of %d steps, %d failed, %d calls, %s", n, steps, failed, calls, time.Since(began).Round(time.Millisecond))
}

// report fails the test with the smallest schedule that fails.
func report(t *testing.T, what string, s schedule, v *violation) {
	t.Helper()
	t.Errorf("%s: %s", what, v)
	if os.Getenv("ROBUST_SHRINK") == "off" {
		t.Logf("not shrunk:\n%s", s)
		return
	}
	kind := v.Kind
	small := shrink(s, 400, func(c schedule) bool {
		for range 2 { // goroutines are not scheduled the same way twice
			if got, _ := run(t, c); got != nil && got.Kind == kind {
				v = got
				return true
			}
		}
		return false
	})
	t.Logf("shrunk to %d of %d steps: %s\n%s", len(small), len(s), v, small)
	if name := os.Getenv(envLog); name != "" {
		_ = os.WriteFile(name, []byte(v.Log), 0o600)
	}
}

// TestPastSchedules runs again what once failed; the first lines of each file say why.
func TestPastSchedules(t *testing.T) {
	files, err := filepath.Glob("testdata/past/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schedules in testdata/past: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) { replay(t, name) })
	}
}

// TestReplay runs one schedule from a file.
func TestReplay(t *testing.T) {
	name := os.Getenv(envReplay)
	if name == "" {
		t.Skipf("runs the schedule in the file that %s names", envReplay)
	}
	replay(t, name)
}

func replay(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	v, _ := run(t, s)
	if v == nil {
		return
	}
	t.Error(v)
	if name := os.Getenv(envLog); name != "" {
		_ = os.WriteFile(name, []byte(v.Log), 0o600)
	}
}
