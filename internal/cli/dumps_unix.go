//go:build unix

package cli

import "syscall"

// forbidCoreDumps keeps the memory of this process, which holds the credentials of all backends, out of core files.
// allow takes that back. Where the system refuses, dumps stay as they are set up there.
func forbidCoreDumps() (allow func() error) {
	var before syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &before) == nil {
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: 0, Max: before.Max})
	}
	_ = setDumpable(false)
	return func() error {
		if err := setDumpable(true); err != nil {
			return err
		}
		return syscall.Setrlimit(syscall.RLIMIT_CORE, &before)
	}
}
