package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// None is a store that keeps nothing, for those who may have one later.
func None(o Options, why error) *Store {
	s, _, err := newStore(o)
	if err != nil {
		s = &Store{done: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
	}
	s.snapshot, s.closing = map[slot]op{}, true
	close(s.done)
	s.status.Failing, s.status.Since = why.Error(), time.Now()
	return s
}

// Peek reads the store of another process, which goes on writing it. What is put into it is dropped; its Status says so.
func Peek(o Options, why error) (*Store, error) {
	s := None(o, fmt.Errorf("%w; what it kept was read, and this process writes it once that one has ended", why))
	key, err := os.ReadFile(s.path + ".key")
	if err != nil {
		return nil, fmt.Errorf("read store %s: %w", s.path, err)
	}
	if s.seal, err = newSeal(key); err != nil {
		return nil, fmt.Errorf("read store %s: %w", s.path, err)
	}
	// What is read while it is written may be torn, which looks like damage and is whole the next time.
	const tries = 5
	for i := range tries {
		file, err := os.ReadFile(s.path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(file) == 0 {
			return s, nil // it is being made
		}
		if err != nil {
			return nil, fmt.Errorf("read store %s: %w", s.path, err)
		}
		r := bytes.NewReader(file)
		w := s.examine(r, r.Size())
		if w == nil {
			w = &walker{f: r, size: r.Size(), kept: map[slot]op{}}
			w.whole()
			s.snapshot = w.kept
			return s, nil
		}
		if s.snapshot = w.kept; i == tries-1 {
			for _, d := range w.damage {
				s.damaged(d)
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return s, nil
}
