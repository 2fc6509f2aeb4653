//go:build unix

package e2e

import (
	"os/signal"
	"syscall"
	"testing"
)

// fullDisk has every write beyond the first 4 kB of a file fail until free is called: documents fit, the store does not.
func fullDisk(t *testing.T) (free func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Skipf("needs a limit on file sizes: %v", err)
	}
	limit := before
	limit.Cur = 4096
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skipf("needs a limit on file sizes: %v", err)
	}
	free = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatalf("lift the limit on file sizes: %v", err)
		}
	}
	t.Cleanup(free)
	return free
}
