package upstream

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// nameServer answers every question for an IPv4 address with what answer says at that moment.
func nameServer(t *testing.T, answer func(question int32) netip.Addr) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response, m.Authoritative = true, true
			m.Additionals = nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: answer(asked.Add(1)).As4()},
				}}
			}
			out, _ := m.Pack()
			pc.WriteTo(out, from)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// TestA32_NamesThatResolveDifferentlyTheSecondTime: a check of the name before dialling lets the second call through to
// the dialler; taking ControlContext out makes it end in Refused or Timeout instead of Blocked.
func TestA32_NamesThatResolveDifferentlyTheSecondTime(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	resolver := nameServer(t, func(question int32) netip.Addr {
		if question == 1 {
			return netip.MustParseAddr("127.0.0.1")
		}
		return netip.MustParseAddr("169.254.169.254")
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	b := open(t, Options{Resolver: resolver}, registry.Backend{URL: "http://rebind.example:" + port})
	if _, _, err := get(t, b, &Request{}); err != nil {
		t.Fatal("first:", err)
	}
	if _, _, err := get(t, b, &Request{}); KindOf(err) != Blocked {
		t.Errorf("second: got %v", err)
	}
}

func TestA32_RedirectsToForbiddenAddresses(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	b := open(t, Options{}, registry.Backend{URL: s.URL})
	if _, _, err := get(t, b, &Request{}); KindOf(err) != Redirect {
		t.Errorf("got %v", err)
	}
}

func TestHostNamesAsInstances(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	in := instanceOf(t, s)
	in.Host = "Backend.Example"
	resolver := nameServer(t, func(int32) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	b := open(t, Options{Resolver: resolver, Subscribe: fixed(in)}, registry.Backend{Ref: ref})
	if _, _, err := get(t, b, &Request{}); err != nil {
		t.Error(err)
	}
}

func TestAddressesOfInstances(t *testing.T) {
	for _, c := range []struct {
		host string
		port int
		want string
	}{
		{"10.0.0.1", 80, "10.0.0.1:80"},
		{"::1", 80, "[::1]:80"},
		{"[2001:DB8::1]", 80, "[2001:db8::1]:80"},
		{"Host.Example", 8080, "host.example:8080"},
		{"fe80::1%eth0", 80, ""},
		{"10.0.0.1", 0, ""},
		{"10.0.0.1", 70000, ""},
		{"", 80, ""},
		{"a/../b", 80, ""},
		{"u@h", 80, ""},
		{"h:1", 80, ""},
		{"-x", 80, ""},
		{"a b", 80, ""},
		{"a\r\nb", 80, ""},
		{strings.Repeat("a", 254), 80, ""},
	} {
		got, ok := addressOf(Instance{Host: c.host, Port: c.port})
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q %d: got %q, %v", c.host, c.port, got, ok)
		}
	}
}

func TestIPv6Backends(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this host has no IPv6")
	}
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go s.Serve(l)
	defer s.Close()
	in := Instance{Host: "::1", Port: l.Addr().(*net.TCPAddr).Port, Weight: 1, Healthy: true, Enabled: true}
	for _, def := range []registry.Backend{{URL: "http://" + l.Addr().String()}, {Ref: ref}} {
		b := open(t, Options{Subscribe: fixed(in)}, def)
		if _, _, err := get(t, b, &Request{}); err != nil {
			t.Error(err)
		}
	}
}
