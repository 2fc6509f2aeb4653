package upstream

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/encoding/htmlindex"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
)

// response wraps an answer's body in the limits.
func (b *Backend) response(k *exchange, r *Request, resp *answer) (*Response, *Error) {
	out, by := &k.response, &k.body
	*out = Response{clock: &k.clock, Status: resp.status, Header: resp.header, ContentLength: resp.length}
	*by = body{clock: &k.clock, raw: resp.body, r: resp.body, left: b.u.o.ResponseBody}
	fail := func(e *Error) (*Response, *Error) {
		resp.body.Close()
		return nil, e
	}
	events := isEvents(resp.header)
	coding := ""
	if all := resp.header["Content-Encoding"]; len(all) > 0 {
		coding = codings(strings.Join(all, ","), r.LooseCoding)
	}
	if r.Decode && coding != "" && resp.body != http.NoBody {
		switch coding {
		case "gzip", "x-gzip":
			by.decode = newGzip
		case "deflate":
			by.decode = newDeflate
		default:
			return fail(&Error{Kind: Encoded, Sent: true})
		}
		resp.header.Del("Content-Encoding")
		resp.header.Del("Content-Length")
		out.ContentLength = -1
		coding = ""
	}
	if r.Stream && events {
		by.left = -1
	} else if out.ContentLength > by.left {
		return fail(&Error{Kind: TooLarge, Sent: true})
	}
	if r.Stream {
		by.idle = b.u.o.StreamIdle
		if r.Idle != 0 {
			by.idle = r.Idle
		}
		by.events = events && coding == ""
		by.lineStart = true
		k.clock.bound(max(by.idle, 0))
	}
	out.Body = by
	return out, nil
}

// codings returns the codings of a Content-Encoding that something has to be undone for, in lower case. If loose, what is
// no coding at all is left out too: servers put a charset there, and S3 its way of signing an upload.
func codings(all string, loose bool) string {
	var list []string
	for coding := range strings.SplitSeq(all, ",") {
		coding = strings.ToLower(strings.TrimSpace(coding))
		switch {
		case coding == "identity":
		case loose && (coding == "" || coding == "none" || coding == "aws-chunked"):
		case loose && isCharset(coding):
		default:
			list = append(list, coding)
		}
	}
	return strings.Join(list, ",")
}

// isCharset reports whether name is a label of a charset (WHATWG Encoding).
func isCharset(name string) bool {
	_, err := htmlindex.Get(name)
	return err == nil
}

func isEvents(h http.Header) bool {
	v := ""
	if all := h["Content-Type"]; len(all) > 0 {
		v = all[0]
	}
	switch v { // the spellings nearly everybody uses
	case "", "application/json", "application/json; charset=utf-8":
		return false
	case "text/event-stream":
		return true
	}
	t, _, _ := mime.ParseMediaType(v)
	return t == "text/event-stream"
}

// body reads an answer within its limits.
type body struct {
	*clock
	raw    io.ReadCloser
	r      io.Reader
	decode func(io.Reader) (io.Reader, error) // until the first Read
	left   int64                              // bytes, after decoding; negative: no limit
	idle   time.Duration                      // 0: the clock goes on
	events bool                               // comments do not count as life
	// Where in the event stream we are.
	lineStart, comment bool
	err                error
}

// Read fails with an *Error, or io.EOF.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.decode != nil {
		r, err := b.decode(b.raw)
		b.decode = nil
		if err != nil {
			return 0, b.fail(err)
		}
		b.r = r
	}
	if b.left >= 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left >= 0 {
		if int64(n) > b.left {
			b.err = &Error{Kind: TooLarge, Sent: true}
			return int(b.left), b.err
		}
		b.left -= int64(n)
	}
	if n > 0 && b.idle > 0 && (!b.events || b.alive(p[:n])) {
		b.bound(b.idle)
	}
	if err != nil {
		err = b.fail(err)
	}
	return n, err
}

func (b *body) fail(err error) error {
	switch {
	case err == io.EOF:
		b.err = err
	case b.clock.Err() != nil:
		b.err = contextError(b.clock, true)
	default:
		b.err = &Error{Kind: Protocol, Sent: true, detail: "read answer", err: err}
	}
	return b.err
}

// alive tells whether p holds more than comments and blank lines of an event stream.
func (b *body) alive(p []byte) bool {
	alive := false
	for len(p) > 0 {
		if b.lineStart {
			switch c := p[0]; c {
			case '\n', '\r':
				p = p[1:]
				continue
			default:
				b.comment = c == ':'
			}
			b.lineStart = false
		}
		alive = alive || !b.comment
		i := bytes.IndexAny(p, "\n\r")
		if i < 0 {
			break
		}
		p, b.lineStart = p[i+1:], true
	}
	return alive
}

// Close ends the call. A connection whose answer was not read to its end is not used again.
func (b *body) Close() error {
	err := b.raw.Close()
	b.stop()
	if z, ok := b.r.(*gzip.Reader); ok {
		gzips.Put(z)
	}
	b.r = b.raw
	if b.err == nil {
		b.err = &Error{Kind: Canceled, Sent: true, detail: "body was closed"}
	}
	return err
}

var gzips sync.Pool

func newGzip(r io.Reader) (io.Reader, error) {
	if z, ok := gzips.Get().(*gzip.Reader); ok {
		return z, z.Reset(r)
	}
	return gzip.NewReader(r)
}

// newDeflate reads what HTTP calls deflate: zlib by RFC 9110, 8.4.1.2, a bare deflate stream by some servers.
func newDeflate(r io.Reader) (io.Reader, error) {
	br := bufio.NewReader(r)
	head, err := br.Peek(2)
	if err != nil && len(head) < 2 {
		return nil, err
	}
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(br)
	}
	return flate.NewReader(br), nil
}

// AppendBody reads all of the body behind dst and closes it. The size is bounded by the limits of Upstreams, and by Hold: an
// error of kind Busy says that it refused.
func (r *Response) AppendBody(dst []byte) ([]byte, error) {
	defer r.Body.Close()
	if n := r.ContentLength; n > 0 && n < budget.Free && int64(cap(dst)-len(dst)) <= n {
		dst = append(make([]byte, 0, len(dst)+int(n)+1), dst...)
	}
	for {
		if len(dst) == cap(dst) {
			var ok bool
			if dst, ok = r.room(dst); !ok {
				return dst, &Error{Kind: Busy, Sent: true, err: budget.ErrFull}
			}
		}
		n, err := r.Body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// room makes dst larger, by as much as has come: what a backend announces and does not send is not held.
func (r *Response) room(dst []byte) ([]byte, bool) {
	have := cap(dst)
	if have < budget.Free {
		return append(dst, 0)[:len(dst)], true
	}
	n := 2 * have
	if have >= 1<<20 {
		n = have + have/4
	}
	if whole := r.ContentLength + 1; whole > int64(have) && whole < int64(n) {
		n = int(whole)
	}
	if r.Hold != nil && !r.Hold.Grow(int64(n-have)) {
		return dst, false
	}
	return append(make([]byte, 0, n), dst...), true
}
