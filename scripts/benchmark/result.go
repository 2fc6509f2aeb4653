//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is one run, as it is kept.
type result struct {
	Time                time.Time
	Go, CPU             string
	CPUs                int
	Rounds              int
	Consumers, Services int
	Subjects            []row
	Measures            []measure
	Notes               []string `json:",omitempty"` // what is not in this run, and why
}

func (r *result) note(text string) { r.Notes = append(r.Notes, text) }

// row is one subject at one number of clients: medians over the rounds, with the quartiles of the rate.
type row struct {
	Subject                  string
	Clients                  int
	Rate, Low, High          float64 // calls per second
	P50, P99, CPU            float64 // microseconds; CPU of the subject's own process, per call
	rates, p50s, p99s, costs []float64
}

// measure is one number with what it is to reach. Low and High are quartiles over the rounds.
type measure struct {
	Name             string
	Unit             string `json:",omitempty"`
	Value, Low, High float64
	Goal             float64 `json:",omitempty"` // 0: none
	Aim              float64 `json:",omitempty"`
	AtMost           bool    `json:",omitempty"`
}

func newResult(p plan) *result {
	return &result{Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), CPU: cpuModel(), CPUs: runtime.NumCPU(), Rounds: p.rounds, Consumers: p.consumers, Services: p.services}
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (r *result) row(name string, clients int) *row {
	for i := range r.Subjects {
		if r.Subjects[i].Subject == name && r.Subjects[i].Clients == clients {
			return &r.Subjects[i]
		}
	}
	r.Subjects = append(r.Subjects, row{Subject: name, Clients: clients})
	return &r.Subjects[len(r.Subjects)-1]
}

// add takes one turn of a subject.
func (r *result) add(name string, clients int, t turn) {
	w := r.row(name, clients)
	w.rates = append(w.rates, t.rate)
	w.p50s, w.p99s = append(w.p50s, micros(t.p50)), append(w.p99s, micros(t.p99))
	w.costs = append(w.costs, micros(t.cpu))
	w.Low, w.Rate, w.High = quartiles(w.rates)
	_, w.P50, _ = quartiles(w.p50s)
	_, w.P99, _ = quartiles(w.p99s)
	_, w.CPU, _ = quartiles(w.costs)
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// quartiles gives the lower one, the median and the upper one.
func quartiles(values []float64) (low, median, high float64) {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	pick := func(q float64) float64 {
		x := q * float64(len(s)-1)
		i := int(x)
		j := min(i+1, len(s)-1)
		return s[i] + (s[j]-s[i])*(x-float64(i))
	}
	return pick(.25), pick(.5), pick(.75)
}

// measure notes a number, or the median of one per round.
func (r *result) measure(m measure, values ...float64) {
	m.Low, m.Value, m.High = quartiles(values)
	r.Measures = append(r.Measures, m)
}

// ratios are those of two series, round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// state tells whether the goal is reached. A goal counts as missed only if the better quartile misses it, too: what lies
// between is noise.
func (m *measure) state() string {
	reached := func(v float64) bool {
		if m.AtMost {
			return v <= m.Goal
		}
		return v >= m.Goal
	}
	better := m.High
	if m.AtMost {
		better = m.Low
	}
	switch {
	case m.Goal == 0:
		return ""
	case reached(m.Value):
		return "reached"
	case reached(better):
		return "within noise"
	}
	return "MISSED"
}

func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %d CPUs, %d rounds, %s\n\n", r.CPU, r.Go, r.CPUs, r.Rounds, r.Time.Format(time.RFC3339))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Subjects) > 0 {
		fmt.Fprintln(t, "subject\tclients\tcalls/s\tquartiles\tp50 µs\tp99 µs\tits CPU µs/call")
		for _, s := range r.Subjects {
			cost := "" // of one client among many subjects in turn it cannot be told
			if s.CPU > 0 {
				cost = fmt.Sprintf("%.1f", s.CPU)
			}
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f–%.0f\t%.0f\t%.0f\t%s\n", s.Subject, s.Clients, s.Rate, s.Low, s.High, s.P50, s.P99, cost)
		}
		t.Flush()
		fmt.Fprintln(w)
	}
	fmt.Fprintln(t, "measure\tvalue\tquartiles\tgoal\taim\t")
	for i := range r.Measures {
		m := &r.Measures[i]
		fmt.Fprintf(t, "%s\t%s%s\t%s–%s\t%s\t%s\t%s\n", m.Name, number(m.Value), m.Unit, number(m.Low), number(m.High), m.bound(m.Goal), m.bound(m.Aim), m.state())
	}
	t.Flush()
	for _, n := range r.Notes {
		fmt.Fprintln(w, n)
	}
}

func (m *measure) bound(v float64) string {
	switch {
	case v == 0:
		return ""
	case m.AtMost:
		return "≤ " + number(v)
	}
	return "≥ " + number(v)
}

func number(v float64) string {
	if math.Abs(v) < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// compare says what moved since the kept run by more than both runs' spread. Only ratios are compared, and what does not
// depend on the machine's mood.
func (r *result) compare(w io.Writer, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintf(w, "\nno kept run to compare with: make bench ARGS=--keep keeps one\n")
		return
	}
	var kept result
	if err := json.Unmarshal(text, &kept); err != nil {
		fmt.Fprintf(w, "\nkept run %s cannot be read: %v\n", path, err)
		return
	}
	if kept.Consumers != r.Consumers || kept.Services != r.Services {
		fmt.Fprintf(w, "\nnot compared: the kept run had %d consumers and %d services\n", kept.Consumers, kept.Services)
		return
	}
	fmt.Fprintf(w, "\nagainst the run of %s:\n", kept.Time.Format(time.RFC3339))
	same := true
	for _, m := range r.Measures {
		i := slices.IndexFunc(kept.Measures, func(k measure) bool { return k.Name == m.Name })
		if i < 0 {
			continue
		}
		if k := kept.Measures[i]; m.Low > k.High*1.05 || m.High < k.Low*.95 {
			fmt.Fprintf(w, "  %s: %s, was %s\n", m.Name, number(m.Value), number(k.Value))
			same = false
		}
	}
	if same {
		fmt.Fprintln(w, "  nothing moved by more than the spread")
	}
}

func (r *result) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// verdict is the error of the goals missed.
func (r *result) verdict() error {
	var missed []string
	for i := range r.Measures {
		if r.Measures[i].state() == "MISSED" {
			missed = append(missed, r.Measures[i].Name)
		}
	}
	if len(missed) == 0 {
		return nil
	}
	return errors.New("goals missed by more than the noise: " + strings.Join(missed, "; "))
}
