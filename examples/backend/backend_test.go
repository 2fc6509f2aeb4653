package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestShopAnswers(t *testing.T) {
	tests := []struct {
		name               string
		method, path, body string
		header             http.Header
		status             int
		want               string
	}{
		{"one pet", "GET", "/pets/7", "", nil, 200, `{"id":7,"name":"Rex","kind":"dog","status":"available","price":300,"tags":["young","loud"]}`},
		{"no such pet", "GET", "/pets/99", "", nil, 404, `{"message":"no pet with id 99"}`},
		{"pet id that is no number", "GET", "/pets/x", "", nil, 404, `{"message":"no pet with id x"}`},
		{"filtered and limited list", "GET", "/pets?status=available&kind=dog&limit=1", "", nil, 200, `{"pets":[{"id":1,"name":"Bella","kind":"dog","status":"available","price":250,"tags":["calm","good with children"]}],"total":2}`},
		{"nothing found is an empty list", "GET", "/pets?kind=fish", "", nil, 200, `{"pets":[],"total":0}`},
		{"bad limit", "GET", "/pets?limit=0", "", nil, 400, `{"message":"limit must be a number from 1, not \"0\""}`},
		{"new pet without key", "POST", "/pets", `{"name":"Kiwi","kind":"bird"}`, nil, 401, `{"message":"this needs a valid X-API-Key"}`},
		{"new pet", "POST", "/pets", `{"name":"Kiwi","kind":"bird","price":9.5}`, http.Header{"X-Api-Key": {petKey}}, 201, `{"id":8,"name":"Kiwi","kind":"bird","status":"available","price":9.5,"tags":[]}`},
		{"new pet without a name", "POST", "/pets", `{"kind":"bird"}`, http.Header{"X-Api-Key": {petKey}}, 422, `{"message":"a pet needs a name and a kind"}`},
		{"new pet without a body", "POST", "/pets", ``, http.Header{"X-Api-Key": {petKey}}, 400, `{"message":"a JSON body is needed"}`},
		{"body too large", "POST", "/pets", `{"name":"` + strings.Repeat("x", maxBody) + `"}`, http.Header{"X-Api-Key": {petKey}}, 413, `{"message":"the body is too large"}`},
		{"one order", "GET", "/orders/1002", "", http.Header{"X-Orders-Key": {orderKey}}, 200, `{"id":1002,"status":"placed","lines":[{"petId":1,"quantity":1},{"petId":2,"quantity":2}],"note":"ring twice","total":491}`},
		{"order without key", "GET", "/orders/1002", "", nil, 401, `{"message":"this needs a valid X-Orders-Key"}`},
		{"place an order", "POST", "/orders", `{"petId":7,"quantity":2}`, http.Header{"X-Orders-Key": {orderKey}, "X-Request-Id": {"r1"}}, 201, `{"id":1003,"status":"placed","lines":[{"petId":7,"quantity":2}],"total":600,"requestId":"r1"}`},
		{"order what is sold", "POST", "/orders", `{"petId":3,"quantity":1}`, http.Header{"X-Orders-Key": {orderKey}}, 409, `{"message":"Coco is already sold"}`},
		{"order nothing", "POST", "/orders", `{"petId":7,"quantity":0}`, http.Header{"X-Orders-Key": {orderKey}}, 422, `{"message":"quantity must be at least 1"}`},
		{"cancel an order", "DELETE", "/orders/1002", "", http.Header{"X-Orders-Key": {orderKey}}, 204, ``},
		{"cancel too late", "DELETE", "/orders/1001", "", http.Header{"X-Orders-Key": {orderKey}}, 409, `{"message":"order 1001 has left the house"}`},
		{"somewhere else", "GET", "/x", "", nil, 404, `{"message":"no such resource: /x"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
			for k, v := range test.header {
				r.Header[k] = v
			}
			w := httptest.NewRecorder()
			newShop().ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
			if diff := cmp.Diff(test.want, strings.TrimSpace(w.Body.String())); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// connect gives a client session with the MCP server, and what the server reports as progress.
func connect(t *testing.T, sessions bool) (*mcp.ClientSession, func() []string) {
	t.Helper()
	srv := httptest.NewServer(newMCP(sessions))
	t.Cleanup(srv.Close)
	var mu sync.Mutex
	var progress []string
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			mu.Lock()
			defer mu.Unlock()
			progress = append(progress, fmt.Sprintf("%v/%v %s", r.Params.Progress, r.Params.Total, r.Params.Message))
		},
	})
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: srv.URL + "/mcp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return progress
	}
}

func TestMCPTools(t *testing.T) {
	for _, sessions := range []bool{false, true} {
		t.Run(fmt.Sprintf("sessions %v", sessions), func(t *testing.T) {
			session, progress := connect(t, sessions)
			call := func(name string, args map[string]any, meta mcp.Meta) *mcp.CallToolResult {
				t.Helper()
				res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Meta: meta, Name: name, Arguments: args})
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			text := func(r *mcp.CallToolResult) string { return r.Content[0].(*mcp.TextContent).Text }

			if got := text(call("add", map[string]any{"a": 2, "b": 3.5}, nil)); got != "2 + 3.5 = 5.5" {
				t.Errorf("add says %q", got)
			}
			if got := text(call("roll_dice", map[string]any{"count": 3}, nil)); !strings.HasPrefix(got, "rolled [") {
				t.Errorf("roll_dice says %q", got)
			}
			if r := call("roll_dice", map[string]any{"count": 1000}, nil); !r.IsError {
				t.Errorf("1000 dice were rolled: %s", text(r))
			}
			if got := text(call("countdown", map[string]any{"from": 2}, mcp.Meta{"progressToken": "t"})); got != "lift-off after 2 steps" {
				t.Errorf("countdown says %q", got)
			}
			if diff := cmp.Diff([]string{"1/2 2…", "2/2 1…"}, progress()); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunServesUntilStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	addresses := make(chan string, 2)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--http", "127.0.0.1:0", "--mcp", "127.0.0.1:0"}, func(_ string, args ...any) {
			addresses <- args[1].(string)
		})
	}()
	resp, err := http.Get("http://" + <-addresses + "/pets/1")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.Contains(string(body), "Bella") {
		t.Errorf("pet 1 is %s", body)
	}
	http.DefaultClient.CloseIdleConnections()
	<-addresses
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still running 30 s after it was stopped")
	}
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"bad address", []string{"--http", "nowhere:x"}, "start HTTP API: "},
		{"nothing to serve", []string{"--http=", "--mcp="}, "nothing to serve"},
		{"stray argument", []string{"now"}, `unexpected argument "now"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := run(t.Context(), test.args, t.Logf)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
