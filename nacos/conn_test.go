package nacos

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"google.golang.org/grpc"
)

// scripted is a server that answers requests as it is told and pushes what it is given.
type scripted struct {
	nacosgrpc.UnimplementedRequestServer
	nacosgrpc.UnimplementedBiRequestStreamServer
	push  chan *nacosgrpc.Payload
	acks  chan *nacosgrpc.Payload
	setup chan string

	mu      sync.Mutex
	answers map[string]string // kind of request to "kind body"; "hang" does not answer
}

const fine = `{"resultCode":200,"success":true}`

func (s *scripted) say(kind, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[kind] = answer
}

func (s *scripted) Request(ctx context.Context, p *nacosgrpc.Payload) (*nacosgrpc.Payload, error) {
	kind := p.GetMetadata().GetType()
	s.mu.Lock()
	answer, told := s.answers[kind]
	s.mu.Unlock()
	if answer == "hang" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !told {
		answer = strings.TrimSuffix(kind, "Request") + "Response " + fine
	}
	kind, text, _ := strings.Cut(answer, " ")
	return &nacosgrpc.Payload{Metadata: metadata(kind, nil), Body: body(text)}, nil
}

func (s *scripted) RequestBiStream(stream nacosgrpc.BiRequestStream_RequestBiStreamServer) error {
	go func() {
		for {
			p, err := stream.Recv()
			if err != nil {
				return
			}
			if p.GetMetadata().GetType() == "ConnectionSetupRequest" {
				s.setup <- string(p.GetBody().GetValue())
			} else {
				s.acks <- p
			}
		}
	}()
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case p, more := <-s.push:
			if !more {
				return nil // ends the stream
			}
			if err := stream.Send(p); err != nil {
				return err
			}
		}
	}
}

// connection gives a started connection with a scripted server.
func connection(t *testing.T) (*scripted, *conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{push: make(chan *nacosgrpc.Payload), acks: make(chan *nacosgrpc.Payload, 8), setup: make(chan string, 8), answers: map[string]string{}}
	g := grpc.NewServer()
	nacosgrpc.RegisterRequestServer(g, s)
	nacosgrpc.RegisterBiRequestStreamServer(g, s)
	served := make(chan struct{})
	go func() { _ = g.Serve(l); close(served) }()
	t.Cleanup(func() { g.Stop(); <-served })
	c, err := newConn(l.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return s, c
}

func started(t *testing.T) (*scripted, *conn) {
	t.Helper()
	s, c := connection(t)
	if err := c.start(t.Context(), "naming", "n1"); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func isLost(c *conn) bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

func awaitLost(t *testing.T, c *conn, why string) {
	t.Helper()
	select {
	case <-c.lost:
	case <-time.After(20 * time.Second):
		t.Fatal("connection was not given up")
	}
	if !strings.Contains(c.why.Error(), why) {
		t.Errorf("lost because %q, want %q in it", c.why, why)
	}
}

func TestSetupSaysWhoItIs(t *testing.T) {
	s, _ := started(t)
	setup := <-s.setup
	for _, part := range []string{`"tenant":"n1"`, `"module":"naming"`, `"source":"sdk"`, `"clientVersion":"Nacos-Go-Client:`} {
		if !strings.Contains(setup, part) {
			t.Errorf("setup %s, want %s in it", setup, part)
		}
	}
}

func TestStartWaitsUntilTheServerKnowsTheConnection(t *testing.T) {
	s, c := connection(t)
	s.say("HealthCheckRequest", `ErrorResponse {"resultCode":500,"errorCode":301,"message":"unregistered"}`)
	done := make(chan error, 1)
	go func() { done <- c.start(t.Context(), "config", "") }()
	<-s.setup
	select {
	case err := <-done:
		t.Fatalf("started before it was known: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.say("HealthCheckRequest", "HealthCheckResponse "+fine)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestStartRefusesWhatIsNotReady(t *testing.T) {
	for _, c := range []struct{ name, kind, answer, want string }{
		{"a server that is starting", "ServerCheckRequest", `ServerCheckResponse {"resultCode":500,"errorCode":302}`, "server is starting"},
		{"another program", "ServerCheckRequest", `SomethingElse {}`, "not known here"},
		{"no JSON", "ServerCheckRequest", `ServerCheckResponse <html>`, "read answer to ServerCheckRequest"},
		{"a refused setup", "HealthCheckRequest", `ErrorResponse {"resultCode":500,"errorCode":503,"message":"over limit"}`, "503: over limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cn := connection(t)
			s.say(c.kind, c.answer)
			if err := cn.start(t.Context(), "config", ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("start: %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestRequestsThatFail(t *testing.T) {
	const long = time.Minute
	for _, c := range []struct {
		name, answer   string
		timeout        time.Duration
		impatient      bool // the caller gives up
		notSent, loses bool
	}{
		{name: "the server does not know the connection", answer: `ErrorResponse {"resultCode":500,"errorCode":301}`, timeout: long, notSent: true, loses: true},
		{name: "no answer", answer: "hang", timeout: 50 * time.Millisecond, loses: true},
		{name: "a caller that gives up", answer: "hang", timeout: long, impatient: true},
		{name: "a refusal of this request", answer: `ErrorResponse {"resultCode":500,"errorCode":500,"message":"boom"}`, timeout: long},
		{name: "an answer of another kind", answer: `NobodyKnows {}`, timeout: long},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cn := started(t)
			s.say("ConfigQueryRequest", c.answer)
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			if c.impatient {
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			_, err := cn.request(ctx, rpc_request.NewConfigQueryRequest("g", "d", ""), c.timeout)
			if !errors.Is(err, ErrUnavailable) || errors.Is(err, errNotSent) != c.notSent {
				t.Errorf("request: %v, want ErrUnavailable and errNotSent %t", err, c.notSent)
			}
			if isLost(cn) != c.loses {
				t.Errorf("connection lost: %t, want %t", isLost(cn), c.loses)
			}
			_, err = cn.request(t.Context(), rpc_request.NewHealthCheckRequest(), long)
			if errors.Is(err, errNotSent) != c.loses {
				t.Errorf("next request: %v, want errNotSent %t", err, c.loses)
			}
		})
	}
}

func TestPushesAreAcknowledgedUnderTheirID(t *testing.T) {
	s, c := started(t)
	push := func(kind, text string) {
		s.push <- &nacosgrpc.Payload{Metadata: metadata(kind, nil), Body: body(text)}
	}
	push("NobodyKnowsRequest", `{"requestId":"1"}`)
	push("ClientDetectionRequest", `not JSON`)
	push("ClientDetectionRequest", `{"requestId":"7"}`)
	ack := <-s.acks
	if kind, text := ack.GetMetadata().GetType(), string(ack.GetBody().GetValue()); kind != "ClientDetectionResponse" || !strings.Contains(text, `"requestId":"7"`) {
		t.Errorf("acknowledged with %s %s", kind, text)
	}
	if isLost(c) {
		t.Fatalf("connection lost: %v", c.why)
	}
	push("ConnectResetRequest", `{"requestId":"8"}`)
	if ack := <-s.acks; ack.GetMetadata().GetType() != "ConnectResetResponse" {
		t.Errorf("acknowledged with %s", ack.GetMetadata().GetType())
	}
	awaitLost(t, c, "connect anew")
}

func TestTheEndOfTheStreamLosesTheConnection(t *testing.T) {
	s, c := started(t)
	close(s.push)
	awaitLost(t, c, "EOF")
}
