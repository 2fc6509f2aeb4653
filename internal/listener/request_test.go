package listener

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpguts"
)

// heads are requests, with what they are for us: plain, other, or partial.
var heads = []struct {
	text string
	want verdict
}{
	{"POST /mcp/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", plain},
	{"POST /mcp/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", plain},
	{"POST /mcp/a HTTP/1.1\r\nHost: h\r\n\r\n", plain},
	{"GET /mcp/a@1.0?x=%2Fy&z HTTP/1.1\r\nhost: h:80\r\naccept: a\r\nAccept:b \r\nmcp-session-id: \t s\r\n\r\nGET", plain},
	{"DELETE /mcp/a HTTP/1.1\r\nHost: [::1]:80\r\nConnection: Keep-Alive\r\nX-Empty:\r\n\r\n", plain},
	{"POST / HTTP/1.1\r\nHost: h\r\nconnection: CLOSE\r\n\r\n", plain},
	{"POST / HTTP/1.1\r\nHost: h\r\nX: caf\xc3\xa9 \xff\r\n\r\n", plain},
	{"", partial},
	{"PO", partial},
	{"POST /mcp/a HTT", partial},
	{"GET / HTTP/1.1\r\nHost: h\r\n", partial},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n", other}, // large
	{"PUT / HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"post / HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"\r\nPOST / HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", other},
	{"POST / HTTP/1.0\r\nHost: h\r\n\r\n", other},
	{"POST / HTTP/1.1 \r\nHost: h\r\n\r\n", other},
	{"POST  / HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"POST /a b HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"POST /\nHTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"GET //h/ HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"GET /%41 HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"GET /a? HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"GET /a?x;y HTTP/1.1\r\nHost: h\r\n\r\n", other},
	{"POST / HTTP/1.1\r\n\r\n", other}, // no Host
	{"POST / HTTP/1.1\r\nHost:\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: a b\r\n\r\n", other},
	{"POST / HTTP/1.1\nHost: h\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\n\n", other},
	{"POST / HTTP/1.1\r\nHost: h\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nX: a\n\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\n X: a\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nX: a\x00\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 1\r\nContent-Length: 0x1\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", other},
	{"POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: identity\r\nContent-Length: 1\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding\t: chunked\r\n\r\na", other},
	{"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na", other},
	{"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", other},
	{"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", other},
	{"GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Api-Key\r\n\r\n", other},
	{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", other},
	{"GET / HTTP/1.1\r\nHost: h\r\nPragma: no-cache\r\n\r\n", other},
	{"GET / HTTP/1.1\r\nHost: h\r\nTrailer: X\r\n\r\n", other},
}

func TestReadTakesPlainRequestsAlone(t *testing.T) {
	for _, c := range heads {
		var h head
		if _, v := h.read([]byte(c.text), http.Header{}); v != c.want {
			t.Errorf("%q: %d, want %d", c.text, v, c.want)
		}
		sameAsNetHTTP(t, []byte(c.text))
	}
}

// sameAsNetHTTP holds a request that is taken against what net/http's server makes of it.
func sameAsNetHTTP(t *testing.T, b []byte) {
	t.Helper()
	var h head
	header := http.Header{}
	n, v := h.read(b, header)
	if v != plain {
		return
	}
	rest := bytes.NewReader(b)
	br := bufio.NewReaderSize(rest, len(b)+16)
	r, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("%q is taken, net/http says: %v", b, err)
	}
	// What its server looks at besides (net/http, conn.readRequest). ReadRequest has taken the Host out already.
	if !httpguts.ValidHostHeader(r.Host) {
		t.Fatalf("%q is taken with Host %q", b, r.Host)
	}
	for name, values := range r.Header {
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				t.Fatalf("%q is taken with %q: %q", b, name, v)
			}
		}
	}
	type seen struct {
		Method, Target, Host, Path, RawPath, Query, URL string
		Length                                          int64
		Close, Encoded                                  bool
		Header                                          http.Header
		Rest                                            int
	}
	u := h.url()
	ours := seen{h.method, h.target, h.host, u.Path, u.RawPath, u.RawQuery, u.String(), h.length, h.close, false, header, len(b) - n}
	theirs := seen{r.Method, r.RequestURI, r.Host, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.String(), r.ContentLength, r.Close,
		len(r.TransferEncoding) > 0, r.Header, br.Buffered()}
	if d := cmp.Diff(theirs, ours); d != "" {
		t.Fatalf("%q is read otherwise (- net/http):\n%s", b, d)
	}
}

func FuzzRead(f *testing.F) {
	for _, c := range heads {
		f.Add([]byte(c.text))
	}
	f.Fuzz(sameAsNetHTTP)
}

// TestReadWaitsForEveryByte: a head that comes in pieces is one all the same.
func TestReadWaitsForEveryByte(t *testing.T) {
	text := heads[3].text[:strings.Index(heads[3].text, "\r\n\r\n")+4]
	for i := range len(text) {
		var h head
		if _, v := h.read([]byte(text[:i]), http.Header{}); v != partial {
			t.Errorf("%q: %d, want to wait", text[:i], v)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	text := []byte("POST /mcp/echo HTTP/1.1\r\nHost: 127.0.0.1:8800\r\nUser-Agent: bench\r\ncontent-length: 100\r\naccept: application/json, text/event-stream\r\n" +
		"authorization: Bearer nmp_bench_0123456789abcdefghijklmnopqrstuvwxyz\r\ncontent-type: application/json\r\nmcp-protocol-version: 2025-11-25\r\n\r\n")
	header := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		var h head
		clear(header)
		if _, v := h.read(text, header); v != plain {
			b.Fatal(v)
		}
	}
}
