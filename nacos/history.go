package nacos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Past is an earlier version of a document.
type Past struct {
	Content []byte
	MD5     string
	Until   time.Time // when another one took its place
}

// Historian is a source that remembers. Nacos does, for 30 days unless it is told otherwise.
type Historian interface {
	// History calls each with the versions of a document before the one of now, the newest first, until each returns false:
	// back to where the document was created, and not to what was deleted before. created is when that was; zero if each ended
	// it, if the source does not remember so far, or if there are more versions than a few hundred.
	History(ctx context.Context, key Key, each func(Past) bool) (created time.Time, err error)
	// Created returns a number by which documents are in the order in which they were created; editing one does not change
	// its number, deleting it and creating it again does. ErrNotFound if there is no such document.
	Created(ctx context.Context, key Key) (uint64, error)
}

var _ Historian = (*Client)(nil)

// maxPast bounds how many versions are looked at, each of which is a request.
const maxPast = 200

// historyRow is what Nacos notes of a write. The content of an insertion is what was inserted, that of an update or a
// deletion what was there before. (createTime is 2010-05-05 in all rows; and in the answer for a document, in 3.1.0, the time
// of the last write. So neither says when a document was created.)
type historyRow struct {
	ID          rowID       `json:"id"`
	OpType      string      `json:"opType"` // I, U or D, padded with blanks
	PublishType string      `json:"publishType"`
	Content     string      `json:"content"`
	MD5         string      `json:"md5"`
	Modified    moment      `json:"modifyTime"`       // 3.x
	ModifiedOld moment      `json:"lastModifiedTime"` // 2.x
	Data        *historyRow `json:"data"`             // 3.x wraps a single row
}

// rowID is the number of a row, which Nacos writes as text or not.
type rowID string

func (id *rowID) UnmarshalJSON(b []byte) error {
	*id = rowID(strings.Trim(string(b), `"`))
	return nil
}

// moment is a time as Nacos writes it: milliseconds, or in 2.x a date.
type moment struct{ time.Time }

func (m *moment) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		m.Time = time.UnixMilli(ms)
		return nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05.000-0700", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			m.Time = t
			return nil
		}
	}
	return nil // null, or nothing that could be used
}

// History implements Historian. It needs the right to read the document.
func (c *Client) History(ctx context.Context, key Key, each func(Past) bool) (created time.Time, err error) {
	if err := key.check(); err != nil {
		return time.Time{}, fmt.Errorf("history of %s: %w", key, err)
	}
	rows, err := c.historyRows(ctx, key)
	if err != nil {
		return time.Time{}, fmt.Errorf("history of %s: %w", key, err)
	}
	for _, row := range rows {
		switch strings.TrimSpace(row.OpType) {
		case "I", "D":
			return row.at(), nil // what was inserted is what the update after it has replaced
		case "U":
		default:
			continue
		}
		row, err := c.historyRow(ctx, key, string(row.ID))
		if err != nil {
			return time.Time{}, fmt.Errorf("history of %s: %w", key, err)
		}
		content := []byte(row.Content)
		if !each(Past{Content: content, MD5: cmp.Or(row.MD5, digest(content)), Until: row.at()}) {
			return time.Time{}, nil
		}
	}
	return time.Time{}, nil
}

// at returns when the write was.
func (r *historyRow) at() time.Time {
	if r.Modified.IsZero() {
		return r.ModifiedOld.Time
	}
	return r.Modified.Time
}

// historyRows returns the newest rows of a document, without content.
func (c *Client) historyRows(ctx context.Context, key Key) ([]historyRow, error) {
	body, err := c.historyAPI(ctx, key, "/nacos/v3/admin/cs/history/list", url.Values{"pageNo": {"1"}, "pageSize": {strconv.Itoa(maxPast)}})
	if missing(err) {
		body, err = c.historyV1(ctx, key, url.Values{"search": {"accurate"}, "pageNo": {"1"}, "pageSize": {strconv.Itoa(maxPast)}})
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data      *struct{ PageItems *[]historyRow }
		PageItems *[]historyRow
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w: unexpected answer", ErrUnavailable)
	}
	rows := answer.PageItems
	if answer.Data != nil {
		rows = answer.Data.PageItems
	}
	if rows == nil {
		return nil, fmt.Errorf("%w: unexpected answer", ErrUnavailable)
	}
	formal := (*rows)[:0]
	for _, row := range *rows {
		if row.PublishType == "" || row.PublishType == "formal" { // gray ones are for some clients only
			formal = append(formal, row)
		}
	}
	return formal, nil
}

func (c *Client) historyRow(ctx context.Context, key Key, id string) (historyRow, error) {
	body, err := c.historyAPI(ctx, key, "/nacos/v3/admin/cs/history", url.Values{"nid": {id}})
	if missing(err) {
		body, err = c.historyV1(ctx, key, url.Values{"nid": {id}})
	}
	if err != nil {
		return historyRow{}, err
	}
	var row historyRow
	if err := json.Unmarshal(body, &row); err != nil {
		return historyRow{}, fmt.Errorf("%w: unexpected answer", ErrUnavailable)
	}
	if row.Data != nil {
		row = *row.Data
	}
	return row, nil
}

func (c *Client) historyAPI(ctx context.Context, key Key, path string, query url.Values) ([]byte, error) {
	if c.old(ctx) {
		return nil, &statusError{http.StatusGone, "Nacos 2.x"}
	}
	query.Set("dataId", key.DataID)
	query.Set("groupName", key.Group)
	query.Set("namespaceId", c.cfg.Namespace)
	return c.admin(ctx, request{method: http.MethodGet, path: path, group: key.Group, query: query, silence: historySilence})
}

func (c *Client) historyV1(ctx context.Context, key Key, query url.Values) ([]byte, error) {
	query.Set("dataId", key.DataID)
	query.Set("group", key.Group)
	tenant := c.cfg.Namespace
	if tenant == PublicNamespace {
		tenant = ""
	}
	query.Set("tenant", tenant)
	return c.admin(ctx, request{method: http.MethodGet, path: "/nacos/v1/cs/history", group: key.Group, query: query, silence: historySilence})
}

// historySilence is how long an answer may take to go on.
const historySilence = 10 * time.Second

// Created implements Historian, by the id that Nacos gives to each row of its table of documents: a counter in an outer
// database, and in its own a number that begins with the time.
func (c *Client) Created(ctx context.Context, key Key) (uint64, error) {
	if err := key.check(); err != nil {
		return 0, fmt.Errorf("creation of %s: %w", key, err)
	}
	p, err := c.page(ctx, key.Group, key.DataID, historySilence)
	if err != nil {
		return 0, fmt.Errorf("creation of %s: %w", key, err)
	}
	if p.PageItems == nil {
		return 0, fmt.Errorf("creation of %s: %w", key, ErrNotFound)
	}
	for _, row := range *p.PageItems {
		if row.DataID != key.DataID || row.GroupName != key.Group && row.Group != key.Group {
			continue
		}
		n, err := strconv.ParseUint(string(row.ID), 10, 64)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("creation of %s: %w: the server says no id", key, errors.ErrUnsupported)
		}
		return n, nil
	}
	return 0, fmt.Errorf("creation of %s: %w", key, ErrNotFound)
}
