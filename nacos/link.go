package nacos

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/http_agent"
	"github.com/nacos-group/nacos-sdk-go/v2/common/nacos_server"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	// requestTimeout is when a request counts as unanswered. The SDK then gives up the whole connection.
	requestTimeout = 5 * time.Second
	// aliveEvery is the silence after which the server is asked whether it still knows us; only that tells a
	// connection whose push stream died quietly from a quiet one.
	aliveEvery   = 1500 * time.Millisecond
	aliveTimeout = 2500 * time.Millisecond
	probeTimeout = 1500 * time.Millisecond
	attendEvery  = 50 * time.Millisecond
	startTimeout = 4 * time.Second
	// Pauses between attempts to connect: doubled from the first to the last, each times 0.5 to 1.5.
	minPause = 100 * time.Millisecond
	maxPause = time.Second
)

// sdk guards every creation and every end of an SDK client: they share a map without a lock, which ends the
// process when two goroutines meet in it.
var sdk sync.Mutex

var linkNumber atomic.Uint64

// link keeps one gRPC connection to the cluster up, on the SDK's rpc client.
//
// Each SDK client is used for a single connection. The SDK's own reconnecting is switched off (by ending its
// context once it is connected) because it races with requests, can come back to life after Shutdown, and never
// changes what it began with; a new client is made instead, after the server was seen to answer.
type link struct {
	c         *Client
	module    string // "config" or "naming": Nacos keeps instances only for connections that say "naming"
	namespace string
	tls       *tls.Config
	handle    func(*rpc.RpcClient)               // registers what the server may push
	changed   func(up bool, a string, err error) // called by one goroutine, in order

	cancel context.CancelFunc
	ctx    context.Context
	done   chan struct{}
	last   atomic.Pointer[error]

	mu    sync.Mutex
	cur   *conn
	ready chan struct{} // closed while there is a connection
}

// conn is one connection; it is never revived.
type conn struct {
	rpc        *rpc.RpcClient
	generation uint64
	address    string
	used       atomic.Int64 // unix nanoseconds of the last answer
	reset      chan struct{}
	resetOnce  sync.Once
}

func newLink(c *Client, module, namespace string, tlsConfig *tls.Config) *link {
	l := &link{c: c, module: module, namespace: namespace, tls: tlsConfig, done: make(chan struct{}), ready: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	return l
}

func (l *link) start() { go l.run() }

// stop ends the link and waits for it.
func (l *link) stop() {
	l.cancel()
	<-l.done
}

// current is the connection, or nil.
func (l *link) current() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur
}

// await gives a connection, waiting for one up to connectWait.
func (l *link) await(ctx context.Context) (*conn, error) {
	timer := time.NewTimer(connectWait)
	defer timer.Stop()
	for {
		l.mu.Lock()
		cur, ready := l.cur, l.ready
		l.mu.Unlock()
		if cur != nil {
			return cur, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-l.ctx.Done():
			return nil, fmt.Errorf("%w: client closed", ErrUnavailable)
		case <-timer.C:
			if err := l.last.Load(); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, *err)
			}
			return nil, fmt.Errorf("%w: not connected", ErrUnavailable)
		}
	}
}

func (l *link) set(c *conn) {
	l.mu.Lock()
	l.cur = c
	if c != nil {
		close(l.ready)
	} else {
		l.ready = make(chan struct{})
	}
	l.mu.Unlock()
}

func (l *link) run() {
	defer close(l.done)
	pause := minPause
	for l.ctx.Err() == nil {
		began := time.Now()
		c, err := l.open()
		if err == nil {
			l.last.Store(nil)
			l.c.auth.reconnected()
			l.set(c)
			l.changed(true, c.address, nil)
			err = l.attend(c)
			l.set(nil)
			c.close()
		}
		if l.ctx.Err() != nil {
			break
		}
		l.last.Store(&err)
		l.changed(false, "", err)
		if time.Since(began) > 5*time.Second {
			pause = minPause
		}
		sleep(l.ctx, jitter(pause))
		pause = min(2*pause, maxPause)
	}
}

// jitter spreads what many replicas would otherwise do at the same moment: 0.5 to 1.5 times d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// attend returns when the connection is no longer of use, with the reason.
func (l *link) attend(c *conn) error {
	// The SDK tells nobody when a stream ends, it only changes its state.
	ticker := time.NewTicker(attendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return l.ctx.Err()
		case <-c.reset:
			return errors.New("server asked to connect anew")
		case <-ticker.C:
		}
		if !c.rpc.IsRunning() {
			return errors.New("connection lost")
		}
		if time.Since(time.Unix(0, c.used.Load())) < aliveEvery {
			continue
		}
		if _, err := c.request(l.ctx, rpc_request.NewHealthCheckRequest(), aliveTimeout); err != nil {
			return fmt.Errorf("server no longer answers: %w", err)
		}
	}
}

// open makes one connection to the first member that answers.
func (l *link) open() (*conn, error) {
	var failures []error
	first := rand.IntN(len(l.c.servers))
	for i := range l.c.servers {
		s := l.c.servers[(first+i)%len(l.c.servers)]
		// The SDK would try for up to half a minute, deaf to Shutdown meanwhile; so it gets to see only a server
		// that answers.
		err := l.probe(s)
		if err == nil {
			var c *conn
			if c, err = l.dial(s); err == nil {
				return c, nil
			}
		}
		if l.ctx.Err() != nil {
			return nil, l.ctx.Err()
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.grpc(), err))
	}
	return nil, errors.Join(failures...)
}

// probe asks the server over a connection of its own whether it is ready.
func (l *link) probe(s server) error {
	ctx, cancel := context.WithTimeout(l.ctx, probeTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.grpc())
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	_ = raw.Close()
	cred := insecure.NewCredentials()
	if l.tls != nil {
		cred = credentials.NewTLS(l.tls)
	}
	cc, err := grpc.NewClient("passthrough:///"+s.grpc(), grpc.WithTransportCredentials(cred), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	check := rpc_request.NewServerCheckRequest()
	payload, err := nacosgrpc.NewRequestClient(cc).Request(ctx, &nacosgrpc.Payload{
		Metadata: &nacosgrpc.Metadata{Type: check.GetRequestType()},
		Body:     &anypb.Any{Value: []byte(check.GetBody(check))},
	})
	if err != nil {
		return fmt.Errorf("check server: %w", err)
	}
	var answer rpc_response.ServerCheckResponse
	if err := json.Unmarshal(payload.GetBody().GetValue(), &answer); err != nil {
		return fmt.Errorf("check server: %w", err)
	}
	if answer.Response != nil && answer.ErrorCode >= 300 && answer.ErrorCode < 400 {
		return errors.New("server is starting")
	}
	return nil
}

// dial makes an SDK client for one server and lets it connect once.
func (l *link) dial(s server) (*conn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	host := s.host
	if net.ParseIP(host) != nil && net.ParseIP(host).To4() == nil {
		host = "[" + host + "]" // the SDK joins host and port with a colon
	}
	// No user here: the login is ours (auth.go).
	ns, err := nacos_server.NewNacosServer(ctx,
		[]constant.ServerConfig{{Scheme: "http", IpAddr: host, Port: s.port, ContextPath: "/nacos"}},
		constant.ClientConfig{NamespaceId: l.namespace, ContextPath: "/nacos", TimeoutMs: uint64(requestTimeout.Milliseconds())},
		&http_agent.HttpAgent{}, uint64(requestTimeout.Milliseconds()), "", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	t := l.c.cfg.TLS
	tlsConfig := &constant.TLSConfig{Appointed: true, Enable: t.Enabled, CaFile: t.CA, CertFile: t.Cert, KeyFile: t.Key}
	if _, err := t.load(); err != nil { // files may have changed since Connect; see TLS.load
		cancel()
		return nil, err
	}
	n := linkNumber.Add(1)
	labels := map[string]string{constant.LABEL_SOURCE: constant.LABEL_SOURCE_SDK, constant.LABEL_MODULE: l.module}
	sdk.Lock()
	created, err := rpc.CreateClient(ctx, "nacos-mcp-proxy-"+strconv.FormatUint(n, 10), rpc.GRPC, labels, ns, tlsConfig, nil)
	sdk.Unlock()
	if err != nil {
		cancel()
		return nil, err
	}
	c := &conn{rpc: created.GetRpcClient(), generation: n, address: s.grpc(), reset: make(chan struct{})}
	c.rpc.Tenant = l.namespace
	l.handle(c.rpc)
	up := &firstConnect{up: make(chan struct{})}
	c.rpc.RegisterConnectionListener(up)
	go c.rpc.Start()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-up.up:
	case <-timer.C:
		go c.abandon(up.up, cancel)
		return nil, errors.New("connect: no answer")
	case <-l.ctx.Done():
		go c.abandon(up.up, cancel)
		return nil, l.ctx.Err()
	}
	cancel() // from here on the SDK does not reconnect by itself
	// Start put the SDK's own handler there, which asks the loop that has just ended.
	c.rpc.RegisterServerRequestHandler(func() rpc_request.IRequest {
		return &rpc_request.ConnectResetRequest{InternalRequest: rpc_request.NewInternalRequest()}
	}, pushHandler(func(rpc_request.IRequest) rpc_response.IResponse {
		c.resetOnce.Do(func() { close(c.reset) })
		return &rpc_response.ConnectResetResponse{Response: success()}
	}))
	c.used.Store(time.Now().UnixNano())
	return c, nil
}

// firstConnect is told by the SDK that a client is connected, maybe more than once.
type firstConnect struct {
	once sync.Once
	up   chan struct{}
}

func (f *firstConnect) OnConnected()  { f.once.Do(func() { close(f.up) }) }
func (f *firstConnect) OnDisConnect() {}

func (c *conn) close() {
	sdk.Lock()
	defer sdk.Unlock()
	c.rpc.Shutdown()
}

// abandon gives up a client that is still connecting: Shutdown does not interrupt that, and a connection that
// comes about afterwards would live for ever.
func (c *conn) abandon(up <-chan struct{}, cancel context.CancelFunc) {
	defer cancel()
	select {
	case <-up:
	case <-time.After(15 * time.Second):
	}
	c.close()
}

// errNotSent says that a request met a connection that was lost: it may be sent over the next one.
var errNotSent = errors.New("connection lost")

// request sends one request. It returns when ctx ends, but the SDK goes on until the timeout: ending a request
// early would make it give up the connection.
func (c *conn) request(ctx context.Context, r rpc_request.IRequest, timeout time.Duration) (rpc_response.IResponse, error) {
	if !c.rpc.IsRunning() {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNotSent)
	}
	type answer struct {
		resp rpc_response.IResponse
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		resp, err := c.rpc.Request(r, timeout.Milliseconds())
		done <- answer{resp, err}
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, a.err)
		}
		c.used.Store(time.Now().UnixNano())
		return a.resp, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// pushHandler answers what the server sends on its own. It runs in the SDK's receive loop: it must only queue.
type pushHandler func(rpc_request.IRequest) rpc_response.IResponse

// Name is what the SDK logs.
func (pushHandler) Name() string { return "nacos-mcp-proxy" }

// RequestReply implements rpc.IServerRequestHandler.
func (h pushHandler) RequestReply(r rpc_request.IRequest, _ *rpc.RpcClient) rpc_response.IResponse {
	return h(r)
}

func success() *rpc_response.Response {
	return &rpc_response.Response{ResultCode: constant.RESPONSE_CODE_SUCCESS, Success: true}
}
