package access

import (
	"fmt"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Cell is one answer of the table of who may call what, with its reason in words.
type Cell struct {
	Consumer string // empty for a caller without a key
	Tool     string // empty for the service as a whole
	Decision
	Why string // "service grant by group research until 2026-12-31T00:00:00Z"
}

// Explain gives what c may do: first a cell for the service as a whole, then one for each of tools.
func (t *Table) Explain(c *registry.Consumer, tools []string, now int64) []Cell {
	name := ""
	if c != nil {
		name = c.Name
	}
	cells := make([]Cell, 0, len(tools)+1)
	d := t.Service(c, now)
	cells = append(cells, Cell{Consumer: name, Decision: d, Why: t.why(d)})
	for _, tool := range tools {
		d := t.Tool(c, []byte(tool), now)
		cells = append(cells, Cell{Consumer: name, Tool: tool, Decision: d, Why: t.why(d)})
	}
	return cells
}

// why puts a decision into words.
func (t *Table) why(d Decision) string {
	switch d.Reason {
	case Granted:
		if d.Grant.NotAfter.IsZero() {
			return d.grant()
		}
		return d.grant() + " until " + d.Grant.NotAfter.UTC().Format(time.RFC3339)
	case Expired:
		return d.grant() + " expired " + d.Grant.NotAfter.UTC().Format(time.RFC3339)
	case NoGrant:
		switch {
		case t != nil && t.rejected && t.document == nil:
			return "no grant (the grants document is rejected)"
		case t == nil || t.document == nil:
			return "no grant (there is no grants document)"
		}
	}
	return d.Reason.String()
}

func (d Decision) grant() string {
	what := "service grant"
	if d.Level == LevelTool {
		what = fmt.Sprintf("tool grant on %s", d.Pattern)
	}
	if d.Grant.Group != "" {
		what += " by group " + d.Grant.Group
	}
	return what
}
