package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Scale is the environment variable that has TestA13_Scale run at another size than the small one of every test run:
// a number of services, with as many consumers. scripts/bench-scale sets it.
const Scale = "TEST_SCALE"

// scaleTools is how many tools a service of the scale test has, scaleKeys how many keys a consumer.
const (
	scaleTools = 10
	scaleKeys  = 3
)

// scaleKey is the first key of a consumer of the scale test.
func scaleKey(i, k int) string { return fmt.Sprintf("nmp_c%d_%d_0123456789abcdefghijklmnop", i, k) }

// scaleDocuments gives the documents of service i and consumer i: a registry entry of ten tools in three documents, a
// consumer with three keys, and grants.
func scaleDocuments(i int, api string) []nacos.Document {
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i)
	name := fmt.Sprintf("svc%d", i)
	doc := func(group, dataID, content string) nacos.Document {
		return nacos.Document{Key: nacos.Key{Group: group, DataID: dataID}, Content: []byte(content)}
	}
	var tools, meta strings.Builder
	for n := range scaleTools {
		if n > 0 {
			tools.WriteByte(',')
			meta.WriteByte(',')
		}
		fmt.Fprintf(&tools, `{"name":"tool_%d","description":"Looks up what number %d of service %d is about, by its id and language","inputSchema":{"type":"object","properties":{"id":{"type":"integer","description":"the id"},"lang":{"type":"string","enum":["en","de","zh"]}},"required":["id"]}}`, n, n, i)
		fmt.Fprintf(&meta, `"tool_%d":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"%s/items/{{.args.id}}","method":"GET","headers":[{"key":"X-Lang","value":"{{.args.lang}}"}]},"responseTemplate":{"body":"{{.name}} costs {{.price}}"}}}}`, n, api)
	}
	var keys strings.Builder
	for k := range scaleKeys {
		sum := sha256.Sum256([]byte(scaleKey(i, k)))
		fmt.Fprintf(&keys, "  - {id: k%d, sha256: %s}\n", k, hex.EncodeToString(sum[:]))
	}
	return []nacos.Document{
		doc("mcp-tools", id+"-1.0.0-mcp-tools.json", `{"tools":[`+tools.String()+`],"toolsMeta":{`+meta.String()+`},"securitySchemes":[]}`),
		doc("mcp-server-versions", id+"-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","frontProtocol":"mcp-streamable","description":"service %d","enabled":true,"status":"active","capabilities":["TOOL"],"latestPublishedVersion":"1.0.0","versionDetails":[{"version":"1.0.0","release_date":"2026-11-23T00:00:00Z"}]}`, id, name, i)),
		doc("mcp-server", id+"-1.0.0-mcp-server.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","frontProtocol":"mcp-streamable","description":"service %d","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"DEFAULT_GROUP","serviceName":"api"},"exportPath":"/"},"enabled":true,"status":"active","capabilities":["TOOL"],"toolsDescriptionRef":"%s-1.0.0-mcp-tools.json"}`, id, name, i, id)),
		doc("proxy-consumers", fmt.Sprintf("c%d.yaml", i), "enabled: true\ngroups: [everyone]\nkeys:\n"+keys.String()),
		doc("proxy-grants", name+".yaml", fmt.Sprintf("auth: required\nconsumers: [c%d]\ntools: {tool_1: [c%d]}\n", i, i+1)),
	}
}

// scaleDirectory writes n services and consumers into a directory.
func scaleDirectory(t testing.TB, n int, api string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "naming"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for _, d := range scaleDocuments(i, api) {
			dir := filepath.Join(root, "config", d.Key.Group)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, d.Key.DataID), d.Content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// scaleNacos publishes n services and consumers into a Nacos.
func scaleNacos(t testing.TB, s *source, n int, api string) {
	t.Helper()
	turns := make(chan struct{}, 32)
	var all sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			for _, d := range scaleDocuments(i, api) {
				s.put(t, d.Key.Group, d.Key.DataID, string(d.Content))
			}
		})
	}
	all.Wait()
}

// program is the proxy as operators run it, so that its memory is its own.
type program struct {
	t     testing.TB
	cmd   *exec.Cmd
	url   string
	admin string
	began time.Time
}

func buildProxy(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "nacos-mcp-proxy")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/nacos-mcp-proxy").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// runProxy starts bin; env is its configuration.
func runProxy(t testing.TB, bin string, env ...string) *program {
	t.Helper()
	listen, admin := freeAddress(t), freeAddress(t)
	p := &program{t: t, url: "http://" + listen, admin: "http://" + admin, began: time.Now()}
	p.cmd = exec.Command(bin, "serve")
	p.cmd.Env = append(os.Environ(), append(env, "NMP_LISTEN="+listen, "NMP_ADMIN_LISTEN="+admin, "NMP_LOG_AUDIT=off", "NMP_LOG_LEVEL=warn")...)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func (p *program) stop() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	}
}

// ready waits for /readyz and gives the time since the start.
func (p *program) ready() time.Duration {
	p.t.Helper()
	eventually(p.t, 5*time.Minute, "ready", func() bool {
		resp, err := http.Get(p.admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return time.Since(p.began)
}

// validated waits until no definition waits for its validation and gives the time since the start.
func (p *program) validated() time.Duration {
	p.t.Helper()
	eventually(p.t, 10*time.Minute, "all definitions are validated", func() bool {
		time.Sleep(200 * time.Millisecond)
		return strings.Contains(p.get("/metrics"), "\nnmp_validations_pending 0\n")
	})
	return time.Since(p.began)
}

func (p *program) get(path string) string {
	p.t.Helper()
	resp, err := http.Get(p.admin + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// list asks for the tools of service i and gives how many there are.
func (p *program) list(i int) int {
	p.t.Helper()
	req, _ := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/mcp/svc%d", p.url, i), strings.NewReader(`{"jsonrpc":"2.0","id":"l","method":"tools/list"}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+scaleKey(i, i%scaleKeys))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return len(answer{Status: resp.StatusCode, Body: string(b)}.tools())
}

// memory gives what the process holds and what it held at most, in MB.
func (p *program) memory() (now, most int) {
	return p.status("VmRSS") / 1024, p.status("VmHWM") / 1024
}

// status reads a line of /proc/PID/status.
func (p *program) status(field string) int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("needs /proc: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	p.t.Fatalf("no %s", field)
	return 0
}

// cpu is the processor time that the process has used.
func (p *program) cpu() time.Duration {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("needs /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// TestA13_Scale runs the proxy with 1,000 services and consumers, or as many as Scale says, and prints what it takes.
// Held are ratios and bounds with room for a busy machine; with 10,000 or more, the promised memory. Seen red, at
// 10,000, with contents kept as they come.
func TestA13_Scale(t *testing.T) {
	n := 1000
	if s := os.Getenv(Scale); s != "" {
		n, _ = strconv.Atoi(s)
	}
	api := newRecorder(t, shop)
	bin := buildProxy(t)
	t.Run("directory", func(t *testing.T) {
		dir := scaleDirectory(t, n, api.URL)
		scale(t, bin, n, []string{"NMP_SOURCE=dir", "NMP_DIR_PATH=" + dir}, func() {
			if err := os.Rename(dir, dir+"-away"); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("nacos", func(t *testing.T) {
		s, server, namespace := realNacos(t)
		began := time.Now()
		scaleNacos(t, s, n, api.URL)
		t.Logf("nacos: %d documents published in %s", 5*n, time.Since(began).Round(time.Second))
		pair := faultproxy.NewPair(t, server.Addr)
		scale(t, bin, n, []string{
			"NMP_SOURCE=nacos", "NMP_NACOS_ADDRESSES=" + pair.Addr(), "NMP_NACOS_NAMESPACE=" + namespace,
			"NMP_NACOS_USERNAME=" + server.User, "NMP_NACOS_PASSWORD=" + server.Password,
		}, func() { away(pair) })
	})
}

// scale measures a proxy of n services; cut takes its source away.
func scale(t *testing.T, bin string, n int, env []string, cut func()) {
	env = append(env, "NMP_STATE_PATH="+t.TempDir())
	p := runProxy(t, bin, env...)
	fromSource := p.ready()
	t.Logf("%d services: ready %s after the start, from the source", n, fromSource.Round(time.Millisecond))
	if got := p.list(n / 2); got != scaleTools {
		t.Errorf("a service lists %d tools as soon as ready, want %d", got, scaleTools)
	}
	validated := p.validated()
	t.Logf("%d services: all definitions validated after %s, %s of processor time", n, validated.Round(time.Millisecond), p.cpu().Round(time.Millisecond))
	for i := range min(n, 1100) {
		if got := p.list(i); got != scaleTools {
			t.Fatalf("service %d lists %d tools, want %d", i, got, scaleTools)
		}
	}
	now, most := p.memory()
	t.Logf("%d services: %d MB with the LRU full, %d MB at most", n, now, most)
	if n >= 10_000 && most > 512 {
		t.Errorf("%d MB at most, more than 512", most)
	}
	before := p.cpu()
	time.Sleep(5 * time.Second)
	t.Logf("%d services: idle, %s of processor time a second", n, ((p.cpu() - before) / 5).Round(time.Millisecond))
	p.stop()

	cut()
	p = runProxy(t, bin, env...)
	fromStore := p.ready()
	now, _ = p.memory()
	t.Logf("%d services: ready %s after the start, from the store; %d MB", n, fromStore.Round(time.Millisecond), now)
	if got := p.list(n / 3); got != scaleTools {
		t.Errorf("a service lists %d tools from the store, want %d", got, scaleTools)
	}
	if room := 2*fromSource + 2*time.Second; fromStore > room {
		t.Errorf("ready from the store after %s, from the source after %s", fromStore, fromSource)
	}
}
