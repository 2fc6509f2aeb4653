// Package hostfile reads small regular files of the proxy's host whose names come from documents and from boot
// configuration. It must never wait for the other end of a pipe or a device, and never follow a name out of the
// directory it was told to stay in.
package hostfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 1 << 20

// Errors about a file that is there. Those of the operating system are passed on with their *fs.PathError.
var (
	ErrOutside    = errors.New("is not below the directory")
	ErrNotRegular = errors.New("is not a regular file")
	ErrTooLarge   = fmt.Errorf("is larger than %d bytes", MaxSize)
)

// Read returns the content of the file at path, which may lie anywhere. It waits for a file system for 2 s at most.
func Read(path string) ([]byte, error) {
	return aside(path, func() ([]byte, error) {
		return read(func(flags int) (*os.File, error) { return os.OpenFile(path, flags, 0) },
			func() (fs.FileInfo, error) { return os.Stat(path) })
	})
}

// ReadIn returns the content of the file with this name below dir: a relative name, or an absolute one that begins with
// dir. Symbolic links are followed as long as they stay within dir, which those of Kubernetes secrets do. The directory
// is opened anew each time, so that it may be replaced. It waits for a file system for 2 s at most.
func ReadIn(dir, name string) ([]byte, error) {
	name, ok := Within(dir, name)
	if !ok {
		return nil, ErrOutside
	}
	return aside(dir+"\x00"+name, func() ([]byte, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return read(func(flags int) (*os.File, error) { return root.OpenFile(name, flags, 0) },
			func() (fs.FileInfo, error) { return root.Stat(name) })
	})
}

// Within returns name relative to dir, and reports whether it spells something below dir. It does not look at files.
func Within(dir, name string) (string, bool) {
	if filepath.IsAbs(name) {
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return "", false
		}
		name = relative
	}
	name = filepath.Clean(name)
	return name, filepath.IsLocal(name) && name != "."
}

// read looks before it opens, since opening alone can make a device do something, and again afterwards, since the file may
// have been replaced. O_NONBLOCK is for that case: opening a pipe would wait for a writer.
func read(open func(flags int) (*os.File, error), stat func() (fs.FileInfo, error)) ([]byte, error) {
	info, err := stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	f, err := open(os.O_RDONLY | syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxSize {
		return nil, ErrTooLarge
	}
	return content, nil
}

// NoDir reports whether dir cannot be opened as a directory, or not in 2 s.
func NoDir(dir string) bool {
	_, err := aside("dir\x00"+dir, func() ([]byte, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		return nil, root.Close()
	})
	return err != nil
}
