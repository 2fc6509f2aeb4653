package nacostest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Cluster gives three servers that share one storage, as scripts/nacos/cluster starts them. Each may be killed and
// restarted like a private one; they end with the test. It takes a minute and a half, and 2.5 GB.
func Cluster(t testing.TB) []*Server {
	t.Helper()
	home, err := os.MkdirTemp("", "nacostest-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(script("cluster"), append(args, "--home", home)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if err != nil {
			t.Logf("cluster %s: %s", args[0], stderr.String())
		}
		return stdout.String(), err
	}
	t.Cleanup(func() {
		_, _ = run("stop")
		_ = os.RemoveAll(home)
	})
	addresses, err := run("start", "--port", strconv.Itoa(clusterPort(t)))
	if err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	all := strings.TrimSpace(addresses)
	var servers []*Server
	for i := range strings.Split(all, ",") {
		s, err := attach(filepath.Join(home, strconv.Itoa(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		s.private, s.args = true, []string{"--members", all}
		s.port, s.console = portOf(t, s.Addr), portOf(t, strings.Trim(strings.TrimPrefix(s.ConsoleURL, "http://"), "/"))
		servers = append(servers, s)
	}
	return servers
}

func portOf(t testing.TB, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	return n
}

// clusterPort finds a port such that all those that the members take are free.
func clusterPort(t testing.TB) int {
	t.Helper()
search:
	for port := 13000 + os.Getpid()%5000; port < 30000; port += 100 {
		for n := range 6 {
			if !free(port+n) || !free(port+1000+n) || !free(port-1000+n) || !free(port+10+n) {
				continue search
			}
		}
		return port
	}
	t.Fatal("no free ports for a cluster")
	return 0
}
