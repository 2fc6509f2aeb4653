package registry

import "maps"

// Assemble joins a manifest, the spec and the tools of one version into its Definition; nil if the version is
// rejected. Whether it is served at all is for NotServed to say, which the caller asks first.
func Assemble(m *Manifest, version string, spec *Spec, set *ToolSet) (*Definition, []Rejection) {
	s := &stored{group: GroupSpecs, dataID: m.SpecDataID(version)}
	protocol := protocolOf(m, spec)
	def := &Definition{
		Name: m.Name, Version: version, Protocol: protocol, Description: spec.Description,
		SecuritySchemes: set.SecuritySchemes, Unusable: set.unusable, Hidden: maps.Clone(set.hidden),
		Deprecated: m.Status == "deprecated" || spec.Status == "deprecated",
	}
	if def.Description == "" {
		def.Description = m.Description
	}
	switch protocol {
	case "http", "https":
		def.Kind = ConvertedRegistry
	case "mcp-sse":
		def.Kind, def.Transport = PassthroughRegistry, SSE
	case "mcp-streamable":
		def.Kind, def.Transport = PassthroughRegistry, Streamable
	default:
		s.reject("protocol", "%q cannot be proxied: http, https, mcp-sse and mcp-streamable can", shown(protocol))
		return nil, s.found
	}
	s.found = append(append(s.found, spec.Faults(m, version)...), spec.warnings(m, version)...)
	if !Rejects(s.found) {
		def.Backend.Ref = spec.backend(protocol, version)
	}
	if !def.Kind.Converted() {
		def.Backend.Path = spec.endpoint()
		def.Backend.Security = set.upstream
		if set.downstream != nil && set.downstream.Passthrough {
			def.Downstream = set.downstream
		}
		s.found = append(s.found, set.PassthroughFaults()...)
	} else {
		s.found = append(s.found, def.takeTools(set)...)
	}
	if Rejects(s.found) {
		return nil, s.found
	}
	return def, s.found
}

// takeTools adds the tools of set that can be called; each of the others is rejected alone.
func (def *Definition) takeTools(set *ToolSet) []Rejection {
	var found []Rejection
	for i := range set.tools {
		given := set.tools[i]
		if def.Hidden[given.Name] {
			continue
		}
		s := &stored{group: GroupTools, dataID: set.DataID, tool: shown(given.Name), line: given.Line}
		if s.tool == "" {
			s.tool = indexed("tools", i)
		}
		s.found = append(s.found, given.faults...)
		if rejectsTool(given.faults) {
			found = append(found, s.found...)
			continue
		}
		t := given.Tool
		if given.untemplated != "" {
			s.reject("", "%s, so that it cannot be called", given.untemplated)
		} else {
			t.inherit(def, set.downstream, set.upstream)
			for _, f := range t.faults(def) {
				s.reject(f.field, "%s", f.message)
			}
		}
		found = append(found, s.found...)
		if rejectsTool(s.found) {
			continue
		}
		def.Tools = append(def.Tools, t)
	}
	return found
}

func rejectsTool(found []Rejection) bool {
	for _, r := range found {
		if !r.Warning {
			return true
		}
	}
	return false
}
