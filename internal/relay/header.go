package relay

import (
	"mime"
	"net/http"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// protocolHeaders go to MCP backends; nothing else of a client's header does, but for those of ForwardHeaders.
var protocolHeaders = [...]string{"Accept", "Content-Type", wire.HeaderVersion, wire.HeaderMethod, wire.HeaderName, wire.HeaderLastEventID}

// ownHeaders are never forwarded whatever a document lists: they belong to one connection (RFC 9110, 7.6.1), or are
// set by us.
var ownHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Content-Encoding": true,
	"Accept-Encoding": true, "Host": true, "Expect": true, wire.HeaderSession: true,
}

// requestHeader puts into out, which is empty, the header that goes to the backend. It shares the values' slices with the
// client's.
func requestHeader(out http.Header, req *http.Request, x *Exchange) {
	in := req.Header
	for _, name := range protocolHeaders {
		if v, ok := in[name]; ok {
			out[name] = v
		}
	}
	for name, v := range in {
		if strings.HasPrefix(name, wire.HeaderParamPrefix) {
			out[name] = v
		}
	}
	for _, name := range x.ForwardHeaders {
		if v, ok := in[name]; ok && !ownHeaders[name] {
			out[name] = v
		}
	}
	for _, f := range in["Connection"] {
		for name := range strings.SplitSeq(f, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	if req.Method == http.MethodPost {
		// What was scanned and decided on is JSON in UTF-8. Another charset (body-parser takes UTF-7) would make it another
		// message to the backend.
		out["Content-Type"] = jsonType
	}
	if x.Restricted {
		unrouted(out, x.Env)
	}
	if x.Strip != nil {
		x.Strip(out)
	}
}

// Values that are the same in many headers. Nobody may change them.
var (
	jsonType   = []string{"application/json"}
	notEncoded = []string{"identity"}
)

// unrouted leaves out the headers by which a backend may choose a tool where the body chooses none. Where it does, the two
// were found to agree (wire.HeadersDiffer).
func unrouted(h http.Header, e *wire.Envelope) {
	if e == nil || e.Kind == wire.Response {
		delete(h, wire.HeaderMethod)
	}
	if e == nil || wire.Named(e.Method) == "" {
		delete(h, wire.HeaderName)
	}
}

// outgoing makes the request to the backend as far as it is the same for both transports.
func outgoing(req *http.Request, x *Exchange, method string, body []byte) (*upstream.Request, error) {
	up := new(upstream.Request)
	up.Reset()
	return up, prepare(up, req, x, method, body)
}

// prepare is outgoing for a Request that was Reset.
func prepare(up *upstream.Request, req *http.Request, x *Exchange, method string, body []byte) error {
	up.Method, up.Body, up.Stream = method, body, true
	requestHeader(up.Header, req, x)
	if x.Credential != nil {
		return x.Credential(up)
	}
	return nil
}

// answerHeaders are those of a backend's answer that reach the client, besides Mcp-* ones. Cookies do not: all services
// share one origin.
var answerHeaders = [...]string{"Content-Type", "Cache-Control", "Retry-After", "Allow"}

// copyAnswerHeader gives the client the backend's header. The session id is not among what is copied.
func copyAnswerHeader(out http.Header, resp *upstream.Response, x *Exchange) {
	for _, name := range answerHeaders {
		if v, ok := resp.Header[name]; ok {
			out[name] = v
		}
	}
	for name, v := range resp.Header {
		if strings.HasPrefix(name, "Mcp-") && name != wire.HeaderSession {
			out[name] = v
		}
	}
	// A challenge sends clients to the backend's authorization server; that is of use only to one whose token gets there.
	for _, name := range x.ForwardHeaders {
		if name == "Authorization" {
			if v, ok := resp.Header["Www-Authenticate"]; ok {
				out["Www-Authenticate"] = v
			}
		}
	}
}

// mediaType is the type of an answer's content without parameters, in lower case.
func mediaType(h http.Header) string {
	v := h.Get("Content-Type")
	switch v { // the spellings nearly everybody uses
	case "", "application/json", "text/event-stream":
		return v
	}
	t, _, err := mime.ParseMediaType(v)
	if err != nil {
		t, _, _ = strings.Cut(v, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	return t
}
