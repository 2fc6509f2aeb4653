// Package clocktest is for tests: it makes times as a host reads them after its clock was set.
package clocktest

import (
	"time"
	"unsafe"
)

// layout is that of time.Time, of which there is no public way to change the wall clock alone.
type layout struct {
	wall uint64 // 1 bit: ext is monotonic; 33 bits: seconds since 1885; 30 bits: nanoseconds
	ext  int64
	loc  *time.Location
}

const (
	hasMonotonic = 1 << 63
	nsecShift    = 30
)

// Set returns t as it would have been read, at the same moment, from a clock set forward by d, or back if d is negative.
// The monotonic reading stays what it is. d is rounded to seconds. It panics if t has no monotonic reading.
func Set(t time.Time, d time.Duration) time.Time {
	set := t
	l := (*layout)(unsafe.Pointer(&set))
	if l.wall&hasMonotonic == 0 {
		panic("clocktest: time without a monotonic reading")
	}
	l.wall += uint64(int64(d/time.Second)) << nsecShift
	if set.Sub(t) != 0 || set.UnixNano()-t.UnixNano() != int64(d.Truncate(time.Second)) {
		panic("clocktest: time.Time is laid out differently")
	}
	return set
}
