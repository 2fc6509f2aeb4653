package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// listTTL is for how long a modern client may go on with a list, in milliseconds: as long as an edit may take to hold.
const listTTL = "1000"

// converted answers a message to a service of HTTP tools.
func (c *call) converted() {
	if err := wire.CheckHeaders(c.r.Header, &c.env); err != nil {
		c.refuseError(err)
		return
	}
	if !c.versionSpoken() {
		return
	}
	if c.env.Kind != wire.Request {
		c.notified()
		return
	}
	if !c.paramsFit() {
		return
	}
	switch c.env.Method {
	case wire.MethodToolsCall:
		c.callTool()
	case wire.MethodToolsList:
		if c.limit() {
			c.listTools()
		}
	case wire.MethodInitialize:
		if c.modern {
			c.unknownMethod()
			return
		}
		if c.limit() {
			c.initialize()
		}
	case wire.MethodDiscover:
		if !c.modern {
			c.unknownMethod()
			return
		}
		if c.limit() {
			c.discover()
		}
	case wire.MethodListen:
		if !c.modern {
			c.unknownMethod()
			return
		}
		c.listen()
	default:
		if result := wire.EmptyResult(c.env.Method, c.modern); result != nil {
			if c.limit() {
				c.result(result)
			}
			return
		}
		c.unknownMethod()
	}
}

// versionSpoken refuses revisions that we do not speak; initialize negotiates instead.
func (c *call) versionSpoken() bool {
	v := wire.First(c.r.Header, headerVersion)
	if v == "" || wire.IsSupported(v) || c.env.Method == wire.MethodInitialize && !c.modern {
		return true
	}
	c.refuseError(wire.UnsupportedVersionError(v, wire.Supported))
	return false
}

// paramsFit refuses the pages that there are not, as all lists are whole, and levels that the protocol does not know
// (2025-11-25, Pagination and Logging, Error Handling). Some clients write a cursor that they do not have as null or "".
func (c *call) paramsFit() bool {
	switch c.env.Method {
	case wire.MethodToolsList, wire.MethodResourcesList, wire.MethodResourceTemplatesList, wire.MethodPromptsList:
		switch string(c.env.Cursor) {
		case "", "null", `""`:
			return true
		}
		c.refuse(wire.InvalidParams, "Invalid params: unknown cursor, the list has one page")
		return false
	case wire.MethodSetLevel:
		switch string(c.env.Level) {
		case `"debug"`, `"info"`, `"notice"`, `"warning"`, `"error"`, `"critical"`, `"alert"`, `"emergency"`:
			return true
		}
		if c.modern {
			return true // there is no such method
		}
		c.refuse(wire.InvalidParams, "Invalid params: level must be one of debug, info, notice, warning, error, critical, alert, emergency")
		return false
	}
	return true
}

func (c *call) unknownMethod() {
	c.refuseError(wire.UnknownMethodError(c.env.Method, c.modern))
}

// notified takes notifications, and answers to requests that we never make.
func (c *call) notified() {
	if c.env.Method == wire.NotificationCancelled && c.session != nil {
		c.g.inflight.cancel(flightKey{wire.First(c.r.Header, headerSession), string(c.env.CancelID)})
	}
	c.status = http.StatusAccepted
	c.w.WriteHeader(http.StatusAccepted)
}

func (c *call) result(result []byte) {
	if c.modern && c.variant.Kind.Converted() {
		result = append(c.appendMeta(append([]byte(nil), result[:len(result)-1]...)), '}')
	}
	c.out = wire.AppendResult(c.out[:0], c.env.ID, result)
	c.write(http.StatusOK, c.out)
}

// appendMeta adds the _meta of a modern result, by which servers make themselves known (2026-07-28, changelog, 2).
func (c *call) appendMeta(b []byte) []byte {
	b = append(b, `,"_meta":{"`+wire.MetaServerInfo+`":`...)
	return append(c.appendServerInfo(b), '}')
}

func (c *call) initialize() {
	s := session.Session{Service: c.name, Version: c.variant.Version, Consumer: c.consumerName(), Issued: c.start}
	b := append(c.out[:0], `{"jsonrpc":"2.0","id":`...)
	b = append(append(b, c.env.ID...), `,"result":{"protocolVersion":`...)
	revision := wire.Negotiate(string(c.env.Version))
	b = jsontext.AppendString(b, revision)
	b = append(append(b, ','), c.capabilities()...)
	b = c.appendImplementation(append(b, `,"serverInfo":`...), revision)
	c.out = append(b, '}', '}')
	id, err := c.g.options.Sealer.Seal(s)
	if err != nil {
		c.detail = err.Error()
		c.refuse(wire.Internal, "")
		return
	}
	c.w.Header().Set(headerSession, id)
	c.write(http.StatusOK, c.out)
}

func (c *call) capabilities() string {
	if c.modern {
		return `"capabilities":{"tools":{"listChanged":true}}`
	}
	return `"capabilities":{"logging":{},"tools":{"listChanged":true}}`
}

func (c *call) appendServerInfo(b []byte) []byte {
	b = append(b, `{"name":`...)
	b = jsontext.AppendString(b, c.name)
	version := c.variant.Version
	if version == "" {
		version = c.g.options.Version
	}
	b = append(b, `,"version":`...)
	return append(jsontext.AppendString(b, version), '}')
}

// appendImplementation appends all that a revision has a client know of a server. Older clients may take no member that their
// revision does not have.
func (c *call) appendImplementation(b []byte, revision string) []byte {
	b = c.appendServerInfo(b)
	b = b[:len(b)-1]
	if title := c.variant.Title(); title != "" && revision >= wire.V20250618 {
		b = jsontext.AppendString(append(b, `,"title":`...), title)
	}
	if revision >= wire.V20251125 {
		if what := c.variant.Description(); what != "" {
			b = jsontext.AppendString(append(b, `,"description":`...), what)
		}
		page, icons := c.variant.Display()
		if page != "" {
			b = jsontext.AppendString(append(b, `,"websiteUrl":`...), page)
		}
		if len(icons) > 0 {
			b = append(append(b, `,"icons":`...), icons...)
		}
	}
	return append(b, '}')
}

func (c *call) discover() {
	b := append(c.out[:0], `{"jsonrpc":"2.0","id":`...)
	b = append(append(b, c.env.ID...), `,"result":{"resultType":"complete","supportedVersions":[`...)
	for i, v := range wire.Supported {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontext.AppendString(b, v)
	}
	b = append(append(b, `],`...), c.capabilities()...)
	b = append(b, `,"ttlMs":`+listTTL+`,"cacheScope":"private"`...)
	b = c.appendImplementation(append(b, `,"_meta":{"`+wire.MetaServerInfo+`":`...), wire.V20260728)
	c.out = append(b, '}', '}', '}')
	c.write(http.StatusOK, c.out)
}

func (c *call) listTools() {
	x, ok := c.compiled()
	if !ok {
		return
	}
	defer x.Release()
	b := append(c.out[:0], `{"jsonrpc":"2.0","id":`...)
	b = append(append(b, c.env.ID...), `,"result":{`...)
	if c.modern {
		b = append(b, `"resultType":"complete",`...)
	}
	b = append(b, `"tools":[`...)
	empty := len(b)
	for _, t := range x.Service.Order {
		if c.variant.Off([]byte(t.Name)) || c.restricted() && !c.mayCall([]byte(t.Name)) {
			continue
		}
		if len(b) > empty {
			b = append(b, ',')
		}
		b = append(b, t.Entry...)
	}
	b = append(b, ']')
	if c.modern {
		b = c.appendMeta(append(b, `,"ttlMs":`+listTTL+`,"cacheScope":"private"`...))
	}
	c.out = append(b, '}', '}')
	c.write(http.StatusOK, c.out)
}

// compiled gives the service ready for calls; Release it.
func (c *call) compiled() (*catalog.Compiled, bool) {
	x, err := c.g.options.Catalog.Compiled(c.variant)
	if err != nil {
		c.detail = err.Error()
		text := "The service cannot be served now: its definition could not be compiled"
		if errors.Is(err, catalog.ErrCompiling) {
			text = "The service cannot be served yet: its definition is still being compiled; try again later"
		}
		c.refuse(wire.BackendUnavailable, text)
		return nil, false
	}
	return x, true
}

// callTool decides on the tool, makes the HTTP request and shapes the answer.
func (c *call) callTool() {
	x, ok := c.compiled()
	if !ok {
		return
	}
	defer x.Release()
	tool := x.Service.Tools[string(c.env.Name)]
	if granted := c.mayCall(c.env.Name); tool == nil || !granted || x.Definition.Disabled(c.env.Name) || c.variant.Off(c.env.Name) {
		c.unknownTool(tool != nil && !granted)
		return
	}
	if c.modern {
		if err := tool.ParamsDiffer(c.env.Arguments, c.r.Header, wire.DecodeHeaderName); err != nil {
			c.refuse(wire.HeaderMismatch, "Header mismatch: "+err.Error())
			return
		}
	}
	if !c.limit() {
		return
	}
	ctx := c.r.Context()
	if c.session != nil {
		var of flight
		ctx, of = c.g.inflight.begin(ctx, flightKey{wire.First(c.r.Header, headerSession), string(c.env.ID)})
		defer c.g.inflight.end(of)
	}
	result, ok := c.execute(ctx, x, tool)
	c.bodyFree = true // a request to the backend has its own
	if !ok {
		return
	}
	if c.modern && len(result) > 2 {
		b := append(c.out[:0], `{"jsonrpc":"2.0","id":`...)
		b = append(append(b, c.env.ID...), `,"result":{"resultType":"complete"`...)
		b = append(c.appendMeta(b), ',')
		c.out = append(append(b, result[1:]...), '}')
	} else {
		c.out = wire.AppendResult(c.out[:0], c.env.ID, result)
	}
	c.letGo(len(result))
	if c.events != nil {
		c.events.send(c.out)
		return
	}
	c.write(http.StatusOK, c.out)
}

// letGo drops what a large result was made of before it is sent: the client may take its time.
func (c *call) letGo(size int) {
	if size <= budget.Free {
		return
	}
	c.answer, c.request.Body = nil, nil
	c.work.Reset()
	c.share.Set(int64(cap(c.body) + cap(c.out)))
}

// unknownTool answers for tools that do not exist and for those the caller may not know of: byte for byte the same.
func (c *call) unknownTool(denied bool) {
	c.reason = "unknown tool"
	if denied {
		c.reason = "tool not granted"
	}
	c.allowed = false
	e := wire.UnknownToolError(c.env.Name, c.modern)
	if denied && c.g.options.RevealDenied {
		e.Message = "Tool not granted to this key: " + string(c.env.Name)
	}
	reason := c.reason
	c.refuseError(e)
	c.reason = reason
}

// execute runs one tool. It reports false if the caller has gone and there is nobody to answer.
func (c *call) execute(ctx context.Context, x *catalog.Compiled, tool *convert.Tool) ([]byte, bool) {
	if cost := argumentCost(c.env.Arguments); cost > 0 && !c.share.Grow(cost) {
		if !c.g.options.Memory.Fits(cost) {
			return convert.ErrorResult("call failed: the arguments are too large for limits.memory of the proxy"), true
		}
		return c.full()
	}
	in := convert.Call{Arguments: c.env.Arguments, Query: c.clientQuery(), ClientIP: c.g.clientAddress(c.r)}
	if tool.Reads(c.r.Header) {
		in.Header, in.Withheld = c.clientHeader()
	}
	if c.worked = true; c.request.Header == nil {
		c.request.Reset()
	}
	req, finished, err := tool.RequestIn(&c.work, c.request.Header, in)
	if err != nil {
		c.detail = err.Error() // it names credential references: not for the client
		return finished, true
	}
	if req == nil {
		return finished, true
	}
	c.request.Method, c.request.Path, c.request.Host, c.request.Body = req.Method, req.URL, req.Host, req.Body
	c.request.SecretHosts, c.request.Decode, c.request.LooseCoding = req.SecretHosts, true, true
	resp, err := x.Backend.Do(ctx, &c.request)
	if err != nil {
		return c.fault(ctx, tool, err)
	}
	defer resp.Body.Close()
	resp.Hold = &c.share
	if kind := convert.StreamOf(wire.First(resp.Header, contentTypeKey)); kind != convert.NoStream {
		pieces, err := c.gather(x, resp, kind, func(piece []byte) []byte { return tool.Conceal(&c.work, piece) })
		if err != nil {
			return c.fault(ctx, tool, err)
		}
		return tool.GatheredResult(&c.work, in, resp.Status, resp.Header, pieces), true
	}
	if c.answer, err = resp.AppendBody(c.answer[:0]); err != nil {
		return c.fault(ctx, tool, err)
	}
	if cost := answerCost(c.answer); cost > 0 && !c.share.Grow(cost) {
		if !c.g.options.Memory.Fits(cost + int64(cap(c.answer))) {
			return convert.ErrorResult("call failed: the answer is too large for limits.memory of the proxy"), true
		}
		return c.full()
	}
	return tool.ResultIn(&c.work, in, resp.Status, resp.Header, c.answer), true
}

// What a JSON value takes once it is read, besides its text. Answers are read only where a template asks.
const (
	argumentValue = 48
	answerValue   = 16
)

// argumentCost is about what it takes to check large arguments and to make a request of them; 0 for small ones.
func argumentCost(arguments []byte) int64 {
	if len(arguments) <= budget.Free {
		return 0
	}
	return 6*int64(len(arguments)) + argumentValue*int64(bytes.Count(arguments, []byte{','}))
}

// answerCost is about what it takes to make a result of a large answer; 0 for small ones.
func answerCost(answer []byte) int64 {
	if len(answer) <= budget.Free {
		return 0
	}
	return 2*int64(len(answer)) + answerValue*int64(bytes.Count(answer, []byte{','}))
}

// fault turns a backend's fault into a result; the audit log has what the client is not told.
func (c *call) fault(ctx context.Context, tool *convert.Tool, err error) ([]byte, bool) {
	c.noteFault(err)
	if ctx.Err() != nil && c.r.Context().Err() != nil {
		c.status = 499
		c.reason = "caller went away"
		return nil, false
	}
	if upstream.KindOf(err) == upstream.Busy || errors.Is(err, wire.ErrNoRoom) {
		return c.full()
	}
	var e *upstream.Error
	if !errors.As(err, &e) {
		return convert.ErrorResult("call failed: backend fault"), true
	}
	return convert.ErrorResult("call failed: " + string(tool.Conceal(&c.work, []byte(e.Error())))), true
}

// full is execute's return where the process's bounds are reached: a refusal, or, where the answer has become an event
// stream, a result that says so.
func (c *call) full() ([]byte, bool) {
	if c.events != nil {
		return convert.ErrorResult("call failed: " + upstream.Busy.String()), true
	}
	c.overloaded()
	return nil, false
}

// clientHeader returns what tools may see of the request's headers, nothing that may be a key, and why Authorization is not
// among it if there was one.
func (c *call) clientHeader() (h http.Header, withheld string) {
	h = make(http.Header, len(c.r.Header))
	for name, values := range c.r.Header {
		if strings.HasPrefix(name, "Mcp-") {
			continue
		}
		h[name] = values
	}
	c.g.strip(h, c.identity.consumer, c.index)
	if _, sent := h[authorization]; !sent {
		withheld = c.withheld()
	}
	return h, withheld
}

// clientQuery is what tools may see of the request's query: nothing that stood where a key may stand.
func (c *call) clientQuery() string {
	if c.r.URL.RawQuery == "" {
		return ""
	}
	query := c.r.URL.Query()
	for _, sources := range [][]registry.KeySource{c.g.options.Sources, c.index.KeySources()} {
		for _, s := range sources {
			if s.Query != "" {
				query.Del(s.Query)
			}
		}
	}
	for name, values := range query {
		if slices.ContainsFunc(values, holdsKey) {
			query.Del(name)
		}
	}
	return query.Encode()
}
