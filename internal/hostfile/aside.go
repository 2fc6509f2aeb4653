package hostfile

import (
	"errors"
	"sync"
	"time"
)

// A file system may hang, above all one of another host, and a read that hangs cannot be ended. So files are read aside: who
// asks waits for a bounded time, and one that hangs is not asked again before it has answered.

const (
	maxWait  = 2 * time.Second
	maxReads = 64 // of different files, under way or hanging
)

// Errors about a file system that hangs.
var (
	ErrHangs = errors.New("does not answer: its file system hangs")
	ErrBusy  = errors.New("is not read: too many files do not answer")
)

// reads are those under way.
var reads = struct {
	sync.Mutex
	byName map[string]*pending
}{byName: map[string]*pending{}}

// pending is a read under way, for all who want the file.
type pending struct {
	began   time.Time
	done    chan struct{}
	content []byte
	err     error
}

// aside returns what read does, or an error once that has taken maxWait. The content is the caller's own.
func aside(name string, read func() ([]byte, error)) ([]byte, error) {
	reads.Lock()
	p := reads.byName[name]
	if p == nil {
		if len(reads.byName) >= maxReads {
			reads.Unlock()
			return nil, ErrBusy
		}
		p = &pending{began: time.Now(), done: make(chan struct{})}
		reads.byName[name] = p
		go func() {
			p.content, p.err = read()
			reads.Lock()
			delete(reads.byName, name)
			reads.Unlock()
			close(p.done)
		}()
	}
	reads.Unlock()
	timer := time.NewTimer(time.Until(p.began.Add(maxWait)))
	defer timer.Stop()
	select {
	case <-p.done:
		return append([]byte(nil), p.content...), p.err
	case <-timer.C:
		return nil, ErrHangs
	}
}
