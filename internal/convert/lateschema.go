package convert

import (
	"sync"
	"sync/atomic"
	"weak"
)

// lateSchema is what arguments must be. It is compiled for the first call that needs it, which those that quickCheck can tell
// of do not, and kept while there is room: compiled, a schema is the largest part of a tool, in a dozen objects for each
// argument, and a thousand services hold ten thousand tools.
type lateSchema struct {
	raw      []byte // a part of the tool's Entry
	compiled atomic.Pointer[schema]
	used     atomic.Bool // again, since schemaRoom last looked
	making   sync.Mutex
}

// validate is schema.validate.
func (l *lateSchema) validate(v any, depth, size int) []string {
	s := l.compiled.Load()
	if s == nil {
		if s = l.compile(); s == nil {
			return []string{"the arguments cannot be validated"}
		}
	} else if !l.used.Load() {
		l.used.Store(true)
	}
	return s.validate(v, depth, size)
}

// compile compiles the schema once for all who wait for it; nil if it cannot be, though it could before.
func (l *lateSchema) compile() *schema {
	l.making.Lock()
	defer l.making.Unlock()
	if s := l.compiled.Load(); s != nil {
		return s
	}
	s, _, err := compileSchema(l.raw)
	if err != nil {
		return nil
	}
	l.compiled.Store(s)
	schemas.add(l, s.size.memory())
	return s
}

// memory is about how many bytes a compiled schema takes, with the programs of all its patterns.
func (s *schemaSize) memory() int { return 1200*s.subschemas + 100*s.program + 8*s.ranges + 1000 }

// schemas bounds what all compiled schemas take together, whatever documents people publish and call.
var schemas = schemaRoom{limit: 128 << 20}

// schemaRoom drops compiled schemas that were not used for long where they would take more than the limit. They do not count
// from when their tool is gone.
type schemaRoom struct {
	limit int // bytes

	mu    sync.Mutex
	taken int
	queue []keptSchema // the oldest first
}

type keptSchema struct {
	of   weak.Pointer[lateSchema]
	size int
}

func (r *schemaRoom) add(l *lateSchema, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, keptSchema{weak.Make(l), size})
	r.taken += size
	// Each one in the queue is given a second chance at most.
	for left := 2 * len(r.queue); r.taken > r.limit && left > 0 && len(r.queue) > 1; left-- {
		first := r.queue[0]
		r.queue = r.queue[1:]
		old := first.of.Value()
		if old != nil && old != l && !old.used.CompareAndSwap(true, false) {
			old.compiled.Store(nil)
			old = nil
		}
		if old == nil {
			r.taken -= first.size
			continue
		}
		r.queue = append(r.queue, first)
	}
}
