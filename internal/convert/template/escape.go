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

// AppendSegment appends s as one whole path segment, "." and ".." encoded too. Do not pass the result through
// anything that cleans paths.
func AppendSegment(dst []byte, s string) []byte {
	switch s {
	case ".", "..":
		return append(dst, strings.Repeat("%2E", len(s))...)
	}
	return appendUnreserved(dst, s)
}

// AppendSegments appends s as path segments: its "/" stay, empty segments are dropped, and "." and ".." are an error.
func AppendSegments(dst []byte, s string) ([]byte, error) {
	dst, _, err := appendSegments(dst, len(dst), s)
	return dst, err
}

// appendSegments also gives where the last segment begins, given where the one being continued does.
func appendSegments(dst []byte, segment int, s string) ([]byte, int, error) {
	first := true
	for part := range strings.SplitSeq(s, "/") {
		if part == "" {
			continue
		}
		if !first {
			dst = append(dst, '/')
			segment = len(dst)
		}
		dst = appendUnreserved(dst, part)
		if all := string(dst[segment:]); all == "." || all == ".." {
			return dst, segment, errDots
		}
		first = false
	}
	return dst, segment, nil
}

// EscapeJSON appends s escaped for the inside of a JSON string literal.
func EscapeJSON(dst []byte, s string) []byte { return jsontext.AppendEscaped(dst, s) }
