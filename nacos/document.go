package nacos

import (
	"context"
	"crypto/md5" //nolint:gosec // Nacos identifies versions by MD5
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
)

// Codes of Nacos's gRPC answers.
const (
	codeNotFound  = 300
	codeModified  = 400 // "being modified": ask again
	codeForbidden = 403
	codeUnreg     = 301 // the connection is unknown to the server
	// codeManyMatches answers a fuzzy watch that holds, but hears of nothing new while more match than the server bears.
	codeManyMatches = 50311
)

var errModified = fmt.Errorf("%w: the document is being modified: ask again", ErrFailed)

// validName tells whether Nacos takes a name (ParamUtils.isValid); anything else is answered "illegal characters". It is
// asked for every row of every list.
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

// maxContent: gRPC messages end at 10 MB, and there is an envelope.
const maxContent = 10<<20 - 64<<10

func (k Key) check() error {
	switch {
	case !validName(k.Group) || len(k.Group) > maxGroup:
		return fmt.Errorf("%w: group %q: Nacos takes up to %d letters, digits, '.', '_', '-' and ':'", ErrInvalid, k.Group, maxGroup)
	case !validName(k.DataID) || len(k.DataID) > maxDataID:
		return fmt.Errorf("%w: data id %q: Nacos takes up to %d letters, digits, '.', '_', '-' and ':'", ErrInvalid, k.DataID, maxDataID)
	}
	return nil
}

// digest is the MD5 that Nacos gives content.
func digest(content []byte) string {
	sum := md5.Sum(content) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// call sends a request over the link, with credentials, and asks again with new ones when they are refused. An
// answer that is not a success comes back as such: callers know what its code means.
func (c *Client) call(ctx context.Context, group string, make func() rpc_request.IRequest) (rpc_response.IResponse, error) {
	return c.callOver(ctx, c.link, func(ctx context.Context) (credential, error) { return c.auth.headers(ctx, group) }, make)
}

func (c *Client) callOver(ctx context.Context, l *link, sign func(context.Context) (credential, error),
	make func() rpc_request.IRequest) (rpc_response.IResponse, error) {
	mended := false // a refused token was replaced
	for attempt := 0; ; attempt++ {
		cred, err := sign(ctx)
		if err != nil {
			return nil, err
		}
		cn, err := l.await(ctx)
		if err != nil {
			return nil, err
		}
		r := make() // for each attempt anew: its headers are its credentials
		cred.sign(r.GetHeaders())
		resp, err := cn.request(ctx, r, requestTimeout)
		if errors.Is(err, errNotSent) && attempt < 2 {
			sleep(ctx, 2*attendEvery) // until the connection is known to be lost
			continue
		}
		if err != nil {
			return nil, err
		}
		c.contact()
		// Success must be looked at: a refused request is err == nil with nothing in it.
		if !resp.IsSuccess() && resp.GetErrorCode() == codeForbidden {
			if !mended && c.auth.refused(ctx, cred) {
				mended = true
				continue
			}
			return resp, fmt.Errorf("%w: %s", ErrForbidden, c.who())
		}
		c.granted(mended)
		return resp, nil
	}
}

// who names the account in messages.
func (c *Client) who() string {
	switch {
	case c.cfg.Username != "":
		return fmt.Sprintf("user %q", c.cfg.Username)
	case c.cfg.AccessKey != "":
		return "this access key"
	}
	return "no user (set nacos.username and nacos.password)"
}

// Get reads a document. What this client itself wrote within the last seconds is never answered with an older
// version, which Nacos alone would do.
func (c *Client) Get(ctx context.Context, key Key) (Document, error) {
	if err := key.check(); err != nil {
		return Document{}, fmt.Errorf("get %s: %w", key, err)
	}
	for attempt := 0; ; attempt++ {
		doc, err := c.query(ctx, key)
		if errors.Is(err, errModified) && attempt < 100 { // the server is writing it down
			sleep(ctx, 20*time.Millisecond)
			continue
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Document{}, fmt.Errorf("get %s: %w", key, err)
		}
		if c.writes.settled(key, doc.MD5) {
			if err != nil {
				err = fmt.Errorf("get %s: %w", key, err)
			}
			return doc, err
		}
		sleep(ctx, 20*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return Document{}, fmt.Errorf("get %s: %w: %w", key, ErrUnavailable, err)
		}
	}
}

// query asks for a document once.
func (c *Client) query(ctx context.Context, key Key) (Document, error) {
	tenant := c.tenant(ctx)
	resp, err := c.call(ctx, key.Group, func() rpc_request.IRequest {
		return rpc_request.NewConfigQueryRequest(key.Group, key.DataID, tenant)
	})
	if err != nil {
		return Document{}, err
	}
	if !resp.IsSuccess() {
		switch resp.GetErrorCode() {
		case codeNotFound:
			return Document{}, ErrNotFound
		case codeModified:
			return Document{}, errModified
		}
		return Document{}, fmt.Errorf("%w: %s (code %d)", ErrFailed, resp.GetMessage(), resp.GetErrorCode())
	}
	q, ok := resp.(*rpc_response.ConfigQueryResponse)
	if !ok {
		return Document{}, fmt.Errorf("%w: unexpected answer %s", ErrUnavailable, resp.GetResponseType())
	}
	doc := Document{Key: key, Content: []byte(q.Content), Type: q.ContentType, MD5: q.Md5}
	if doc.MD5 == "" {
		doc.MD5 = digest(doc.Content)
	}
	return doc, nil
}

// Publish writes a document as the interface says. Nacos takes no empty content, no invalid UTF-8 (it would come
// back as other bytes) and nothing over about 10 MB.
func (c *Client) Publish(ctx context.Context, doc Document, expect string) error {
	err := doc.Key.check()
	switch {
	case err != nil:
	case len(doc.Content) == 0:
		err = fmt.Errorf("%w: Nacos takes no empty document", ErrInvalid)
	case len(doc.Content) > maxContent:
		err = fmt.Errorf("%w: %d bytes, Nacos takes %d at most", ErrInvalid, len(doc.Content), maxContent)
	case !utf8.Valid(doc.Content):
		err = fmt.Errorf("%w: content is not UTF-8", ErrInvalid)
	default:
		err = c.publish(ctx, doc, expect)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", doc.Key, err)
	}
	return nil
}

func (c *Client) publish(ctx context.Context, doc Document, expect string) error {
	kind := doc.Type
	if kind == "" {
		kind = typeOf(doc.Key.DataID)
	}
	md5 := digest(doc.Content)
	tenant := c.tenant(ctx)
	for attempt := 0; ; attempt++ {
		resp, err := c.call(ctx, doc.Key.Group, func() rpc_request.IRequest {
			r := rpc_request.NewConfigPublishRequest(doc.Key.Group, doc.Key.DataID, tenant, string(doc.Content), expect)
			r.AdditionMap["type"] = kind // left out, Nacos makes it text
			return r
		})
		switch {
		case err != nil:
			if errors.Is(err, ErrForbidden) {
				err = fmt.Errorf("%w may not write: grant it action w or rw on %s", err, c.resource(doc.Key.Group))
			}
			return err
		case resp.IsSuccess():
			c.writes.note(doc.Key, md5)
			return nil
		case expect == AnyMD5 && strings.Contains(resp.GetMessage(), "already exist") && attempt < 3:
			continue // two creations met; the next attempt is an update
		case expect != AnyMD5 && (strings.Contains(resp.GetMessage(), "Cas publish fail") || strings.Contains(resp.GetMessage(), "already exist")):
			// Who repeats a request whose answer got lost meets the own write.
			if now, err := c.query(ctx, doc.Key); err == nil && expect != AbsentMD5 && now.MD5 == md5 {
				return nil
			}
			return ErrConflict
		default:
			return fmt.Errorf("%w: %s (code %d)", ErrFailed, resp.GetMessage(), resp.GetErrorCode())
		}
	}
}

// typeOf tells Nacos's content type from the extension.
func typeOf(dataID string) string {
	switch ext := strings.TrimPrefix(path.Ext(dataID), "."); ext {
	case "yaml", "yml":
		return "yaml"
	case "json", "properties", "xml", "html", "toml":
		return ext
	}
	return "text"
}

// Remove deletes a document. Nacos has no compare-and-set for that, and does not say whether there was one.
func (c *Client) Remove(ctx context.Context, key Key) error {
	if err := key.check(); err != nil {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	absent, certain := c.absent(ctx, key)
	if absent && certain {
		return fmt.Errorf("remove %s: %w", key, ErrNotFound)
	}
	tenant := c.tenant(ctx)
	resp, err := c.call(ctx, key.Group, func() rpc_request.IRequest {
		return &rpc_request.ConfigRemoveRequest{ConfigRequest: rpc_request.NewConfigRequest(key.Group, key.DataID, tenant)}
	})
	switch {
	case errors.Is(err, ErrForbidden):
		return fmt.Errorf("remove %s: %w may not write: grant it action w or rw on %s", key, err, c.resource(key.Group))
	case err != nil:
		return fmt.Errorf("remove %s: %w", key, err)
	case !resp.IsSuccess():
		return fmt.Errorf("remove %s: %w: %s (code %d)", key, ErrFailed, resp.GetMessage(), resp.GetErrorCode())
	}
	c.writes.note(key, "")
	if absent {
		return fmt.Errorf("remove %s: %w", key, ErrNotFound)
	}
	return nil
}

// absent tells whether there is no such document, and whether that is certain. Queries are answered from a copy that lags
// behind the database, so one that finds nothing proves nothing; lists are answered from the database. Who may not list,
// or gets no answer, asks again for as long as the copy may lag.
func (c *Client) absent(ctx context.Context, key Key) (absent, certain bool) {
	_, err := c.Get(ctx, key)
	if !errors.Is(err, ErrNotFound) {
		return false, true // there, or unknown: then the removal itself meets what is wrong
	}
	listing, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	entries, _, err := c.list(listing, key.Group, key.DataID, 0)
	if err == nil {
		return !slices.ContainsFunc(entries, func(e Entry) bool { return e.Key == key }), true // a database may ignore case
	}
	for end := time.Now().Add(ownWriteLag); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 50*time.Millisecond) {
		if _, err := c.query(ctx, key); !errors.Is(err, ErrNotFound) {
			return false, true
		}
	}
	return true, false
}

// resource is the permission that covers a group, as Nacos's console wants it written.
func (c *Client) resource(group string) string {
	return fmt.Sprintf("%s:%s:config/*", c.cfg.Namespace, group)
}

// ownWrites remembers for a moment what this client wrote: Nacos answers queries from a copy that lags behind
// (about 0.1 s, 1.1 s at most were seen).
type ownWrites struct {
	mu   sync.Mutex
	last map[Key]ownWrite
}

type ownWrite struct {
	md5 string // "" after a removal
	at  time.Time
}

const ownWriteLag = 1500 * time.Millisecond

func (o *ownWrites) note(key Key, md5 string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		o.last = make(map[Key]ownWrite)
	}
	for k, w := range o.last {
		if time.Since(w.at) > ownWriteLag {
			delete(o.last, k)
		}
	}
	o.last[key] = ownWrite{md5, time.Now()}
}

// settled tells whether an answer with this md5 may be believed.
func (o *ownWrites) settled(key Key, md5 string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w, ok := o.last[key]
	if ok && (w.md5 == md5 || time.Since(w.at) > ownWriteLag) {
		delete(o.last, key)
		return true
	}
	return !ok
}
