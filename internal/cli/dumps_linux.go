package cli

import "golang.org/x/sys/unix"

// setDumpable says whether the kernel may dump the process at all: where core_pattern is a pipe, as with systemd-coredump,
// the limit on core files is not asked (core(5)). It also decides whether other processes of the same user may attach or
// read /proc/PID/environ (prctl(2), PR_SET_DUMPABLE).
func setDumpable(on bool) error {
	var v uintptr
	if on {
		v = 1
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, v, 0, 0, 0)
}
