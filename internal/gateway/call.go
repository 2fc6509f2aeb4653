package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

const (
	headerSession  = "Mcp-Session-Id"
	headerVersion  = "Mcp-Protocol-Version" // canonical form of MCP-Protocol-Version
	headerRetry    = "Retry-After"
	maxKeptBody    = 64 << 10 // larger buffers are not kept for the next call
	contentTypeKey = "Content-Type"
)

// call is one request on its way. Calls are pooled: nothing may keep a pointer into one after finish.
type call struct {
	state
	memory
}

// memory is what a call leaves to the next one.
type memory struct {
	env  wire.Envelope
	body []byte
	out  []byte

	// Of converted calls.
	work    convert.Work
	request upstream.Request
	answer  []byte // of the backend

	// Methods of the call as the relay wants them: to make them for each would be an allocation each.
	ownView     func() any
	ownStrip    func(string, []string) bool
	ownSees     func([]byte) bool
	ownWithheld func() string
}

// state is what is known of one request.
type state struct {
	g     *Gateway
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	now   int64 // of start, unix nanoseconds

	name, version string // as asked for
	index         *catalog.Index
	service       *catalog.Service
	variant       *catalog.Variant
	identity      identity
	open          bool // the service's switch is off
	decision      access.Decision
	session       *session.Session // nil: none
	opened        session.Session  // what session points to
	modern        bool
	ticket        access.Ticket
	share         budget.Share // what the call's large messages are held by
	inner         bool         // made of what an HTTP+SSE client posted, or for its stream
	passed        relay.Exchange
	def           *registry.Definition // of a service that is passed on
	bodyFree      bool                 // nothing reads the body any more
	worked        bool                 // work and request were used

	// for the audit log
	allowed bool
	reason  string
	detail  string
	status  int
	written int64
	events  *eventAnswer // the answer, if it has become an event stream
	abort   bool         // the answer broke off: the connection must end too, lest it be taken for whole
}

func newCall() *call {
	c := new(call)
	c.bind()
	return c
}

func (c *call) bind() {
	c.ownView, c.ownStrip, c.ownSees, c.ownWithheld = c.view, c.strip, c.sees, c.withheld
}

// copied gives the call to those who may need it when it is over. The buffers are still those of c.
func (c *call) copied() *call {
	other := &call{state: c.state, memory: c.memory}
	if c.session != nil {
		other.session = &other.opened
	}
	other.bind()
	return other
}

func (c *call) begin(g *Gateway, w http.ResponseWriter, r *http.Request, start time.Time, name, version string) {
	c.g, c.w, c.r, c.start, c.now, c.name, c.version = g, w, r, start, start.UnixNano(), name, version
	c.index = g.options.Catalog.Index()
	c.share = g.options.Memory.Share()
}

// finish audits the call and gives it back.
func (c *call) finish() {
	c.ticket.Release()
	if c.events != nil {
		c.written = c.events.end()
	}
	g := c.g
	if m := g.options.Metrics; m != nil {
		m.observe(c)
	}
	if g.options.Audit.wants(c.allowed) {
		record := c.record()
		g.options.Audit.Write(&record)
	}
	c.share.Release()
	abort := c.abort
	c.out, c.answer = reusable(c.out), reusable(c.answer)
	if c.body = reusable(c.body); !c.bodyFree { // a transport may read on after the backend has answered early
		c.body = nil
	}
	c.env.Reset() // which points into the body
	if c.worked {
		c.work.Reset()
		c.request.Reset()
	}
	c.state = state{}
	g.calls.Put(c)
	if abort {
		panic(http.ErrAbortHandler)
	}
}

func reusable(b []byte) []byte {
	if cap(b) > maxKeptBody {
		return nil
	}
	return b[:0]
}

func (c *call) record() Record {
	r := Record{
		Time: c.start, Service: c.name, Version: c.version, Method: c.env.Method, Allowed: c.allowed, Reason: c.reason,
		Status: c.status, Bytes: c.written, Duration: time.Since(c.start), RequestID: c.env.ID,
		TraceID: traceID(wire.First(c.r.Header, "Traceparent")), Client: c.g.clientAddress(c.r), Detail: c.detail,
	}
	if r.Method == "" {
		r.Method = c.r.Method
	}
	if c.identity.consumer != nil {
		r.Consumer = c.identity.consumer.Name
	}
	if c.identity.key != nil {
		r.KeyID = c.identity.key.ID
	}
	if c.env.Method == wire.MethodToolsCall {
		r.Tool = c.env.Name
		if c.g.options.AuditArguments {
			r.Arguments = c.env.Arguments
		}
	}
	if c.variant != nil && r.Version == "" {
		r.Version = c.variant.Version
	}
	return r
}

// refuse answers with a refusal of the proxy's own and notes why.
func (c *call) refuse(r wire.Refusal, message string) {
	c.refuseError(r.Error(c.modern, message))
}

func (c *call) refuseError(e *wire.Error) {
	c.status = e.Status
	if e.Refusal == wire.Overloaded {
		c.w.Header()[headerRetry] = retrySoon
	}
	if c.reason == "" || c.allowed {
		c.reason = e.Message
	}
	c.allowed = c.allowed && e.Refusal >= wire.NotReady
	var n int
	c.out, n = refuse(c.w, c.out, c.env.ID, e)
	c.written = int64(n)
}

var retrySoon = []string{"1"}

// overloaded refuses what does not fit into the process's bounds now.
func (c *call) overloaded() {
	c.reason = "over the limits of the process"
	c.refuse(wire.Overloaded, "")
}

// deny is a refusal by authorization, with its reason for the audit log.
func (c *call) deny(r wire.Refusal, reason string) {
	c.allowed, c.reason = false, reason
	c.refuse(r, "")
}

// admit authenticates and authorizes: whether the caller may do anything at all with this service.
func (c *call) admit() bool {
	if !c.index.Synced() {
		c.refuse(wire.NotReady, "")
		return false
	}
	if c.g.options.Audit.refuses() {
		c.refuse(wire.NotReady, "Not ready: decisions cannot be written to the audit log, without which calls are refused here")
		return false
	}
	if c.g.options.Stale != nil {
		if why, stale := c.g.options.Stale(); stale {
			c.refuse(wire.NotReady, why)
			return false
		}
	}
	c.service = c.index.Service(c.name)
	served := c.service != nil && c.service.NotServed == ""
	c.open = served && c.service.Access.Open()
	if c.open {
		c.allowed, c.reason = true, "switch off"
	} else if !c.authenticate() {
		return false
	}
	c.share.Own(c.consumerName())
	if !served {
		c.deny(wire.NoGrant, "no such service, or not served")
		return false
	}
	if !c.open {
		c.decision = c.service.Access.Service(c.identity.consumer, c.now)
		if !c.decision.Allowed {
			c.deny(wire.NoGrant, c.decision.Reason.String())
			return false
		}
		c.allowed, c.reason = true, c.decision.Reason.String()
	}
	if c.variant = c.service.Variant(c.version); c.variant == nil {
		c.deny(wire.NoGrant, "no such version, or the grants document does not list it")
		return false
	}
	return c.openSession()
}

func (c *call) authenticate() bool {
	c.identity = c.g.identify(c.r, c.index, c.now)
	if c.identity.consumer == nil {
		c.deny(wire.NoKey, c.identity.problem)
		return false
	}
	return true
}

// openSession reads the session id where there is one. Sealed ids are of use to the consumer, service and version alone
// that they were made for.
func (c *call) openSession() bool {
	id := wire.First(c.r.Header, headerSession)
	if c.modern = wire.Modern(wire.First(c.r.Header, headerVersion)); id == "" || c.modern {
		return true
	}
	s := &c.opened
	var err error
	if *s, err = c.g.options.Sealer.Open(id); err != nil || !s.For(c.name, c.variant.Version, c.consumerName()) {
		c.refuse(wire.UnknownSession, "")
		return false
	}
	c.session = s
	return true
}

func (c *call) consumerName() string {
	if c.identity.consumer == nil {
		return ""
	}
	return c.identity.consumer.Name
}

// restricted tells whether the caller may see and call only some tools.
func (c *call) restricted() bool { return !c.open && c.decision.Level == access.LevelTool }

// mayCall decides on one tool.
func (c *call) mayCall(tool []byte) bool {
	return c.open || c.service.Access.Tool(c.identity.consumer, tool, c.now).Allowed
}

// post reads the message, decides on its method and passes it on.
func (c *call) post() {
	if !c.readBody() {
		return
	}
	if err := wire.Scan(c.body, &c.env); err != nil {
		c.refuseScan(err)
		return
	}
	c.modern = wire.ModernRequest(c.r.Header, &c.env)
	if c.variant.Kind.Converted() {
		c.converted()
		return
	}
	c.passthrough()
}

func (c *call) refuseScan(err error) {
	var e *wire.Error
	if !errors.As(err, &e) {
		c.refuse(wire.Internal, "")
		return
	}
	c.refuseError(e)
}

// isJSON tells whether a body of this Content-Type is JSON as the scan reads it: in UTF-8. A charset that a backend might
// heed, or a second type, would make it another message there. None at all is taken for JSON.
func isJSON(values []string) bool {
	switch {
	case len(values) == 0 || len(values) == 1 && (values[0] == "application/json" || values[0] == ""):
		return true
	case len(values) > 1:
		return false
	}
	media, params, err := mime.ParseMediaType(values[0])
	charset, ok := params["charset"]
	return err == nil && media == "application/json" && (!ok || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8"))
}

// readBody reads the request's body within its limits of size and time.
func (c *call) readBody() bool {
	if !isJSON(c.r.Header[contentTypeKey]) {
		c.refuse(wire.UnsupportedMedia, "")
		return false
	}
	limit := c.g.options.RequestBody
	if c.r.ContentLength > limit {
		c.tooLarge()
		return false
	}
	size := c.r.ContentLength
	if size < 0 {
		size = 511
	}
	if c.body = c.body[:0]; int64(cap(c.body)) <= size {
		c.body = make([]byte, 0, min(size+1, budget.Free))
	}
	for {
		if len(c.body) == cap(c.body) && !c.moreRoom(size) {
			c.hangUp()
			c.overloaded()
			return false
		}
		n, err := c.r.Body.Read(c.body[len(c.body):cap(c.body)])
		c.body = c.body[:len(c.body)+n]
		switch {
		case int64(len(c.body)) > limit:
			c.tooLarge()
			return false
		case err == io.EOF:
			if c.g.options.BodyTime > 0 { // set by ServeHTTP; the connection may now be silent
				_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
			}
			return true
		case err != nil:
			c.hangUp()
			c.refuse(wire.NotJSON, "The request body could not be read in time")
			return false
		}
	}
}

// moreRoom makes the body's buffer larger, by as much as has come: what a client announces and does not send is not held.
// It reports false where there is no memory for it.
func (c *call) moreRoom(size int64) bool {
	have := cap(c.body)
	if have < budget.Free/2 {
		c.body = append(c.body, 0)[:len(c.body)]
		return true
	}
	n := 2 * have
	if whole := size + 1; whole > int64(have) && whole < int64(n) {
		n = int(whole)
	}
	if !c.share.Grow(int64(n - have)) {
		return false
	}
	c.body = append(make([]byte, 0, n), c.body...)
	return true
}

// hangUp ends the connection with the answer, as the rest of the body would be taken for the next request. Over HTTP/2 it
// is the stream alone that ends; others on the connection are not to suffer.
func (c *call) hangUp() {
	if c.r.ProtoMajor < 2 {
		c.w.Header().Set("Connection", "close")
	}
}

func (c *call) tooLarge() {
	c.hangUp()
	c.refuse(wire.BodyTooLarge, "Request body too large: at most "+strconv.FormatInt(c.g.options.RequestBody, 10)+" bytes")
}

// limited reports whether limits count the request: calls, whether or not they want an answer, and streams. The one stream
// of an HTTP+SSE client was counted when it came; what is behind it is no second one.
func (c *call) limited() bool {
	switch {
	case c.r.Method == http.MethodGet:
		return !c.inner
	case c.env.Kind == wire.Request:
		return c.env.Method != wire.MethodPing
	}
	return c.env.Kind == wire.Notification && !strings.HasPrefix(c.env.Method, "notifications/")
}

// limit applies the limits of the consumer, of the service and of the tool, and answers where one is reached. It comes
// after the decision: a tool's own limit would show that there is the tool, and what is refused is to cost nobody anything.
func (c *call) limit() bool {
	if c.g.options.Limiter == nil || !c.limited() {
		return true
	}
	asked := access.Asked{Consumer: c.identity.consumer, Stream: c.r.Method == http.MethodGet || c.env.Method == wire.MethodListen}
	if asked.Consumer == nil && c.service.Access.Limited() {
		asked.Address = c.neighbourhood()
	}
	if c.env.Method == wire.MethodToolsCall {
		asked.Tool = c.env.Name
	}
	ticket, wait, ok := c.g.options.Limiter.Admit(c.service.Access, asked, c.start)
	if ok {
		c.ticket = ticket
		return true
	}
	seconds := max(1, int64((wait+time.Second-1)/time.Second))
	c.w.Header().Set(headerRetry, strconv.FormatInt(seconds, 10))
	c.deny(wire.TooManyRequests, "rate limit")
	return false
}

// write sends a whole JSON answer.
func (c *call) write(status int, body []byte) {
	h := c.w.Header()
	h[contentTypeKey] = jsonType
	if len(body) > relay.SelfCounted {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.status = status
	c.w.WriteHeader(status)
	n, _ := c.w.Write(body)
	c.written = int64(n)
}

// noteFault keeps for the audit log what the client is not told of a backend's fault.
func (c *call) noteFault(err error) {
	c.detail = err.Error()
	var e *upstream.Error
	if errors.As(err, &e) {
		c.detail = e.Detail()
	}
}
