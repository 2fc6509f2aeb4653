package listener

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/httphead"
)

// verdict is what the bytes that have come are.
type verdict int

const (
	partial verdict = iota // a plain request so far, whose head is not whole
	plain
	other // net/http's
)

// maxBody is how large a body may be announced. Larger ones are rare, and take so long that it does not matter who serves
// them.
const maxBody = 64 << 10

// head is the head of a plain request. Its strings are copies of what was read.
type head struct {
	method, target, host string
	length               int64 // of the body
	close                bool  // the client wants the connection closed afterwards
	lines                int
}

var (
	crlf2  = []byte("\r\n\r\n")
	http11 = " HTTP/1.1\r\n"
)

// methods that are served here, with the space behind.
var methods = [...]string{"POST ", "GET ", "DELETE "}

// read takes a request's head apart as nearly every client sends it: HTTP/1.1, CRLF, an absolute path that needs no
// decoding, one Host, at most one Content-Length, and nothing that changes where the body ends or who reads it next. Fields
// go into header. All else is left to net/http: what is taken here must be what http.ReadRequest makes of it (FuzzRead).
// n is the head's length.
func (h *head) read(b []byte, header http.Header) (n int, v verdict) {
	method := ""
	for _, m := range methods {
		if len(b) >= len(m) && string(b[:len(m)]) == m {
			method = m
		} else if len(b) < len(m) && strings.HasPrefix(m, string(b)) {
			return 0, partial
		}
	}
	if method == "" {
		return 0, other
	}
	n = bytes.Index(b, crlf2)
	if n < 0 {
		if hasBareLF(b) {
			return 0, other
		}
		return 0, partial
	}
	n += len(crlf2)
	text := string(b[:n])
	first := strings.IndexByte(text, '\n') + 1
	target, ok := strings.CutSuffix(text[len(method):first], http11)
	if !ok || !isPlainTarget(target) {
		return 0, other
	}
	*h = head{method: method[:len(method)-1], target: target}
	if !h.fields(text[first:n-2], header) {
		return 0, other
	}
	return n, plain
}

// hasBareLF finds lines that end without CR. http.ReadRequest takes them, and a head of them has no end for us.
func hasBareLF(b []byte) bool {
	for i := bytes.IndexByte(b, '\n'); i >= 0; {
		if i == 0 || b[i-1] != '\r' {
			return true
		}
		next := bytes.IndexByte(b[i+1:], '\n')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return false
}

// fields reads "Name: value\r\n" as often as it stands in text.
func (h *head) fields(text string, header http.Header) bool {
	h.lines = strings.Count(text, "\n")
	values := make([]string, 0, h.lines) // not used again: who passes a request on may share them
	hosts, lengths := 0, 0
	for text != "" {
		i := strings.IndexByte(text, '\n') + 1
		name, value, ok := httphead.Field(text[:i])
		if !ok {
			return false
		}
		text = text[i:]
		switch name {
		case "Host":
			hosts++
			h.host = value
			continue // not in the header: net/http's server takes it out, too
		case "Content-Length":
			lengths++
			if h.length, ok = httphead.Decimal(value); !ok || h.length > maxBody {
				return false
			}
		case "Connection":
			switch {
			case strings.EqualFold(value, "keep-alive"):
			case strings.EqualFold(value, "close"):
				h.close = true
			default:
				return false
			}
		case "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Http2-Settings", "Expect", "Pragma", "Keep-Alive", "Proxy-Connection":
			return false
		}
		if have, twice := header[name]; twice {
			if name == "Connection" {
				return false
			}
			header[name] = append(have, value)
			continue
		}
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return hosts == 1 && h.host != "" && httpguts.ValidHostHeader(h.host) && lengths <= 1 && (h.length == 0 || h.method == http.MethodPost)
}

// isPathByte and isQueryByte are what stands for itself in url.URL's Path and RawQuery.
var (
	isPathByte  = setOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/@")
	isQueryByte = setOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/@%+=&,:!$'()*?")
)

func setOf(s string) (set [256]bool) {
	for i := range len(s) {
		set[s[i]] = true
	}
	return set
}

// isPlainTarget: a path, with a query or without, in which no byte stands for another.
func isPlainTarget(s string) bool {
	path, query, asked := strings.Cut(s, "?")
	if path == "" || path[0] != '/' || strings.HasPrefix(path, "//") || asked && query == "" {
		return false
	}
	for i := range len(path) {
		if !isPathByte[path[i]] {
			return false
		}
	}
	for i := range len(query) {
		if !isQueryByte[query[i]] {
			return false
		}
	}
	return true
}

// url makes of a plain target what url.ParseRequestURI does.
func (h *head) url() url.URL {
	path, query, _ := strings.Cut(h.target, "?")
	return url.URL{Path: path, RawQuery: query}
}
