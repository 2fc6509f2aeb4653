package registry

import (
	"strings"
	"testing"
)

// TestNoScheme: a host that would be taken for a path is named, and paths are not. Seen red with NoScheme returning "".
func TestNoScheme(t *testing.T) {
	for url, want := range map[string]string{
		"https:/api.example.com/v1/pets/{id}": "write https://api.example.com/v1/pets/{id}",
		"HTTP:/x":                             "write http://x",
		"http:api.example.com":                "write http://api.example.com",
		"https:":                              `begins with "https:", which is no scheme`,
		"10.0.0.5:9878/calculator_add":        `"10.0.0.5:9878", a host and port without a scheme: write http://10.0.0.5:9878/calculator_add`,
		"[::1]:80/x":                          "a host and port",
		"api:8080":                            "a host and port",
		"localhost:{{.args.port}}/x":          `"localhost:", a host and port`,
		"localhost/x":                         `a host without a scheme: write https://localhost/x, or "/localhost/x"`,
		"10.0.0.5/x":                          "a host without a scheme",
		"api.example.com?x=1":                 "a host without a scheme",
		"example.cn/x":                        "a host without a scheme",
		"users:batchGet":                      `begins with "users:batchGet": a path begins with "/"`,
	} {
		if got := NoScheme(url); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
	for _, url := range []string{
		"", "/", "/x:y", "?x=a:b", "https://api.example.com/v1", "http://10.0.0.5:9878", "users", "users/a:b", "v1.0/pets", "index.php/x",
		"data.json", "a.min.js", "{{.config.base}}/x", "${credential:x/y}/z", "{a:b}/x", "v{ver}/x", "//host/x", "1.2.3/x", "users?at=10:30",
	} {
		if got := NoScheme(url); got != "" {
			t.Errorf("%s: %s", url, got)
		}
	}
}
