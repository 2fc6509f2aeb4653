// Command licenses collects the licenses of what the program links in the file NOTICE, and fails where a module has none that is
// allowed here, or where NOTICE is not up to date.
//
//	go run ./scripts/licenses            check
//	go run ./scripts/licenses --write    write NOTICE anew
//
// go-licenses, which the classifier here comes from, writes no such file, cannot compare one, needs GOROOT set and -trimpath
// unset, and its modules would be tens of the repository's: we take the classifier and collect ourselves.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/scripts/internal/gotool"
)

const (
	noticeFile = "NOTICE"
	program    = "./cmd/nacos-mcp-proxy"
	tags       = "grpcnotrace" // as in the Makefile
	goItself   = "Go"          // in place of a module, for the standard library and the runtime
)

// allowed are the licenses, by their SPDX names, that ask no more of who passes the program on than what NOTICE does.
// MPL-2.0 does ask for the sources of the files under it, which we leave unchanged: their module's own are enough.
var allowed = map[string]bool{
	"Apache-2.0": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true, "MIT": true, "MIT-0": true, "MPL-2.0": true,
}

// readByUs are texts that the classifier does not know, by the SHA-256 of what normalize makes of them.
var readByUs = map[string]string{
	"fac6fe1191752339f11c27c8a16f57e95b33427a45d65f772dea1393816d7171": "MIT-0", // github.com/segmentio/asm
}

// pkg is a package that is linked.
type pkg struct{ dir, module, root string }

// part is a module that is linked, with the texts that belong to it.
type part struct {
	module string
	names  []string // of its licenses
	texts  []string // of its licenses and notices
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 1 || len(args) == 1 && args[0] != "--write" {
		return errors.New("usage: licenses [--write]")
	}
	packages, err := linked()
	if err != nil {
		return err
	}
	c, err := assets.DefaultClassifier()
	if err != nil {
		return err
	}
	parts, err := collect(c, packages)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		return os.WriteFile(noticeFile, render(parts), 0o644)
	}
	was, err := os.ReadFile(noticeFile)
	if err != nil {
		return err
	}
	if err := compare(was, parts); err != nil {
		return err
	}
	fmt.Printf("licenses: %d modules are in %s\n", len(parts), noticeFile)
	return nil
}

// linked returns the packages of the program on all systems, those of the standard library included.
func linked() ([]pkg, error) {
	root, err := gotool.Run("", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	seen := map[pkg]bool{}
	for _, system := range gotool.Systems {
		out, err := gotool.Run(system, "list", "-deps", "-tags", tags, "-f",
			"{{.Dir}}\t{{if .Standard}}"+goItself+"\t"+strings.TrimSpace(root)+"{{else if not .Module.Main}}{{.Module.Path}}\t{{.Module.Dir}}{{end}}", program)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 3 {
				seen[pkg{fields[0], fields[1], fields[2]}] = true
			}
		}
	}
	if len(seen) == 0 {
		return nil, errors.New("go list names no package")
	}
	return slices.Collect(maps.Keys(seen)), nil
}

var (
	licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-._].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^(notice|patents)([-._].*)?$`)
	sourceName  = regexp.MustCompile(`\.go$`)
)

// collect reads the texts of each module, ordered by its name: those at its root, and those beside packages that are linked or
// above them, which code taken over from others brings along. It returns an error that names every module at fault. Of Go only
// the root counts: the license beside its crypto/internal/boring is that of an object file which only an experiment links.
func collect(c *classifier.Classifier, packages []pkg) ([]part, error) {
	dirs := map[pkg]bool{} // in place of a package's, every directory from it up to its module's root
	for _, p := range packages {
		if p.module == goItself {
			p.dir = p.root
		}
		for {
			dirs[p] = true
			up := filepath.Dir(p.dir)
			if p.dir == p.root || up == p.dir {
				break
			}
			p.dir = up
		}
	}
	parts := map[string]*part{}
	licensed := map[string]bool{}
	var faults []error
	order := func(a, b pkg) int { return strings.Compare(a.module+"\x00"+a.dir, b.module+"\x00"+b.dir) }
	for _, d := range slices.SortedFunc(maps.Keys(dirs), order) {
		m := parts[d.module]
		if m == nil {
			m = &part{module: d.module}
			parts[d.module] = m
		}
		entries, err := os.ReadDir(d.dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			license := licenseName.MatchString(e.Name())
			if e.IsDir() || sourceName.MatchString(e.Name()) || !license && !noticeName.MatchString(e.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(d.dir, e.Name()))
			if err != nil {
				return nil, err
			}
			if normal := normalize(text); !slices.Contains(m.texts, normal) {
				m.texts = append(m.texts, normal)
			}
			if !license {
				continue
			}
			licensed[d.module] = true
			rel, _ := filepath.Rel(d.root, filepath.Join(d.dir, e.Name()))
			names := classify(c, text)
			if len(names) == 0 {
				faults = append(faults, fmt.Errorf("%s: %s is no license that is known", d.module, rel))
			}
			for _, name := range names {
				if !allowed[name] {
					faults = append(faults, fmt.Errorf("%s: %s is %s, which is not allowed here", d.module, rel, name))
				}
			}
			m.names = append(m.names, names...)
		}
	}
	out := make([]part, 0, len(parts))
	for _, module := range slices.Sorted(maps.Keys(parts)) {
		m := parts[module]
		slices.Sort(m.names)
		m.names = slices.Compact(m.names)
		if !licensed[module] {
			faults = append(faults, fmt.Errorf("%s: no license", module))
		}
		out = append(out, *m)
	}
	return out, errors.Join(faults...)
}

// classify returns the SPDX names of the licenses in a text.
func classify(c *classifier.Classifier, text []byte) []string {
	var names []string
	for _, m := range c.Match(text).Matches {
		if m.MatchType != "Copyright" {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		if name, known := readByUs[fmt.Sprintf("%x", sha256.Sum256([]byte(normalize(text))))]; known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// normalize takes out differences that nobody reads.
func normalize(text []byte) string {
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\f")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

const rule = "--------------------------------------------------------------------------------\n"

// render writes what NOTICE has in it: the modules with the names of their licenses, then each text once.
func render(parts []part) []byte {
	var out bytes.Buffer
	out.WriteString("nacos-mcp-proxy is under the Apache License 2.0, see LICENSE. Its program links the modules below, unchanged, whose licenses\n" +
		"and notices follow. Written by go run ./scripts/licenses --write.\n\n")
	users := map[string][]string{}
	var texts []string
	for _, p := range parts {
		fmt.Fprintf(&out, "%s\n", line(p))
		for _, text := range p.texts {
			if users[text] == nil {
				texts = append(texts, text)
			}
			users[text] = append(users[text], p.module)
		}
	}
	for _, text := range texts {
		fmt.Fprintf(&out, "\n%s%s\n%s\n%s\n", rule, strings.Join(users[text], "\n"), rule, text)
	}
	return out.Bytes()
}

// line is a module's in the list at the top.
func line(p part) string { return "  " + p.module + ": " + strings.Join(p.names, ", ") }

// compare returns an error that names the modules which are missing in NOTICE, or whose licenses are others there.
func compare(was []byte, parts []part) error {
	if bytes.Equal(was, render(parts)) {
		return nil
	}
	listed := map[string]bool{}
	for l := range strings.Lines(string(was)) {
		listed[strings.TrimSuffix(l, "\n")] = true
	}
	var missing []string
	for _, p := range parts {
		if !listed[line(p)] {
			missing = append(missing, p.module)
		}
	}
	if missing == nil {
		missing = []string{"texts differ"}
	}
	return fmt.Errorf("%s is not up to date (%s): run go run ./scripts/licenses --write and read the difference", noticeFile, strings.Join(missing, ", "))
}
