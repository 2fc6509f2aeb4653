package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
)

func withTLS(tool, tls string) string {
	return own(tool) + "upstream:\n  tls:\n    serverName: s\n" + tls
}

// TestTLSFilesOutsideOfTheDirectoryAreRejected: by name alone, so that the version before stays, after a restart too.
func TestTLSFilesOutsideOfTheDirectoryAreRejected(t *testing.T) {
	dir := t.TempDir()
	w := newWorldOf(t, Options{Services: 8, TLSFiles: upstream.TLSFiles{Dir: dir}})
	w.put(change("proxy-services", "a.yaml", own("one")), change("proxy-services", "b.yaml", own("one")))
	for _, name := range []string{"/dev/ptmx", "/dev/zero", "../x", dir + "-of-another/x"} {
		w.put(
			change("proxy-services", "a.yaml", withTLS("two", "    ca: "+name+"\n")),
			change("proxy-upstreams", "b.yaml", "timeout: 5s\ntls:\n  cert: x\n  key: "+name+"\n"),
		)
		for _, doc := range []struct{ group, dataID, want string }{
			{"proxy-services", "a.yaml", "proxy-services/a.yaml:9: upstream.tls.ca: "},
			{"proxy-upstreams", "b.yaml", "proxy-upstreams/b.yaml:4: tls.key: "},
		} {
			s := w.document(doc.group, doc.dataID)
			if s.State != Rejected || !strings.Contains(s.Error, "upstream.tlsDir") {
				t.Errorf("%s in %s: %+v", name, doc.group, s)
			}
			got := w.Index().Document(keyOf(doc.group, doc.dataID)).Rejections[0].Error()
			if !strings.HasPrefix(got, doc.want) {
				t.Errorf("got %s, want %s…", got, doc.want)
			}
		}
		if got := w.tools("a"); len(got) != 1 || got[0] != "one" {
			t.Errorf("%s: a serves %v", name, got)
		}
		if got := w.tools("b"); len(got) != 1 {
			t.Errorf("%s: b serves %v", name, got)
		}
	}
}

// TestTLSFilesThatCannotBeReadAreReported: whatever is wrong with a file, whether or not anybody calls the service, and
// until it is mended.
func TestTLSFilesThatCannotBeReadAreReported(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, Options{Services: 8, TLSFiles: upstream.TLSFiles{Dir: dir}})
	w.put(
		change("proxy-services", "a.yaml", withTLS("one", "    ca: none.pem\n")),
		change("proxy-services", "b.yaml", own("one")),
		change("proxy-upstreams", "b.yaml", "timeout: 5s\ntls: {ca: text}\n"),
	)
	a, b, u := w.document("proxy-services", "a.yaml"), w.document("proxy-services", "b.yaml"), w.document("proxy-upstreams", "b.yaml")
	if a.State != Rejected || a.Line != 9 || !strings.Contains(a.Error, "upstream.tlsDir") {
		t.Errorf("a: %+v", a)
	}
	if b.State != Applied || len(b.Faults) > 0 {
		t.Errorf("b, in whose own document nothing is wrong: %+v", b)
	}
	if u.State != Rejected || u.Line != 2 || !strings.Contains(u.Error, "holds no PEM certificate") {
		t.Errorf("the upstream document of b: %+v", u)
	}
	w.put(change("proxy-upstreams", "b.yaml", "timeout: 5s\n"), change("proxy-services", "a.yaml", own("one")))
	for _, key := range []string{"proxy-services/a.yaml", "proxy-services/b.yaml", "proxy-upstreams/b.yaml"} {
		group, dataID, _ := strings.Cut(key, "/")
		if s := w.document(group, dataID); s.State != Applied || len(s.Faults) > 0 {
			t.Errorf("mended: %+v", s)
		}
	}
}
