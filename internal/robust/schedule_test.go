package robust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// step is one thing that happens. Fields that a kind of step has no use for are zero.
type step struct {
	Do   string   `json:"do"`
	Wait duration `json:"wait"` // until the next step

	Name  string                   `json:"name,omitempty"` // of a consumer or service
	Bad   string                   `json:"bad,omitempty"`  // the document is one that is rejected
	Gone  bool                     `json:"gone,omitempty"` // the document is deleted
	Off   bool                     `json:"off,omitempty"`
	Open  bool                     `json:"open,omitempty"`
	In    []string                 `json:"in,omitempty"` // groups
	Keys  []keyStep                `json:"keys,omitempty"`
	All   []granteeStep            `json:"all,omitempty"`
	Tools map[string][]granteeStep `json:"tools,omitempty"`
	Has   []string                 `json:"has,omitempty"` // tools of a service

	InPlace bool     `json:"inPlace,omitempty"`
	Last    bool     `json:"manifestLast,omitempty"`
	Gap     duration `json:"gap,omitempty"` // between the documents of an entry
	More    duration `json:"more,omitempty"`
	Port    string   `json:"port,omitempty"`
	Way     int      `json:"way,omitempty"` // a faultproxy.Direction
	N       int      `json:"n,omitempty"`
}

type keyStep struct {
	N     int      `json:"n"`
	Off   bool     `json:"off,omitempty"`
	Until duration `json:"until,omitempty"` // since the start of the schedule
}

type granteeStep struct {
	To    string   `json:"to"` // a consumer, or @group
	Until duration `json:"until,omitempty"`
}

// duration is a time.Duration that reads and writes as text.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	got, err := time.ParseDuration(string(b))
	*d = duration(got)
	return err
}

// schedule is a list of steps.
type schedule []step

// String returns one line for each step, which parse reads.
func (s schedule) String() string {
	var b strings.Builder
	for _, x := range s {
		line, err := json.Marshal(x)
		if err != nil {
			panic(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

// parse reads a schedule; lines that begin with # are comments.
func parse(text []byte) (s schedule, err error) {
	for n, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var x step
		if err := d.Decode(&x); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		s = append(s, x)
	}
	return s, nil
}

// What there is.
var (
	consumers = []string{"ann", "ben", "cyd"}
	groups    = []string{"red", "blue"}
	tools     = []string{"get_a", "get_b", "put_a"}
	services  = []string{"own", "pass", "reg", "regpass"}
)

const (
	keysEach     = 2
	passedOn     = "pass" // in the name of a service: its backend is an MCP server
	fromRegistry = "reg"  // its documents are Nacos's
)

// defaultOpen as the first step of a schedule has access.default be disabled: services without a grants document are open.
const defaultOpen = "default-open"

// generate makes a schedule of a seed: documents of everything, and then steps steps.
func generate(seed uint64, steps int) schedule {
	g := generator{rand.New(rand.NewPCG(seed, 0x5eed))}
	var s schedule
	if g.one(4) {
		s = append(s, step{Do: defaultOpen})
	}
	for _, c := range consumers {
		s = append(s, g.consumer(c))
	}
	for _, name := range services {
		s = append(s, g.content(name), g.grants(name))
	}
	for i := range s {
		s[i].Wait, s[i].Gap, s[i].Bad, s[i].Gone = 0, 0, "", false
	}
	s[len(s)-1].Wait = duration(8 * time.Second)
	for range steps {
		x := g.step()
		x.Wait = duration(g.wait())
		s = append(s, x)
	}
	return s
}

type generator struct{ *rand.Rand }

func pick[T any](g generator, all ...T) T { return all[g.IntN(len(all))] }

func (g generator) one(in int) bool { return g.IntN(in) == 0 }

func (g generator) wait() time.Duration {
	return pick(g, 0, 5*time.Millisecond, 60*time.Millisecond, 200*time.Millisecond, 500*time.Millisecond, 1100*time.Millisecond, 2700*time.Millisecond, 7*time.Second)
}

func (g generator) until() duration {
	if g.one(5) {
		return duration(time.Duration(g.IntN(60)) * time.Second)
	}
	return 0
}

// step makes one step: two thirds are edits.
func (g generator) step() step {
	if g.IntN(3) < 2 {
		switch g.IntN(10) {
		case 0, 1, 2:
			return g.consumer(pick(g, consumers...))
		case 3, 4, 5, 6:
			return g.grants(pick(g, services...))
		default:
			return g.content(pick(g, services...))
		}
	}
	switch g.IntN(12) {
	case 0:
		return step{Do: "nacos-kill"}
	case 1:
		return step{Do: "nacos-start", Gap: duration(pick(g, 0, 500*time.Millisecond, 2*time.Second)), More: duration(pick(g, 0, time.Second))}
	case 2:
		return step{Do: "nacos-reset", Port: pick(g, "grpc", "http")}
	case 3, 4:
		return step{Do: pick(g, "nacos-stall", "nacos-lose", "nacos-slow", "nacos-throttle"), Port: pick(g, "grpc", "http", "both"), Way: 1 + g.IntN(3)}
	case 5, 6:
		return step{Do: "nacos-calm"}
	case 7:
		return step{Do: pick(g, "nacos-refuse", "nacos-silent", "nacos-busy")}
	case 8:
		return step{Do: pick(g, "backend-kill", "backend-hang", "backend-cut", "backend-calm"), Name: pick(g, services...)}
	case 9:
		return step{Do: pick(g, "proxy-kill", "proxy-restart"), Bad: pick(g, "", "", "flip", "cut", "gone"), N: g.IntN(1 << 20)}
	case 10:
		return step{Do: pick(g, "disk-full", "disk-free")}
	}
	return step{Do: "wait"}
}

func (g generator) consumer(name string) step {
	x := step{Do: "consumer", Name: name, Off: g.one(6), Gone: g.one(10)}
	if g.one(8) {
		x.Bad = pick(g, "malformed", "unknown field")
	}
	for _, group := range groups {
		if g.one(2) {
			x.In = append(x.In, group)
		}
	}
	for n := range keysEach {
		if !g.one(5) {
			x.Keys = append(x.Keys, keyStep{N: n, Off: g.one(5), Until: g.until()})
		}
	}
	return x
}

func (g generator) grants(name string) step {
	x := step{Do: "grants", Name: name, Open: g.one(6), Gone: g.one(10)}
	if g.one(8) {
		x.Bad = pick(g, "malformed", "unknown field")
	}
	to := func() (all []granteeStep) {
		for _, name := range append([]string{"@" + groups[0], "@" + groups[1]}, consumers...) {
			if g.one(3) {
				all = append(all, granteeStep{name, g.until()})
			}
		}
		return all
	}
	if g.one(2) {
		x.All = to()
	}
	x.Tools = map[string][]granteeStep{}
	for _, tool := range append([]string{"get_*"}, tools...) {
		if g.one(3) {
			x.Tools[tool] = to()
		}
	}
	return x
}

// content makes a new version of a service.
func (g generator) content(name string) step {
	x := step{Do: "service", Name: name, Gone: g.one(12)}
	if strings.HasPrefix(name, fromRegistry) {
		x.InPlace, x.Last, x.Off = g.one(2), g.one(2), g.one(8)
		x.Gap = duration(pick(g, 0, 5*time.Millisecond, 40*time.Millisecond, 150*time.Millisecond)) // the manifest may stay as it was: two of them must not make 0.4 s
	} else if g.one(8) {
		x.Bad = pick(g, "malformed", "unknown field")
	}
	for _, tool := range tools {
		if strings.Contains(name, passedOn) || !g.one(6) {
			x.Has = append(x.Has, tool)
		}
	}
	return x
}
