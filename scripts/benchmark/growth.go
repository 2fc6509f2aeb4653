//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// growth measures what many services and steady edits cost.
func (b *bench) growth() error {
	_, backend, err := b.role("backend")
	if err != nil {
		return err
	}
	var subjects []*subject
	var procs []*process
	for _, size := range []struct {
		name   string
		others int
	}{{"small", 8}, {"large", b.services - 2}} {
		dir := b.dir(size.name)
		if err := writeRegistry(dir, backend, b.consumers, size.others); err != nil {
			return err
		}
		p, address, err := b.serve(size.name, dir)
		if err != nil {
			return err
		}
		s := b.subject(passthrough, p, address, "/mcp/echo")
		if err := warm(s); err != nil {
			return err
		}
		if size.name == "large" {
			if err := b.fill(p, address, size.others); err != nil {
				return err
			}
		}
		subjects, procs = append(subjects, s), append(procs, p)
	}
	for _, p := range procs {
		p.quiet()
	}
	small, large := subjects[0], subjects[1]
	var bySize, byEdits, spikes, cost []float64
	for round := range b.rounds {
		pair := []*subject{small, large}
		if round%2 == 1 {
			pair[0], pair[1] = large, small
		}
		rates := map[*subject]turn{}
		for _, s := range pair {
			if rates[s], err = s.turn(32, b.loud); err != nil {
				return err
			}
		}
		stop := b.edit(b.dir("large"), round, min(b.services-2, 1000), 20*time.Millisecond)
		edited, err := large.turn(32, b.loud)
		stop()
		if err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond) // the last edits
		bySize = append(bySize, rates[large].rate/rates[small].rate)
		cost = append(cost, float64(rates[large].cpu)/float64(rates[small].cpu))
		byEdits = append(byEdits, edited.rate/rates[large].rate)
		spikes = append(spikes, float64(edited.at-rates[large].at)/1e6)
	}
	r := b.result
	r.measure(measure{Name: fmt.Sprintf("%d services / 10, calls/s at c=32", b.services), Goal: .95}, bySize...)
	r.measure(measure{Name: fmt.Sprintf("%d services / 10, CPU per call", b.services), Goal: 1.05, AtMost: true}, cost...)
	r.measure(measure{Name: "50 edits/s / none, calls/s at c=32", Goal: .9}, byEdits...)
	r.measure(measure{Name: "50 edits/s, added to the 99.9th percentile", Unit: " ms", Goal: 5, AtMost: true}, spikes...)
	rss, err := procs[1].settled()
	if err != nil {
		return err
	}
	r.measure(measure{Name: fmt.Sprintf("resident: %d services × 10 tools, %d consumers, 1,024 compiled", b.services, b.consumers),
		Unit: " MB", Goal: 512, AtMost: true}, float64(rss)/1e6)
	return nil
}

// fill calls as many services as are kept compiled.
func (b *bench) fill(p *process, address string, others int) error {
	for i := range min(1024, others) {
		s := &subject{name: "other service", address: address}
		s.request, s.expect = getItem(fmt.Sprintf("/mcp/other%d", i), "tool_3", 1) // bench0 may call them all
		c, err := dial(address)
		if err != nil {
			return err
		}
		for try := 0; ; try++ { // services are read after the proxy is up
			if err = c.call(s, serial.Add(1)); err == nil || try == 100 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		c.c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// edit changes a document out of many every so often until stopped.
func (b *bench) edit(dir string, round, documents int, every time.Duration) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(every)
		defer t.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-t.C:
			}
			path := filepath.Join(dir, "config", "proxy-grants", fmt.Sprintf("other%d.yaml", i%documents))
			next := path + ".tmp"
			if os.WriteFile(next, []byte(otherGrants(round*1000+i+1)), 0o600) == nil {
				_ = os.Rename(next, path)
			}
		}
	}()
	return func() { close(done); <-ended }
}
