//go:build race

package bubble

// Race reports whether the race detector is built in. It makes bubbles several times slower: tests that try many schedules
// try fewer then. It also makes sync.Pool forget at random, so that tests that count allocations cannot.
const Race = true
