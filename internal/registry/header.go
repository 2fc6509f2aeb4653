package registry

import (
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// connectionHeaders belong to one hop (RFC 9110 section 7.6.1) or frame the message; nobody but the HTTP
// implementation may set them.
var connectionHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Host": true, "Expect": true, "Http2-Settings": true,
}

// unsafeToSend tells why a header must not be set on requests to a backend; "" if it may be.
func unsafeToSend(name string) string {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "it is not a header name"
	case connectionHeaders[canonical]:
		return "it belongs to the connection"
	case strings.HasPrefix(canonical, "Content-"):
		return "it describes the body"
	case strings.HasPrefix(canonical, "Mcp-"):
		return "it belongs to the MCP protocol"
	}
	return ""
}

// CheckForwardHeader tells why a client's header of this name must not be forwarded to backends.
// The boot configuration's upstream.forwardHeaders obeys the same rule.
func CheckForwardHeader(name string) error {
	if why := unsafeToSend(name); why != "" {
		return fmt.Errorf("header %q cannot be forwarded: %s", shown(name), why)
	}
	if http.CanonicalHeaderKey(name) == "X-Higress-Mcpserver-Config" {
		return fmt.Errorf("header %q cannot be forwarded: clients must not configure services", name)
	}
	return nil
}

// requestHeaders mean something of their own in a request, so that a key in them would be seen, logged,
// cached or changed by those who handle that meaning.
var requestHeaders = map[string]bool{
	"Cookie": true, "Set-Cookie": true, "Forwarded": true, "Via": true, "X-Real-Ip": true, "Origin": true, "Referer": true,
	"User-Agent": true, "Date": true, "Range": true, "Cache-Control": true, "Pragma": true, "Last-Event-Id": true,
	"Traceparent": true, "Tracestate": true, "Baggage": true, "X-Request-Id": true, "Location": true,
}

// CheckKeyHeader tells why a key must not be looked for in a header of this name.
// The boot configuration's access.sources obey the same rule.
func CheckKeyHeader(name string) error {
	canonical := http.CanonicalHeaderKey(name)
	if canonical == "Authorization" {
		return fmt.Errorf("header %q cannot carry a key: write bearer instead", shown(name))
	}
	why := unsafeToSend(name)
	if why == "" {
		if requestHeaders[canonical] {
			why = "it has a meaning of its own"
		}
		for _, prefix := range []string{"X-Forwarded-", "Accept", "If-", "Sec-", "Access-Control-", "Proxy-"} {
			if strings.HasPrefix(canonical, prefix) {
				why = "it has a meaning of its own"
			}
		}
	}
	if why != "" {
		return fmt.Errorf("header %q cannot carry a key: %s", shown(name), why)
	}
	return nil
}

// CheckKeyQuery tells why a key must not be looked for in a query parameter of this name.
func CheckKeyQuery(name string) error {
	if !ValidName(name) {
		return fmt.Errorf("query parameter %q cannot carry a key: names are letters, digits, '.', '_' and '-'", shown(name))
	}
	return nil
}

// maxForwarded bounds the headers that are looked for in every request.
const maxForwarded = 100

func readForwardHeaders(o *object) []string {
	var list []string
	if n := o.at["forwardHeaders"]; n != nil && len(n.Content) > maxForwarded {
		o.reject("forwardHeaders", "must be at most %d names", maxForwarded)
		return nil
	}
	o.each("forwardHeaders", func(path string, n *yaml.Node) {
		s, ok := o.r.str(n, path)
		if !ok {
			return
		}
		if err := CheckForwardHeader(s); err != nil {
			o.r.reject(n, path, "%s", err)
			return
		}
		if s = http.CanonicalHeaderKey(s); !contains(list, s) {
			list = append(list, s)
		}
	})
	return list
}

func readTLS(o *object) *TLS {
	t := o.object("tls", "ca", "cert", "key", "serverName", "skipVerify")
	if t == nil {
		return nil
	}
	tls := &TLS{
		CA: t.text("ca"), Cert: t.text("cert"), Key: t.text("key"), ServerName: t.text("serverName"), SkipVerify: t.boolean("skipVerify", false),
		CALine: t.line("ca"), CertLine: t.line("cert"), KeyLine: t.line("key"),
	}
	if (tls.Cert == "") != (tls.Key == "") {
		t.r.reject(t.node, t.path, "needs cert and key together")
	}
	if tls.SkipVerify {
		t.r.warn(t.at["skipVerify"], join(t.path, "skipVerify"), "the backend's certificate is not checked: anybody in between can read and change calls")
	}
	return tls
}
