package template

import (
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// unreserved are the bytes that mean themselves anywhere in a URL (RFC 3986, 2.3).
var unreserved = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") {
		t[c] = true
	}
	return t
}()

func appendUnreserved(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; unreserved[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return dst
}

// AppendQuery appends s as a component of a query or form: all but RFC 3986's unreserved bytes percent-encoded.
func AppendQuery(dst []byte, s string) []byte { return appendUnreserved(dst, s) }

// AppendSegments appends a multiSegment argument as path segments, given where the segment that it continues begins in dst:
// its "/" stay but for empty segments, a leading one once. What comes before the first "/" joins that segment. It returns
// where the last segment begins. Text without any segment appends nothing.
func AppendSegments(dst []byte, segment int, s string) (_ []byte, last int, err error) {
	slash := strings.HasPrefix(s, "/")
	for part := range strings.SplitSeq(s, "/") {
		switch part {
		case "":
			continue
		case ".", "..":
			return dst, segment, errDots
		}
		if slash && len(dst) > segment {
			if DotSegment(dst[segment:]) {
				return dst, segment, errDots
			}
			dst = append(dst, '/')
			segment = len(dst)
		}
		dst, slash = appendUnreserved(dst, part), true
	}
	if DotSegment(dst[segment:]) {
		return dst, segment, errDots
	}
	return dst, segment, nil
}

// DotSegment reports whether a path segment is "." or "..", or would be at a backend: WHATWG URLs have %2e for a dot, nginx
// decodes %2F before it resolves dots, others take "\" for "/" or cut a segment at ";".
func DotSegment(segment []byte) bool {
	dots, other, params := 0, false, false
	for i := 0; i < len(segment); i++ {
		c, encoded := segment[i], false
		if c == '%' && i+2 < len(segment) {
			if high, low := hexDigit(segment[i+1]), hexDigit(segment[i+2]); high >= 0 && low >= 0 {
				c, encoded = byte(high<<4|low), true
				i += 2
			}
		}
		switch {
		case c == '/' || c == '\\':
			if !other && (dots == 1 || dots == 2) {
				return true
			}
			dots, other, params = 0, false, false
		case params:
		case c == ';' && !encoded:
			params = true
		case c == '.':
			dots++
		default:
			other = true
		}
	}
	return !other && (dots == 1 || dots == 2)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// EscapeJSON appends s escaped for the inside of a JSON string literal.
func EscapeJSON(dst []byte, s string) []byte { return jsontext.AppendEscaped(dst, s) }
