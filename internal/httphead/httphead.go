// Package httphead reads the fields of HTTP/1.1 heads, of requests and of answers, as nearly everybody writes them.
// It must never take a field that net/http would refuse, nor read one otherwise.
package httphead

import (
	"net/textproto"
	"strings"
)

// Field reads "Name: value\r\n". The name comes in its canonical form, the value without the blanks around it. What is not
// written so is not ok.
func Field(line string) (name, value string, ok bool) {
	line, ok = strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", "", false
	}
	name, value, ok = strings.Cut(line, ":")
	if !ok || name == "" {
		return "", "", false
	}
	asIs, upper := true, true // words begin with capitals
	for i := range len(name) {
		c := name[i]
		if !isTokenByte[c] {
			return "", "", false
		}
		asIs = asIs && !(upper && c >= 'a' && c <= 'z' || !upper && c >= 'A' && c <= 'Z')
		upper = c == '-'
	}
	if !asIs {
		name = canonical(name)
	}
	for value != "" && isBlank(value[0]) {
		value = value[1:]
	}
	for value != "" && isBlank(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	if !IsValue(value) {
		return "", "", false
	}
	return name, value, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isTokenByte: RFC 9110, 5.6.2.
var isTokenByte = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 0x80 && c > ' ' && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return set
}()

// IsToken tells what can be a field's name.
func IsToken(name string) bool {
	for i := range len(name) {
		if !isTokenByte[name[i]] {
			return false
		}
	}
	return name != ""
}

// IsValue tells what can be a field's value: RFC 9110, 5.5, and what net/http takes and sends.
func IsValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// Decimal reads a length, of at most 18 digits.
func Decimal(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// canonical is textproto.CanonicalMIMEHeaderKey, which knows the common names and makes a string of every other one. Many
// clients write all names in lower case.
func canonical(name string) string {
	if len(name) <= 32 {
		var lower [32]byte
		for i := range len(name) {
			c := name[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower[i] = c
		}
		if known, ok := names[string(lower[:len(name)])]; ok {
			return known
		}
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// names are those that MCP clients send and textproto does not know, by their lower case.
var names = func() map[string]string {
	m := map[string]string{}
	for _, name := range []string{
		"Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "Last-Event-Id", "X-Api-Key", "Traceparent",
		"Tracestate", "Baggage", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-Dest", "X-Request-Id", "X-Forwarded-For",
		"Content-Type", "Content-Length", "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Connection", "Host",
		"User-Agent", "Origin", "Referer", "Cache-Control",
	} {
		m[strings.ToLower(name)] = name
	}
	return m
}()
