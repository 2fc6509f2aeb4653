package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// pageSize asks for everything in one page. Nacos pages without an order, so that under edits documents fall
// between pages (27 of 30 runs with pages of 500, none in one page).
const pageSize = 100_000

// List gives every document of a group, through the admin API of 3.x, or that of 2.x where there is no other.
func (c *Client) List(ctx context.Context, group string) ([]Entry, error) {
	if err := (Key{Group: group, DataID: "x"}).check(); err != nil {
		return nil, fmt.Errorf("list %s: %w", group, err)
	}
	entries, complete, err := c.list(ctx, group, "", 0)
	switch {
	case errors.Is(err, ErrForbidden):
		return nil, fmt.Errorf("list %s: %w: %s", group, err, c.listPermission(group))
	case err != nil:
		return nil, fmt.Errorf("list %s: %w", group, err)
	case !complete:
		return nil, fmt.Errorf("list %s: %w: more than %d documents", group, ErrUnavailable, pageSize)
	}
	return entries, nil
}

// list also tells whether nothing was left out. With a data id it lists that document alone, if there is one. It gives up
// after a silence, 0 for none but the API's own limits.
func (c *Client) list(ctx context.Context, group, dataID string, silence time.Duration) (entries []Entry, complete bool, err error) {
	p, err := c.page(ctx, group, dataID, silence)
	if err != nil {
		return nil, false, err
	}
	entries, complete = p.entries(group)
	return entries, complete, nil
}

// page asks for the rows of a list.
func (c *Client) page(ctx context.Context, group, dataID string, silence time.Duration) (*page, error) {
	if c.old(ctx) {
		if p, err := c.pageV1(ctx, group, dataID, silence); !missing(err) {
			return p, err
		}
	}
	search, pattern := searchFor(dataID)
	// configTags must stay out: a blank one joins another table.
	body, err := c.admin(ctx, request{method: http.MethodGet, path: "/nacos/v3/admin/cs/config/list", group: group, silence: silence, query: url.Values{
		"search": {search}, "groupName": {group}, "dataId": {pattern}, "namespaceId": {c.cfg.Namespace},
		"pageNo": {"1"}, "pageSize": {strconv.Itoa(pageSize)},
	}})
	if missing(err) {
		return c.pageV1(ctx, group, dataID, silence)
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Code    int
		Message string
		Data    *page
	}
	if err := json.Unmarshal(body, &answer); err == nil && answer.Code != 0 {
		return nil, fmt.Errorf("%w: %s (code %d)", ErrFailed, answer.Message, answer.Code)
	} else if err != nil || answer.Data == nil {
		return nil, fmt.Errorf("%w: unexpected answer to a list", ErrUnavailable)
	}
	return answer.Data, nil
}

// pageV1 is the API of 2.x, which 3.x answers with 410. There the public namespace is the blank one.
func (c *Client) pageV1(ctx context.Context, group, dataID string, silence time.Duration) (*page, error) {
	tenant := c.cfg.Namespace
	if tenant == PublicNamespace {
		tenant = ""
	}
	search, pattern := searchFor(dataID)
	body, err := c.admin(ctx, request{method: http.MethodGet, path: "/nacos/v1/cs/configs", group: group, silence: silence, query: url.Values{
		"search": {search}, "group": {group}, "dataId": {pattern}, "tenant": {tenant},
		"pageNo": {"1"}, "pageSize": {strconv.Itoa(pageSize)},
	}})
	if err != nil {
		return nil, err
	}
	var answer page
	if err := json.Unmarshal(body, &answer); err != nil || answer.PageItems == nil {
		return nil, fmt.Errorf("%w: unexpected answer to a list", ErrUnavailable)
	}
	return &answer, nil
}

// searchFor gives the kind of search, and what it looks for, that finds a data id or, if there is none, all.
func searchFor(dataID string) (search, pattern string) {
	if dataID == "" {
		return "blur", "*"
	}
	return "accurate", dataID
}

type page struct {
	TotalCount int
	PageItems  *[]struct {
		ID        rowID
		DataID    string
		GroupName string // 3.x
		Group     string // 2.x
		MD5       string
		Content   *string // 2.x gives content, and not always the md5
	}
}

func (p *page) entries(group string) ([]Entry, bool) {
	if p.PageItems == nil {
		return nil, p.TotalCount == 0
	}
	out := make([]Entry, 0, len(*p.PageItems))
	for _, row := range *p.PageItems {
		if row.GroupName != group && row.Group != group {
			continue // "_" in a name is a wildcard to the server's database
		}
		if row.MD5 == "" && row.Content != nil {
			row.MD5 = digest([]byte(*row.Content))
		}
		out = append(out, Entry{Key{group, row.DataID}, row.MD5})
	}
	return out, len(*p.PageItems) >= p.TotalCount
}

// listPermission tells what has to be granted for listing.
func (c *Client) listPermission(group string) string {
	return fmt.Sprintf("%s may not list: grant it action r on %s (or on %s:*:*)", c.who(), c.resource(group), c.cfg.Namespace)
}
