//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDescriptorsAreKeptForOthers has a stranger without a key make 400 connections to a program that may have 256
// descriptors, and read none of its answers. Operators are answered, and so is a caller from another address, for whom
// an edit holds within a second. Seen to fail without the bounds of app.bound: /readyz timed out.
func TestDescriptorsAreKeptForOthers(t *testing.T) {
	s := directory(t)
	backend := newRecorder(t, shop)
	s.put(t, "proxy-services", "shop.yaml", ownService(backend.URL, "read", "{{.name}}"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-grants", "shop.yaml", "consumers: [alice]\n")
	r := startUnder(t, s, "ulimit -n 256")
	address := strings.TrimPrefix(r.URL, "http://")
	other := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77)},
	}).DialContext}}
	call := func() int {
		req, _ := http.NewRequest(http.MethodPost, r.URL+"/mcp/shop", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{}}}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Api-Key", aliceKey)
		resp, err := other.Do(req)
		if err != nil {
			t.Fatalf("a call from another address: %v", err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	eventually(t, 20*time.Second, "the service is served", func() bool { return call() == 200 })
	unread := strings.Repeat("POST /mcp/shop HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}", 500)
	for i := range 400 {
		c, err := net.DialTimeout("tcp", address, 10*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = io.WriteString(c, unread)
	}
	probe := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 5 {
		resp, err := probe.Get(r.Admin + "/readyz")
		if err != nil {
			t.Fatalf("readyz: %v", err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("readyz: %d", resp.StatusCode)
		}
	}
	for i := range 3 {
		want, grants := 403, "consumers: []\n"
		if i%2 == 1 {
			want, grants = 200, "consumers: [alice]\n"
		}
		s.put(t, "proxy-grants", "shop.yaml", grants)
		if took := eventually(t, 10*time.Second, fmt.Sprintf("edit %d holds", i), func() bool { return call() == want }); took > time.Second {
			t.Errorf("edit %d took %s, want a second at most", i, took)
		}
	}
}
