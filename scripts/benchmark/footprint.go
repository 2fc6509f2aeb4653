//go:build linux

package main

import (
	"fmt"
	"os"
	"time"
)

// footprint measures the program itself: its file, its start, its memory.
func (b *bench) footprint() error {
	info, err := os.Stat(b.proxy)
	if err != nil {
		return err
	}
	r := b.result
	r.measure(measure{Name: "binary", Unit: " MB", Goal: 40, AtMost: true}, float64(info.Size())/1e6)
	_, backend, err := b.role("backend")
	if err != nil {
		return err
	}
	if err := writeRegistry(b.dir("ten"), backend, 10, 8); err != nil {
		return err
	}
	var starts []float64
	for i := range b.rounds {
		began := time.Now()
		p, address, err := b.serve(fmt.Sprintf("start%d", i), b.dir("ten"))
		if err != nil {
			return err
		}
		s := &subject{name: "first call", address: address}
		s.request, s.expect = getItem("/mcp/store", "get_item", 10)
		for {
			if c, err := dial(address); err == nil {
				err = c.call(s, serial.Add(1))
				c.c.Close()
				if err == nil {
					break
				}
			}
			if time.Since(began) > 20*time.Second {
				return p.failed("did not answer")
			}
			time.Sleep(time.Millisecond)
		}
		starts = append(starts, float64(time.Since(began))/1e6)
		p.stop()
	}
	r.measure(measure{Name: "start to the first answered call, 10 services", Unit: " ms", Goal: 200, AtMost: true}, starts...)
	p, address, err := b.serve("example", "examples/registry")
	if err != nil {
		return err
	}
	if err := p.listens(address); err != nil {
		return err
	}
	rss, err := p.settled()
	if err != nil {
		return err
	}
	r.measure(measure{Name: "resident with the example", Unit: " MB", Goal: 25, AtMost: true}, float64(rss)/1e6)
	return nil
}
