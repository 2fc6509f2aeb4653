package catalog

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
)

// Compiled is a variant made ready for calls. Release it when the call is over.
type Compiled struct {
	Definition *registry.Definition // without its tools' templates: those are in Service
	Service    *convert.Service     // nil for passed-through services
	Backend    *upstream.Backend    // nil for converted services whose tools all have absolute URLs or need no backend

	ForwardHeaders []string                      // headers of clients that go to the backend, canonical
	Credential     func(*upstream.Request) error // adds the service's own credential; nil: there is none
	// Own, where it is not nil, takes the place of Credential: it adds the caller's own credential.
	Own func(*upstream.Request, convert.Call) error

	references []string // to credentials

	unended atomic.Bool // see SawUnendedEvents

	fault error // what keeps every request from being sent; nil if nothing does

	uses atomic.Int64 // 1 for the LRU, 1 for an upgrade and 1 per call
}

func (x *Compiled) acquire() bool {
	for {
		n := x.uses.Load()
		if n == 0 {
			return false
		}
		if x.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release closes the backend after the last use; aside, since that talks to those at the other end of its connections.
func (x *Compiled) release() {
	if x.uses.Add(-1) == 0 && x.Backend != nil {
		go x.Backend.Close()
	}
}

// Release gives it back after a call.
func (x *Compiled) Release() { x.release() }

// SawUnendedEvents notes for /status that an event stream of the backend ended without a blank line behind its last event.
func (x *Compiled) SawUnendedEvents() {
	if !x.unended.Load() {
		x.unended.Store(true)
	}
}

// ErrCompiling is why a service cannot be called that takes long to compile.
var ErrCompiling = errors.New("it is still being compiled")

var errClosing = errors.New("the proxy is ending")

// compilation is a variant being compiled, or compiled just now, for all who want it.
type compilation struct {
	variant *Variant
	task    *task

	// Guarded by Catalog.compiling.
	ended  bool
	shares int  // calls and upgrades that wait for x; afterwards those are uses of it
	stale  bool // what it was made from has changed meanwhile

	// Written before task.done is closed.
	x   *Compiled
	err error
}

// compilations are those under way.
type compilations struct {
	sync.Mutex
	byVariant map[*Variant]*compilation
	closed    bool
}

// Compiled returns v ready for calls, compiling it if need be; however many ask, it is compiled once. It waits for
// compileWait at most. It has the tools that v switches off, too: see Off.
func (c *Catalog) Compiled(v *Variant) (*Compiled, error) {
	v = v.root()
	if x, ok := c.compiled.Get(v); ok && x.acquire() {
		return x, nil
	}
	k, err := c.join(v)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(c.compileWait)
	defer timer.Stop()
	select {
	case <-k.task.done:
	case <-timer.C:
		if !c.leave(k) {
			return nil, ErrCompiling
		}
	}
	return k.x, k.err
}

// join has v compiled, or waits together with those who do. Whoever joins leaves, or releases what comes of it.
func (c *Catalog) join(v *Variant) (*compilation, error) {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if k := c.compiling.byVariant[v]; k != nil {
		k.shares++
		return k, nil
	}
	k := &compilation{variant: v, shares: 1, err: errClosing}
	if x, ok := c.compiled.Get(v); ok && x.acquire() { // just now
		k.x, k.err, k.ended, k.task = x, nil, true, doneTask
		return k, nil
	}
	var err error
	if k.task, err = c.compiler.start(v.Service, func() { c.work(k) }); err != nil {
		return nil, err
	}
	c.compiling.byVariant[v] = k
	return k, nil
}

var doneTask = func() *task { t := &task{done: make(chan struct{})}; close(t.done); return t }()

// leave gives a share up. Once the compilation has ended it cannot be, and leave returns true: k's outcome is there.
func (c *Catalog) leave(k *compilation) bool {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if !k.ended {
		k.shares--
	}
	return k.ended
}

// work is the task of k.
func (c *Catalog) work(k *compilation) {
	serial := c.Index().Serial()
	x, err := c.compileSafely(k.variant)
	c.compiling.Lock()
	defer c.compiling.Unlock()
	k.stale = k.stale || err == nil && c.renewedSince(serial, x.references)
	if k.x, k.err, k.ended = x, err, true; c.compiling.byVariant[k.variant] == k {
		delete(c.compiling.byVariant, k.variant)
	}
	if err == nil {
		x.uses.Store(int64(k.shares) + 1)
		if !c.compiling.closed && !k.stale && c.serves(k.variant) {
			c.retain(k.variant, x)
		} else {
			x.release()
		}
	}
}

// retain hands a use of x to the LRU, unless v is not served any more. The writer swaps the Index before it removes what is
// gone, so whichever of the two looks last sees what the other did.
func (c *Catalog) retain(v *Variant, x *Compiled) {
	c.compiled.Add(v, x)
	if !c.serves(v) {
		c.compiled.Remove(v)
	}
}

// serves reports whether a variant that is compiled as root is in the current Index.
func (c *Catalog) serves(root *Variant) bool { return c.Index().Service(root.Service).has(root) }

// forget has v compiled anew for the next call.
func (c *Catalog) forget(v *Variant) {
	c.compiled.Remove(v)
	c.compiling.Lock()
	defer c.compiling.Unlock()
	if k := c.compiling.byVariant[v]; k != nil {
		k.stale = true
		delete(c.compiling.byVariant, v)
	}
}

// compileSafely makes a panic the fault of the variant that it came from.
func (c *Catalog) compileSafely(v *Variant) (x *Compiled, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.options.Log.Error("compiling a service panicked", "service", v.Service, "panic", p, "stack", string(debug.Stack()))
			x, err = nil, errPanicked
		}
	}()
	return c.compile(v)
}

var errPanicked = errors.New("compiling it failed by a fault of the proxy; see its log")

// compile opens the backend first: that fails more cheaply than the rest, and calls to a service that fails try again.
func (c *Catalog) compile(v *Variant) (x *Compiled, err error) {
	def, _, err := v.definition()
	if err != nil {
		return nil, err
	}
	x = &Compiled{Definition: def, ForwardHeaders: slices.Concat(c.options.ForwardHeaders, def.Backend.ForwardHeaders)}
	if c.options.Backends != nil {
		if x.Backend, err = c.options.Backends.Open(v.Service, def.Backend); err != nil {
			return nil, err
		}
		defer func() {
			if p := recover(); p != nil {
				x.Backend.Close()
				panic(p)
			}
		}()
	}
	if found := c.credentialFaults(v, def); registry.Rejects(found) {
		x.fault = firstError(found)
	}
	if v.Kind.Converted() {
		x.Service, _ = convert.Compile(def, c.options.Convert(c.secrets))
		x.references = x.Service.References
		slim := *def
		slim.Tools = nil
		x.Definition = &slim
	} else if def.Downstream != nil {
		x.Own, x.references = c.credential(def)
	} else if def.Backend.Security != nil {
		add, references := c.credential(def)
		x.Credential, x.references = func(r *upstream.Request) error { return add(r, convert.Call{}) }, references
	}
	c.noteReferences(v.Service, x.references)
	return x, nil
}

var errCredential = errors.New("the credential towards the backend cannot be made; see the service's documents in /status")

// credential gives what adds the service's own credential, or that of the caller, to requests to its MCP backend. One with a
// fault fails each request: it is not sent without.
func (c *Catalog) credential(def *registry.Definition) (add func(*upstream.Request, convert.Call) error, references []string) {
	credential, references, _ := convert.CompileCredential(def, c.options.Convert(c.secrets))
	return func(r *upstream.Request, caller convert.Call) error {
		if credential == nil {
			return errCredential
		}
		path, query, _ := strings.Cut(r.Path, "?")
		added, hosts, err := credential.Apply(r.Header, query, caller)
		if err != nil {
			return err
		}
		if added != "" {
			r.Path = path + "?" + added
		}
		r.SecretHosts = append(r.SecretHosts, hosts...)
		return nil
	}, references
}

// CompiledCount is how many services are compiled now.
func (c *Catalog) CompiledCount() int { return c.compiled.Len() }

// Pending is how many definitions still wait for their validation.
func (c *Catalog) Pending() int { return int(c.pending.Load()) }

// checkedVariant is what compiling a variant for validation alone found.
type checkedVariant struct {
	variant    *Variant
	rejections []registry.Rejection
}

// loadingPause is the time without a change after which a source counts as read.
const loadingPause = 400 * time.Millisecond

// runChecks validates definitions one by one, whether or not anybody ever calls them.
func (c *Catalog) runChecks(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.unread:
		}
		for c.awaitLoaded(ctx) {
			v := c.nextCheck()
			if v == nil {
				break
			}
			c.check(ctx, v)
		}
	}
}

// tooLong is noted on documents of variants that are stuck.
var tooLong = "compiling it has taken longer than " + patience.String() + " and goes on"

// check validates one definition. One that takes long holds up no others.
func (c *Catalog) check(ctx context.Context, v *Variant) {
	var found []registry.Rejection
	t, err := c.checker.start(v.Service, func() { found = c.validateSafely(v) })
	if err != nil {
		c.report(v, []registry.Rejection{{Message: "it cannot be compiled: " + err.Error()}})
		return
	}
	select {
	case <-ctx.Done():
	case <-t.done:
		if len(found) > 0 || slices.ContainsFunc(v.noteworthy(), c.noted) {
			c.report(v, found)
		}
	case <-t.late:
		c.report(v, []registry.Rejection{{Message: tooLong}})
		go func() {
			<-t.done
			c.report(v, found)
		}()
	}
}

// maxNoted bounds what is noted of one variant. A definition may have tens of thousands of tools.
const maxNoted = 1000

// report has what was found noted.
func (c *Catalog) report(v *Variant, found []registry.Rejection) {
	if len(found) > maxNoted {
		found = append(found[:maxNoted:maxNoted], registry.Rejection{Message: "there are more faults: mend these first", Warning: true})
	}
	c.mu.Lock()
	c.checked = append(c.checked, checkedVariant{v, found})
	c.mu.Unlock()
	signal(c.wake)
}

// validateSafely makes a panic the fault of the variant that it came from.
func (c *Catalog) validateSafely(v *Variant) (found []registry.Rejection) {
	defer func() {
		if p := recover(); p != nil {
			c.options.Log.Error("validating a service panicked", "service", v.Service, "panic", p, "stack", string(debug.Stack()))
			found = []registry.Rejection{{Message: errPanicked.Error()}}
		}
	}()
	for {
		serial := c.Index().Serial()
		found, references := c.validate(v)
		if !c.renewedSince(serial, references) {
			return found
		}
	}
}

// noted reports whether something is noted on a document.
func (c *Catalog) noted(doc *Document) bool {
	current := c.Index().Document(doc.Key)
	return current != nil && current.noted != nil
}

// awaitLoaded waits while the source is being read for the first time: being ready has precedence. It returns false when
// ctx ends.
func (c *Catalog) awaitLoaded(ctx context.Context) bool {
	for c.loading() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(loadingPause / 4):
		}
	}
	return ctx.Err() == nil
}

// loading tells whether the source is being read for the first time. One that never comes to its end, for want of a
// right, is not being read when nothing has come for a while.
func (c *Catalog) loading() bool {
	if c.Index().Synced() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.fed) < loadingPause
}

func (c *Catalog) nextCheck() *Variant {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.pending.Store(int64(len(c.checks)))
		if len(c.checks) == 0 {
			c.checks = nil
			return nil
		}
		v := c.checks[0]
		c.checks[0] = nil
		c.checks = c.checks[1:]
		if !c.superseded(v) {
			return v
		}
	}
}

// superseded reports whether a newer version of a document of v has come, so that nobody cares what is wrong with this one.
func (c *Catalog) superseded(v *Variant) bool {
	x := c.Index()
	return slices.ContainsFunc(v.noteworthy(), func(d *Document) bool {
		current := x.Document(d.Key)
		return current == nil || !same(current, d)
	})
}

// credentialFaults returns what is wrong with the credential that v sends with every request, in the document that it stands
// in.
func (c *Catalog) credentialFaults(v *Variant, def *registry.Definition) []registry.Rejection {
	if def.Backend.Security == nil && def.Downstream == nil {
		return nil
	}
	_, _, found := convert.CompileCredential(def, c.options.Convert(c.secrets))
	if v.upstream == nil || v.upstream.value.(*registry.Upstream).Security == nil {
		return found
	}
	for i := range found {
		found[i] = v.upstream.value.(*registry.Upstream).Rejects(v.upstream.Key.DataID, found[i])
	}
	return found
}

// tlsRejection rejects the document of v that names a TLS file.
func (v *Variant) tlsRejection(fault *upstream.TLSFault) registry.Rejection {
	if v.upstream == nil || v.upstream.value.(*registry.Upstream).TLS == nil {
		return tlsRejection("upstream.tls.", fault)
	}
	r := tlsRejection("tls.", fault)
	r.Group, r.DataID = v.upstream.Key.Group, v.upstream.Key.DataID
	return r
}

// validate compiles v and throws the result away but for what was wrong with it, and the credentials it refers to.
func (c *Catalog) validate(v *Variant) (found []registry.Rejection, references []string) {
	def, found, err := v.definition()
	if err != nil {
		return found, nil
	}
	var more []registry.Rejection
	if def.Kind.Converted() {
		var compiled *convert.Service
		compiled, more = convert.Compile(def, c.options.Convert(c.secrets))
		references = compiled.References
	} else {
		_, references, _ = convert.CompileCredential(def, c.options.Convert(c.secrets))
	}
	c.noteReferences(v.Service, references)
	found = slices.Concat(found, c.credentialFaults(v, def), more)
	if fault := c.options.TLSFiles.Check(def.Backend.TLS); fault != nil {
		found = append(found, v.tlsRejection(fault))
	}
	return append(found, c.unforwarded(v, def)...), references
}

// unforwarded warns of the headers that v has forwarded from clients and that never get to its backend, in the document that
// lists them.
func (c *Catalog) unforwarded(v *Variant, def *registry.Definition) (found []registry.Rejection) {
	for _, header := range def.Backend.ForwardHeaders {
		why := convert.Unforwarded(def, header)
		if slices.ContainsFunc(c.options.KeySources, func(s registry.KeySource) bool { return s.Header == header }) {
			why = "the proxy's own keys are presented there (access.sources), and stay here"
		}
		if why == "" {
			continue
		}
		r := registry.Rejection{Field: "upstream.forwardHeaders", Message: header + " never reaches the backend: " + why, Warning: true}
		if v.upstream != nil && slices.Contains(v.upstream.value.(*registry.Upstream).ForwardHeaders, header) {
			r.Group, r.DataID, r.Field = v.upstream.Key.Group, v.upstream.Key.DataID, "forwardHeaders"
		}
		found = append(found, r)
	}
	return found
}
