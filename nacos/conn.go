package nacos

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
	"github.com/nacos-group/nacos-sdk-go/v2/util"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxMessage is the largest answer or push taken, as in the SDK.
const maxMessage = 10 << 20

// errNotSent says that a request met a connection that was lost: it may be sent over the next one.
var errNotSent = errors.New("connection lost")

// clientIP is the address that Nacos lists this client under.
var clientIP = sync.OnceValue(util.LocalIP)

var connNumber atomic.Uint64

// conn is one connection as Nacos's own clients hold it: requests with answers, and a stream over which the server pushes and
// we acknowledge. It is never revived.
//
// Messages are the SDK's, the connection is not: the SDK's client shares unguarded maps and its status between goroutines,
// reconnects behind its user's back, cannot be interrupted while it connects, and brings in the clients of several cloud
// services.
type conn struct {
	generation uint64
	address    string
	cc         *grpc.ClientConn
	requests   nacosgrpc.RequestClient
	pushes     map[string]push // by type; complete before the stream begins
	made       time.Time
	used       atomic.Int64 // when the last answer came, in nanoseconds since made
	arrived    func()       // called for each push; nil: nobody wants to know

	lost chan struct{} // closed when the connection is of no use any more
	loss sync.Once
	why  error // readable once lost is closed

	endStream context.CancelFunc
	received  chan struct{} // closed when nothing more is received; nil before the stream
}

// push is what the server may send on its own, and who takes it. handle runs while nothing else is received: it must only
// queue.
type push struct {
	empty  func() rpc_request.IRequest
	handle func(rpc_request.IRequest) rpc_response.IResponse
}

// newConn makes a connection that has not been tried yet.
func newConn(address string, config *tls.Config, dial dialFunc) (*conn, error) {
	cred := insecure.NewCredentials()
	if config != nil {
		cred = credentials.NewTLS(config)
	}
	// No proxy: what a shell's HTTP_PROXY points at must never see the traffic with Nacos, tokens included.
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(cred), grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}
	if dial != nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dial(ctx, "tcp", address)
		}))
	}
	cc, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{
		generation: connNumber.Add(1), address: address, made: time.Now(), cc: cc, requests: nacosgrpc.NewRequestClient(cc),
		pushes: make(map[string]push), lost: make(chan struct{}), endStream: func() {},
	}
	c.on(func() rpc_request.IRequest {
		return &rpc_request.ClientDetectionRequest{InternalRequest: rpc_request.NewInternalRequest()}
	}, func(rpc_request.IRequest) rpc_response.IResponse {
		return &rpc_response.ClientDetectionResponse{Response: success()}
	})
	c.on(func() rpc_request.IRequest {
		return &rpc_request.ConnectResetRequest{InternalRequest: rpc_request.NewInternalRequest()}
	}, func(rpc_request.IRequest) rpc_response.IResponse {
		return &rpc_response.ConnectResetResponse{Response: success()}
	})
	return c, nil
}

// on has a kind of push handled. Not after start.
func (c *conn) on(empty func() rpc_request.IRequest, handle func(rpc_request.IRequest) rpc_response.IResponse) {
	c.pushes[empty().GetRequestType()] = push{empty, handle}
}

// start connects: the server is ready, knows us as a client of module and namespace, and may push.
func (c *conn) start(ctx context.Context, module, namespace string) error {
	checked, cancel := context.WithTimeout(ctx, checkTimeout)
	answer, err := c.exchange(checked, rpc_request.NewServerCheckRequest())
	cancel()
	if err != nil {
		return fmt.Errorf("check server: %w", err)
	}
	if code := answer.GetErrorCode(); code >= 300 && code < 400 {
		return errors.New("server is starting")
	}
	streamCtx, end := context.WithCancel(context.Background()) // it outlives the start
	c.endStream = end
	stream, err := nacosgrpc.NewBiRequestStreamClient(c.cc).RequestBiStream(streamCtx)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	setup := rpc_request.NewConnectionSetupRequest()
	setup.ClientVersion = constant.CLIENT_VERSION
	setup.Tenant = namespace
	// Nacos keeps instances only for connections that say "naming".
	setup.Labels = map[string]string{constant.LABEL_SOURCE: constant.LABEL_SOURCE_SDK, constant.LABEL_MODULE: module}
	if err := stream.Send(&nacosgrpc.Payload{Metadata: metadata(setup.GetRequestType(), setup.GetHeaders()), Body: body(setup.GetBody(setup))}); err != nil {
		end()
		return fmt.Errorf("set up: %w", err)
	}
	c.received = make(chan struct{})
	go c.receive(stream)
	return c.registered(ctx)
}

// registered waits until the server has taken in the setup, which it does not acknowledge.
func (c *conn) registered(ctx context.Context) error {
	for {
		answer, err := c.exchange(ctx, rpc_request.NewHealthCheckRequest())
		switch {
		case err != nil:
			return fmt.Errorf("set up: %w", err)
		case answer.IsSuccess():
			c.use()
			return nil
		case answer.GetErrorCode() != codeUnreg:
			return fmt.Errorf("set up: server answered %d: %s", answer.GetErrorCode(), answer.GetMessage())
		}
		select {
		case <-c.lost:
			return c.why
		case <-ctx.Done():
			return fmt.Errorf("set up: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// receive takes pushes until the stream ends.
func (c *conn) receive(stream nacosgrpc.BiRequestStream_RequestBiStreamClient) {
	defer close(c.received)
	for {
		payload, err := stream.Recv()
		if err != nil {
			c.lose(fmt.Errorf("connection lost: %w", err))
			return
		}
		if c.arrived != nil {
			c.arrived()
		}
		kind := payload.GetMetadata().GetType()
		p, known := c.pushes[kind]
		if !known {
			continue
		}
		r := p.empty()
		if err := json.Unmarshal(payload.GetBody().GetValue(), r); err != nil {
			continue // not acknowledged: the server sends it again
		}
		answer := p.handle(r)
		answer.SetRequestId(r.GetRequestId())
		if err := stream.Send(&nacosgrpc.Payload{Metadata: metadata(answer.GetResponseType(), nil), Body: body(answer.GetBody())}); err != nil {
			c.lose(fmt.Errorf("connection lost: %w", err))
			return
		}
		if _, reset := r.(*rpc_request.ConnectResetRequest); reset {
			c.lose(errors.New("server asked to connect anew"))
		}
	}
}

// lose says that the connection is of no use any more. The first reason counts.
func (c *conn) lose(why error) {
	c.loss.Do(func() {
		c.why = why
		close(c.lost)
	})
}

// close ends the connection and waits for what it does.
func (c *conn) close() {
	c.lose(errors.New("connection closed"))
	c.endStream()
	_ = c.cc.Close()
	if c.received != nil {
		<-c.received
	}
}

// request sends one request and gives its answer, which may be a refusal. One that is not answered within timeout loses the
// connection, the end of ctx does not. The error is ErrUnavailable: errNotSent where the server has not seen the request,
// ErrFailed where it answered with a failure.
func (c *conn) request(ctx context.Context, r rpc_request.IRequest, timeout time.Duration) (rpc_response.IResponse, error) {
	select {
	case <-c.lost:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNotSent)
	default:
	}
	limit := time.Now().Add(timeout)
	patience, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	answer, err := c.exchange(patience, r)
	if err != nil {
		// The server is told the deadline and may notice it before ctx does.
		theirs, bounded := ctx.Deadline()
		gaveUp := ctx.Err() != nil || bounded && theirs.Before(limit)
		if code := status.Code(err); code == codes.Unavailable && ctx.Err() == nil || code == codes.DeadlineExceeded && !gaveUp {
			c.lose(err)
		}
		select {
		case <-c.lost:
			if ctx.Err() == nil {
				return nil, fmt.Errorf("%w: the connection was lost before the answer came: %w", ErrUnavailable, c.why)
			}
		default:
		}
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if e, ok := answer.(*rpc_response.ErrorResponse); ok {
		if e.GetErrorCode() == codeUnreg {
			c.lose(errors.New("server does not know the connection any more"))
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNotSent)
		}
		return nil, fmt.Errorf("%w: server answered %d: %s", ErrFailed, e.GetErrorCode(), e.GetMessage())
	}
	c.use()
	return answer, nil
}

func (c *conn) use() { c.used.Store(int64(time.Since(c.made))) }

// idle is how long no answer has come. It is not told by the clock on the wall, which people set.
func (c *conn) idle() time.Duration { return time.Since(c.made) - time.Duration(c.used.Load()) }

func (c *conn) exchange(ctx context.Context, r rpc_request.IRequest) (rpc_response.IResponse, error) {
	payload, err := c.requests.Request(ctx, &nacosgrpc.Payload{Metadata: metadata(r.GetRequestType(), r.GetHeaders()), Body: body(r.GetBody(r))})
	if err != nil {
		return nil, err
	}
	empty, known := rpc_response.ClientResponseMapping[payload.GetMetadata().GetType()]
	if !known {
		return nil, fmt.Errorf("%s was answered with %q, which is not known here", r.GetRequestType(), payload.GetMetadata().GetType())
	}
	answer, err := rpc_response.InnerResponseJsonUnmarshal(payload.GetBody().GetValue(), empty)
	if err != nil {
		return nil, fmt.Errorf("read answer to %s: %w", r.GetRequestType(), err)
	}
	return answer, nil
}

func metadata(kind string, headers map[string]string) *nacosgrpc.Metadata {
	return &nacosgrpc.Metadata{Type: kind, Headers: headers, ClientIp: clientIP()}
}

func body(text string) *anypb.Any { return &anypb.Any{Value: []byte(text)} }

func success() *rpc_response.Response {
	return &rpc_response.Response{ResultCode: constant.RESPONSE_CODE_SUCCESS, Success: true}
}
