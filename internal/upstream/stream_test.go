//go:build unix

package upstream

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// streams are what backends send over a connection: answers of all kinds of framing, informational ones before them, others
// behind them, ends that are too early.
var streams = []string{
	ok2,
	ok2 + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok",
	"HTTP/1.1 200 OK\r\n\r\nuntil the end",
	"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n" + ok2,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nok\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nConnection: close, x\r\nX: y\r\nx: z\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 304 Not Modified\r\n\r\n" + ok2,
	"HTTP/1.1 100 Continue\r\n\r\n" + ok2,
	"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok2,
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw",
	"HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 099 Low\r\n\r\n" + ok2,
	"HTTP/1.1 999 High\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"SSH-2.0-x\r\n",
	"",
}

// wire is a backend that answers each connection's request with the same bytes, and ends it.
type wire struct {
	mu     sync.Mutex
	answer []byte
}

func (w *wire) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			// The request has no body: it is there when its head has ended.
			for head := make([]byte, 0, 1<<10); !bytes.Contains(head, []byte("\r\n\r\n")); {
				n, err := c.Read(head[len(head):cap(head)])
				if err != nil {
					return
				}
				head = head[:len(head)+n]
			}
			w.mu.Lock()
			answer := w.answer
			w.mu.Unlock()
			_, _ = c.Write(answer)
		}()
	}
}

// heard is what a transport makes of a backend's bytes.
type heard struct {
	Refused bool
	Status  int
	Header  http.Header
	Length  int64
	Body    string
	Broken  bool
}

func hear(t *testing.T, rt transport, method, address string) heard {
	t.Helper()
	k := new(exchange)
	k.clock.start(t.Context(), 20*time.Second)
	defer k.clock.stop()
	a, err := rt.roundTrip(k, &message{method: method, url: &url.URL{Scheme: "http", Host: address, Path: "/"}, header: http.Header{}, lent: http.Header{}})
	if err != nil {
		if k.clock.Err() != nil {
			t.Fatal("the call has not ended")
		}
		return heard{Refused: true}
	}
	b, err := io.ReadAll(io.LimitReader(a.body, 1<<20))
	_ = a.body.Close()
	return heard{Status: a.status, Header: a.header.Clone(), Length: a.length, Body: string(b), Broken: err != nil}
}

// FuzzStream has our transport and http.Transport read what a backend sends over a connection: they must read the same
// answer, to the same end, or none. Seen to fail with each of: a body read beyond its length, one that ends early taken for
// whole, informational answers taken for the last, statuses below 100 taken by either.
func FuzzStream(f *testing.F) {
	for i, s := range streams {
		f.Add([]byte(s), i%5 == 4)
		f.Add([]byte(s), false)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	w := new(wire)
	go w.serve(l)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	// It keeps no connections: it would log what backends send behind an answer.
	theirs := standard{&http.Transport{DialContext: dial, DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader}}
	ours := newPlain(dial, nothing{})
	f.Cleanup(theirs.CloseIdleConnections)
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		if len(b) > 32<<10 {
			return
		}
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		w.mu.Lock()
		w.answer = b
		w.mu.Unlock()
		got := hear(t, ours, method, l.Addr().String())
		ours.CloseIdleConnections()
		want := hear(t, theirs, method, l.Addr().String())
		theirs.CloseIdleConnections()
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s, %q is read otherwise (- http.Transport):\n%s", method, b, d)
		}
	})
}

// nothing is a transport for what ours leaves to others, which must be none of these.
type nothing struct{}

func (nothing) roundTrip(*exchange, *message) (*answer, error) { panic("left to http.Transport") }
func (nothing) CloseIdleConnections()                          {}
