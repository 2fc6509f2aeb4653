package nacos_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func connect(t testing.TB, s *nacostest.Server, change ...func(*nacos.Config)) *nacos.Client {
	t.Helper()
	cfg := nacos.Config{
		Addresses: []string{s.Addr}, Username: s.User, Password: nacos.NewSecret(s.Password),
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := nacos.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func inNamespace(id string) func(*nacos.Config) {
	return func(c *nacos.Config) { c.Namespace = id }
}

// testWriter shows logs of failed tests only.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// publish writes a document. An attempt that Nacos's database failed may have been carried out all the same: what is to
// replace a version, or to be the first, counts as written then if it is what is there.
func publish(t testing.TB, c nacos.Source, key nacos.Key, content, expect string, also ...error) {
	t.Helper()
	tries := 0
	err := nacostest.Insist(t, func() error {
		tries++
		return c.Publish(t.Context(), nacos.Document{Key: key, Content: []byte(content)}, expect)
	}, also...)
	if tries > 1 && errors.Is(err, nacos.ErrConflict) {
		if doc, getErr := c.Get(t.Context(), key); getErr == nil && string(doc.Content) == content {
			err = nil
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, c nacos.Source, key nacos.Key, also ...error) {
	t.Helper()
	if err := nacostest.InsistOnRemoval(t, func() error { return c.Remove(t.Context(), key) }, nacos.ErrNotFound, also...); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for cond, much longer than it should take: machines are busy.
func eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestDocuments(t *testing.T) {
	s := nacostest.Start(t)
	c := connect(t, s, inNamespace(s.Namespace(t)))
	ctx := t.Context()
	key := nacos.Key{Group: "proxy-services", DataID: "petstore.yaml"}

	if _, err := c.Get(ctx, key); !errors.Is(err, nacos.ErrNotFound) {
		t.Errorf("get of an absent document: %v, want ErrNotFound", err)
	}
	if err := c.Remove(ctx, key); !errors.Is(err, nacos.ErrNotFound) {
		t.Errorf("remove of an absent document: %v, want ErrNotFound", err)
	}
	publish(t, c, key, "v: 1 😀\r\n", nacos.AbsentMD5)
	if err := c.Publish(ctx, nacos.Document{Key: key, Content: []byte("v: 2")}, nacos.AbsentMD5); !errors.Is(err, nacos.ErrConflict) {
		t.Errorf("create where there is one: %v, want ErrConflict", err)
	}
	doc, err := c.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(nacos.Document{Key: key, Content: []byte("v: 1 😀\r\n"), MD5: doc.MD5, Type: "yaml"}, doc); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	publish(t, c, key, "v: 3", doc.MD5)
	if err := c.Publish(ctx, nacos.Document{Key: key, Content: []byte("v: 4")}, doc.MD5); !errors.Is(err, nacos.ErrConflict) {
		t.Errorf("update of an older version: %v, want ErrConflict", err)
	}
	if doc, err = c.Get(ctx, key); err != nil || string(doc.Content) != "v: 3" {
		t.Errorf("read after own write: %q %v", doc.Content, err)
	}
	publish(t, c, key, "v: 5", nacos.AnyMD5)
	other := nacos.Key{Group: key.Group, DataID: "other.yaml"}
	publish(t, c, other, "x", nacos.AnyMD5)
	publish(t, c, nacos.Key{Group: "proxyXservices", DataID: "a"}, "not in the group", nacos.AnyMD5)
	entries, err := c.List(ctx, key.Group)
	if err != nil {
		t.Fatal(err)
	}
	want := []nacos.Entry{{Key: key, MD5: ""}, {Key: other, MD5: "9dd4e461268c8034f5c8564e155c67a6"}}
	byID := cmpopts.SortSlices(func(a, b nacos.Entry) bool { return a.Key.String() > b.Key.String() })
	doc, _ = c.Get(ctx, key)
	want[0].MD5 = doc.MD5
	if diff := cmp.Diff(want, entries, byID); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	remove(t, c, key)
	if _, err := c.Get(ctx, key); !errors.Is(err, nacos.ErrNotFound) {
		t.Errorf("get after own removal: %v", err)
	}
	if st := c.Status(); !st.Connected || st.LastContact.IsZero() || len(st.Problems) > 0 || st.Kind != "nacos" {
		t.Errorf("status: %+v", st)
	}
}
