package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const dumpsEnv = "NMP_TEST_DUMPS"

// TestDumpsHelper is the process that TestCoreDumpsAreForbidden looks at.
func TestDumpsHelper(t *testing.T) {
	if os.Getenv(dumpsEnv) == "" {
		t.Skip("run by TestCoreDumpsAreForbidden")
	}
	show := func(what string) {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
			t.Fatal(err)
		}
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s: limit %v, dumpable %d\n", what, limit.Cur > 0, dumpable)
	}
	limit := syscall.Rlimit{Cur: 4096, Max: 4096}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		t.Skip(err)
	}
	show("before")
	allow := forbidCoreDumps()
	show("forbidden")
	if err := allow(); err != nil {
		t.Fatal(err)
	}
	show("allowed")
}

// Seen red with each of the two calls in forbidCoreDumps taken out, and in allow.
func TestCoreDumpsAreForbidden(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestDumpsHelper$", "-test.v")
	cmd.Env = append(os.Environ(), dumpsEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	for _, want := range []string{"before: limit true, dumpable 1", "forbidden: limit false, dumpable 0", "allowed: limit true, dumpable 1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
}
