package relay

import (
	"bytes"
	"compress/gzip"
	"net/url"
	"strconv"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
)

func zip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func diff(want, got any) string { return cmp.Diff(want, got) }

// foreign is a session that another replica made.
func foreign() *session.Session {
	return &session.Session{Backend: "elsewhere", Service: "svc", Consumer: "alice"}
}

// instance is a test server as the naming service knows it.
func instance(raw string) upstream.Instance {
	u, _ := url.Parse(raw)
	port, _ := strconv.Atoi(u.Port())
	return upstream.Instance{Host: u.Hostname(), Port: port, Weight: 1, Healthy: true, Enabled: true}
}
