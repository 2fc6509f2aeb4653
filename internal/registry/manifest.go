package registry

import (
	"strings"

	"github.com/tidwall/gjson"
)

// Manifest is an MCP server as the Nacos registry lists it: the only entry point to its spec and tools.
type Manifest struct {
	ID          string // from the data id
	Name        string
	Protocol    string
	Description string
	Status      string   // active, deprecated, deleted; empty counts as active
	Latest      string   // version to serve; empty where none is published
	Versions    []string // in the manifest's order
	Enabled     bool
}

// ParseManifest reads a document of mcp-server-versions. The Manifest is nil where it is rejected.
func ParseManifest(dataID string, content []byte) (*Manifest, []Rejection) {
	s := &stored{group: GroupManifests, dataID: dataID}
	id, ok := strings.CutSuffix(dataID, manifestSuffix)
	if !ok || id == "" {
		s.reject("", "data id is not <id>%s", manifestSuffix)
		return nil, s.found
	}
	root, ok := s.open(content)
	if !ok {
		return nil, s.found
	}
	s.expect(root, "", textual, "name", "protocol", "status", "latestPublishedVersion")
	s.expectOrLeave(root, sequence, "versionDetails")
	s.expectOrLeave(root, textual, "description")
	if said := root.text("id"); said != "" && said != id {
		s.warn("id", "is %q, which is not the id in the data id; the data id counts", shown(said))
	}
	m := &Manifest{
		ID: id, Name: root.text("name"), Protocol: strings.ToLower(root.text("protocol")),
		Description: root.text("description"), Status: strings.ToLower(root.text("status")), Latest: root.text("latestPublishedVersion"),
		Enabled: s.flag(root, "enabled", "enabled", true),
	}
	flagged, seen := "", map[string]bool{}
	root["versionDetails"].ForEach(func(_, v gjson.Result) bool {
		detail := membersOf(v)
		if version := detail.text("version"); version != "" && !seen[version] {
			seen[version] = true
			m.Versions = append(m.Versions, version)
			if detail.text("is_latest") == "true" {
				flagged = version
			}
		}
		return true
	})
	switch {
	case m.Latest == "":
		m.Latest = flagged
	case !seen[m.Latest]:
		m.Versions = append(m.Versions, m.Latest)
	}
	if m.Name == "" {
		s.reject("name", `missing field "name"`)
	} else if !ValidName(m.Name) {
		s.reject("name", "%q cannot be the name of a service: names are 1 to 128 letters, digits, '.', '_' and '-'", shown(m.Name))
	}
	if Rejects(s.found) {
		return nil, s.found
	}
	together(append(each(m.Versions), &m.Name, &m.Protocol, &m.Description, &m.Status, &m.Latest)...)
	return m, s.found
}

// ManifestDataID names the manifest of an entry of the registry.
func ManifestDataID(id string) string { return id + manifestSuffix }

// SpecDataID names the document of mcp-server that describes a version.
func (m *Manifest) SpecDataID(version string) string { return m.ID + "-" + version + specSuffix }

// ToolsDataID names the document of mcp-tools that holds a version's tools.
func (m *Manifest) ToolsDataID(version string) string { return m.ID + "-" + version + toolsSuffix }

// NotServed gives the reason why a server of the registry is not served though nothing is wrong with its
// documents; "" if it is. A nil Spec is one that has not been read yet.
func NotServed(m *Manifest, s *Spec) string {
	if why := Off(m, s); why != "" {
		return why
	}
	switch protocol := protocolOf(m, s); protocol {
	case "http", "https", "mcp-sse", "mcp-streamable":
		return ""
	case "":
		return "no protocol is given"
	case "stdio", "dubbo":
		return "protocol " + protocol + " cannot be proxied"
	default:
		return "protocol " + shown(protocol) + " is not known"
	}
}

// UnknownProtocol returns what is wrong with the protocol of a version; nil if it is known, whether it can be proxied or not.
func UnknownProtocol(m *Manifest, s *Spec) *Rejection {
	protocol, in, line := protocolOf(m, s), &stored{group: GroupManifests, dataID: m.ID + manifestSuffix}, 0
	if s != nil && s.Protocol != "" {
		in = &stored{group: GroupSpecs, dataID: s.DataID}
		if s.lines != nil {
			line = s.lines.protocol
		}
	}
	switch in.line = line; protocol {
	case "http", "https", "mcp-sse", "mcp-streamable", "stdio", "dubbo":
		return nil
	case "":
		in.reject("protocol", `missing field "protocol"`)
	default:
		in.reject("protocol", "%q is not known", shown(protocol))
	}
	return &in.found[0]
}

// KindOf returns whether a version's tools are converted or passed through. A nil Spec is one that has not been read.
func KindOf(m *Manifest, s *Spec) Kind {
	if protocol := protocolOf(m, s); protocol == "http" || protocol == "https" {
		return ConvertedRegistry
	}
	return PassthroughRegistry
}

// protocolOf gives the protocol of a version: its spec's, else the manifest's.
func protocolOf(m *Manifest, s *Spec) string {
	if s != nil && s.Protocol != "" {
		return s.Protocol
	}
	return m.Protocol
}
