package upstream

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Instance is one address of a naming service, as the source delivers it.
type Instance = nacos.Instance

// versionKey is the metadata key under which SDKs register the MCP server version of an instance.
const versionKey = "_mcp_server_version"

// Ejection of instances that refuse connections: the first time for ejectMin, doubled each time up to ejectMax.
const (
	ejectMin = time.Second
	ejectMax = 30 * time.Second
)

// ejection is what is remembered of an address while lists come and go.
type ejection struct {
	until atomic.Pointer[time.Time] // with its monotonic reading, as the clock may be set; nil: not ejected
	fails atomic.Int32
}

func (e *ejection) active(now time.Time) bool {
	until := e.until.Load()
	return until != nil && until.After(now)
}

// sooner reports whether e ends before o.
func (e *ejection) sooner(o *ejection) bool {
	a, b := e.until.Load(), o.until.Load()
	return b != nil && (a == nil || a.Before(*b))
}

func (e *ejection) refused(now time.Time) {
	n := min(e.fails.Add(1), 10)
	until := now.Add(min(ejectMin<<(n-1), ejectMax))
	e.until.Store(&until)
}

func (e *ejection) answered() {
	if e.fails.Load() != 0 {
		e.fails.Store(0)
		e.until.Store(nil)
	}
}

// instance is one address of a picker; immutable but for its ejection.
type instance struct {
	address string // host:port, IPv6 in brackets
	scheme  string // http or https
	weight  float64
	healthy bool
	// persistent: Nacos keeps it until somebody removes it.
	persistent bool
	*ejection
}

// picker is the immutable list of one moment; a new list is a new picker.
type picker struct {
	all    []*instance
	usable []*instance // healthy, with a weight
	total  float64
}

// newPicker keeps what can be dialled: enabled instances with a sane address, of the version that ref wants. Ejections are
// carried over from old by address.
func newPicker(list []Instance, ref *registry.BackendRef, old *picker) *picker {
	p := &picker{}
	seen := make(map[string]bool, len(list))
	for _, in := range list {
		address, ok := addressOf(in)
		if v := in.Metadata[versionKey]; !ok || !in.Enabled || seen[address] || ref.Version != "" && v != "" && v != ref.Version {
			continue
		}
		seen[address] = true
		n := &instance{address: address, scheme: ref.SchemeAt(in.Port), weight: in.Weight, healthy: in.Healthy, persistent: in.Persistent}
		if !(n.weight > 0) || math.IsInf(n.weight, 0) {
			n.weight = 0
		}
		if o := old.find(address); o != nil {
			n.ejection = o.ejection
		} else {
			n.ejection = &ejection{}
		}
		p.all = append(p.all, n)
		if n.healthy && n.weight > 0 {
			p.usable = append(p.usable, n)
			p.total += n.weight
		}
	}
	return p
}

// addressOf validates what the naming service holds: its ip field takes anything.
func addressOf(in Instance) (string, bool) {
	if in.Port < 1 || in.Port > 65535 {
		return "", false
	}
	host := strings.TrimSuffix(strings.TrimPrefix(in.Host, "["), "]")
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return "", false
		}
		return netip.AddrPortFrom(a, uint16(in.Port)).String(), true
	}
	if !isHostName(host) {
		return "", false
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.Itoa(in.Port)), true
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

func (p *picker) find(address string) *instance {
	if p == nil {
		return nil
	}
	for _, n := range p.all {
		if n.address == address {
			return n
		}
	}
	return nil
}

// pick chooses by weight among the usable instances that were not tried and are not ejected; if all are ejected, the one
// whose time is up first, so that a service whose every instance was restarted is back with its first one. Nil if none.
func (p *picker) pick(now time.Time, tried []*instance) *instance {
	if len(p.usable) == 0 {
		return nil
	}
	if len(p.usable) == 1 && len(tried) == 0 {
		return p.usable[0]
	}
	// One draw over all is enough nearly always; a second pass over the rest only where it hit one to be left out.
	if n := draw(p.usable, p.total, nil); n != nil && !n.active(now) && !wasTried(tried, n) {
		return n
	}
	total, soonest := 0.0, (*instance)(nil)
	for _, n := range p.usable {
		switch {
		case wasTried(tried, n):
		case !n.active(now):
			total += n.weight
		case soonest == nil || n.sooner(soonest.ejection):
			soonest = n
		}
	}
	if total == 0 {
		return soonest
	}
	return draw(p.usable, total, func(n *instance) bool { return !n.active(now) && !wasTried(tried, n) })
}

func draw(list []*instance, total float64, ok func(*instance) bool) *instance {
	r := rand.Float64() * total
	var last *instance
	for _, n := range list {
		if ok != nil && !ok(n) {
			continue
		}
		last = n
		if r -= n.weight; r < 0 {
			return n
		}
	}
	return last
}

// wasTried compares addresses: a new list may have come between two attempts.
func wasTried(tried []*instance, n *instance) bool {
	for _, t := range tried {
		if t.address == n.address {
			return true
		}
	}
	return false
}

// set follows one naming service for all backends that name it.
type set struct {
	ref    registry.BackendRef
	picker atomic.Pointer[picker]
	first  chan struct{} // closed with the first list
	done   chan struct{} // closed when nobody names it any more
	once   sync.Once
	mu     sync.Mutex // serialises updates
	refs   int        // guarded by Upstreams.mu
}

// follow subscribes and stays subscribed until done. A subscription that fails is tried again, with a growing pause.
func (s *set) follow(subscribe func(registry.BackendRef, func([]Instance)) (func(), error), failed func(error)) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		stop, err := subscribe(s.ref, s.update)
		if err == nil {
			<-s.done
			stop()
			return
		}
		failed(err)
		select {
		case <-s.done:
			return
		case <-time.After(pause):
		}
	}
}

func (s *set) update(list []Instance) {
	s.mu.Lock()
	s.picker.Store(newPicker(list, &s.ref, s.picker.Load()))
	s.mu.Unlock()
	s.once.Do(func() { close(s.first) })
}

// current gives the newest list, waiting for the first one at most wait.
func (s *set) current(ctx context.Context, wait time.Duration) (*picker, *Error) {
	if p := s.picker.Load(); p != nil {
		return p, nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-s.first:
		return s.picker.Load(), nil
	case <-ctx.Done():
		return nil, contextError(ctx, false)
	case <-t.C:
		return nil, &Error{Kind: NoInstance, detail: "instances of " + refName(s.ref) + " are not known yet"}
	}
}

func refName(r registry.BackendRef) string { return r.Group + "/" + r.Service }
