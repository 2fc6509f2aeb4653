//go:build !race

package bubble

// Race reports whether the race detector is built in. It makes bubbles several times slower: tests that try many schedules
// try fewer then.
const Race = false
