package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	httpTimeout = time.Minute // a list of 100,000 documents takes a few seconds; callers say less where they can
	dialTimeout = 2 * time.Second
	maxAnswer   = 256 << 20
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// httpAPI sends requests to whichever member of the cluster answers, staying with it while it does.
type httpAPI struct {
	client  *http.Client
	scheme  string
	servers []server
	current atomic.Uint32
	kinds   []atomic.Int32 // of servers, as far as somebody asked
}

// Kinds of servers.
const (
	unasked int32 = iota
	noConsole
	isConsole
)

func newHTTPAPI(servers []server, files *tlsFiles, dial dialFunc) *httpAPI {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 10 * time.Second}).DialContext
	}
	// No Proxy: what a shell's HTTP_PROXY points at must never see the traffic with Nacos, tokens included.
	transport := &http.Transport{
		DialContext:           dial,
		ResponseHeaderTimeout: httpTimeout,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   8,
	}
	scheme := "http"
	if files != nil {
		transport.DialTLSContext = files.dialer(dial)
		scheme = "https"
	}
	return &httpAPI{
		client: &http.Client{Transport: transport, Timeout: httpTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a token is for this server only
		}},
		scheme:  scheme,
		servers: servers,
		kinds:   make([]atomic.Int32, len(servers)),
	}
}

func (a *httpAPI) close() { a.client.CloseIdleConnections() }

// anew has the next requests go over new connections: those that are idle may have died meanwhile.
func (a *httpAPI) anew() { a.client.CloseIdleConnections() }

// request is what is asked of the HTTP API.
type request struct {
	method, path string
	query, form  url.Values
	header       http.Header
	timeout      time.Duration // of one attempt; 0: httpTimeout
	silence      time.Duration // without a byte, after which an attempt ends with errSilent; 0: none
	group        string        // what the signature of an access key covers
}

// statusError is an answer other than 2xx.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.status, e.text) }

func (e *statusError) Unwrap() error {
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusInternalServerError:
		return ErrFailed
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return ErrUnavailable
	}
	return nil
}

// do tries the members in turn, beginning with the one that answered last, until one answers at all. A write is
// tried elsewhere only if the connection could not be made.
func (a *httpAPI) do(ctx context.Context, r request) ([]byte, error) {
	first := a.current.Load()
	var failures []error
	for i := range a.servers {
		n := (int(first) + i) % len(a.servers)
		body, err := a.once(ctx, a.servers[n], r)
		var status *statusError
		if err == nil || errors.As(err, &status) {
			a.current.Store(uint32(n))
			if err != nil && a.console(ctx, n) {
				err = fmt.Errorf("%w: %s", ErrUnavailable, a.consoleAt(n))
			}
			return body, err
		}
		failures = append(failures, err)
		var op *net.OpError
		if ctx.Err() != nil || (r.method != http.MethodGet && (!errors.As(err, &op) || op.Op != "dial")) {
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(failures...))
}

// consoleTime bounds asking a server whether it is a console.
const consoleTime = 2 * time.Second

// console reports whether server n is a console of Nacos 3, which has a port of its own: 8080, where the server has 8848. It
// answers there to what it does not know as the server answers to a wrong password. Each server is asked once.
func (a *httpAPI) console(ctx context.Context, n int) bool {
	if kind := a.kinds[n].Load(); kind != unasked {
		return kind == isConsole
	}
	body, err := a.once(ctx, a.servers[n], request{method: http.MethodGet, path: "/v3/console/health/readiness", timeout: consoleTime})
	var status *statusError
	if err != nil && !errors.As(err, &status) {
		return false
	}
	var ready struct{ Data string }
	kind := noConsole
	if err == nil && json.Unmarshal(body, &ready) == nil && ready.Data == "ok" {
		kind = isConsole
	}
	a.kinds[n].Store(kind)
	return kind == isConsole
}

// consoleAt says what is wrong with the address of a console.
func (a *httpAPI) consoleAt(n int) string {
	return a.servers[n].http() + " is the port of Nacos's console: nacos.addresses wants the server's, which is 8848 unless it was changed"
}

// consoles says what is wrong with addresses that are consoles'; "" if none is known to be one.
func (a *httpAPI) consoles(ctx context.Context) string {
	for n := range a.servers {
		if a.console(ctx, n) {
			return a.consoleAt(n)
		}
	}
	return ""
}

func (a *httpAPI) once(ctx context.Context, s server, r request) ([]byte, error) {
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	heard := func() {}
	if r.silence > 0 {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(r.silence, func() { cancel(fmt.Errorf("%w for %s", errSilent, r.silence)) })
		defer timer.Stop()
		heard = func() { timer.Reset(r.silence) }
	}
	u := url.URL{Scheme: a.scheme, Host: s.http(), Path: r.path, RawQuery: r.query.Encode()}
	var body io.Reader
	if r.form != nil {
		body = strings.NewReader(r.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		// The client's own error spells out the URL; a query may hold what is nobody's business.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
			err = cause
		}
		return nil, fmt.Errorf("%s: %w", s.http(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	heard()
	data, err := io.ReadAll(io.LimitReader(&heardReader{resp.Body, heard}, maxAnswer))
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
			err = cause
		}
		return nil, fmt.Errorf("%s: read answer: %w", s.http(), err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, &statusError{resp.StatusCode, answerText(data)}
	}
	return data, nil
}

// errSilent says that a request was given up as nothing came.
var errSilent = errors.New("no answer")

// heardReader calls heard for whatever it reads.
type heardReader struct {
	io.Reader
	heard func()
}

func (r *heardReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.heard()
	}
	return n, err
}

// answerText picks what a person can use from the body of an error: Nacos says it in several places.
func answerText(body []byte) string {
	var a struct {
		Message, Error string
		Data           json.RawMessage
	}
	text := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &a) == nil {
		text = a.Message
		if text == "" {
			text = a.Error
		}
		var data string
		if json.Unmarshal(a.Data, &data) == nil && data != "" {
			text = strings.TrimPrefix(text+": "+data, ": ")
		}
	}
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}

// admin adds the credentials, and asks again with new ones if they are refused.
func (c *Client) admin(ctx context.Context, r request) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		cred, err := c.auth.headers(ctx, r.group)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		try := r
		try.header = http.Header{}
		for k, v := range cred.headers {
			try.header.Set(k, v)
		}
		for k, v := range r.header {
			try.header[k] = v
		}
		body, err := c.http.do(ctx, try)
		if err == nil {
			c.contact()
			c.granted(attempt > 0)
			return body, nil
		}
		if errors.Is(err, ErrForbidden) && attempt == 0 && c.auth.refused(ctx, cred) {
			continue
		}
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
}
