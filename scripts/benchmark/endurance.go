//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Endurance: everything that clients do, over and over, while the proxy's live heap is looked at. What one call leaves
// behind shows as a slope. Only an hour shows what time itself leaves behind: --only endurance --for 1h --pace 200.

// sample is the proxy at one moment, after a forced collection.
type sample struct {
	at         float64 // seconds since the first
	heap       float64 // live, MB
	resident   float64 // MB
	goroutines float64
}

const enduranceClients = 8

// endurance loads the proxy for b.lasts and fits what grows.
func (b *bench) endurance() error {
	_, backend, err := b.role("backend")
	if err != nil {
		return err
	}
	dir := b.dir("endurance")
	consumers := min(b.consumers, 1000)
	if err := writeRegistry(dir, backend, consumers, 100); err != nil {
		return err
	}
	every := max(b.lasts/120, 500*time.Millisecond)
	p, address, err := b.role("watched", dir, b.dir("samples"), every.String())
	if err != nil {
		return err
	}
	s := &subject{name: "endurance", address: address, process: p}
	s.request, s.expect = getItem("/mcp/store", "get_item", consumers)
	if err := warm(s); err != nil {
		return err
	}
	s.close()
	if err := b.fill(p, address, 98); err != nil { // compiled services stay: they are a cache, not growth
		return err
	}
	p.quiet()
	calls, err := b.endure(address, dir, consumers)
	if err != nil {
		return err
	}
	all, err := readSamples(b.dir("samples"))
	if err != nil {
		return err
	}
	return b.growthOver(all, calls)
}

// endure has clients do everything, and documents edited, for b.lasts.
func (b *bench) endure(address, dir string, consumers int) (calls int64, err error) {
	var done atomic.Int64
	errs := make([]error, enduranceClients)
	stop := b.edit(dir, 0, min(98, b.services), 500*time.Millisecond)
	defer stop()
	var wg sync.WaitGroup
	began := time.Now()
	for i := range errs {
		wg.Go(func() {
			w := &worker{address: address, consumers: consumers}
			defer w.close()
			for n := 0; time.Since(began) < b.lasts && errs[i] == nil; n++ {
				if b.pace > 0 { // on time, or late and catching up
					due := began.Add(time.Duration(float64(n) * enduranceClients / b.pace * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				errs[i] = w.step(serial.Add(1))
				done.Add(1)
			}
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != nil {
			return 0, fmt.Errorf("after %s: %w", time.Since(began).Round(time.Second), e)
		}
	}
	return done.Load(), nil
}

// worker is one client that does all that clients do.
type worker struct {
	address   string
	consumers int
	c         *conn
}

func (w *worker) close() {
	if w.c != nil {
		w.c.c.Close()
		w.c = nil
	}
}

// step is one thing out of a hundred; which follows from n. Every answer is checked.
func (w *worker) step(n uint64) error {
	if w.c == nil {
		c, err := dial(w.address)
		if err != nil {
			return err
		}
		w.c = c
	}
	s := &subject{name: "endurance", address: w.address}
	switch turn := n % 100; {
	case turn < 45:
		s.request, s.expect = echo("/mcp/echo", w.consumers)
	case turn < 85:
		s.request, s.expect = getItem("/mcp/store", "get_item", w.consumers)
	case turn < 90:
		s.request, s.expect = w.list("/mcp/store", "get_item")
	case turn < 94:
		s.request, s.expect = w.list("/mcp/echo", "echo")
	case turn < 96: // a key that nobody has
		w.c.out = post(w.c.out[:0], "/mcp/store", uint64(w.consumers)+n, []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		return w.expect(401)
	case turn < 98: // a service out of many, in the cache or not
		s.request, s.expect = getItem(fmt.Sprintf("/mcp/other%d", n/100%98), "tool_3", 1)
	default: // a session with a stream, left without a word
		c, err := openStream(w.address, []string{"store", "echo"}[turn-98])
		if c != nil {
			c.c.Close()
		}
		return err
	}
	return w.c.call(s, n)
}

func (w *worker) list(path, tool string) (request, expect func([]byte, uint64) []byte) {
	return func(dst []byte, n uint64) []byte {
			return post(dst, path, spread(n, w.consumers), fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, n))
		}, func(dst []byte, _ uint64) []byte {
			return fmt.Appendf(dst, `"name":"%s"`, tool)
		}
}

// expect sends what is prepared and looks at the status; the connection is given up, as clients do after an error.
func (w *worker) expect(want int) error {
	defer w.close()
	if _, err := w.c.c.Write(w.c.out); err != nil {
		return err
	}
	status, err := w.c.read()
	if err != nil || status != want {
		return fmt.Errorf("answered %d, want %d: %w", status, want, err)
	}
	return nil
}

func readSamples(path string) ([]sample, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []sample
	for line := range strings.Lines(string(text)) {
		var s sample
		if _, err := fmt.Sscan(line, &s.at, &s.heap, &s.resident, &s.goroutines); err != nil {
			return nil, fmt.Errorf("read sample %q: %w", strings.TrimSpace(line), err)
		}
		out = append(out, s)
	}
	return out, nil
}

// growthOver fits lines through the samples after the first third, in which caches and pools fill.
func (b *bench) growthOver(all []sample, calls int64) error {
	all = all[len(all)/3:]
	if len(all) < 10 {
		return fmt.Errorf("only %d samples: let it last longer than %s", len(all), b.lasts)
	}
	span := all[len(all)-1].at - all[0].at
	fit := func(of func(sample) float64) []float64 { return slopes(all, of, span) }
	r, took := b.result, b.lasts.Round(time.Second)
	r.measure(measure{Name: "endurance, calls in " + took.String()}, float64(calls))
	r.measure(measure{Name: "endurance, live heap", Unit: " MB"}, values(all, func(s sample) float64 { return s.heap })...)
	r.measure(measure{Name: "endurance, growth of the live heap from first to last", Unit: " MB", Goal: 1, AtMost: true}, fit(func(s sample) float64 { return s.heap })...)
	r.measure(measure{Name: "endurance, growth of resident memory", Unit: " MB", Goal: 4, AtMost: true}, fit(func(s sample) float64 { return s.resident })...)
	r.measure(measure{Name: "endurance, growth of goroutines", Goal: 100, AtMost: true}, fit(func(s sample) float64 { return s.goroutines })...)
	return nil
}

func values(all []sample, of func(sample) float64) []float64 {
	out := make([]float64, len(all))
	for i, s := range all {
		out[i] = of(s)
	}
	return out
}

// slopes are those of all pairs of samples at least a quarter of the run apart, times the run: their median is the
// estimate of Theil and Sen, which a few odd samples do not move.
func slopes(all []sample, of func(sample) float64, span float64) []float64 {
	var out []float64
	for i, a := range all {
		for _, z := range all[i+1:] {
			if z.at-a.at >= span/4 {
				out = append(out, (of(z)-of(a))/(z.at-a.at)*span)
			}
		}
	}
	slices.Sort(out)
	return out
}
