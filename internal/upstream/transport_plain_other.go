//go:build !unix

package upstream

import (
	"context"
	"net"
)

// newPlain is rest itself: there is no portable way to see whether an idle connection is still open.
func newPlain(_ func(ctx context.Context, network, address string) (net.Conn, error), rest transport) transport {
	return rest
}

// plainBody is nothing here: bodies are those of rest.
type plainBody struct{}
