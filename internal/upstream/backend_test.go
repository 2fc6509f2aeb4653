package upstream

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// serve starts a backend that ends with the test.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func open(t testing.TB, o Options, def registry.Backend) *Backend {
	t.Helper()
	u := New(o)
	b, err := u.Open("svc", def)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(); u.Close() })
	return b
}

func get(t testing.TB, b *Backend, r *Request) (int, string, error) {
	t.Helper()
	if r.Method == "" {
		r.Method = "GET"
	}
	resp, err := b.Do(t.Context(), r)
	if err != nil {
		return 0, "", err
	}
	body, err := resp.AppendBody(nil)
	return resp.Status, string(body), err
}

// hostPortOf gives an instance for a test server.
func instanceOf(t testing.TB, s *httptest.Server) Instance {
	t.Helper()
	u, _ := url.Parse(s.URL)
	port, _ := strconv.Atoi(u.Port())
	return Instance{Host: u.Hostname(), Port: port, Weight: 1, Healthy: true, Enabled: true}
}

// fixed subscribes to a list that never changes.
func fixed(list ...Instance) func(registry.BackendRef, func([]Instance)) (func(), error) {
	return func(_ registry.BackendRef, f func([]Instance)) (func(), error) {
		f(list)
		return func() {}, nil
	}
}

var ref = &registry.BackendRef{Group: "g", Service: "s", Scheme: "http"}

func TestPathsGoOutAsWritten(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) })
	for _, c := range []struct{ base, path, want string }{
		{"", "", "/"},
		{"/mcp", "", "/mcp"},
		{"/mcp?k=v", "", "/mcp?k=v"},
		{"/v2/", "/pet/7", "/v2/pet/7"},
		{"/v2", "pet/7?a=b", "/v2/pet/7?a=b"},
		{"/v2?k=v", "/pet?a=b", "/v2/pet?k=v&a=b"},
		{"/v2", "?a=b", "/v2?a=b"},
		{"/v2/", "?a=b", "/v2/?a=b"},
		{"", "/a%2Fb/%2e%2e/c", "/a%2Fb/%2e%2e/c"},
		{"", "/a b/ü/{x}?q=a b", "/a%20b/%C3%BC/%7Bx%7D?q=a%20b"},
		{"", "/a\r\nX: y?z=\x00", "/a%0D%0AX:%20y?z=%00"},
		{"", "/100%/x", "/100%25/x"},
		{"", "//evil.example/x", "//evil.example/x"},
	} {
		b := open(t, Options{}, registry.Backend{URL: s.URL + c.base})
		_, got, err := get(t, b, &Request{Path: c.path})
		if err != nil || got != c.want {
			t.Errorf("%q + %q: got %q, %v; want %q", c.base, c.path, got, err, c.want)
		}
	}
}

func TestDefinitionsThatCannotBeOpened(t *testing.T) {
	u := New(Options{})
	defer u.Close()
	for _, c := range []struct {
		def  registry.Backend
		want string
	}{
		{registry.Backend{URL: "ftp://x"}, "open backend of svc: url: must begin with http:// or https://"},
		{registry.Backend{URL: "http://u:p@x/"}, "open backend of svc: url: must not hold a user name or backslash before the path"},
		{registry.Backend{URL: "http:///x"}, "open backend of svc: url: has no valid host"},
		{registry.Backend{URL: "http://x/#f"}, "open backend of svc: url: must not hold a fragment"},
		{registry.Backend{Ref: &registry.BackendRef{Scheme: "ws"}}, "open backend of svc: scheme of the naming service must be http or https"},
		{registry.Backend{URL: "https://x", TLS: &registry.TLS{CA: "/dev/zero"}}, "open backend of svc: tls.ca: names a file of the proxy's host, but upstream.tlsDir is not set in the boot configuration: no such file is read"},
	} {
		_, err := u.Open("svc", c.def)
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v: got %v, want %s", c.def, err, c.want)
		}
	}
}

func TestInstancesAreChosenByWeightAmongTheUsable(t *testing.T) {
	var hits [4]atomic.Int32
	var list []Instance
	for i := range hits {
		list = append(list, instanceOf(t, serve(t, func(http.ResponseWriter, *http.Request) { hits[i].Add(1) })))
	}
	list[0].Weight, list[1].Weight, list[2].Weight, list[3].Healthy = 1, 3, 0, false
	disabled := instanceOf(t, serve(t, func(http.ResponseWriter, *http.Request) { t.Error("disabled instance called") }))
	disabled.Enabled = false
	b := open(t, Options{Subscribe: fixed(append(list, disabled)...)}, registry.Backend{Ref: ref})
	for range 400 {
		if _, _, err := get(t, b, &Request{Path: "/"}); err != nil {
			t.Fatal(err)
		}
	}
	if a, c := hits[0].Load(), hits[1].Load(); a+c != 400 || a < 50 || a > 160 {
		t.Errorf("weights 1 and 3 got %d and %d of 400", a, c)
	}
	if hits[2].Load()+hits[3].Load() != 0 {
		t.Error("an instance of weight 0 or an unhealthy one was called")
	}
}

func TestNoHealthyInstanceIsSaid(t *testing.T) {
	for _, c := range []struct {
		name      string
		subscribe func(registry.BackendRef, func([]Instance)) (func(), error)
	}{
		{"empty list", fixed()},
		{"only unhealthy", fixed(Instance{Host: "127.0.0.1", Port: 1, Weight: 1, Enabled: true})},
		{"bad addresses", fixed(Instance{Host: "a/b@c", Port: 80, Weight: 1, Enabled: true, Healthy: true})},
		{"never told", func(registry.BackendRef, func([]Instance)) (func(), error) { return func() {}, nil }},
	} {
		b := open(t, Options{Subscribe: c.subscribe, FirstList: 20 * time.Millisecond}, registry.Backend{Ref: ref})
		_, _, err := get(t, b, &Request{Path: "/"})
		if KindOf(err) != NoInstance || err.Error() != "no healthy instance of the backend" {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// TestA36_RetriedOnlyIfNothingWasSent: taking the Sent check out (retrying any error) makes the second part count 2 calls.
func TestA36_RetriedOnlyIfNothingWasSent(t *testing.T) {
	t.Run("refused connections are retried elsewhere and the instance left out", func(t *testing.T) {
		var calls atomic.Int32
		good := instanceOf(t, serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
		bad := closedPort(t)
		bad.Weight = 1000
		b := open(t, Options{Subscribe: fixed(good, bad)}, registry.Backend{Ref: ref})
		for range 20 {
			if _, _, err := get(t, b, &Request{Method: "POST", Path: "/", Body: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
		if calls.Load() != 20 {
			t.Errorf("%d calls arrived, want 20", calls.Load())
		}
		for _, s := range b.Instances() {
			if want := strings.HasSuffix(s.Address, fmt.Sprint(bad.Port)); s.Ejected != want {
				t.Errorf("%+v: ejected should be %v", s, want)
			}
		}
	})
	for _, method := range []string{"GET", "POST", "PUT"} {
		for _, key := range []string{"", "k"} {
			t.Run("a "+method+" cut off after it arrived is not sent again, idempotency key "+strconv.Quote(key), func(t *testing.T) {
				var calls, cut atomic.Int32
				h := func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/warm" {
						return
					}
					calls.Add(1)
					io.Copy(io.Discard, r.Body)
					c, _, _ := w.(http.Hijacker).Hijack()
					cut.Add(1)
					c.Close()
				}
				b := open(t, Options{Subscribe: fixed(instanceOf(t, serve(t, h)), instanceOf(t, serve(t, h)))}, registry.Backend{Ref: ref})
				for range 4 { // pooled connections are where http.Transport would replay
					get(t, b, &Request{Path: "/warm"})
				}
				header := http.Header{}
				if key != "" {
					header.Set("Idempotency-Key", key)
				}
				var body []byte
				if method != "GET" {
					body = []byte("{}")
				}
				_, _, err := get(t, b, &Request{Method: method, Path: "/", Header: header, Body: body})
				if KindOf(err) != Protocol || calls.Load() != 1 {
					t.Errorf("got %v after %d calls, want a fault after one", err, calls.Load())
				}
			})
		}
	}
}

// closedPort is an instance whose connections are refused.
func closedPort(t testing.TB) Instance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return Instance{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Weight: 1, Healthy: true, Enabled: true}
}

func TestEjectedInstancesAreTriedAgain(t *testing.T) {
	in := closedPort(t)
	b := open(t, Options{Subscribe: fixed(in)}, registry.Backend{Ref: ref})
	_, _, err := get(t, b, &Request{Path: "/"})
	if KindOf(err) != Refused || err.Error() != "backend unreachable" {
		t.Fatalf("got %v", err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(in.Host, strconv.Itoa(in.Port)))
	if err != nil {
		t.Skip("the port was taken meanwhile")
	}
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go s.Serve(l)
	defer s.Close()
	if _, _, err := get(t, b, &Request{Path: "/"}); err != nil {
		t.Fatal("the only instance is back but was not tried:", err)
	}
	if b.Instances()[0].Ejected {
		t.Error("an instance that answered is still left out")
	}
}

func TestPinnedInstance(t *testing.T) {
	one := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "one") })
	two := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "two") })
	var update func([]Instance)
	b := open(t, Options{Subscribe: func(_ registry.BackendRef, f func([]Instance)) (func(), error) {
		update = f
		f([]Instance{instanceOf(t, one), instanceOf(t, two)})
		return func() {}, nil
	}}, registry.Backend{Ref: ref})
	pin := strings.TrimPrefix(two.URL, "http://")
	for range 10 {
		if _, body, err := get(t, b, &Request{Path: "/", Instance: pin}); err != nil || body != "two" {
			t.Fatal(body, err)
		}
	}
	update([]Instance{instanceOf(t, one)})
	if _, _, err := get(t, b, &Request{Path: "/", Instance: pin}); KindOf(err) != InstanceGone {
		t.Fatalf("got %v, want InstanceGone", err)
	}
}

func TestRedirectsStayWithinTheService(t *testing.T) {
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("another service was called") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/out":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/moved", "/see":
			http.Redirect(w, r, "/end", map[string]int{"/moved": 307, "/see": 303}[r.URL.Path])
		case "/plain":
			w.WriteHeader(304)
		case "/end":
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, body, r.Header.Get("Authorization"))
		}
	})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	call := func(path string, stream bool) (int, string, error) {
		return get(t, b, &Request{Method: "POST", Path: path, Body: []byte("x"), Header: http.Header{"Authorization": {"Basic c2VjcmV0"}}, Stream: stream})
	}
	for _, c := range []struct {
		path   string
		stream bool
		want   string
		kind   Kind
	}{
		{"/out", false, "", Redirect},
		{"/loop", false, "", Redirect},
		{"/moved", false, "POST x Basic c2VjcmV0", 0},
		{"/moved", true, "POST x Basic c2VjcmV0", 0},
		{"/see", false, "GET  Basic c2VjcmV0", 0},
		{"/see", true, "", Redirect},
		{"/plain", false, "", 0},
	} {
		_, body, err := call(c.path, c.stream)
		if body != c.want || KindOf(err) != c.kind {
			t.Errorf("%s stream=%v: got %q, %v", c.path, c.stream, body, err)
		}
	}
}

func TestSecretsGoOnlyWhereTheyMay(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		ref           *registry.BackendRef
		want          bool
	}{
		{"api.example.com", "api.example.com:443", nil, true},
		{"API.example.com.", "api.example.com:80", nil, true},
		{"api.example.com", "xapi.example.com:443", nil, false},
		{"api.example.com:443", "api.example.com:443", nil, true},
		{"api.example.com:443", "api.example.com:8443", nil, false},
		{"*.example.com", "api.example.com:443", nil, true},
		{"*.example.com", "a.b.example.com:443", nil, true},
		{"*.example.com", "example.com:443", nil, false},
		{"*.example.com:8443", "api.example.com:443", nil, false},
		{"*example.com", "evilexample.com:443", nil, false},
		{"*", "anything:1", nil, true},
		{"[::1]:80", "[::1]:80", nil, true},
		{"::1", "[::1]:80", nil, true},
		{"nacos:g/s", "10.0.0.1:80", ref, true},
		{"nacos:g/other", "10.0.0.1:80", ref, false},
		{"nacos:g/s", "10.0.0.1:80", nil, false},
		{"nacos:g/s", "10.0.0.1:80", &registry.BackendRef{Namespace: "public", Group: "g", Service: "s"}, true},
		{"nacos:g/s", "10.0.0.1:80", &registry.BackendRef{Namespace: "foreign", Group: "g", Service: "s"}, false},
		{"nacos:foreign/g/s", "10.0.0.1:80", &registry.BackendRef{Namespace: "foreign", Group: "g", Service: "s"}, true},
		{"10.0.0.1", "10.0.0.1:80", ref, true},
	} {
		if got := mayReceive([][]string{nil, {"none.invalid", c.pattern}}, c.host, c.ref, "public"); got != c.want {
			t.Errorf("%s to %s (%v): got %v", c.pattern, c.host, c.ref, got)
		}
	}
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the secret was sent") })
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	_, _, err := get(t, b, &Request{SecretHosts: [][]string{{"127.0.0.1"}, {"api.example.com"}}})
	if KindOf(err) != Blocked {
		t.Errorf("got %v", err)
	}
}

// TestInstancesAreHeldToNetworks: whoever may register an instance in Nacos must not be sent a secret at an address of their own
// where its document lists networks. Seen red while "nacos:" let every instance of the service have it.
func TestInstancesAreHeldToNetworks(t *testing.T) {
	ref := &registry.BackendRef{Group: "g", Service: "s"}
	for _, c := range []struct {
		patterns []string
		host     string
		want     bool
	}{
		{[]string{"nacos:g/s"}, "203.0.113.9:80", true},
		{[]string{"nacos:g/s", "10.0.0.0/8"}, "10.1.2.3:80", true},
		{[]string{"10.0.0.0/8", "nacos:g/s"}, "203.0.113.9:80", false},
		{[]string{"nacos:g/s", "10.0.0.0/8", "192.168.0.0/16"}, "192.168.7.7:80", true},
		{[]string{"nacos:g/s", "fd00::/8"}, "[fd00::1]:80", true},
		{[]string{"nacos:g/s", "fd00::/8"}, "[fe80::1%eth0]:80", false},
		{[]string{"nacos:g/s", "10.0.0.0/8"}, "[::ffff:10.0.0.1]:80", true},
		{[]string{"nacos:g/s", "10.0.0.0/8"}, "10.evil.example:80", false}, // a name: who knows where it leads
		{[]string{"nacos:g/other", "10.0.0.0/8"}, "10.1.2.3:80", false},    // a network opens nothing by itself
		{[]string{"10.0.0.0/8"}, "10.1.2.3:80", false},
		{[]string{"nacos:g/s", "10.0.0.0/8", "203.0.113.9"}, "203.0.113.9:80", true}, // listed by itself
	} {
		if got := mayReceive([][]string{c.patterns}, c.host, ref, "public"); got != c.want {
			t.Errorf("%q to %s: got %v", c.patterns, c.host, got)
		}
	}
}

// TestHostHeadersAreHeldToHosts: behind a shared address, a request with another Host reaches another's backend. Seen red while
// only the address was looked at: every request arrived.
func TestHostHeadersAreHeldToHosts(t *testing.T) {
	arrived := ""
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { arrived = r.Host })
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	port := strings.TrimPrefix(s.URL, "http://127.0.0.1:")
	for _, c := range []struct {
		host     string
		patterns []string
		want     bool
	}{
		{"", []string{"127.0.0.1"}, true},
		{"127.0.0.1:" + port, []string{"127.0.0.1"}, true},
		{"api.example.com", []string{"127.0.0.1"}, false},
		{"api.example.com", []string{"127.0.0.1", "api.example.com"}, true},
		{"API.Example.com.:" + port, []string{"127.0.0.1", "api.example.com"}, true},
		{"api.example.com", []string{"127.0.0.1", "*.example.com"}, true},
		{"api.example.com", []string{"127.0.0.1", "api.example.com:" + port}, true},
		{"api.example.com:1", []string{"127.0.0.1", "api.example.com:" + port}, false},
		{"api.example.com", []string{"*"}, true},
		{"evil.example,x.example.com", []string{"127.0.0.1", "*.example.com"}, false},
		{"evil.example/.example.com", []string{"127.0.0.1", "*.example.com"}, false},
		{"evil.example:80.example.com", []string{"127.0.0.1", "*.example.com"}, false},
		{"evil.example:80@x.example.com", []string{"127.0.0.1", "*.example.com"}, false},
		{"api.example.com", []string{"api.example.com"}, false}, // the address counts, too
		{"api.example.com", nil, true},                          // a secret that may go anywhere
	} {
		arrived = ""
		_, _, err := get(t, b, &Request{Host: c.host, SecretHosts: [][]string{c.patterns}})
		if got := arrived != ""; got != c.want || !got && KindOf(err) != Blocked {
			t.Errorf("Host %q, bound to %q: arrived as %q, %v", c.host, c.patterns, arrived, err)
		}
	}
}

// TestA21_KeysNeverLeave: without clean, or keyless, the backend reports what it saw.
func TestA21_KeysNeverLeave(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { r.Header.Write(w) })
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	h := http.Header{
		"Authorization": {"Bearer nmp_a_b"}, "X_api_key": {"nmp_a_b"}, "x-api-key": {" nmp_a_b"}, "X-Two": {"ok", "nmp_a_b"},
		"Cookie": {"a=b; k=nmp_a_b"}, "Connection": {"X-Hop, close"}, "X-Hop": {"1"}, "Te": {"trailers"}, "X-Keep": {"yes"},
	}
	_, got, err := get(t, b, &Request{Header: h})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("User-Agent: nacos-mcp-proxy\r\nX-Keep: yes\r\n", got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := get(t, b, &Request{Path: "/x?a=1&api_key=nmp_a_b"}); KindOf(err) != Blocked {
		t.Errorf("key in the query: got %v", err)
	}
}

func TestErrorsNameNoAddresses(t *testing.T) {
	in := closedPort(t)
	address := net.JoinHostPort(in.Host, strconv.Itoa(in.Port))
	b := open(t, Options{}, registry.Backend{URL: "http://" + address})
	_, _, err := get(t, b, &Request{})
	e := err.(*Error)
	if strings.Contains(e.Error(), in.Host) || !strings.Contains(e.Detail(), address) || e.Sent {
		t.Errorf("error %q, detail %q, sent %v", e, e.Detail(), e.Sent)
	}
}

func TestClosedPoolsAndSubscriptionsEnd(t *testing.T) {
	var stops, subs atomic.Int32
	u := New(Options{Subscribe: func(_ registry.BackendRef, f func([]Instance)) (func(), error) {
		subs.Add(1)
		f(nil)
		return func() { stops.Add(1) }, nil
	}})
	a, _ := u.Open("a", registry.Backend{Ref: ref})
	same := *ref
	b, _ := u.Open("b", registry.Backend{Ref: &same, TLS: &registry.TLS{ServerName: "x"}})
	if len(u.pools) != 2 || len(u.sets) != 1 {
		t.Errorf("%d pools and %d sets", len(u.pools), len(u.sets))
	}
	a.Close()
	a.Close()
	b.Close()
	if len(u.pools) != 1 || len(u.sets) != 0 {
		t.Errorf("after closing: %d pools and %d sets", len(u.pools), len(u.sets))
	}
	u.Close()
	if subs.Load() != 1 || stops.Load() != 1 {
		t.Errorf("%d subscriptions, %d ended", subs.Load(), stops.Load())
	}
}

func TestSubscriptionsThatFailAreTriedAgain(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	var n atomic.Int32
	b := open(t, Options{Subscribe: func(_ registry.BackendRef, f func([]Instance)) (func(), error) {
		if n.Add(1) == 1 {
			return nil, context.DeadlineExceeded
		}
		f([]Instance{instanceOf(t, s)})
		return func() {}, nil
	}}, registry.Backend{Ref: ref})
	if _, _, err := get(t, b, &Request{Path: "/"}); err != nil {
		t.Fatal(err)
	}
}

// TestA32_NeverDialled: without the dialer's ControlContext these connect, or fail with Refused.
func TestA32_NeverDialled(t *testing.T) {
	never := netip.MustParseAddrPort("127.0.0.1:8848")
	for _, host := range []string{
		"169.254.169.254", "169.254.1.1:8080", "100.100.100.200", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0:80", "[::]:80",
		"224.0.0.1", "255.255.255.255", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
		"[::169.254.169.254]", "127.0.0.1:8848", "[::ffff:127.0.0.1]:8848", "127.0.0.1:8800", "10.9.9.9", "192.168.0.1",
	} {
		b := open(t, Options{
			Never: func() []netip.AddrPort { return []netip.AddrPort{never, netip.MustParseAddrPort("[::]:8800")} },
			Deny:  []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16")},
		}, registry.Backend{URL: "http://" + host})
		_, _, err := get(t, b, &Request{})
		if e, ok := err.(*Error); !ok || e.Kind != Blocked || e.Sent {
			t.Errorf("%s: got %v", host, err)
		}
	}
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	if _, _, err := get(t, b, &Request{}); err != nil {
		t.Error("loopback is allowed by default:", err)
	}
}
