//go:build unix

package nacos

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock keeps out other writers, in this process and in others, until unlock is called.
func (d *Dir) lock(ctx context.Context) (unlock func(), err error) {
	d.writing.Lock()
	defer func() {
		if err != nil {
			d.writing.Unlock()
		}
	}()
	f, err := os.OpenFile(filepath.Join(d.root, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, dirError(err)
	}
	for {
		// Not LOCK_EX alone: it could not be interrupted by ctx.
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			f.Close()
			return nil, dirError(&os.PathError{Op: "lock", Path: f.Name(), Err: err})
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return func() {
		f.Close() // unlocks
		d.writing.Unlock()
	}, nil
}
