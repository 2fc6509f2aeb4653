// Package convert turns an MCP tool call into the HTTP request its author meant, and the HTTP response into a tool result.
// It must never do I/O, and never let an argument choose where a request goes or a credential reach a client.
package convert
