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
	lasts        time.Duration
	pace         float64 // calls/s of the endurance part; 0: as many as its clients manage
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
	flag.IntVar(&p.streams, "streams", 5000, "idle streams")
	flag.StringVar(&p.proxy, "proxy", "bin/nacos-mcp-proxy", "the proxy's binary")
	flag.StringVar(&p.out, "out", "bin/bench.json", "where the results go")
	flag.StringVar(&p.kept, "kept", "scripts/benchmark/kept.json", "the run to compare with")
	flag.StringVar(&p.only, "only", "", "calls, growth, footprint, streams, micro or endurance: that part alone; or peers (with --peers); or profile, for bin/proxy.pgo and its flame graph bin/flame.svg")
	flag.DurationVar(&p.lasts, "for", time.Minute, "how long the endurance part lasts")
	flag.Float64Var(&p.pace, "pace", 0, "calls/s of the endurance part; 0 for as many as eight clients manage")
	flag.StringVar(&p.peers, "peers", "", "for --only peers: where scripts/bench-peers has installed other proxies")
	flag.BoolVar(&p.keep, "keep", false, "make this the run to compare with")
	flag.Parse()
	if *quick {
		p.rounds, p.serial, p.loud, p.consumers, p.services, p.streams = 3, 100*time.Millisecond, 150*time.Millisecond, 1000, 1000, 100
		p.lasts = 10 * time.Second
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
	}{{"calls", b.calls}, {"growth", b.growth}, {"footprint", b.footprint}, {"streams", b.streamsPart}, {"micro", b.micro}, {"endurance", b.endurance}, {"peers", b.peersPart}, {"profile", b.profile}} {
		if p.only != part.name && (p.only != "" || part.name == "profile" || part.name == "peers") {
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
