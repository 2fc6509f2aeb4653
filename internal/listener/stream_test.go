//go:build unix

package listener

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// streams are what clients, and those who smuggle requests, send over a connection: several requests, bodies that end early or
// late, framing of two kinds, and what is no request at all behind one that is.
var streams = []string{
	post("{}") + post(`{"a":1}`) + last,
	post("") + last,
	strings.Replace(post("{}"), "/mcp/a", "/unread", 1) + last,
	strings.Replace(post(last), "/mcp/a", "/unread", 1) + post("{}"),
	post("{}") + "garbage",
	post("{}") + "\r\n" + last,
	post("{}") + "\r\n\r\n" + post("{}") + "\n\n\n\n\n" + last,
	strings.Replace(last, "close", "keep-alive", 1) + "\r\n" + last,
	post("{}") + "\r\n\r",
	post("{}") + "\r\nPUT /a HTTP/1.1\r\nHost: h\r\n\r\n" + last,
	"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n\r\n{}\r\n\r\n\r\n" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{}",
	"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{}",
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}{}" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX-Api-Key: k\r\n\r\n" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" + last,
	post("{}") + "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length : 2\r\n\r\n{}" + last,
	"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 55\r\n\r\n" + last + last,
	"GET /a HTTP/1.0\r\n\r\n" + last,
	"GET /a HTTP/1.1\r\nHost: h\r\nX: 1\r\n Y: 2\r\n\r\n" + last,
	"GET /a HTTP/1.1\nHost: h\n\n" + last,
	"GET http://other/a HTTP/1.1\r\nHost: h\r\n\r\n" + last,
	"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" + last,
	"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}" + last,
	"GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n" + post("{}") + last,
	"GET /a HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", inSize) + "\r\n\r\n" + post("{}") + last,
	"GET /a HTTP/1.1\r\nHo",
	post("{}") + "GET /a HTTP/1.1\r\nHo",
	post("{}") + "x",
	post("{}") + "\r\n\rx",
	post("{}") + "\r\n\r\n",
}

// asked is what a handler sees of a request.
type asked struct {
	Method, Target, Host, Path, RawPath, Query string
	Proto                                      string
	Length                                     int64
	Close                                      bool
	Encoding                                   []string
	Header, Trailer                            http.Header
	Body                                       string
	Broken                                     bool
}

// asking notes what it sees of each connection's requests, and answers with it. Of requests for /unread it leaves the body.
type asking struct {
	mu   sync.Mutex
	seen map[string][]asked // by the client's address
}

func (a *asking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := asked{Method: r.Method, Target: r.RequestURI, Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, Query: r.URL.RawQuery,
		Proto: r.Proto, Length: r.ContentLength, Close: r.Close, Encoding: r.TransferEncoding, Header: r.Header.Clone()}
	if r.URL.Path != "/unread" {
		b, err := io.ReadAll(r.Body)
		q.Body, q.Broken, q.Trailer = string(b), err != nil, r.Trailer.Clone()
	}
	a.mu.Lock()
	a.seen[r.RemoteAddr] = append(a.seen[r.RemoteAddr], q)
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(q)
}

// exchange sends b as all that a client says, and returns the requests that the handler saw, the answers, and whether these
// came whole: closing with something unread makes the kernel drop what it has not delivered.
func (a *asking) exchange(t *testing.T, address string, b []byte) (seen []asked, answers string, whole bool) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Skip(err) // too many ports in TIME_WAIT
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, wrote := c.Write(b)
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if e, is := err.(net.Error); is && e.Timeout() {
		t.Fatalf("%q: the connection stays open", b)
	}
	name := c.LocalAddr().String()
	a.mu.Lock()
	defer a.mu.Unlock()
	seen = a.seen[name]
	delete(a.seen, name)
	answers = dates.ReplaceAllString(string(got), "Date: now")
	// Of a body that ends early net/http knows before it answers, where the handler did not read it; we close all the same.
	return seen, strings.ReplaceAll(answers, "Connection: close\r\n", ""), err == nil && wrote == nil
}

// FuzzStream sends what comes over a connection to our server and to net/http's: the same requests must reach the handler, and
// the same answers the client. Seen to fail with each of: what a handler left of a body taken for the next request, the fields
// of the request before kept, line ends behind a POST not passed over or more than four of them, half a head not answered.
func FuzzStream(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s))
	}
	for _, c := range heads {
		f.Add([]byte(c.text + last))
	}
	ours, theirs := &asking{seen: map[string][]asked{}}, &asking{seen: map[string][]asked{}}
	us, them := serve(f, ours.ServeHTTP), serveNetHTTP(f, theirs.ServeHTTP)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 32<<10 || strings.HasPrefix(string(b), "PRI ") {
			return // HTTP/2 is net/http's from its first bytes
		}
		got, gotAnswers, gotWhole := ours.exchange(t, us.address, b)
		want, wantAnswers, wantWhole := theirs.exchange(t, them.address, b)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%q: other requests (- net/http):\n%s", b, d)
		}
		if gotWhole && wantWhole && gotAnswers != wantAnswers {
			t.Fatalf("%q: other answers (- net/http):\n%s", b, cmp.Diff(wantAnswers, gotAnswers))
		}
	})
}
