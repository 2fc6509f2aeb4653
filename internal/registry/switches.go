package registry

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

// Switches are what a document of the Nacos registry, or one of a consumer, switches off. Of one that is rejected they hold all the same, as far as
// they can be read: a fault elsewhere in it must not keep something on that its author has switched off.
type Switches struct {
	Off   string   // why the server is not served, or the consumer denied; empty where the document does not say so
	Tools []string // tools that are disabled for everyone, sorted; of a consumer the ids of disabled keys
}

// Off returns why the server is switched off by what m and s say; "" if it is not. A nil Spec is one that has not been read.
func Off(m *Manifest, s *Spec) string {
	switch {
	case !m.Enabled:
		return offInManifest
	case s != nil && !s.Enabled:
		return offInSpec
	case m.Status == "deleted" || s != nil && s.Status == "deleted":
		return offByStatus
	case m.Latest == "":
		return "no version is published"
	}
	return ""
}

const (
	offInManifest = "disabled in the manifest"
	offInSpec     = "disabled in the server spec"
	offByStatus   = "status is deleted"
)

// SwitchesOf reads the switches of a document that was rejected, one of the Nacos registry be it malformed JSON: what stands in
// such a one counts as far as it can be made out. A switch that is there and cannot be read is not taken for on.
func SwitchesOf(group string, content []byte) Switches {
	if group == GroupConsumers {
		return consumerSwitches(content)
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	root := membersOf(gjson.ParseBytes(content))
	off := func(m members) bool {
		v, ok := m["enabled"]
		switch said := strings.ToLower(strings.Trim(v.Raw, `"`)); {
		case !ok, said == "", said == "true":
			return false
		}
		return true
	}
	var s Switches
	switch group {
	case GroupManifests, GroupSpecs:
		switch {
		case off(root) && group == GroupManifests:
			s.Off = offInManifest
		case off(root):
			s.Off = offInSpec
		case strings.EqualFold(root.text("status"), "deleted"):
			s.Off = offByStatus
		}
	case GroupTools:
		meta := root.object("toolsMeta")
		for _, name := range slices.Sorted(maps.Keys(meta)) {
			if off(meta.object(name)) {
				s.Tools = append(s.Tools, strings.Clone(name))
			}
		}
	}
	return s
}

// disabledLine is a line that disables a consumer, where its document cannot be parsed.
var disabledLine = regexp.MustCompile(`(?m)^["']?enabled["']?[ \t]*:[ \t]*["']?(?i:false|no|off)["']?[ \t\r]*(?:#.*)?$`)

// consumerSwitches reads what a rejected document of a consumer switches off. Of malformed YAML that is the consumer as a whole:
// whoever disables one in haste must not be undone by a typo further down.
func consumerSwitches(content []byte) (s Switches) {
	r := &reader{group: GroupConsumers}
	root := r.parse(content)
	if root == nil {
		if disabledLine.Match(content) {
			s.Off = "disabled"
		}
		return s
	}
	off := func(n *yaml.Node) bool {
		for _, f := range r.fields(n, "") {
			if f.name == "enabled" && f.value.Kind == yaml.ScalarNode && !isNull(f.value) {
				return !strings.EqualFold(f.value.Value, "true")
			}
		}
		return false
	}
	if root.Kind != yaml.MappingNode {
		return s
	}
	if off(root) {
		s.Off = "disabled"
	}
	for _, f := range r.fields(root, "") {
		if f.name != "keys" || f.value.Kind != yaml.SequenceNode {
			continue
		}
		for _, n := range f.value.Content {
			if n = resolve(n); n.Kind != yaml.MappingNode || !off(n) {
				continue
			}
			for _, f := range r.fields(n, "") {
				if f.name == "id" && f.value.Kind == yaml.ScalarNode {
					s.Tools = append(s.Tools, f.value.Value)
				}
			}
		}
	}
	return s
}

// Without returns a copy of c that is disabled if off is set, and whose keys of these ids are.
func (c *Consumer) Without(off bool, keys []string) *Consumer {
	d := *c
	d.Enabled = d.Enabled && !off
	d.Keys = slices.Clone(c.Keys)
	for i := range d.Keys {
		d.Keys[i].Disabled = d.Keys[i].Disabled || slices.Contains(keys, d.Keys[i].ID)
	}
	return &d
}
