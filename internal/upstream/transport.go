package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// transport sends one request on a pooled connection. Every one keeps these promises: a request is never sent twice,
// errors before anything was sent are a *dialError, the end of the exchange's clock ends it and the reading of its body,
// and a connection with a fault is not used again. The answer is that of the exchange. Nothing of the message is used after
// its return, but for the body where it says that it is kept.
type transport interface {
	roundTrip(*exchange, *message) (*answer, error)
	CloseIdleConnections()
}

// message is one request on the wire.
type message struct {
	method string
	url    *url.URL
	host   string // replaces the URL's in the Host field; may be empty
	header http.Header
	body   []byte
	stream bool
	lent   http.Header // a map for the answer's header; nil: there is none
	kept   bool        // the body may still be read after roundTrip
}

// answer is what a transport has read of an answer.
type answer struct {
	status int
	header http.Header
	length int64 // -1: unknown
	body   io.ReadCloser
}

// standard is http.Transport.
type standard struct{ *http.Transport }

// roundTrip copies what a connection's writing goroutine may look at after an early answer, but for the body.
func (t standard) roundTrip(k *exchange, m *message) (*answer, error) {
	u := *m.url
	req := (&http.Request{
		Method: m.method, URL: &u, Host: m.host, Header: maps.Clone(m.header),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(&k.clock)
	m.kept = true
	setBody(req, m.body, m.stream)
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// http.Transport hands the raw connection out as the body of a 101: neither the end of the context nor a deadline would
	// end its reading.
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, errSwitched
	}
	if resp.StatusCode < 100 {
		resp.Body.Close()
		return nil, errStatus
	}
	return k.answered(resp), nil
}

var (
	errNoPlace  = errors.New("no descriptor is left for a connection to a backend")
	errSwitched = errors.New("backend switched protocols without being asked to")
	errStatus   = errors.New("backend answered with a status below 100")
)

// answered notes what net/http has read.
func (k *exchange) answered(r *http.Response) *answer {
	k.answer = answer{status: r.StatusCode, header: r.Header, length: r.ContentLength, body: r.Body}
	return &k.answer
}

// Bounds of connections. Idle ones: how many in all and to one host, and for how long.
const (
	maxHeader      = 256 << 10 // bytes of an answer's header
	streamWindow   = 256 << 10 // bytes of an answer over HTTP/2 that are read ahead
	maxIdle        = 4096
	maxIdlePerHost = 512
	idleTime       = 60 * time.Second
)

// pool is the connections of one TLS identity, shared by the services that have it.
type pool struct {
	id   identity
	rt   transport
	refs int // guarded by Upstreams.mu
	conf atomic.Pointer[tls.Config]
	done chan struct{} // closed when nobody uses the pool any more; nil where no file is named
}

// tlsEvery is the time between two looks at the TLS files of backends in use.
const tlsEvery = 2 * time.Second

// unfollow ends follow. Upstreams.mu is held.
func (p *pool) unfollow() {
	if p.done != nil {
		close(p.done)
		p.done = nil
	}
}

// follow takes TLS files anew that change while the pool is used. What is not whole leaves those of before in force.
func (p *pool) follow(done <-chan struct{}, files TLSFiles, t *registry.TLS, now [sha256.Size]byte, log *slog.Logger) {
	ticker := time.NewTicker(tlsEvery)
	defer ticker.Stop()
	for logged := ""; ; {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		m, err := files.load(t)
		if err != nil {
			m, err = files.load(t) // the files may have been replaced between two reads
		}
		problem := ""
		switch {
		case err != nil:
			if problem = err.Error(); problem != logged {
				log.Error("TLS files of a backend cannot be taken anew: those of before stay in force", "ca", t.CA, "cert", t.Cert, "key", t.Key, "error", err)
			}
		case m.digest != now:
			now = m.digest
			p.conf.Store(p.id.config(m))
			p.rt.CloseIdleConnections() // they are of before
			log.Info("TLS files of a backend were taken anew", "ca", t.CA, "cert", t.Cert, "key", t.Key)
		}
		logged = problem
	}
}

// identity is all that makes connections of two services differ. The files are known by their content, so that a
// definition opened again after a certificate was renewed gets new connections.
type identity struct {
	ca, cert, key string
	files         [sha256.Size]byte
	serverName    string
	skipVerify    bool
}

func identify(t *registry.TLS, m *tlsMaterial) identity {
	if t == nil {
		return identity{}
	}
	return identity{ca: t.CA, cert: t.Cert, key: t.Key, files: m.digest, serverName: t.ServerName, skipVerify: t.SkipVerify}
}

func (id identity) config(m *tlsMaterial) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         id.serverName,
		InsecureSkipVerify: id.skipVerify,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(256),
		RootCAs:            m.roots,
		Certificates:       m.certificates,
	}
}

// dialError marks a failure to connect: nothing of the request was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func (u *Upstreams) newTransport(current func() *tls.Config) transport {
	dialer := &net.Dialer{
		Timeout:        u.o.DialTime,
		KeepAlive:      30 * time.Second,
		Resolver:       u.o.Resolver,
		ControlContext: u.guard.control,
	}
	connect := dialer.DialContext
	if u.o.Dial != nil {
		connect = func(ctx context.Context, network, address string) (net.Conn, error) {
			if err := u.guard.control(ctx, network, address, nil); err != nil {
				return nil, err
			}
			return u.o.Dial(ctx, network, address)
		}
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if !u.place() {
			return nil, &dialError{errNoPlace}
		}
		c, err := connect(ctx, network, address)
		tcp, ok := c.(*net.TCPConn)
		if err != nil || !ok {
			u.o.Descriptors.Release(budget.Backends)
		}
		if err != nil {
			return nil, &dialError{err}
		}
		if !ok {
			return c, nil
		}
		return &placed{TCPConn: tcp, of: u.o.Descriptors}, nil
	}
	// The handshake is ours so that its failures, too, are known to have sent nothing.
	dialTLS := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conf := current()
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
	rest := standard{&http.Transport{
		Proxy:          nil, // never from the environment: the guard would judge the proxy's address instead
		DialContext:    dial,
		DialTLSContext: dialTLS,
		Protocols:      protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second,
			MaxReceiveBufferPerStream: streamWindow, // it is 4 MiB, of each answer that nobody reads
		},
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTime,
		DisableCompression:     true, // decoding is done here, within limits
		MaxResponseHeaderBytes: maxHeader,
	}}
	if u.o.Dial != nil {
		return rest // what it returns may have no descriptor
	}
	return newPlain(dial, rest)
}

// setBody gives req its body, in a way that lets http.Transport send again only what it never wrote: it takes GET and
// the like, and anything with an idempotency key, for replayable if it can get the body twice.
func setBody(req *http.Request, body []byte, stream bool) {
	replayable := req.Header["Idempotency-Key"] != nil || req.Header["X-Idempotency-Key"] != nil
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		replayable = true
	}
	if len(body) == 0 {
		if replayable && !stream {
			req.Body, req.ContentLength = io.NopCloser(eof{}), -1
		} else if req.Method != http.MethodGet && req.Method != http.MethodHead {
			req.Body = http.NoBody
		}
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.ContentLength = int64(len(body))
	if !replayable {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
}

// eof is an empty body that http.Transport does not know to be empty.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
