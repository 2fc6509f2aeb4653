//go:build unix && !linux

package cli

// setDumpable has nothing to do where the limit on core files decides.
func setDumpable(bool) error { return nil }
