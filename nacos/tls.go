package nacos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/certfile"
)

// tlsFiles is what connections are negotiated with; files that change are taken anew. A nil one is for plain connections.
type tlsFiles struct {
	files   *certfile.Current // nil: no file is named
	current atomic.Pointer[tls.Config]
}

// load reads the files; nil where TLS is off.
func (t TLS) load(log *slog.Logger) (*tlsFiles, error) {
	if !t.Enabled {
		return nil, nil
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("nacos.tls.cert and nacos.tls.key belong together: set both or none")
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("load system certificates: %w", err)
	}
	f := &tlsFiles{}
	take := func(m *certfile.Material) {
		cfg := &tls.Config{RootCAs: m.Pool(system.Clone()), MinVersion: tls.VersionTLS12}
		if m.Pair != nil {
			cfg.Certificates = []tls.Certificate{*m.Pair}
		}
		f.current.Store(cfg)
	}
	if t.CA == "" && t.Cert == "" {
		take(&certfile.Material{})
		return f, nil
	}
	f.files, err = certfile.Load(certfile.Files{Use: "nacos.tls", Cert: t.Cert, Key: t.Key, CA: t.CA, CAField: "ca"}, log, take)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// config returns what the next connection is negotiated with, nil for a plain one.
func (f *tlsFiles) config() *tls.Config {
	if f == nil {
		return nil
	}
	return f.current.Load()
}

// tlsHandshake bounds negotiating an HTTP connection.
const tlsHandshake = 5 * time.Second

// dialer returns a dial that negotiates each connection with the files of that moment.
func (f *tlsFiles) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		cfg := f.config().Clone()
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			nc.Close()
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, tlsHandshake)
		defer cancel()
		secure := tls.Client(nc, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		return secure, nil
	}
}

// Certificates returns how the TLS files stand; false where there are none.
func (c *Client) Certificates() (certfile.State, bool) {
	if c.tls == nil || c.tls.files == nil {
		return certfile.State{}, false
	}
	return c.tls.files.State(), true
}
