//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Other MCP proxies that speak Streamable HTTP on both sides, as scripts/bench-peers installs them, each with the settings
// that make it fastest and that its documentation recommends or allows. None of them checks keys here, ours does.

// peer is one of them.
type peer struct {
	name  string // its directory, and what tables call it
	needs bool   // a session for each client
	// start begins it in front of the backend and gives its endpoint's path and its name for the tool.
	start func(b *bench, dir, address, backend string) (p *process, path, tool string, err error)
}

var peers = []peer{
	{name: "mcp-proxy", needs: true, start: startRust},
	{name: "fastmcp", start: startFastMCP},
	{name: "contextforge", start: startContextForge},
}

// startRust is the crate mcp-proxy (tower-mcp): a release build, no middleware, nothing logged.
func startRust(b *bench, dir, address, backend string) (*process, string, string, error) {
	host, port, _ := strings.Cut(address, ":")
	config := b.dir("mcp-proxy.toml")
	text := fmt.Sprintf(`[proxy]
name = "bench"
[proxy.listen]
host = "%s"
port = %s
[observability]
log_level = "error"
[[backends]]
name = "b"
transport = "http"
url = "http://%s/mcp"
`, host, port, backend)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, "", "", err
	}
	p, err := b.spawn("peer-mcp-proxy", filepath.Join(dir, "bin/mcp-proxy"), "--config", config)
	return p, "/", "b/echo", err
}

// startFastMCP is FastMCP's proxy: stateless and with JSON answers, under uvicorn with uvloop and httptools, a process per
// processor, nothing logged.
func startFastMCP(b *bench, dir, address, backend string) (*process, string, string, error) {
	text := fmt.Sprintf("from fastmcp.server import create_proxy\napp = create_proxy('http://%s/mcp').http_app(path='/mcp', stateless_http=True, json_response=True)\n", backend)
	if err := os.WriteFile(b.dir("bench_fastmcp.py"), []byte(text), 0o600); err != nil {
		return nil, "", "", err
	}
	host, port, _ := strings.Cut(address, ":")
	p, err := b.spawn("peer-fastmcp", filepath.Join(dir, "bin/uvicorn"), "--app-dir", b.work, "--host", host, "--port", port,
		"--workers", "2", "--loop", "uvloop", "--http", "httptools", "--timeout-keep-alive", "600", "--log-level", "critical", "--no-access-log", "bench_fastmcp:app")
	return p, "/mcp", "echo", err
}

// startContextForge is IBM's MCP gateway without what can be left out: no keys, plugins, limits, metrics or logs; caches in memory,
// SQLite, no sessions, JSON answers; uvicorn as above, but one process, because its processes share state only through Redis.
func startContextForge(b *bench, dir, address, backend string) (*process, string, string, error) {
	secret := "b3Nn8Qv1Zr7Lk4Xw9Tf2Yh6Uc5Pe0AdMjGs" // it wants one that looks random; it listens on loopback while this runs
	var env []string
	for name, value := range map[string]string{
		"DATABASE_URL": "sqlite:///" + b.dir("contextforge.db"), "CACHE_TYPE": "memory", "MCP_REQUIRE_AUTH": "false", "REQUIRE_USER_IN_DB": "false",
		"JWT_SECRET_KEY": secret, "AUTH_ENCRYPTION_SECRET": secret, "BASIC_AUTH_PASSWORD": secret, "PLATFORM_ADMIN_PASSWORD": secret + "-1",
		"SSRF_PROTECTION_ENABLED": "false", "USE_STATEFUL_SESSIONS": "false", "JSON_RESPONSE_ENABLED": "true", "LOG_LEVEL": "CRITICAL",
		"PLUGINS_ENABLED": "false", "RATE_LIMITING_ENABLED": "false", "CSRF_ENABLED": "false", "STRUCTURED_LOGGING_ENABLED": "false",
		"PERFORMANCE_TRACKING_ENABLED": "false", "TOKEN_USAGE_LOGGING_ENABLED": "false", "METRICS_AGGREGATION_ENABLED": "false",
		"DB_METRICS_RECORDING_ENABLED": "false", "COMPRESSION_ENABLED": "false", "CORRELATION_ID_ENABLED": "false",
		"SECURITY_HEADERS_ENABLED": "false", "LLMCHAT_ENABLED": "false", "MCPGATEWAY_A2A_ENABLED": "false", "MCPGATEWAY_UI_ENABLED": "false",
	} {
		env = append(env, name+"="+value)
	}
	host, port, _ := strings.Cut(address, ":")
	p, err := b.spawnIn(b.work, env, "peer-contextforge", filepath.Join(dir, "bin/uvicorn"), "--host", host, "--port", port,
		"--loop", "uvloop", "--http", "httptools", "--timeout-keep-alive", "600", "--log-level", "critical", "--no-access-log", "mcpgateway.main:app")
	if err != nil {
		return nil, "", "", err
	}
	if err := p.listens(address); err != nil {
		return nil, "", "", err
	}
	tokens := exec.Command(filepath.Join(dir, "bin/python"), "-m", "mcpgateway.utils.create_jwt_token", "--username", "admin@example.com", "--admin", "--exp", "60", "--secret", secret)
	tokens.Dir, tokens.Env = b.work, append(os.Environ(), env...)
	token, err := tokens.Output()
	if err != nil {
		return nil, "", "", fmt.Errorf("make its administrator's token: %w", err)
	}
	lines := bytes.Fields(token)
	if len(lines) == 0 {
		return nil, "", "", errors.New("make its administrator's token: it printed none")
	}
	body := fmt.Sprintf(`{"name":"bench","url":"http://%s/mcp","transport":"STREAMABLEHTTP","visibility":"public"}`, backend)
	r, err := http.NewRequest(http.MethodPost, "http://"+address+"/gateways", strings.NewReader(body))
	if err != nil {
		return nil, "", "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+string(lines[len(lines)-1]))
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		return nil, "", "", fmt.Errorf("register the backend: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return nil, "", "", fmt.Errorf("register the backend: %s %s", resp.Status, why)
	}
	return p, "/mcp/", "bench-echo", nil
}

// peersPart compares small calls through other proxies with ours. One that is missing or fails is named in the result.
func (b *bench) peersPart() error {
	if b.peers == "" {
		return errors.New("needs --peers DIR: scripts/bench-peers makes one")
	}
	all, err := b.ours()
	if err != nil {
		return err
	}
	own := len(all)
	backend := all[0].address
	var found []string
	for _, p := range peers {
		s, err := b.startPeer(p, backend)
		if err != nil {
			b.result.note("peer " + p.name + " is not in this run: " + strings.TrimSpace(err.Error()))
			continue
		}
		all, found = append(all, s), append(found, s.name)
	}
	if err := b.takeTurns(all[:own], all[own:]); err != nil {
		return err
	}
	r := b.result
	b.passthroughRatios()
	for _, name := range found {
		m := measure{Name: "passthrough / " + name + ", calls/s at c=32"}
		if strings.HasPrefix(name, "peer mcp-proxy") {
			m.Goal, m.Aim = 3.2, 4
		}
		r.measure(m, ratios(r.row(passthrough, 32).rates, r.row(name, 32).rates)...)
		r.measure(measure{Name: "passthrough / " + name + ", CPU per call at c=32"}, ratios(r.row(passthrough, 32).costs, r.row(name, 32).costs)...)
	}
	return nil
}

// startPeer starts a peer and sees that it answers rightly.
func (b *bench) startPeer(p peer, backend string) (*subject, error) {
	dir := filepath.Join(b.peers, p.name)
	version, err := os.ReadFile(dir + ".version")
	if err != nil {
		if why, other := os.ReadFile(dir + ".missing"); other == nil {
			return nil, fmt.Errorf("not installed: %s", why)
		} else if errors.Is(err, fs.ErrNotExist) {
			return nil, errors.New("not installed")
		}
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	proc, path, tool, err := p.start(b, dir, address, backend)
	if err != nil {
		return nil, err
	}
	s := &subject{name: "peer " + p.name + " " + string(bytes.TrimSpace(version)), process: proc, address: address}
	s.request = func(dst []byte, n uint64) []byte {
		var body [256]byte
		return anonymous(dst, path, fmt.Appendf(body[:0], `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s","arguments":{"text":"hello %d"}}}`, n, tool, n*7))
	}
	s.expect = func(dst []byte, n uint64) []byte { return fmt.Appendf(dst, `"hello %d"`, n*7) } // they order and space fields as they like
	if p.needs {
		s.open = func(c *conn) error { return c.begin(path) }
	}
	return s, warm(s)
}

// anonymous appends a POST of body without a key.
func anonymous(dst []byte, path string, body []byte) []byte {
	dst = append(append(dst, "POST "...), path...)
	dst = append(append(dst, ' '), headers...)
	dst = fmt.Appendf(dst, "Content-Length: %d\r\n\r\n", len(body))
	return append(dst, body...)
}

// begin is initialize with what a client has to send after it.
func (c *conn) begin(path string) error {
	if err := c.initialize(path, 0); err != nil {
		return err
	}
	c.out = post(c.out[:0], path, 0, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	at := bytes.IndexByte(c.out, '\n') + 1
	c.out = append(c.out[:at:at], append(bytes.Clone(c.head), c.out[at:]...)...)
	if _, err := c.c.Write(c.out); err != nil {
		return err
	}
	status, err := c.read()
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("initialized: answered %d %s", status, c.body)
	}
	time.Sleep(10 * time.Millisecond) // some take it in later than they answer
	return err
}
