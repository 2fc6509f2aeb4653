package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// plainSSE is a client of the 2024-11-05 transport that does no more than the transport says.
type plainSSE struct {
	t        *testing.T
	header   http.Header // of each request
	endpoint *url.URL
	lines    *bufio.Scanner
}

// connectSSE opens a session with a key, unless that is empty, and these headers.
func connectSSE(t *testing.T, target, key string, more ...http.Header) *plainSSE {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &plainSSE{t: t, header: http.Header{}}
	for _, h := range more {
		maps.Copy(c.header, h)
	}
	if key != "" {
		c.header.Set("X-API-Key", key)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET %s: %d %s", target, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	c.lines = bufio.NewScanner(resp.Body)
	event, data := c.next()
	if event != "endpoint" {
		t.Fatalf("the first event is %q: %s", event, data)
	}
	base, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	if c.endpoint, err = base.Parse(data); err != nil || c.endpoint.Host != base.Host {
		t.Fatalf("the endpoint is %q: %v", data, err)
	}
	return c
}

// next gives the next event, comments left out.
func (c *plainSSE) next() (event, data string) {
	c.t.Helper()
	event = "message"
	var parts []string
	for c.lines.Scan() {
		name, value, _ := strings.Cut(c.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case c.lines.Text() == "" && parts != nil:
			return event, strings.Join(parts, "\n")
		case name == "event":
			event = value
		case name == "data":
			parts = append(parts, value)
		}
	}
	c.t.Fatalf("the stream ended: %v", c.lines.Err())
	return "", ""
}

func (c *plainSSE) post(body string) {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.endpoint.String(), strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		b, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("POST: %d %s", resp.StatusCode, b)
	}
}

// ask posts a request and gives the answer, which comes on the stream. It uses one id for all, as simple clients do.
func (c *plainSSE) ask(method, params string) (result, fault string) {
	c.t.Helper()
	c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":"x-1","method":%q,"params":%s}`, method, params))
	for {
		_, data := c.next()
		var m struct {
			ID     string
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			c.t.Fatalf("read %s: %v", data, err)
		}
		if m.ID == "x-1" {
			return string(m.Result), string(m.Error)
		}
	}
}

// checkPlainSSE opens an HTTP+SSE session with every service, lists, calls, and meets bob's refusals.
func checkPlainSSE(t *testing.T, p *proxy, backends []backend) {
	for _, b := range backends {
		t.Run(b.service, func(t *testing.T) {
			call := bobSteps(realClient{}, b)[1]
			arguments, err := json.Marshal(call.Arguments)
			if err != nil {
				t.Fatal(err)
			}
			params := fmt.Sprintf(`{"name":%q,"arguments":%s}`, call.Name, strings.Replace(string(arguments), "null", "{}", 1))
			for _, key := range []string{aliceKey, bobKey} {
				c := connectSSE(t, p.URL+"/sse/"+b.service, key)
				if result, fault := c.ask("initialize", `{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"plain","version":"1"}}`); !strings.Contains(result, `"2024-11-05"`) {
					t.Fatalf("initialize: %s%s", result, fault)
				}
				c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
				list, fault := c.ask("tools/list", "{}")
				if all := strings.Contains(list, fmt.Sprintf("%q", bobSteps(realClient{}, b)[2].Name)); all != (key == aliceKey) || !strings.Contains(list, fmt.Sprintf("%q", b.tool)) {
					t.Errorf("tools/list: %s%s", list, fault)
				}
				if result, fault := c.ask("tools/call", params); !strings.Contains(result, `"content"`) {
					t.Errorf("tools/call: %s%s", result, fault)
				}
				if _, fault := c.ask("tools/call", `{"name":"no-such-tool","arguments":{}}`); key == bobKey && !strings.Contains(fault, "Unknown tool: no-such-tool") {
					t.Errorf("unknown tool: %s", fault)
				}
			}
		})
	}
}
