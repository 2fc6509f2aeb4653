// Package relay carries a client's messages to an MCP backend and the backend's answers back, byte for byte but for what
// the client may not see. It must never decide who may do what, and never let a client's key, or bytes it could not read
// for a client that may see only part, pass through.
package relay
