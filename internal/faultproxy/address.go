package faultproxy

import (
	"net"
	"strconv"
	"testing"
)

func split(t testing.TB, addr string) (string, int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("split %q: %v", addr, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatalf("split %q: %v", addr, err)
	}
	return host, n
}

func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
