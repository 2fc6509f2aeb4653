package nacos_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// past returns what a source remembers of a document, newest first.
func past(t *testing.T, c *nacos.Client, key nacos.Key) (contents []string, created time.Time) {
	t.Helper()
	created, err := c.History(t.Context(), key, func(p nacos.Past) bool {
		if p.Until.Before(time.Now().Add(-time.Hour)) || p.Until.After(time.Now().Add(time.Hour)) || len(p.MD5) != 32 {
			t.Errorf("%q until %s, MD5 %q", p.Content, p.Until, p.MD5)
		}
		contents = append(contents, string(p.Content))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents, created
}

// TestHistoryOnNacos: what the real Nacos remembers, and in which order documents were created, whatever was edited since. A
// user who may read the document needs no other right. (Nacos's createTime says neither: in 3.1.0 it is the time of the last
// write.)
func TestHistoryOnNacos(t *testing.T) {
	s := nacostest.Start(t)
	namespace := s.Namespace(t)
	group := "history"
	older, newer := nacos.Key{Group: group, DataID: "older.yaml"}, nacos.Key{Group: group, DataID: "newer.yaml"}
	writer := connect(t, s, inNamespace(namespace))
	put := func(key nacos.Key, content string) {
		t.Helper()
		if err := nacostest.Insist(t, func() error {
			return writer.Publish(t.Context(), nacos.Document{Key: key, Content: []byte(content)}, nacos.AnyMD5)
		}); err != nil {
			t.Fatal(err)
		}
	}
	user, password := s.NewUser(t, [2]string{"r", namespace + ":" + group + ":config/*"})
	put(older, "one: 1\n")
	put(newer, "one: 1\n")
	put(older, "two: 2\n")
	put(older, "three: 3\n")
	reader := connect(t, s, inNamespace(namespace), func(c *nacos.Config) { c.Username, c.Password = user, nacos.NewSecret(password) })
	eventually(t, 40*time.Second, "the right to read holds", func() bool {
		_, err := reader.Created(t.Context(), older)
		return err == nil
	})
	contents, begun := past(t, reader, older)
	if diff := cmp.Diff([]string{"two: 2\n", "one: 1\n"}, contents); diff != "" {
		t.Error(diff)
	}
	if contents, later := past(t, reader, newer); len(contents) > 0 || begun.Before(time.Now().Add(-time.Hour)) || later.Before(begun) {
		t.Errorf("of a document without history: %q, created %s, the older one %s", contents, later, begun)
	}
	created := func(key nacos.Key) uint64 {
		t.Helper()
		n, err := reader.Created(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second := created(older), created(newer)
	if first >= second {
		t.Errorf("the older one has %d, the newer one %d", first, second)
	}
	if err := nacostest.InsistOnRemoval(t, func() error { return writer.Remove(t.Context(), older) }, nacos.ErrNotFound); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Created(t.Context(), older); !errors.Is(err, nacos.ErrNotFound) {
		t.Errorf("of a document that is gone: %v", err)
	}
	put(older, "anew: 1\n")
	put(older, "anew: 2\n")
	if n := created(older); n <= second {
		t.Errorf("created anew it has %d, the other one %d", n, second)
	}
	if contents, anew := past(t, reader, older); len(contents) != 1 || contents[0] != "anew: 1\n" || !anew.After(begun) {
		t.Errorf("of what was before the deletion: %q, created %s, before that %s", contents, anew, begun)
	}
	n := 0
	if _, err := reader.History(t.Context(), older, func(nacos.Past) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("%d versions after being told to stop: %v", n, err)
	}
}

// TestHistoryOf2x: the older API has other paths, names and times.
func TestHistoryOf2x(t *testing.T) {
	var asked []string
	c := fakeHTTP(t, nacos.Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/nacos/v1/cs/history":
			q := r.URL.Query()
			asked = append(asked, url.Values{"nid": q["nid"], "group": q["group"], "dataId": q["dataId"], "tenant": q["tenant"]}.Encode())
			if q.Get("nid") == "" {
				_, _ = fmt.Fprint(w, `{"totalCount":2,"pageItems":[{"id":"7","dataId":"a","group":"g","content":null,"opType":"U         ","lastModifiedTime":"2026-11-30T10:00:00.000+0800"},{"id":"6","opType":"I         ","lastModifiedTime":"2026-11-29T10:00:00.000+0800"}]}`)
				return
			}
			_, _ = fmt.Fprint(w, `{"id":"7","dataId":"a","group":"g","content":"old","md5":"149603e6c03516362a8da23f624db945","opType":"U         ","lastModifiedTime":"2026-11-30T10:00:00.000+0800"}`)
		case "/nacos/v1/cs/configs":
			_, _ = fmt.Fprint(w, `{"totalCount":1,"pageItems":[{"id":"42","dataId":"a","group":"g","content":"x"}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	key := nacos.Key{Group: "g", DataID: "a"}
	var got []nacos.Past
	created, err := c.History(t.Context(), key, func(p nacos.Past) bool { got = append(got, p); return true })
	if err != nil || !created.Equal(time.Date(2026, 11, 29, 2, 0, 0, 0, time.UTC)) || len(got) != 1 || string(got[0].Content) != "old" || !got[0].Until.Equal(time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, created %s: %v", got, created, err)
	}
	if len(asked) != 2 || asked[1] != "dataId=a&group=g&nid=7&tenant=" {
		t.Errorf("asked %q", asked)
	}
	if n, err := c.Created(t.Context(), key); err != nil || n != 42 {
		t.Errorf("%d %v", n, err)
	}
}

// TestHistoryThatIsRefusedOrForgotten: what Nacos does not remember is not taken for the beginning.
func TestHistoryThatIsRefusedOrForgotten(t *testing.T) {
	answer := func(list string, status int) (time.Time, error) {
		c := fakeHTTP(t, nacos.Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			if r.URL.Query().Get("nid") == "" {
				_, _ = fmt.Fprint(w, list)
				return
			}
			_, _ = fmt.Fprint(w, `{"code":0,"data":{"id":"7","content":"old","opType":"U"}}`)
		})
		return c.History(t.Context(), nacos.Key{Group: "g", DataID: "a"}, func(nacos.Past) bool { return true })
	}
	if created, err := answer(`{"code":0,"data":{"totalCount":1,"pageItems":[{"id":"7","opType":"U","modifyTime":1796081784192}]}}`, 200); !created.IsZero() || err != nil {
		t.Errorf("without an insertion: %s, %v", created, err)
	}
	if created, err := answer(`{"code":0,"data":{"totalCount":0,"pageItems":[]}}`, 200); !created.IsZero() || err != nil {
		t.Errorf("without anything: %s, %v", created, err)
	}
	if created, err := answer(`{"code":0,"data":{"pageItems":[{"id":"7","opType":"I","publishType":"gray","modifyTime":1},{"id":"6","opType":"I","publishType":"formal","modifyTime":1796081784192}]}}`, 200); created.UnixMilli() != 1796081784192 || err != nil {
		t.Errorf("a version for some clients: %s, %v", created, err)
	}
	if _, err := answer(`no`, 403); !errors.Is(err, nacos.ErrForbidden) {
		t.Errorf("refused: %v", err)
	}
	if _, err := answer(`no`, 200); !errors.Is(err, nacos.ErrUnavailable) {
		t.Errorf("nonsense: %v", err)
	}
}
