package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

var defaultSources = []registry.KeySource{{Bearer: true}, {Header: "X-Api-Key"}}

// people gives an Index with these consumer documents.
func people(t *testing.T, documents map[string]string) *catalog.Index {
	t.Helper()
	upstreams := upstream.New(upstream.Options{})
	t.Cleanup(upstreams.Close)
	var initial []catalog.Kept
	for name, content := range documents {
		initial = append(initial, catalog.Kept{Change: nacos.Change{Key: nacos.Key{Group: registry.GroupConsumers, DataID: name + ".yaml"}, Content: []byte(content), MD5: name}})
	}
	c, err := catalog.New(catalog.Options{Services: 1, Backends: upstreams, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, initial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.Index()
}

func holding(key, more string) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("keys: [{id: k1, sha256: %s}]\n%s", hex.EncodeToString(sum[:]), more)
}

// Seen to fail with names compared as they came, with the digests of other places not looked up, and with the default
// places stripped for a consumer that has its own (its credential for the backend would be lost).
func TestStripLeavesNoKeyAndNothingElseOut(t *testing.T) {
	x := people(t, map[string]string{
		"alice": holding("alices-key-0123456789", ""),
		"team":  holding("teams-key-0123456789", "sources: [{header: X-Team}]\n"),
	})
	g := &Gateway{options: Options{Sources: defaultSources}}
	for _, c := range []struct {
		name, consumer string
		in, want       http.Header
	}{
		{"default places", "alice",
			http.Header{"Authorization": {"Bearer alices-key-0123456789"}, "X-Api-Key": {"anything"}, "Traceparent": {"t"}},
			http.Header{"Traceparent": {"t"}}},
		{"underscores", "alice", http.Header{"X_api_key": {"alices-key-0123456789"}, "X_Api-Key": {"x"}, "X_other": {"x"}}, http.Header{"X_other": {"x"}}},
		{"several values", "alice", http.Header{"X-Api-Key": {"a", "b"}, "X-Other": {"a", "has nmp_a_b in it"}}, http.Header{}},
		{"its own credential", "alice", http.Header{"Authorization": {"Basic YTpi"}, "X-Api-Key": {"alices-key-0123456789"}}, http.Header{"Authorization": {"Basic YTpi"}}},
		{"a consumer with a place of its own keeps its credential", "team",
			http.Header{"X-Team": {"teams-key-0123456789"}, "X-Api-Key": {"its own"}, "Authorization": {"Bearer backend-credential"}}, http.Header{"X-Api-Key": {"its own"}, "Authorization": {"Bearer backend-credential"}}},
		{"its key in a default place", "team", http.Header{"Authorization": {"bearer  teams-key-0123456789 "}, "X-Api-Key": {"teams-key-0123456789"}}, http.Header{}},
		{"somebody else's key in a place", "team", http.Header{"X-Api-Key": {"alices-key-0123456789"}}, http.Header{}},
		{"a place of somebody else's", "alice", http.Header{"X-Team": {"not a key"}}, http.Header{"X-Team": {"not a key"}}},
		{"a key in a place of somebody else's", "alice", http.Header{"X-Team": {"alices-key-0123456789"}}, http.Header{}},
		{"nobody, the switch being off", "", http.Header{"Authorization": {"Bearer x"}, "X-Api-Key": {"x"}, "X-Team": {"x"}, "Accept": {"*/*"}},
			http.Header{"Accept": {"*/*"}, "Authorization": {"Bearer x"}}},
		{"configuration by clients", "alice", http.Header{"X-Higress-Mcpserver-Config": {"x"}}, http.Header{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.strip(c.in, x.Consumer(c.consumer), x)
			if diff := cmp.Diff(c.want, c.in); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Seen to fail with two keys taken for the first one, and with misplaced keys taken.
func TestIdentifyFindsTheConsumerByItsKey(t *testing.T) {
	x := people(t, map[string]string{
		"alice": holding("alices-key-0123456789", ""),
		"bob":   holding("bobs-key-0123456789", ""),
		"team":  holding("teams-key-0123456789", "sources: [{header: X-Team}, {query: team_key}]\n"),
		"gone":  holding("gones-key-0123456789", "enabled: false\n"),
	})
	g := &Gateway{options: Options{Sources: defaultSources}}
	for _, c := range []struct {
		name          string
		header        http.Header
		query         string
		want, problem string
	}{
		{"none", nil, "", "", noKey},
		{"bearer", http.Header{"Authorization": {"Bearer alices-key-0123456789"}}, "", "alice", ""},
		{"the scheme in any case", http.Header{"Authorization": {"bEARER alices-key-0123456789"}}, "", "alice", ""},
		{"no scheme", http.Header{"Authorization": {"alices-key-0123456789"}}, "", "", noKey},
		{"header", http.Header{"X-Api-Key": {" alices-key-0123456789\t"}}, "", "alice", ""},
		{"the same key twice", http.Header{"X-Api-Key": {"alices-key-0123456789", "alices-key-0123456789"}, "Authorization": {"Bearer alices-key-0123456789"}}, "", "alice", ""},
		{"two different keys", http.Header{"X-Api-Key": {"alices-key-0123456789"}, "Authorization": {"Bearer bobs-key-0123456789"}}, "", "", twoKeys},
		{"two different keys in one header", http.Header{"X-Api-Key": {"alices-key-0123456789", "bobs-key-0123456789"}}, "", "", twoKeys},
		{"a key and a disabled one", http.Header{"X-Api-Key": {"gones-key-0123456789"}, "Authorization": {"Bearer alices-key-0123456789"}}, "", "", twoKeys},
		{"a key and a stranger's token", http.Header{"X-Api-Key": {"alices-key-0123456789"}, "Authorization": {"Bearer backend-token"}}, "", "alice", ""},
		{"own header", http.Header{"X-Team": {"teams-key-0123456789"}}, "", "team", ""},
		{"own query", nil, "team_key=teams-key-0123456789", "team", ""},
		{"own key in a default place", http.Header{"X-Api-Key": {"teams-key-0123456789"}}, "", "", keyMisplaced},
		{"default key in another's place", http.Header{"X-Team": {"alices-key-0123456789"}}, "", "", keyMisplaced},
		{"default key in the query", nil, "team_key=alices-key-0123456789", "", keyMisplaced},
		{"disabled", http.Header{"X-Api-Key": {"gones-key-0123456789"}}, "", "", keyNotInForce + "disabled"},
		{"unknown", http.Header{"X-Api-Key": {"nobodys-key"}}, "", "", unknownKey},
		{"a digest is no key", http.Header{"X-Api-Key": {hex.EncodeToString(sha256.New().Sum(nil))}}, "", "", unknownKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/mcp/x?"+c.query, nil)
			for name, values := range c.header {
				r.Header[name] = values
			}
			got := g.identify(r, x, g.now())
			name := ""
			if got.consumer != nil {
				name = got.consumer.Name
			}
			if name != c.want || got.problem != c.problem {
				t.Errorf("%q %q, want %q %q", name, got.problem, c.want, c.problem)
			}
		})
	}
}

// A panic's trace goes into the log; the key is in no part of it.
//
// Seen to fail with a panic whose value holds the request's header.
func TestA20_PanicsHoldNoKey(t *testing.T) {
	const canary = "nmp_canary_0123456789abcdefghijklmnopqrst"
	var mu sync.Mutex
	var trace strings.Builder
	g := New(Options{Sources: defaultSources}) // without a Catalog every call panics
	defer g.Close()
	server := httptest.NewUnstartedServer(g)
	server.Config.ErrorLog = log.New(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return trace.Write(p)
	}), "", 0)
	server.Start()
	defer server.Close()
	req, err := http.NewRequest(http.MethodPost, server.URL+"/mcp/x?api_key="+canary, strings.NewReader(`{"key":"`+canary+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+canary)
	if resp, err := server.Client().Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatalf("no panic: %s", resp.Status)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(trace.String(), "panic") || strings.Contains(trace.String(), canary) {
		t.Errorf("trace: %s", trace.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
