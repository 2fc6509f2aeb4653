package wire

import (
	"bytes"
	"strings"
)

// level is a place whose names we read: the envelope, its params, their _meta.
type level int

const (
	levelEnvelope level = iota
	levelParams
	levelMeta
)

// text is a string found at a level: its raw content and whether there is anything to decode in it.
type text struct {
	raw     []byte
	escaped bool
	found   bool // the field was there and a string
}

type scanner struct {
	lexer
	e       *Envelope
	refused *Error    // the first thing wrong with valid JSON; the scan goes on, as broken JSON is the graver fault
	seen    [3]uint32 // fields met, per level

	jsonrpc, method, name, uri, version, metaVersion text
	idNull                                           bool
	idDoubt                                          bool // there may be another id for another decoder
	paramsToken                                      []byte
}

func (s *scanner) refuse(err *Error) {
	if s.refused == nil {
		s.refused = err
	}
}

// object reads the object that begins at i and whose names are those of a level.
func (s *scanner) object(i int, at level) int {
	b := s.b
	if i = s.space(i + 1); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		var f field
		if i, f = s.field(i, at); i < 0 {
			return -1
		}
		begin := i
		if f != unknown {
			i = s.known(i, at, f)
		} else {
			i = s.value(i, int(at)+1)
		}
		if i < 0 {
			return -1
		}
		if at == levelEnvelope && f != unknown {
			s.keepEnvelope(f, b[begin:i])
		}
		if i = s.space(i); i >= len(b) {
			return s.fail(i, whyEnd)
		}
		switch b[i] {
		case '}':
			return i + 1
		case ',':
			i = s.space(i + 1)
		default:
			return s.fail(i, whyComma)
		}
	}
}

// field reads a name and its colon and tells which of the level's it is. It refuses what some decoder could take for one.
func (s *scanner) field(i int, at level) (int, field) {
	if i >= len(s.b) {
		return s.fail(i, whyEnd), unknown
	}
	if s.b[i] != '"' {
		return s.fail(i, whyName), unknown
	}
	end, escaped := s.str(i + 1)
	if end < 0 {
		return -1, unknown
	}
	name := s.b[i+1 : end-1]
	if escaped {
		mark := len(s.e.scratch)
		decoded, ok := appendDecoded(s.e.scratch, name)
		if !ok || bytes.IndexByte(decoded[mark:], 0) >= 0 { // C strings end at a NUL: "name\u0000x" is a name to them
			s.refuse(namesError(at))
			s.idDoubt = s.idDoubt || at == levelEnvelope
		}
		s.e.scratch = decoded[:mark] // the room is free again once the field is known
		name = decoded[mark:]
	}
	var f field
	switch at {
	case levelEnvelope:
		f = envelopeField(name)
	case levelParams:
		f = paramsField(name)
	case levelMeta:
		f = metaField(name)
	}
	switch bit := uint32(1) << f; {
	case f == unknown:
		if v := variantOf(name, at); v != unknown {
			s.refuse(namesError(at))
			s.idDoubt = s.idDoubt || at == levelEnvelope && v == fieldID
		}
	case s.seen[at]&bit != 0:
		s.refuse(namesError(at))
		s.idDoubt = s.idDoubt || at == levelEnvelope && f == fieldID
		f = unknown // checked, not read
	default:
		s.seen[at] |= bit
	}
	return s.colon(end), f
}

func namesError(at level) *Error {
	if at == levelEnvelope {
		return errNames
	}
	return errInParams
}

// variantOf tells which field of the level a lenient decoder could take an unknown name for.
func variantOf(name []byte, at level) field {
	var buf [maxFolded]byte
	f, ok := fold(&buf, name)
	if !ok {
		return unknown
	}
	switch at {
	case levelEnvelope:
		return envelopeField(f)
	case levelParams:
		if string(name) == "meta" {
			return unknown // an extension's own, not _meta misspelt
		}
		return foldedParams(f)
	default:
		return foldedMeta(f)
	}
}

// known reads the value of a field we know and keeps what Envelope has a place for.
func (s *scanner) known(i int, at level, f field) int {
	var end int
	var escaped bool
	begin := i
	if begin >= len(s.b) {
		return s.fail(begin, whyEnd)
	}
	first := s.b[begin]
	switch {
	case first == '"':
		end, escaped = s.str(begin + 1)
	case first == '{' && at == levelEnvelope && f == fieldParams:
		end = s.object(begin, levelParams)
	case first == '{' && at == levelParams && f == fieldMeta:
		end = s.object(begin, levelMeta)
	default:
		end = s.value(begin, int(at)+1)
	}
	if end < 0 {
		return -1
	}
	raw := s.b[begin:end]
	var t text
	if first == '"' {
		t = text{raw: raw[1 : len(raw)-1], escaped: escaped, found: true}
	}
	switch at {
	case levelEnvelope:
		switch f {
		case fieldJSONRPC:
			s.jsonrpc = t
		case fieldMethod:
			s.method = t
		}
	case levelParams:
		s.keepParams(f, raw, t)
	case levelMeta:
		s.keepMeta(f, raw, t)
	}
	return end
}

func (s *scanner) keepEnvelope(f field, raw []byte) {
	switch f {
	case fieldID:
		switch c := raw[0]; {
		case c == '"' || c == '-' || '0' <= c && c <= '9':
			s.e.ID = raw
		case c == 'n':
			s.idNull = true
		default:
			s.refuse(errID)
		}
	case fieldParams:
		switch raw[0] {
		case '{':
			s.e.Params = raw
		case 'n':
		default:
			s.refuse(errParams)
		}
	case fieldResult:
		s.e.Result = raw
	case fieldError:
		if raw[0] != 'n' { // some serializers write every field they have
			s.e.Error = raw
		}
	}
}

func (s *scanner) keepParams(f field, raw []byte, t text) {
	e := s.e
	switch f {
	case fieldName:
		s.name = t
	case fieldURI:
		s.uri = t
	case fieldArguments:
		if raw[0] != 'n' {
			e.Arguments = raw
		}
	case fieldMeta:
		switch raw[0] {
		case '{':
			e.Meta = raw
		case 'n':
		default:
			s.refuse(errParams)
		}
	case fieldCursor:
		e.Cursor = raw
	case fieldRequestID:
		e.CancelID = raw
	case fieldProtocolVersion:
		s.version = t
	case fieldCapabilities:
		e.Capabilities = raw
	case fieldClientInfo:
		e.ClientInfo = raw
	case fieldLevel:
		e.Level = raw
	case fieldRef:
		e.Ref = raw
	case fieldArgument:
		e.Argument = raw
	case fieldNotifications:
		e.Notifications = raw
	case fieldParamsProgressToken:
		s.paramsToken = raw
	case fieldTaskID:
		e.TaskID = raw
	}
}

func (s *scanner) keepMeta(f field, raw []byte, t text) {
	switch f {
	case fieldProgressToken:
		s.e.ProgressToken = raw
	case fieldMetaVersion:
		s.metaVersion = t
	case fieldMetaCapabilities:
		if raw[0] == '{' {
			s.e.ClientCapabilities = raw
		}
	case fieldMetaClientInfo:
		s.e.ClientInfo = raw
	}
}

// finish decides what the message is, once all of it is known to be JSON.
func (s *scanner) finish() error {
	e := s.e
	if s.idDoubt {
		e.ID = nil
	}
	if s.refused != nil {
		return s.refused
	}
	if v, ok := s.decode(s.jsonrpc); !ok || string(v) != "2.0" {
		return errVersion
	}
	if s.seen[levelEnvelope]&(1<<fieldMethod) == 0 {
		return s.finishResponse()
	}
	if e.Error != nil || e.Result != nil && e.Result[0] != 'n' {
		return errShape
	}
	e.Result = nil
	if s.idNull {
		return errID
	}
	m, ok := s.decode(s.method)
	if !ok {
		return errMethod
	}
	e.Method = intern(m)
	switch known := e.Method != ""; {
	case !known && methodVariant(m):
		return errMethod
	case !known:
		e.Method = string(m)
		fallthrough
	default:
		e.Kind = Request
		if e.ID == nil {
			e.Kind = Notification
			if known && !strings.HasPrefix(e.Method, "notifications/") {
				return errNoID // a backend might carry it out all the same
			}
		}
	}
	return s.finishParams()
}

func (s *scanner) finishResponse() error {
	e := s.e
	e.Kind = Response
	if e.Error != nil && e.Result != nil && e.Result[0] == 'n' {
		e.Result = nil
	}
	switch {
	case (e.Error == nil) == (e.Result == nil) || e.Params != nil:
		return errShape
	case e.ID == nil && s.idNull && e.Error != nil:
		e.ID = nullID // JSON-RPC 2.0, 5: an error may answer an id that could not be read
	case e.ID == nil:
		return errID
	}
	return nil
}

var nullID = []byte("null")

func (s *scanner) finishParams() error {
	e := s.e
	ok := true
	switch e.Method {
	case MethodToolsCall, MethodPromptsGet:
		if e.Name, ok = s.decode(s.name); !ok {
			return errName
		}
	case MethodResourcesRead, MethodResourcesSubscribe, MethodResourcesUnsubscribe:
		if e.Name, ok = s.decode(s.uri); ok {
			break
		}
		if e.Method == MethodResourcesRead || s.seen[levelParams]&(1<<fieldURI) != 0 {
			return errURI
		}
		// The modern era has no such methods: without a uri it is the backend that says so, with its 404 (SEP-2575).
		e.Name, ok = []byte{}, true
	case NotificationProgress:
		e.ProgressToken = s.paramsToken
	}
	switch {
	case s.metaVersion.found:
		e.Version, ok = s.decode(s.metaVersion)
		e.MetaVersion = true
	case e.Method == MethodInitialize && s.version.found:
		e.Version, ok = s.decode(s.version)
	}
	if !ok {
		return errRevision
	}
	return nil
}

// decode gives the text of a string, or false for one that decoders disagree on or that was not there.
func (s *scanner) decode(t text) ([]byte, bool) {
	if !t.found {
		return nil, false
	}
	if !t.escaped {
		return t.raw, true
	}
	mark := len(s.e.scratch)
	out, ok := appendDecoded(s.e.scratch, t.raw)
	if !ok {
		return nil, false
	}
	for _, c := range out[mark:] {
		if c == 0 {
			return nil, false // where C strings end and others do not
		}
	}
	s.e.scratch = out
	return out[mark:len(out):len(out)], true
}
