//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

const module = "github.com/nacos-mcp-proxy/nacos-mcp-proxy/"

// parts say what a sample was spent on: the first that names a function on its stack, or the function at its top.
var parts = []struct {
	label string
	top   bool // only the top counts
	names []string
}{
	{"garbage collection", false, []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.gcStart", "runtime.deductSweepCredit"}},
	{"allocation", false, []string{"runtime.mallocgc", "runtime.newobject", "runtime.makeslice", "runtime.growslice"}},
	{"system calls: reads, writes, a look at an idle connection, waiting for events", true, []string{"internal/runtime/syscall", "runtime.futex", "runtime.epoll", "runtime.usleep", "syscall."}},
	{"scheduler, timers, deadlines", false, []string{"runtime.mcall", "runtime.schedule", "internal/poll.runtime_", "time.(*Timer)", "runtime.(*timer"}},
	{"admission: key, consumer, grants", false, []string{module + "internal/gateway.(*call).admit"}},
	{"conversion without its call", false, []string{module + "internal/convert"}},
	{"calls to backends: connections, requests, heads", false, []string{module + "internal/upstream"}},
	{"the relay", false, []string{module + "internal/relay"}},
	{"the rest of the gateway: routing, envelope, audit, metrics", false, []string{module + "internal/gateway", module + "internal/wire"}},
	{"the listener: requests, answers", false, []string{module + "internal/listener"}},
	{"the rest", false, []string{""}},
}

// printShares prints what the samples of a profile were spent on, as docs/performance.md shows it.
func printShares(w io.Writer, p *profile.Profile) {
	value := len(p.SampleType) - 1
	sums, all := make([]int64, len(parts)), int64(0)
	for _, s := range p.Sample {
		var stack []string
		for _, l := range s.Location {
			for _, line := range l.Line {
				stack = append(stack, line.Function.Name)
			}
		}
		sums[partOf(stack)] += s.Value[value]
		all += s.Value[value]
	}
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(sums[b] - sums[a]) })
	fmt.Fprint(w, "| part | of all samples |\n|---|---|\n")
	for _, i := range order {
		fmt.Fprintf(w, "| %s | %.0f %% |\n", parts[i].label, 100*float64(sums[i])/float64(all))
	}
}

// partOf takes a stack, its top first.
func partOf(stack []string) int {
	for i, p := range parts {
		look := stack
		if p.top {
			look = stack[:min(1, len(stack))]
		}
		for _, name := range look {
			if slices.ContainsFunc(p.names, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				return i
			}
		}
	}
	return len(parts) - 1
}
