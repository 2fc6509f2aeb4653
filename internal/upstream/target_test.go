package upstream

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzTarget (assertion 31): whatever stands in a path, the host stays, and what goes into the request line is one
// path and query without spaces, line ends, fragments or bytes outside ASCII.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2f%2e%2e", "//evil/x", "/@evil", "?a=b c", "/\r\nHost: evil", "/%zz%", "/ü?ü#x", "/a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if isAbsolute(path) {
			if u, err := parseTarget(path); err == nil {
				checkLine(t, u)
			}
			return
		}
		base, err := parseTarget("http://backend.example:8080/v2/?k=v")
		if err != nil {
			t.Fatal(err)
		}
		u, err := join(base, path, new(url.URL))
		if err != nil {
			return
		}
		if u.Host != "backend.example:8080" || u.Scheme != "http" || !strings.HasPrefix(u.EscapedPath(), "/v2/") || !strings.HasPrefix(u.RawQuery, "k=v") {
			t.Errorf("%q became %s", path, u)
		}
		checkLine(t, u)
	})
}

func checkLine(t *testing.T, u *url.URL) {
	t.Helper()
	for _, c := range []byte(u.RequestURI()) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			t.Fatalf("byte %q in %q", c, u.RequestURI())
		}
	}
}

func TestAbsoluteTargets(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"HTTP://Host:8080/a%2Fb?x=1", "http://Host:8080/a%2Fb?x=1"},
		{"https://host", "https://host"},
		{"https://host?x", "https://host?x"},
		{"http://user@host/", ""},
		{"http://host\\@evil/", ""},
		{"http://ho st/", ""},
		{"http://host:x/", ""},
		{"http://[::1]:80/x", "http://[::1]:80/x"},
		{"http:///x", ""},
		{"http://h/#f", ""},
		{"file:///etc/passwd", ""},
	} {
		u, err := parseTarget(c.raw)
		got := ""
		if err == nil {
			got = u.String()
		}
		if got != c.want {
			t.Errorf("%s: got %q, %v", c.raw, got, err)
		}
	}
}
