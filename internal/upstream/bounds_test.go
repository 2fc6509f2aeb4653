package upstream

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

func encode(name string, b []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch name {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zlib":
		w = zlib.NewWriter(&out)
	case "flate":
		w, _ = flate.NewWriter(&out, 9)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func TestEncodingsAreUndoneOnRequest(t *testing.T) {
	plain := bytes.Repeat([]byte("hello "), 1000)
	for _, c := range []struct{ coding, header string }{{"gzip", "gzip"}, {"gzip", "X-GZip"}, {"zlib", "deflate"}, {"flate", "deflate"}} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", c.header)
			w.Write(encode(c.coding, plain))
		})
		b := open(t, Options{}, registry.Backend{URL: s.URL})
		for range 2 { // the second takes the reader of the first
			if _, got, err := get(t, b, &Request{Decode: true}); err != nil || got != string(plain) {
				t.Errorf("%s as %s: %d bytes, %v", c.coding, c.header, len(got), err)
			}
		}
		if _, got, err := get(t, b, &Request{}); err != nil || got != string(encode(c.coding, plain)) {
			t.Errorf("%s as it came: %d bytes, %v", c.coding, len(got), err)
		}
	}
}

// TestContentEncodingThatIsNone: servers put charsets and other words there. Only who says so takes such an answer as it is;
// real codings are undone or refused. Seen red with codings returning what it is given.
func TestContentEncodingThatIsNone(t *testing.T) {
	var header []string
	body := []byte(`{"a":"b"}`)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Encoding"] = header
		w.Write(body)
	})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	for _, c := range []struct {
		header string
		strict Kind
		loose  Kind
	}{
		{"UTF-8", Encoded, 0}, {"utf8", Encoded, 0}, {"GBK", Encoded, 0}, {"ISO-8859-1", Encoded, 0}, {"none", Encoded, 0}, {"", 0, 0}, {" ", 0, 0},
		{"identity", 0, 0}, {"aws-chunked", Encoded, 0}, {"aws-chunked,", Encoded, 0}, {"identity, UTF-8", Encoded, 0},
		{"br", Encoded, Encoded}, {"zstd", Encoded, Encoded}, {"gzip, gzip", Encoded, Encoded}, {"UTF-8, br", Encoded, Encoded}, {"json", Encoded, Encoded}, {"text/plain", Encoded, Encoded},
	} {
		for loose, want := range map[bool]Kind{false: c.strict, true: c.loose} {
			header = []string{c.header}
			_, got, err := get(t, b, &Request{Decode: true, LooseCoding: loose})
			if KindOf(err) != want || err == nil && got != string(body) {
				t.Errorf("%q, loose %t: %q, %v; want %v", c.header, loose, got, err, want)
			}
		}
	}
	header = []string{"aws-chunked", "gzip"}
	plain := body
	body = encode("gzip", body)
	if _, got, err := get(t, b, &Request{Decode: true, LooseCoding: true}); err != nil || got != string(plain) {
		t.Errorf("aws-chunked and gzip: %q, %v", got, err)
	}
}

// TestA30_AnswersAreBounded: without body.left the bomb is read whole and the endless answer until the timeout.
func TestA30_AnswersAreBounded(t *testing.T) {
	bomb := encode("gzip", make([]byte, 32<<20))
	var conns sync.Map
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		switch r.URL.Path {
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		case "/announced":
			w.Header().Set("Content-Length", "1048577")
			w.Write(make([]byte, 1<<20+1))
		case "/exact":
			w.Write(make([]byte, 1<<20))
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "data: x\n\n"); err != nil {
					return
				}
			}
		case "/short":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("x"))
		case "/corrupt":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte("no gzip at all"))
		case "/brotli":
			w.Header().Set("Content-Encoding", "br")
			w.Write([]byte("?"))
		case "/raw":
			c, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
			c.Close()
		case "/header":
			w.Header().Set("X-Big", strings.Repeat("x", 300<<10))
		}
	})
	count := func() (n int) {
		conns.Range(func(any, any) bool { n++; return true })
		return n
	}
	b := open(t, Options{ResponseBody: 1 << 20, CallTime: 20 * time.Second}, registry.Backend{URL: s.URL})
	for _, c := range []struct {
		path string
		kind Kind
	}{
		{"/exact", 0}, {"/bomb", TooLarge}, {"/endless", TooLarge}, {"/announced", TooLarge}, {"/events", TooLarge}, {"/short", Protocol},
		{"/corrupt", Protocol}, {"/brotli", Encoded}, {"/raw", Protocol}, {"/header", Protocol},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, body, err := get(t, b, &Request{Path: c.path, Decode: true})
		runtime.ReadMemStats(&after)
		if KindOf(err) != c.kind || len(body) > 1<<20 {
			t.Errorf("%s: got %d bytes, %v", c.path, len(body), err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 20<<20 {
			t.Errorf("%s: allocated %d MiB for an answer bounded to 1", c.path, got>>20)
		}
		n := count()
		if _, _, err := get(t, b, &Request{Path: "/exact"}); err != nil {
			t.Errorf("after %s: %v", c.path, err)
		}
		if c.kind != 0 && c.path != "/corrupt" && count() == n { // that one's framing was sound
			t.Errorf("%s: the connection was used again", c.path)
		}
	}
}

func TestTimeBounds(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		flush := func(p string) { io.WriteString(w, p); w.(http.Flusher).Flush() }
		if strings.HasPrefix(r.URL.Path, "/events") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		switch r.URL.Path {
		case "/never":
			<-r.Context().Done()
		case "/silent", "/events/silent":
			flush("data: x\n\n")
			<-r.Context().Done()
		case "/events/comments":
			for r.Context().Err() == nil {
				flush(": ping\n\n")
				time.Sleep(5 * time.Millisecond)
			}
		case "/events/alive":
			for range 80 {
				flush("data: x\n\n")
				time.Sleep(10 * time.Millisecond)
			}
		case "/drip":
			for r.Context().Err() == nil {
				flush("x")
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	for _, c := range []struct {
		path   string
		stream bool
		kind   Kind
	}{
		{"/never", false, Timeout}, {"/never", true, Timeout},
		{"/silent", true, Timeout}, {"/events/silent", true, Timeout},
		{"/events/comments", true, Timeout}, // comments are no life
		{"/events/alive", true, 0},          // longer than any bound, but never silent
		{"/drip", false, Timeout},           // a plain call is bounded as a whole
	} {
		b := open(t, Options{CallTime: 500 * time.Millisecond, StreamIdle: 500 * time.Millisecond}, registry.Backend{URL: s.URL})
		_, _, err := get(t, b, &Request{Path: c.path, Stream: c.stream})
		if KindOf(err) != c.kind {
			t.Errorf("%s stream=%v: got %v", c.path, c.stream, err)
		}
	}
	b := open(t, Options{CallTime: time.Minute}, registry.Backend{URL: s.URL, Timeout: 50 * time.Millisecond})
	if _, _, err := get(t, b, &Request{Path: "/never"}); KindOf(err) != Timeout {
		t.Errorf("a service's own timeout: got %v", err)
	}
}

func TestCanceledCallsFreeTheBackend(t *testing.T) {
	arrived, gone := make(chan bool, 1), make(chan bool, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
		}
		arrived <- true
		<-r.Context().Done()
		gone <- true
	})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	for _, path := range []string{"/", "/stream"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		resp, err := b.Do(ctx, &Request{Method: "GET", Path: path, Stream: true})
		if err == nil {
			_, err = resp.AppendBody(nil)
		}
		if KindOf(err) != Canceled {
			t.Errorf("%s: got %v", path, err)
		}
		<-gone
	}
}

func TestAliveTellsEventsFromComments(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  []bool
	}{
		{[]string{": c\n\n"}, []bool{false}},
		{[]string{": c\n", "\n", "d"}, []bool{false, false, true}},
		{[]string{":", " half", " comment\r\n", "data: x"}, []bool{false, false, false, true}},
		{[]string{"data: a:\n", ":c\rid: 1"}, []bool{true, true}},
		{[]string{"da", "ta: x", "\n\n", "\n"}, []bool{true, true, true, false}},
	} {
		b := &body{lineStart: true}
		for i, p := range c.parts {
			if got := b.alive([]byte(p)); got != c.want[i] {
				t.Errorf("%q part %d: got %v", c.parts, i, got)
			}
		}
	}
}
