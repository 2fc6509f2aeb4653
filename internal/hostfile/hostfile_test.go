//go:build unix

package hostfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// readIn fails the test if reading waits for anything.
func readIn(t *testing.T, dir, name string) (string, error) {
	t.Helper()
	type result struct {
		content []byte
		err     error
	}
	done := make(chan result, 1)
	go func() {
		content, err := ReadIn(dir, name)
		done <- result{content, err}
	}()
	select {
	case r := <-done:
		return string(r.content), r.err
	case <-time.After(10 * time.Second):
		t.Fatalf("reading %s waits", name)
		return "", nil
	}
}

func TestOnlySmallRegularFilesBelowTheDirectoryAreRead(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "tls")
	write(t, filepath.Join(dir, "ca.pem"), "authority")
	write(t, filepath.Join(dir, "team", "key.pem"), "key")
	write(t, filepath.Join(dir, "most"), strings.Repeat("x", MaxSize))
	write(t, filepath.Join(dir, "more"), strings.Repeat("x", MaxSize+1))
	write(t, filepath.Join(outer, "proxy.key"), "the proxy's own")
	write(t, filepath.Join(outer, "tls-of-another", "ca.pem"), "another's")
	for link, to := range map[string]string{
		"escapes": "../proxy.key", "absolute": filepath.Join(dir, "ca.pem"), "device": "/dev/ptmx", "loop": "loop",
		"up": "..", "inside": "team/../ca.pem",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want string
		err  error // nil with an empty want: any
	}{
		{"ca.pem", "authority", nil},
		{"./team/key.pem", "key", nil},
		{filepath.Join(dir, "team", "key.pem"), "key", nil},
		{"inside", "authority", nil},
		{"most", strings.Repeat("x", MaxSize), nil},
		{"more", "", ErrTooLarge},
		{"pipe", "", ErrNotRegular},
		{"team", "", ErrNotRegular},
		{".", "", ErrOutside},
		{"", "", ErrOutside},
		{"missing", "", fs.ErrNotExist},
		{"/dev/ptmx", "", ErrOutside},
		{"/dev/zero", "", ErrOutside},
		{"../proxy.key", "", ErrOutside},
		{"team/../../proxy.key", "", ErrOutside},
		{filepath.Join(dir, "..", "proxy.key"), "", ErrOutside},
		{dir + "-of-another/ca.pem", "", ErrOutside},
		{dir, "", ErrOutside},
		{"escapes", "", nil},
		{"absolute", "", nil},
		{"device", "", nil},
		{"loop", "", nil},
		{"up/proxy.key", "", nil},
	} {
		got, err := readIn(t, dir, c.name)
		switch {
		case got != c.want:
			t.Errorf("%s: read %.20q, want %.20q", c.name, got, c.want)
		case c.want == "" && err == nil, c.err != nil && !errors.Is(err, c.err):
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
}

// TestKubernetesSecretsAreRead: a mounted secret is links to a directory that a link names, which is replaced.
func TestKubernetesSecretsAreRead(t *testing.T) {
	dir := t.TempDir()
	mount := func(version, content string) {
		t.Helper()
		write(t, filepath.Join(dir, version, "ca.crt"), content)
		if err := os.Symlink(version, filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount("..2026_01_01", "first")
	if err := os.Symlink("..data/ca.crt", filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if got, err := readIn(t, dir, "ca.crt"); got != "first" {
		t.Errorf("got %q, %v", got, err)
	}
	mount("..2026_02_02", "second")
	if got, err := readIn(t, dir, "ca.crt"); got != "second" {
		t.Errorf("after an update: got %q, %v", got, err)
	}
}

// TestAPipeInPlaceOfAFileDoesNotWait: between the look and the opening a file may become something else.
func TestAPipeInPlaceOfAFileDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "file"), "x")
	done := make(chan error, 1)
	go func() {
		_, err := read(func(flags int) (*os.File, error) { return os.OpenFile(path, flags, 0) },
			func() (fs.FileInfo, error) { return os.Stat(filepath.Join(dir, "file")) })
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrNotRegular) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("opening the pipe waits for a writer")
	}
}

func TestReadTakesRegularFilesOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "s")
	if got, err := Read(path); string(got) != "s" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Read("/dev/zero"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("/dev/zero: %v", err)
	}
}
