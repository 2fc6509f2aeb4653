//go:build unix

package upstream

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpguts"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/httphead"
)

// headView is what is read from a head.
type headView struct {
	Code   int
	Header http.Header
	Length int64
}

// againstStandard checks that readHead, where it takes b, reads what http.ReadResponse reads, and as far.
func againstStandard(t *testing.T, b []byte) (taken bool) {
	t.Helper()
	k, lent := new(exchange), http.Header{"Left": {"over"}}
	n := readHead(b, k, lent)
	if n == 0 {
		return false
	}
	br := bufio.NewReaderSize(bytes.NewReader(b), max(len(b), 16))
	want, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("took %q, which http.ReadResponse refuses: %v", b, err)
	}
	if want.ProtoMajor != 1 || want.ProtoMinor != 1 || want.Close {
		t.Fatalf("%q is read as of %s, closing: %v", b, want.Proto, want.Close)
	}
	got := headView{k.answer.status, k.answer.header, k.answer.length}
	if diff := cmp.Diff(headView{want.StatusCode, want.Header, want.ContentLength}, got); diff != "" {
		t.Fatalf("%q: -http.ReadResponse +readHead\n%s", b, diff)
	}
	if rest := len(b) - br.Buffered(); n != rest {
		t.Fatalf("%q: the head ends at %d, by http.ReadResponse at %d", b, n, rest)
	}
	if len(want.TransferEncoding) > 0 || want.Uncompressed {
		t.Fatalf("%q is read as encoded", b)
	}
	return true
}

// TestFieldsAsTheStandardLibraryTakesThem: what is sent and read as a name or value is what net/http takes for one.
func TestFieldsAsTheStandardLibraryTakesThem(t *testing.T) {
	for c := range 256 {
		for _, text := range []string{string([]byte{byte(c)}), string([]byte{'a', byte(c), 'b'}), ""} {
			if got, want := httphead.IsToken(text), httpguts.ValidHeaderFieldName(text); got != want {
				t.Errorf("%q is a name: %v, for net/http %v", text, got, want)
			}
			if got, want := httphead.IsValue(text), httpguts.ValidHeaderFieldValue(text); got != want {
				t.Errorf("%q is a value: %v, for net/http %v", text, got, want)
			}
		}
	}
}

func TestHeadsAsTheStandardLibraryReadsThem(t *testing.T) {
	for _, c := range []struct {
		name, head string // without the empty line
		taken      bool
	}{
		{"usual", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\nDate: Mon, 23 Nov 2026 15:00:00 GMT", true},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 2", true},
		{"empty reason", "HTTP/1.1 200 \r\nContent-Length: 2", true},
		{"an error", "HTTP/1.1 404 Not Found\r\nContent-Length: 0", true},
		{"odd spelling", "HTTP/1.1 200 OK\r\ncontent-LENGTH:2\r\nx-a:\t b \t", true},
		{"twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\nY: c\r\nx: b", true},
		{"empty value", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX:", true},
		{"obs-text", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: \xe9", true},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2", false},
		{"no length", "HTTP/1.1 200 OK\r\nX: y", false},
		{"a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2", false},
		{"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2", false},
		{"a very long length", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999", false},
		{"chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", false},
		{"asked to close", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2", false},
		{"informational", "HTTP/1.1 103 Early Hints\r\nContent-Length: 2", false},
		{"no content", "HTTP/1.1 204 No Content\r\nContent-Length: 2", false},
		{"not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2", false},
		{"four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2", false},
		{"folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2", false},
		{"space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2", false},
		{"bare LF", "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2", false},
		{"bare CR", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2", false},
		{"CR before the end of the line", "HTTP/1.1 200 OK\r\nX:\r\r\nContent-Length: 2", false},
		{"NUL", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2", false},
		{"no colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2", false},
		{"no name", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2", false},
		{"pragma", "HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if taken := againstStandard(t, []byte(c.head+"\r\n\r\nok")); taken != c.taken {
				t.Errorf("taken: %v, want %v", taken, c.taken)
			}
			if againstStandard(t, []byte(c.head+"\r\n")) {
				t.Error("took half a head")
			}
		})
	}
}

func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{}", "HTTP/1.1 404 x\r\nA:b\r\na: c\r\nContent-Length:0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + strings.Repeat("y", 200) + "\r\n\r\nok", "HTTP/1.1 200 \r\nContent-Length: 2\r\n b\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { againstStandard(t, b) })
}
