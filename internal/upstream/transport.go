package upstream

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// transport sends one request on a pooled connection. It is the seam for a client other than http.Transport, which has
// to keep these promises: a request is never sent twice, errors before anything was sent are a *dialError, cancelling
// the request's context ends it and the reading of its body, and a connection with a fault is not used again.
type transport interface {
	RoundTrip(*http.Request) (*http.Response, error)
	CloseIdleConnections()
}

// pool is the connections of one TLS identity, shared by the services that have it.
type pool struct {
	id   identity
	rt   transport
	refs int // guarded by Upstreams.mu
}

// identity is all that makes connections of two services differ. The files are known by their content, so that a
// definition opened again after a certificate was renewed gets new connections.
type identity struct {
	ca, cert, key string
	files         [sha256.Size]byte
	serverName    string
	skipVerify    bool
}

func identify(t *registry.TLS) (identity, error) {
	if t == nil || *t == (registry.TLS{}) {
		return identity{}, nil
	}
	id := identity{ca: t.CA, cert: t.Cert, key: t.Key, serverName: t.ServerName, skipVerify: t.SkipVerify}
	h := sha256.New()
	for _, f := range []string{t.CA, t.Cert, t.Key} {
		if f == "" {
			continue
		}
		content, err := os.ReadFile(f)
		if err != nil {
			return identity{}, fmt.Errorf("read TLS file: %w", err)
		}
		fmt.Fprintf(h, "%d:", len(content))
		h.Write(content)
	}
	id.files = [sha256.Size]byte(h.Sum(nil))
	return id, nil
}

func (id identity) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         id.serverName,
		InsecureSkipVerify: id.skipVerify,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(256),
	}
	if id.ca != "" {
		pem, err := os.ReadFile(id.ca)
		if err != nil {
			return nil, fmt.Errorf("read TLS file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read TLS file %s: no certificate in it", id.ca)
		}
	}
	if id.cert != "" || id.key != "" {
		pair, err := tls.LoadX509KeyPair(id.cert, id.key)
		if err != nil {
			return nil, fmt.Errorf("load TLS client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// dialError marks a failure to connect: nothing of the request was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func (u *Upstreams) newTransport(id identity) (transport, error) {
	conf, err := id.config()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout:        u.o.DialTime,
		KeepAlive:      30 * time.Second,
		Resolver:       u.o.Resolver,
		ControlContext: u.guard.control,
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, &dialError{err}
		}
		return c, nil
	}
	// The handshake is ours so that its failures, too, are known to have sent nothing.
	dialTLS := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conf := conf
		if conf.ServerName == "" {
			conf = conf.Clone()
			conf.ServerName, _, _ = net.SplitHostPort(address)
		}
		tc := tls.Client(c, conf)
		ctx, cancel := context.WithTimeout(ctx, u.o.DialTime)
		defer cancel()
		if err := tc.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, &dialError{err}
		}
		return tc, nil
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  nil, // never from the environment: the guard would judge the proxy's address instead
		DialContext:            dial,
		DialTLSContext:         dialTLS,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        60 * time.Second,
		DisableCompression:     true, // decoding is done here, within limits
		MaxResponseHeaderBytes: 256 << 10,
	}, nil
}
