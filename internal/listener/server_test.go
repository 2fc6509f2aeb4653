package listener

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// served is a server on a port of its own: ours, or net/http's alone.
type served struct {
	t       testing.TB
	address string
	ours    *Server
	log     *lines
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func httpServer(h http.HandlerFunc) (*http.Server, *lines) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	out := new(lines)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		Protocols: protocols, ErrorLog: log.New(out, "", 0),
	}, out
}

// serve starts a server; change may adjust it.
func serve(t testing.TB, h http.HandlerFunc, change ...func(*http.Server)) *served {
	t.Helper()
	hs, out := httpServer(h)
	for _, f := range change {
		f(hs)
	}
	s := New(hs)
	return run(t, s, s, out)
}

func serveNetHTTP(t testing.TB, h http.HandlerFunc) *served {
	t.Helper()
	s, out := httpServer(h)
	return run(t, s, nil, out)
}

func run(t testing.TB, s interface {
	Serve(net.Listener) error
	Close() error
}, ours *Server, out *lines,
) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return &served{t, l.Addr().String(), ours, out}
}

func (s *served) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// talk sends text and gives all that comes until the server closes.
func (s *served) talk(text string) string {
	s.t.Helper()
	c := s.dial()
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		s.t.Errorf("%q: %v", text, err)
	}
	return string(b)
}

const last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

func post(body string) string {
	return "POST /mcp/a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

var dates = regexp.MustCompile(`Date: [^\r]*`)

// TestAnswersAreThoseOfNetHTTP: the same handler and the same requests, every byte of the answers the same.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	large := strings.Repeat("0123456789", 10_000)
	handlers := map[string]http.HandlerFunc{
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"echo": func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "%s %s %s %d %v %v %q", r.Method, r.RequestURI, r.Host, r.ContentLength, r.Close, err, b)
		},
		"body unread": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) },
		"body closed": func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			_, err := r.Body.Read(make([]byte, 1))
			if r.ContentLength > 0 {
				w.Header().Set("Connection", "close") // net/http does so where the body was not in its buffer
			}
			fmt.Fprint(w, err)
		},
		"status only": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202) },
		"no content": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
		},
		"not modified": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "x/y")
			w.WriteHeader(304)
		},
		"no body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(204)
			_, err := w.Write([]byte("x"))
			must(t, errors.Is(err, http.ErrBodyNotAllowed))
		},
		"unknown status": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(499) },
		"two statuses":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404); w.WriteHeader(200) },
		"sniffed":        func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
		"not sniffed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "x")
		},
		"header": func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h["X-Two"] = []string{"a", "b"}
			h["x-lower"] = []string{" trimmed\t"}
			h["X-Split"] = []string{"a\r\nSet-Cookie: b"}
			h["bad name"] = []string{"c"}
			h["Date"] = []string{"today"}
			h["Transfer-Encoding"] = nil
			w.WriteHeader(200)
			h.Set("X-Late", "no")
			h["X-Two"][1] = "c"
			io.WriteString(w, "x")
		},
		"counted": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			io.WriteString(w, "ab")
			_, err := io.WriteString(w, "cd")
			must(t, errors.Is(err, http.ErrContentLength))
			io.WriteString(w, "c")
		},
		"counted, flushed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "4")
			io.WriteString(w, "ab")
			w.(http.Flusher).Flush()
			io.WriteString(w, "cd")
		},
		"counted too high, flushed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			io.WriteString(w, "ab")
			w.(http.Flusher).Flush()
		},
		"counted too high": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			io.WriteString(w, "ab")
		},
		"counted, large": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, large)
		},
		"counted, large, in pieces": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			for i := 0; i < len(large); i += 1000 {
				io.WriteString(w, large[i:i+1000])
			}
		},
		"events": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				must(t, http.NewResponseController(w).Flush() == nil)
			}
		},
		"flushed late": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<html>")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		},
		"flushed for no reason": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); w.(http.Flusher).Flush() },
		"closes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			io.WriteString(w, "bye")
		},
		"keeps alive": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "keep-alive") },
		"aborts": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "never sent")
			panic(http.ErrAbortHandler)
		},
		"aborts within": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "sent")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	requests := map[string]string{
		"get":       "GET /mcp/a?x=1 HTTP/1.1\r\nHost: h:1\r\n\r\n" + last,
		"post":      post(`{"jsonrpc":"2.0"}`) + post("") + last,
		"delete":    "DELETE /mcp/a HTTP/1.1\r\nHost: h\r\n\r\n" + last,
		"close":     last + "GET /never HTTP/1.1\r\nHost: h\r\n\r\n",
		"other":     "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na" + post("back") + last,
		"chunked":   post("first") + "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + last,
		"malformed": post("first") + "POST /a HTTP/1.1\r\nHost: h\r\nX\r\n\r\n",
		"old":       "GET /a HTTP/1.0\r\n\r\n",
	}
	for name, h := range handlers {
		ours, theirs := serve(t, h), serveNetHTTP(t, h)
		for how, text := range requests {
			want := dates.ReplaceAllString(theirs.talk(text), "Date: D")
			got := dates.ReplaceAllString(ours.talk(text), "Date: D")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s, %s (- net/http):\n%s", name, how, d)
			}
		}
	}
}

func must(t *testing.T, ok bool) {
	if !ok {
		t.Helper()
		t.Error("not so")
	}
}

// TestLargeAnswersComeWhole: what does not fit is sent in chunks, which net/http cuts elsewhere.
func TestLargeAnswersComeWhole(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		piece, _ := strconv.Atoi(r.URL.Query().Get("piece"))
		for size > 0 {
			n := min(size, piece)
			if _, err := w.Write(make([]byte, n)); err != nil {
				t.Error(err)
			}
			size -= n
		}
	})
	for _, size := range []int{0, 1, heldBack - 1, heldBack, heldBack + 1, headRoom + heldBack + 1, 1 << 20} {
		for _, piece := range []int{1000, heldBack, heldBack + 1, 1 << 20} {
			resp, err := http.Get(fmt.Sprintf("http://%s/?size=%d&piece=%d", s.address, size, piece))
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || n != int64(size) {
				t.Errorf("size %d in pieces of %d: %d, %v", size, piece, n, err)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestRequestsComeInPieces: whole requests whatever the network makes of them, also where net/http gets the connection in
// the middle of one.
func TestRequestsComeInPieces(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v\n", r.Method, b, err)
	})
	chunked := "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	large := strings.Repeat("x", inSize)
	for _, text := range []string{
		post("hello") + post("world") + last,
		post("hello") + chunked + last,
		post(large) + last,
		"POST /a HTTP/1.1\r\nHost: h\r\nX: " + large + "\r\nContent-Length: 2\r\n\r\nok" + last,
	} {
		step := max(1, len(text)/700)
		c := s.dial()
		go func() {
			for i := 0; i < len(text); i += step {
				_, _ = io.WriteString(c, text[i:min(i+step, len(text))])
				time.Sleep(100 * time.Microsecond)
			}
		}()
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := s.talk(text); dates.ReplaceAllString(string(got), "") != dates.ReplaceAllString(want, "") {
			t.Errorf("in pieces %q, at once %q", got, want)
		}
	}
}

// TestHTTP2WithoutTLSIsHandedOn: h2c by prior knowledge, on the same port.
func TestHTTP2WithoutTLSIsHandedOn(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + s.address)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(b) != "HTTP/2.0" {
		t.Errorf("spoke %s", b)
	}
}

// TestNothingOfARequestIsLeftInTheNext: header, body and answer of one connection's requests do not mix.
func TestNothingOfARequestIsLeftInTheNext(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Seen", fmt.Sprintf("%d %s %s", len(r.Header), r.Header.Get("X"), b))
		if r.Header.Get("X") != "" {
			w.Header().Set("Set", r.Header.Get("X"))
		}
	})
	got := s.talk("POST /a HTTP/1.1\r\nHost: h\r\nX: one\r\nContent-Length: 1\r\n\r\n1" + "POST /a HTTP/1.1\r\nHost: h\r\nX: two\r\nY: y\r\n\r\n" + last)
	var seen []string
	for _, line := range strings.Split(got, "\r\n") {
		if name, v, _ := strings.Cut(line, ": "); name == "Seen" || name == "Set" {
			seen = append(seen, v)
		}
	}
	if d := cmp.Diff([]string{"2 one 1", "one", "2 two", "two", "1"}, seen); d != "" {
		t.Error(d)
	}
}

// TestLimits: who sends nothing, or too slowly, is closed at the limit, also where net/http has the connection meanwhile.
func TestLimits(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := io.ReadAll(r.Body); err != nil {
			w.Header().Set("Connection", "close")
			w.WriteHeader(400)
		}
	}, func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = 300*time.Millisecond, 600*time.Millisecond })
	for name, c := range map[string]struct {
		first, drip string
		at          time.Duration
		answer      string
	}{
		"nothing":               {"", "", 300 * time.Millisecond, ""},
		"part of a head":        {"POST /a HTTP/1.1\r\nHost", "", 300 * time.Millisecond, ""},
		"a head that trickles":  {"POST /a HTTP/1.1\r\nX: ", "x", 300 * time.Millisecond, ""},
		"a large one":           {"POST /a HTTP/1.1\r\nX: " + strings.Repeat("x", inSize), "x", 300 * time.Millisecond, ""},
		"one for net/http":      {"PUT /a HTTP/1.1\r\nX: ", "x", 300 * time.Millisecond, ""},
		"silence after a call":  {post("a"), "", 600 * time.Millisecond, "HTTP/1.1 200 OK"},
		"part of a second head": {post("a") + "PO", "", 300 * time.Millisecond, "HTTP/1.1 200 OK"},
		"half a body":           {"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", "", 300 * time.Millisecond, "HTTP/1.1 400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := s.dial()
			began := time.Now()
			_, _ = io.WriteString(conn, c.first)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for c.drip != "" {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						_, _ = io.WriteString(conn, c.drip)
					}
				}
			}()
			b, _ := io.ReadAll(conn)
			took := time.Since(began)
			if line, _, _ := strings.Cut(string(b), "\r\n"); line != c.answer {
				t.Errorf("answered %q, want %q", b, c.answer)
			}
			if took < c.at*9/10 || took > c.at+5*time.Second {
				t.Errorf("closed after %s, limit %s", took, c.at)
			}
		})
	}
}

// deadlines notes the read deadlines that are set.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestNetHTTPGivesNoNewTimeForAHead that was begun before the connection was handed over.
func TestNetHTTPGivesNoNewTimeForAHead(t *testing.T) {
	now := time.Now()
	var d deadlines
	h := &handed{Conn: &d, until: now.Add(1)}
	for _, at := range []time.Time{{}, now.Add(2), now.Add(3), {}} {
		_ = h.SetReadDeadline(at)
	}
	if diff := cmp.Diff([]time.Time{{}, now.Add(1), now.Add(3), {}}, d.set); diff != "" {
		t.Error(diff)
	}
}

// TestWhatTheHandlerLeftUnreadIsNoRequest: a body that nobody looked at is taken off the connection, whatever is in it.
func TestWhatTheHandlerLeftUnreadIsNoRequest(t *testing.T) {
	var served []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { served = append(served, r.URL.Path) })
	inner := "DELETE /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	body := strings.Repeat(inner, 1000)
	c := s.dial()
	request := post(body)
	half := len(request) - len(body)/2
	go func() {
		_, _ = io.WriteString(c, request[:half])
		time.Sleep(50 * time.Millisecond)
		_, _ = io.WriteString(c, request[half:]+last)
	}()
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/mcp/a", "/last"}, served); d != "" {
		t.Error(d)
	}
}

// TestTheAnswerArrivesThoughTheBodyWasNotRead: a connection closed with bytes unread takes back what it has sent.
func TestTheAnswerArrivesThoughTheBodyWasNotRead(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(413)
	})
	c := s.dial()
	_, _ = io.WriteString(c, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n"+strings.Repeat("x", 30_000))
	time.Sleep(100 * time.Millisecond)
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 413") {
		t.Errorf("%q %v", b, err)
	}
}

// TestPanicsEndTheirConnectionOnly and are written down as net/http does it.
func TestPanicsEndTheirConnectionOnly(t *testing.T) {
	kept := make(chan context.Context, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			kept <- r.Context()
			panic("oops")
		}
	})
	if got := s.talk("DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n" + last); got != "" {
		t.Errorf("answered %q", got)
	}
	if err := (<-kept).Err(); err != context.Canceled {
		t.Errorf("the context says %v", err)
	}
	if !strings.Contains(s.log.String(), "http: panic serving 127.0.0.1:") || !strings.Contains(s.log.String(), "oops\ngoroutine ") {
		t.Errorf("logged %q", s.log)
	}
	if got := s.talk(last); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("answered %q", got)
	}
}

// TestShutdownWaitsForRequests: idle connections end at once, the others with their answers, which say so.
func TestShutdownWaitsForRequests(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodDelete:
			w.(http.Flusher).Flush()
			fallthrough
		case http.MethodPost:
			entered <- struct{}{}
			<-goOn
		}
	})
	fresh, idle, busy, begun := s.dial(), s.dial(), s.dial(), s.dial()
	_, _ = io.WriteString(begun, "DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	_, _ = io.WriteString(idle, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	br := bufio.NewReader(idle)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(busy, post("a"))
	<-entered
	down := make(chan error)
	go func() { down <- s.ours.Shutdown(context.Background()) }()
	for name, c := range map[string]io.Reader{"fresh": fresh, "idle": br} {
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	select {
	case err := <-down:
		t.Fatalf("shut down with a request at work: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if c, err := net.Dial("tcp", s.address); err == nil {
		c.Close()
		t.Error("still listens")
	}
	close(goOn)
	if b, err := io.ReadAll(busy); err != nil || !strings.Contains(string(b), "200 OK\r\n") || !strings.Contains(string(b), "Connection: close\r\n") {
		t.Errorf("%q %v", b, err)
	}
	if b, err := io.ReadAll(begun); err != nil || !strings.HasSuffix(string(b), "\r\n0\r\n\r\n") {
		t.Errorf("%q %v", b, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// TestShutdownHasALimit: requests that outlast it are cut by Close.
func TestShutdownHasALimit(t *testing.T) {
	entered := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		close(entered)
		<-r.Context().Done()
	})
	c := s.dial()
	_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.ours.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	_ = s.ours.Close()
	if b, _ := io.ReadAll(c); !strings.Contains(string(b), "chunked") || strings.HasSuffix(string(b), "0\r\n\r\n") {
		t.Errorf("%q", b)
	}
	s.ours.running.Wait()
}

// TestManyClients is for the race detector.
func TestManyClients(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if len(b)%3 == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(watchAfter + time.Millisecond):
			}
		}
		w.Header().Set("X", r.Header.Get("X"))
		_, _ = w.Write(b)
	})
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	defer tr.CloseIdleConnections()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 60 {
				body := strings.Repeat("x", (g*i*97)%70_000)
				req, _ := http.NewRequest(http.MethodPost, "http://"+s.address+"/a", strings.NewReader(body))
				req.Header.Set("X", strconv.Itoa(i))
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(b) != body || resp.Header.Get("X") != strconv.Itoa(i) {
					t.Errorf("%d bytes of %d, X %q of %d, %v", len(b), len(body), resp.Header.Get("X"), i, err)
				}
			}
		})
	}
	wg.Wait()
}
