package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// console is Nacos's own console in a real browser, worked by scripts/console/drive.cjs.
type console struct {
	namespace string
	in        *json.Encoder
	out       *bufio.Scanner
}

// consoleJob is one thing to do in the console; drive.cjs says what there is.
type consoleJob struct {
	Do        string `json:"do"`
	Namespace string `json:"namespace,omitempty"`
	Group     string `json:"group,omitempty"`
	DataID    string `json:"dataId,omitempty"`
	Content   string `json:"content,omitempty"`
}

// consoleAnswer is what came of a job; the instants are Unix milliseconds.
type consoleAnswer struct {
	Clicked int64
	Saved   int64
	Error   string
}

// noBrowser is the exit code of scripts/console/browse where there is none to be had.
const noBrowser = 69

// openConsole starts a browser, which ends with the test, and logs in. CONSOLE_PICTURES in the environment names a
// directory for pictures of what was done.
func openConsole(t *testing.T, server *nacostest.Server, namespace string) *console {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "../../scripts/console/browse")
	cmd.Env = append(os.Environ(), "CONSOLE_URL="+server.ConsoleURL, "CONSOLE_USER="+server.User, "CONSOLE_PASSWORD="+server.Password)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // ends the browser too
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &console{namespace: namespace, in: json.NewEncoder(stdin), out: bufio.NewScanner(stdout)}
	first, err := c.do(consoleJob{Do: "login"})
	if errors.Is(err, io.EOF) { // ended without an answer
		cancel()
		var exit *exec.ExitError
		if errors.As(cmd.Wait(), &exit) && exit.ExitCode() == noBrowser {
			t.Skipf("needs a browser: %s", stderr.String())
		}
		t.Fatalf("start browser: %s", stderr.String())
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		giveUp := time.AfterFunc(20*time.Second, cancel)
		defer giveUp.Stop()
		defer cancel()
		if err := cmd.Wait(); err != nil {
			t.Errorf("browser: %v\n%s", err, stderr.String())
		}
	})
	if err != nil || first.Error != "" {
		t.Fatalf("log in to the console: %v %s", err, first.Error)
	}
	return c
}

// do has one job done; the error is io.EOF if the browser has ended.
func (c *console) do(j consoleJob) (consoleAnswer, error) {
	var d consoleAnswer
	if err := c.in.Encode(j); err != nil {
		return d, io.EOF // the pipe is broken
	}
	if !c.out.Scan() {
		return d, io.EOF
	}
	return d, json.Unmarshal(c.out.Bytes(), &d)
}

// create makes a configuration and shows that Nacos holds the very bytes.
func (c *console) create(t *testing.T, s *source, group, dataID, content string) {
	t.Helper()
	d, err := c.do(consoleJob{"create", c.namespace, group, dataID, content})
	if err != nil || d.Error != "" {
		t.Fatalf("create %s/%s in the console: %v %s", group, dataID, err, d.Error)
	}
	eventually(t, 10*time.Second, group+"/"+dataID+" is what was pasted", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		doc, err := s.Get(ctx, nacos.Key{Group: group, DataID: dataID})
		return err == nil && string(doc.Content) == content
	})
}

// edit changes a configuration and tells how long after the click holds first held. It may not hold before.
func (c *console) edit(t *testing.T, group, dataID, content, what string, holds func() bool) time.Duration {
	t.Helper()
	if holds() {
		t.Fatalf("before the edit: %s", what)
	}
	var answer consoleAnswer
	var err error
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		answer, err = c.do(consoleJob{"edit", c.namespace, group, dataID, content})
	}()
	ended := func() bool {
		select {
		case <-finished:
			return true
		default:
			return false
		}
	}
	eventually(t, 3*time.Minute, what, func() bool {
		switch {
		case !ended():
		case err != nil || answer.Error != "":
			t.Fatalf("edit %s/%s in the console: %v %s", group, dataID, err, answer.Error)
		case time.Since(time.UnixMilli(answer.Saved)) > 15*time.Second:
			t.Fatalf("not within 15 s of the edit: %s", what)
		}
		return holds()
	})
	seen := time.Now()
	<-finished
	if err != nil || answer.Error != "" {
		t.Fatalf("edit %s/%s in the console: %v %s", group, dataID, err, answer.Error)
	}
	took := seen.Sub(time.UnixMilli(answer.Clicked))
	t.Logf("%s %s after the click (saved %d ms after it)", what, took.Round(time.Millisecond), answer.Saved-answer.Clicked)
	if took < 0 {
		t.Errorf("%s %s before the click: the console had no part in it", what, -took)
	}
	return took
}

// TestConsoleEditsHoldWithinASecond has a real browser create a service, a consumer and its grants in Nacos's real
// console as the README says, and then let the consumer in and out by editing the grants.
func TestConsoleEditsHoldWithinASecond(t *testing.T) {
	s, server, namespace := realNacos(t)
	browser := openConsole(t, server, namespace)
	api := newRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":7,"name":"Rex","kind":"dog","status":"available","tags":["young","loud"]}`)
	})
	p := start(t, s).ready()

	example, err := os.ReadFile(filepath.Join("..", "..", "examples", "registry", "config", "proxy-services", "petstore.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	service := strings.ReplaceAll(string(example), "http://127.0.0.1:8810", api.URL)
	if service == string(example) {
		t.Fatal("the example's backend is not where this test expects it")
	}
	browser.create(t, s, "proxy-services", "petstore.yaml", service)
	browser.create(t, s, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	alice := p.client("petstore", aliceKey)
	eventually(t, 20*time.Second, "alice is known and refused", func() bool { return alice.list().Status == http.StatusForbidden })

	const nobody = "# Who may call what. Edited by people.\ntools: {}\n"
	const granted = "# Who may call what. Edited by people.\ntools:\n  get_pet: [alice]\n"
	browser.create(t, s, "proxy-grants", "petstore.yaml", nobody)
	in := func() bool { return alice.list().Status == http.StatusOK }
	out := func() bool { return alice.list().Status == http.StatusForbidden }
	var took []time.Duration
	for range 3 {
		took = append(took, browser.edit(t, "proxy-grants", "petstore.yaml", granted, "alice is let in", in))
		if diff := cmp.Diff([]string{"get_pet"}, alice.list().tools()); diff != "" {
			t.Errorf("alice's tools (-want +got):\n%s", diff)
		}
		if a := alice.call("get_pet", `{"petId":7}`); a.text() != "Rex is a dog and available: young, loud" {
			t.Errorf("call: %d %s", a.Status, a.Body)
		}
		took = append(took, browser.edit(t, "proxy-grants", "petstore.yaml", nobody, "alice is refused", out))
	}
	// The median, because the browser, Nacos and the proxy may have to share two processors with other tests.
	slices.Sort(took)
	if median := took[len(took)/2]; median > time.Second {
		t.Errorf("half of the edits took longer than %s to hold: %v", median, took)
	}
	if a := alice.call("get_pet", `{"petId":7}`); a.Status != http.StatusForbidden {
		t.Errorf("call after the grant was taken away: %d %s", a.Status, a.Body)
	}
}

// TestTwoPeopleEditingLoseNothingUnnoticed has one person edit a grants document in the real console while another edits
// it by command: whoever comes second is told, and what the first wrote stays. Seen red with the command's edit left out:
// the console then publishes.
func TestTwoPeopleEditingLoseNothingUnnoticed(t *testing.T) {
	s, server, namespace := realNacos(t)
	browser := openConsole(t, server, namespace)
	commands := newCommand(t, "--source", "nacos", "--nacos-addresses", server.Addr, "--nacos-namespace", namespace, "--nacos-username", server.User)
	commands.env = []string{"NMP_NACOS_PASSWORD=" + server.Password}
	const dataID = "petstore.yaml"
	s.put(t, "proxy-services", dataID, ownService("http://127.0.0.1:1", "get_pet", "x"))
	for _, name := range []string{"alice", "bob", "carol"} {
		s.put(t, "proxy-consumers", name+".yaml", consumer(name+"'s key"))
	}
	browser.create(t, s, "proxy-grants", dataID, "# kept by people\nconsumers: [alice]\n")

	open, err := browser.do(consoleJob{"open", namespace, "proxy-grants", dataID, "consumers: [alice, carol]\n"})
	if err != nil || open.Error != "" {
		t.Fatalf("open in the console: %v %s", err, open.Error)
	}
	commands.run("grants", "allow", "petstore", "--consumer", "bob")
	late, err := browser.do(consoleJob{Do: "publish"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(late.Error, "the console was told") {
		t.Errorf("the console published over somebody else's edit: %+v", late)
	}
	t.Logf("the second person: %s", late.Error)
	shown := func() string { return commands.run("grants", "show", "petstore") }
	eventually(t, 10*time.Second, "the first edit is still there", func() bool { return strings.Contains(shown(), "bob") })
	if strings.Contains(shown(), "carol") {
		t.Errorf("the refused edit is in force: %s", shown())
	}

	// The other way round: the command works on what the console wrote.
	browser.edit(t, "proxy-grants", dataID, "# kept by people\nconsumers: [alice, bob, carol]\n", "carol is granted", func() bool { return strings.Contains(shown(), "carol") })
	commands.run("grants", "revoke", "petstore", "--consumer", "bob")
	eventually(t, 10*time.Second, "bob is revoked", func() bool { return !strings.Contains(shown(), "bob") })
	if got := shown(); !strings.Contains(got, "carol") || !strings.Contains(got, "alice") {
		t.Errorf("the console's edit is lost: %s", got)
	}
}
