//go:build unix

package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// scripted is a backend that answers the n-th request of all its connections with what answer says, byte for byte, and
// then does with the connection what it likes.
type scripted struct {
	net.Listener
	conns, requests atomic.Int32
}

func newScripted(t testing.TB, answer func(n int32, r *http.Request, c net.Conn) (goOn bool)) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			go func() {
				defer c.Close()
				for br := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					if !answer(s.requests.Add(1), r, c) {
						return
					}
				}
			}()
		}
	}()
	return s
}

func (s *scripted) url() string { return "http://" + s.Addr().String() }

const ok2 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// plainOf is the pool behind a backend.
func plainOf(b *Backend) *plain { return b.pool.rt.(*plain) }

func (p *plain) idleNow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// TestAnswersAndTheirConnections: which answers are taken, and after which the connection is used again.
func TestAnswersAndTheirConnections(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		method       string
		body         string
		kind         Kind
		reused       bool
	}{
		{name: "length", answer: ok2, body: "ok", reused: true},
		{name: "chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", body: "ok", reused: true},
		{name: "chunks and a trailer", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", body: "ok", reused: true},
		{name: "no content", answer: "HTTP/1.1 204 No Content\r\n\r\n", reused: true},
		{name: "not modified", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", reused: true},
		{name: "head", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", reused: true},
		{name: "early hints and continue", answer: "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok2, body: "ok", reused: true},
		{name: "asked to close", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "more than was announced", answer: ok2 + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit", body: "ok"},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", kind: Protocol},
		{name: "length and chunks", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", body: "ok", reused: true},
		{name: "unknown coding", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\nok", kind: Protocol},
		{name: "bad chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", kind: Protocol},
		{name: "switch of protocols", answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", kind: Protocol},
		{name: "status below 100", answer: "HTTP/1.1 099 Low\r\n\r\n" + ok2, kind: Protocol},
		{name: "no HTTP", answer: "SSH-2.0-OpenSSH\r\n\r\n", kind: Protocol},
		{name: "endless informational answers", answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 10_000) + ok2, kind: Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScripted(t, func(n int32, _ *http.Request, conn net.Conn) bool {
				if n == 1 {
					io.WriteString(conn, c.answer)
				} else {
					io.WriteString(conn, ok2)
				}
				return true
			})
			b := open(t, Options{}, registry.Backend{URL: s.url()})
			_, body, err := get(t, b, &Request{Method: c.method})
			if body != c.body && c.kind == 0 || KindOf(err) != c.kind {
				t.Errorf("got %q, %v", body, err)
			}
			if _, body, err := get(t, b, &Request{}); body != "ok" || err != nil {
				t.Errorf("the call after it: got %q, %v", body, err)
			}
			if reused := s.conns.Load() == 1; reused != c.reused || s.requests.Load() != 2 {
				t.Errorf("%d connections for %d requests, used again: want %v", s.conns.Load(), s.requests.Load(), c.reused)
			}
		})
	}
}

// TestSwitchedProtocolsEndTheCall covers the requests that go through http.Transport, for which a 101 and silence used to
// hold the call for ever: no deadline and no end of the caller reaches the connection that it makes the body of one.
func TestSwitchedProtocolsEndTheCall(t *testing.T) {
	s := newScripted(t, func(_ int32, _ *http.Request, conn net.Conn) bool {
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		return true
	})
	b := open(t, Options{CallTime: 2 * time.Second}, registry.Backend{URL: s.url()})
	for _, stream := range []bool{false, true} {
		ended := make(chan error, 1)
		go func() {
			_, _, err := get(t, b, &Request{Method: "POST", Body: make([]byte, maxPlainBody+1), Stream: stream})
			ended <- err
		}()
		select {
		case err := <-ended:
			if KindOf(err) != Protocol {
				t.Errorf("stream %v: got %v, want a fault of the protocol", stream, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("stream %v: the call has not ended", stream)
		}
	}
}

// TestConnectionsClosedWhileIdleFailNoCall: without the look at the connection before it is used, every call but the
// first fails here.
func TestConnectionsClosedWhileIdleFailNoCall(t *testing.T) {
	closed := make(chan bool, 1)
	s := newScripted(t, func(_ int32, _ *http.Request, c net.Conn) bool {
		io.WriteString(c, ok2)
		c.Close()
		closed <- true
		return false
	})
	b := open(t, Options{}, registry.Backend{URL: s.url()})
	for i := range 20 {
		if _, _, err := get(t, b, &Request{Method: "POST", Body: []byte("{}")}); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		<-closed
		time.Sleep(5 * time.Millisecond) // the end of the connection is under way
	}
	if n := s.requests.Load(); n != 20 {
		t.Errorf("%d requests arrived, want 20", n)
	}
}

// TestBytesNobodyAskedForEndAConnection: an answer waiting on an idle connection would be taken for the next caller's.
func TestBytesNobodyAskedForEndAConnection(t *testing.T) {
	sent := make(chan bool, 1)
	s := newScripted(t, func(n int32, _ *http.Request, c net.Conn) bool {
		io.WriteString(c, ok2)
		if n == 1 {
			time.Sleep(20 * time.Millisecond) // the first answer has been read
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
			sent <- true
		}
		return true
	})
	b := open(t, Options{}, registry.Backend{URL: s.url()})
	get(t, b, &Request{})
	<-sent
	if _, body, err := get(t, b, &Request{}); body != "ok" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
}

// TestEarlyAnswersAreSeen: a backend that refuses a body without reading it has its answer handed on.
func TestEarlyAnswersAreSeen(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	for _, size := range []int{1, maxPlainBody, maxPlainBody + 1, 2 << 20} {
		status, _, err := get(t, b, &Request{Method: "POST", Body: make([]byte, size)})
		if status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d bytes: got %d, %v", size, status, err)
		}
	}
}

// TestRequestsAreUsedAgain: what is written into a Request and, unless it is kept, into its body once Do has returned never
// reaches a backend, whichever transport was used and however early the answer came. The race detector looks on.
func TestRequestsAreUsedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	serveOne := func(c net.Conn) {
		defer c.Close()
		for br := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			number, early := r.Header.Get("X-Number"), r.URL.Path == "/early"
			if early {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Number: %s\r\n\r\nok", number)
				time.Sleep(10 * time.Millisecond)
			}
			status := "200 OK"
			if body, _ := io.ReadAll(r.Body); strings.Trim(string(body), number) != "" {
				status = "400 Mixed"
				t.Error("a body was changed on its way")
			}
			if !early {
				fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\nX-Number: %s\r\n\r\n", status, number)
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveOne(c)
		}
	}()
	b := open(t, Options{}, registry.Backend{URL: "http://" + l.Addr().String()})
	var wg sync.WaitGroup
	for _, number := range []string{"7", "8"} {
		wg.Go(func() {
			var r Request
			var lent http.Header
			for i := range 24 {
				size := []int{0, maxPlainBody, maxPlainBody + 1, 1 << 20}[i%4]
				r.Reset()
				r.Method, r.Path, r.Body = "POST", []string{"", "/late?a=b", "/early"}[i%3], bytes.Repeat([]byte(number), size)
				r.Header["X-Number"] = []string{number}
				resp, err := b.Do(t.Context(), &r)
				if err != nil {
					t.Error(err)
					continue
				}
				if got := resp.Header.Get("X-Number"); got != number || resp.Status != http.StatusOK {
					t.Errorf("%d bytes, %q: answered %d to %q", size, r.Path, resp.Status, got)
				}
				if size > maxPlainBody != r.Kept() {
					t.Errorf("%d bytes: kept: %v", size, r.Kept())
				}
				io.Copy(io.Discard, resp.Body)
				if !r.Kept() {
					lent = resp.Header
					for j := range r.Body {
						r.Body[j] = 'x'
					}
				}
				resp.Body.Close()
			}
			if r.Reset(); len(lent) != 0 || len(r.Header) != 0 {
				t.Errorf("left of the last call: %v, %v", lent, r.Header)
			}
		})
	}
	wg.Wait()
}

// TestCanceledConnectionsAreNotUsedAgain: neither those of a call that was given up, nor those of a body not read.
func TestCanceledConnectionsAreNotUsedAgain(t *testing.T) {
	arrived := make(chan bool, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			arrived <- true
			<-r.Context().Done()
		case "/long":
			w.Write(make([]byte, 1<<20))
		}
	})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := b.Do(ctx, &Request{Method: "GET", Path: "/hang"}); KindOf(err) != Canceled {
		t.Errorf("got %v", err)
	}
	resp, err := b.Do(t.Context(), &Request{Method: "GET", Path: "/long"})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if n := plainOf(b).idleNow(); n != 0 {
		t.Errorf("%d connections were kept", n)
	}
	if _, err := b.Do(ctx, &Request{Method: "GET"}); KindOf(err) != Canceled || err.(*Error).Sent {
		t.Errorf("a call that had ended before it began: got %v", err)
	}
}

func TestIdleConnectionsAreBoundedAndEnd(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	get(t, b, &Request{})
	p := plainOf(b)
	if n := p.idleNow(); n != 1 {
		t.Fatalf("%d idle, want 1", n)
	}
	for range 2 { // after which it may have been idle for little more than idleTime/2
		p.prune()
		if n := p.idleNow(); n != 1 {
			t.Errorf("a fresh one was pruned")
		}
	}
	p.prune()
	if n := p.idleNow(); n != 0 || len(p.idle) != 0 {
		t.Errorf("%d old ones left", n)
	}
}

// TestRequestsOnTheWire compares with what http.Transport sends.
func TestRequestsOnTheWire(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r = r.Clone(context.Background())
		r.Header.Set("Body-Was", string(body))
		seen.Store(r)
	})
	at, _ := url.Parse(s.URL + "/p%2Fq?a=%20b&c")
	u := New(Options{})
	defer u.Close()
	rt := u.newTransport(func() *tls.Config { return identity{}.config(&tlsMaterial{}) })
	p := rt.(*plain)
	defer p.CloseIdleConnections()
	type view struct {
		Method, Host, URI string
		Length            int64
		Coding            []string
		Header            http.Header
	}
	send := func(rt transport, m message) (v view, err error) {
		m.header = m.header.Clone()
		k := new(exchange)
		k.clock.start(t.Context(), time.Minute)
		defer k.clock.stop()
		resp, err := rt.roundTrip(k, &m)
		if err != nil {
			return v, err
		}
		io.Copy(io.Discard, resp.body)
		resp.body.Close()
		r := seen.Load()
		return view{r.Method, r.Host, r.RequestURI, r.ContentLength, r.TransferEncoding, r.Header}, nil
	}
	header := http.Header{"Accept": {"a", " b "}, "User-Agent": {"x"}, "X-Empty": {""}, "Host": {"evil"}, "Content-Length": {"99"}, "Transfer-Encoding": {"chunked"}}
	for _, m := range []message{
		{method: "GET", header: header, stream: true}, {method: "POST", header: header}, {method: "POST", header: header, body: []byte("{}")},
		{method: "DELETE", header: header, stream: true}, {method: "PUT", header: header, body: []byte("x"), host: "other.example:81"}, {method: "PATCH", header: header},
		{method: "HEAD", header: header, stream: true}, {method: "OPTIONS", header: header, stream: true}, {method: "GET", header: header, body: []byte("odd"), stream: true},
		{method: "POST", header: http.Header{"Bad Name": {"x"}, "User-Agent": {"x"}}}, {method: "POST", header: http.Header{"Split": {"a\r\nb: c"}, "User-Agent": {"x"}}},
		{method: "POST", header: http.Header{"User-Agent": {""}}},
	} {
		m.url = at
		got, gotErr := send(p, m)
		want, wantErr := send(p.rest, m)
		if (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%s %v: got %v, http.Transport %v", m.method, m.header, gotErr, wantErr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %q: -http.Transport +plain\n%s", m.method, m.body, diff)
		}
	}
}

// TestBodiesAreWholeHoweverTheyAreRead: also where a read ends just before the last byte.
func TestBodiesAreWholeHoweverTheyAreRead(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "0123456789") })
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	for size := 1; size <= 11; size++ {
		resp, err := b.Do(t.Context(), &Request{Method: "GET"})
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for p := make([]byte, size); err == nil; {
			var n int
			n, err = resp.Body.Read(p)
			got = append(got, p[:n]...)
		}
		resp.Body.Close()
		if err != io.EOF || string(got) != "0123456789" {
			t.Errorf("%d bytes at a time: got %q, %v", size, got, err)
		}
	}
}
