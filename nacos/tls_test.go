package nacos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// selfSigned writes a certificate that is its own authority, for 127.0.0.1 and for clients, and its key.
func selfSigned(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The authority and the certificate that Nacos asks for are replaced together with Nacos's own; HTTP and gRPC connections made
// from then on go by the new ones, and half a file leaves those of before.
//
// Seen to fail with connections negotiated by what was read at the start.
func TestTLSFilesAreTakenAnew(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	serve := func(c tls.Certificate) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		leaf, _ := x509.ParseCertificate(c.Certificate[0])
		pool := x509.NewCertPool()
		pool.AddCert(leaf)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{c}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	old := serve(selfSigned(t, dir))
	f, err := TLS{Enabled: true, CA: path("cert.pem"), Cert: path("cert.pem"), Key: path("key.pem")}.load(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	api := newHTTPAPI(nil, f, nil)
	defer api.close()
	get := func(address string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil)
		resp, err := api.client.Do(req)
		if err == nil {
			resp.Body.Close()
			api.anew()
		}
		return err
	}
	if err := get(old); err != nil {
		t.Fatal(err)
	}
	next := serve(selfSigned(t, dir))
	f.files.Check()
	if err := get(next); err != nil {
		t.Errorf("after the files were replaced: %v", err)
	}
	if get(old) == nil {
		t.Error("the old authority still counts")
	}
	cert, err := os.ReadFile(path("cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("cert.pem"), cert[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	f.files.Check()
	if f.files.State().Problem == "" {
		t.Error("half a file is no problem")
	}
	if err := get(next); err != nil {
		t.Errorf("with half a file: %v", err)
	}
	if len(f.config().Certificates) != 1 {
		t.Error("gRPC connections have no certificate")
	}
}
