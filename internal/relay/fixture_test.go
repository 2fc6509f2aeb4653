package relay

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
)

type greeting struct {
	Name string `json:"name"`
}

// fixture is an MCP server of the go-sdk with tools that use every direction of the protocol.
func fixture() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "fixture", Version: "1"}, &mcp.ServerOptions{Instructions: "secret"})
	text := func(t string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: t}}}
	}
	mcp.AddTool(s, &mcp.Tool{Name: "a"}, func(_ context.Context, _ *mcp.CallToolRequest, in greeting) (*mcp.CallToolResult, any, error) {
		return text("hello " + in.Name), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "b"}, func(context.Context, *mcp.CallToolRequest, greeting) (*mcp.CallToolResult, any, error) {
		return nil, nil, fmt.Errorf("b failed")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "progress"}, func(ctx context.Context, req *mcp.CallToolRequest, _ greeting) (*mcp.CallToolResult, any, error) {
		for i := range 30 {
			if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1)}); err != nil {
				return nil, nil, err
			}
		}
		return text("done"), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ greeting) (*mcp.CallToolResult, any, error) {
		res, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "name?"})
		if err != nil {
			return nil, nil, err
		}
		return text("answer: " + res.Action), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "grow"}, func(context.Context, *mcp.CallToolRequest, greeting) (*mcp.CallToolResult, any, error) {
		mcp.AddTool(s, &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, greeting) (*mcp.CallToolResult, any, error) {
			return text("new"), nil, nil
		})
		return text("grown"), nil, nil
	})
	return s
}

func TestEveryTransportToEveryTransport(t *testing.T) {
	for _, backendOf := range []registry.Transport{registry.Streamable, registry.SSE} {
		for _, clientOf := range []string{"streamable", "sse"} {
			t.Run(clientOf+" to "+string(backendOf), func(t *testing.T) {
				var handler http.Handler
				if backendOf == registry.SSE {
					server := fixture()
					handler = mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return server }, nil)
				} else {
					server := fixture()
					handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
				}
				s := httptest.NewServer(handler)
				t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
				f := newFront(t, s.URL, backendOf, Options{}, nil)
				converse(t, f, clientOf)
			})
		}
	}
}

func TestHTTP2OnBothSides(t *testing.T) {
	for _, clientOf := range []string{"streamable", "sse"} {
		server := fixture()
		s := httptest.NewUnstartedServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
		s.EnableHTTP2 = true
		var protocols sync.Map
		inner := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protocols.Store(r.Proto, true)
			inner.ServeHTTP(w, r)
		})
		s.StartTLS()
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		f := newFrontOn(t, upstream.Options{}, registry.Backend{URL: s.URL, TLS: &registry.TLS{SkipVerify: true}}, registry.Streamable, Options{}, nil)
		converse(t, f, clientOf)
		protocols.Range(func(p, _ any) bool {
			if p != "HTTP/2.0" {
				t.Errorf("%s: the backend was spoken to in %v", clientOf, p)
			}
			return true
		})
	}
}

// converse is a client's whole conversation with the fixture.
func converse(t *testing.T, f *front, transport string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	progress := make(chan float64, 100)
	changed := make(chan bool, 10)
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- true },
	})
	var tr mcp.Transport = &mcp.StreamableClientTransport{Endpoint: f.URL, HTTPClient: f.client, MaxRetries: -1}
	if transport == "sse" {
		tr = &mcp.SSEClientTransport{Endpoint: f.URL + "/sse", HTTPClient: f.client}
	}
	session, err := c.Connect(ctx, tr, nil)
	if err != nil {
		t.Fatal("connect:", err)
	}
	defer session.Close()
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		t.Fatal("list:", err)
	}
	if diff := cmp.Diff([]string{"a", "ask", "b", "grow", "progress"}, names(list)); diff != "" {
		t.Error(diff)
	}
	call := func(name, want string, token any) {
		t.Helper()
		params := &mcp.CallToolParams{Name: name, Arguments: map[string]any{"name": "you"}}
		if token != nil {
			params.SetProgressToken(token)
		}
		res, err := session.CallTool(ctx, params)
		if err != nil {
			t.Fatalf("call %s: %v", name, err)
		}
		if got := res.Content[0].(*mcp.TextContent).Text; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	call("a", "hello you", nil)
	call("b", "b failed", nil)
	call("progress", "done", "tok")
	for range 30 {
		select {
		case <-progress:
		case <-ctx.Done():
			t.Fatal("progress is missing")
		}
	}
	call("ask", "answer: decline", nil)
	call("grow", "grown", nil)
	select {
	case <-changed:
	case <-ctx.Done():
		t.Fatal("the server's list_changed is missing")
	}
	call("new", "new", nil)
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "none"}); err == nil {
		t.Error("a tool that is not there was called")
	}
	f.toolsChanged(func(Caller) bool { return true })
	select {
	case <-changed:
	case <-ctx.Done():
		t.Fatal("our list_changed is missing")
	}
}

func names(l *mcp.ListToolsResult) []string {
	var out []string
	for _, t := range l.Tools {
		out = append(out, t.Name)
	}
	sort.Strings(out)
	return out
}
