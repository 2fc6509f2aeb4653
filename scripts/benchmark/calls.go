//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// Names of subjects, as tables have them.
const (
	direct      = "backend direct"
	plainProxy  = "ReverseProxy"
	passthrough = "passthrough"
	plainAPI    = "API direct"
	plainFront  = "ReverseProxy to API"
	conversion  = "conversion"
	sdkServer   = "go-sdk server"
)

// calls compares small calls through everything.
func (b *bench) calls() error {
	back, backend, err := b.role("backend")
	if err != nil {
		return err
	}
	rev, reverse, err := b.role("reverse", "http://"+backend)
	if err != nil {
		return err
	}
	sdk, sdkAddress, err := b.role("gosdk", "http://"+backend)
	if err != nil {
		return err
	}
	if err := writeRegistry(b.dir("registry"), backend, b.consumers, 8); err != nil {
		return err
	}
	proxy, address, err := b.serve("proxy", b.dir("registry"))
	if err != nil {
		return err
	}
	all := []*subject{
		b.subject(direct, back, backend, "/mcp"),
		b.subject(plainProxy, rev, reverse, "/mcp"),
		b.subject(passthrough, proxy, address, "/mcp/echo"),
		b.subject(plainFront, rev, reverse, ""),
		b.subject(conversion, proxy, address, "/mcp/store"),
		b.subject(plainAPI, back, backend, ""),
		b.subject(sdkServer, sdk, sdkAddress, "/"),
	}
	for peer := range strings.SplitSeq(b.peers, ",") {
		if name, target, ok := strings.Cut(peer, "="); ok {
			host, path, _ := strings.Cut(strings.TrimPrefix(target, "http://"), "/")
			all = append(all, b.subject("peer "+name, nil, host, "/"+path))
		}
	}
	for _, s := range all {
		if err := warm(proxy, s); err != nil {
			return err
		}
	}
	proxy.quiet()
	for round := range b.rounds {
		for i := range all {
			s := all[(i+round)%len(all)] // nobody always comes after the same one
			if err := b.take(s, 1, b.serial); err != nil {
				return err
			}
		}
		for i := range all {
			if err := b.take(all[(i+round)%len(all)], 32, b.loud); err != nil {
				return err
			}
		}
	}
	for _, s := range all {
		s.close()
	}
	b.callRatios()
	return nil
}

// subject is called at path; which call it is follows from its name.
func (b *bench) subject(name string, p *process, address, path string) *subject {
	s := &subject{name: name, process: p, address: address}
	switch name {
	case plainFront, plainAPI:
		s.request, s.expect = plainItem()
	case conversion, sdkServer:
		s.request, s.expect = getItem(path, "get_item", b.consumers)
	default:
		s.request, s.expect = echo(path, b.consumers)
	}
	return s
}

func (b *bench) take(s *subject, clients int, d time.Duration) error {
	t, err := s.turn(clients, d)
	if err != nil {
		return err
	}
	b.result.add(s.name, clients, t)
	return nil
}

// warm waits until s answers correctly, then lets it run a little.
func warm(p *process, s *subject) error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := dial(s.address)
		if err == nil {
			err = c.call(s, serial.Add(1))
			c.c.Close()
		}
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s never answered: %w", s.name, err)
		}
		select {
		case <-p.done:
			return p.failed("ended")
		default:
		}
	}
	_, err := s.turn(8, 200*time.Millisecond)
	return err
}

func (b *bench) callRatios() {
	r := b.result
	rate := func(name string) []float64 { return r.row(name, 32).rates }
	p99 := func(name string) []float64 { return r.row(name, 32).p99s }
	cost := func(name string) []float64 { return r.row(name, 32).costs }
	added := func(name, below string) []float64 {
		out := make([]float64, b.rounds)
		for i := range out {
			out[i] = r.row(name, 1).p50s[i] - r.row(below, 1).p50s[i]
		}
		return out
	}
	r.measure(measure{Name: "passthrough / ReverseProxy, calls/s at c=32", Goal: 1, Aim: 1.25}, ratios(rate(passthrough), rate(plainProxy))...)
	r.measure(measure{Name: "passthrough / ReverseProxy, latency added at c=1", Goal: 1.1, Aim: .8, AtMost: true},
		ratios(added(passthrough, direct), added(plainProxy, direct))...)
	r.measure(measure{Name: "passthrough / ReverseProxy, p99 at c=32", Goal: 1, AtMost: true}, ratios(p99(passthrough), p99(plainProxy))...)
	r.measure(measure{Name: "passthrough / ReverseProxy, CPU per call at c=32"}, ratios(cost(passthrough), cost(plainProxy))...)
	r.measure(measure{Name: "conversion / ReverseProxy to API, calls/s at c=32", Goal: .85, Aim: 1}, ratios(rate(conversion), rate(plainFront))...)
	r.measure(measure{Name: "conversion / ReverseProxy to API, CPU per call at c=32"}, ratios(cost(conversion), cost(plainFront))...)
	r.measure(measure{Name: "conversion / go-sdk server, calls/s at c=32", Goal: 8}, ratios(rate(conversion), rate(sdkServer))...)
	for _, s := range r.Subjects {
		if name, ok := strings.CutPrefix(s.Subject, "peer "); ok && s.Clients == 32 {
			r.measure(measure{Name: "passthrough / " + name + ", calls/s at c=32", Goal: 3.2, Aim: 4}, ratios(rate(passthrough), rate(s.Subject))...)
		}
	}
}

// profile has the proxy do its two main jobs under the profiler.
func (b *bench) profile() error {
	_, backend, err := b.role("backend")
	if err != nil {
		return err
	}
	if err := writeRegistry(b.dir("profiled"), backend, b.consumers, 8); err != nil {
		return err
	}
	p, address, err := b.role("proxy", b.dir("profiled"), "bin/proxy.pgo")
	if err != nil {
		return err
	}
	for _, s := range []*subject{b.subject(passthrough, p, address, "/mcp/echo"), b.subject(conversion, p, address, "/mcp/store")} {
		if b.services == 1 && s.name == conversion || b.services == 2 && s.name == passthrough {
			continue
		}
		if err := warm(p, s); err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		if _, err := s.turn(32, time.Duration(b.rounds)*b.loud); err != nil {
			return err
		}
		if _, err := s.turn(1, time.Duration(b.rounds)*b.serial/2); err != nil {
			return err
		}
		s.close()
	}
	return nil
}
