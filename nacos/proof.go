package nacos

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Answers to requests prove nothing about pushes, which travel over a stream of their own: a server may answer for ever and
// push nothing. So it is asked for something that it answers by a push, without a right to write anything: it is told of a
// document that it cannot know, as one that a fuzzy watch has received, and pushes that the document is gone. That takes
// one of its patterns, the same for all clients.
const (
	probeGroup   = "nacos-mcp-proxy.probe"
	probePattern = PublicNamespace + ">>" + probeGroup + ">>*"
	// probeEvery is the pause between two probes.
	probeEvery = 1500 * time.Millisecond
	// probeLost is when a probe counts as lost and the next one is sent. A connection is lost after as long without one
	// that came back: twice as long for each connection on which none came back at all, up to probeMost, as the server may
	// be busy, or be one that never pushes.
	probeLost = 2500 * time.Millisecond
	probeMost = time.Minute
	// probeRefused is the pause after a probe that the server does not take.
	probeRefused = 30 * time.Second
	// slowAnswer is how long an answer takes that is not as it should be, quickAnswer how long one that is.
	slowAnswer  = 1500 * time.Millisecond
	quickAnswer = 500 * time.Millisecond
)

// probes is what a Client knows of its pushes.
type probes struct {
	mu       sync.Mutex
	serial   int
	echo     chan struct{} // closed when the probe of that serial comes back
	patience time.Duration
	last     time.Time // when a push last arrived
	provable bool      // the server takes probes
}

// arrived notes a push.
func (p *probes) arrived() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
}

// begin returns the name of the next probe and what is closed when it comes back.
func (p *probes) begin() (name string, echo <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	p.echo = make(chan struct{})
	return strconv.Itoa(p.serial), p.echo
}

// back takes a probe that the server pushed. One that was given up says no more than any push.
func (p *probes) back(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.echo != nil && name == strconv.Itoa(p.serial) {
		close(p.echo)
		p.echo = nil
	}
}

// taken notes whether the server takes probes.
func (p *probes) taken(taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.provable = taken
}

// proven notes that a probe came back.
func (p *probes) proven() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patience = 0
}

// lost is told for how long none did, and reports whether that is too long for their connection.
func (p *probes) lost(silence time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patience = max(p.patience, probeLost)
	if silence < p.patience {
		return false
	}
	p.patience = min(2*p.patience, probeMost)
	return true
}

// proof returns when a push last arrived; zero where the server takes no probes, so that its age would say nothing.
func (p *probes) proof() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.provable {
		return time.Time{}
	}
	return p.last
}

// prove sends probes over a connection until it is lost. It loses the connection itself if none comes back.
func (c *Client) prove(cn *conn) {
	var answers answering
	proven, wait := time.Now(), 10*time.Millisecond
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-cn.lost:
			return
		case <-c.loggedIn.wait():
		case <-time.After(wait):
		}
		if !c.knowsFuzzy(c.ctx) {
			c.probes.taken(false)
			return
		}
		began := time.Now()
		switch c.probe(cn, func() { answers.took(slowAnswer+1, c.trouble) }) {
		case probeBack:
			proven, wait = time.Now(), probeEvery
			c.probes.proven()
			c.problem("push", "")
			answers.took(time.Since(began), c.trouble)
		case probeSilent:
			wait = 0
			silence := time.Since(proven)
			if silence > 4*probeLost {
				c.problem("push", "Nacos answers, but nothing that it pushes arrives: edits are found by lists only")
			}
			if c.probes.lost(silence) {
				cn.lose(fmt.Errorf("nothing that the server pushes has arrived for %s", silence.Round(time.Millisecond)))
			}
		case probeFailed:
			wait = attendEvery
		case probeUnwanted:
			c.probes.taken(false)
			proven, wait = time.Now(), jitter(probeRefused)
		}
	}
}

// probeEnd is what became of a probe.
type probeEnd int

const (
	probeFailed   probeEnd = iota // it was not answered at all
	probeBack                     // the server pushed it
	probeSilent                   // the server took it and did not push it
	probeUnwanted                 // the server takes no probes
)

// probe sends one probe and waits for it; slow is called if it is slow to come back.
func (c *Client) probe(cn *conn, slow func()) probeEnd {
	late := time.AfterFunc(slowAnswer, slow)
	defer late.Stop()
	name, echo := c.probes.begin()
	resp, err := c.fuzzyWatch(c.ctx, probeGroup, probePattern, []string{name + "+" + probeGroup + "+" + PublicNamespace}, false)
	if err != nil {
		c.fuzzyFailed(err)
		if errors.Is(err, ErrForbidden) {
			return probeUnwanted
		}
		return probeFailed
	}
	if !resp.IsSuccess() {
		c.log.Debug("nacos refuses a probe", "code", resp.GetErrorCode(), "message", resp.GetMessage())
		return probeUnwanted
	}
	c.probes.taken(true)
	select {
	case <-echo:
		return probeBack
	case <-time.After(probeLost):
		return probeSilent
	case <-cn.lost:
	case <-c.ctx.Done():
	}
	return probeFailed
}

// probed takes what the server pushed of a probe, and reports whether it was one.
func (c *Client) probed(groupKey string) bool {
	part := strings.Split(groupKey, "+")
	if len(part) < 2 || part[1] != probeGroup {
		return false
	}
	c.probes.back(part[0])
	return true
}

// answering measures requests of a connection's own: what comes while they are slow may be lost, or come in another order.
type answering struct {
	mu   sync.Mutex
	slow bool
}

func (a *answering) took(d time.Duration, troubled func(bool)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.slow && d <= quickAnswer:
		a.slow = false
		troubled(false)
	case !a.slow && d > slowAnswer:
		a.slow = true
		troubled(true)
	}
}
