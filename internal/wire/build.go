package wire

import (
	"strconv"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// AppendResult adds a JSON-RPC response with a result, both given as raw JSON.
func AppendResult(dst, id, result []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"result":`...)
	dst = append(dst, result...)
	return append(dst, '}')
}

// AppendError adds a JSON-RPC error response. id and data are raw JSON; nil data are left out, and nil stands for an id that
// is not known. That is null, as JSON-RPC 2.0 has it: clients on Python's mcp 2 take an error without id for none and tell
// nothing of it. MCP would have such an error without id (2025-11-25, Transports), and its schema takes no null; but these
// errors only come with an HTTP status that is one, where the clients of the TypeScript SDKs do not hold them against it.
func AppendError(dst, id []byte, code int, message string, data []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	if id == nil {
		dst = append(dst, "null"...)
	}
	dst = append(dst, id...)
	dst = append(dst, `,"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	dst = jsontext.AppendString(dst, message)
	if data != nil {
		dst = append(dst, `,"data":`...)
		dst = append(dst, data...)
	}
	return append(dst, '}', '}')
}

// AppendNotification adds a notification; params is raw JSON and left out if nil.
func AppendNotification(dst []byte, method string, params []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","method":`...)
	dst = jsontext.AppendString(dst, method)
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
