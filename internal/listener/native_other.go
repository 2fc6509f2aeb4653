//go:build !unix

package listener

// native: connections cannot be looked at without reading from them, so net/http has them all.
const native = false

func peek(uintptr, []byte) (nothing, gone bool) { return false, false }
