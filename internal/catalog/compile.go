package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

	uses atomic.Int64 // 1 for the LRU and 1 per call
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

func (x *Compiled) release() {
	if x.uses.Add(-1) == 0 && x.Backend != nil {
		x.Backend.Close()
	}
}

// Release gives it back after a call.
func (x *Compiled) Release() { x.release() }

// Compiled gives v ready for calls, compiling it if need be; however many ask, it is compiled once.
func (c *Catalog) Compiled(v *Variant) (*Compiled, error) {
	for {
		if x, ok := c.compiled.Get(v); ok && x.acquire() {
			return x, nil
		}
		_, err, _ := c.flight.Do(fmt.Sprintf("%p", v), func() (any, error) {
			if c.compiled.Contains(v) {
				return nil, nil
			}
			x, err := c.compile(v)
			if err != nil {
				return nil, err
			}
			c.compiled.Add(v, x)
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
}

func (c *Catalog) compile(v *Variant) (*Compiled, error) {
	def, _, err := v.definition()
	if err != nil {
		return nil, err
	}
	x := &Compiled{Definition: def, ForwardHeaders: slices.Concat(c.options.ForwardHeaders, def.Backend.ForwardHeaders)}
	x.uses.Store(1)
	if v.Kind.Converted() {
		x.Service, _ = convert.Compile(def, c.options.Convert(c.secrets))
		c.noteReferences(v.Service, x.Service.References)
		slim := *def
		slim.Tools = nil
		x.Definition = &slim
	} else if def.Downstream != nil {
		x.Own = c.credential(v.Service, def)
	} else if def.Backend.Security != nil {
		add := c.credential(v.Service, def)
		x.Credential = func(r *upstream.Request) error { return add(r, convert.Call{}) }
	}
	if c.options.Backends == nil {
		return x, nil
	}
	if x.Backend, err = c.options.Backends.Open(v.Service, def.Backend); err != nil {
		return nil, fmt.Errorf("open backend of %s: %w", v.Service, err)
	}
	return x, nil
}

var errCredential = errors.New("the credential towards the backend cannot be made; see the service's documents in /status")

// credential gives what adds the service's own credential, or that of the caller, to requests to its MCP backend. One with a
// fault fails each request: it is not sent without.
func (c *Catalog) credential(service string, def *registry.Definition) func(*upstream.Request, convert.Call) error {
	credential, references, _ := convert.CompileCredential(def, c.options.Convert(c.secrets))
	c.noteReferences(service, references)
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
	}
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
			found := c.validate(v)
			if len(found) == 0 && !c.noted(v.source()) && !c.noted(v.upstream) {
				continue
			}
			c.mu.Lock()
			c.checked = append(c.checked, checkedVariant{v, found})
			c.mu.Unlock()
			signal(c.wake)
		}
	}
}

// noted reports whether something is noted on a document, which may be nil.
func (c *Catalog) noted(doc *Document) bool {
	if doc == nil {
		return false
	}
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
	c.pending.Store(int64(len(c.checks)))
	if len(c.checks) == 0 {
		c.checks = nil
		return nil
	}
	v := c.checks[0]
	c.checks = c.checks[1:]
	return v
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

// validate compiles v and throws the result away but for what was wrong with it.
func (c *Catalog) validate(v *Variant) []registry.Rejection {
	def, found, err := v.definition()
	if err != nil {
		return found
	}
	if def.Kind.Converted() {
		compiled, more := convert.Compile(def, c.options.Convert(c.secrets))
		c.noteReferences(v.Service, compiled.References)
		found = append(found, more...)
	} else {
		_, references, more := convert.CompileCredential(def, c.options.Convert(c.secrets))
		c.noteReferences(v.Service, references)
		found = append(found, more...)
	}
	if fault := c.options.TLSFiles.Check(def.Backend.TLS); fault != nil {
		found = append(found, v.tlsRejection(fault))
	}
	source := v.source()
	for i := range found {
		if found[i].Group == "" {
			found[i].Group, found[i].DataID = source.Key.Group, source.Key.DataID
		}
	}
	return found
}
