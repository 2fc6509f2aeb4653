//go:build !unix

package store

// fileLock does nothing here: bbolt's own lock has to do.
type fileLock struct{}

func lockFile(string) (*fileLock, error) { return &fileLock{}, nil }

func (*fileLock) unlock() {}
