// Package budget holds the bounds that everything in the process shares: bytes that callers and backends make it hold, and
// descriptors. It must never wait for anybody: what does not fit is refused at once.
package budget

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Free is how many bytes of one message are not accounted for. Their number is bounded by that of calls, and nearly all
// messages are smaller, so that these cost nothing here.
const Free = 64 << 10

// ErrFull says that the bytes asked for do not fit at the moment.
var ErrFull = errors.New("memory budget is exhausted")

// Memory is a number of bytes that many holders share. It is safe for concurrent use; a nil Memory has no limit.
type Memory struct {
	limit      int64
	held, most atomic.Int64
	refused    atomic.Int64

	mu     sync.Mutex
	owners map[string]int64 // what the Shares of each hold
}

// NewMemory returns a Memory of limit bytes.
func NewMemory(limit int64) *Memory { return &Memory{limit: limit} }

// Take takes n bytes and reports whether they fitted. What was taken is to be given back with Release, once.
func (m *Memory) Take(n int64) bool {
	if m == nil || n <= 0 {
		return true
	}
	now := m.held.Add(n)
	if now > m.limit {
		m.held.Add(-n)
		m.refused.Add(1)
		return false
	}
	for most := m.most.Load(); now > most && !m.most.CompareAndSwap(most, now); most = m.most.Load() {
	}
	return true
}

// Release gives n bytes back.
func (m *Memory) Release(n int64) {
	if m != nil && n > 0 {
		m.held.Add(-n)
	}
}

// Fits reports whether n bytes would fit if nobody held any.
func (m *Memory) Fits(n int64) bool { return m == nil || n <= m.limit }

// State is what a Memory looks like at one moment.
type State struct {
	Limit   int64 `json:"limitBytes"`
	Held    int64 `json:"heldBytes"`
	Most    int64 `json:"mostBytes"` // held at once since the start
	Refused int64 `json:"refused"`   // attempts to take since the start
}

// State returns the current state; all zero for a nil Memory.
func (m *Memory) State() State {
	if m == nil {
		return State{}
	}
	return State{Limit: m.limit, Held: m.held.Load(), Most: m.most.Load(), Refused: m.refused.Load()}
}

// Share is what one holder, such as a call, has taken of a Memory. The zero Share, of no Memory, takes everything. It is for
// one goroutine at a time.
type Share struct {
	of    *Memory
	bytes int64 // that the holder holds, the free ones included
	owned bool
	owner string
}

// Share returns an empty Share of m, which may be nil.
func (m *Memory) Share() Share { return Share{of: m} }

// Own says whose an empty Share is. One Share of an owner may take all there is. What others of the same owner take besides
// must leave as many bytes as the owner holds then, so that nobody keeps all others out by many messages.
func (s *Share) Own(owner string) { s.owned, s.owner = s.of != nil, owner }

// take takes n bytes for the Share, which is charged for own.
func (s *Share) take(own, n int64) bool {
	if !s.owned {
		return s.of.Take(n)
	}
	m := s.of
	m.mu.Lock()
	defer m.mu.Unlock()
	held := m.owners[s.owner]
	if held > own && held+n > m.limit-m.held.Load()-n {
		m.refused.Add(1)
		return false
	}
	if !m.Take(n) {
		return false
	}
	if m.owners == nil {
		m.owners = map[string]int64{}
	}
	m.owners[s.owner] = held + n
	return true
}

func (s *Share) giveBack(n int64) {
	m := s.of
	if s.owned {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.owners[s.owner] -= n; m.owners[s.owner] == 0 {
			delete(m.owners, s.owner)
		}
	}
	m.Release(n)
}

func charged(bytes int64) int64 { return max(0, bytes-Free) }

// Grow adds n bytes to what the holder holds. Of all that it holds the first Free bytes are not accounted for. It reports
// false, and adds nothing, where they do not fit.
func (s *Share) Grow(n int64) bool { return s.Set(s.bytes + n) }

// Set makes the Share one of n bytes, fewer or more than before. It reports false, and changes nothing, where they do not
// fit; fewer always do.
func (s *Share) Set(n int64) bool {
	switch before, after := charged(s.bytes), charged(n); {
	case after > before:
		if !s.take(before, after-before) {
			return false
		}
	case after < before:
		s.giveBack(before - after)
	}
	s.bytes = n
	return true
}

// Bytes returns what the holder holds.
func (s *Share) Bytes() int64 { return s.bytes }

// Release gives everything back. The Share may be used again; to release twice is harmless.
func (s *Share) Release() { s.Set(0) }
