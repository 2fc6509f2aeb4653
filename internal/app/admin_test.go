package app

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func startApp(t *testing.T, change func(*config.Config)) *App {
	t.Helper()
	cfg := config.Default()
	cfg.Source, cfg.Dir.Path, cfg.State.Path, cfg.Log.Audit = config.SourceDir, t.TempDir(), config.StateOff, "off"
	cfg.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	change(&cfg)
	a, err := Start(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Drain() })
	return a
}

// TestAdminAnswersNoPage: a page that has a browser ask for its own name, which resolves to the loopback address by then, reads
// neither grants nor metrics nor profiles, with a token or without; probes may use any name. Seen red with the check taken out,
// and with health behind it.
func TestAdminAnswersNoPage(t *testing.T) {
	plain := startApp(t, func(*config.Config) {})
	named := startApp(t, func(c *config.Config) {
		c.Admin.Token, c.Admin.AllowedHosts, c.Admin.Pprof = nacos.NewSecret("a-token"), []string{"proxy.internal"}, true
	})
	for _, c := range []struct {
		app                 *App
		path, host, origin  string
		want                int
		wantAllowedHostHint bool
	}{
		{plain, "/status", "", "", 200, false},
		{plain, "/status", "localhost:8801", "", 200, false},
		{plain, "/metrics", "[::1]:8801", "", 200, false},
		{plain, "/status", "evil.example", "", 403, true},
		{plain, "/status", "127.0.0.1.evil.example:8801", "", 403, true},
		{plain, "/status/access?service=x", "evil.example", "", 403, true},
		{plain, "/metrics", "evil.example:8801", "", 403, true},
		{plain, "/debug/pprof/", "evil.example", "", 403, true},
		{plain, "/status", "localhost:8801", "http://evil.example", 403, false},
		{plain, "/status", "localhost:8801", "null", 403, false},
		{plain, "/status", "localhost:8801", "http://localhost:8800", 403, false},
		{plain, "/status", "localhost:8801", "http://localhost:8801", 200, false},
		{plain, "/livez", "evil.example", "", 200, false},
		{plain, "/readyz", "10.1.2.3:8801", "", 503, false},
		{plain, "/debug/pprof/", "", "", 404, false},
		{plain, "/debug/pprof/heap", "", "", 404, false},
		{plain, "/debug/pprof/profile?seconds=1", "", "", 404, false},
		{named, "/debug/pprof/", "proxy.internal:8801", "", 200, false},
		{named, "/status", "proxy.internal", "", 200, false},
		{named, "/status", "127.0.0.1", "", 403, true},
		{named, "/livez", "127.0.0.1", "", 200, false},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.app.AdminAddr().String()+c.path, nil)
		r.Host = c.host
		r.Header.Set("Authorization", "Bearer a-token")
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.want || strings.Contains(string(body), "admin.allowedHosts") != c.wantAllowedHostHint {
			t.Errorf("%s as %q from %q: %d, want %d: %s", c.path, c.host, c.origin, resp.StatusCode, c.want, body)
		}
	}
}

// TestAllPortsOfNacosAreKnown: each port of each member, the console's too, and those of one whose name no longer resolves. Seen
// red without the console, and with the first lookup that fails ending the others.
func TestAllPortsOfNacosAreKnown(t *testing.T) {
	f := &feeds{nacos: []string{"gone.invalid:8848", "127.0.0.1", "127.0.0.2:65000", "[::1]:500"}, console: 8080, hosts: map[string][]netip.Addr{
		"gone.invalid": {netip.MustParseAddr("192.0.2.7")},
	}}
	f.resolve(t.Context())
	var got []string
	for _, a := range f.addresses() {
		got = append(got, a.String())
	}
	want := []string{
		"192.0.2.7:8848", "192.0.2.7:9848", "192.0.2.7:9849", "192.0.2.7:7848", "192.0.2.7:8080",
		"127.0.0.1:8848", "127.0.0.1:9848", "127.0.0.1:9849", "127.0.0.1:7848", "127.0.0.1:8080",
		"127.0.0.2:65000", "127.0.0.2:64000", "127.0.0.2:8080",
		"[::1]:500", "[::1]:1500", "[::1]:1501", "[::1]:8080",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := nacosPorts(8848, 0); slices.Contains(got, 0) || len(got) != 4 {
		t.Errorf("without a console: %v", got)
	}
}

// TestOneAddressDoesNotKeepOperatorsOut: with 32 idle connections a stranger had probes of health refused for two minutes, and
// as often as it came again. Seen to fail without PerAddress.
func TestOneAddressDoesNotKeepOperatorsOut(t *testing.T) {
	a := startApp(t, func(*config.Config) {})
	address := a.adminListener.Addr().String()
	for range 2 * adminConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // on Linux all of 127.0.0.0/8 is there
	client := &http.Client{Transport: &http.Transport{DialContext: from.DialContext}}
	resp, err := client.Get("http://" + address + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/livez: %d", resp.StatusCode)
	}
}
