package nacos_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the signature of access keys is HMAC-SHA1
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// signedServer answers like a Nacos that knows access keys, which only those of cloud vendors do: it computes each
// signature anew, as their documentation says, and refuses what does not match. It serves one document and no lists.
type signedServer struct {
	nacosgrpc.UnimplementedRequestServer
	nacosgrpc.UnimplementedBiRequestStreamServer
	secret string

	mu    sync.Mutex
	seen  map[string]bool // kinds of requests that were signed well
	wrong []string
	leaks []string
}

func (s *signedServer) mac(text string) string {
	m := hmac.New(sha1.New, []byte(s.secret))
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// allowed checks a request's headers; resource is namespace+group of a document, or group@@service.
func (s *signedServer) allowed(kind, resource string, get func(string) string, all string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(all, s.secret) {
		s.leaks = append(s.leaks, kind)
	}
	ok := get("Spas-AccessKey") == "ak" && get("Spas-Signature") == s.mac(resource+"+"+get("Timestamp"))
	if strings.Contains(resource, "@@") {
		ok = get("ak") == "ak" && strings.HasSuffix(get("data"), "@@"+resource) && get("signature") == s.mac(get("data"))
	}
	if ok {
		s.seen[kind] = true
	} else {
		s.wrong = append(s.wrong, kind)
	}
	return ok
}

func payload(kind, body string) *nacosgrpc.Payload {
	return &nacosgrpc.Payload{Metadata: &nacosgrpc.Metadata{Type: kind}, Body: &anypb.Any{Value: []byte(body)}}
}

// Request answers one request of the SDK.
func (s *signedServer) Request(_ context.Context, p *nacosgrpc.Payload) (*nacosgrpc.Payload, error) {
	kind := p.GetMetadata().GetType()
	answer := strings.TrimSuffix(kind, "Request") + "Response"
	switch kind {
	case "ServerCheckRequest", "HealthCheckRequest":
		return payload(answer, `{"resultCode":200,"success":true,"connectionId":"1"}`), nil
	}
	resource := "n1+g"
	if kind == "InstanceRequest" || kind == "SubscribeServiceRequest" {
		resource = "DEFAULT_GROUP@@backend"
	}
	if strings.Contains(string(p.GetBody().GetValue()), "nacos-mcp-proxy.probe") {
		resource = "n1+nacos-mcp-proxy.probe"
	}
	headers := p.GetMetadata().GetHeaders()
	if !s.allowed(kind, resource, func(name string) string { return headers[name] }, fmt.Sprint(headers)) {
		return payload(answer, `{"resultCode":500,"errorCode":403,"success":false,"message":"signature"}`), nil
	}
	return payload(answer, `{"resultCode":200,"success":true,"content":"x","contentType":"text"}`), nil
}

// RequestBiStream keeps the stream open.
func (s *signedServer) RequestBiStream(stream nacosgrpc.BiRequestStream_RequestBiStreamServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return nil
		}
	}
}

func (s *signedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.Contains(r.URL.Path, "login"):
		s.mu.Lock()
		s.wrong = append(s.wrong, "a login")
		s.mu.Unlock()
	case strings.HasSuffix(r.URL.Path, "/list"):
		if !s.allowed("list", "n1+"+r.FormValue("groupName"), r.Header.Get, fmt.Sprint(r.Header, r.URL)) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
	}
	_, _ = w.Write([]byte(`{"code":0,"data":{"totalCount":0,"pageItems":[]}}`))
}

// serveFake listens on a pair of ports, with what stands in for the HTTP API and for gRPC.
func serveFake(t *testing.T, web http.Handler, requests nacosgrpc.RequestServer, streams nacosgrpc.BiRequestStreamServer) string {
	t.Helper()
	for range 50 {
		s := httptest.NewServer(web)
		at := s.Listener.Addr().(*net.TCPAddr)
		l, err := net.Listen("tcp", (&net.TCPAddr{IP: at.IP, Port: at.Port + 1000}).String())
		if err != nil {
			s.Close()
			continue
		}
		server := grpc.NewServer()
		nacosgrpc.RegisterRequestServer(server, requests)
		nacosgrpc.RegisterBiRequestStreamServer(server, streams)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { server.Stop(); s.Close() })
		return at.String()
	}
	t.Fatal("no pair of free ports")
	return ""
}

// TestAccessKeySignsRequests lists, reads, publishes, watches, subscribes and registers with an access key: each request
// carries a signature that a server can check, nothing logs in, and the secret itself is never sent. With another secret
// all is refused. Seen red with the group left out of what is signed.
func TestAccessKeySignsRequests(t *testing.T) {
	s := &signedServer{secret: "very-secret", seen: map[string]bool{}}
	addr := serveFake(t, s, s, s)
	open := func(secret string) *nacos.Client {
		c, err := nacos.Connect(t.Context(), nacos.Config{Addresses: []string{addr}, AccessKey: "ak", SecretKey: nacos.NewSecret(secret), Namespace: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c, key, ref := open(s.secret), nacos.Key{Group: "g", DataID: "d"}, nacos.ServiceRef{Service: "backend"}
	if doc, err := c.Get(t.Context(), key); err != nil || string(doc.Content) != "x" {
		t.Fatalf("get: %q %v", doc.Content, err)
	}
	if _, err := c.List(t.Context(), "g"); err != nil {
		t.Error(err)
	}
	publish(t, c, key, "x", nacos.AnyMD5)
	follow(t, c, map[nacos.Key]string{key: "0"}, "g")
	if _, err := c.Subscribe(ref, func([]nacos.Instance) {}); err != nil {
		t.Error(err)
	}
	if err := c.Register(t.Context(), ref, nacos.Instance{Host: "10.0.0.1", Port: 80}); err != nil {
		t.Error(err)
	}
	kinds := []string{"list", "ConfigQueryRequest", "ConfigPublishRequest", "ConfigBatchListenRequest", "ConfigFuzzyWatchRequest", "SubscribeServiceRequest", "InstanceRequest"}
	eventually(t, 10*time.Second, "every kind of request was signed", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, kind := range kinds {
			if !s.seen[kind] {
				return false
			}
		}
		return true
	})
	s.mu.Lock()
	if len(s.wrong) > 0 || len(s.leaks) > 0 {
		t.Errorf("signed wrongly: %v; the secret is in %v", s.wrong, s.leaks)
	}
	s.mu.Unlock()

	stranger := open("another")
	if _, err := stranger.Get(t.Context(), key); !errors.Is(err, nacos.ErrForbidden) {
		t.Errorf("get with another secret: %v, want ErrForbidden", err)
	}
	if _, err := stranger.List(t.Context(), "g"); !errors.Is(err, nacos.ErrForbidden) {
		t.Errorf("list with another secret: %v, want ErrForbidden", err)
	}
}
