package app

import (
	"fmt"
	"os"
	"sync"
)

// auditFile is where audit lines go: standard error, or a file that can be opened anew after it was moved away.
type auditFile struct {
	path string

	mu   sync.Mutex
	file *os.File
}

// openAudit opens the sink that log.audit names: "stderr", a path, or "off".
func openAudit(where string) (*auditFile, error) {
	switch where {
	case "off", "":
		return nil, nil
	case "stderr":
		return &auditFile{file: os.Stderr}, nil
	}
	f := &auditFile{path: where}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open log.audit: %w", err)
	}
	return f, nil
}

func (f *auditFile) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file = file
	return nil
}

// reopen is for SIGHUP. If it fails the old file goes on.
func (f *auditFile) reopen() error {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

// Write appends a line.
func (f *auditFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Write(b)
}

// Close closes the file, unless it is standard error.
func (f *auditFile) Close() error {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
