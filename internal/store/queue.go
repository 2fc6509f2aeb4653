package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	gather    = 10 * time.Millisecond // edits that come together are committed together
	retryMin  = time.Second           // after a failed write, doubled each time up to
	retryMax  = 30 * time.Second
	closeWait = 2 * time.Second // for which Close goes on trying
)

// queue replaces what waits for the same slots. It never waits for the disk.
func (s *Store) queue(ops map[slot]op) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	for at, o := range ops {
		s.bytes += len(o.value) - len(s.pending[at].value)
		if s.bytes > s.limit && len(o.value) > 0 {
			// Too much waits. What is on disk under this name is old now, and old is worse than none: a start from it
			// could bring a revoked grant back. And none is worse than lost: it could open what a grants document closed.
			s.bytes -= len(o.value)
			if o = (op{}); indexed(at) {
				o.value = s.lost(at)
				s.bytes += len(o.value)
			}
			s.status.Forgotten++
		}
		s.pending[at] = o
	}
	s.mu.Unlock()
	s.signal()
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes batches until Close.
func (s *Store) run() {
	defer close(s.done)
	pause := retryMin
	var giveUp time.Time
	for {
		<-s.wake
		for {
			s.mu.Lock()
			closing := s.closing
			s.mu.Unlock()
			if !closing {
				time.Sleep(gather)
			} else if giveUp.IsZero() {
				giveUp = time.Now().Add(closeWait)
			}
			batch := s.take()
			if len(batch) == 0 {
				if closing {
					return
				}
				break
			}
			err := s.commit(batch)
			s.wrote(err)
			if err == nil {
				pause = retryMin
				continue
			}
			if closing {
				if time.Now().After(giveUp) {
					return
				}
				time.Sleep(50 * time.Millisecond)
				continue
			}
			s.rest(pause)
			pause = min(2*pause, retryMax)
		}
	}
}

// rest waits for d, or less if the store is being closed.
func (s *Store) rest(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// take moves all that waits from pending to inflight. It is written in one transaction, so that what was put together is on
// disk together or not at all.
func (s *Store) take() map[slot]op {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight, s.pending, s.bytes = s.pending, map[slot]op{}, 0
	return s.inflight
}

// wrote ends a batch. What could not be written waits again, unless something newer does.
func (s *Store) wrote(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		for at, o := range s.inflight {
			if _, newer := s.pending[at]; !newer {
				s.pending[at] = o
				s.bytes += len(o.value)
			}
		}
		if s.status.Failing == "" {
			s.status.Since = time.Now()
			s.log.Error("store cannot be written; going on without", "path", s.path, "error", err)
		}
		s.status.Failing = err.Error()
	} else {
		if s.status.Failing != "" {
			s.log.Info("store is written again", "path", s.path)
		}
		s.status.Failing, s.status.Since = "", time.Time{}
		s.status.LastWrite = time.Now()
	}
	s.inflight = map[slot]op{}
	close(s.idle)
	s.idle = make(chan struct{})
}

// write puts a batch into the database, all of it or nothing.
func (s *Store) write(batch map[slot]op) error {
	slots := slices.SortedFunc(maps.Keys(batch), compareSlots)
	err := guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			for _, at := range slots {
				o, b := batch[at], tx.Bucket([]byte(at.bucket))
				if b == nil {
					return fmt.Errorf("bucket %s is missing", at.bucket)
				}
				if o.value == nil {
					if err := b.Delete([]byte(at.key)); err != nil {
						return err
					}
				} else if err := b.Put([]byte(at.key), o.value); err != nil {
					return err
				}
				if indexed(at) {
					if err := enter(tx, at, o.value); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	// A transaction ends by writing the older of two headers. If that is damaged later, the other one leads to what was there
	// before, in which what was revoked is granted. So the other one is written as well, by a transaction without a change.
	return guard(func() error { return s.db.Update(func(*bolt.Tx) error { return nil }) })
}

func compareSlots(a, b slot) int {
	return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.key, b.key))
}

// lookup gives the newest value of a slot, queued or on disk. The value is the caller's.
func (s *Store) lookup(at slot) ([]byte, error) {
	s.mu.Lock()
	o, ok := s.pending[at]
	if !ok {
		o, ok = s.inflight[at]
	}
	s.mu.Unlock()
	if ok {
		if o.value == nil {
			return nil, ErrNotFound
		}
		return o.value, nil
	}
	if s.snapshot != nil {
		if o, ok = s.snapshot[at]; !ok {
			return nil, ErrNotFound
		}
		return o.value, nil
	}
	var value []byte
	err := guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(at.bucket))
			if b == nil {
				return ErrNotFound
			}
			v := b.Get([]byte(at.key))
			if v == nil {
				return ErrNotFound
			}
			value = append([]byte{}, v...)
			return nil
		})
	})
	return value, err
}

// load goes through a bucket. Values are only valid until each returns.
func (s *Store) load(bucket string, each func(slot, []byte)) error {
	if s.snapshot != nil {
		for _, at := range slices.SortedFunc(maps.Keys(s.snapshot), compareSlots) {
			if at.bucket == bucket {
				each(at, s.snapshot[at].value)
			}
		}
		return nil
	}
	return guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			if b == nil {
				return nil
			}
			return b.ForEach(func(k, v []byte) error {
				each(slot{bucket, string(k)}, v)
				return nil
			})
		})
	})
}

// guard makes an error of what the database panics with, and of the fault that reading a mapped file gives when
// somebody cut it off.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(errDamaged, fmt.Errorf("%v", p))
		}
	}()
	return f()
}
