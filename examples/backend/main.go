// Command backend is the demo backend that the example registry points at: a small HTTP API and a small MCP
// server in one process. It must never be more than a demo: it keeps everything in memory, its keys are
// public, and it belongs on loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], log.Printf); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then lets calls in flight finish. It tells logf where it listens, so that
// addresses with port 0 can be used.
func run(ctx context.Context, args []string, logf func(format string, args ...any)) error {
	flags := flag.NewFlagSet("backend", flag.ContinueOnError)
	httpAddr := flags.String("http", "127.0.0.1:8810", "address of the HTTP API (pets and orders); empty for none")
	mcpAddr := flags.String("mcp", "127.0.0.1:8811", "address of the MCP server, path /mcp; empty for none")
	sessions := flags.Bool("sessions", false, "give every MCP client a session (then revision 2026-07-28 is not spoken)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	var servers []*server
	defer func() {
		for _, s := range servers {
			s.close()
		}
	}()
	for _, want := range []struct {
		name, addr, path string
		handler          http.Handler
	}{
		{"HTTP API", *httpAddr, "", newShop()},
		{"MCP server", *mcpAddr, "/mcp", newMCP(*sessions)},
	} {
		if want.addr == "" {
			continue
		}
		s, err := listen(want.addr, want.handler)
		if err != nil {
			return fmt.Errorf("start %s: %w", want.name, err)
		}
		servers = append(servers, s)
		logf("backend: %s on http://%s%s", want.name, s.addr, want.path)
	}
	if len(servers) == 0 {
		return errors.New("nothing to serve: give --http or --mcp an address")
	}

	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.wait() }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// server is one listener with its HTTP server.
type server struct {
	addr string
	http *http.Server
	done chan struct{} // closed when Serve returned, err is set by then
	err  error
}

func listen(addr string, h http.Handler) (*server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &server{
		addr: l.Addr().String(),
		http: &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
		}
	}()
	return s, nil
}

func (s *server) wait() error {
	<-s.done
	return s.err
}

// close gives calls in flight three seconds, then cuts what is left: a client may hold an event stream open.
func (s *server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}
