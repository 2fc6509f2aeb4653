package wire

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Headers of MCP over HTTP, in net/http's canonical spelling.
const (
	HeaderVersion     = "Mcp-Protocol-Version"
	HeaderSession     = "Mcp-Session-Id"
	HeaderMethod      = "Mcp-Method"
	HeaderName        = "Mcp-Name"
	HeaderParamPrefix = "Mcp-Param-"
	HeaderLastEventID = "Last-Event-Id"
)

// ModernRequest tells the era of a POST: modern if its version header says so, or if there is no session id and _meta
// names a revision (even an old one, which is then refused).
func ModernRequest(h http.Header, e *Envelope) bool {
	if Modern(h.Get(HeaderVersion)) {
		return true
	}
	return e != nil && e.MetaVersion && h.Get(HeaderSession) == ""
}

const (
	base64Prefix = "=?base64?"
	base64Suffix = "?="
)

// DecodeHeaderName gives the text of an Mcp-Name or Mcp-Param- header: as it is, or decoded where it is written as
// =?base64?…?= (SEP-2243). A broken encoding or one that is not UTF-8 is an error.
func DecodeHeaderName(v string) (string, error) {
	encoded, ok := strings.CutPrefix(v, base64Prefix)
	if !ok {
		return v, nil
	}
	if encoded, ok = strings.CutSuffix(encoded, base64Suffix); !ok {
		return v, nil // the plain text that happens to begin so
	}
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", errors.New("decode header: invalid base64 between =?base64? and ?=")
	}
	if !utf8.Valid(text) {
		return "", errors.New("decode header: the base64 text is not UTF-8")
	}
	return string(text), nil
}

// CheckHeaders holds a POST's headers against its body. In the modern era the version, the method and the name must be
// in both and be the same, and a request must carry its capabilities. In the legacy era these headers mean nothing, but
// if somebody sends them they may not differ from the body: something behind us could route by them.
// The returned Error is nil if all is well. Whether the revision is one that is spoken is not checked: see
// UnsupportedVersionError.
func CheckHeaders(h http.Header, e *Envelope) *Error {
	if e.Kind == Response {
		return nil
	}
	modern := ModernRequest(h, e)
	if modern {
		if err := checkRevision(h, e); err != nil {
			return err
		}
	}
	method, ok := only(h, HeaderMethod)
	switch {
	case !ok:
		return mismatch(modern, "Mcp-Method is given more than once")
	case method == "" && modern:
		return mismatch(modern, "the Mcp-Method header is required")
	case method != "" && method != e.Method:
		return mismatch(modern, "the Mcp-Method header differs from the body's method")
	}
	named := Named(e.Method)
	value, ok := only(h, HeaderName)
	switch {
	case !ok:
		return mismatch(modern, "Mcp-Name is given more than once")
	case named == "":
		return nil
	case value == "" && !present(h, HeaderName):
		if modern {
			return mismatch(modern, "the Mcp-Name header is required for "+e.Method)
		}
		return nil
	}
	name, err := DecodeHeaderName(value)
	if err != nil {
		return mismatch(modern, "the Mcp-Name header is not valid base64 of UTF-8")
	}
	if name != string(e.Name) {
		return mismatch(modern, "the Mcp-Name header differs from params."+named)
	}
	return nil
}

// checkRevision is the modern part: revision in header and _meta, capabilities. Notifications need no _meta.
func checkRevision(h http.Header, e *Envelope) *Error {
	version, ok := only(h, HeaderVersion)
	switch {
	case !ok:
		return mismatch(true, "MCP-Protocol-Version is given more than once")
	case version == "":
		return mismatch(true, "the MCP-Protocol-Version header is required")
	case e.MetaVersion && version != string(e.Version):
		return mismatch(true, "the MCP-Protocol-Version header differs from _meta "+MetaProtocolVersion)
	case e.Kind != Request:
		return nil
	case !e.MetaVersion:
		return InvalidParams.Error(true, "Invalid params: _meta "+MetaProtocolVersion+" is missing or no string")
	case e.ClientCapabilities == nil:
		return InvalidParams.Error(true, "Invalid params: _meta "+MetaClientCapabilities+" is missing or no object")
	}
	return nil
}

func mismatch(modern bool, message string) *Error {
	if !modern { // a modern code would tell the client that the backend is modern
		return &Error{Refusal: HeaderMismatch, Code: CodeInvalidRequest, Status: http.StatusBadRequest, Message: "Invalid Request: " + message}
	}
	return HeaderMismatch.Error(true, "Header mismatch: "+message)
}

// only gives a header's single value, "" if absent, false if there are several.
func only(h http.Header, name string) (string, bool) {
	switch v := h[name]; len(v) {
	case 0:
		return "", true
	case 1:
		return v[0], true
	default:
		return "", false
	}
}

func present(h http.Header, name string) bool { return len(h[name]) > 0 }
