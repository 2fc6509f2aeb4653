package nacos_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// aged answers like a Nacos of one generation, as far as they differ; what it holds is in the tenant that the generation
// calls the public namespace. TestNacos2 of internal/e2e does the same on a real 2.x.
type aged struct {
	nacosgrpc.UnimplementedRequestServer
	nacosgrpc.UnimplementedBiRequestStreamServer

	mu      sync.Mutex
	old     bool
	tenants map[string]bool // that were asked for
	setups  int             // streams that were opened
	end     chan struct{}   // ends them
}

func (s *aged) Request(_ context.Context, p *nacosgrpc.Payload) (*nacosgrpc.Payload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := p.GetMetadata().GetType()
	answer := strings.TrimSuffix(kind, "Request") + "Response"
	var r struct {
		Tenant               string
		ConfigListenContexts []struct{ Tenant string }
	}
	_ = json.Unmarshal(p.GetBody().GetValue(), &r)
	switch kind {
	case "ConfigFuzzyWatchRequest":
		return payload("ErrorResponse", `{"resultCode":500,"errorCode":302,"success":false,"message":"RequestHandler Not Found"}`), nil
	case "ConfigQueryRequest":
		s.tenants[r.Tenant] = true
		if (r.Tenant == "") != s.old {
			return payload(answer, `{"resultCode":500,"errorCode":300,"success":false,"message":"config data not exist"}`), nil
		}
	case "ConfigBatchListenRequest":
		s.tenants[r.Tenant] = true
		for _, c := range r.ConfigListenContexts {
			s.tenants[c.Tenant] = true
		}
		return payload("ConfigChangeBatchListenResponse", `{"resultCode":200,"success":true}`), nil
	case "ConfigPublishRequest", "ConfigRemoveRequest":
		s.tenants[r.Tenant] = true
	}
	return payload(answer, `{"resultCode":200,"success":true,"connectionId":"1","content":"x"}`), nil
}

func (s *aged) RequestBiStream(stream nacosgrpc.BiRequestStream_RequestBiStreamServer) error {
	s.mu.Lock()
	s.setups++
	end := s.end
	s.mu.Unlock()
	select {
	case <-end:
	case <-stream.Context().Done():
	}
	return nil
}

// drop ends all streams, as a restart of the server would.
func (s *aged) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.end)
	s.end = make(chan struct{})
}

func (s *aged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch v3 := strings.HasPrefix(r.URL.Path, "/nacos/v3/"); {
	case s.old && v3:
		w.WriteHeader(http.StatusNotFound)
	case !s.old && !v3:
		w.WriteHeader(http.StatusGone)
	case s.old:
		_, _ = w.Write([]byte(`{"totalCount":1,"pageItems":[{"dataId":"d","group":"g","content":"x"}]}`))
	default:
		_, _ = w.Write([]byte(`{"code":0,"data":{"totalCount":1,"pageItems":[{"dataId":"d","groupName":"g","md5":"9dd4e461268c8034f5c8564e155c67a6"}]}}`))
	}
}

// TestPublicNamespaceOfEachGeneration: to 2.x it is the blank tenant, to 3.x one by name, in every request and from the
// first on; after an upgrade it is found again. A server that knows no fuzzy watch is not asked again and again, each time
// at the cost of the connection. Seen red with the name of the namespace sent to all, and with the refusal forgotten.
func TestPublicNamespaceOfEachGeneration(t *testing.T) {
	for name, old := range map[string]bool{"2.x": true, "3.x without fuzzy watches": false} {
		t.Run(name, func(t *testing.T) {
			s := &aged{old: old, tenants: map[string]bool{}, end: make(chan struct{})}
			addr := serveFake(t, s, s, s)
			c, err := nacos.Connect(t.Context(), nacos.Config{Addresses: []string{addr}, ListInterval: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			key, want := nacos.Key{Group: "g", DataID: "d"}, map[bool]string{true: "", false: "public"}[old]
			publish(t, c, key, "x", nacos.AnyMD5)
			if doc, err := c.Get(t.Context(), key); err != nil || string(doc.Content) != "x" {
				t.Errorf("get: %q %v", doc.Content, err)
			}
			v, _ := follow(t, c, nil, "g")
			v.awaitSync(t)
			if !v.has(key, "x")() {
				t.Errorf("the watch holds %v", v.get())
			}
			if err := c.Remove(t.Context(), key); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second) // long enough for connections to be lost again and again
			s.mu.Lock()
			if len(s.tenants) != 1 || !s.tenants[want] {
				t.Errorf("tenants asked for: %v, want %q alone", s.tenants, want)
			}
			most := map[bool]int{true: 1, false: 2}[old]
			if s.setups > most {
				t.Errorf("%d connections, want %d", s.setups, most)
			}
			s.old, s.tenants = !old, map[string]bool{}
			s.mu.Unlock()
			s.drop()
			eventually(t, 10*time.Second, "the namespace of the other generation", func() bool {
				doc, err := c.Get(t.Context(), key)
				return err == nil && string(doc.Content) == "x"
			})
		})
	}
}
