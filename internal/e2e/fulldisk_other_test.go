//go:build !unix

package e2e

import "testing"

func fullDisk(t *testing.T) (free func()) {
	t.Skip("needs a limit on file sizes")
	return nil
}
