package convert

import "sync/atomic"

// lateSchema is what arguments must be. Where quickCheck tells of all usual calls, the compiled schema is dropped and made
// again for the first call that needs it: it is half of what a tool takes, in a dozen objects for each argument, and a
// thousand services hold ten thousand tools.
type lateSchema struct {
	raw      []byte // a part of the tool's Entry
	compiled atomic.Pointer[schema]
}

// validate is schema.validate.
func (l *lateSchema) validate(v any, depth, size int) []string {
	s := l.compiled.Load()
	if s == nil {
		var err error
		if s, _, err = compileSchema(l.raw); err != nil { // it has been compiled before
			return []string{"the arguments cannot be validated"}
		}
		l.compiled.Store(s)
	}
	return s.validate(v, depth, size)
}
