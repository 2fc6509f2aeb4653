package robust

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// shrink returns a schedule of as few and as simple steps as it can find that still fails: delta debugging over the steps, then
// over what is in each. It gives up after a number of runs.
func shrink(s schedule, runs int, fails func(schedule) bool) schedule {
	try := func(candidate schedule) bool {
		if runs--; runs < 0 {
			return false
		}
		return fails(candidate)
	}
	for size := (len(s) + 1) / 2; size > 0; {
		removed := false
		for at := 0; at < len(s); {
			without := slices.Delete(slices.Clone(s), at, min(at+size, len(s)))
			if try(without) {
				s, removed = without, true
			} else {
				at += size
			}
		}
		switch {
		case size > 1:
			size /= 2
		case !removed:
			size = 0
		}
	}
	for i := range s {
		for _, simpler := range simplifications {
			for {
				candidate := slices.Clone(s)
				if !simpler(&candidate[i]) || !try(candidate) {
					break
				}
				s = candidate
			}
		}
	}
	return s
}

// simplifications each make a step simpler, if they can.
var simplifications = []func(*step) bool{
	func(x *step) bool { return differs(&x.Wait, 0) },
	func(x *step) bool { return differs(&x.Gap, 0) },
	func(x *step) bool { return differs(&x.Off, false) },
	func(x *step) bool { return differs(&x.Bad, "") },
	func(x *step) bool { return differs(&x.InPlace, false) },
	func(x *step) bool { return differs(&x.Last, false) },
	func(x *step) bool { return shorter(&x.All) },
	func(x *step) bool { return shorter(&x.In) },
	func(x *step) bool { return shorter(&x.Keys) },
	func(x *step) bool { return shorter(&x.Has) },
	func(x *step) bool {
		names := slices.Sorted(maps.Keys(x.Tools))
		if len(names) == 0 {
			return false
		}
		x.Tools = maps.Clone(x.Tools)
		delete(x.Tools, names[0])
		return true
	},
}

func differs[T comparable](field *T, to T) bool {
	was := *field
	*field = to
	return was != to
}

func shorter[T any](list *[]T) bool {
	if len(*list) == 0 {
		return false
	}
	*list = slices.Clone((*list)[:len(*list)-1])
	return true
}

// TestShrinkFindsTheSmallest has a failure that takes two steps with something in them, in the right order, hidden among others.
// Seen red with chunks of one step left out, and with what is in steps left as it is.
func TestShrinkFindsTheSmallest(t *testing.T) {
	needs := func(s schedule) bool {
		first := slices.IndexFunc(s, func(x step) bool { return x.Do == "nacos-kill" })
		return first >= 0 && slices.ContainsFunc(s[first:], func(x step) bool { return x.Do == "grants" && slices.Contains(x.All, granteeStep{To: "@red"}) })
	}
	var s schedule
	for seed := uint64(1); !needs(s); seed++ {
		s = generate(seed, 30)
	}
	runs := 0
	got := shrink(s, 1000, func(c schedule) bool { runs++; return needs(c) })
	if len(got) != 2 || !needs(got) || len(got[1].All) != 1 || len(got[1].Tools) != 0 || got[0].Wait+got[1].Wait != 0 {
		t.Errorf("%d steps after %d runs:\n%s", len(got), runs, got)
	}
}

// TestScheduleReadsAsWritten: what a failing run prints is what a replay reads.
func TestScheduleReadsAsWritten(t *testing.T) {
	for seed := range uint64(20) {
		s := generate(seed, 40)
		again, err := parse([]byte("# a comment\n\n" + s.String()))
		if err != nil {
			t.Fatal(err)
		}
		if again.String() != s.String() {
			t.Errorf("seed %d:\n%s\nread as\n%s", seed, s, again)
		}
	}
	if _, err := parse([]byte(`{"do":"wait","wiat":"1s"}`)); err == nil {
		t.Error("an unknown field is taken")
	}
	if time.Duration(func(s schedule) duration { return s[len(s)-2].Wait }(generate(1, 1))) == 0 {
		t.Error("the documents that a schedule begins with are given no time")
	}
}
