package catalog

import (
	"cmp"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// AccessTable is who may call what of one service, each cell with its reason.
type AccessTable struct {
	Service   string           `json:"service"`
	Auth      string           `json:"auth"` // the status switch: required or disabled
	NotServed string           `json:"notServed,omitempty"`
	Tools     []string         `json:"tools"`
	Consumers []AccessConsumer `json:"consumers"`
}

// AccessConsumer is a row of the table.
type AccessConsumer struct {
	Name    string                `json:"name"`
	Allowed bool                  `json:"allowed"` // may do anything at all with the service
	Why     string                `json:"why"`
	Keys    []KeyStatus           `json:"keys"`
	Tools   map[string]AccessCell `json:"tools"`
}

// AccessCell is one decision and its reason.
type AccessCell struct {
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
}

// Explain gives the table of one service as it stands at now; false if there is no such service. more are tools to
// answer for besides those that documents name: what a backend has is not known here.
func (c *Catalog) Explain(service string, now time.Time, more ...string) (*AccessTable, bool) {
	x := c.Index()
	s := x.Service(service)
	if s == nil {
		return nil, false
	}
	t := &AccessTable{Service: service, Auth: "required", NotServed: s.NotServed, Tools: []string{}, Consumers: []AccessConsumer{}}
	if s.Access.Open() {
		t.Auth = "disabled"
	}
	if s.Latest != nil {
		t.Tools = append(t.Tools, s.Latest.Tools()...)
	}
	for _, tool := range more {
		if !slices.Contains(t.Tools, tool) {
			t.Tools = append(t.Tools, tool)
		}
	}
	off := disabled(s.Latest, t.Tools)
	for _, p := range x.Consumers() {
		row := explainConsumer(s.Access, p, t.Tools, now)
		for _, tool := range off {
			row.Tools[tool] = AccessCell{Why: ToolDisabled}
		}
		t.Consumers = append(t.Consumers, row)
	}
	slices.SortFunc(t.Consumers, func(a, b AccessConsumer) int { return cmp.Compare(a.Name, b.Name) })
	return t, true
}

// ToolDisabled is why nobody may call a tool, whatever the grants say.
const ToolDisabled = "the tool is disabled for everybody, or not in the service's allowTools"

// disabled returns those of the tools that are off for everybody.
func disabled(v *Variant, tools []string) (off []string) {
	if v == nil {
		return nil
	}
	def, _, err := v.definition()
	if err != nil {
		return nil
	}
	for _, tool := range tools {
		if def.Disabled([]byte(tool)) {
			off = append(off, tool)
		}
	}
	return off
}

func explainConsumer(table *access.Table, p *registry.Consumer, tools []string, now time.Time) AccessConsumer {
	cells := table.Explain(p, tools, now.UnixNano())
	row := AccessConsumer{Name: p.Name, Allowed: cells[0].Allowed, Why: cells[0].Why, Tools: map[string]AccessCell{}, Keys: []KeyStatus{}}
	usable := false
	for i := range p.Keys {
		k := &p.Keys[i]
		state := access.KeyState(p, k, now.UnixNano())
		usable = usable || state == access.KeyOK
		row.Keys = append(row.Keys, KeyStatus{ID: k.ID, State: state.String(), Plain: k.Plain})
	}
	for _, cell := range cells[1:] {
		row.Tools[cell.Tool] = AccessCell{Allowed: cell.Allowed, Why: cell.Why}
	}
	if !usable && !table.Open() {
		row.Why += "; but no key of this consumer is in force"
	}
	return row
}
