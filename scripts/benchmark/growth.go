//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// growthTurn is long enough for more than one collection in each turn: in short ones the large heap has one in some, which
// are slow, and none in others.
func growthTurn(loud time.Duration) time.Duration { return 5 * loud / 2 }

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
	for _, s := range subjects { // until the collector of each has noticed that there is work
		if _, err := s.turn(32, growthTurn(b.loud)*3); err != nil {
			return err
		}
	}
	large := subjects[1]
	var bySize, byEdits, spikes, cost []float64
	edited := 0 // turns
	for range b.rounds {
		// There and back again, so that what gets slower or faster meanwhile does so for all.
		var turns [3]turn // small, large, large while it is edited
		for _, i := range []int{0, 1, 2, 2, 1, 0} {
			stop := func() {}
			if i == 2 {
				stop = b.edit(b.dir("large"), edited, min(b.services-2, 1000), 20*time.Millisecond)
				edited++
			}
			t, err := subjects[min(i, 1)].turn(32, growthTurn(b.loud))
			stop()
			if err != nil {
				return err
			}
			turns[i].rate += t.rate / 2
			turns[i].cpu += t.cpu / 2
			turns[i].at += t.at / 2
			if i == 2 {
				procs[1].quiet() // the last edits are read, validated and stored
			}
		}
		bySize = append(bySize, turns[1].rate/turns[0].rate)
		cost = append(cost, float64(turns[1].cpu)/float64(turns[0].cpu))
		byEdits = append(byEdits, turns[2].rate/turns[1].rate)
		spikes = append(spikes, float64(turns[2].at-turns[1].at)/1e6)
	}
	large.close()
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

// edit changes a document out of many every so often until stopped. No document gets a content that it has already, in the
// turn before for instance: that would be no edit. The file beside it is hidden: else it would be a document, too, that comes
// and goes.
func (b *bench) edit(dir string, turn, documents int, every time.Duration) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(every)
		defer t.Stop()
		for n := 1000*turn + 1; ; n++ {
			select {
			case <-done:
				return
			case <-t.C:
			}
			group := filepath.Join(dir, "config", "proxy-grants")
			next := filepath.Join(group, ".next")
			if os.WriteFile(next, []byte(otherGrants(n/documents+n)), 0o600) == nil {
				_ = os.Rename(next, filepath.Join(group, fmt.Sprintf("other%d.yaml", n%documents)))
			}
		}
	}()
	return func() { close(done); <-ended }
}
