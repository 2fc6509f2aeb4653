// Command advisories holds the modules this repository needs, and the Go that builds it, to the known advisories. It runs
// govulncheck where the vulnerability database can be reached, and always compares versions with the list kept beside it,
// which needs no network.
//
//	go run ./scripts/advisories               check; fails on a hit
//	go run ./scripts/advisories --keep DIR    rewrite the kept list from DIR, a clone of github.com/golang/vulndb
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/scripts/internal/gotool"
)

const (
	keptFile = "scripts/advisories/kept.txt"
	database = "https://vuln.go.dev" // what govulncheck asks
)

func main() {
	err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "advisories:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	used, err := requirements()
	if err != nil {
		return err
	}
	if len(args) == 2 && args[0] == "--keep" {
		return keep(args[1], keptFile, used)
	}
	if len(args) != 0 {
		return errors.New("usage: advisories [--keep DIR]")
	}
	f, err := os.Open(keptFile)
	if err != nil {
		return err
	}
	list, err := parse(f)
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("read %s: %w", keptFile, err)
	}
	faults := check(list, used)
	for _, fault := range faults {
		fmt.Println(fault)
	}
	fmt.Printf("advisories: %d modules against %d advisories kept on %s: %d faults\n", len(used.versions), len(list.advisories), list.date, len(faults))
	if reachable(database) {
		c := exec.Command("go", "tool", "govulncheck", "-tags", "grpcnotrace", "./...")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("govulncheck: %w", err)
		}
	} else {
		fmt.Println("advisories: the vulnerability database cannot be reached: govulncheck is left out")
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d faults", len(faults))
	}
	return nil
}

// reachable reports whether there is a vulnerability database at url. A proxy's error page is none.
func reachable(url string) bool {
	client := &http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get(url + "/index/db.json")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var index struct {
		Modified time.Time `json:"modified"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(body, &index) == nil && !index.Modified.IsZero()
}

// needs is what the repository is built of.
type needs struct {
	floor    string            // the oldest Go that go.mod lets build this
	versions map[string]string // by module path, in the form v1.2.3; "stdlib" and "toolchain" are the Go that builds
	imported map[string]bool   // packages that the program, its tests or its tools import, on any system
}

// requirements asks the go command. All of it is in go.mod, the module cache and the Go installation: no network is needed.
func requirements() (needs, error) {
	out := needs{versions: map[string]string{}, imported: map[string]bool{}}
	var mod struct {
		Go      string
		Require []struct{ Path, Version string }
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
		Tool []struct{ Path string }
	}
	text, err := gotool.Run("", "mod", "edit", "-json")
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal([]byte(text), &mod); err != nil {
		return out, fmt.Errorf("read go.mod: %w", err)
	}
	out.floor = "v" + mod.Go
	for _, r := range mod.Require {
		out.versions[r.Path] = r.Version
	}
	for _, r := range mod.Replace {
		// What replaces a module is not what advisories speak of.
		return out, fmt.Errorf("go.mod replaces %s: its advisories cannot be told", r.Old.Path)
	}
	text, err = gotool.Run("", "env", "GOVERSION")
	if err != nil {
		return out, err
	}
	version, err := goVersion(strings.TrimSpace(text))
	if err != nil {
		return out, err
	}
	out.versions["stdlib"], out.versions["toolchain"] = version, version
	patterns := []string{"list", "-e", "-deps", "-test", "-f", "{{.ImportPath}}", "./..."}
	for _, t := range mod.Tool {
		patterns = append(patterns, t.Path)
	}
	for _, system := range gotool.Systems {
		text, err := gotool.Run(system, patterns...)
		if err != nil {
			return out, err
		}
		for p := range strings.Lines(text) {
			p, _, _ = strings.Cut(strings.TrimSpace(p), " ") // "p [p.test]" is p compiled for its test
			out.imported[p] = true
		}
	}
	return out, nil
}

// goVersion turns a version as Go prints its own, go1.27rc2, into a semantic one, v1.27.0-rc.2.
func goVersion(s string) (string, error) {
	s, _, _ = strings.Cut(s, " ") // experiments
	s, _, _ = strings.Cut(s, "-") // a distributor's suffix
	number, found := strings.CutPrefix(s, "go")
	version := "v" + number
	for _, stage := range []string{"rc", "beta"} {
		if before, n, is := strings.Cut(number, stage); is {
			version = "v" + before + ".0-" + stage + "." + n
		}
	}
	if !found || !semver.IsValid(version) {
		return "", fmt.Errorf("unknown version of Go %q", s)
	}
	return version, nil
}
