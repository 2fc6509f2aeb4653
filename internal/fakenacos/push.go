package fakenacos

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

const (
	ackTimeout = 3 * time.Second
	setupTime  = 5 * time.Millisecond
)

func peerOf(ctx context.Context) (net.Addr, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	return p.Addr, true
}

func payload(kind string, fields map[string]any) *nacosgrpc.Payload {
	all := map[string]any{"resultCode": 200, "success": true}
	maps.Copy(all, fields)
	return encode(kind, all)
}

func failure(kind string, code int, message string) *nacosgrpc.Payload {
	return encode(kind, map[string]any{"resultCode": 500, "errorCode": code, "success": false, "message": message})
}

func encode(kind string, fields map[string]any) *nacosgrpc.Payload {
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return &nacosgrpc.Payload{Metadata: &nacosgrpc.Metadata{Type: kind}, Body: &anypb.Any{Value: body}}
}

// client is a connection that may be pushed to. Its maps are guarded by the server's mu.
type client struct {
	server     *Server
	module     string
	ctx        context.Context
	cancel     context.CancelFunc
	listening  map[path]bool
	patterns   map[[2]string]bool // namespace and group
	subscribed map[nacos.ServiceRef]bool
	serial     int
	acks       map[string]chan struct{}

	sending chan struct{} // holds an element while something is sent; a mutex would stop the time of a bubble
	stream  nacosgrpc.BiRequestStream_RequestBiStreamServer
}

// changed pushes that a document is another one in the copy now. The caller holds mu.
func (c *client) changed(p path, is, was bool) {
	if c.listening[p] {
		c.push("ConfigChangeNotifyRequest", map[string]any{"dataId": p.key.DataID, "group": p.key.Group, "tenant": p.namespace}, 0)
	}
	if is != was && c.patterns[[2]string{p.namespace, p.key.Group}] {
		kind := "CONFIG_CHANGED"
		if !is {
			kind = "DELETE_CONFIG"
		}
		c.push("ConfigFuzzyWatchChangeNotifyRequest", map[string]any{"groupKey": groupKey(p), "changeType": kind}, 0)
	}
}

// push sends until it is acknowledged. The caller holds mu.
func (c *client) push(kind string, fields map[string]any, after time.Duration) {
	c.server.done.Go(func() {
		wait := after
		for try := 1; ; try++ {
			select {
			case <-c.ctx.Done():
				return
			case <-time.After(wait):
			}
			if c.pushed(kind, fields) {
				return
			}
			wait = time.Duration(2*try) * time.Second
		}
	})
}

func (c *client) pushed(kind string, fields map[string]any) bool {
	c.server.mu.Lock()
	c.serial++
	id, ack, silent := strconv.Itoa(c.serial), make(chan struct{}), c.server.silent
	c.acks[id] = ack
	c.server.mu.Unlock()
	defer func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		delete(c.acks, id)
	}()
	if silent {
		return true
	}
	all := maps.Clone(fields)
	all["requestId"] = id
	c.sending <- struct{}{}
	err := c.stream.Send(encode(kind, all))
	<-c.sending
	if err != nil {
		return false
	}
	select {
	case <-ack:
		return true
	case <-c.ctx.Done():
		return false
	case <-time.After(ackTimeout):
		return false
	}
}

// streams is the gRPC service for pushes.
type streams struct {
	nacosgrpc.UnimplementedBiRequestStreamServer
	*Server
}

func (h streams) RequestBiStream(stream nacosgrpc.BiRequestStream_RequestBiStreamServer) error {
	s := h.Server
	name := remote(stream.Context())
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	c := &client{
		server: s, ctx: ctx, cancel: cancel, stream: stream, listening: map[path]bool{}, patterns: map[[2]string]bool{},
		subscribed: map[nacos.ServiceRef]bool{}, acks: map[string]chan struct{}{}, sending: make(chan struct{}, 1),
	}
	go func() {
		defer cancel()
		for {
			p, err := stream.Recv()
			if err != nil {
				return
			}
			var r struct {
				RequestID string
				Labels    map[string]string
			}
			_ = json.Unmarshal(p.GetBody().GetValue(), &r)
			if p.GetMetadata().GetType() == "ConnectionSetupRequest" {
				time.Sleep(setupTime)
				s.mu.Lock()
				c.module = r.Labels["module"]
				if ctx.Err() == nil {
					s.clients[name] = c
				}
				s.mu.Unlock()
				continue
			}
			s.mu.Lock()
			if ack := c.acks[r.RequestID]; ack != nil {
				close(ack)
				delete(c.acks, r.RequestID)
			}
			s.mu.Unlock()
		}
	}()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[name] == c {
		delete(s.clients, name)
	}
	return nil
}
