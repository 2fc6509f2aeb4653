package nacos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
	sdkmodel "github.com/nacos-group/nacos-sdk-go/v2/model"
)

// configHandlers registers what the server pushes about documents.
func (c *Client) configHandlers(cn *conn) {
	cn.on(func() rpc_request.IRequest {
		return rpc_request.NewConfigChangeNotifyRequest("", "", "")
	}, func(req rpc_request.IRequest) rpc_response.IResponse {
		if n, ok := req.(*rpc_request.ConfigChangeNotifyRequest); ok {
			c.push(n.Tenant, Key{n.Group, n.DataId}, becausePushed)
		}
		return answered("ConfigChangeNotifyResponse")
	})
	cn.on(func() rpc_request.IRequest {
		return &fuzzySyncRequest{Request: &rpc_request.Request{}}
	}, func(req rpc_request.IRequest) rpc_response.IResponse {
		if n, ok := req.(*fuzzySyncRequest); ok {
			for _, x := range n.Contexts {
				if !c.probed(x.GroupKey) {
					c.hint(x.GroupKey, x.ChangedType)
				}
			}
		}
		return answered("ConfigFuzzyWatchSyncResponse")
	})
	cn.on(func() rpc_request.IRequest {
		return &fuzzyNotifyRequest{Request: &rpc_request.Request{}}
	}, func(req rpc_request.IRequest) rpc_response.IResponse {
		if n, ok := req.(*fuzzyNotifyRequest); ok {
			c.hint(n.GroupKey, n.ChangeType)
		}
		return answered("ConfigFuzzyWatchChangeNotifyResponse")
	})
}

// push passes on what the server said of a document. It runs while nothing else is received.
func (c *Client) push(tenant string, k Key, why reason) {
	if tenant == "" {
		tenant = PublicNamespace
	}
	if tenant != c.cfg.Namespace {
		return
	}
	c.mu.Lock()
	watches := slices.Collect(maps.Keys(c.watches))
	c.mu.Unlock()
	for _, w := range watches {
		w.pushed(k, why)
	}
}

// hint takes a fuzzy watch's word: "dataId+group+namespace". Neither part can hold a plus.
func (c *Client) hint(groupKey, changeType string) {
	part := strings.Split(groupKey, "+")
	if len(part) < 2 || changeType == "DELETE_CONFIG" {
		return // what we know of is listened to; a removal is pushed
	}
	tenant := ""
	if len(part) > 2 {
		tenant = part[2]
	}
	c.push(tenant, Key{part[1], part[0]}, becauseHinted)
}

// listenLoop sees to it that every followed document is listened to on the connection of the moment.
func (w *watch) listenLoop() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var again repetition
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.listenNow:
		case <-ticker.C:
			w.unpark()
			poke(w.deliverNow) // what waits for others, or for quiet
		}
		cn := w.c.link.current()
		if cn == nil {
			continue
		}
		now := time.Now()
		w.mu.Lock()
		if w.relisten {
			w.relisten = false
			again = repetition{}
		}
		if w.generation != cn.generation {
			w.generation = cn.generation
			w.unheard = w.unheard[:0]
			for _, d := range w.docs {
				d.listening = false
				w.unheard = append(w.unheard, d)
			}
			w.unlisten = nil // a new connection listens to nothing
			clear(w.refused)
			again.begin(now)
			w.wg.Go(func() { w.fuzzy(cn) })
		}
		all, unlisted := again.due(now, w.c.cfg.ListInterval)
		due := w.due(all, unlisted)
		w.mu.Unlock()
		w.listen(due)
		if all || unlisted {
			again.took(time.Since(now))
		}
		w.dropListening()
	}
}

// repetition tells when documents are listened to again on the same connection, because a push may have been lost:
// all of them now and then, and more often those that no list covers, where nothing else would tell.
type repetition struct{ all, unlisted, notBefore time.Time }

func (r *repetition) begin(now time.Time) { r.all, r.unlisted = now, now }

func (r *repetition) due(now time.Time, interval time.Duration) (all, unlisted bool) {
	if now.Before(r.notBefore) {
		return false, false
	}
	if all = now.Sub(r.all) > relistenEvery; all {
		r.all, r.unlisted = now.Add(jitter(time.Second)), now
	} else if unlisted = now.Sub(r.unlisted) > interval; unlisted {
		r.unlisted = now
	}
	return all, unlisted
}

// took leaves the server time for others, but not more than if it had been quick: it may be so by then.
func (r *repetition) took(d time.Duration) {
	r.notBefore = time.Now().Add(min(time.Duration(float64(d)/relistenShare), mostPutOff))
}

// due gives the documents to listen to, by group: those that are not listened to yet and, again, all or those that no
// list covers. The caller holds mu.
func (w *watch) due(all, unlisted bool) map[string][]*followed {
	out := make(map[string][]*followed)
	var refused []*followed
	now := time.Now()
	for _, d := range w.unheard {
		switch {
		case w.docs[d.key] != d || d.listening:
		case now.Before(w.refused[d.key.Group]):
			refused = append(refused, d)
		default:
			out[d.key.Group] = append(out[d.key.Group], d)
		}
	}
	w.unheard = refused
	if !all && !unlisted {
		return out
	}
	for k, d := range w.docs {
		if d.listening && (all || !w.listed(k.Group)) {
			out[k.Group] = append(out[k.Group], d)
		}
	}
	return out
}

// listed tells whether lists cover a group; the caller holds mu.
func (w *watch) listed(group string) bool {
	l := w.lists[group]
	return l != nil && l.usable
}

// listen sends the requests: namespace and group have to stand in each of them, as Nacos checks the right to read
// for those only.
func (w *watch) listen(due map[string][]*followed) {
	for group, docs := range due {
		for chunk := range slices.Chunk(docs, listenChunk) {
			if w.ctx.Err() != nil {
				return
			}
			w.listenTo(group, chunk)
		}
	}
}

func (w *watch) listenTo(group string, docs []*followed) {
	if !w.c.listening.take(w.ctx) {
		return
	}
	defer w.c.listening.release()
	contexts := make([]sdkmodel.ConfigListenContext, len(docs))
	w.mu.Lock()
	generation := w.generation
	w.catchUp.hearing++
	for i, d := range docs {
		contexts[i] = sdkmodel.ConfigListenContext{Group: group, DataId: d.key.DataID, Md5: d.md5}
	}
	w.mu.Unlock()
	changed, err := w.c.listen(w.ctx, group, contexts, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.catchUp.hearing--
	poke(w.deliverNow)
	if err != nil {
		w.unheard = append(w.unheard, docs...)
		if !missingRight(err) {
			w.lack()
		} else {
			w.refused[group] = time.Now().Add(jitter(time.Second))
		}
		for _, d := range docs {
			w.allowed(d, missingRight(err))
		}
		for _, d := range docs {
			if d.fresh && w.docs[d.key] == d && errors.Is(err, ErrForbidden) {
				d.fresh = false
				w.mark(d, becauseCompared)
			}
		}
		return
	}
	for i, d := range docs {
		if w.docs[d.key] != d {
			w.unlisten = append(w.unlisten, d.key)
			continue
		}
		if d.listening = generation == w.generation; !d.listening {
			w.unheard = append(w.unheard, d)
		}
		fresh := d.fresh
		d.fresh = false
		w.allowed(d, false)
		switch {
		case changed[d.key]:
			w.mark(d, becauseCompared)
		case d.md5 != contexts[i].Md5:
			// queried meanwhile
		case fresh && d.listMD5 != "" && d.listMD5 != d.md5:
			w.mark(d, becauseCompared)
		default:
			w.resolve(d) // the server has what we have, or nothing as we have nothing
			if !d.exists && !d.wanted && !d.dirty && !d.busy && fresh {
				w.mark(d, becauseHinted) // somebody said it exists
			}
		}
	}
}

// listen sends one request and gives the documents that are not as their MD5 says.
func (c *Client) listen(ctx context.Context, group string, contexts []sdkmodel.ConfigListenContext, on bool) (map[Key]bool, error) {
	tenant := c.tenant(ctx)
	for i := range contexts {
		contexts[i].Tenant = tenant
	}
	resp, err := c.call(ctx, group, func() rpc_request.IRequest {
		r := rpc_request.NewConfigBatchListenRequest(0)
		r.Listen, r.ConfigListenContexts, r.Group, r.Tenant = on, contexts, group, tenant
		return r
	})
	if err == nil && !resp.IsSuccess() {
		err = fmt.Errorf("%w: %s (code %d)", ErrFailed, resp.GetMessage(), resp.GetErrorCode())
	}
	if err != nil {
		if missingRight(err) {
			c.problem("listen "+group, fmt.Sprintf("listening to %s is not permitted: %v: grant it action r on %s", group, err, c.resource(group)))
		}
		return nil, err
	}
	c.problem("listen "+group, "")
	changed := make(map[Key]bool)
	if l, ok := resp.(*rpc_response.ConfigChangeBatchListenResponse); ok {
		for _, x := range l.ChangedConfigs {
			changed[Key{x.Group, x.DataId}] = true
		}
	}
	return changed, nil
}

// dropListening tells the server of documents that are followed no more.
func (w *watch) dropListening() {
	w.mu.Lock()
	keys := w.unlisten
	w.unlisten = nil
	keys = slices.DeleteFunc(keys, func(k Key) bool { return w.docs[k] != nil })
	w.mu.Unlock()
	if len(keys) > 0 {
		w.c.stopListening(keys)
	}
}

// stopListening ends the pushes for documents, but for those that another watch follows. It is a courtesy to the
// server: pushes that nobody wants are dropped anyway.
func (c *Client) stopListening(keys []Key) {
	if !c.listening.take(c.ctx) {
		return
	}
	defer c.listening.release()
	c.mu.Lock()
	watches := slices.Collect(maps.Keys(c.watches))
	c.mu.Unlock()
	byGroup := make(map[string][]sdkmodel.ConfigListenContext)
	for _, k := range keys {
		if !slices.ContainsFunc(watches, func(w *watch) bool { return w.follows(k) }) {
			byGroup[k.Group] = append(byGroup[k.Group], sdkmodel.ConfigListenContext{Group: k.Group, DataId: k.DataID})
		}
	}
	for group, contexts := range byGroup {
		for chunk := range slices.Chunk(contexts, listenChunk) {
			if c.link.current() == nil || c.ctx.Err() != nil {
				return
			}
			_, _ = c.listen(c.ctx, group, chunk, false)
		}
	}
}

func (w *watch) follows(k Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.docs[k] != nil
}

// fuzzy asks the server to say when a document comes to exist in one of the groups, until it was asked for all of them on
// this connection: a refusal may end, be it one of the login that the connection began with. It is a hint that saves the
// wait for the next list, never needed: 2.x knows nothing of it, 3.x has 20 patterns for all its clients together and says
// nothing of groups over 500 documents.
func (w *watch) fuzzy(cn *conn) {
	groups := slices.Clone(w.cfg.Groups)
	for wait := fuzzyAgain; ; {
		if !w.c.knowsFuzzy(w.ctx) {
			return
		}
		groups = slices.DeleteFunc(groups, func(group string) bool { return w.fuzzyGroup(group) })
		if len(groups) == 0 {
			return
		}
		select {
		case <-w.ctx.Done():
			return
		case <-cn.lost:
			return
		case <-w.c.loggedIn.wait():
			wait = fuzzyAgain
		case <-time.After(jitter(wait)):
			wait = min(2*wait, fuzzyMost)
		}
	}
}

// How long after a refusal a fuzzy watch is asked for again: doubled from the first to the last.
const (
	fuzzyAgain = 2 * time.Second
	fuzzyMost  = 30 * time.Second
)

// fuzzyGroup asks for one group and reports whether the server took it.
func (w *watch) fuzzyGroup(group string) bool {
	resp, err := w.c.fuzzyWatch(w.ctx, group, w.c.cfg.Namespace+">>"+group+">>*", []string{}, true)
	if err != nil {
		w.c.fuzzyFailed(err)
		return false
	}
	if !resp.IsSuccess() {
		w.c.log.Debug("nacos refuses a fuzzy watch", "group", group, "code", resp.GetErrorCode(), "message", resp.GetMessage())
	}
	return resp.IsSuccess() || resp.GetErrorCode() == codeManyMatches
}

// fuzzyWatch asks for the push of what comes to match a pattern, and of how what matches it now differs from received.
// Never send a malformed pattern: the server's loop over all of them throws.
func (c *Client) fuzzyWatch(ctx context.Context, group, pattern string, received []string, initializing bool) (rpc_response.IResponse, error) {
	return c.call(ctx, group, func() rpc_request.IRequest {
		return &fuzzyWatchRequest{
			Request:         &rpc_request.Request{Headers: make(map[string]string)},
			GroupKeyPattern: pattern, ReceivedGroupKeys: received, WatchType: "WATCH", Initializing: initializing, Module: "config",
		}
	})
}
