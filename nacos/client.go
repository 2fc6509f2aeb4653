package nacos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// Config says which Nacos a Client speaks to, and as whom.
type Config struct {
	// Addresses are the servers of one cluster as host:port of its HTTP port (8848 if the port is left out).
	// gRPC is expected at that port + 1000, as Nacos itself does.
	Addresses []string
	// Namespace is the id (not the name) of the namespace; empty means "public".
	Namespace string

	Username string
	Password Secret
	// AccessKey and SecretKey sign requests instead of a login, as the Nacos of cloud vendors wants it.
	AccessKey string
	SecretKey Secret

	TLS TLS
	// ListInterval is the time between two listings of a group, 3 s if zero. It grows by itself when lists are
	// large or the server is busy.
	ListInterval time.Duration
	Logger       *slog.Logger // nil: slog.Default
	// Dial makes the TCP connections to Nacos, HTTP and gRPC; nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Secret is a text that prints as a mask and can be neither marshalled nor compared.
type Secret = secret.Text

// NewSecret makes a secret of a text.
func NewSecret(s string) Secret { return secret.New(s) }

// TLS holds the names of PEM files; CA is added to the system's authorities, Cert and Key come together.
type TLS struct {
	Enabled       bool
	CA, Cert, Key string
}

// PublicNamespace is what an empty namespace means. Nacos is asked for it by name: a blank one is not the same
// everywhere.
const PublicNamespace = "public"

const (
	defaultListInterval = 3 * time.Second
	// connectWait bounds how long a single request waits for a connection that is being made.
	connectWait = 5 * time.Second
)

// Client is a Source on a Nacos server or cluster. It connects by itself, in the background and for ever.
type Client struct {
	cfg     Config
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	servers []server
	http    *httpAPI
	auth    *authenticator
	link    *link // configuration documents

	writes ownWrites
	// listening is held while the server is told what to push: ending one watch's listening must not cross with the
	// beginning of another's to the same documents.
	listening turn

	mu       sync.Mutex
	watches  map[*watch]struct{}
	namings  map[string]*naming // by namespace
	problems map[string]string
	state    Status
	closed   bool

	anew     time.Time // when everything was last asked for anew without a new connection
	loggedIn event
	probes   probes
	troubled atomic.Bool // answers or pushes are slow just now

	lastContact atomic.Pointer[time.Time] // nil: none yet
	generation  generation
	tls         *tlsFiles // nil: without TLS
	closing     sync.WaitGroup
}

var _ Source = (*Client)(nil)

// server is one member of the cluster.
type server struct {
	host string
	port uint64
}

func (s server) http() string { return net.JoinHostPort(s.host, strconv.FormatUint(s.port, 10)) }
func (s server) grpc() string { return net.JoinHostPort(s.host, strconv.FormatUint(s.port+1000, 10)) }

// Connect prepares a client and begins to connect. It fails only on what no waiting can mend: no address,
// unreadable certificates, contradicting credentials. ctx bounds the preparation, not the client's life.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect nacos: %w", err)
	}
	if cfg.Namespace == "" {
		cfg.Namespace = PublicNamespace
	}
	if cfg.ListInterval <= 0 {
		cfg.ListInterval = defaultListInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	servers, err := parseAddresses(cfg.Addresses)
	if err != nil {
		return nil, fmt.Errorf("connect nacos: %w", err)
	}
	if cfg.Username != "" && cfg.AccessKey != "" {
		return nil, errors.New("connect nacos: username and accessKey exclude each other: set one of them")
	}
	if (cfg.AccessKey == "") != cfg.SecretKey.Empty() {
		return nil, errors.New("connect nacos: accessKey and secretKey belong together: set both or none")
	}
	files, err := cfg.TLS.load(cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("connect nacos: %w", err)
	}
	c := &Client{
		cfg:      cfg,
		log:      cfg.Logger.With("component", "nacos"),
		servers:  servers,
		watches:  make(map[*watch]struct{}),
		namings:  make(map[string]*naming),
		problems: make(map[string]string), listening: make(turn, 1), generation: generation{asking: make(turn, 1)},
		state: Status{Kind: "nacos", Since: time.Now()}, tls: files,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.http = newHTTPAPI(servers, files, cfg.Dial)
	c.auth = newAuthenticator(c)
	c.link = newLink(c, "config", cfg.Namespace)
	c.link.handle = c.configHandlers
	c.link.changed = c.connectionChanged
	c.link.prove, c.link.arrived, c.link.troubled = c.prove, c.probes.arrived, c.trouble
	c.link.start()
	if files != nil && files.files != nil {
		c.closing.Go(func() { files.files.Follow(c.ctx) })
	}
	return c, nil
}

func parseAddresses(addresses []string) ([]server, error) {
	var out []server
	for _, a := range addresses {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		if strings.Contains(a, "://") || strings.Contains(a, "/") {
			return nil, fmt.Errorf("parse address %q: want host:port without scheme or path", a)
		}
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			host, port = strings.Trim(a, "[]"), "8848"
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || n > 64535 || host == "" || (strings.Contains(host, ":") && net.ParseIP(host) == nil) {
			return nil, fmt.Errorf("parse address %q: want host:port, e.g. 127.0.0.1:8848", a)
		}
		out = append(out, server{host, n})
	}
	if len(out) == 0 {
		return nil, errors.New("no address: set nacos.addresses, e.g. 127.0.0.1:8848")
	}
	return out, nil
}

// Status tells how things stand, from memory.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	if at := c.lastContact.Load(); at != nil {
		s.LastContact = *at
	}
	s.PushProof = c.probes.proof()
	s.Problems = slices.Sorted(maps.Values(c.problems))
	return s
}

// problem records what a person should mend; an empty text says that it was mended. It is logged when it begins, ends
// or becomes another one.
func (c *Client) problem(kind, text string) {
	c.mu.Lock()
	old := c.problems[kind]
	if text == "" {
		delete(c.problems, kind)
	} else {
		c.problems[kind] = text
	}
	c.mu.Unlock()
	switch {
	case text == old:
	case text == "":
		c.log.Info("nacos problem solved", "was", old)
	case old != "" && kind == "connection":
		// Every attempt fails a little differently; one outage is one line.
		c.log.Debug("nacos problem", "problem", text)
	default:
		c.log.Warn("nacos problem", "problem", text)
	}
}

// connectionChanged is the link's word on whether requests are answered.
func (c *Client) connectionChanged(up bool, address string, err error) {
	c.mu.Lock()
	if c.state.Connected != up {
		c.state.Connected, c.state.Since = up, time.Now()
	}
	c.mu.Unlock()
	c.troubled.Store(false)
	if !up {
		c.mayHaveMissed(true)
		if err != nil {
			c.problem("connection", fmt.Sprintf("cannot reach Nacos at %s: %v; trying again",
				strings.Join(c.cfg.Addresses, ", "), err))
			c.background(func() {
				if wrong := c.http.consoles(c.ctx); wrong != "" {
					c.problem("address", wrong)
				}
			})
		}
		return
	}
	c.problem("connection", "")
	c.log.Debug("nacos connected", "address", address)
	c.background(func() { c.learnGeneration(c.ctx) })
	c.mu.Lock()
	watches := slices.Collect(maps.Keys(c.watches))
	c.mu.Unlock()
	for _, w := range watches {
		w.askAnew()
	}
}

// background runs f beside what goes on, unless the client is closed.
func (c *Client) background(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closing.Go(f)
	}
}

// mayHaveMissed tells the watches that what happens now may be known late, or in another order.
func (c *Client) mayHaveMissed(away bool) {
	c.mu.Lock()
	watches := slices.Collect(maps.Keys(c.watches))
	c.mu.Unlock()
	for _, w := range watches {
		w.mayHaveMissed(away)
	}
}

// trouble is told when the connection becomes slow, and when it is quick again.
func (c *Client) trouble(troubled bool) {
	c.troubled.Store(troubled)
	if troubled {
		c.mayHaveMissed(false)
	} else {
		c.recovered("answers are quick again")
	}
}

// anewEvery bounds how often everything is asked for anew on one connection.
const anewEvery = 2 * time.Second

// recovered is told that requests which were refused or slow no longer are: everything is asked for anew.
func (c *Client) recovered(why string) {
	c.mu.Lock()
	if time.Since(c.anew) < anewEvery {
		c.mu.Unlock()
		return
	}
	c.anew = time.Now()
	watches := slices.Collect(maps.Keys(c.watches))
	namings := slices.Collect(maps.Values(c.namings))
	c.mu.Unlock()
	c.log.Debug("nacos answers as it should again, asking for everything anew", "why", why)
	c.http.anew()
	for _, w := range watches {
		w.askAnew()
	}
	for _, n := range namings {
		n.askAnew()
	}
}

// contact notes that the server answered.
func (c *Client) contact() {
	now := time.Now() // with its monotonic reading: access.maxStale is a span, and the clock may be set
	c.lastContact.Store(&now)
}

// Close ends every Watch, subscription and registration and frees the connections. It may be called twice.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	watches := slices.Collect(maps.Keys(c.watches))
	namings := slices.Collect(maps.Values(c.namings))
	c.mu.Unlock()
	for _, w := range watches {
		w.Close()
	}
	c.cancel()
	for _, n := range namings {
		n.close()
	}
	c.link.stop()
	c.closing.Wait()
	c.http.close()
	return nil
}

// Admin sends an authenticated request to Nacos's HTTP API: method, path below the server's root (e.g.
// "/nacos/v3/admin/ai/mcp"), query and form (nil: no body). It gives the body of a 2xx answer; other answers
// are errors, with ErrForbidden, ErrNotFound, ErrConflict, ErrUnavailable and ErrFailed inside where they apply.
func (c *Client) Admin(ctx context.Context, method, path string, query, form url.Values) ([]byte, error) {
	return c.admin(ctx, request{method: method, path: path, query: query, form: form})
}
