//go:build unix

package upstream

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/httphead"
)

// readHead reads the head of an answer as nearly every backend sends it: HTTP/1.1, whole, CRLF, one Content-Length and
// nothing else that says where the body ends. It takes one allocation, where http.ReadResponse takes two for each field. All
// else is left to that: readHead must never take what it refuses, nor read it differently (FuzzHead). The answer is that of
// k, its header goes into lent unless that is nil. It gives the head's length, 0 if it is not for it.
func readHead(b []byte, k *exchange, lent http.Header) int {
	n := bytes.Index(b, crlf2)
	if n < 0 || !bytes.HasPrefix(b, http11) {
		return 0
	}
	n += len(crlf2)
	first := bytes.IndexByte(b, '\n') + 1
	status, ok := statusOf(b[len(http11):first])
	if !ok {
		return 0
	}
	head := string(b[:n])
	lines := strings.Count(head[first:], "\n") - 1
	values, header := k.values[:0], lent
	if lines > len(k.values) {
		values = make([]string, 0, lines)
	}
	if header == nil {
		header = make(http.Header, lines)
	}
	clear(header)
	length := int64(-1)
	for rest := head[first : n-2]; rest != ""; {
		i := strings.IndexByte(rest, '\n') + 1
		name, value, ok := httphead.Field(rest[:i])
		if !ok {
			return 0
		}
		rest = rest[i:]
		switch name {
		case "Transfer-Encoding", "Trailer", "Connection", "Pragma":
			return 0
		case "Content-Length":
			if length >= 0 {
				return 0
			}
			if length, ok = httphead.Decimal(value); !ok {
				return 0
			}
		}
		if have, twice := header[name]; twice {
			header[name] = append(have, value)
			continue
		}
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if length < 0 {
		return 0
	}
	k.answer = answer{status: status, header: header, length: length}
	return n
}

var (
	crlf2  = []byte("\r\n\r\n")
	http11 = []byte("HTTP/1.1 ")
)

// statusOf reads "200 OK\r\n" of an answer with a body.
func statusOf(line []byte) (int, bool) {
	if len(line) < 5 || line[len(line)-2] != '\r' || line[3] != ' ' && len(line) > 5 {
		return 0, false
	}
	status := 0
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	for _, c := range line[3 : len(line)-2] {
		if c < ' ' || c == 0x7f {
			return 0, false
		}
	}
	return status, status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
