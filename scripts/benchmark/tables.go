//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// tables prints a kept run as docs/performance.md shows it.
func tables(w io.Writer, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	fmt.Fprintf(w, "%s, %s, %d CPUs, %s, %d rounds, %d consumers\n\n", r.Time.Format("2006-01-02"), r.CPU, r.CPUs, r.Go, r.Rounds, r.Consumers)
	if len(r.Subjects) > 0 {
		fmt.Fprint(w, "| subject | c=1 p50 | p99 | c=32 calls/s | quartiles | p50 | p99 | its CPU per call |\n|---|---|---|---|---|---|---|---|\n")
	}
	for _, s := range r.Subjects {
		if s.Clients != 1 {
			continue
		}
		loud := r.row(s.Subject, 32)
		fmt.Fprintf(w, "| %s | %s | %s | %.0f | %.0f–%.0f | %s | %s | %s |\n", s.Subject, duration(s.P50), duration(s.P99),
			loud.Rate, loud.Low, loud.High, duration(loud.P50), duration(loud.P99), duration(loud.CPU))
	}
	fmt.Fprint(w, "\n| measure | median | quartiles | goal | aim | |\n|---|---|---|---|---|---|\n")
	for i := range r.Measures {
		m := &r.Measures[i]
		spread := ""
		if m.Low != m.High {
			spread = number(m.Low) + "–" + number(m.High)
		}
		state := m.state()
		if state == "MISSED" {
			state = "**missed**"
		}
		fmt.Fprintf(w, "| %s | %s%s | %s | %s | %s | %s |\n", m.Name, number(m.Value), m.Unit, spread, m.bound(m.Goal), m.bound(m.Aim), state)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "\n%s\n", strings.ToUpper(n[:1])+n[1:]+".")
	}
	return nil
}

// duration is a number of microseconds with its unit.
func duration(us float64) string {
	switch {
	case us == 0:
		return ""
	case us >= 10_000:
		return fmt.Sprintf("%.0f ms", us/1e3)
	case us >= 1000:
		return fmt.Sprintf("%.1f ms", us/1e3)
	case us >= 100:
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.1f µs", us)
}
