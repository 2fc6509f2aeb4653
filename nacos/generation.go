package nacos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	askTimeout = 3 * time.Second
	askAgain   = time.Second
)

// generation is what the server of the moment was found to be.
//
// To 2.x the public namespace of documents is the blank one: what is written as "public" over gRPC is seen by nobody else,
// least of all in its console. 3.x knows it by name.
type generation struct {
	asking turn // held while the server is asked

	mu    sync.Mutex
	known bool
	old   bool // 2.x
	next  time.Time

	fuzzyUnknown bool // the server had no handler for a fuzzy watch
}

// old tells whether the server is of 2.x. It waits only until that was known once.
func (c *Client) old(ctx context.Context) bool {
	g := &c.generation
	g.mu.Lock()
	known, old, wait := g.known, g.old, time.Now().Before(g.next)
	g.mu.Unlock()
	if known || wait {
		return old
	}
	return c.learnGeneration(ctx)
}

// learnGeneration asks the server, as it may be another one after each connect.
func (c *Client) learnGeneration(ctx context.Context) bool {
	g := &c.generation
	if !g.asking.take(ctx) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.old
	}
	defer g.asking.release()
	old, version, err := c.askGeneration(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.next = time.Now().Add(askAgain) // as it was, until it answers
		return g.old
	}
	replaced := g.known && g.old != old
	g.known, g.old = true, old
	c.mu.Lock()
	if replaced || version != "" && c.state.Server != version {
		c.state.Server, g.fuzzyUnknown = version, false
	}
	c.mu.Unlock()
	if cn := c.link.current(); replaced && cn != nil {
		// What was listened to meanwhile was asked for in the wrong way.
		cn.lose(errors.New("the server has become one of another generation"))
	}
	return old
}

// tenant is the namespace of documents as the server wants it in a gRPC request.
func (c *Client) tenant(ctx context.Context) string {
	if c.cfg.Namespace == PublicNamespace && c.old(ctx) {
		return ""
	}
	return c.cfg.Namespace
}

// knowsFuzzy tells whether the server may be asked for a fuzzy watch: one of 2.x is never asked, another one that has no
// handler for it never again.
func (c *Client) knowsFuzzy(ctx context.Context) bool {
	if c.old(ctx) {
		return false
	}
	c.generation.mu.Lock()
	defer c.generation.mu.Unlock()
	return !c.generation.fuzzyUnknown
}

// noHandler is what a server answers to a kind of request that it does not know.
const noHandler = "RequestHandler Not Found"

func (c *Client) fuzzyFailed(err error) {
	if strings.Contains(err.Error(), noHandler) {
		c.log.Debug("nacos knows no fuzzy watch")
		c.generation.mu.Lock()
		c.generation.fuzzyUnknown = true
		c.generation.mu.Unlock()
	}
}

// askGeneration asks for what only 3.x answers, then for what only 2.x does. The version is left empty where it is not
// told; an error means that neither answered for sure.
func (c *Client) askGeneration(ctx context.Context) (old bool, version string, err error) {
	get := func(path string, query url.Values) ([]byte, error) {
		return c.http.do(ctx, request{method: http.MethodGet, path: path, query: query, timeout: askTimeout})
	}
	body, err := get("/nacos/v3/admin/core/state", nil)
	if err == nil {
		var state struct{ Data struct{ Version string } }
		_ = json.NewDecoder(bytes.NewReader(body)).Decode(&state)
		return false, state.Data.Version, nil
	}
	if !missing(err) {
		var status *statusError
		if errors.As(err, &status) && errors.Is(err, ErrForbidden) {
			err = nil // it is there
		}
		return false, "", err
	}
	_, err = get("/nacos/v1/cs/configs", url.Values{"search": {"accurate"}, "dataId": {"-"}, "group": {"-"}, "pageNo": {"1"}, "pageSize": {"1"}})
	var status *statusError
	if missing(err) {
		return false, "", nil // neither API: as good as 3.x
	}
	if err != nil && !errors.As(err, &status) {
		return false, "", err
	}
	var state struct{ Version string }
	if body, err := get("/nacos/v1/console/server/state", nil); err == nil {
		_ = json.NewDecoder(bytes.NewReader(body)).Decode(&state)
	}
	return true, state.Version, nil
}

// missing tells whether an API is not there.
func missing(err error) bool {
	var status *statusError
	return errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusGone)
}
