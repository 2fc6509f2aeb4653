package main

import (
	"strings"
	"testing"
)

const keptRun = `pkg: example.org/x
BenchmarkScan/small-2   100   170 ns/op   0 B/op   0 allocs/op
BenchmarkCall-2         100   900 ns/op   4000 B/op   31 allocs/op
BenchmarkCall-2         100   800 ns/op   3900 B/op   30 allocs/op
BenchmarkBig-2          100   800 ns/op   90000 B/op   2000 allocs/op
`

func TestOnlyMoreAllocationsFail(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"the same", "", "", ""},
		{"slower", "170 ns", "900 ns", ""},
		{"more bytes within the margin", "3900 B", "4500 B", ""},
		{"fewer", "30 allocs", "20 allocs", ""},
		{"a pool that was emptied now and then", "2000 allocs", "2039 allocs", ""},
		{"other number of processors", "Scan/small-2", "Scan/small-16", ""},
		{"more than that", "2000 allocs", "2041 allocs", "Big: 2041"},
		{"one more where there were none", "0 allocs", "1 allocs", "Scan/small: 1 allocations"},
		{"one more in every run", "30 allocs", "32 allocs", "Call: 31 allocations"},
		{"many more bytes", "90000 B", "190000 B", "Big: 2000 allocations and 190000 B"},
		{"a benchmark that is gone", "BenchmarkCall", "BenchmarkOther", "Call: gone"},
		{"another one of the same name", "Scan/small", "Scan/large", "Scan/small: gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, err := parse(strings.NewReader(keptRun), "kept")
			if err != nil {
				t.Fatal(err)
			}
			now, err := parse(strings.NewReader(strings.ReplaceAll(keptRun, c.from, c.to)), "now")
			if c.from == "" {
				now, err = parse(strings.NewReader(keptRun), "now")
			}
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err = compare(&out, kept, now)
			if failed := err != nil; failed != (c.want != "") || !strings.Contains(out.String(), c.want) {
				t.Errorf("compare: %v\n%s\nwant %q", err, out.String(), c.want)
			}
		})
	}
}

func TestRunsThatMeasuredNothingAreNotTaken(t *testing.T) {
	for _, text := range []string{"", "PASS\nok x 0.1s\n", "BenchmarkScan-2 100 170 ns/op\n"} {
		if got, err := parse(strings.NewReader(text), "new"); err == nil {
			t.Errorf("parse(%q) = %v, want an error", text, got)
		}
	}
}
