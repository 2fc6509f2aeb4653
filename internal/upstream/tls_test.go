package upstream

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// authority makes certificates for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

// make writes name.crt and name.key.
func (a *authority) make(name string, c, _ *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	c.Subject = pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, _ := x509.MarshalECPrivateKey(key)
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	made, _ := x509.ParseCertificate(der)
	return made, key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// server starts a TLS server for the DNS name or address given, which reports the client's certificate and protocol.
func (a *authority) server(host string, h2 bool, auth tls.ClientAuthType) *httptest.Server {
	c := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	name := "server-" + host
	a.make(name, c, nil)
	pair, err := tls.LoadX509KeyPair(a.path(name+".crt"), a.path(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
		if len(r.TLS.PeerCertificates) > 0 {
			io.WriteString(w, " "+r.TLS.PeerCertificates[0].Subject.CommonName)
		}
	}))
	s.EnableHTTP2 = h2
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: auth, ClientCAs: roots}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

func TestTLSPerService(t *testing.T) {
	a := newAuthority(t)
	a.make("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil)
	byIP := a.server("127.0.0.1", true, tls.NoClientCert)
	byName := a.server("backend.test", false, tls.NoClientCert)
	mutual := a.server("127.0.0.1", true, tls.RequireAndVerifyClientCert)
	ca, cert, key := a.path("ca.crt"), a.path("client.crt"), a.path("client.key")
	for _, c := range []struct {
		name string
		s    *httptest.Server
		tls  *registry.TLS
		want string
		kind Kind
	}{
		{"unknown authority", byIP, nil, "", Refused},
		{"own authority, HTTP/2", byIP, &registry.TLS{CA: ca}, "HTTP/2.0", 0},
		{"another name", byName, &registry.TLS{CA: ca}, "", Refused},
		{"server name given, HTTP/1.1", byName, &registry.TLS{CA: ca, ServerName: "backend.test"}, "HTTP/1.1", 0},
		{"verification off", byName, &registry.TLS{SkipVerify: true}, "HTTP/1.1", 0},
		{"client certificate", mutual, &registry.TLS{CA: ca, Cert: cert, Key: key}, "HTTP/2.0 client", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			u := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), TLSFiles: TLSFiles{Dir: a.dir}})
			b, err := u.Open("svc", registry.Backend{URL: c.s.URL, TLS: c.tls})
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			defer b.Close()
			_, got, err := get(t, b, &Request{Method: "POST", Body: []byte("x")})
			if got != c.want || KindOf(err) != c.kind {
				t.Errorf("got %q, %v", got, err)
			}
			if e, ok := err.(*Error); ok && e.Sent {
				t.Error("a failed handshake counts as sent")
			}
			if loud := strings.Contains(log.String(), "NOT verified"); loud != (c.tls != nil && c.tls.SkipVerify) {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// TestA22_ConnectionsAreNotSharedAcrossIdentities: with one pool for all, the second service speaks as the first.
func TestA22_ConnectionsAreNotSharedAcrossIdentities(t *testing.T) {
	a := newAuthority(t)
	s := a.server("127.0.0.1", true, tls.VerifyClientCertIfGiven)
	u := New(Options{TLSFiles: TLSFiles{Dir: a.dir}})
	defer u.Close()
	var opened []*Backend
	for _, name := range []string{"one", "two", ""} {
		def := registry.Backend{URL: s.URL, TLS: &registry.TLS{CA: a.path("ca.crt")}}
		if name != "" {
			a.make(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil)
			def.TLS.Cert, def.TLS.Key = a.path(name+".crt"), a.path(name+".key")
		}
		b, err := u.Open("svc-"+name, def)
		if err != nil {
			t.Fatal(err)
		}
		opened = append(opened, b)
		if _, got, err := get(t, b, &Request{}); err != nil || got != strings.TrimSpace("HTTP/2.0 "+name) {
			t.Errorf("%q: got %q, %v", name, got, err)
		}
	}
	// A renewed certificate under the same file name is another identity for what is opened after.
	a.make("one", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil)
	b, err := u.Open("svc-one", registry.Backend{URL: s.URL, TLS: &registry.TLS{CA: a.path("ca.crt"), Cert: a.path("one.crt"), Key: a.path("one.key")}})
	if err != nil {
		t.Fatal(err)
	}
	if b.pool == opened[0].pool {
		t.Error("a renewed certificate shares connections with the old one")
	}
	for _, b := range append(opened, b) {
		b.Close()
	}
}

func TestManyCallsShareConnections(t *testing.T) {
	a := newAuthority(t)
	for _, h2 := range []bool{false, true} {
		s := a.server("127.0.0.1", h2, tls.NoClientCert)
		b := open(t, Options{TLSFiles: TLSFiles{Dir: a.dir}}, registry.Backend{URL: s.URL, TLS: &registry.TLS{CA: a.path("ca.crt")}})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					if _, got, err := get(t, b, &Request{Method: "POST", Body: []byte("x")}); err != nil || !strings.HasPrefix(got, "HTTP/") {
						t.Errorf("got %q, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestTLSFilesOfBackendsAreTakenAnew: a backend that stays open presents the certificate that was put in place of the first
// one. A pair that does not match leaves the one of before, and is logged once.
//
// Seen to fail with the files not followed.
func TestTLSFilesOfBackendsAreTakenAnew(t *testing.T) {
	a := newAuthority(t)
	client := func(name string) {
		a.make(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil)
	}
	put := func(from, to string) {
		content, err := os.ReadFile(a.path(from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(a.path("next"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(a.path("next"), a.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one", "two", "three"} {
		client(name)
	}
	put("one.crt", "client.crt")
	put("one.key", "client.key")
	var log lockedBuffer
	u := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), TLSFiles: TLSFiles{Dir: a.dir}})
	defer u.Close()
	b, err := u.Open("svc", registry.Backend{
		URL: a.server("127.0.0.1", true, tls.RequireAndVerifyClientCert).URL,
		TLS: &registry.TLS{CA: "ca.crt", Cert: "client.crt", Key: "client.key"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	is := func(want string) func() bool {
		return func() bool {
			_, got, err := get(t, b, &Request{Method: "POST", Body: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			return got == "HTTP/2.0 "+want
		}
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("never came true: " + what)
			}
		}
	}
	if !is("one")() {
		t.Fatal("the first certificate is not presented")
	}
	put("two.key", "client.key")
	put("two.crt", "client.crt")
	until("the second certificate is presented", is("two"))
	put("three.key", "client.key") // and not its certificate
	until("the log says so", func() bool { return strings.Contains(log.String(), "cannot be taken anew") })
	u.mu.Lock()
	for _, p := range u.pools {
		p.rt.CloseIdleConnections()
	}
	u.mu.Unlock()
	if !is("two")() {
		t.Error("a pair that does not match was taken")
	}
	put("three.crt", "client.crt")
	until("the third certificate is presented", is("three"))
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("a key is in the log")
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
