package registry

import (
	"encoding/json"
	"strings"
)

// Spec is one version of an MCP server of the Nacos registry: where its backend is.
type Spec struct {
	DataID      string
	Protocol    string
	Title       string
	Description string
	WebsiteURL  string          // http or https
	Icons       json.RawMessage // as MCP shows those of a server; nil for none
	Status      string
	Version     string // as the document says; empty where it does not
	Enabled     bool
	Ref         *SpecRef // nil where the document names no backend
	ExportPath  string
	ToolsRef    string // data id of the version's tools; empty where it has none

	lines *specLines // nil for a document of one line, as Nacos writes it
}

// specLines says where the fields of a spec stand that Faults looks at; 0 for one that is absent.
type specLines struct{ protocol, version, remote, transport, exportPath int }

// SpecRef is remoteServerConfig.serviceRef.
type SpecRef struct {
	Namespace         string
	Group             string
	Service           string
	TransportProtocol string
}

// ParseSpec reads a document of mcp-server. The Spec is nil where it is rejected.
func ParseSpec(dataID string, content []byte) (*Spec, []Rejection) {
	s := &stored{group: GroupSpecs, dataID: dataID}
	root, ok := s.open(content)
	if !ok {
		return nil, s.found
	}
	spec := &Spec{
		DataID: dataID, Protocol: strings.ToLower(root.text("protocol")), Description: root.text("description"),
		Status: strings.ToLower(root.text("status")), Version: root.object("versionDetail").text("version"),
		Enabled: s.flag(root, "enabled", "enabled", true),
	}
	s.expect(root, "", textual, "protocol", "status", "toolsDescriptionRef")
	s.expect(root, "", mapping, "remoteServerConfig", "versionDetail")
	s.expectOrLeave(root, textual, "description", "title", "websiteUrl")
	spec.Title, spec.WebsiteURL = root.text("title"), root.text("websiteUrl")
	if spec.WebsiteURL != "" && !isWebAddress(spec.WebsiteURL) {
		s.warn("websiteUrl", "ignored: must be an http or https URL")
		spec.WebsiteURL = ""
	}
	spec.Icons = readIcons(root["icons"], func(field, message string) { s.warn(field, "%s", message) })
	remote := root.object("remoteServerConfig")
	s.expect(remote, "remoteServerConfig.", textual, "exportPath")
	s.expect(remote, "remoteServerConfig.", mapping, "serviceRef")
	spec.ExportPath = remote.text("exportPath")
	if s.doc.several {
		ref := remote.object("serviceRef")
		spec.lines = &specLines{
			protocol: s.lineOf(root, "protocol"), version: s.lineOf(root.object("versionDetail"), "version"), remote: s.lineOf(root, "remoteServerConfig"),
			transport: s.lineOf(ref, "transportProtocol"), exportPath: s.lineOf(remote, "exportPath"),
		}
	}
	spec.ToolsRef = root.text("toolsDescriptionRef")
	if version, ok := strings.CutSuffix(dataID, specSuffix); ok && spec.ToolsRef != "" && spec.ToolsRef != version+toolsSuffix {
		s.warn("toolsDescriptionRef", "is %q, but the tools of a version are read from %s", shown(spec.ToolsRef), version+toolsSuffix)
	}
	if ref := remote.object("serviceRef"); ref != nil {
		spec.Ref = &SpecRef{Namespace: ref.text("namespaceId"), Group: ref.text("groupName"), Service: ref.text("serviceName"), TransportProtocol: strings.ToLower(ref.text("transportProtocol"))}
	}
	if Rejects(s.found) {
		return nil, s.found
	}
	all := []*string{&spec.Protocol, &spec.Title, &spec.Description, &spec.WebsiteURL, &spec.Status, &spec.Version, &spec.ExportPath, &spec.ToolsRef}
	if r := spec.Ref; r != nil {
		all = append(all, &r.Namespace, &r.Group, &r.Service, &r.TransportProtocol)
	}
	together(all...)
	return spec, s.found
}

// Faults returns what keeps s from being the spec of this version of m, though it is a spec: none of it can be told from
// the document alone. Whether the version is served at all is for NotServed to say, which the caller asks first.
func (s *Spec) Faults(m *Manifest, version string) []Rejection {
	at := &specLines{}
	if s.lines != nil {
		at = s.lines
	}
	found := &stored{group: GroupSpecs, dataID: m.SpecDataID(version)}
	reject := func(line int, field, format string, args ...any) {
		found.line = line
		found.reject(field, format, args...)
	}
	if s.Version != "" && s.Version != version {
		reject(at.version, "versionDetail.version", "is %q, but the manifest names this document for %q", shown(s.Version), shown(version))
	}
	const ref = "remoteServerConfig.serviceRef"
	if s.Ref == nil || s.Ref.Service == "" {
		reject(at.remote, ref, "names no backend service")
	} else if t := s.Ref.TransportProtocol; t != "" && t != "http" && t != "https" {
		reject(at.transport, ref+".transportProtocol", `must be "http" or "https", not %q`, shown(t))
	}
	if protocol := protocolOf(m, s); protocol != "http" && protocol != "https" {
		if fault := pathFault(s.endpoint()); fault != "" {
			reject(at.exportPath, "remoteServerConfig.exportPath", "%s", fault)
		}
	}
	return found.found
}

// warnings returns what is odd about s as the spec of m, and does not keep it from being served.
func (s *Spec) warnings(m *Manifest, version string) []Rejection {
	if s.Protocol == "" || m.Protocol == "" || s.Protocol == m.Protocol {
		return nil
	}
	found := &stored{group: GroupSpecs, dataID: m.SpecDataID(version)}
	if s.lines != nil {
		found.line = s.lines.protocol
	}
	found.warn("protocol", "is %q, but the manifest says %q: this one counts", shown(s.Protocol), shown(m.Protocol))
	return found.found
}

// endpoint returns the path of the MCP endpoint.
func (s *Spec) endpoint() string {
	switch {
	case s.ExportPath == "":
		return "/"
	case strings.HasPrefix(s.ExportPath, "/") || strings.Contains(s.ExportPath, "://"):
		return s.ExportPath
	}
	return "/" + s.ExportPath
}

// backend returns where the version's calls go; there is a Ref, as Faults found none missing.
func (s *Spec) backend(protocol, version string) *BackendRef {
	ref := &BackendRef{Namespace: s.Ref.Namespace, Group: s.Ref.Group, Service: s.Ref.Service, Scheme: s.Ref.TransportProtocol, Version: version}
	if ref.Group == "" {
		ref.Group = "DEFAULT_GROUP"
	}
	if ref.Scheme == "" && protocol == "https" {
		ref.Scheme = "https"
	}
	return ref
}
