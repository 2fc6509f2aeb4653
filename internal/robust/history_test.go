package robust

import (
	"slices"
	"time"
)

// Promises, as docs/access.md, docs/nacos.md and the README publish them.
const (
	editHolds     = time.Second             // after an edit, while Nacos answers
	registryHolds = 2500 * time.Millisecond // an in-place edit of a registry entry amid others: 1.5 s at the latest, and then the above
	outageHolds   = 5 * time.Second         // after Nacos answers again
	storedAfter   = time.Second             // what was known for so long is on disk
	refusalHolds  = 5 * time.Second         // the same after logins or lists were refused
	diskBack      = 31 * time.Second        // after there is room again, what was not written is
	readyWithin   = 2 * time.Second         // of a start with a store
)

// history is what a document meant from instants on. A version may mean one of several things, where it depends on what the
// proxy has seen: a document that is rejected leaves in force what was known before it.
type history[T any] []version[T]

type version[T any] struct {
	from time.Time
	may  []*T // nil: there is no document
	good []*T // where it is rejected: what may be the last good version
	bad  bool
	left func(*T) []*T // what is left in force of a good version
}

// set appends a version.
func (h *history[T]) set(at time.Time, may ...*T) { *h = append(*h, version[T]{from: at, may: may}) }

// writing notes that a version is being written: it may hold, or what may have held before.
func (h *history[T]) writing(at time.Time, next *T) {
	*h = append(*h, version[T]{from: at, may: append(h.possible(at), next), good: append(h.good(at), next), bad: true})
}

// restart notes that a proxy begins anew with what was stored at floor or later: of a document whose newest version is rejected,
// the last good one may be one of then.
func (h *history[T]) restart(at, floor time.Time) {
	if len(*h) == 0 {
		return
	}
	last := (*h)[len(*h)-1]
	if last.left == nil {
		return
	}
	last.from, last.good, last.may = at, h.good(floor), nil
	for _, before := range last.good {
		last.may = append(last.may, last.left(before)...)
	}
	*h = append(*h, last)
}

// again appends the newest version once more: only now is it written.
func (h *history[T]) again() {
	last := (*h)[len(*h)-1]
	before := last
	if len(*h) > 1 {
		before = (*h)[len(*h)-2]
		(*h)[len(*h)-1].may = append(slices.Clone(last.may), before.may...)
	}
	last.from = time.Now()
	*h = append(*h, last)
}

// possible returns what the document may mean to a proxy that knows what was in force at since, or anything newer.
func (h history[T]) possible(since time.Time) []*T {
	return h.of(since, func(v version[T]) []*T { return v.may })
}

// good returns what may be the last good version.
func (h history[T]) good(since time.Time) []*T {
	return h.of(since, func(v version[T]) []*T {
		if v.bad {
			return v.good
		}
		return v.may
	})
}

func (h history[T]) of(since time.Time, meaning func(version[T]) []*T) (may []*T) {
	first := 0
	for i := range h {
		if !h[i].from.After(since) {
			first = i
		}
	}
	if len(h) == 0 || h[0].from.After(since) {
		may = append(may, nil)
	}
	if len(h) > 0 {
		for _, v := range h[first:] {
			may = append(may, meaning(v)...)
		}
	}
	return may
}

// knowledge says how old what the proxy knows may be at most.
type knowledge struct {
	down      bool          // Nacos does not answer, or not as it should
	floor     time.Time     // when it last began not to: how old what was known may have been
	back      time.Time     // when it last answered again
	slack     time.Duration // that a machine may be slower than the promises
	refused   bool          // while it did not, logins or lists were refused
	diskFull  bool
	diskFloor time.Time // what was on disk when the disk became full
	diskBack  time.Time // when there was room again
}

// since returns the instant that everything the proxy knows in memory is at least as new as.
func (k *knowledge) since(now time.Time) time.Time {
	if k.down || k.recovering(now) {
		return k.floor
	}
	return now.Add(-editHolds - k.slack)
}

// stored returns the same of what is on disk.
func (k *knowledge) stored(now time.Time) time.Time {
	if k.diskFull || now.Before(k.diskBack.Add(diskBack)) && !k.diskFloor.IsZero() {
		return k.diskFloor
	}
	return k.since(now).Add(-storedAfter)
}

// recovering reports whether Nacos has not answered for long enough yet.
func (k *knowledge) recovering(now time.Time) bool {
	holds := outageHolds
	if k.refused {
		holds = refusalHolds
	}
	return now.Before(k.back.Add(holds + k.slack))
}

func (k *knowledge) goDown(now time.Time) {
	if k.down {
		return
	}
	k.refused = k.refused && k.recovering(now)
	k.floor, k.down = k.since(now), true
}

// comeBack notes that Nacos answers from at on.
func (k *knowledge) comeBack(at time.Time) {
	if k.down {
		k.down = false
		if at.After(k.back) {
			k.back = at
		}
	}
}

// restart notes that the process begins anew with what is on disk.
func (k *knowledge) restart(now time.Time) {
	floor := k.stored(now)
	k.refused = k.refused && (k.down || k.recovering(now))
	if !k.down {
		k.back = now
	}
	k.floor = floor
}

func anyOf[T any](all []*T, f func(*T) bool) bool { return slices.ContainsFunc(all, f) }

// lose notes that a store was lost or damaged: until the source has been read the document may be unknown, and one whose newest
// version is rejected for longer.
func (h *history[T]) lose(at, since time.Time, as *T) {
	if len(*h) == 0 {
		return
	}
	last := (*h)[len(*h)-1]
	*h = append(*h, version[T]{from: at, may: append(h.possible(since), as), good: append(h.good(since), as), bad: true})
	if last.bad {
		last.may, last.good = append(slices.Clone(last.may), as), append(slices.Clone(last.good), as)
	}
	last.from = at
	*h = append(*h, last)
}
