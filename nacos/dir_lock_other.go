//go:build !unix

package nacos

import "context"

// lock keeps out other writers of this process. Where there is no flock, writers in other processes are not kept out:
// the compare-and-set of two of them at the same instant may both succeed.
func (d *Dir) lock(context.Context) (unlock func(), err error) {
	d.writing.Lock()
	return d.writing.Unlock, nil
}
