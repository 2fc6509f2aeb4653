package gateway

import (
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// reviewGap is how often open streams are held against the clock, for grants and keys that expire without an edit.
const reviewGap = 500 * time.Millisecond

// view is what a caller's list of tools depends on. Two equal ones mean the same list.
type view struct {
	variant  *catalog.Variant
	table    *access.Table
	decision access.Level
	expiry   int64 // the next instant at which it changes by itself: another one once that has passed
}

// Swapped makes open streams follow an Index that was just published.
func (g *Gateway) Swapped(d catalog.Delta) {
	g.review(d.Index)
}

// reviewRegularly makes open streams follow the clock until stop is closed.
func (g *Gateway) reviewRegularly(stop <-chan struct{}) {
	ticker := time.NewTicker(reviewGap)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			g.review(g.options.Catalog.Index())
		}
	}
}

func (g *Gateway) review(x *catalog.Index) {
	if g.options.Relay == nil {
		return
	}
	now := g.now()
	g.options.Relay.Review(func(c relay.Caller) (any, bool) { return decide(x, c, now) })
}

// decide gives what the caller of a stream sees now, and whether it sees anything.
func decide(x *catalog.Index, c relay.Caller, now int64) (view, bool) {
	service := x.Service(c.Service)
	if service == nil || service.NotServed != "" {
		return view{}, false
	}
	variant := service.Variant(c.Version)
	if variant == nil {
		return view{}, false
	}
	if service.Access.Open() {
		return view{variant: variant, table: service.Access}, true
	}
	consumer := x.Consumer(c.Consumer)
	if c.Key != ([32]byte{}) {
		if consumer = keyHolder(x, c, now); consumer == nil {
			return view{}, false
		}
	}
	return seen(service, variant, consumer, now)
}

// keyHolder gives the consumer whose key opened a stream, nil if the key does not count any more.
func keyHolder(x *catalog.Index, c relay.Caller, now int64) *registry.Consumer {
	holder, ok := x.Holder(c.Key)
	if !ok || holder.Consumer.Name != c.Consumer || access.KeyState(holder.Consumer, holder.Key, now) != access.KeyOK {
		return nil
	}
	return holder.Consumer
}

func seen(service *catalog.Service, variant *catalog.Variant, consumer *registry.Consumer, now int64) (view, bool) {
	decision := service.Access.Service(consumer, now)
	return view{variant, service.Access, decision.Level, service.Access.NextExpiry(consumer, now)}, decision.Allowed
}

// exchange is what the relay needs to know of the call's stream or message.
func (c *call) exchange() relay.Exchange {
	x := relay.Exchange{
		Service: c.name, Version: c.variant.Version, Consumer: c.consumerName(), Session: c.session, Body: c.body,
		Restricted: c.restricted(), Private: !c.open,
	}
	if c.r.Method == http.MethodPost {
		x.Env = &c.env
	}
	if !c.open {
		x.Key = c.identity.key.Digest
	}
	return x
}

// view is what the call's caller sees, for an exchange that becomes a stream.
func (c *call) view() any {
	if c.open {
		return view{variant: c.variant, table: c.service.Access}
	}
	v, _ := seen(c.service, c.variant, c.identity.consumer, c.now)
	return v
}

// listen answers the modern subscriptions/listen by ourselves: only the list of tools is followed, and that only if it was
// asked for (2026-07-28, Subscriptions: nothing may be sent that the client has not requested).
func (c *call) listen() {
	filter := gjson.ParseBytes(c.env.Notifications)
	if !filter.IsObject() {
		c.refuse(wire.InvalidParams, "Invalid params: notifications is missing or no object")
		return
	}
	if !c.limit() {
		return
	}
	params := []byte(`{"notifications":{`)
	if filter.Get("toolsListChanged").Bool() {
		params = append(params, `"toolsListChanged":true`...)
	}
	params = append(params, `},"_meta":{"`+wire.MetaSubscriptionID+`":`...)
	params = append(append(params, c.env.ID...), `}}`...)
	x := c.exchange()
	x.View = c.view()
	c.carried(c.g.options.Relay.Idle(c.w, c.r, &x, wire.AppendNotification(nil, wire.NotificationAcknowledged, params)))
}

// stream serves GET and DELETE of Streamable HTTP.
func (c *call) stream() {
	switch {
	case !c.variant.Kind.Converted():
		c.passthrough()
	case c.session == nil:
		c.refuse(wire.MethodNotAllowed, "")
	case c.r.Method == http.MethodDelete:
		// The session's state is in its id: nothing is held that could be ended, and no replica could tell the others.
		// 405 says that clients do not end sessions here (2025-11-25, Transports, Session Management).
		c.w.Header().Set("Allow", "POST, GET")
		c.refuse(wire.MethodNotAllowed, "Sessions of this service need not be ended")
	default:
		if !c.versionSpoken() || !c.limit() {
			return
		}
		x := c.exchange()
		x.View = c.view()
		c.carried(c.g.options.Relay.Idle(c.w, c.r, &x, nil))
	}
}
