//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// Names of subjects, as tables have them.
const (
	direct      = "backend direct"
	plainProxy  = "ReverseProxy"
	control     = "ReverseProxy, a second one" // the same again: what its ratio is off 1.0 is noise
	passthrough = "passthrough"
	plainAPI    = "API direct"
	plainFront  = "ReverseProxy to API"
	conversion  = "conversion"
	sdkServer   = "go-sdk server"
)

// calls compares small calls through everything.
func (b *bench) calls() error {
	all, err := b.ours()
	if err != nil {
		return err
	}
	if err := b.takeTurns(all, nil); err != nil {
		return err
	}
	b.callRatios()
	return nil
}

// ours starts the subjects that are always there, the backend first, and sees that they answer.
func (b *bench) ours() ([]*subject, error) {
	back, backend, err := b.role("backend")
	if err != nil {
		return nil, err
	}
	rev, reverse, err := b.role("reverse", "http://"+backend)
	if err != nil {
		return nil, err
	}
	again, reverseAgain, err := b.role("reverse", "http://"+backend)
	if err != nil {
		return nil, err
	}
	sdk, sdkAddress, err := b.role("gosdk", "http://"+backend)
	if err != nil {
		return nil, err
	}
	if err := writeRegistry(b.dir("registry"), backend, b.consumers, 8); err != nil {
		return nil, err
	}
	proxy, address, err := b.serve("proxy", b.dir("registry"))
	if err != nil {
		return nil, err
	}
	all := []*subject{
		b.subject(direct, back, backend, "/mcp"),
		b.subject(plainProxy, rev, reverse, "/mcp"),
		b.subject(passthrough, proxy, address, "/mcp/echo"),
		b.subject(control, again, reverseAgain, "/mcp"),
	}
	if b.only != "peers" {
		all = append(all,
			b.subject(plainFront, rev, reverse, ""),
			b.subject(conversion, proxy, address, "/mcp/store"),
			b.subject(plainAPI, back, backend, ""),
			b.subject(sdkServer, sdk, sdkAddress, "/"))
	}
	for _, s := range all {
		if err := warm(s); err != nil {
			return nil, err
		}
	}
	proxy.quiet()
	return all, nil
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

// takeTurns measures all subjects in rounds: with one client call by call, with 32 one after the other. The slow ones have
// turns of their own with one client, too: the others would wait for them.
func (b *bench) takeTurns(quick, slow []*subject) error {
	all := slices.Concat(quick, slow)
	defer func() {
		for _, s := range all {
			s.close()
		}
	}()
	for round := range b.rounds {
		turns, err := single(quick, b.serial)
		if err != nil {
			return err
		}
		for _, s := range slow {
			t, err := s.turn(1, b.serial)
			if err != nil {
				return err
			}
			turns = append(turns, t)
		}
		for i, t := range turns {
			b.result.add(all[i].name, 1, t)
		}
		for i := range all {
			s := all[(i+round)%len(all)] // nobody always comes after the same one
			t, err := s.turn(32, b.loud)
			if err != nil {
				return err
			}
			b.result.add(s.name, 32, t)
		}
	}
	return nil
}

// warm waits until s answers correctly, then lets it run a little.
func warm(s *subject) error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := dial(s.address)
		if err == nil {
			if s.open != nil {
				err = s.open(c)
			}
			if err == nil {
				err = c.call(s, serial.Add(1))
			}
			c.c.Close()
		}
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s never answered: %w", s.name, err)
		}
		select {
		case <-s.process.done:
			return s.process.failed("ended")
		default:
		}
	}
	_, err := s.turn(8, 200*time.Millisecond)
	return err
}

func (b *bench) callRatios() {
	b.passthroughRatios()
	r := b.result
	rate := func(name string) []float64 { return r.row(name, 32).rates }
	r.measure(measure{Name: "conversion / ReverseProxy to API, calls/s at c=32", Goal: .85, Aim: 1}, ratios(rate(conversion), rate(plainFront))...)
	r.measure(measure{Name: "conversion / ReverseProxy to API, CPU per call at c=32"}, ratios(r.row(conversion, 32).costs, r.row(plainFront, 32).costs)...)
	r.measure(measure{Name: "conversion / go-sdk server, calls/s at c=32", Goal: 8}, ratios(rate(conversion), rate(sdkServer))...)
}

// passthroughRatios compares our passthrough with ReverseProxy, and beside each ratio ReverseProxy with itself: as far as that
// is off 1, the machine is not to be trusted.
func (b *bench) passthroughRatios() {
	r := b.result
	rate := func(name string) []float64 { return r.row(name, 32).rates }
	p99 := func(name string) []float64 { return r.row(name, 32).p99s }
	cost := func(name string) []float64 { return r.row(name, 32).costs }
	added := func(name string) []float64 {
		out := make([]float64, b.rounds)
		for i := range out {
			out[i] = r.row(name, 1).p50s[i] - r.row(direct, 1).p50s[i]
		}
		return out
	}
	for _, c := range []struct {
		what string
		of   func(string) []float64
		goal measure
	}{
		{"calls/s at c=32", rate, measure{Goal: 1, Aim: 1.25}},
		{"latency added at c=1", added, measure{Goal: 1.1, Aim: .8, AtMost: true}},
		{"p99 at c=32", p99, measure{Goal: 1, AtMost: true}},
		{"CPU per call at c=32", cost, measure{}},
	} {
		m := c.goal
		m.Name = "passthrough / ReverseProxy, " + c.what
		r.measure(m, ratios(c.of(passthrough), c.of(plainProxy))...)
		r.measure(measure{Name: "ReverseProxy / itself, " + c.what}, ratios(c.of(control), c.of(plainProxy))...)
	}
}

// profile has the proxy do its two main jobs under the profiler and draws what it did.
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
		if err := warm(s); err != nil {
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
	b.stop() // it writes its profile when it ends
	title := fmt.Sprintf("CPU profile of the proxy: passthrough, then conversion, with 32 clients and with one; %d consumers", b.consumers)
	return flame("bin/proxy.pgo", "bin/flame.svg", title)
}
