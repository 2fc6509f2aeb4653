//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// fileLock is held by the process that may look into and repair the store. bbolt locks its own file as well, but only
// once it has begun to read it.
type fileLock struct{ f *os.File }

// lockFile takes the lock or says who has it.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		b := make([]byte, 200)
		n, _ := f.Read(b)
		if owner := strings.TrimSpace(string(b[:n])); owner != "" {
			return nil, fmt.Errorf("%w: %s", ErrLocked, owner)
		}
		return nil, ErrLocked
	}
	// For the message above; nothing depends on it, so a full disk is no reason to fail.
	if f.Truncate(0) == nil {
		host, _ := os.Hostname()
		fmt.Fprintf(f, "process %d on %s since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	}
	return &fileLock{f}, nil
}

func (l *fileLock) unlock() {
	_ = l.f.Truncate(0)
	l.f.Close()
}
