package nacos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
	sdkmodel "github.com/nacos-group/nacos-sdk-go/v2/model"
)

const (
	defaultGroup = "DEFAULT_GROUP"
	// returnGrace is how long after a reconnect instances are kept that the server does not list: after its restart
	// they come back one by one, as their owners reconnect.
	returnGrace = 4 * time.Second
	// Subscriptions are repeated, in case a push got lost: each about this often, and not faster than that many a
	// second in all.
	resubscribeEvery = 20 * time.Second
	resubscribeRate  = 50
	// emptyAsks is how often a subscription without a usable instance is repeated sooner, after 1, 2 and 4 s: what was
	// registered a moment before it may not have been seen, nor be pushed.
	emptyAsks = 3
)

// naming is the client's side of one namespace's naming service, over a connection of its own: pushes do not name
// the namespace that they are about.
type naming struct {
	c         *Client
	namespace string
	link      *link
	wg        sync.WaitGroup
	wake      chan struct{} // capacity 1: something to send
	news      chan struct{} // capacity 1: something to deliver

	mu         sync.Mutex
	subs       map[ServiceRef]*subscription
	regs       map[ServiceRef]*registration
	generation uint64
}

// subscription is one service, whoever asked for it.
type subscription struct {
	ref       ServiceRef
	listeners map[*listener]struct{}
	sent      bool // on the current connection
	asked     time.Time
	empty     int       // answers without a usable instance since there was one, or the connection began
	again     time.Time // when to ask again because of that; zero: not sooner than usual
	refTime   uint64    // the server's clock, in ms: pushes and answers may cross
	known     bool
	latest    []Instance // what the server said last
	shown     []Instance // what listeners were told
	keepUntil time.Time  // instances in shown stay until then
	dirty     bool
}

// listener is one caller of Subscribe. Its calls are serialised.
type listener struct {
	mu      sync.Mutex
	f       func([]Instance)
	stopped bool
	told    bool
}

type registration struct {
	instance Instance
	sent     bool
	retry    time.Time // not before
}

func (ref ServiceRef) String() string { return ref.Namespace + "/" + ref.Group + "/" + ref.Service }

func (c *Client) normalise(ref ServiceRef) (ServiceRef, error) {
	if ref.Namespace == "" {
		ref.Namespace = c.cfg.Namespace
	}
	if ref.Group == "" {
		ref.Group = defaultGroup
	}
	if ref.Service == "" {
		return ref, fmt.Errorf("%w: service name is empty", ErrInvalid)
	}
	return ref, nil
}

// naming gives the side of a namespace, made when first needed.
func (c *Client) naming(namespace string) (*naming, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("%w: client is closed", ErrUnavailable)
	}
	if n := c.namings[namespace]; n != nil {
		return n, nil
	}
	n := &naming{
		c: c, namespace: namespace, wake: make(chan struct{}, 1), news: make(chan struct{}, 1),
		subs: make(map[ServiceRef]*subscription),
		regs: make(map[ServiceRef]*registration),
	}
	n.link = newLink(c, "naming", namespace)
	n.link.handle = n.handlers
	n.link.changed = func(up bool, _ string, _ error) {
		if up {
			poke(n.wake)
		}
	}
	n.link.troubled = func(troubled bool) {
		if !troubled {
			c.recovered("answers about services are quick again")
		}
	}
	n.link.start()
	n.wg.Go(func() { n.run(n.wake, n.send) })
	n.wg.Go(func() { n.run(n.news, n.tell) }) // by itself: an answer that does not come holds up no push
	c.namings[namespace] = n
	return n, nil
}

// close is called after the client's context ended.
func (n *naming) close() {
	n.wg.Wait()
	n.link.stop()
}

func (n *naming) handlers(cn *conn) {
	cn.on(func() rpc_request.IRequest {
		return &rpc_request.NotifySubscriberRequest{NamingRequest: rpc_request.NewNamingRequest("", "", "")}
	}, func(req rpc_request.IRequest) rpc_response.IResponse {
		if p, ok := req.(*rpc_request.NotifySubscriberRequest); ok {
			n.mu.Lock()
			if s := n.subs[ServiceRef{n.namespace, p.ServiceInfo.GroupName, p.ServiceInfo.Name}]; s != nil {
				n.update(s, p.ServiceInfo)
			}
			n.mu.Unlock()
		}
		return answered("NotifySubscriberResponse")
	})
}

// Subscribe implements Source. Disabled instances are left out by Nacos, those of weight 0 are not. The first call
// comes as soon as the server answered; not before.
func (c *Client) Subscribe(ref ServiceRef, onChange func([]Instance)) (func(), error) {
	ref, err := c.normalise(ref)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	n, err := c.naming(ref.Namespace)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", ref, err)
	}
	l := &listener{f: onChange}
	n.mu.Lock()
	s := n.subs[ref]
	if s == nil {
		s = &subscription{ref: ref, listeners: make(map[*listener]struct{})}
		n.subs[ref] = s
	}
	s.listeners[l] = struct{}{}
	s.dirty = s.known
	n.mu.Unlock()
	poke(n.wake)
	poke(n.news)
	var once sync.Once
	return func() {
		once.Do(func() {
			n.mu.Lock()
			delete(s.listeners, l)
			last := len(s.listeners) == 0 && n.subs[ref] == s
			if last {
				delete(n.subs, ref)
			}
			n.mu.Unlock()
			l.mu.Lock()
			l.stopped = true
			l.mu.Unlock()
			if last {
				c.unsubscribe(n, ref)
			}
		})
	}, nil
}

// unsubscribe is a courtesy to the server, in the background.
func (c *Client) unsubscribe(n *naming, ref ServiceRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || n.link.current() == nil {
		return
	}
	c.closing.Go(func() { _, _ = n.subscribe(ref, false) })
}

// update takes what the server said, unless it said something newer before; the caller holds mu.
func (n *naming) update(s *subscription, info sdkmodel.Service) {
	if s.known && info.LastRefTime < s.refTime {
		return
	}
	s.refTime, s.known = info.LastRefTime, true
	s.latest = make([]Instance, 0, len(info.Hosts))
	for _, h := range info.Hosts {
		s.latest = append(s.latest, Instance{Host: h.Ip, Port: int(h.Port), Weight: h.Weight, Healthy: h.Healthy, //nolint:gosec // a port
			Enabled: h.Enable, Metadata: h.Metadata, Persistent: !h.Ephemeral})
	}
	s.dirty = true
	poke(n.news)
}

// run does something when woken, and now and then.
func (n *naming) run(wake <-chan struct{}, do func()) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-n.c.ctx.Done():
			return
		case <-wake:
		case <-ticker.C:
		}
		do()
	}
}

// askAnew repeats all subscriptions: a push may have been lost.
func (n *naming) askAnew() {
	n.mu.Lock()
	for _, s := range n.subs {
		s.sent = false
	}
	n.mu.Unlock()
	poke(n.wake)
}

// send brings the current connection up to date.
func (n *naming) send() {
	cn := n.link.current()
	if cn == nil {
		return
	}
	now := time.Now()
	n.mu.Lock()
	if n.generation != cn.generation {
		again := n.generation != 0
		n.generation = cn.generation
		for _, s := range n.subs {
			s.sent, s.refTime, s.empty = false, 0, 0
			if again && s.known {
				s.keepUntil = now.Add(returnGrace)
			}
		}
		for _, r := range n.regs {
			r.sent, r.retry = false, time.Time{}
		}
	}
	var due []ServiceRef
	repeats := max(1, resubscribeRate/5) // of a tick
	for ref, s := range n.subs {
		early := !s.again.IsZero() && !now.Before(s.again)
		if s.sent && now.Sub(s.asked) < resubscribeEvery && !early {
			continue
		}
		if s.sent {
			if repeats == 0 {
				continue
			}
			repeats--
		}
		s.sent, s.asked, s.again = true, now.Add(-jitter(time.Second)), time.Time{}
		due = append(due, ref)
	}
	n.mu.Unlock()

	n.sendRegistrations()
	var wg sync.WaitGroup
	turns := make(chan struct{}, parallelQueries)
	for _, ref := range due {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			n.ask(ref)
		})
	}
	wg.Wait()
}

// ask subscribes to a service and takes in the answer.
func (n *naming) ask(ref ServiceRef) {
	info, err := n.subscribe(ref, true)
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.subs[ref]
	if s == nil {
		return
	}
	if err != nil {
		s.sent = false
		if errors.Is(err, ErrForbidden) {
			s.sent, s.asked = true, time.Now().Add(jitter(forbiddenWait)-resubscribeEvery)
		}
		if missingRight(err) {
			n.c.problem("naming "+ref.String(), fmt.Sprintf("reading the instances of %s is not permitted: %v: grant it action r on %s:%s:naming/*",
				ref, err, ref.Namespace, ref.Group))
		}
		return
	}
	n.c.problem("naming "+ref.String(), "")
	n.update(s, info)
	switch usable := func(in Instance) bool { return in.Healthy && in.Enabled && in.Weight > 0 }; {
	case slices.ContainsFunc(s.latest, usable):
		s.empty = 0
	case s.empty < emptyAsks:
		s.again = time.Now().Add(time.Second << s.empty)
		s.empty++
	}
}

func (n *naming) subscribe(ref ServiceRef, on bool) (sdkmodel.Service, error) {
	resp, err := n.call(n.c.ctx, ref, func() rpc_request.IRequest {
		return rpc_request.NewSubscribeServiceRequest(ref.Namespace, ref.Service, ref.Group, "", on)
	})
	if err != nil {
		return sdkmodel.Service{}, err
	}
	s, ok := resp.(*rpc_response.SubscribeServiceResponse)
	if !ok || !resp.IsSuccess() {
		return sdkmodel.Service{}, fmt.Errorf("%w: %s (code %d)", ErrFailed, resp.GetMessage(), resp.GetErrorCode())
	}
	return s.ServiceInfo, nil
}

func (n *naming) call(ctx context.Context, ref ServiceRef, make func() rpc_request.IRequest) (rpc_response.IResponse, error) {
	return n.c.callOver(ctx, n.link, func(ctx context.Context) (credential, error) { return n.c.auth.namingHeaders(ctx, ref) }, make)
}

// tell calls the listeners of what changed.
func (n *naming) tell() {
	type call struct {
		l         *listener
		instances []Instance
		changed   bool
	}
	var calls []call
	now := time.Now()
	n.mu.Lock()
	for _, s := range n.subs {
		if !s.keepUntil.IsZero() && now.After(s.keepUntil) {
			s.keepUntil, s.dirty = time.Time{}, true
		}
		if !s.dirty || !s.known {
			continue
		}
		s.dirty = false
		show := s.latest
		if !s.keepUntil.IsZero() {
			show = withReturning(show, s.shown)
		}
		changed := !slices.EqualFunc(show, s.shown, sameInstance)
		s.shown = show
		for l := range s.listeners {
			calls = append(calls, call{l, slices.Clone(show), changed})
		}
	}
	n.mu.Unlock()
	for _, x := range calls {
		x.l.mu.Lock()
		if !x.l.stopped && (x.changed || !x.l.told) {
			x.l.told = true
			x.l.f(x.instances)
		}
		x.l.mu.Unlock()
	}
}

// withReturning adds to list those of before that it lacks.
func withReturning(list, before []Instance) []Instance {
	out := slices.Clone(list)
	for _, b := range before {
		if !slices.ContainsFunc(list, func(i Instance) bool { return i.Host == b.Host && i.Port == b.Port }) {
			out = append(out, b)
		}
	}
	return out
}

func sameInstance(a, b Instance) bool {
	return a.Host == b.Host && a.Port == b.Port && a.Weight == b.Weight && a.Healthy == b.Healthy &&
		a.Enabled == b.Enabled && maps.Equal(a.Metadata, b.Metadata)
}
