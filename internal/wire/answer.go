package wire

import (
	"net/http"
	"strconv"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// JSON-RPC error codes on our wire. -32020 to -32099 belong to MCP; we make none of our own.
const (
	CodeParse              = -32700
	CodeInvalidRequest     = -32600
	CodeMethodNotFound     = -32601
	CodeInvalidParams      = -32602
	CodeInternal           = -32603
	CodeHeaderMismatch     = -32020 // a header is missing or differs from the body (modern)
	CodeMissingCapability  = -32021 // the client did not declare a capability that is needed (modern)
	CodeUnsupportedVersion = -32022 // data: {supported, requested} (modern)
)

// Refusal is a reason for which the proxy itself refuses a request. Its row in the table of answers holds the code and
// the statuses of both eras.
type Refusal uint8

// Reasons to refuse.
const (
	NoRefusal          Refusal = iota
	NotJSON                    // the body is not JSON, or not UTF-8
	InvalidRequest             // the body is JSON but no message we let through
	Batch                      // an array of messages
	InvalidParams              // params that no backend could read the same way as we do
	UnknownTool                // no such tool, or none the consumer may know of
	UnknownMethod              //
	UnsupportedVersion         // a revision that nobody here speaks
	HeaderMismatch             //
	NoKey                      // none, unknown, expired or disabled: the same answer
	NoGrant                    // a key without any grant on the service, or no such service
	ForeignOrigin              // or a foreign Host
	MethodNotAllowed           // GET or DELETE where there is no session
	NoSession                  // a session id is needed and absent
	UnknownSession             // the client must start anew
	NotAcceptable              // the client takes neither JSON nor SSE
	UnsupportedMedia           // the body does not say that it is JSON
	BodyTooLarge               //
	NotFound                   // no such path
	TooManyRequests            //
	NotReady                   // no configuration yet
	Overloaded                 // a bound of the whole process is reached
	BackendUnavailable         // no instance, refused, broken framing
	BackendTimeout             //
	Internal                   // a fault of ours
	refusals
)

// answers maps each refusal to its code, its statuses in the legacy and the modern era, and what it says by default.
// From the table of answers of MCP 2026-07-28 and its predecessors' transport chapters.
var answers = [refusals]struct {
	code           int
	legacy, modern int
	message        string
}{
	NoRefusal:          {0, http.StatusOK, http.StatusOK, ""},
	NotJSON:            {CodeParse, 400, 400, "Parse error: the body is not valid JSON in UTF-8"},
	InvalidRequest:     {CodeInvalidRequest, 400, 400, "Invalid Request"},
	Batch:              {CodeInvalidRequest, 400, 400, "Invalid Request: batches are not supported, send one message per request"},
	InvalidParams:      {CodeInvalidParams, 200, 400, "Invalid params"},
	UnknownTool:        {CodeInvalidParams, 200, 400, "Unknown tool"},
	UnknownMethod:      {CodeMethodNotFound, 200, 404, "Method not found"},
	UnsupportedVersion: {CodeUnsupportedVersion, 400, 400, "Unsupported protocol version"},
	HeaderMismatch:     {CodeHeaderMismatch, 400, 400, "Header mismatch"},
	NoKey:              {CodeInvalidRequest, 401, 401, "Unauthorized: a valid API key is needed"},
	NoGrant:            {CodeInvalidRequest, 403, 403, "Forbidden: this key has no grant on this service"},
	ForeignOrigin:      {CodeInvalidRequest, 403, 403, "Forbidden: this origin or host is not allowed"},
	MethodNotAllowed:   {CodeInvalidRequest, 405, 405, "Method not allowed: send messages with POST"},
	NoSession:          {CodeInvalidRequest, 400, 400, "Bad Request: Mcp-Session-Id is missing, send initialize first"},
	UnknownSession:     {CodeInvalidRequest, 404, 404, "Session not found: send initialize to start anew"},
	NotAcceptable:      {CodeInvalidRequest, 406, 406, "Not Acceptable: accept application/json and text/event-stream"},
	UnsupportedMedia:   {CodeInvalidRequest, 415, 415, "Unsupported Media Type: send application/json"},
	BodyTooLarge:       {CodeInvalidRequest, 413, 413, "Request body too large"},
	NotFound:           {CodeInvalidRequest, 404, 404, "Not found"},
	TooManyRequests:    {CodeInvalidRequest, 429, 429, "Too many requests: try again later"},
	NotReady:           {CodeInternal, 503, 503, "Not ready: the configuration has not arrived yet, try again later"},
	Overloaded:         {CodeInternal, 503, 503, "The proxy is at its limits: try again later"},
	BackendUnavailable: {CodeInternal, 502, 502, "The backend is not available"},
	BackendTimeout:     {CodeInternal, 504, 504, "The backend did not answer in time"},
	Internal:           {CodeInternal, 500, 500, "Internal error"},
}

// Code is the JSON-RPC error code of a refusal.
func (r Refusal) Code() int { return answers[r].code }

// Status is the HTTP status of a refusal in an era.
func (r Refusal) Status(modern bool) int {
	if modern {
		return answers[r].modern
	}
	return answers[r].legacy
}

// Message is what a refusal says when there is nothing more exact to say.
func (r Refusal) Message() string { return answers[r].message }

// Error makes the refusal an answer for an era. An empty message stands for the default one.
func (r Refusal) Error(modern bool, message string) *Error {
	if message == "" {
		message = r.Message()
	}
	return &Error{Refusal: r, Code: r.Code(), Status: r.Status(modern), Message: message}
}

// StatusOf is the HTTP status under which a JSON-RPC error that somebody else made travels in an era (SEP-2575: 404 and
// 400 for what the modern era counts as the request's own fault; everything else is 200).
func StatusOf(code int, modern bool) int {
	if !modern {
		return http.StatusOK
	}
	switch code {
	case CodeMethodNotFound:
		return http.StatusNotFound
	case CodeParse, CodeInvalidRequest, CodeInvalidParams, CodeHeaderMismatch, CodeMissingCapability, CodeUnsupportedVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// Error is a refused message. Several are shared and must not be changed.
type Error struct {
	Refusal Refusal
	Code    int    // JSON-RPC
	Status  int    // HTTP
	Message string // for the client; holds no secrets
	Data    []byte // raw JSON of error.data; nil for none
	Offset  int    // of invalid JSON, bytes from the start of the body; -1 or 0 where it means nothing
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// Append adds the refusal as a JSON-RPC error response. A nil id, one that is not known, is null.
func (e *Error) Append(dst, id []byte) []byte { return AppendError(dst, id, e.Code, e.Message, e.Data) }

// UnknownToolError answers a call of a tool that does not exist or that the consumer may not know of: the same bytes.
func UnknownToolError(name []byte, modern bool) *Error {
	return UnknownTool.Error(modern, "Unknown tool: "+string(name))
}

// UnknownMethodError answers a method that does not exist or that the consumer may not know of: the same bytes.
func UnknownMethodError(method string, modern bool) *Error {
	return UnknownMethod.Error(modern, "Method not found: "+method)
}

// UnsupportedVersionError answers a revision not among supported, which is listed in error.data.
func UnsupportedVersionError(requested string, supported []string) *Error {
	e := UnsupportedVersion.Error(true, "")
	d := append([]byte(nil), `{"supported":[`...)
	for i, v := range supported {
		if i > 0 {
			d = append(d, ',')
		}
		d = jsontext.AppendString(d, v)
	}
	d = append(d, `],"requested":`...)
	d = jsontext.AppendString(d, requested)
	e.Data = append(d, '}')
	return e
}

func syntaxError(offset int, what string) *Error {
	return &Error{Refusal: NotJSON, Code: CodeParse, Status: 400, Offset: offset,
		Message: "Parse error: " + what + " at byte " + strconv.Itoa(offset)}
}
