// Command allocs compares the allocations of micro-benchmarks with those of a kept run and fails where one needs more.
// It says nothing of time, which on a shared machine is no ground to refuse a change.
package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"golang.org/x/perf/benchfmt"
)

// What a benchmark may need above the kept run: nothing up to fifty allocations, two in a hundred beyond (connections, and
// pools that a collection emptied, show in those that go over a socket). Bytes depend on sizes of buffers that grew.
const (
	moreAllocs = .02
	moreBytes  = .25
	someBytes  = 64
)

// cost is the least that a benchmark took in any of its runs: only the least is the code's own.
type cost struct{ allocs, bytes float64 }

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: allocs KEPT NEW, both as printed by go test -bench -benchmem")
		os.Exit(2)
	}
	kept, err := read(os.Args[1])
	if err == nil {
		var now map[string]cost
		if now, err = read(os.Args[2]); err == nil {
			err = compare(os.Stdout, kept, now)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "allocs:", err)
		os.Exit(1)
	}
}

// read gives the cost of each benchmark in a file, by package and name.
func read(path string) (map[string]cost, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f, path)
}

func parse(in io.Reader, name string) (map[string]cost, error) {
	out := map[string]cost{}
	r := benchfmt.NewReader(in, name)
	for r.Scan() {
		res, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		allocs, haveAllocs := res.Value("allocs/op")
		bytes, haveBytes := res.Value("B/op")
		if !haveAllocs || !haveBytes {
			return nil, fmt.Errorf("read %s: %s has no allocations: was it run with -benchmem?", name, res.Name)
		}
		base, _ := res.Name.Parts() // sub-benchmarks belong to the name, the number of processors does not
		key := res.GetConfig("pkg") + " " + string(base)
		for _, part := range second(res.Name.Parts()) {
			if part[0] != '-' {
				key += string(part)
			}
		}
		c, seen := out[key]
		if !seen {
			c = cost{allocs, bytes}
		}
		out[key] = cost{min(c.allocs, allocs), min(c.bytes, bytes)}
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read %s: no benchmarks in it", name)
	}
	return out, nil
}

func second[A, B any](_ A, b B) B { return b }

// compare prints what differs and fails if anything needs more than it did, or is not measured any more.
func compare(w io.Writer, kept, now map[string]cost) error {
	worse := 0
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		was, is := kept[name], now[name]
		_, there := now[name]
		switch {
		case !there:
			fmt.Fprintf(w, "%s: gone\n", name)
			worse++
		case is.allocs > was.allocs+max(.5, was.allocs*moreAllocs) || is.bytes > was.bytes*(1+moreBytes)+someBytes:
			fmt.Fprintf(w, "%s: %.0f allocations and %.0f B an operation, were %.0f and %.0f: MORE\n", name, is.allocs, is.bytes, was.allocs, was.bytes)
			worse++
		case is.allocs < was.allocs-max(.5, was.allocs*moreAllocs):
			fmt.Fprintf(w, "%s: %.0f allocations and %.0f B an operation, were %.0f and %.0f: less, keep it\n", name, is.allocs, is.bytes, was.allocs, was.bytes)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, there := kept[name]; !there {
			fmt.Fprintf(w, "%s: %.0f allocations and %.0f B an operation: new, not compared\n", name, now[name].allocs, now[name].bytes)
		}
	}
	if worse > 0 {
		return errors.New("benchmarks allocate more than those kept; if that is meant, scripts/bench-allocs --keep keeps the new numbers")
	}
	fmt.Fprintf(w, "allocs: %d benchmarks, none needs more than it did\n", len(kept))
	return nil
}
