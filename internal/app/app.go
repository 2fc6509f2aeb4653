// Package app is the composition root: it builds the parts from the boot configuration, runs them and drains them.
// It must never hold logic of its own that another room could hold.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/certfile"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/gateway"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/listener"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
)

// App is a running proxy. Start makes one.
type App struct {
	config  config.Config
	host    Host
	version string
	log     *slog.Logger
	started time.Time
	replica string

	feeds     *feeds
	kept      keeper
	catalog   *catalog.Catalog
	upstreams *upstream.Upstreams
	relay     *relay.Relay
	gateway   *gateway.Gateway
	audit     *auditFile     // nil: none
	auditLog  *gateway.Audit // writes to audit
	metrics   *prometheus.Registry

	memory             *budget.Memory
	descriptors        *budget.Descriptors
	connections        atomic.Int64 // the most of clients; 0: no bound
	openConnections    func() int64
	refusedConnections atomic.Int64
	refusedPerAddress  func() int64

	listener, adminListener net.Listener
	server                  *listener.Server
	adminServer             *http.Server
	serving                 sync.WaitGroup
	failed                  chan error
	draining                atomic.Bool
	registered              atomic.Bool
	lastChange              atomic.Int64
	certificates            []*certfile.Current // set before anything is served
	background              context.CancelFunc
	tasks                   sync.WaitGroup
}

// Run starts a proxy, serves until ctx ends, and drains. ready, if not nil, is told the address clients reach. SIGHUP
// opens the audit file anew. The process is taken to be the proxy's own: its garbage collector is set by need.
func Run(ctx context.Context, cfg config.Config, version string, log *slog.Logger, ready func(net.Addr)) error {
	a, err := Start(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	defer a.paceCollector()()
	if ready != nil {
		ready(a.Addr())
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return a.Drain()
		case err := <-a.failed:
			return errors.Join(err, a.Drain())
		case <-hangup:
			a.Reopen()
		}
	}
}

// Host is what an App has around it. Fields that are nil mean the host's network and disk.
type Host struct {
	Listen func(network, address string) (net.Listener, error)
	// Nacos and Backend connect to an address of Nacos's and of a backend's. Backends that may not be dialled are refused
	// before.
	Nacos, Backend func(ctx context.Context, network, address string) (net.Conn, error)
	// Disk is asked before each write of the store, which its error fails.
	Disk func() error
}

// Start listens and serves; it does not wait for the source. ctx bounds the start, not the App's life: end it with
// Drain.
func Start(ctx context.Context, cfg config.Config, version string, log *slog.Logger) (*App, error) {
	return StartOn(ctx, Host{}, cfg, version, log)
}

// StartOn is Start with a host of the caller's, such as a network in memory.
func StartOn(ctx context.Context, host Host, cfg config.Config, version string, log *slog.Logger) (*App, error) {
	if host.Listen == nil {
		host.Listen = net.Listen
	}
	a := &App{
		host:   host,
		config: cfg, version: version, log: log, started: time.Now(), failed: make(chan error, 2),
		metrics: prometheus.NewRegistry(), replica: replicaID(),
	}
	background, cancel := context.WithCancel(context.Background())
	a.background = cancel
	if err := a.build(ctx); err != nil {
		_ = a.Drain()
		return nil, err
	}
	if err := a.listen(); err != nil {
		_ = a.Drain()
		return nil, err
	}
	a.follow(background)
	return a, nil
}

// Addr is where clients reach the proxy.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// AdminAddr is where operators reach it.
func (a *App) AdminAddr() net.Addr { return a.adminListener.Addr() }

// Reopen opens the audit file anew, after it was moved away.
func (a *App) Reopen() {
	if a.audit == nil {
		return
	}
	if err := a.audit.reopen(); err != nil {
		a.log.Error("the audit file could not be opened anew; lines go on into the old one", "error", err)
	}
}

// Ready tells whether calls can be served.
func (a *App) Ready() bool { return !a.draining.Load() && a.catalog.Index().Synced() }

func (a *App) listen() error {
	var err error
	if a.listener, err = a.host.Listen("tcp", a.config.Listen); err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	if a.adminListener, err = a.host.Listen("tcp", a.config.Admin.Listen); err != nil {
		return fmt.Errorf("listen for operators: %w", err)
	}
	a.bound()
	tlsConfig, err := a.tlsConfig()
	if err != nil {
		return err
	}
	clients := a.newServer(a.gateway)
	clients.TLSConfig = tlsConfig
	a.server = listener.New(clients)
	a.server.WriteTime = a.config.Limits.WriteTime
	a.adminServer = a.newServer(a.adminHandler())
	a.adminServer.ReadTimeout = a.config.Limits.BodyTime // its answers need no body, and are short
	a.adminServer.WriteTimeout, a.adminServer.IdleTimeout = adminWriteTime, adminIdle
	// One request at a time: what a connection holds is not to be a hundredfold.
	a.adminServer.Protocols.SetHTTP2(false)
	a.adminServer.Protocols.SetUnencryptedHTTP2(false)
	a.serve("clients", a.server, a.listener, tlsConfig != nil)
	a.serve("operators", a.adminServer, a.adminListener, false)
	return nil
}

// Bounds of one client's connection; the last two over HTTP/2.
const (
	clientHead       = 64 << 10        // bytes of a request's head
	clientIdle       = 2 * time.Minute // between requests
	maxStreams       = 100             // requests at once
	connectionWindow = 256 << 10       // bytes of their bodies that nobody has read
)

const (
	// adminWriteTime is how long an answer to an operator may take, profiles included.
	adminWriteTime = 2 * time.Minute
	// adminConnections are the most connections of operators. They are never among those that clients can use up.
	adminConnections = 32
	// adminPerAddress are those from one address, so that nobody who reaches the listener keeps probes and operators out.
	adminPerAddress = 16
	// adminIdle is how long they may be unused.
	adminIdle = 30 * time.Second
)

// bound gives both listeners their bounds on connections.
func (a *App) bound() {
	total := a.config.Limits.Connections
	if most := a.descriptors.Most(); total == 0 || most > 0 && total > most {
		if total > most {
			a.log.Warn("limits.connections is more than the files that the process may have open allow", "set", total, "allowed", most)
		}
		total = most
	}
	each := a.config.Limits.ConnectionsPerAddress
	if each == 0 {
		each = (total + 1) / 2
	}
	a.connections.Store(int64(total))
	var open atomic.Int64
	clients := listener.NewBounded(a.listener, listener.Bound{
		Take: func() bool {
			if n := open.Add(1); total > 0 && n > int64(total) || !a.descriptors.Take(budget.Clients) {
				open.Add(-1)
				a.refusedConnections.Add(1)
				return false
			}
			return true
		},
		Release: func() {
			open.Add(-1)
			a.descriptors.Release(budget.Clients)
		},
		PerAddress: each, Exempt: a.config.HTTP.TrustedProxies,
	})
	a.openConnections = open.Load
	a.refusedPerAddress = clients.Refused
	a.listener = clients
	var operators atomic.Int64
	a.adminListener = listener.NewBounded(a.adminListener, listener.Bound{
		Take: func() bool {
			if operators.Add(1) > adminConnections {
				operators.Add(-1)
				return false
			}
			return true
		},
		Release: func() { operators.Add(-1) }, PerAddress: adminPerAddress,
	})
}

// newServer bounds what a client can hold open without sending: headers by time, idle connections by time. Bodies and
// streams are the handler's to bound.
func (a *App) newServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: a.config.Limits.HeaderTime, IdleTimeout: clientIdle, MaxHeaderBytes: clientHead,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: connectionWindow, WriteByteTimeout: a.config.Limits.WriteTime},
		Protocols: protocols, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// server is what an http.Server and a listener.Server have in common.
type server interface {
	Serve(net.Listener) error
	ServeTLS(l net.Listener, cert, key string) error
}

func (a *App) serve(who string, s server, l net.Listener, secure bool) {
	a.serving.Go(func() {
		var err error
		if secure {
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(l)
		}
		if err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve %s: %w", who, err)
		}
	})
}

// tlsConfig returns what the client listener negotiates with, nil without TLS. Files that change are taken anew: a handshake
// uses what was read last.
func (a *App) tlsConfig() (*tls.Config, error) {
	c := a.config.TLS
	if c.Cert == "" {
		return nil, nil
	}
	var current atomic.Pointer[tls.Config]
	files, err := certfile.Load(certfile.Files{Use: "tls", Cert: c.Cert, Key: c.Key, CA: c.ClientCA, CAField: "clientCA"}, a.log, func(m *certfile.Material) {
		t := &tls.Config{Certificates: []tls.Certificate{*m.Pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
		if m.CAs != nil {
			t.ClientCAs, t.ClientAuth = m.Pool(nil), tls.RequireAndVerifyClientCert
			// A session that goes on is not verified anew by each version of Go, and an authority may have been taken away.
			t.SessionTicketsDisabled = true
		}
		current.Store(t)
	})
	if err != nil {
		return nil, err
	}
	a.certificates = append(a.certificates, files)
	first := current.Load().Clone()
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }
	return first, nil
}

// Drain ends the proxy: no new calls, streams closed, calls in flight given the drain time. It is safe after a start
// that failed half-way.
func (a *App) Drain() error {
	if a.draining.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.config.Limits.Drain)
	defer cancel()
	a.deregister(ctx)
	a.background()
	if a.gateway != nil {
		a.gateway.Close()
	}
	if a.relay != nil {
		a.relay.Drain()
	}
	var err error
	if a.server != nil {
		if err = a.server.Shutdown(ctx); err != nil {
			err = fmt.Errorf("drain: %d requests were cut off after %s", a.gateway.Active(), a.config.Limits.Drain)
		}
	}
	if a.relay != nil {
		a.relay.Close() // what is still open is told before it is cut off
	}
	if err != nil {
		_ = a.server.Close()
	}
	if a.adminServer != nil {
		_ = a.adminServer.Close()
	}
	for _, l := range []net.Listener{a.listener, a.adminListener} {
		if l != nil {
			_ = l.Close()
		}
	}
	a.serving.Wait()
	a.tasks.Wait()
	a.closeParts()
	return err
}

func (a *App) closeParts() {
	if a.feeds != nil {
		a.feeds.close()
	}
	if a.catalog != nil {
		a.catalog.Close()
	}
	if a.upstreams != nil {
		a.upstreams.Close()
	}
	a.kept.close()
	if a.auditLog != nil {
		a.auditLog.Close()
	}
	if a.audit != nil {
		_ = a.audit.Close()
	}
}
