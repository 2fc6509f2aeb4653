//go:build !unix

package cli

// forbidCoreDumps has nothing to do where there are none.
func forbidCoreDumps() (allow func() error) { return func() error { return nil } }
