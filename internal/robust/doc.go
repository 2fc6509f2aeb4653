// Package robust runs random schedules of edits and faults against a whole proxy and compares, at many moments, what callers get
// with what internal/robust/model says they may get. A schedule runs in virtual time, on a network in memory and a fake Nacos, so
// that thousands of them take minutes; a few run as processes against a real one. docs/reliability.md says how to read and repeat
// them. It holds tests only.
package robust
