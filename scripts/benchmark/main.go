//go:build linux

// Command benchmark measures the proxy against what a user would pick instead, in one run: subjects take turns in short
// rounds, so that what else the machine does falls on all of them, and medians of per-round ratios are compared.
// It must never report a call that it has not checked, nor compare numbers of different runs.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "role" { // the parts that need a process of their own
		if err := role(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[2]+":", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

// plan is how long and how much is measured.
type plan struct {
	rounds       int
	serial, loud time.Duration // one turn of one subject at c=1 and at c=32
	consumers    int
	services     int // of the big registry
	streams      int
	proxy, kept  string // the binary under test; the run to compare with
	out, only    string
	peers        string
	keep         bool
}

func run() error {
	var p plan
	quick := flag.Bool("quick", false, "fewer rounds, smaller registry: to see that it works")
	flag.IntVar(&p.rounds, "rounds", 9, "turns of every subject")
	flag.DurationVar(&p.serial, "serial", 250*time.Millisecond, "one turn with one client")
	flag.DurationVar(&p.loud, "loud", 400*time.Millisecond, "one turn with 32 clients")
	flag.IntVar(&p.consumers, "consumers", 10_000, "consumers that hold grants")
	flag.IntVar(&p.services, "services", 10_000, "services of the big registry")
	flag.IntVar(&p.streams, "streams", 1000, "idle streams")
	flag.StringVar(&p.proxy, "proxy", "bin/nacos-mcp-proxy", "the proxy's binary")
	flag.StringVar(&p.out, "out", "bin/bench.json", "where the results go")
	flag.StringVar(&p.kept, "kept", "scripts/benchmark/kept.json", "the run to compare with")
	flag.StringVar(&p.only, "only", "", "calls, growth, footprint, streams or micro: that part alone; or profile, for bin/proxy.pgo")
	flag.StringVar(&p.peers, "peers", "", "other proxies in front of the same backend, already running, as name=url,… with the URL of their MCP endpoint")
	flag.BoolVar(&p.keep, "keep", false, "make this the run to compare with")
	flag.Parse()
	if *quick {
		p.rounds, p.serial, p.loud, p.consumers, p.services, p.streams = 3, 100*time.Millisecond, 150*time.Millisecond, 1000, 1000, 100
	}
	work, err := os.MkdirTemp("", "nmp-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{plan: p, work: work, result: newResult(p)}
	defer b.stop()
	for _, part := range []struct {
		name string
		run  func() error
	}{{"calls", b.calls}, {"growth", b.growth}, {"footprint", b.footprint}, {"streams", b.streamsPart}, {"micro", b.micro}, {"profile", b.profile}} {
		if p.only != part.name && (p.only != "" || part.name == "profile") {
			continue
		}
		began := time.Now()
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		b.stop()
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", part.name, time.Since(began).Seconds())
	}
	b.result.print(os.Stdout)
	b.result.compare(os.Stdout, p.kept)
	if err := b.result.write(p.out); err != nil {
		return err
	}
	if p.keep {
		if err := b.result.write(p.kept); err != nil {
			return err
		}
	}
	return b.result.verdict()
}

// bench is one run.
type bench struct {
	plan
	work   string
	procs  []*process
	result *result
}

func (b *bench) dir(name string) string { return filepath.Join(b.work, name) }

// stop ends the processes of the part before.
func (b *bench) stop() {
	for _, p := range b.procs {
		p.stop()
	}
	b.procs = nil
}
