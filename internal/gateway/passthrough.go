package gateway

import (
	"errors"
	"net/http"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// passthrough decides on the method and hands the request to the relay.
func (c *call) passthrough() {
	x, ok := c.compiled()
	if !ok {
		return
	}
	defer x.Release()
	c.def = x.Definition
	if c.r.Method == http.MethodPost && (!c.headersAgree() || !c.mayPass()) || !c.limit() {
		return
	}
	of := c
	if x.Definition.Transport == registry.SSE {
		of = c.copied() // the end of a bridged session's call may be told to the backend when it is over
	}
	e := &of.passed
	*e = of.exchange()
	if e.Consumer == "" && x.Definition.Transport == registry.SSE {
		e.Address = c.neighbourhood() // else nothing has a share
	}
	e.Share = &c.share
	e.Backend, e.Transport, e.ForwardHeaders = x.Backend, x.Definition.Transport, x.ForwardHeaders
	e.Look, e.Strip, e.Withheld, e.Credential = of.ownView, of.ownStrip, of.ownWithheld, x.Credential
	if len(c.def.Hidden) > 0 || c.def.AllowTools != nil || c.variant.Narrowed() || c.restricted() {
		e.See = of.ownSees
	}
	if x.Own != nil {
		e.Private, e.Credential = true, c.ownCredential(x)
	}
	o := c.g.options.Relay.Serve(c.w, c.r, e)
	if errors.Is(o.Err, wire.ErrUnended) {
		x.SawUnendedEvents()
	}
	c.carried(o)
}

// ownCredential returns what hands the caller's own credential on to the backend. A session may outlive the call.
func (c *call) ownCredential(x *catalog.Compiled) func(*upstream.Request) error {
	caller := convert.Call{Query: c.clientQuery()}
	caller.Header, caller.Withheld = c.clientHeader()
	return func(r *upstream.Request) error {
		err := x.Own(r, caller)
		if missing, ok := errors.AsType[*convert.NoCredentialError](err); ok {
			return &relay.CallerError{Message: missing.Error()}
		}
		return err
	}
}

// carried notes what became of an exchange.
func (c *call) carried(o relay.Outcome) {
	c.status, c.written = o.Status, o.Bytes
	if o.Reason != "" {
		c.reason = o.Reason
	}
	if o.Err != nil {
		c.noteFault(o.Err)
	}
	c.abort, c.bodyFree = o.Abort, o.BodyFree
}

// headersAgree refuses headers that say something else than the body: something behind us could route by them. What is
// missing is the backend's to complain of, in its own era's words.
func (c *call) headersAgree() bool {
	err := wire.HeadersDiffer(c.r.Header, &c.env)
	if err == nil {
		return true
	}
	c.refuseError(err)
	return false
}

// mayPass decides on the method (mcp.md, "Authorization of methods") and answers where the backend is not to be asked.
// Requests without an id are decided on like those with one: a lenient backend might carry them out.
func (c *call) mayPass() bool {
	method := c.env.Method
	if method == wire.MethodToolsCall {
		granted := c.mayCall(c.env.Name)
		if granted && !c.disabled(c.env.Name) {
			return true
		}
		if c.env.Kind != wire.Request {
			c.drop("tool not granted")
			return false
		}
		c.unknownTool(!granted)
		return false
	}
	if !c.restricted() || c.env.Kind == wire.Response || strings.HasPrefix(method, "notifications/") {
		return true
	}
	switch method {
	case wire.MethodInitialize, wire.MethodPing, wire.MethodDiscover, wire.MethodToolsList, wire.MethodSetLevel:
		return true
	}
	if c.env.Kind != wire.Request {
		c.drop("method not granted")
		return false
	}
	if method == wire.MethodListen && c.modern {
		c.listen()
		return false
	}
	c.allowed, c.reason = false, "method not granted"
	if result := wire.EmptyResult(method, c.modern); result != nil {
		if c.limit() {
			c.result(result)
		}
		return false
	}
	c.unknownMethod()
	return false
}

// drop takes a notification and forgets it.
func (c *call) drop(reason string) {
	c.allowed, c.reason = false, reason
	c.status = http.StatusAccepted
	c.w.WriteHeader(http.StatusAccepted)
}

// disabled reports whether a tool is off for everyone, whatever grants say.
func (c *call) disabled(tool []byte) bool { return c.def.Disabled(tool) || c.variant.Off(tool) }

// sees is the filter for lists of tools.
func (c *call) sees(tool []byte) bool {
	return !c.disabled(tool) && (!c.restricted() || c.service.Access.Tool(c.identity.consumer, tool, c.g.now()).Allowed)
}

func (c *call) strip(name string, values []string) bool {
	return c.g.mayHoldKey(name, values, c.identity.consumer, c.index)
}
