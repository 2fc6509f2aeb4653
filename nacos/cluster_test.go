package nacos_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestClusterWithADeadMember: of two addresses that lead to the same Nacos one dies, then the other.
func TestClusterWithADeadMember(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	a, b := faultproxy.NewPair(t, s.Addr), faultproxy.NewPair(t, s.Addr)
	writer := connect(t, s, inNamespace(ns))
	key := nacos.Key{Group: "g", DataID: "d"}
	publish(t, writer, key, "0", nacos.AnyMD5)
	c := connect(t, s, inNamespace(ns), func(c *nacos.Config) { c.Addresses = []string{"127.0.0.1:1", a.Addr(), b.Addr()} })
	v, _ := follow(t, c, nil, "g")
	v.awaitSync(t)
	for _, dead := range []*faultproxy.Pair{a, b, a} {
		other := map[*faultproxy.Pair]*faultproxy.Pair{a: b, b: a}[dead]
		other.Set(faultproxy.Pass)
		dead.Set(faultproxy.Refuse)
		dead.Cut()
		content := time.Now().String()
		publish(t, writer, key, content, nacos.AnyMD5)
		eventually(t, 15*time.Second, "an edit after a member died", v.has(key, content))
	}
}

// TestTLS puts a TLS server of ours before the two ports of Nacos.
func TestTLS(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	dir := t.TempDir()
	cert := certificate(t, dir)
	plain := faultproxy.NewPair(t, s.Addr)
	addr := tlsPair(t, cert, plain)
	key := nacos.Key{Group: "g", DataID: "d"}
	secure := func(ca string) func(*nacos.Config) {
		return func(c *nacos.Config) {
			c.Addresses, c.TLS = []string{addr}, nacos.TLS{Enabled: true, CA: ca}
		}
	}
	c := connect(t, s, inNamespace(ns), secure(filepath.Join(dir, "ca.pem")))
	publish(t, c, key, "1", nacos.AnyMD5)
	v, _ := follow(t, c, nil, "g")
	v.awaitSync(t)
	publish(t, c, key, "2", nacos.AnyMD5)
	eventually(t, 5*time.Second, "an edit", v.has(key, "2"))

	stranger := connect(t, s, inNamespace(ns), secure(""))
	eventually(t, 10*time.Second, "a certificate of an unknown authority is refused, and said", func() bool {
		st := stranger.Status()
		return !st.Connected && strings.Contains(strings.Join(st.Problems, "\n"), "certificate signed by unknown authority")
	})
}

// TestTLSOfNacosItself: the same with a Nacos that speaks TLS itself, on both ports and nothing else.
func TestTLSOfNacosItself(t *testing.T) {
	nacostest.NeedsMore(t)
	dir := t.TempDir()
	certificate(t, dir)
	s := nacostest.Start(t, nacostest.Secure(dir))
	secure := func(c *nacos.Config) { c.TLS = nacos.TLS{Enabled: true, CA: filepath.Join(dir, "ca.pem")} }
	c, writer := connect(t, s, secure), connect(t, s, secure)
	key, ref := nacos.Key{Group: "g", DataID: "d"}, nacos.ServiceRef{Service: "backend"}
	publish(t, writer, key, "1", nacos.AnyMD5)
	v, _ := follow(t, c, nil, "g")
	v.awaitSync(t)
	publish(t, writer, key, "2", nacos.AnyMD5)
	eventually(t, 5*time.Second, "an edit", v.has(key, "2"))
	var list instances
	if _, err := c.Subscribe(ref, list.take); err != nil {
		t.Fatal(err)
	}
	if err := writer.Register(t.Context(), ref, nacos.Instance{Host: "10.0.0.1", Port: 80}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "an instance", list.are("10.0.0.1"))
	stranger, plain := connect(t, s, func(c *nacos.Config) { c.TLS.Enabled = true }), connect(t, s)
	eventually(t, 10*time.Second, "a certificate of an unknown authority is refused, and said", func() bool {
		st := stranger.Status()
		return !st.Connected && strings.Contains(strings.Join(st.Problems, "\n"), "certificate signed by unknown authority")
	})
	time.Sleep(time.Second)
	if st := plain.Status(); st.Connected || len(st.Problems) == 0 {
		t.Errorf("without TLS: %+v", st)
	}
}

// certificate makes one for 127.0.0.1, its own authority; it is in dir too, as ca.pem, cert.pem and key.pem.
func certificate(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := &pem.Block{Type: "CERTIFICATE", Bytes: der}
	for name, block := range map[string]*pem.Block{"ca.pem": public, "cert.pem": public, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsPair listens on a pair of ports with TLS and forwards to a pair without.
func tlsPair(t *testing.T, cert tls.Certificate, to *faultproxy.Pair) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	// gRPC insists on h2; the HTTP API of Nacos speaks 1.1.
	plain := config.Clone()
	plain.NextProtos = []string{"http/1.1"}
	for range 50 {
		l, err := tls.Listen("tcp", "127.0.0.1:0", plain)
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		second, err := tls.Listen("tcp", (&net.TCPAddr{IP: addr.IP, Port: addr.Port + 1000}).String(), config)
		if err != nil {
			_ = l.Close()
			continue
		}
		forward(t, l, to.HTTP.Addr)
		forward(t, second, to.GRPC.Addr)
		return addr.String()
	}
	t.Fatal("no pair of free ports")
	return ""
}

func forward(t *testing.T, l net.Listener, to string) {
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = in.Close() }()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = out.Close() }()
				go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
}
