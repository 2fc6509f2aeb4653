// Package fakenacos is as much of a Nacos 3.1 as the client uses, in this process and on a network in memory, so that it
// runs in a synctest bubble: for schedules of faults that no real server can be made to show, thousands of times over.
// It must never be used outside tests, and never where the real Nacos can show the same.
//
// Its manners are those that were measured on a real one: queries are answered from a copy that lags behind the database,
// lists from the database; a restarted server answers queries "not found" before it has loaded its copy, and HTTP opens
// after gRPC; pushes that are not acknowledged within three seconds come again after 2, 4, 6 s; everything that a connection
// asked for is forgotten with it.
package fakenacos

import (
	"context"
	"crypto/md5" //nolint:gosec // Nacos identifies versions by MD5
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	nacosgrpc "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"google.golang.org/grpc"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Addresses of the two ports.
const (
	HTTP = "nacos:8848"
	GRPC = "nacos:9848"
)

// Lag is how long the copy lags behind the database.
const Lag = 80 * time.Millisecond

// Server is a running fake.
type Server struct {
	Net *faultproxy.Network

	grpc *grpc.Server
	web  *http.Server
	done sync.WaitGroup

	mu       sync.Mutex
	database map[path]document // what lists read
	copied   map[path]document // what queries read
	loaded   bool              // the copy is there
	life     int               // counts starts
	clients  map[string]*client
	services map[nacos.ServiceRef][]nacos.Instance
	tokens   int
	refuse   bool            // no login, no token
	forbid   map[string]bool // groups that may not be read
	silent   bool            // requests are answered, pushes are lost
	slow     time.Duration   // how long a list takes
	busy     bool            // lists are answered 503
	noFuzzy  bool            // fuzzy watches are forbidden
	hung     string          // service whose subscriptions are not answered
	asked    map[string]int  // requests by kind
}

type path struct {
	namespace string
	key       nacos.Key
}

type document struct{ content, md5 string }

// New starts a fake on a network of its own. It ends with the test, or with Close where that is too late for a bubble.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		Net: faultproxy.NewNetwork(), database: map[path]document{}, copied: map[path]document{}, loaded: true,
		clients: map[string]*client{}, services: map[nacos.ServiceRef][]nacos.Instance{}, forbid: map[string]bool{},
		tokens: 1, asked: map[string]int{},
	}
	s.start(0)
	return s
}

// Config returns what a client has to be told.
func (s *Server) Config(namespace string) nacos.Config {
	return nacos.Config{Addresses: []string{HTTP}, Namespace: namespace, Username: "u", Password: nacos.NewSecret("p"), Dial: s.Net.Dial}
}

// start opens both ports, HTTP after a while.
func (s *Server) start(httpAfter time.Duration) {
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	nacosgrpc.RegisterRequestServer(s.grpc, requests{Server: s})
	nacosgrpc.RegisterBiRequestStreamServer(s.grpc, streams{Server: s})
	s.web = &http.Server{Handler: (*web)(s), ReadHeaderTimeout: time.Minute}
	rpc, server, site := s.Net.Listen(GRPC), s.grpc, s.web
	s.done.Go(func() { _ = server.Serve(rpc) })
	s.done.Go(func() {
		time.Sleep(httpAfter)
		s.mu.Lock()
		mine := s.web == site
		s.mu.Unlock()
		if mine {
			_ = site.Serve(s.Net.Listen(HTTP))
		}
	})
}

// Close ends the server and everything it runs.
func (s *Server) Close() {
	s.Kill()
	s.done.Wait()
	time.Sleep(2 * setupTime) // a connection that was being set up
}

// Kill ends the server as a crash would. Its documents stay.
func (s *Server) Kill() {
	s.mu.Lock()
	s.life++
	site := s.web
	s.web = nil
	for _, c := range s.clients {
		c.cancel()
	}
	clear(s.clients)
	s.loaded = false
	s.mu.Unlock()
	for _, addr := range []string{GRPC, HTTP} {
		s.Net.Set(addr, faultproxy.Both, faultproxy.Fault{})
		s.Net.Reset(addr)
	}
	if site != nil {
		_ = site.Close()
	}
	s.grpc.Stop()
}

// Restart starts a killed server: gRPC at once, the copy loaded after load, HTTP after httpAfter.
func (s *Server) Restart(load, httpAfter time.Duration) {
	s.mu.Lock()
	life := s.life
	s.copied = map[path]document{}
	s.mu.Unlock()
	s.start(httpAfter)
	s.done.Go(func() {
		time.Sleep(load)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.life == life {
			s.copied, s.loaded = maps.Clone(s.database), true
		}
	})
}

// Put writes a document, Delete removes one.
func (s *Server) Put(namespace string, key nacos.Key, content string) {
	sum := md5.Sum([]byte(content)) //nolint:gosec // see above
	s.write(path{namespace, key}, &document{content, hex.EncodeToString(sum[:])})
}

// Delete removes a document.
func (s *Server) Delete(namespace string, key nacos.Key) { s.write(path{namespace, key}, nil) }

// write changes the database now and the copy a little later, with the pushes.
func (s *Server) write(p path, d *document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(s.database, p, d)
	life := s.life
	s.done.Go(func() {
		time.Sleep(Lag)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.life != life || !s.loaded {
			return // it reads the database when it starts
		}
		now, ok := s.database[p] // the newest; later dumps change nothing
		before, had := s.copied[p]
		if ok == had && now == before {
			return
		}
		if ok {
			s.copied[p] = now
		} else {
			delete(s.copied, p)
		}
		for _, c := range s.clients {
			c.changed(p, ok, had)
		}
	})
}

func set(all map[path]document, p path, d *document) {
	if d == nil {
		delete(all, p)
	} else {
		all[p] = *d
	}
}

// SetInstances replaces the instances of a service.
func (s *Server) SetInstances(ref nacos.ServiceRef, all ...nacos.Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[ref] = all
	for _, c := range s.clients {
		if c.subscribed[ref] {
			c.push("NotifySubscriberRequest", map[string]any{"serviceInfo": s.serviceInfo(ref)}, 500*time.Millisecond)
		}
	}
}

// Refuse has every login and token refused until it is taken back; tokens of before are worth nothing then.
func (s *Server) Refuse(refuse bool) {
	s.with(func() {
		if s.refuse && !refuse {
			s.tokens++
		}
		s.refuse = refuse
	})
}

// RevokeTokens makes all tokens that were given out worth nothing.
func (s *Server) RevokeTokens() { s.with(func() { s.tokens++ }) }

// Forbid takes the right to read a group away, or gives it back.
func (s *Server) Forbid(group string, forbid bool) { s.with(func() { s.forbid[group] = forbid }) }

// Silence has what would be pushed lost for ever, while requests are answered.
func (s *Server) Silence(silent bool) { s.with(func() { s.silent = silent }) }

// SlowLists has each list take d, or be answered "busy".
func (s *Server) SlowLists(d time.Duration, busy bool) { s.with(func() { s.slow, s.busy = d, busy }) }

// Hang leaves subscriptions to a service unanswered.
func (s *Server) Hang(service string) { s.with(func() { s.hung = service }) }

// NoFuzzy forbids fuzzy watches.
func (s *Server) NoFuzzy(no bool) { s.with(func() { s.noFuzzy = no }) }

// Asked returns how many requests of a kind came; lists are "list".
func (s *Server) Asked(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[kind]
}

// Module returns what a connection said it is for, "" for one that is not known.
func (s *Server) Module(client string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[client]; c != nil {
		return c.module
	}
	return ""
}

func (s *Server) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Server) token() string { return fmt.Sprint("token", s.tokens) }

// may tells whether a token may read a group; the caller holds mu.
func (s *Server) may(token, group string) bool {
	return !s.refuse && token == s.token() && !s.forbid[group]
}

// web is the HTTP API.
type web Server

func (h *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := (*Server)(h)
	switch r.URL.Path {
	case "/nacos/v3/auth/user/login":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked["login"]++
		if s.refuse {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"accessToken":%q,"tokenTtl":18000}`, s.token())
	case "/nacos/v3/admin/core/state":
		_, _ = w.Write([]byte(`{"code":0,"data":{"version":"3.1.0"}}`))
	case "/nacos/v3/admin/cs/config/list":
		s.list(w, r)
	default:
		w.WriteHeader(http.StatusGone)
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	s.asked["list"]++
	slow, busy := s.slow, s.busy
	allowed := s.may(r.Header.Get("accessToken"), q.Get("groupName"))
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
			return
		}
	}
	if busy {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !allowed {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	type row struct{ DataID, GroupName, MD5 string }
	rows := []row{}
	s.mu.Lock()
	for p, d := range s.database {
		if p.namespace == q.Get("namespaceId") && p.key.Group == q.Get("groupName") &&
			(q.Get("search") == "blur" || q.Get("dataId") == p.key.DataID) {
			rows = append(rows, row{p.key.DataID, p.key.Group, d.md5})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.DataID, b.DataID) })
	_ = json.NewEncoder(w).Encode(map[string]any{"code": 0, "data": map[string]any{"totalCount": len(rows), "pageItems": rows}})
}

// requests is the gRPC service for requests of clients.
type requests struct {
	nacosgrpc.UnimplementedRequestServer
	*Server
}

type listenContext struct{ Group, DataID, Tenant, MD5 string }

type question struct {
	Tenant, Group, DataID string
	Listen                bool
	ConfigListenContexts  []listenContext
	GroupKeyPattern       string
	ReceivedGroupKeys     []string
	WatchType             string
	Initializing          bool
	Namespace             string
	ServiceName           string
	GroupName             string
	Subscribe             bool
}

func (s requests) Request(ctx context.Context, p *nacosgrpc.Payload) (*nacosgrpc.Payload, error) {
	kind := p.GetMetadata().GetType()
	var q question
	if err := json.Unmarshal(p.GetBody().GetValue(), &q); err != nil {
		return nil, err
	}
	answer := strings.TrimSuffix(kind, "Request") + "Response"
	if kind == "ConfigBatchListenRequest" {
		answer = "ConfigChangeBatchListenResponse"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[kind]++
	if kind == "ServerCheckRequest" {
		return payload(answer, map[string]any{"connectionId": "1"}), nil
	}
	c := s.clients[remote(ctx)]
	if c == nil {
		return failure("ErrorResponse", 301, "Connection is unregistered."), nil
	}
	if kind == "HealthCheckRequest" {
		return payload(answer, nil), nil
	}
	if token := p.GetMetadata().GetHeaders()["accessToken"]; !s.may(token, q.Group) {
		return failure(answer, 403, "authorization failed!"), nil
	}
	switch kind {
	case "ConfigQueryRequest":
		d, ok := s.copied[path{q.Tenant, nacos.Key{Group: q.Group, DataID: q.DataID}}]
		if !ok || !s.loaded {
			return failure(answer, 300, "config data not exist"), nil
		}
		return payload(answer, map[string]any{"content": d.content, "md5": d.md5}), nil
	case "ConfigBatchListenRequest":
		return payload(answer, map[string]any{"changedConfigs": c.listen(q)}), nil
	case "ConfigFuzzyWatchRequest":
		if s.noFuzzy {
			return failure(answer, 403, "authorization failed!"), nil
		}
		c.fuzzy(q)
		return payload(answer, nil), nil
	case "SubscribeServiceRequest":
		ref := nacos.ServiceRef{Namespace: q.Namespace, Group: q.GroupName, Service: q.ServiceName}
		if s.hung == ref.Service {
			s.mu.Unlock()
			<-ctx.Done()
			s.mu.Lock()
			return nil, ctx.Err()
		}
		if q.Subscribe {
			c.subscribed[ref] = true
		} else {
			delete(c.subscribed, ref)
		}
		return payload(answer, map[string]any{"serviceInfo": s.serviceInfo(ref)}), nil
	}
	return failure("ErrorResponse", 302, "RequestHandler Not Found"), nil
}

// listen notes what a client listens to and returns what it has wrong.
func (c *client) listen(q question) []listenContext {
	wrong := []listenContext{}
	for _, x := range q.ConfigListenContexts {
		p := path{x.Tenant, nacos.Key{Group: x.Group, DataID: x.DataID}}
		if !q.Listen {
			delete(c.listening, p)
			continue
		}
		c.listening[p] = true
		if c.server.copied[p].md5 != x.MD5 {
			wrong = append(wrong, x)
		}
	}
	return wrong
}

// fuzzy notes a pattern and pushes how what it matches differs from what the client has received.
func (c *client) fuzzy(q question) {
	part := strings.Split(q.GroupKeyPattern, ">>")
	c.patterns[[2]string{part[0], part[1]}] = true
	type state struct {
		GroupKey    string `json:"groupKey"`
		ChangedType string `json:"changedType"`
	}
	all := []state{}
	received := map[string]bool{}
	for _, k := range q.ReceivedGroupKeys {
		received[k] = true
	}
	for p := range c.server.copied {
		if key := groupKey(p); p.namespace == part[0] && p.key.Group == part[1] {
			if !received[key] {
				all = append(all, state{key, "ADD_CONFIG"})
			}
			delete(received, key)
		}
	}
	for key := range received {
		all = append(all, state{key, "DELETE_CONFIG"})
	}
	if len(all) > 0 {
		c.push("ConfigFuzzyWatchSyncRequest", map[string]any{"groupKeyPattern": q.GroupKeyPattern, "contexts": all}, 0)
	}
	if q.Initializing {
		c.push("ConfigFuzzyWatchSyncRequest", map[string]any{"groupKeyPattern": q.GroupKeyPattern, "syncType": "FINISH_FUZZY_WATCH_INIT_NOTIFY"}, 0)
	}
}

func groupKey(p path) string { return p.key.DataID + "+" + p.key.Group + "+" + p.namespace }

func (s *Server) serviceInfo(ref nacos.ServiceRef) map[string]any {
	hosts := []map[string]any{}
	for _, in := range s.services[ref] {
		hosts = append(hosts, map[string]any{
			"ip": in.Host, "port": in.Port, "weight": in.Weight, "healthy": in.Healthy, "enabled": in.Enabled, "metadata": in.Metadata,
		})
	}
	return map[string]any{"name": ref.Service, "groupName": ref.Group, "hosts": hosts, "lastRefTime": time.Now().UnixMilli()}
}

// remote returns who sent a request.
func remote(ctx context.Context) string {
	p, ok := peerOf(ctx)
	if !ok {
		return ""
	}
	return p.String()
}
