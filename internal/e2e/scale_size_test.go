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
	fromStore time.Duration // until ready
	edit      time.Duration // processor time per edit, without the collector's; 0: not measured
	allocated int           // bytes per edit
}

const tableHead = "| services | source | ready | its CPU | all validated | resident, LRU full | at most | idle CPU/s | ready from the store | CPU per edit | allocated |"

func (m measured) String() string {
	edit := "– | –"
	if m.edit > 0 {
		edit = fmt.Sprintf("%.1f ms | %d kB", float64(m.edit.Microseconds())/1000, m.allocated/1000)
	}
	return fmt.Sprintf("| %d | %s | %.1f s | %.1f s | %.1f s | %d MB | %d MB | %d ms | %.1f s | %s |", m.services, m.source,
		m.ready.Seconds(), m.readyCPU.Seconds(), m.validated.Seconds(), m.resident, m.most, m.idle.Milliseconds(), m.fromStore.Seconds(), edit)
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
			m := scale(t, bin, n, []string{"NMP_SOURCE=dir", "NMP_DIR_PATH=" + dir, "NMP_STATE_PATH=" + t.TempDir()}, func() {
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
			env := []string{
				"NMP_SOURCE=nacos", "NMP_NACOS_ADDRESSES=" + pair.Addr(), "NMP_NACOS_NAMESPACE=" + namespace, "NMP_NACOS_BACKEND_NAMESPACES=public",
				"NMP_NACOS_USERNAME=" + server.User, "NMP_NACOS_PASSWORD=" + server.Password, "NMP_STATE_PATH=" + t.TempDir(),
			}
			m := scale(t, bin, n, env, func() { away(pair) })
			m.source = "Nacos"
			pair.Set(faultproxy.Pass)
			m.edits(t, bin, env, s)
			rows = append(rows, m.String())
		})
	}
	for _, row := range rows {
		t.Log(row)
	}
}

// scale measures a proxy of n services; cut takes the source away.
func scale(t *testing.T, bin string, n int, env []string, cut func()) measured {
	m := measured{services: n}
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
	p.stop()
	return m
}

// edits measures what an edit in Nacos costs the proxy from the push to the store: of grants, which are edited, removed
// and made in turn, each time a swap of its own. The collector is kept from running meanwhile, and lists are: their cost
// falls on an edit or does not, by chance. What the collector takes grows with what is allocated.
func (m *measured) edits(t *testing.T, bin string, env []string, s *source) {
	p := runProxy(t, bin, append(env, "GOGC=1000", "NMP_NACOS_LIST_INTERVAL=10m")...)
	p.ready()
	p.validated()
	time.Sleep(5 * time.Second) // until the first lists are compared
	const edits, gap = 200, 100 * time.Millisecond
	n := m.services
	grants := scaleDocuments(n / 2)[4]
	idle := p.cpu()
	time.Sleep(edits * gap / 4)
	idle = p.cpu() - idle
	before, allocated, collected := p.cpu(), p.metric("go_memstats_alloc_bytes_total"), p.metric("go_gc_duration_seconds_count")
	for i := range edits {
		next := time.Now().Add(gap)
		if i%10 == 9 {
			s.remove(t, grants.Key.Group, grants.Key.DataID)
		} else {
			s.put(t, grants.Key.Group, grants.Key.DataID, fmt.Sprintf("%s# edit %d\n", grants.Content, i))
		}
		time.Sleep(time.Until(next))
	}
	m.edit = max((p.cpu()-before-4*idle)/edits, time.Microsecond)
	m.allocated = int(p.metric("go_memstats_alloc_bytes_total")-allocated) / edits
	if n := p.metric("go_gc_duration_seconds_count") - collected; n > 0 {
		t.Logf("the collector ran %v times among the edits", n)
	}
	eventually(t, 10*time.Second, "the last edit, a removal, is in force", func() bool { return p.ask(n/2).Status == http.StatusForbidden })
	s.put(t, grants.Key.Group, grants.Key.DataID, string(grants.Content))
	eventually(t, 10*time.Second, "the grants are back", func() bool { return p.ask(n/2).Status == http.StatusOK })
}

// metric reads a metric without labels.
func (p *program) metric(name string) float64 {
	p.t.Helper()
	for line := range strings.Lines(p.get("/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return f
		}
	}
	p.t.Fatalf("no metric %s", name)
	return 0
}
