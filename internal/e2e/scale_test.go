package e2e

import (
	"crypto/md5" //nolint:gosec // what Nacos tells versions by
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

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Scale is the environment variable that has TestA13_Scale run at other sizes than the small one of every test run:
// numbers of services, with as many consumers each. scripts/bench-scale sets it.
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
func scaleDocuments(i int) []nacos.Document {
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
		fmt.Fprintf(&meta, `"tool_%d":{"enabled":true,"templates":{"json-go-template":{"requestTemplate":{"url":"http://127.0.0.1:9/items/{{.args.id}}","method":"GET","headers":[{"key":"X-Lang","value":"{{.args.lang}}"}]},"responseTemplate":{"body":"{{.name}} costs {{.price}}"}}}}`, n)
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
func scaleDirectory(t testing.TB, n int) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "naming"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for _, d := range scaleDocuments(i) {
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

// scaleNacos gives the namespace of a Nacos that holds n services and consumers, and nothing else. One that is left from
// an earlier run is used again: publishing 50,000 documents takes minutes.
func scaleNacos(t testing.TB, n int) (*source, *nacostest.Server, string) {
	t.Helper()
	server := nacostest.Start(t)
	namespace := server.KeptNamespace(t, fmt.Sprintf("scale-%d", n))
	s := nacosSource(t, server, namespace)
	there := map[nacos.Key]string{}
	for _, d := range scaleDocuments(0) {
		entries, err := s.List(t.Context(), d.Key.Group)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			there[e.Key] = e.MD5
		}
	}
	began, published := time.Now(), 0
	turns := make(chan struct{}, 32)
	var all sync.WaitGroup
	for i := range n {
		for _, d := range scaleDocuments(i) {
			sum := md5.Sum(d.Content) //nolint:gosec // what Nacos tells versions by
			old := there[d.Key]
			delete(there, d.Key)
			if old == hex.EncodeToString(sum[:]) {
				continue
			}
			published++
			turns <- struct{}{}
			all.Go(func() {
				defer func() { <-turns }()
				s.put(t, d.Key.Group, d.Key.DataID, string(d.Content))
			})
		}
	}
	all.Wait()
	for key := range there {
		s.remove(t, key.Group, key.DataID)
	}
	if published > 0 {
		t.Logf("%d documents published in %s", published, time.Since(began).Round(time.Second))
		time.Sleep(2 * time.Second) // Nacos's own copy lags behind
	}
	return s, server, namespace
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

// ask has a consumer of service i ask for its tools.
func (p *program) ask(i int) answer {
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
	return answer{Status: resp.StatusCode, Body: string(b)}
}

// list gives how many tools service i shows.
func (p *program) list(i int) int {
	p.t.Helper()
	return len(p.ask(i).tools())
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
