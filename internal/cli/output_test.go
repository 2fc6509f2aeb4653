package cli

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// executeVariable has the test binary be the program: see TestMain.
const executeVariable = "NMP_TEST_EXECUTE"

// writers are the commands that write, over what seed puts there. Each needs the documents as they were seeded.
var writers = []struct{ args, action string }{
	{"services publish new.yaml", "created"},
	{"services publish shop.yaml", "updated"},
	{"services publish --openapi books.json --name books --upstream http://127.0.0.1:9", "created"},
	{"services remove shop", "removed"},
	{"credentials set shop key", "updated"},
	{"credentials set other key --service shop --host 127.0.0.1", "created"},
	{"consumers create bob", "created"},
	{"consumers disable alice", "updated"},
	{"consumers enable off", "updated"},
	{"consumers delete alice", "removed"},
	{"consumers keys add alice", "updated"},
	{"consumers keys revoke alice one", "updated"},
	{"grants enable open", "updated"},
	{"grants disable shop", "updated"},
	{"grants allow shop --consumer off", "updated"},
	{"grants allow shop --consumer bob --create", "created"},
	{"grants allow fresh --consumer alice", "created"},
	{"grants revoke shop --consumer alice", "updated"},
}

// seed puts documents for writers, and files into a directory that becomes the working one.
func seed(t *testing.T) *shell {
	s := newShell(t)
	s.in = "s3cret\n"
	s.must("consumers", "create", "alice", "--key-id", "one")
	s.must("consumers", "create", "off")
	s.must("consumers", "disable", "off")
	s.put("proxy-services/shop.yaml", "upstream: {url: http://127.0.0.1:9}\ntools: [{name: x, requestTemplate: {url: /x}}]\n")
	s.put("proxy-grants/shop.yaml", "consumers: [alice]\n")
	s.put("proxy-grants/open.yaml", "auth: disabled\n")
	s.put("proxy-credentials/shop.yaml", "services: [shop]\nhosts: [127.0.0.1]\nvalues: {key: before}\n")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "shop.yaml"), "upstream: {url: http://127.0.0.1:9}\ntools: [{name: y, requestTemplate: {url: /y}}]\n")
	writeFile(t, filepath.Join(dir, "new.yaml"), "upstream: {url: http://127.0.0.1:9}\ntools: [{name: y, requestTemplate: {url: /y}}]\n")
	writeFile(t, filepath.Join(dir, "books.json"), `{"openapi":"3.0.0","info":{"title":"Books","version":"1"},"paths":{"/books":{"get":{"operationId":"list","responses":{"200":{"description":"all"}}}}}}`)
	t.Chdir(dir)
	return s
}

// said are the words by which a command says what it wrote.
func said(out string) (actions []string) {
	for _, line := range strings.Split(out, "\n") {
		for _, action := range []string{"created", "updated", "removed"} {
			if strings.HasSuffix(line, ": "+action) {
				actions = append(actions, action)
			}
		}
	}
	return actions
}

// What was written is said once it is; in a dry run it "would be".
//
// Seen to fail with put and remove saying it first, as they did.
func TestNothingIsSaidToBeWrittenBeforeItIs(t *testing.T) {
	covered := map[string]bool{}
	for _, w := range writers {
		args := strings.Fields(w.args)
		t.Run(w.args, func(t *testing.T) {
			s := seed(t)
			if dry := s.must(append(args, "--dry-run")...); !strings.Contains(w.args, "--openapi") && !strings.Contains(dry, ": would be "+w.action+"\n") || len(said(dry)) > 0 {
				t.Errorf("a dry run says\n%s", dry)
			}
			open := s.open
			s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
				d, err := openSources(ctx, cfg, log)
				if err == nil {
					d.access, d.main = failing{d.access, ""}, failing{d.main, ""}
				}
				return d, err
			}
			if code := s.run(args...); code == 0 || len(said(s.out)) > 0 {
				t.Errorf("exit %d of a write that failed\n%s%s", code, s.out, s.err)
			}
			s.open = open
			if out := s.must(args...); len(said(out)) == 0 || said(out)[0] != w.action {
				t.Errorf("a write says\n%s", out)
			}
		})
		covered[strings.Join(args[:2], " ")] = true
	}
	// Every command that can write is among them.
	p := &program{}
	for _, group := range p.root().Commands() {
		for _, c := range group.Commands() {
			if c.Flags().Lookup("force") != nil && !covered[group.Name()+" "+c.Name()] {
				t.Errorf("%s %s is not tried", group.Name(), c.Name())
			}
		}
	}
}

// unread runs the command line as a process of its own, whose standard output has no reader.
func unread(t *testing.T, s *shell, args ...string) (code int, stderr string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	var errs bytes.Buffer
	cmd := exec.Command(os.Args[0], append(args, "--dir-path", s.root)...)
	cmd.Env = append(os.Environ(), executeVariable+"=1")
	cmd.Stdout, cmd.Stderr, cmd.Stdin = w, &errs, strings.NewReader(s.in)
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), errs.String()
}

// A reader that goes away, as `| head -1` does, ends no write, and a new key that nobody can have seen is told of.
//
// Seen to fail without surviveReaders (the process dies at its first line), and "key" without program.unseen.
func TestReadersThatGoAwayEndNoWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no SIGPIPE")
	}
	s := newShell(t)
	dir := t.TempDir()
	args := []string{"services", "publish"}
	for i := range 20 {
		file := filepath.Join(dir, fmt.Sprintf("s%d.yaml", i))
		writeFile(t, file, "upstream: {url: http://127.0.0.1:9}\ntools: [{name: x, requestTemplate: {url: /x}}]\n")
		args = append(args, file)
	}
	for _, output := range []string{"text", "json"} {
		if code, stderr := unread(t, s, append(args, "-o", output)...); code != 0 {
			t.Errorf("%s: exit %d: %s", output, code, stderr)
		}
		for i := range 20 {
			s.get(fmt.Sprintf("proxy-services/s%d.yaml", i))
			if err := os.Remove(s.path(fmt.Sprintf("proxy-services/s%d.yaml", i))); err != nil {
				t.Error(err)
			}
		}
		name := "key-" + output
		if code, stderr := unread(t, s, "consumers", "create", name, "-o", output); code != exitFailed || !strings.Contains(stderr, "consumers keys revoke "+name+" "+name+"-1") {
			t.Errorf("%s, key: exit %d: %s", output, code, stderr)
		}
		if !strings.Contains(s.get("proxy-consumers/"+name+".yaml"), "sha256") {
			t.Error("the consumer was not written")
		}
	}
}

// full is a writer that takes n bytes.
type full struct{ n int }

func (f *full) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, fmt.Errorf("no space left")
	}
	return len(b), nil
}

// Seen to fail with what output.err holds left unsaid.
func TestOutputThatCannotBeWrittenIsSaid(t *testing.T) {
	s := seed(t)
	var errs bytes.Buffer
	p := &program{version: "v1.2.3", in: strings.NewReader(""), out: &full{20}, err: &errs, open: s.open}
	if code := p.execute(t.Context(), []string{"grants", "disable", "shop", "--dir-path", s.root}); code != exitFailed || !strings.Contains(errs.String(), "no space left") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if !strings.Contains(s.get("proxy-grants/shop.yaml"), "disabled") {
		t.Error("it was not written")
	}
}
