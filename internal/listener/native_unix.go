//go:build unix

package listener

import "syscall"

// native: connections can be looked at without reading from them.
const native = true

// peek tells what a connection has for us: still nothing, something to read, or its end.
func peek(fd uintptr, one []byte) (nothing, gone bool) {
	for {
		n, _, err := syscall.Recvfrom(int(fd), one, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN || err == syscall.EWOULDBLOCK:
			return true, false
		default:
			return false, n <= 0
		}
	}
}
