package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// hostileWorld is a proxy with a converted and a passed-on service, granted to alice.
func hostileWorld(t testing.TB, change ...func(*config.Config)) (*proxy, *recorder, *gullible) {
	return hostileWorldOn(t, directory(t), change...)
}

func hostileWorldOn(t testing.TB, s *source, change ...func(*config.Config)) (*proxy, *recorder, *gullible) {
	api, backend := newRecorder(t, shop), newGullible(t)
	ownKinds(t, s, api, backend.Server)
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	for _, name := range []string{"store", "tools"} {
		s.put(t, "proxy-grants", name+".yaml", "consumers: [alice]\n")
	}
	return start(t, s, change...).ready(), api, backend
}

// generator makes bad requests: valid ones with something broken in them.
type generator struct{ *mathrand.Rand }

func (g generator) one(of ...string) string { return of[g.IntN(len(of))] }

// often gives the first nine times in ten.
func often(g generator, first string, others ...string) string {
	if g.IntN(10) > 0 {
		return first
	}
	return g.one(others...)
}

const bytesOfJunk = "\x00\x01\t \"\\/{}[]:,\xff\xc0\x80aZ09-+.eE?&=%@;"

// junk is a few bytes of anything, apt to end where an HTTP head ends.
func (g generator) junk() string {
	b := make([]byte, g.IntN(12))
	for i := range b {
		b[i] = bytesOfJunk[g.IntN(len(bytesOfJunk))]
	}
	return string(b)
}

func (g generator) body() string {
	b := []byte(g.one(
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_item","arguments":{"id":7}}}`,
		`{"jsonrpc":"2.0","id":"x","method":"tools/list","params":{"cursor":null}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt"}}}`, `[]`, `[{}]`, ``, `null`, `0`, `"x"`,
	))
	for range g.IntN(4) {
		at := g.IntN(len(b) + 1)
		switch to := min(len(b), at+g.IntN(8)); g.IntN(4) {
		case 0:
			b = append(b[:at:at], b[to:]...)
		case 1:
			b = append(append(b[:at:at], g.junk()...), b[at:]...)
		case 2:
			b = append(append(b[:to:to], b[at:to]...), b[to:]...)
		case 3:
			b = append(b[:at:at], strings.Repeat(g.one("[", `{"a":`, `"`, "\\"), g.IntN(300))...)
		}
	}
	return string(b)
}

// request is the bytes of a request that is HTTP, whatever else it is.
func (g generator) request() string {
	method := often(g, "POST", "GET", "DELETE", "PUT", "OPTIONS", "HEAD", "PATCH", "post", "X")
	path := often(g, g.one("/mcp/store", "/mcp/tools"), "/mcp/store@", "/mcp/store@9", "/mcp/", "/mcp", "/", "/sse/store/message", "/sse/tools/message?sessionId=x",
		"/mcp/../mcp/store", "/mcp/%73tore", "/mcp/store%00", "//mcp/store", "/mcp/store/", "/mcp/store?api_key=x", "/.well-known/oauth-protected-resource/mcp/store", "/%ff")
	body := g.body()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, often(g, "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]", "evil.example", ""))
	if g.IntN(20) > 0 {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", often(g, aliceKey, "x", "", aliceKey+" "))
	}
	fmt.Fprintf(&b, "Content-Type: %s\r\n", often(g, "application/json", "application/json; charset=utf-8", "text/plain", "application/json;", "x", "", "multipart/form-data; boundary=x"))
	clean := func(s string) string {
		return strings.Map(func(r rune) rune { return max(r, ' ') }, strings.ToValidUTF8(s, ""))
	}
	for range max(0, g.IntN(6)-2) {
		fmt.Fprintf(&b, "%s: %s\r\n", g.one("Mcp-Session-Id", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-x", "Last-Event-ID", "Origin", "Accept",
			"X-Forwarded-For", "Accept-Encoding", "Content-Encoding", "Traceparent", "X-API-Key", "Connection", "Expect", "Access-Control-Request-Method"),
			clean(g.one("", "2026-07-28", "2099-01-01", "tools/call", "=?base64?x?=", "=?base64?", "*/*", "gzip", "http://127.0.0.1", "null", "x", g.junk(), g.junk())))
	}
	if g.IntN(4) == 0 {
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		if len(body) == 0 {
			return strings.Replace(b.String(), "\r\n\r\n0\r\n\r\n0", "\r\n\r\n0", 1)
		}
	} else {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	return b.String()
}

// TestA26_BadRequestsDoNoHarm sends generated bad requests one after the other, on as few connections as HTTP allows. None
// makes the proxy panic or answer 5xx, and afterwards there are as many goroutines as before. Seen to fail with a panic put
// into gateway.unknownMethod.
func TestA26_BadRequestsDoNoHarm(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 30_000
	}
	p, _, _ := hostileWorld(t, func(c *config.Config) { c.Limits.CallTime = 2 * time.Second; c.Limits.StreamIdle = time.Second })
	seed := uint64(time.Now().UnixNano())
	g := generator{mathrand.New(mathrand.NewPCG(seed, 26))}
	p.client("store", aliceKey).call("get_item", `{"id":7}`)
	p.client("tools", aliceKey).call("add", `{}`)
	before := runtime.NumGoroutine()
	statuses, dialled := map[int]int{}, 0
	var conn net.Conn
	var answers *bufio.Reader
	for i := range n {
		request := g.request()
		if conn == nil {
			var err error
			if conn, err = net.Dial("tcp", strings.TrimPrefix(p.URL, "http://")); err != nil {
				t.Fatal(err)
			}
			answers, dialled = bufio.NewReader(conn), dialled+1
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		method, _, _ := strings.Cut(request, " ")
		_, err := io.WriteString(conn, request)
		var resp *http.Response
		if err == nil {
			resp, err = http.ReadResponse(answers, &http.Request{Method: method})
			for err == nil && resp.StatusCode == http.StatusContinue {
				resp, err = http.ReadResponse(answers, &http.Request{Method: method})
			}
		}
		if err != nil {
			t.Fatalf("request %d of seed %d got no answer: %v\n%q", i, seed, err, request)
		}
		statuses[resp.StatusCode]++
		isStream := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
		if !isStream {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		if resp.StatusCode >= 500 || err != nil {
			t.Errorf("request %d of seed %d: %d %v\n%q", i, seed, resp.StatusCode, err, request)
		}
		if isStream || resp.Close {
			_ = conn.Close()
			conn = nil
		}
	}
	if conn != nil {
		_ = conn.Close()
	}
	t.Logf("%d requests on %d connections: %v", n, dialled, statuses)
	if statuses[200] < n/100 || statuses[400] < n/10 {
		t.Error("the requests are not what they should be")
	}
	if log := p.log.String(); strings.Contains(log, "panic") {
		t.Error("a request made the proxy panic")
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	eventually(t, 20*time.Second, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// TestA27_ForeignPagesAndFalseHeadersAreRefused tries other origins and hosts, and headers that are not the body's. Seen to
// fail with the call of hostAllowed left out of gateway.ServeHTTP, with that of originAllowed, and with wire.HeadersDiffer
// always nil.
func TestA27_ForeignPagesAndFalseHeadersAreRefused(t *testing.T) {
	p, api, backend := hostileWorld(t)
	try := func(name, method, path, host string, header map[string]string, body string, status int) {
		t.Helper()
		req, err := http.NewRequest(method, p.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+aliceKey)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		for k, v := range header {
			req.Header.Set(k, v)
		}
		if host != "" {
			req.Host = host
		}
		ctx, cancel := context.WithTimeout(req.Context(), 5*time.Second) // a stream would have no end
		defer cancel()
		resp, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != status || status >= 400 && gjson.GetBytes(b, "error.code").Int() >= 0 {
			t.Errorf("%s %s %s: %d %s, want %d", name, method, path, resp.StatusCode, b, status)
		}
	}
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for _, path := range []string{"/mcp/store", "/mcp/tools", "/sse/store", "/sse/tools/message", "/mcp/none"} {
		for _, method := range []string{"POST", "GET", "DELETE", "OPTIONS"} {
			for _, origin := range []string{"http://evil.example", "null", "http://127.0.0.1.evil.example", "file://", "http://localhost:1", strings.Replace(p.URL, "http", "ftp", 1) + ".evil", "x"} {
				try("origin "+origin, method, path, "", map[string]string{"Origin": origin, "Access-Control-Request-Method": "POST"}, list, 403)
			}
			for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "169.254.169.254"} {
				try("host "+host, method, path, host, nil, list, 403)
				try("both "+host, method, path, host, map[string]string{"Origin": "http://" + host}, list, 403)
			}
		}
	}
	if backend.did("echo") != "" || api.count() != 0 {
		t.Error("a backend was reached")
	}
	try("own origin", "POST", "/mcp/store", "", map[string]string{"Origin": p.URL}, list, 200)
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	for path, tool := range map[string]string{"/mcp/store": "list_items", "/mcp/tools": "echo"} {
		call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `",` + meta + `}}`
		for name, h := range map[string]map[string]string{
			"other name": {"Mcp-Method": "tools/call", "Mcp-Name": "other"}, "other method": {"Mcp-Method": "tools/list", "Mcp-Name": tool},
			"case": {"Mcp-Method": "Tools/Call", "Mcp-Name": tool}, "encoded other": {"Mcp-Method": "tools/call", "Mcp-Name": "=?base64?b3RoZXI=?="},
			"broken": {"Mcp-Method": "tools/call", "Mcp-Name": "=?base64?*?="}, "empty": {"Mcp-Method": "tools/call", "Mcp-Name": ""},
			"other version": {"Mcp-Method": "tools/call", "Mcp-Name": tool, "Mcp-Protocol-Version": "2027-01-01"},
		} {
			if h["Mcp-Protocol-Version"] == "" {
				h["Mcp-Protocol-Version"] = "2026-07-28"
			}
			try(name, "POST", path, "", h, call, 400)
		}
	}
	if how := backend.did("echo"); how != "" || api.count() != 0 {
		t.Errorf("a backend was reached: %s%s", how, api.last())
	}
}

// TestA29_LargeBodiesAreRefused sends bodies of the limit and one byte more: with their length, in chunks, and over HTTP/2.
// Seen to fail with the comparison in the loop of gateway.readBody taken out.
func TestA29_LargeBodiesAreRefused(t *testing.T) {
	const limit = 64 << 10
	p, api, backend := hostileWorld(t, func(c *config.Config) { c.Limits.RequestBody = limit })
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	clients := map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": {Transport: &http.Transport{Protocols: protocols}}}
	body := func(size int) []byte {
		b := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"x":""}}}`)
		pad := make([]byte, size-len(b))
		_, _ = rand.Read(pad)
		for i := range pad {
			pad[i] = 'a' + pad[i]%26
		}
		return bytes.Replace(b, []byte(`""`), append(append([]byte{'"'}, pad...), '"'), 1)
	}
	for version, hc := range clients {
		for _, service := range []string{"tools", "store"} {
			for name, size := range map[string]int{"at the limit": limit, "over it": limit + 1, "far over it": 100 * limit} {
				for _, chunked := range []bool{false, true} {
					var r io.Reader = bytes.NewReader(body(size))
					if chunked {
						r = io.MultiReader(r)
					}
					req, err := http.NewRequest(http.MethodPost, p.URL+"/mcp/"+service, r)
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Authorization", "Bearer "+aliceKey)
					req.Header.Set("Content-Type", "application/json")
					want, before := 200, backend.requests()+api.count()
					if size > limit {
						want = http.StatusRequestEntityTooLarge
					}
					resp, err := hc.Do(req)
					if err != nil {
						t.Errorf("%s %s %s chunked=%t: %v", version, service, name, chunked, err)
						continue
					}
					b, _ := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != want || want != 200 && backend.requests()+api.count() != before || resp.Proto != version && version == "HTTP/1.1" {
						t.Errorf("%s %s %s chunked=%t: %d %.200s", version, service, name, chunked, resp.StatusCode, b)
					}
				}
			}
		}
	}
}

// slowRequest begins a request and never ends it; it gives how long the proxy bore with it.
func slowRequest(address string, feed []string, every time.Duration) (time.Duration, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	ended := make(chan struct{})
	go func() { // the answer, if any, and then the end
		_ = c.SetReadDeadline(began.Add(30 * time.Second))
		_, _ = io.Copy(io.Discard, c)
		close(ended)
	}()
	for i := 0; ; i++ {
		if _, err := io.WriteString(c, feed[min(i, len(feed)-1)]); err != nil {
			<-ended
			return time.Since(began), nil
		}
		select {
		case <-ended:
			return time.Since(began), nil
		case <-time.After(every):
		}
	}
}

// TestA28_SlowRequestsAreCutOff opens 1,000 connections that send their header or their body drop by drop. Each is closed
// soon after its limit; meanwhile others are served, and a stream that was open before lives on. Seen to fail with
// the read deadline of gateway.ServeHTTP left out.
func TestA28_SlowRequestsAreCutOff(t *testing.T) {
	p, _, _ := hostileWorld(t, func(c *config.Config) { c.Limits.HeaderTime, c.Limits.BodyTime = 2*time.Second, 3*time.Second })
	c := p.client("store", aliceKey)
	c.initialize()
	stream := c.openStream()
	quiet := percentile(t, c, 200)
	address := strings.TrimPrefix(p.URL, "http://")
	header := []string{"POST /mcp/store HTTP/1.1\r\n", "X-A: b\r\n"}
	body := []string{"POST /mcp/store HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer " + aliceKey + "\r\nContent-Length: 1000\r\n\r\n{", " "}
	var wg sync.WaitGroup
	for i := range 1000 {
		feed, limit := header, 2*time.Second
		switch i % 4 {
		case 1:
			feed, limit = body, 3*time.Second
		case 2: // refused before anybody looks at the body
			feed, limit = []string{strings.Replace(body[0], aliceKey, "x", 1), " "}, 3*time.Second
		case 3: // silence
			feed, limit = []string{strings.Replace(body[0], aliceKey, "x", 1), ""}, 3*time.Second
		}
		wg.Go(func() {
			took, err := slowRequest(address, feed, 250*time.Millisecond)
			if err != nil || took < limit/2 || took > limit+10*time.Second {
				t.Errorf("a slow request with the limit %s was borne for %s: %v", limit, took, err)
			}
		})
	}
	busy := percentile(t, c, 200)
	wg.Wait()
	select {
	case e, open := <-stream:
		t.Errorf("the open stream did not stay as it was: %q %t", e, open)
	default:
	}
	// The thousand share the test's own two processors: a ratio that only a proxy held up by them would exceed.
	if busy > 20*quiet+500*time.Millisecond {
		t.Errorf("calls took %s at p99, %s when it was quiet", busy, quiet)
	}
	t.Logf("p99 %s, quiet %s", busy, quiet)
}

// percentile makes n calls and gives the 99th percentile of the time they took.
func percentile(t *testing.T, c *client, n int) time.Duration {
	t.Helper()
	var all []time.Duration
	for range n {
		began := time.Now()
		if a := c.call("get_item", `{"id":7}`); a.text() != "Lamp costs 12.50" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
