package hostfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

// TestAFileThatHangsHoldsNobodyUp: beyond 2 s, and who asks again not at all; other files are read on, and so is that one when
// it answers. Seen red with read called directly, and with a read of its own for each who asks.
func TestAFileThatHangsHoldsNobodyUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		var started atomic.Int64
		hung := func() ([]byte, error) {
			started.Add(1)
			<-answer
			return []byte("x"), nil
		}
		took := func(name string, read func() ([]byte, error)) (time.Duration, error) {
			began := time.Now()
			_, err := aside(name, read)
			return time.Since(began), err
		}
		if d, err := took("hung", hung); !errors.Is(err, ErrHangs) || d != maxWait {
			t.Errorf("after %s: %v", d, err)
		}
		for range 100 {
			if d, err := took("hung", hung); !errors.Is(err, ErrHangs) || d > 0 {
				t.Errorf("asked again, after %s: %v", d, err)
			}
		}
		if d, err := took("other", func() ([]byte, error) { return nil, os.ErrNotExist }); !errors.Is(err, os.ErrNotExist) || d > 0 {
			t.Errorf("another file, after %s: %v", d, err)
		}
		if n := started.Load(); n != 1 {
			t.Errorf("%d reads hang", n)
		}
		for i := range 2 * maxReads {
			go func() { _, _ = aside(fmt.Sprint(i), hung) }()
		}
		synctest.Wait()
		if _, err := took("one more", hung); !errors.Is(err, ErrBusy) || started.Load() > maxReads {
			t.Errorf("%d reads hang: %v", started.Load(), err)
		}
		close(answer)
		synctest.Wait()
		if content, err := aside("hung", hung); string(content) != "x" || err != nil {
			t.Errorf("when it answers: %q, %v", content, err)
		}
		time.Sleep(2 * maxWait)
	})
}

// TestAllReadsAreBounded: whatever is read of the host is read aside. Seen red with each of them read directly.
func TestAllReadsAreBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	for _, name := range []string{path, dir + "\x00f", "dir\x00" + dir} { // as if these hung by now
		go func() { _, _ = aside(name, func() ([]byte, error) { <-release; return nil, nil }) }()
	}
	for {
		reads.Lock()
		n := len(reads.byName)
		reads.Unlock()
		if n >= 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	results := make(chan error, 2)
	go func() { _, err := Read(path); results <- err }()
	go func() { _, err := ReadIn(dir, "f"); results <- err }()
	if !NoDir(dir) {
		t.Error("a directory that hangs is taken for one")
	}
	for range 2 {
		if err := <-results; !errors.Is(err, ErrHangs) {
			t.Errorf("read past what hangs: %v", err)
		}
	}
}
