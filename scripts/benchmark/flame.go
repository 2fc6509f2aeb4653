//go:build linux

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// A flame graph of a CPU profile, as a picture that needs no viewer: each box is a function, as wide as the share of samples
// in which it was on the stack, above who called it.

const (
	flameWidth = 1400.0
	flameRow   = 17.0
	flameLeast = .002 // of all samples; what is narrower is left out
	flameTop   = 44.0
)

// frame is one function called by the frames below it.
type frame struct {
	name  string
	value int64
	calls map[string]*frame
}

func (f *frame) call(name string) *frame {
	if f.calls == nil {
		f.calls = map[string]*frame{}
	}
	c := f.calls[name]
	if c == nil {
		c = &frame{name: name}
		f.calls[name] = c
	}
	return c
}

// flame draws the profile at from into the SVG file at to, and prints what its samples were spent on.
func flame(from, to, title string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return fmt.Errorf("read profile %s: %w", from, err)
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriter(out)
	drawFlame(w, stacks(p), title)
	printShares(os.Stdout, p)
	return w.Flush()
}

// stacks merges the samples of a profile by their stacks.
func stacks(p *profile.Profile) *frame {
	root := &frame{name: "all"}
	value := len(p.SampleType) - 1 // CPU time comes after the number of samples
	for _, s := range p.Sample {
		at := root
		at.value += s.Value[value]
		for _, l := range slices.Backward(s.Location) {
			for _, line := range slices.Backward(l.Line) {
				at = at.call(line.Function.Name)
				at.value += s.Value[value]
			}
		}
	}
	return root
}

func (f *frame) depth(least int64) int {
	deepest := 0
	for _, c := range f.calls {
		if c.value >= least {
			deepest = max(deepest, c.depth(least))
		}
	}
	return deepest + 1
}

func drawFlame(w io.Writer, root *frame, title string) {
	least := int64(float64(root.value) * flameLeast)
	height := flameTop + float64(root.depth(least))*flameRow + 6
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="11">`+"\n", flameWidth, height)
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" fill="#fff"/><text x="8" y="17" font-size="14">%s</text>`+"\n", html.EscapeString(title))
	x := 8.0
	for _, k := range flameKinds {
		fmt.Fprintf(w, `<rect x="%.0f" y="25" width="11" height="11" fill="%s"/><text x="%.0f" y="35">%s</text>`+"\n", x, k.colour, x+15, k.label)
		x += 28 + 6.2*float64(len(k.label))
	}
	drawFrame(w, root, root, 0, height-6-flameRow, least)
	fmt.Fprintln(w, "</svg>")
}

func drawFrame(w io.Writer, f, root *frame, x, y float64, least int64) {
	width := float64(f.value) / float64(root.value) * flameWidth
	share := 100 * float64(f.value) / float64(root.value)
	fmt.Fprintf(w, `<g><title>%s: %.1f %%</title><rect x="%.1f" y="%.0f" width="%.1f" height="16" fill="%s" stroke="#fff" stroke-width=".5"/>`, html.EscapeString(f.name), share, x, y, width, flameColour(f.name))
	if room := int(width/6) - 1; room >= 3 {
		name := []rune(shortName(f.name))
		if len(name) > room {
			name = append(name[:room-1], '…')
		}
		fmt.Fprintf(w, `<text x="%.1f" y="%.0f">%s</text>`, x+3, y+12, html.EscapeString(string(name)))
	}
	fmt.Fprintln(w, "</g>")
	calls := make([]*frame, 0, len(f.calls))
	for _, c := range f.calls {
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b *frame) int { return cmp.Compare(a.name, b.name) })
	for _, c := range calls {
		if c.value >= least {
			drawFrame(w, c, root, x, y-flameRow, least)
		}
		x += float64(c.value) / float64(root.value) * flameWidth
	}
}

// flameKinds tell whose code a box is, by the first prefix that fits.
var flameKinds = []struct {
	label, colour string
	prefixes      []string
}{
	{"this proxy", "#ffb454", []string{"github.com/nacos-mcp-proxy/"}},
	{"system calls, network", "#8ecae6", []string{"syscall.", "internal/runtime/syscall", "internal/poll", "net.", "os.", "runtime.entersyscall", "runtime.exitsyscall", "runtime.netpoll"}},
	{"net/http, parsing", "#b7e4c7", []string{"net/http", "net/textproto", "bufio.", "io.", "net/url"}},
	{"collector and allocation", "#f4978e", []string{"runtime.gc", "runtime.malloc", "runtime.newobject", "runtime.makeslice", "runtime.growslice", "runtime.bgsweep", "runtime.scan", "runtime.greyobject", "runtime.(*mcache", "runtime.(*mcentral", "runtime.(*mheap", "runtime.(*gc", "runtime.(*span"}},
	{"scheduler and the rest of the runtime", "#d9d9e3", []string{"runtime.", "internal/runtime"}},
	{"other code", "#e9edc9", []string{""}},
}

func flameColour(name string) string {
	for _, k := range flameKinds {
		for _, p := range k.prefixes {
			if strings.HasPrefix(name, p) {
				return k.colour
			}
		}
	}
	return ""
}

// shortName leaves out the path of the package.
func shortName(name string) string {
	end := len(name)
	if i := strings.IndexAny(name, "([{"); i >= 0 { // type arguments and receivers hold slashes of their own
		end = i
	}
	return name[strings.LastIndexByte(name[:end], '/')+1:]
}
