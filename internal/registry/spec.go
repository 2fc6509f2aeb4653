package registry

import "strings"

// Spec is one version of an MCP server of the Nacos registry: where its backend is.
type Spec struct {
	DataID      string
	Protocol    string
	Description string
	Status      string
	Version     string // as the document says; empty where it does not
	Enabled     bool
	Ref         *SpecRef // nil where the document names no backend
	ExportPath  string
	ToolsRef    string // data id of the version's tools; empty where it has none
}

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
	s.expectOrLeave(root, textual, "description")
	remote := root.object("remoteServerConfig")
	s.expect(remote, "remoteServerConfig.", textual, "exportPath")
	s.expect(remote, "remoteServerConfig.", mapping, "serviceRef")
	spec.ExportPath = remote.text("exportPath")
	spec.ToolsRef = root.text("toolsDescriptionRef")
	if ref := remote.object("serviceRef"); ref != nil {
		spec.Ref = &SpecRef{Namespace: ref.text("namespaceId"), Group: ref.text("groupName"), Service: ref.text("serviceName"), TransportProtocol: strings.ToLower(ref.text("transportProtocol"))}
	}
	if Rejects(s.found) {
		return nil, s.found
	}
	all := []*string{&spec.Protocol, &spec.Description, &spec.Status, &spec.Version, &spec.ExportPath, &spec.ToolsRef}
	if r := spec.Ref; r != nil {
		all = append(all, &r.Namespace, &r.Group, &r.Service, &r.TransportProtocol)
	}
	together(all...)
	return spec, s.found
}
