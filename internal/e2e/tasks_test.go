package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// taskRequests are the methods of tasks: those of 2025-11-25, and those that the extension of the modern era has.
func taskRequests(modern bool) map[string]string {
	make := legacyBody
	methods := []string{"tasks/get", "tasks/result", "tasks/list", "tasks/cancel"}
	if modern {
		make, methods = modernBody, []string{"tasks/get", "tasks/update", "tasks/cancel"}
	}
	all := map[string]string{}
	for _, m := range methods {
		params := `"taskId":"t-1"`
		switch m {
		case "tasks/list":
			params = `"cursor":"c"`
		case "tasks/update":
			params += `,"inputResponses":{"a":{"action":"accept","content":{"n":9007199254740993}}}`
		}
		all[m] = make(m, params)
	}
	return all
}

// TestTasksPassToThoseWithAServiceGrant sends every method of tasks, in both eras. For a caller of the whole service the
// bytes reach the backend and its answer comes back as it is; one that was granted tools, even the one that makes the task,
// gets the answer to an unknown method, and the backend is not asked. A tool call that asks for a task is decided on like
// any other. Seen to fail with the methods let through in gateway.mayPass for restricted callers.
func TestTasksPassToThoseWithAServiceGrant(t *testing.T) {
	s := directory(t)
	const answer = `{"jsonrpc":"2.0","id":7,"result":{"task":{"taskId":"t-1","status":"working","ttl":null,"pollInterval":9007199254740993,"createdAt":"2026-11-23T00:00:00Z"},"resultType":"task"}}`
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer)
	})
	s.put(t, "proxy-services", "tasks.yaml", "upstream: {url: \""+backend.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-services", "open.yaml", "upstream: {url: \""+backend.URL+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-services", "store.yaml", storeDocument(backend.URL))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	for _, name := range []string{"tasks", "store"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\ntools: {research: [bob]}\n")
	}
	s.put(t, "proxy-grants", "open.yaml", "auth: disabled\n")
	p := start(t, s).ready()
	as := func(service, key, method, name string, modern bool) *client {
		c := p.client(service, key)
		if modern {
			for k, v := range modernHeader(method, name) {
				c.header.Set(k, v)
			}
		}
		return c
	}
	passes := func(what string, c *client, body string) {
		t.Helper()
		a := c.post(body)
		if diff := cmp.Diff(answer, a.Body); a.Status != 200 || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", what, a.Status, diff)
		}
		if diff := cmp.Diff("POST /mcp "+body, backend.last()); diff != "" {
			t.Errorf("%s: what the backend got (-want +got):\n%s", what, diff)
		}
	}
	refused := func(what string, c *client, body string, status int, code int64) {
		t.Helper()
		before := backend.count()
		a := c.post(body)
		if a.Status != status || gjson.Get(a.Body, "error.code").Int() != code {
			t.Errorf("%s: %d %s, want %d %d", what, a.Status, a.Body, status, code)
		}
		if backend.count() != before {
			t.Errorf("%s: the backend was asked: %s", what, backend.last())
		}
	}
	for _, modern := range []bool{false, true} {
		make, unknownMethod, unknownTool := legacyBody, 200, 200
		if modern {
			make, unknownMethod, unknownTool = modernBody, 404, 400
		}
		for method, body := range taskRequests(modern) {
			what := fmt.Sprintf("%s modern=%t", method, modern)
			passes(what+" of alice", as("tasks", aliceKey, method, "", modern), body)
			passes(what+" of anybody", as("open", "", method, "", modern), body)
			refused(what+" of bob", as("tasks", bobKey, method, "", modern), body, unknownMethod, -32601)
			refused(what+", converted", as("store", aliceKey, method, "", modern), body, unknownMethod, -32601)
			note := strings.Replace(body, `"id":7,`, "", 1)
			refused(what+" of bob without id", as("tasks", bobKey, method, "", modern), note, 400, -32600)
		}
		for _, tool := range []string{"research", "other"} {
			call := make("tools/call", `"name":"`+tool+`","arguments":{},"task":{"ttl":60000}`)
			passes("task of alice by "+tool, as("tasks", aliceKey, "tools/call", tool, modern), call)
			if bob := as("tasks", bobKey, "tools/call", tool, modern); tool == "research" {
				passes("task of bob", bob, call)
			} else {
				refused("task of bob by another tool", bob, call, unknownTool, -32602)
			}
		}
	}
	status := `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t-1","status":"working"}}`
	// Of an answer to a notification, which has none by the protocol, bob gets the status.
	if a := p.client("tasks", bobKey).post(status); a.Status != 200 || a.Body != "" || backend.last() != "POST /mcp "+status {
		t.Errorf("notification of bob: %d %q; the backend got %s", a.Status, a.Body, backend.last())
	}
}

// TestTasksOfARealServer has server-everything work on tasks: made, watched, listed, cancelled, and their results fetched,
// through the proxy. When the service grant that they were made under shrinks to a grant on the very tool, they are out of
// reach; when it is back, they are there again.
func TestTasksOfARealServer(t *testing.T) {
	address := everything(t, "streamableHttp")
	s := directory(t)
	s.put(t, "proxy-services", "everything.yaml", "upstream: {url: \"http://"+address+"/mcp\", transport: streamable}\n")
	s.put(t, "proxy-grants", "everything.yaml", "consumers: [alice]\n")
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	p := start(t, s).ready()
	c := p.client("everything", aliceKey)
	a := c.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"tasks":{"list":{},"cancel":{}}},"clientInfo":{"name":"e2e","version":"1"}}}`)
	if c.session = a.Header.Get("Mcp-Session-Id"); !strings.Contains(a.Body, `"tasks":{`) {
		t.Fatalf("the server does not offer tasks: %d %s", a.Status, a.Body)
	}
	c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	result := func(method, params string) gjson.Result {
		t.Helper()
		a := c.post(legacyBody(method, params))
		all := messages(a.Body)
		r := gjson.Get(all[len(all)-1], "result")
		if a.Status != 200 || !r.Exists() {
			t.Fatalf("%s: %d %s", method, a.Status, a.Body)
		}
		return r
	}
	task := func() string {
		t.Helper()
		r := result("tools/call", `"name":"simulate-research-query","arguments":{"topic":"tides"},"task":{"ttl":600000}`)
		if r.Get("task.taskId").Str == "" || r.Get("task.status").Str != "working" {
			t.Fatalf("no task was made: %s", r.Raw)
		}
		return `"taskId":"` + r.Get("task.taskId").Str + `"`
	}
	done, given := task(), task()
	if got := result("tasks/get", done).Get("status").Str; got != "working" && got != "completed" {
		t.Errorf("tasks/get: %s", got)
	}
	if list := result("tasks/list", "").Raw; !strings.Contains(list, done) || !strings.Contains(list, given) {
		t.Errorf("tasks/list: %s", list)
	}
	if got := result("tasks/cancel", given).Get("status").Str; got != "cancelled" {
		t.Errorf("tasks/cancel: %s", got)
	}
	if got := result("tasks/result", done); !strings.Contains(got.Get("content.0.text").Str, "tides") || !strings.Contains(got.Raw, "related-task") {
		t.Errorf("tasks/result: %s", got.Raw)
	}
	if got := result("tasks/get", done).Get("status").Str; got != "completed" {
		t.Errorf("tasks/get in the end: %s", got)
	}

	reach := func(method string) bool {
		return !strings.Contains(c.post(legacyBody(method, done)).Body, "Method not found: "+method)
	}
	s.put(t, "proxy-grants", "everything.yaml", "tools: {simulate-research-query: [alice]}\n")
	for _, method := range []string{"tasks/get", "tasks/result", "tasks/list", "tasks/cancel"} {
		eventually(t, 5*time.Second, method+" is out of reach", func() bool { return !reach(method) })
	}
	s.put(t, "proxy-grants", "everything.yaml", "consumers: [alice]\n")
	eventually(t, 5*time.Second, "the task is there again", func() bool { return reach("tasks/get") })
	if got := result("tasks/get", done).Get("status").Str; got != "completed" {
		t.Errorf("tasks/get when the grant was back: %s", got)
	}
}
