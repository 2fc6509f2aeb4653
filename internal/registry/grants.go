package registry

import (
	"regexp"
	"slices"
	"sort"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// validVersion is what can stand behind the '@' of /mcp/{service}@{version}.
func validVersion(s string) bool {
	return len(s) <= 64 && versionText.MatchString(s)
}

// Lengths are counted apart: a regular expression that counts is compiled into as many copies.
var versionText = regexp.MustCompile(`^[A-Za-z0-9._+-]+$`)

// ParseGrants reads a proxy-grants document. The Grants are nil where it is rejected; the caller then keeps the
// earlier ones with the switch on, or closes the service (design, "Documents").
func ParseGrants(dataID string, content []byte) (*Grants, []Rejection) {
	r, name, root, ok := open(GroupGrants, dataID, content)
	if !ok {
		return nil, r.sorted()
	}
	o := r.object(root, "", "auth", "consumers", "tools", "versions", "limits", "registryId")
	if o == nil {
		return nil, r.sorted()
	}
	g := &Grants{Service: name}
	switch o.oneOf("auth", "required", "disabled") {
	case "required":
		g.Auth = AuthRequired
	case "disabled":
		g.Auth = AuthDisabled
	}
	g.Consumers = readGrants(o, "consumers")
	o.eachField("tools", func(f field, path string) {
		if !validTool(f.name) {
			r.reject(f.key, path, "%q cannot be the name of a tool", shown(f.name))
			return
		}
		t := ToolGrants{Pattern: f.name, Line: f.key.Line}
		if isNull(f.value) {
			g.Tools = append(g.Tools, t)
			return
		}
		if f.value.Kind != yaml.SequenceNode {
			r.reject(f.value, path, "must be a list of consumers, not %s", kindOf(f.value))
			return
		}
		for i, n := range f.value.Content {
			if grant, ok := readGrant(r, resolve(n), indexed(path, i)); ok {
				t.Grants = append(t.Grants, grant)
			}
		}
		g.Tools = append(g.Tools, t)
	})
	o.each("versions", func(path string, n *yaml.Node) {
		s, ok := r.spelled(n, path)
		if ok && !validVersion(s) {
			r.reject(n, path, "%q cannot be a version: letters, digits, '.', '_', '+' and '-', at most 64", shown(s))
		}
		g.Versions = append(g.Versions, s)
	})
	g.Limits = readGrantLimits(o)
	if n := o.at["registryId"]; !isNull(n) {
		g.RegistryID, _ = r.spelled(n, "registryId")
		if !ValidName(g.RegistryID) {
			o.reject("registryId", "must be the id of an entry of the Nacos registry, as in the data ids of its documents")
		}
	}
	if r.refused {
		return nil, r.sorted()
	}
	g.gather()
	return g, r.sorted()
}

func (g *Grants) gather() {
	all := append(each(g.Versions), &g.RegistryID)
	grants := func(list []Grant) []Grant {
		list = slices.Clone(list) // appending has left room
		for i := range list {
			all = append(all, &list[i].Consumer, &list[i].Group)
		}
		return list
	}
	g.Consumers, g.Tools = grants(g.Consumers), slices.Clone(g.Tools)
	for i := range g.Tools {
		t := &g.Tools[i]
		all = append(all, &t.Pattern)
		t.Grants = grants(t.Grants)
	}
	together(all...)
}

func readGrants(o *object, name string) []Grant {
	var list []Grant
	o.each(name, func(path string, n *yaml.Node) {
		if g, ok := readGrant(o.r, n, path); ok {
			list = append(list, g)
		}
	})
	return list
}

// readGrant reads a consumer's name, or {consumer | group, notAfter}.
func readGrant(r *reader, n *yaml.Node, path string) (Grant, bool) {
	g := Grant{Line: n.Line}
	before := r.faults
	if n.Kind == yaml.ScalarNode {
		s, ok := r.str(n, path)
		g.Consumer = s
		return g, ok && r.checkName(n, path, s, "consumer")
	}
	if n.Kind != yaml.MappingNode {
		r.reject(n, path, "must be a consumer's name or {consumer: NAME} or {group: NAME}, not %s", kindOf(n))
		return g, false
	}
	o := r.object(n, path, "consumer", "group", "notAfter")
	g.Consumer, g.Group, g.NotAfter = o.str("consumer"), o.str("group"), o.instant("notAfter")
	if o.has("consumer") == o.has("group") {
		if r.faults == before {
			r.reject(n, path, "must name either a consumer or a group")
		}
		return g, false
	}
	if g.Consumer != "" {
		r.checkName(o.at["consumer"], join(path, "consumer"), g.Consumer, "consumer")
	}
	if g.Group != "" {
		r.checkName(o.at["group"], join(path, "group"), g.Group, "group")
	}
	return g, r.faults == before
}

func readGrantLimits(o *object) *GrantLimits {
	l := o.object("limits", "rps", "burst", "concurrent", "tools")
	if l == nil {
		return nil
	}
	limits := &GrantLimits{Limits: l.limits(), Line: l.node.Line}
	l.eachField("tools", func(f field, path string) {
		if t := o.r.object(f.value, path, "rps", "burst", "concurrent"); t != nil {
			if limits.Tools == nil {
				limits.Tools = map[string]Limits{}
			}
			limits.Tools[f.name] = t.limits()
		}
	})
	return limits
}

// UnknownNames warns of consumers and groups in g that nobody is: kept, since they may come later, but more
// often misspelt.
func UnknownNames(dataID string, g *Grants, consumers, groups map[string]bool) []Rejection {
	r := &reader{group: GroupGrants, dataID: dataID}
	check := func(path string, list []Grant) {
		for i, grant := range list {
			if len(r.found) > maxListed {
				return
			}
			at, path := &yaml.Node{Line: grant.Line}, indexed(path, i)
			switch {
			case grant.Consumer != "" && !consumers[grant.Consumer]:
				r.warn(at, path, "there is no consumer %q%s", grant.Consumer, spelling.DidYouMean(grant.Consumer, keysOf(consumers)))
			case grant.Group != "" && !groups[grant.Group]:
				r.warn(at, path, "no consumer is in a group %q%s", grant.Group, spelling.DidYouMean(grant.Group, keysOf(groups)))
			}
		}
	}
	check("consumers", g.Consumers)
	for _, t := range g.Tools {
		check("tools."+shown(t.Pattern), t.Grants)
	}
	return r.found
}

// keysOf gives names in order, few enough to look for a similar one.
func keysOf(m map[string]bool) []string {
	const enough = 1000
	if len(m) > enough {
		return nil
	}
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}
