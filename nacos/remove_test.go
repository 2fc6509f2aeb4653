package nacos_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// lagging answers queries from a copy that lacks a document, or catches up late, and lists from the database, as Nacos does.
type lagging struct {
	nacosgrpc.UnimplementedRequestServer
	nacosgrpc.UnimplementedBiRequestStreamServer

	copied time.Duration // when the copy has it, from the first query on; negative: never
	stored bool          // the database has it
	listed int           // status of a list
	failed string        // what the database says to removals and publications

	mu      sync.Mutex
	removed int
	asked   time.Time // first
}

func (s *lagging) Request(_ context.Context, p *nacosgrpc.Payload) (*nacosgrpc.Payload, error) {
	kind := p.GetMetadata().GetType()
	answer := strings.TrimSuffix(kind, "Request") + "Response"
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case "ConfigQueryRequest":
		if s.failed != "" {
			break
		}
		if s.asked.IsZero() {
			s.asked = time.Now()
		}
		if s.copied < 0 || time.Since(s.asked) < s.copied {
			return payload(answer, `{"resultCode":500,"errorCode":300,"success":false,"message":"config data not exist"}`), nil
		}
		return payload(answer, `{"resultCode":200,"success":true,"content":"x"}`), nil
	case "ConfigRemoveRequest", "ConfigPublishRequest":
		s.removed++
	default:
		return payload(answer, `{"resultCode":200,"success":true,"connectionId":"1"}`), nil
	}
	if s.failed != "" {
		return payload(answer, fmt.Sprintf(`{"resultCode":500,"errorCode":500,"success":false,"message":%q}`, s.failed)), nil
	}
	return payload(answer, `{"resultCode":200,"success":true}`), nil
}

func (*lagging) RequestBiStream(stream nacosgrpc.BiRequestStream_RequestBiStreamServer) error {
	<-stream.Context().Done()
	return nil
}

func (s *lagging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !strings.HasSuffix(r.URL.Path, "/cs/config/list"):
		_, _ = w.Write([]byte(`{"code":0,"data":{"version":"3.1.0"}}`))
	case s.listed != http.StatusOK:
		w.WriteHeader(s.listed)
	case s.stored && r.FormValue("dataId") == "d":
		_, _ = w.Write([]byte(`{"code":0,"data":{"totalCount":1,"pageItems":[{"dataId":"d","groupName":"g","md5":"9dd4e461268c8034f5c8564e155c67a6"}]}}`))
	default: // another one that an exact search should not have found
		_, _ = w.Write([]byte(`{"code":0,"data":{"totalCount":1,"pageItems":[{"dataId":"D","groupName":"g","md5":"0"}]}}`))
	}
}

func (s *lagging) client(t *testing.T) *nacos.Client {
	t.Helper()
	c, err := nacos.Connect(t.Context(), nacos.Config{Addresses: []string{serveFake(t, s, s, s)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Seen red with a query alone to tell whether there is a document ("the copy lags" and "catches up"), with every document
// taken for there ("not there"), and without another question to the copy ("catches up").
func TestRemoveBelievesTheDatabase(t *testing.T) {
	for name, test := range map[string]struct {
		server  *lagging
		want    error
		removes int
	}{
		"there":                           {&lagging{stored: true, listed: 200}, nil, 1},
		"the copy lags":                   {&lagging{copied: -1, stored: true, listed: 200}, nil, 1},
		"not there":                       {&lagging{copied: -1, listed: 200}, nacos.ErrNotFound, 0},
		"who may not list: it catches up": {&lagging{copied: time.Second / 2, stored: true, listed: 403}, nil, 1},
		"who may not list: not there, as it seems": {&lagging{copied: -1, listed: 403}, nacos.ErrNotFound, 1},
		"no answer to a list: catches up":          {&lagging{copied: time.Second / 2, stored: true, listed: 500}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.server.client(t).Remove(t.Context(), nacos.Key{Group: "g", DataID: "d"})
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("remove: %v, want %v", err, test.want)
			}
			if test.server.removed != test.removes {
				t.Errorf("%d removals were sent, want %d", test.server.removed, test.removes)
			}
		})
	}
}

// TestRemoveRightAfterSomebodyElsesPublish: 200 of 200 queries right after a publish are answered from before it. Seen red
// with a query alone to tell whether there is a document.
func TestRemoveRightAfterSomebodyElsesPublish(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	writer, c := connect(t, s, inNamespace(ns)), connect(t, s, inNamespace(ns))
	if _, err := c.List(t.Context(), "g"); err != nil { // connected and logged in
		t.Fatal(err)
	}
	stale := 0
	for i := range 200 {
		key := nacos.Key{Group: "g", DataID: fmt.Sprintf("d_%d", i)}
		publish(t, writer, key, "x", nacos.AbsentMD5)
		if i%4 == 0 {
			if _, err := c.Get(t.Context(), key); errors.Is(err, nacos.ErrNotFound) {
				stale++
			}
		}
		remove(t, c, key)
	}
	t.Logf("%d of 50 queries after a publish found nothing", stale)
	entries, err := c.List(t.Context(), "g")
	if err != nil || len(entries) > 0 {
		t.Errorf("%d documents are left: %v", len(entries), err)
	}
	if err := c.Remove(t.Context(), nacos.Key{Group: "g", DataID: "never"}); !errors.Is(err, nacos.ErrNotFound) {
		t.Errorf("remove of a document that never was: %v, want ErrNotFound", err)
	}
}

// TestRemoveWithoutTheRightToList: who may read and write one document is refused the list, and asks again instead. Seen
// red as the test before.
func TestRemoveWithoutTheRightToList(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	user, password := s.NewUser(t, [2]string{"rw", ns + ":g:config/d"})
	writer := connect(t, s, inNamespace(ns))
	c := connect(t, s, inNamespace(ns), func(c *nacos.Config) { c.Username, c.Password = user, nacos.NewSecret(password) })
	key := nacos.Key{Group: "g", DataID: "d"}
	eventually(t, 60*time.Second, "the right to read", func() bool {
		_, err := c.Get(t.Context(), key)
		return errors.Is(err, nacos.ErrNotFound)
	})
	_, err := c.List(t.Context(), "g")
	t.Logf("list: %v", err)
	for range 5 {
		publish(t, writer, key, "x", nacos.AnyMD5)
		remove(t, c, key)
		eventually(t, 5*time.Second, "it is gone", func() bool {
			_, err := writer.Get(t.Context(), key)
			return errors.Is(err, nacos.ErrNotFound)
		})
		time.Sleep(100 * time.Millisecond) // until c's own copy of the world has settled
	}
	if err := c.Remove(t.Context(), key); !errors.Is(err, nacos.ErrNotFound) {
		t.Errorf("remove of what is gone: %v, want ErrNotFound", err)
	}
}

// Seen red with ErrUnavailable in place of ErrFailed, and with an ErrFailed that is not ErrUnavailable.
func TestFailuresOfNacosAreNotSilence(t *testing.T) {
	s := &lagging{listed: 500, failed: "PreparedStatementCallback; SQL state [XJ001]"}
	c, key := s.client(t), nacos.Key{Group: "g", DataID: "d"}
	_, getErr := c.Get(t.Context(), key)
	_, listErr := c.List(t.Context(), "g")
	for what, err := range map[string]error{
		"publish": c.Publish(t.Context(), nacos.Document{Key: key, Content: []byte("x")}, nacos.AnyMD5),
		"remove":  c.Remove(t.Context(), key), "get": getErr, "list": listErr,
	} {
		if !errors.Is(err, nacos.ErrFailed) || !errors.Is(err, nacos.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrFailed, which is ErrUnavailable", what, err)
		}
		if what != "list" && (err == nil || !strings.Contains(err.Error(), "g/d: Nacos answered, but failed: PreparedStatementCallback")) {
			t.Errorf("%s: %v", what, err)
		}
	}
	gone := fakeHTTP(t, nacos.Config{Addresses: []string{"127.0.0.1:1"}}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	if _, err := gone.List(t.Context(), "g"); !errors.Is(err, nacos.ErrUnavailable) || errors.Is(err, nacos.ErrFailed) {
		t.Errorf("list from behind a gateway: %v, want ErrUnavailable alone", err)
	}
}
