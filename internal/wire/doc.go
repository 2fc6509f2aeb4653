// Package wire reads and writes JSON-RPC and MCP messages as bytes: the envelope, the revisions, the refusals, tool lists
// and SSE framing. It must never do I/O of its own, nor show the proxy a method, name or id that another parser of the
// same bytes would not see.
package wire
