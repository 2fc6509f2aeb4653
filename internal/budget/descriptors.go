package budget

import "sync"

// Side is who has a connection: a client or a backend.
type Side uint8

// The two sides.
const (
	Clients Side = iota
	Backends
)

// Descriptors bounds the connections of both sides together, so that some of the process's descriptors are always left for
// operators, for the source and for files. It is safe for concurrent use; a nil one has no limit.
type Descriptors struct {
	total, side int // all, and one side

	mu      sync.Mutex
	open    [2]int
	refused [2]int64
}

// NewDescriptors returns the bounds for a process that may have nofile descriptors: what is left of them after 64 and a
// sixteenth, at most 1,024, are set apart. One side gets three quarters of it at most, so that neither starves the other.
// With nofile 0, where it is not known, the result is nil.
func NewDescriptors(nofile uint64) *Descriptors {
	if nofile == 0 {
		return nil
	}
	n := int(min(nofile, 1<<20))
	total := max(16, n-64-min(n/16, 1024))
	return &Descriptors{total: total, side: max(4, total/4*3)}
}

// Most returns how many connections one side may have; 0 for no limit.
func (d *Descriptors) Most() int {
	if d == nil {
		return 0
	}
	return d.side
}

// Take counts a connection in and reports whether it may be. It is to be given back with Release, once.
func (d *Descriptors) Take(of Side) bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[of] >= d.side || d.open[Clients]+d.open[Backends] >= d.total {
		d.refused[of]++
		return false
	}
	d.open[of]++
	return true
}

// Release gives a connection back.
func (d *Descriptors) Release(of Side) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[of]--
}

// Open returns how many connections a side has, and how many were refused since the start.
func (d *Descriptors) Open(of Side) (open int, refused int64) {
	if d == nil {
		return 0, 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[of], d.refused[of]
}
