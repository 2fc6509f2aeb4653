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

// First is the first value of a header, "" if there is none. Unlike Header.Get it takes name to be canonical.
func First(h http.Header, name string) string { return firstOf(h[name]) }

func firstOf(values []string) string {
	if len(values) > 0 {
		return values[0]
	}
	return ""
}

// ModernRequest tells the era of a POST: modern if its version header says so, or if there is no session id and _meta
// names a revision (even an old one, which is then refused).
func ModernRequest(h http.Header, e *Envelope) bool {
	if Modern(First(h, HeaderVersion)) {
		return true
	}
	return e != nil && e.MetaVersion && First(h, HeaderSession) == ""
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
// in both and be the same, and a request must carry its capabilities; differences are told before what is missing. In the
// legacy era it does what HeadersDiffer does. The returned Error is nil if all is well. Whether the revision is one that
// is spoken is not checked: see UnsupportedVersionError.
func CheckHeaders(h http.Header, e *Envelope) *Error {
	if err := HeadersDiffer(h, e); err != nil || e.Kind == Response || !ModernRequest(h, e) {
		return err
	}
	request := e.Kind == Request // notifications need no _meta (SEP-2575)
	switch {
	case First(h, HeaderVersion) == "":
		return mismatch(true, "the MCP-Protocol-Version header is required")
	case request && !e.MetaVersion:
		return InvalidParams.Error(true, "Invalid params: _meta "+MetaProtocolVersion+" is missing or no string")
	case request && e.ClientCapabilities == nil:
		return InvalidParams.Error(true, "Invalid params: _meta "+MetaClientCapabilities+" is missing or no object")
	case First(h, HeaderMethod) == "":
		return mismatch(true, "the Mcp-Method header is required")
	case Named(e.Method) != "" && len(h[HeaderName]) == 0:
		return mismatch(true, "the Mcp-Name header is required for "+e.Method)
	}
	return nil
}

// HeadersDiffer tells whether the version, the method or the name is in a POST's headers and not what the body says, or
// given more than once. It holds in both eras: in the legacy one these headers mean nothing, but something behind us
// could still route by them. What is missing is no difference.
func HeadersDiffer(h http.Header, e *Envelope) *Error {
	if e.Kind == Response {
		return nil
	}
	modern, versions, methods, names := ModernRequest(h, e), h[HeaderVersion], h[HeaderMethod], h[HeaderName]
	switch {
	case len(versions) > 1:
		return twice(modern, HeaderVersion)
	case len(methods) > 1:
		return twice(modern, HeaderMethod)
	case len(names) > 1:
		return twice(modern, HeaderName)
	}
	if v := firstOf(versions); modern && v != "" && e.MetaVersion && v != string(e.Version) {
		return mismatch(modern, "the MCP-Protocol-Version header differs from _meta "+MetaProtocolVersion)
	}
	if v := firstOf(methods); v != "" && v != e.Method {
		return mismatch(modern, "the Mcp-Method header differs from the body's method")
	}
	named := Named(e.Method)
	if named == "" || len(names) == 0 {
		return nil
	}
	name, err := DecodeHeaderName(firstOf(names))
	if err != nil {
		return mismatch(modern, "the Mcp-Name header is not valid base64 of UTF-8")
	}
	if name != string(e.Name) {
		return mismatch(modern, "the Mcp-Name header differs from params."+named)
	}
	return nil
}

func twice(modern bool, name string) *Error {
	return mismatch(modern, "the "+name+" header is given more than once")
}

func mismatch(modern bool, message string) *Error {
	if !modern { // a modern code would tell the client that the backend is modern
		return &Error{Refusal: HeaderMismatch, Code: CodeInvalidRequest, Status: http.StatusBadRequest, Message: "Invalid Request: " + message}
	}
	return HeaderMismatch.Error(true, "Header mismatch: "+message)
}
