package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// DocumentStatus is what /status says of one document.
type DocumentStatus struct {
	Group    string    `json:"group"`
	DataID   string    `json:"dataId"`
	MD5      string    `json:"md5"`
	State    State     `json:"state"`
	Error    string    `json:"error,omitempty"`
	Line     int       `json:"line,omitempty"`
	Since    time.Time `json:"since"`
	Faults   []Fault   `json:"faults,omitempty"`   // all that was found, warnings too
	InForce  string    `json:"inForce,omitempty"`  // MD5 of the earlier version that is still in force
	Comments string    `json:"comments,omitempty"` // why it has no effect yet
}

// Fault is one thing wrong with a document.
type Fault struct {
	Line    int    `json:"line,omitempty"`
	Tool    string `json:"tool,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

// Alerts are what a person should mend at once: callers are denied for it, or are allowed what they were to be denied.
func (c *Catalog) Alerts(all []DocumentStatus) []string {
	alerts := []string{}
	x := c.Index()
	for _, d := range all {
		if d.Group != registry.GroupGrants || d.State != Rejected || d.MD5 == "" || x.shadowed(nacos.Key{Group: d.Group, DataID: d.DataID}, trimExtension(d.DataID)) {
			continue
		}
		line, force := "", "nobody may call the service"
		if d.Line > 0 {
			line = fmt.Sprintf(":%d", d.Line)
		}
		if d.InForce != "" {
			force = "the grants of the version before go on, with the switch on, and what it was to revoke is not"
		}
		alerts = append(alerts, fmt.Sprintf("%s/%s%s is rejected: %s: %s", d.Group, d.DataID, line, d.Error, force))
	}
	for _, name := range x.Guessed() {
		alerts = append(alerts, fmt.Sprintf("several entries of the registry carry the name %s, and nobody knows which had it first: pin one with registryId in %s/%s.yaml",
			name, registry.GroupGrants, name))
	}
	return alerts
}

// RejectedCount is how much of all documents is not taken.
type RejectedCount struct {
	Documents int `json:"documents"` // rejected whole, or for another document; an earlier version may be in force
	Tools     int `json:"tools"`     // rejected by themselves, in documents that were taken
}

// CountRejected counts what is rejected: `check` and /status say the same of the same documents.
func CountRejected(all []DocumentStatus) RejectedCount {
	var n RejectedCount
	for _, d := range all {
		if d.State == Rejected {
			n.Documents++
			continue
		}
		tools := map[string]bool{}
		for _, f := range d.Faults {
			if f.Tool != "" && !f.Warning {
				tools[f.Tool] = true
			}
		}
		n.Tools += len(tools)
	}
	return n
}

// ServiceStatus is what /status says of one service.
type ServiceStatus struct {
	Name        string           `json:"name"`
	Kind        registry.Kind    `json:"kind"`
	Description string           `json:"description,omitempty"`
	Version     string           `json:"version,omitempty"`
	Versions    []string         `json:"versions,omitempty"`
	Protocol    string           `json:"protocol"`
	Enabled     bool             `json:"enabled"`
	NotServed   string           `json:"notServed,omitempty"`
	Behind      string           `json:"behind,omitempty"` // why it is served as it was before its newest documents
	Deprecated  bool             `json:"deprecated,omitempty"`
	Auth        string           `json:"auth"`
	Tools       []string         `json:"tools"`
	Compiled    bool             `json:"compiled"`
	Instances   []InstanceStatus `json:"instances,omitempty"`
	Notes       []string         `json:"notes,omitempty"` // what is odd about the backend, as far as it was called
}

// InstanceStatus is what /status says of one instance of a compiled service's backend.
type InstanceStatus struct {
	Address string `json:"address"`
	Healthy bool   `json:"healthy"`
	Ejected bool   `json:"ejected"`

	persistent bool // entered by hand, and there until somebody removes it
}

// ConsumerStatus is what /status says of one consumer. It holds neither keys nor digests.
type ConsumerStatus struct {
	Name        string      `json:"name"`
	Description string      `json:"description,omitempty"`
	Enabled     bool        `json:"enabled"`
	Keys        []KeyStatus `json:"keys"`
}

// KeyStatus is what /status says of one key.
type KeyStatus struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Plain bool   `json:"plain,omitempty"` // the document holds the key itself instead of its digest
}

// DocumentStatuses gives all documents, sorted by group and data id.
func (c *Catalog) DocumentStatuses() []DocumentStatus {
	x := c.Index()
	all := make([]DocumentStatus, 0, x.docs.size)
	for _, d := range x.Documents() {
		all = append(all, x.documentStatus(d))
	}
	slices.SortFunc(all, func(a, b DocumentStatus) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.DataID, b.DataID))
	})
	return all
}

func (x *Index) documentStatus(d *Document) DocumentStatus {
	s := DocumentStatus{Group: d.Key.Group, DataID: d.Key.DataID, MD5: d.MD5, State: d.State, Since: d.Since.UTC()}
	for _, r := range d.Rejections {
		s.Faults = append(s.Faults, Fault{Line: r.Line, Tool: r.Tool, Field: r.Field, Message: r.Message, Warning: r.Warning})
		if !r.Warning && s.Error == "" {
			s.Error, s.Line = r.Message, r.Line
		}
	}
	if d.mark != nil {
		s.Comments = d.mark.waits
	}
	if d.GoodMD5 != "" && d.GoodMD5 != d.MD5 && (d.State == Rejected || s.Comments != "") {
		s.InForce = d.GoodMD5
	}
	if d.State == Applied {
		x.explainUseless(d, &s)
	}
	if g, ok := d.value.(*registry.Grants); ok && s.State == Applied {
		s.Faults = append(s.Faults, x.adviseGrants(g, x.Service(trimExtension(d.Key.DataID)))...)
	}
	return s
}

// explainUseless says why a document that was accepted has no effect.
func (x *Index) explainUseless(d *Document, s *DocumentStatus) {
	name := trimExtension(d.Key.DataID)
	switch d.Key.Group {
	case registry.GroupManifests:
		m := d.value.(*registry.Manifest)
		service := x.Service(m.Name)
		switch {
		case service != nil && service.manifest == nil && service.NotServed != "":
			s.State, s.Error = Rejected, service.NotServed
		case service != nil && service.manifest == nil:
			s.State, s.Error = Rejected, "the name "+m.Name+" is taken by "+registry.GroupServices+"/"+m.Name+".yaml"
		case service != nil && service.manifest.Key != d.Key:
			s.State, s.Error = Rejected, "the name "+m.Name+" is taken by "+service.manifest.Key.String()+", "+service.others
		case service != nil && service.NotServed != "":
			s.State, s.Comments = Ignored, service.NotServed
		}
	case registry.GroupServices:
		if service := x.Service(name); service != nil && service.manifest != nil {
			s.State, s.Error = Rejected, "the name "+name+" is taken by "+service.manifest.Key.String()+", "+service.others
		}
	case registry.GroupGrants, registry.GroupUpstreams:
		if x.Service(name) == nil {
			s.State, s.Comments = Ignored, "kept for a service that does not exist yet"
		}
	}
	if s.State == Applied && x.shadowed(d.Key, name) {
		s.State, s.Error = Rejected, "another document of the same name takes precedence (.yaml before .yml before .json)"
	}
}

// shadowed tells whether a document of ours is overridden by one of the same name with another extension.
func (x *Index) shadowed(key nacos.Key, name string) bool {
	switch key.Group {
	case registry.GroupServices, registry.GroupGrants, registry.GroupUpstreams, registry.GroupConsumers, registry.GroupCredentials:
	default:
		return false
	}
	for _, ext := range extensions {
		dataID := name + ext
		if dataID == key.DataID {
			return false
		}
		if _, ok := x.docs.get(nacos.Key{Group: key.Group, DataID: dataID}); ok {
			return true
		}
	}
	return false
}

// ServiceStatuses gives all services, sorted by name.
func (c *Catalog) ServiceStatuses() []ServiceStatus {
	x := c.Index()
	all := make([]ServiceStatus, 0, x.services.size)
	for _, s := range x.Services() {
		all = append(all, c.serviceStatus(s))
	}
	slices.SortFunc(all, func(a, b ServiceStatus) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (c *Catalog) serviceStatus(s *Service) ServiceStatus {
	st := ServiceStatus{
		Name: s.Name, Kind: s.Kind, Protocol: s.Protocol, Enabled: s.NotServed == "", NotServed: s.NotServed, Behind: s.Behind,
		Deprecated: s.Deprecated, Auth: "required", Tools: []string{},
	}
	if s.Access.Open() {
		st.Auth = "disabled"
	}
	if s.Latest == nil {
		return st
	}
	st.Version, st.Description = s.Latest.Version, s.Latest.Description()
	st.Tools = append(st.Tools, s.Latest.Tools()...)
	for version := range s.Others {
		st.Versions = append(st.Versions, version)
	}
	slices.Sort(st.Versions)
	var compiled *Compiled
	if compiled, st.Compiled = c.compiled.Peek(s.Latest.root()); st.Compiled && compiled.Backend != nil {
		st.Instances = instances(compiled.Backend)
	}
	if st.Compiled {
		st.Notes = compiled.notes(s.Latest, st.Instances)
	}
	return st
}

// endpointGroup is where Nacos registers the endpoints that are entered with a server of its MCP registry.
const endpointGroup = "mcp-endpoints"

// notes says what is odd about the backend of v.
func (x *Compiled) notes(v *Variant, all []InstanceStatus) (notes []string) {
	if x.unended.Load() {
		notes = append(notes, "an event stream of the backend ended without a blank line behind its last event: it counts where it is a whole JSON object or array, and is lost otherwise")
	}
	// Those that servers register themselves come and go with them.
	var entered []string
	for _, in := range all {
		if in.persistent {
			entered = append(entered, in.Address)
		}
	}
	if ref := x.Definition.Backend.Ref; ref != nil && v.manifest != nil && ref.Group == endpointGroup && len(entered) > 1 {
		notes = append(notes, fmt.Sprintf("calls go to each of the %d endpoints %s: Nacos keeps the one of before where a version is published with another, until it is removed from the service %s of group %s",
			len(entered), strings.Join(entered, ", "), ref.Service, ref.Group))
	}
	return notes
}

func instances(b *upstream.Backend) []InstanceStatus {
	var all []InstanceStatus
	for _, in := range b.Instances() {
		all = append(all, InstanceStatus{Address: in.Address, Healthy: in.Healthy, Ejected: in.Ejected, persistent: in.Persistent})
	}
	return all
}

// ConsumerStatuses gives all consumers, sorted by name, with their keys' states at the time now.
func (c *Catalog) ConsumerStatuses(now time.Time) []ConsumerStatus {
	x := c.Index()
	all := make([]ConsumerStatus, 0, x.consumers.size)
	for _, p := range x.Consumers() {
		s := ConsumerStatus{Name: p.Name, Description: p.Description, Enabled: p.Enabled, Keys: []KeyStatus{}}
		for i := range p.Keys {
			k := &p.Keys[i]
			s.Keys = append(s.Keys, KeyStatus{ID: k.ID, State: access.KeyState(p, k, now.UnixNano()).String(), Plain: k.Plain})
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b ConsumerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
