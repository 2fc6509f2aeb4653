package wire

import (
	"unicode"
	"unicode/utf8"
)

// appendDecoded adds the text of a JSON string, given without its quotes and known to be valid JSON. It reports failure
// for a lone surrogate: decoders disagree on it (U+FFFD, an error, three odd bytes, nothing at all).
func appendDecoded(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(raw[i:])
			i += 4
			if 0xd800 <= r && r < 0xe000 {
				if r >= 0xdc00 || i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
					return dst, false
				}
				low := hex4(raw[i+2:])
				if low < 0xdc00 || low >= 0xe000 {
					return dst, false
				}
				r = (r-0xd800)<<10 | (low - 0xdc00) + 0x10000
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, true
}

// maxFolded is longer than any folded name we know; what folds to more is none of them.
const maxFolded = 48

// fold brings a decoded name to the form in which lenient decoders compare names: without case the way encoding/json and
// others fold it (the Kelvin sign is a k, the long s an s), and without the underscores and dashes some drop.
// It reports false if the result is longer than any name we know.
func fold(buf *[maxFolded]byte, name []byte) ([]byte, bool) {
	n := 0
	for i := 0; i < len(name); {
		c := name[i]
		i++
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(name[i-1:])
			i += size - 1
			switch lowest := foldRune(r); {
			case lowest < utf8.RuneSelf:
				c = byte(lowest) | 0x20
			default:
				return nil, false // no name of ours has anything but ASCII
			}
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_' || c == '-' || c <= ' ':
			continue // some trim; names with a NUL do not get here
		}
		if n == maxFolded {
			return nil, false
		}
		buf[n] = c
		n++
	}
	return buf[:n], true
}

// foldRune gives the smallest rune that folds to the same as r. The two i of Turkish are an i to Java's equalsIgnoreCase.
func foldRune(r rune) rune {
	if r == 'İ' || r == 'ı' {
		return 'i'
	}
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// field is a name of the protocol at one of the levels of a message.
type field uint8

const unknown field = 0

// Fields of the envelope.
const (
	fieldJSONRPC field = iota + 1
	fieldID
	fieldMethod
	fieldParams
	fieldResult
	fieldError
)

func envelopeField(name []byte) field {
	switch string(name) {
	case "jsonrpc":
		return fieldJSONRPC
	case "id":
		return fieldID
	case "method":
		return fieldMethod
	case "params":
		return fieldParams
	case "result":
		return fieldResult
	case "error":
		return fieldError
	}
	return unknown
}

// Fields of params. Those without a place in Envelope are here so that no doubt about them passes either.
const (
	fieldName field = iota + 1
	fieldURI
	fieldArguments
	fieldMeta
	fieldCursor
	fieldRequestID
	fieldProtocolVersion
	fieldCapabilities
	fieldClientInfo
	fieldLevel
	fieldRef
	fieldArgument
	fieldNotifications
	fieldParamsProgressToken
	fieldTask
	fieldTaskID
	fieldInputResponses
	fieldRequestState
)

// paramsField takes names as they are; its sibling foldedParams takes what fold gives.
func paramsField(name []byte) field {
	switch string(name) {
	case "name":
		return fieldName
	case "arguments":
		return fieldArguments
	case "_meta":
		return fieldMeta
	case "uri":
		return fieldURI
	case "cursor":
		return fieldCursor
	case "requestId":
		return fieldRequestID
	case "protocolVersion":
		return fieldProtocolVersion
	case "capabilities":
		return fieldCapabilities
	case "clientInfo":
		return fieldClientInfo
	case "level":
		return fieldLevel
	case "ref":
		return fieldRef
	case "argument":
		return fieldArgument
	case "notifications":
		return fieldNotifications
	case "progressToken":
		return fieldParamsProgressToken
	case "task":
		return fieldTask
	case "taskId":
		return fieldTaskID
	case "inputResponses":
		return fieldInputResponses
	case "requestState":
		return fieldRequestState
	}
	return unknown
}

func foldedParams(name []byte) field {
	switch string(name) {
	case "meta":
		return fieldMeta
	case "requestid":
		return fieldRequestID
	case "protocolversion":
		return fieldProtocolVersion
	case "clientinfo":
		return fieldClientInfo
	case "progresstoken":
		return fieldParamsProgressToken
	case "taskid":
		return fieldTaskID
	case "inputresponses":
		return fieldInputResponses
	case "requeststate":
		return fieldRequestState
	}
	return paramsField(name)
}

// Fields of params._meta.
const (
	fieldProgressToken field = iota + 1
	fieldMetaVersion
	fieldMetaCapabilities
	fieldMetaClientInfo
	fieldMetaLogLevel
)

// Names in params._meta that the modern era brought (SEP-2575).
const (
	MetaProtocolVersion    = "io.modelcontextprotocol/protocolVersion"
	MetaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaClientInfo         = "io.modelcontextprotocol/clientInfo"
	MetaLogLevel           = "io.modelcontextprotocol/logLevel"
	MetaSubscriptionID     = "io.modelcontextprotocol/subscriptionId"
	MetaServerInfo         = "io.modelcontextprotocol/serverInfo" // of results
)

func metaField(name []byte) field {
	switch string(name) {
	case "progressToken":
		return fieldProgressToken
	case MetaProtocolVersion:
		return fieldMetaVersion
	case MetaClientCapabilities:
		return fieldMetaCapabilities
	case MetaClientInfo:
		return fieldMetaClientInfo
	case MetaLogLevel:
		return fieldMetaLogLevel
	}
	return unknown
}

func foldedMeta(name []byte) field {
	switch string(name) {
	case "progresstoken":
		return fieldProgressToken
	case "io.modelcontextprotocol/protocolversion":
		return fieldMetaVersion
	case "io.modelcontextprotocol/clientcapabilities":
		return fieldMetaCapabilities
	case "io.modelcontextprotocol/clientinfo":
		return fieldMetaClientInfo
	case "io.modelcontextprotocol/loglevel":
		return fieldMetaLogLevel
	}
	return unknown
}

// methodVariant tells whether an unknown method is a known one for a lenient reader: other case, space around it.
func methodVariant(m []byte) bool {
	for len(m) > 0 && (m[0] <= ' ' || m[0] == '/') {
		m = m[1:]
	}
	for len(m) > 0 && (m[len(m)-1] <= ' ' || m[len(m)-1] == '/') {
		m = m[:len(m)-1]
	}
	var buf [maxFolded]byte
	f, ok := fold(&buf, m)
	if !ok {
		return false
	}
	if intern(f) != "" {
		return true
	}
	switch string(f) { // those with capitals or underscores of their own
	case "logging/setlevel", "sampling/createmessage", "notifications/roots/listchanged", "notifications/tools/listchanged",
		"notifications/prompts/listchanged", "notifications/resources/listchanged":
		return true
	}
	return false
}
