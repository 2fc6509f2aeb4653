//go:build unix

package nacos

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestDirDoesNotWaitForAPipe: whoever may write one group must not stop the reading of the others.
func TestDirDoesNotWaitForAPipe(t *testing.T) {
	root := t.TempDir()
	group := filepath.Join(root, "config", "proxy-services")
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(group, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(root, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := d.Get(context.Background(), Key{Group: "proxy-services", DataID: "pipe.yaml"})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("reading waits for a writer")
		if w, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // lets it go on
			w.Close()
		}
		<-done
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
