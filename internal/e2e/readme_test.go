package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
)

// readme gives the lines of README.md's code blocks in order; prose, also that of its lists, is indented less.
func readme(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "    ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// the gives the lines that begin with prefix and fails if they are not n.
func the(t *testing.T, lines []string, n int, prefix string) []string {
	t.Helper()
	var found []string
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			found = append(found, line)
		}
	}
	if len(found) != n {
		t.Fatalf("README.md has %d lines that begin with %q, not the %d that this test runs: %q", len(found), prefix, n, found)
	}
	return found
}

// stranger is somebody who follows README.md in a shell: the programs built, the ports moved to free ones.
type stranger struct {
	env   []string
	bin   string
	ports *strings.Replacer
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the programs: not in -short")
	}
	bin := t.TempDir()
	for name, pkg := range map[string]string{"nacos-mcp-proxy": "cmd/nacos-mcp-proxy", "demo-backend": "examples/backend"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, name), "./"+pkg)
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	var moved []string
	for _, port := range []string{"8800", "8801", "8810", "8811"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // held until all are chosen, so that they differ
		moved = append(moved, "127.0.0.1:"+port, l.Addr().String())
	}
	s := &stranger{bin: bin, ports: strings.NewReplacer(append(moved, "bin/nacos-mcp-proxy", filepath.Join(bin, "nacos-mcp-proxy"))...)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NMP_") {
			s.env = append(s.env, v)
		}
	}
	s.env = append(s.env, "NMP_STATE_PATH=off", "NMP_LISTEN="+s.ports.Replace("127.0.0.1:8800"), "NMP_ADMIN_LISTEN="+s.ports.Replace("127.0.0.1:8801"))
	return s
}

// start runs the backend and the proxy until the test ends, and waits until the proxy is ready.
func (s *stranger) start(t *testing.T) {
	t.Helper()
	s.background(t, "demo-backend", "--http", s.ports.Replace("127.0.0.1:8810"), "--mcp", s.ports.Replace("127.0.0.1:8811"))
	s.background(t, "nacos-mcp-proxy", "serve")
	eventually(t, 30*time.Second, "the proxy is ready", func() bool {
		resp, err := http.Get(s.ports.Replace("http://127.0.0.1:8801/readyz"))
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *stranger) background(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	var log strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, log.String())
		}
	})
}

// run has a shell run a line of README.md, and gives what it printed.
func (s *stranger) run(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", s.ports.Replace(line))
	cmd.Env, cmd.Dir = s.env, filepath.Join("..", "..")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", line, err, out, stderr.String())
	}
	return string(out)
}

// TestReadmeTryIt runs the curl lines against the example registry and compares with what README.md says they answer.
func TestReadmeTryIt(t *testing.T) {
	lines := readme(t)
	curls := the(t, lines, 2, "curl ")
	s := newStranger(t)
	s.env = append(s.env, "NMP_SOURCE=dir", "NMP_DIR_PATH="+s.registry(t))
	s.start(t)
	said := lines[slices.Index(lines, curls[0])+1]
	if got := strings.TrimSpace(s.run(t, curls[0])); got != said {
		t.Errorf("the first line answers\n%s\nREADME.md says\n%s", got, said)
	}
	const refused = "HTTP/1.1 401 Unauthorized"
	if got := s.run(t, curls[1]); !strings.HasPrefix(got, refused) {
		t.Errorf("with a wrong key, want %s:\n%s", refused, got)
	}
	script, err := os.ReadFile(filepath.Join("..", "..", "scripts", "run"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.ReplaceAll(string(script), "$port", "8800"), "\n"+curls[0]+"\n") {
		t.Error("make run prints another curl line than README.md")
	}
}

// registry copies the example registry, with the backend's ports moved.
func (s *stranger) registry(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "examples", "registry"))); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(s.ports.Replace(string(text))), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReadmeStepByStep follows "On a real Nacos" by command, on a real Nacos and on an empty directory.
func TestReadmeStepByStep(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		s, dir := newStranger(t), t.TempDir()
		group := filepath.Join(dir, "config", "proxy-credentials")
		if err := os.MkdirAll(group, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(group, "petstore.yaml"), credential(t), 0o600); err != nil {
			t.Fatal(err)
		}
		s.env = append(s.env, "NMP_SOURCE=dir", "NMP_DIR_PATH="+dir)
		s.steps(t)
	})
	t.Run("nacos", func(t *testing.T) {
		server := nacostest.Start(t)
		namespace := server.Namespace(t)
		nacosSource(t, server, namespace).put(t, "proxy-credentials", "petstore.yaml", string(credential(t)))
		s := newStranger(t)
		s.env = append(s.env, "NMP_SOURCE=nacos", "NMP_NACOS_ADDRESSES="+server.Addr, "NMP_NACOS_NAMESPACE="+namespace,
			"NMP_NACOS_USERNAME="+server.User, "NMP_NACOS_PASSWORD="+server.Password)
		s.steps(t)
	})
}

// credential is the example's document that README.md has one create in the console.
func credential(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "registry", "config", "proxy-credentials", "petstore.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *stranger) steps(t *testing.T) {
	lines := readme(t)
	commands := the(t, lines, 6, "bin/nacos-mcp-proxy ")
	publish, create, allow, check, status := commands[1], commands[2], commands[3], commands[4], commands[5]
	curl := the(t, lines, 2, "curl ")[0]
	demo := regexp.MustCompile(`nmp_\w+`).FindString(curl)
	answer := lines[slices.Index(lines, curl)+1]

	s.start(t)
	// The service document's backend is where the README starts it; here it is elsewhere.
	const document = "config/proxy-services/petstore.yaml"
	moved := filepath.Join(s.registry(t), filepath.FromSlash(document))
	if !strings.HasSuffix(publish, "examples/registry/"+document) {
		t.Fatalf("README.md publishes something else: %s", publish)
	}
	s.run(t, strings.Replace(publish, "examples/registry/"+document, moved, 1))
	key := regexp.MustCompile(`nmp_[\w-]+`).FindString(s.run(t, create))
	if key == "" {
		t.Fatal("no key was printed")
	}
	curl = strings.ReplaceAll(curl, demo, key)
	silent := curl + ` -o /dev/null -w '%{http_code}'`
	eventually(t, 20*time.Second, "nobody may call yet", func() bool { return s.run(t, silent) == "403" })
	s.run(t, allow)
	took := eventually(t, 20*time.Second, "the curl line works with the new key", func() bool { return s.run(t, silent) == "200" })
	t.Logf("the grant held %s after the command had ended", took.Round(time.Millisecond))
	if got := strings.TrimSpace(s.run(t, curl)); got != answer {
		t.Errorf("the curl line answers\n%s\nREADME.md says\n%s", got, answer)
	}
	for _, command := range []string{check, status} {
		said := lines[slices.Index(lines, command)+1]
		got := strings.Split(strings.TrimSpace(s.run(t, command)), "\n")
		if last := got[len(got)-1]; last != said {
			t.Errorf("%s prints\n%s\nREADME.md says\n%s", command, last, said)
		}
	}
}

// TestClientFilesReachWhatTheReadmeSays: every client file names the services of the example registry at the README's address.
func TestClientFilesReachWhatTheReadmeSays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "clients", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, _ := filepath.Glob(filepath.Join("..", "..", "examples", "clients", "*", ".*.json"))
	files = append(files, hidden...)
	if len(files) < 4 {
		t.Fatalf("only %d client files: %v", len(files), files)
	}
	address := regexp.MustCompile(`"url": "([^"]*)"`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range address.FindAllStringSubmatch(string(text), -1) {
			service, ok := strings.CutPrefix(m[1], "http://127.0.0.1:8800/mcp/")
			_, err := os.Stat(filepath.Join("..", "..", "examples", "registry", "config", "proxy-services", service+".yaml"))
			if !ok || err != nil {
				t.Errorf("%s: %s leads nowhere", file, m[1])
			}
		}
	}
}
