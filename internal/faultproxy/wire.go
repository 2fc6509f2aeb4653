package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
)

// Message is what passed over a Wire: a request of the client's or a push of the server's.
type Message struct {
	Type string // e.g. ConfigChangeNotifyRequest, or method and path of a request over HTTP
	Body string // JSON, or the query
	At   time.Time
}

// Wire stands in front of a Nacos like a Pair, but understands its gRPC: it can lose, double and delay single pushes, and
// remembers what the client asked for, over HTTP too.
type Wire struct {
	Addr string // what to tell the client

	target string
	server *grpc.Server

	mu       sync.Mutex
	pushes   func(Message) []time.Duration
	requests []Message
	ended    []time.Time // ends of the clients' connections
}

// NewWire starts one for the Nacos at target (host:port of its HTTP API). It ends with the test.
func NewWire(t testing.TB, target string) *Wire {
	t.Helper()
	host, port := split(t, target)
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := l.Addr().(*net.TCPAddr).Port
		first, err := net.Listen("tcp", join("127.0.0.1", max(p-1000, 1)))
		if err != nil {
			_ = l.Close()
			continue
		}
		w := &Wire{Addr: first.Addr().String(), target: join(host, port+1000)}
		w.server = grpc.NewServer(grpc.StatsHandler(&tagger{w}), grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(16<<20))
		nacosgrpc.RegisterRequestServer(w.server, unary{w: w})
		nacosgrpc.RegisterBiRequestStreamServer(w.server, stream{w: w})
		transport := &http.Transport{}
		forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
		forward.Transport = transport
		web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.asked(Message{Type: r.Method + " " + r.URL.Path, Body: r.URL.RawQuery})
			forward.ServeHTTP(rw, r)
		})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = w.server.Serve(l) })
		serving.Go(func() { _ = web.Serve(first) })
		t.Cleanup(func() {
			w.server.Stop()
			_ = web.Close()
			transport.CloseIdleConnections()
			serving.Wait()
		})
		return w
	}
	t.Fatal("no pair of free ports")
	return nil
}

// Pushes sets what becomes of what the server pushes from now on: f gives the delay of each copy that is delivered; none
// for a push that is lost. Nil delivers everything as it comes.
func (w *Wire) Pushes(f func(Message) []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = f
}

// Requests gives what clients asked for so far.
func (w *Wire) Requests() []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Message(nil), w.requests...)
}

// Ended gives when clients' connections ended.
func (w *Wire) Ended() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Time(nil), w.ended...)
}

func (w *Wire) asked(m Message) {
	m.At = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, m)
}

func (w *Wire) fate(p *nacosgrpc.Payload) []time.Duration {
	w.mu.Lock()
	f := w.pushes
	w.mu.Unlock()
	if f == nil {
		return []time.Duration{0}
	}
	return f(message(p))
}

func message(p *nacosgrpc.Payload) Message {
	return Message{Type: p.GetMetadata().GetType(), Body: string(p.GetBody().GetValue()), At: time.Now()}
}

// tagger gives each connection of a client one to the server: Nacos knows a client by its connection.
type tagger struct{ w *Wire }

type backendKey struct{}

func (g *tagger) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	cc, err := grpc.NewClient("passthrough:///"+g.w.target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20), grpc.MaxCallSendMsgSize(16<<20)))
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, backendKey{}, cc)
}

func (g *tagger) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); !ok {
		return
	}
	g.w.mu.Lock()
	g.w.ended = append(g.w.ended, time.Now())
	g.w.mu.Unlock()
	if cc, ok := ctx.Value(backendKey{}).(*grpc.ClientConn); ok {
		_ = cc.Close()
	}
}

func (*tagger) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (*tagger) HandleRPC(context.Context, stats.RPCStats)                       {}

var errNoBackend = errors.New("no connection to the server")

func backend(ctx context.Context) (*grpc.ClientConn, error) {
	cc, ok := ctx.Value(backendKey{}).(*grpc.ClientConn)
	if !ok {
		return nil, errNoBackend
	}
	return cc, nil
}

type unary struct {
	nacosgrpc.UnimplementedRequestServer
	w *Wire
}

func (u unary) Request(ctx context.Context, p *nacosgrpc.Payload) (*nacosgrpc.Payload, error) {
	u.w.asked(message(p))
	cc, err := backend(ctx)
	if err != nil {
		return nil, err
	}
	return nacosgrpc.NewRequestClient(cc).Request(ctx, p)
}

type stream struct {
	nacosgrpc.UnimplementedBiRequestStreamServer
	w *Wire
}

func (s stream) RequestBiStream(client nacosgrpc.BiRequestStream_RequestBiStreamServer) error {
	ctx, cancel := context.WithCancel(client.Context())
	defer cancel()
	cc, err := backend(ctx)
	if err != nil {
		return err
	}
	server, err := nacosgrpc.NewBiRequestStreamClient(cc).RequestBiStream(ctx)
	if err != nil {
		return err
	}
	var late sync.WaitGroup
	defer late.Wait()
	defer cancel()
	go func() {
		defer cancel()
		for {
			p, err := client.Recv()
			if err != nil {
				_ = server.CloseSend()
				return
			}
			if server.Send(p) != nil {
				return
			}
		}
	}()
	var sending sync.Mutex
	for {
		p, err := server.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, after := range s.w.fate(p) {
			late.Go(func() {
				if after > 0 {
					select {
					case <-time.After(after):
					case <-ctx.Done():
						return
					}
				}
				sending.Lock()
				defer sending.Unlock()
				_ = client.Send(p)
			})
		}
	}
}
