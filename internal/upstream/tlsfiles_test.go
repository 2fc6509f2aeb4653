//go:build unix

package upstream

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// TestTLSFilesAreConfined: every other file is refused with the setting's name, and none of them is waited for.
func TestTLSFilesAreConfined(t *testing.T) {
	a := newAuthority(t)
	a.make("client", &x509.Certificate{}, nil)
	a.make("other", &x509.Certificate{}, nil)
	outside := filepath.Join(t.TempDir(), "ca.crt")
	for path, content := range map[string]string{
		a.path("large"): strings.Repeat("x", 1<<20+1), a.path("text"): "no PEM", outside: "-----BEGIN CERTIFICATE-----",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/ptmx", a.path("device")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(a.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := TLSFiles{Dir: a.dir}
	for _, c := range []struct {
		name  string
		files TLSFiles
		tls   registry.TLS
		want  string // beginning of the fault, empty for none
	}{
		{"a relative name", set, registry.TLS{CA: "ca.crt"}, ""},
		{"a whole path", set, registry.TLS{CA: a.path("ca.crt"), Cert: "client.crt", Key: "client.key"}, ""},
		{"no file", TLSFiles{}, registry.TLS{ServerName: "x"}, ""},
		{"no directory set", TLSFiles{}, registry.TLS{CA: "ca.crt"}, "tls.ca: names a file of the proxy's host, but upstream.tlsDir is not set"},
		{"another directory", set, registry.TLS{CA: outside}, "tls.ca: is not below the directory that upstream.tlsDir names"},
		{"a terminal", set, registry.TLS{CA: "/dev/ptmx"}, "tls.ca: is not below the directory that upstream.tlsDir names"},
		{"zeros without end", set, registry.TLS{CA: "ca.crt", Cert: "client.crt", Key: "/dev/zero"}, "tls.key: is not below the directory that upstream.tlsDir names"},
		{"a link to a device", set, registry.TLS{CA: "device"}, "tls.ca: cannot be read below upstream.tlsDir: "},
		{"a pipe", set, registry.TLS{CA: "pipe"}, "tls.ca: is not a regular file; only regular files of at most 1 MiB below upstream.tlsDir"},
		{"a large file", set, registry.TLS{CA: "large"}, "tls.ca: is larger than 1048576 bytes; only regular files"},
		{"no file of that name", set, registry.TLS{CA: "none"}, "tls.ca: cannot be read below upstream.tlsDir: no such file"},
		{"no certificate", set, registry.TLS{CA: "text"}, "tls.ca: the file below upstream.tlsDir holds no PEM certificate"},
		{"another key", set, registry.TLS{Cert: "client.crt", Key: "other.key"}, "tls.cert: the files below upstream.tlsDir are no certificate with its key: "},
		{"no directory there", TLSFiles{Dir: a.path("none")}, registry.TLS{CA: "ca.crt"}, "tls.ca: upstream.tlsDir of the boot configuration names no directory"},
		{"a directory elsewhere", TLSFilesFor(a.path("none")), registry.TLS{CA: "ca.crt"}, "tls.ca: was not looked at: "},
		{"outside of one elsewhere", TLSFilesFor(a.path("none")), registry.TLS{CA: "/dev/zero"}, "tls.ca: is not below the directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan *TLSFault, 1)
			go func() { got <- c.files.Check(&c.tls) }()
			select {
			case fault := <-got:
				said := ""
				if fault != nil {
					said = fault.Error()
				}
				if said != c.want && (c.want == "" || !strings.HasPrefix(said, c.want)) {
					t.Errorf("got %q, want %q…", said, c.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the check waits for a file")
			}
		})
	}
}
