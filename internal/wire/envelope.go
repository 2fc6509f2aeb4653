package wire

// Kind is what a message is to JSON-RPC.
type Kind uint8

// Kinds of messages.
const (
	Request      Kind = iota + 1 // method and id
	Notification                 // method, no id. An unknown method may be one too: decide on the method, not on the kind
	Response                     // result or error
)

// Envelope is what the proxy reads of one message. Slices point into the scanned body, or, where an escape had to be
// decoded, into memory of the Envelope; both are valid until the next Scan into it. Raw means JSON as it was written.
type Envelope struct {
	Kind   Kind
	Method string // decoded; one of the Method and Notification constants if known

	ID     []byte // raw string or number; nil where absent. A Response with an error may have null
	Params []byte // raw object; nil where absent or null
	Result []byte // raw; nil where absent
	Error  []byte // raw; nil where absent

	// Name is what the method acts on, decoded: params.name of tools/call and prompts/get, params.uri of resources/read,
	// resources/subscribe and resources/unsubscribe. Never nil for the five, though it may be empty.
	Name []byte

	Arguments     []byte // raw params.arguments of any kind; nil where absent or null
	Meta          []byte // raw params._meta object; nil where absent or null
	ProgressToken []byte // raw params._meta.progressToken, or params.progressToken of notifications/progress
	Cursor        []byte // raw params.cursor
	CancelID      []byte // raw params.requestId (notifications/cancelled)
	Level         []byte // raw params.level (logging/setLevel)
	Ref           []byte // raw params.ref (completion/complete)
	Argument      []byte // raw params.argument (completion/complete)
	Notifications []byte // raw params.notifications (subscriptions/listen)
	Capabilities  []byte // raw params.capabilities (initialize)
	ClientInfo    []byte // raw params.clientInfo (initialize) or that of _meta
	TaskID        []byte // raw params.taskId

	// Version is the revision the message names itself, decoded: _meta's if there, else params.protocolVersion of
	// initialize; nil if neither is a string.
	Version     []byte
	MetaVersion bool // Version is from _meta: the sign of the modern era
	// ClientCapabilities is the raw object in _meta, which every modern request has; nil if absent or no object.
	ClientCapabilities []byte

	scratch []byte // what decoded names live in; kept from scan to scan
}

// Reset forgets the message, so that its body is not held.
func (e *Envelope) Reset() { *e = Envelope{scratch: e.scratch[:0]} }

// Errors that Scan gives for JSON that is no message to let through.
var (
	errBatch    = Batch.Error(true, "")
	errDepth    = scanError(InvalidRequest, "Invalid Request: nested deeper than 128 levels")
	errObject   = scanError(InvalidRequest, "Invalid Request: a message must be an object")
	errVersion  = scanError(InvalidRequest, `Invalid Request: jsonrpc must be "2.0"`)
	errID       = scanError(InvalidRequest, "Invalid Request: id must be a string or a number")
	errNoID     = scanError(InvalidRequest, "Invalid Request: a request must have an id")
	errMethod   = scanError(InvalidRequest, "Invalid Request: method must be a plain string, spelled exactly as the protocol has it")
	errShape    = scanError(InvalidRequest, "Invalid Request: a message has either a method or one of result and error")
	errNames    = scanError(InvalidRequest, "Invalid Request: the names of a message may be given once each, spelled exactly as the protocol has them")
	errParams   = scanError(InvalidParams, "Invalid params: params and _meta must be objects")
	errInParams = scanError(InvalidParams, "Invalid params: the names in params and _meta may be given once each, spelled exactly as the protocol has them")
	errName     = scanError(InvalidParams, "Invalid params: name must be a string without NUL and lone surrogates")
	errURI      = scanError(InvalidParams, "Invalid params: uri must be a string without NUL and lone surrogates")
	errRevision = scanError(InvalidParams, "Invalid params: protocolVersion must be a plain string")
)

// scanError makes a shared error. What Scan refuses is 400 in both eras: nobody could have answered it.
func scanError(r Refusal, message string) *Error { return r.Error(true, message) }

// Scan reads one message into e, or says as an *Error why it must not go on to a backend. The whole of body must be valid
// JSON in UTF-8, one object, nested at most MaxDepth deep, without a byte order mark or anything behind it.
//
// Names that the protocol gives a meaning in the envelope, params and params._meta may occur once and only in their exact
// spelling there: decoders that match names without case (encoding/json), let the first or the last duplicate win, or drop
// underscores would otherwise see another message than we. Escapes in names are decoded first. Unknown names are the
// backend's affair, as is everything inside arguments.
//
// After an error only e.ID is of use: the id to answer to, or nil if there is no certain one.
func Scan(body []byte, e *Envelope) error {
	e.Reset()
	s := scanner{lexer: lexer{b: body}, e: e}
	i := s.space(0)
	switch {
	case i == len(body):
		return syntaxError(i, whyEnd)
	case body[i] == '[':
		return errBatch
	case body[i] != '{':
		if i = s.value(i, 0); i < 0 {
			return s.err()
		}
		return errObject
	}
	if i = s.object(i, levelEnvelope); i < 0 {
		e.ID = nil
		return s.err()
	}
	if i = s.space(i); i != len(body) {
		e.ID = nil
		return syntaxError(i, whyTrail)
	}
	if err := s.finish(); err != nil {
		return err
	}
	return nil
}
