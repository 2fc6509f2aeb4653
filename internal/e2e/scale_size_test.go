package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/faultproxy"
)

// measured is what one size takes.
type measured struct {
	services  int
	source    string
	ready     time.Duration // after the start, from the source
	readyCPU  time.Duration // of the proxy until then
	validated time.Duration // after the start
	resident  int           // MB, with the LRU full
	most      int           // MB, until then
	idle      time.Duration // processor time a second
	edit      time.Duration // processor time per edit; 0: not measured
	fromStore time.Duration // until ready
}

const tableHead = "| services | source | ready | its CPU | all validated | resident, LRU full | at most | idle CPU/s | CPU per edit | ready from the store |"

func (m measured) String() string {
	edit := "–"
	if m.edit > 0 {
		edit = m.edit.Round(10 * time.Microsecond).String()
	}
	return fmt.Sprintf("| %d | %s | %.1f s | %.1f s | %.1f s | %d MB | %d MB | %d ms | %s | %.1f s |", m.services, m.source,
		m.ready.Seconds(), m.readyCPU.Seconds(), m.validated.Seconds(), m.resident, m.most, m.idle.Milliseconds(), edit, m.fromStore.Seconds())
}

// TestA13_Scale runs the proxy with 1,000 services and consumers, or as many as Scale says, and prints what it takes.
// Held are ratios and bounds with room for a busy machine; with 10,000 or more, the promised memory. Seen red, at
// 10,000, with contents kept as they come.
func TestA13_Scale(t *testing.T) {
	sizes := os.Getenv(Scale)
	if sizes == "" {
		sizes = "1000"
	}
	bin := buildProxy(t)
	rows := []string{tableHead}
	for _, size := range strings.Fields(sizes) {
		n, err := strconv.Atoi(size)
		if err != nil {
			t.Fatalf("%s=%q: want numbers with blanks between them", Scale, sizes)
		}
		t.Run(size+"/directory", func(t *testing.T) {
			dir := scaleDirectory(t, n)
			m := scale(t, bin, n, []string{"NMP_SOURCE=dir", "NMP_DIR_PATH=" + dir}, nil, func() {
				if err := os.Rename(dir, dir+"-away"); err != nil {
					t.Fatal(err)
				}
			})
			m.source = "directory"
			rows = append(rows, m.String())
		})
		t.Run(size+"/nacos", func(t *testing.T) {
			s, server, namespace := scaleNacos(t, n)
			pair := faultproxy.NewPair(t, server.Addr)
			m := scale(t, bin, n, []string{
				"NMP_SOURCE=nacos", "NMP_NACOS_ADDRESSES=" + pair.Addr(), "NMP_NACOS_NAMESPACE=" + namespace, "NMP_NACOS_BACKEND_NAMESPACES=public",
				"NMP_NACOS_USERNAME=" + server.User, "NMP_NACOS_PASSWORD=" + server.Password,
			}, s, func() { away(pair) })
			m.source = "Nacos"
			rows = append(rows, m.String())
		})
	}
	for _, row := range rows {
		t.Log(row)
	}
}

// scale measures a proxy of n services; edits, where there is one, is where an edit's cost is measured, and cut takes
// the source away.
func scale(t *testing.T, bin string, n int, env []string, edits *source, cut func()) measured {
	m := measured{services: n}
	env = append(env, "NMP_STATE_PATH="+t.TempDir())
	p := runProxy(t, bin, env...)
	m.ready = p.ready()
	m.readyCPU = p.cpu()
	if got := p.list(n / 2); got != scaleTools {
		t.Errorf("a service lists %d tools as soon as ready, want %d", got, scaleTools)
	}
	m.validated = p.validated()
	for i := range min(n, 1100) {
		if got := p.list(i); got != scaleTools {
			t.Fatalf("service %d lists %d tools, want %d", i, got, scaleTools)
		}
	}
	m.resident, m.most = p.memory()
	if n >= 10_000 && m.most > 512 {
		t.Errorf("%d MB at most, more than 512", m.most)
	}
	const rest = 10 * time.Second
	before := p.cpu()
	time.Sleep(rest)
	m.idle = (p.cpu() - before) / time.Duration(rest.Seconds())
	if edits != nil {
		m.edit = p.editCost(edits, n, m.idle)
	}
	p.stop()

	cut()
	p = runProxy(t, bin, env...)
	m.fromStore = p.ready()
	if got := p.list(n / 3); got != scaleTools {
		t.Errorf("a service lists %d tools from the store, want %d", got, scaleTools)
	}
	if room := 2*m.ready + 2*time.Second; m.fromStore > room {
		t.Errorf("ready from the store after %s, from the source after %s", m.fromStore, m.ready)
	}
	return m
}

// editCost gives the processor time that an edit in Nacos costs the proxy from the push to the store: of grants, which
// are edited, made and removed in turn, each time a swap of its own. What the proxy takes when idle is left out.
func (p *program) editCost(s *source, n int, idle time.Duration) time.Duration {
	p.t.Helper()
	const edits, gap = 200, 100 * time.Millisecond
	grants := scaleDocuments(n / 2)[4]
	before, began := p.cpu(), time.Now()
	for i := range edits {
		next := time.Now().Add(gap)
		if i%10 == 9 {
			s.remove(p.t, grants.Key.Group, grants.Key.DataID)
		} else {
			s.put(p.t, grants.Key.Group, grants.Key.DataID, fmt.Sprintf("%s# edit %d\n", grants.Content, i))
		}
		time.Sleep(time.Until(next))
	}
	took := p.cpu() - before - time.Duration(float64(idle)*time.Since(began).Seconds())
	eventually(p.t, 10*time.Second, "the last edit, a removal, is in force", func() bool { return p.ask(n/2).Status == http.StatusForbidden })
	s.put(p.t, grants.Key.Group, grants.Key.DataID, string(grants.Content))
	eventually(p.t, 10*time.Second, "the grants are back", func() bool { return p.ask(n/2).Status == http.StatusOK })
	return max(took/edits, time.Microsecond)
}
