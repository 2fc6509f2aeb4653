package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// kept is the list in the repository.
type kept struct {
	date       string          // of the database it was taken from
	covered    map[string]bool // modules whose advisories are in it; others were never looked for
	advisories []advisory
}

// advisory says which versions of a module are affected.
type advisory struct {
	id       string
	module   string
	affected []span
	packages []string // affected ones; none: all of the module
}

// span is a range of versions. The first affected one belongs to it, the one with the fix does not.
type span struct {
	introduced string // "": from the beginning
	fixed      string // "": there is no fix
}

func (s span) String() string {
	from, to := "", ""
	if s.introduced != "" {
		from = ">=" + s.introduced
	}
	if s.fixed != "" {
		to = "<" + s.fixed
	}
	if from+to == "" {
		return "*"
	}
	return from + to
}

// holds reports whether a version lies in the range.
func (s span) holds(version string) bool {
	return (s.introduced == "" || semver.Compare(version, s.introduced) >= 0) && (s.fixed == "" || semver.Compare(version, s.fixed) < 0)
}

// check says what is wrong: affected versions, and modules that the list does not cover.
func check(list kept, used needs) []string {
	var faults []string
	for _, module := range slices.Sorted(maps.Keys(used.versions)) {
		if !list.covered[module] {
			faults = append(faults, fmt.Sprintf("%s: not covered by %s: run go run ./scripts/advisories --keep DIR", module, keptFile))
		}
	}
	for _, a := range list.advisories {
		version, needed := used.versions[a.module]
		if !needed || !a.concerns(used.imported) {
			continue
		}
		for _, s := range a.affected {
			if !s.holds(version) {
				continue
			}
			advice := "there is no fix"
			if s.fixed != "" {
				advice = "fixed in " + s.fixed
			}
			faults = append(faults, fmt.Sprintf("%s: %s %s is affected (%s): %s", a.id, a.module, version, s, advice))
		}
	}
	return faults
}

// concerns reports whether any affected package is imported. Commands of the toolchain never are, and count always.
func (a advisory) concerns(imported map[string]bool) bool {
	return len(a.packages) == 0 || a.module == "toolchain" || slices.ContainsFunc(a.packages, func(p string) bool { return imported[p] })
}

// parse reads the kept list: "date DAY", "module PATH" for each module covered, and an advisory a line: id, module, ranges of
// versions, packages, each a field.
func parse(r io.Reader) (kept, error) {
	out := kept{covered: map[string]bool{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case fields[0] == "date" && len(fields) == 2:
			out.date = fields[1]
		case fields[0] == "module" && len(fields) == 2:
			out.covered[fields[1]] = true
		case len(fields) == 3 || len(fields) == 4:
			a := advisory{id: fields[0], module: fields[1]}
			for _, s := range strings.Split(fields[2], ",") {
				parsed, err := parseSpan(s)
				if err != nil {
					return out, fmt.Errorf("line %d: %w", n, err)
				}
				a.affected = append(a.affected, parsed)
			}
			if len(fields) == 4 {
				a.packages = strings.Split(fields[3], ",")
			}
			out.advisories = append(out.advisories, a)
		default:
			return out, fmt.Errorf("line %d: unknown line %q", n, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		return out, err
	}
	if out.date == "" || len(out.advisories) == 0 {
		return out, fmt.Errorf("no date or no advisories in it")
	}
	return out, nil
}

func parseSpan(text string) (span, error) {
	var s span
	if text == "*" {
		return s, nil
	}
	if text == "" {
		return s, fmt.Errorf("invalid range %q: want >=v1.2.3<v1.2.4, either half or *", text)
	}
	from, to, hasFix := strings.Cut(text, "<")
	if from != "" {
		after, found := strings.CutPrefix(from, ">=")
		if !found || !semver.IsValid(after) {
			return s, fmt.Errorf("invalid range %q: want >=v1.2.3<v1.2.4, either half or *", text)
		}
		s.introduced = after
	}
	if hasFix {
		s.fixed = to
	}
	if hasFix && !semver.IsValid(to) {
		return s, fmt.Errorf("invalid range %q: want >=v1.2.3<v1.2.4, either half or *", text)
	}
	return s, nil
}

// entry is what the list takes from a file of the database, which is in the OSV format.
type entry struct {
	ID        string
	Withdrawn string
	Affected  []struct {
		Package struct{ Name string }
		Ranges  []struct {
			Events []struct{ Introduced, Fixed string }
		}
		Specific struct {
			Imports []struct{ Path string }
		} `json:"ecosystem_specific"`
	}
}

// keep writes the list anew from a clone of the database.
func keep(dir, file string, used needs) error {
	files, err := filepath.Glob(filepath.Join(dir, "data", "osv", "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no data/osv/*.json in %s: want a clone of github.com/golang/vulndb", dir)
	}
	date, err := exec.Command("git", "-C", dir, "log", "-1", "--format=%cs").Output()
	if err != nil {
		return fmt.Errorf("date of %s: %w", dir, err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Advisories of the modules in go.mod and of Go itself, from the Go vulnerability database (github.com/golang/vulndb,\n"+
		"# CC-BY 4.0). Written by go run ./scripts/advisories --keep DIR. Of Go only what a version that go.mod admits may have.\n"+
		"date %s\n", bytes.TrimSpace(date))
	for _, module := range slices.Sorted(maps.Keys(used.versions)) {
		fmt.Fprintf(&out, "module %s\n", module)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		lines, err := convert(text, used)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for _, line := range lines {
			fmt.Fprintln(&out, line)
		}
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// convert returns an OSV entry's lines in the list, one for each module that is needed.
func convert(text []byte, used needs) ([]string, error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, err
	}
	if e.Withdrawn != "" {
		return nil, nil
	}
	var lines []string
	for _, a := range e.Affected {
		module := a.Package.Name
		if _, needed := used.versions[module]; !needed {
			continue
		}
		var spans []string
		for _, r := range a.Ranges {
			var open *span
			for _, event := range r.Events {
				if event.Introduced != "" {
					if open != nil {
						return nil, fmt.Errorf("%s: two ranges begin before one ends", e.ID)
					}
					open = &span{}
					if event.Introduced != "0" {
						open.introduced = "v" + event.Introduced
					}
				}
				if event.Fixed != "" && open != nil {
					open.fixed = "v" + event.Fixed
					spans = append(spans, admitted(module, *open, used.floor)...)
					open = nil
				}
			}
			if open != nil {
				spans = append(spans, open.String())
			}
		}
		if len(a.Ranges) == 0 {
			spans = []string{"*"}
		}
		if len(spans) == 0 {
			continue
		}
		var packages []string
		for _, i := range a.Specific.Imports {
			packages = append(packages, i.Path)
		}
		slices.Sort(packages)
		lines = append(lines, strings.TrimSpace(strings.Join([]string{e.ID, module, strings.Join(spans, ","), strings.Join(slices.Compact(packages), ",")}, " ")))
	}
	return lines, nil
}

// admitted leaves out ranges of Go that end before the oldest Go which may build this.
func admitted(module string, s span, floor string) []string {
	if (module == "stdlib" || module == "toolchain") && semver.Compare(s.fixed, floor) <= 0 {
		return nil
	}
	return []string{s.String()}
}
