package wire

import (
	"strconv"
	"unicode/utf8"
)

// AppendResult adds a JSON-RPC response with a result, both given as raw JSON.
func AppendResult(dst, id, result []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"result":`...)
	dst = append(dst, result...)
	return append(dst, '}')
}

// AppendError adds a JSON-RPC error response. id and data are raw JSON; either is left out if nil. JSON-RPC 2.0 would have
// null for an id that is not known, where MCP has none (2025-11-25, Transports, "an error response that has no id") and
// its schema does not take null.
func AppendError(dst, id []byte, code int, message string, data []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if id != nil {
		dst = append(dst, `"id":`...)
		dst = append(append(dst, id...), ',')
	}
	dst = append(dst, `"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, message)
	if data != nil {
		dst = append(dst, `,"data":`...)
		dst = append(dst, data...)
	}
	return append(dst, '}', '}')
}

// AppendNotification adds a notification; params is raw JSON and left out if nil.
func AppendNotification(dst []byte, method string, params []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","method":`...)
	dst = AppendString(dst, method)
	if params != nil {
		dst = append(dst, `,"params":`...)
		dst = append(dst, params...)
	}
	return append(dst, '}')
}

// AppendToolsListChanged adds the notification that the tools changed. subscription is the raw id of the modern
// subscriptions/listen request it belongs to; nil in the legacy era.
func AppendToolsListChanged(dst, subscription []byte) []byte {
	if subscription == nil {
		return append(dst, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`...)
	}
	dst = append(dst, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":`...)
	dst = append(dst, subscription...)
	return append(dst, `}}}`...)
}

// AppendListenEnd adds the result of a subscriptions/listen request, by which a server ends the subscription in order
// (2026-07-28, SubscriptionsListenResult). id is the request's, raw.
func AppendListenEnd(dst, id []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"result":{"resultType":"complete","_meta":{"`+MetaSubscriptionID+`":`...)
	dst = append(dst, id...)
	return append(dst, `}}}`...)
}

const hexDigits = "0123456789abcdef"

// AppendString adds s as a JSON string. Invalid UTF-8 becomes U+FFFD; U+2028 and U+2029 are escaped for JavaScript's sake.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := decodeRune(s[i:])
			if !(r == utf8.RuneError && n == 1) && r != '\u2028' && r != '\u2029' {
				i += n
				continue
			}
			dst = append(dst, s[start:i]...)
			switch r {
			case '\u2028':
				dst = append(dst, `\u2028`...)
			case '\u2029':
				dst = append(dst, `\u2029`...)
			default:
				dst = append(dst, "\ufffd"...)
			}
			i += n
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func decodeRune[T string | []byte](s T) (rune, int) {
	var b [utf8.UTFMax]byte
	n := copy(b[:], s)
	return utf8.DecodeRune(b[:n])
}

// Results that a service without resources and prompts gives, and one that has nothing to say.
var (
	emptyLegacy = map[string][]byte{
		MethodPing:                  []byte(`{}`),
		MethodSetLevel:              []byte(`{}`),
		MethodToolsList:             []byte(`{"tools":[]}`),
		MethodResourcesList:         []byte(`{"resources":[]}`),
		MethodResourceTemplatesList: []byte(`{"resourceTemplates":[]}`),
		MethodPromptsList:           []byte(`{"prompts":[]}`),
	}
	emptyModern = map[string][]byte{
		MethodToolsList:             []byte(`{"resultType":"complete","tools":[],"ttlMs":0,"cacheScope":"private"}`),
		MethodResourcesList:         []byte(`{"resultType":"complete","resources":[],"ttlMs":0,"cacheScope":"private"}`),
		MethodResourceTemplatesList: []byte(`{"resultType":"complete","resourceTemplates":[],"ttlMs":0,"cacheScope":"private"}`),
		MethodPromptsList:           []byte(`{"resultType":"complete","prompts":[],"ttlMs":0,"cacheScope":"private"}`),
	}
)

// EmptyResult is the raw result of a method that has nothing to list or to say; nil for a method that has no such answer
// in that era. It must not be changed.
func EmptyResult(method string, modern bool) []byte {
	if modern {
		return emptyModern[method]
	}
	return emptyLegacy[method]
}
