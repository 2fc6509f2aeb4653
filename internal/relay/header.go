package relay

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// isProtocol tells the headers that go to MCP backends; nothing else of a client's header does, but for those of
// ForwardHeaders.
func isProtocol(name string) bool {
	switch name {
	case "Accept", "Content-Type", wire.HeaderVersion, wire.HeaderMethod, wire.HeaderName, wire.HeaderLastEventID:
		return true
	}
	return strings.HasPrefix(name, wire.HeaderParamPrefix)
}

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
	for name, v := range req.Header {
		wanted := isProtocol(name) || slices.Contains(x.ForwardHeaders, name) && !ownHeaders[name]
		if wanted && (x.Strip == nil || !x.Strip(name, v)) {
			out[name] = v
		}
	}
	for _, f := range req.Header["Connection"] {
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
}

// Values that are the same in many headers. Nobody may change them.
var (
	jsonType   = []string{"application/json"}
	notEncoded = []string{"identity"}
	plainText  = []string{"text/plain"}
	notSniffed = []string{"nosniff"}
	notStored  = []string{"no-store"}
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

// isAnswer tells the headers of a backend's answer that reach the client. The session id is not among them. Cookies are not
// either: all services share one origin.
func isAnswer(name string) bool {
	switch name {
	case "Content-Type", "Cache-Control", "Retry-After", "Allow":
		return true
	}
	return strings.HasPrefix(name, "Mcp-") && name != wire.HeaderSession
}

// copyAnswerHeader gives the client the backend's header.
func copyAnswerHeader(out http.Header, resp *upstream.Response, x *Exchange) {
	for name, v := range resp.Header {
		if isAnswer(name) {
			out[name] = v
		}
	}
	if _, ok := out["Cache-Control"]; ok && x.Private {
		out["Cache-Control"] = notStored // whether what a key was needed for may be kept is not the backend's to say
	}
	if !isMessageType(mediaType(resp.Header)) && resp.ContentLength != 0 {
		// All services share the proxy's origin: a backend's page, or what a browser would take for one, is no page here.
		out["Content-Type"], out["X-Content-Type-Options"] = plainText, notSniffed
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

// isMessageType reports whether messages of MCP come in answers of this type.
func isMessageType(media string) bool {
	return media == "application/json" || media == "text/event-stream" || strings.HasSuffix(media, "+json")
}

// mediaType is the type of an answer's content without parameters, in lower case.
func mediaType(h http.Header) string {
	v := wire.First(h, "Content-Type")
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
