package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTableAgainstMap edits a table and a plain map alike; no table handed out earlier may change.
func TestTableAgainstMap(t *testing.T) {
	type version struct {
		table *table[string, int]
		want  map[string]int
	}
	rng := rand.New(rand.NewPCG(1, 2))
	current, model := newTable[string, int](), map[string]int{}
	var versions []version
	for round := range 200 {
		e := current.edit()
		for range rng.IntN(20) {
			k := fmt.Sprint("k", rng.IntN(300))
			if rng.IntN(3) == 0 {
				e.remove(k)
				delete(model, k)
			} else {
				e.set(k, round)
				model[k] = round
			}
			if got, ok := e.get(k); ok != (model[k] == round && ok) && got != model[k] {
				t.Fatalf("edit does not see its own change of %s", k)
			}
		}
		current = e.current()
		versions = append(versions, version{current, maps.Clone(model)})
	}
	for i, v := range versions {
		if diff := cmp.Diff(v.want, maps.Collect(v.table.all())); diff != "" {
			t.Fatalf("version %d changed after it was made:\n%s", i, diff)
		}
		if v.table.size != len(v.want) {
			t.Fatalf("version %d: size %d, want %d", i, v.table.size, len(v.want))
		}
	}
}

func TestTableGetDoesNotAllocate(t *testing.T) {
	e := newTable[[32]byte, *int]().edit()
	for i := range 30_000 {
		e.set([32]byte{byte(i), byte(i >> 8)}, new(int))
	}
	tab := e.current()
	key := [32]byte{7, 3}
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := tab.get(key); !ok {
			t.Fatal("entry lost")
		}
	}); n != 0 {
		t.Errorf("get allocates %v times", n)
	}
}

// BenchmarkTableEdit shows what one edit costs at three sizes.
func BenchmarkTableEdit(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := newTable[string, int]().edit()
			for i := range n {
				e.set(fmt.Sprint("service-", i), i)
			}
			t := e.current()
			b.ReportAllocs()
			for b.Loop() {
				e := t.edit()
				e.set("service-7", 1)
				t = e.current()
			}
		})
	}
}
