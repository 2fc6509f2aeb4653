package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// proposal is what somebody wants to write, and what of the source has a say in whether it would be accepted.
type proposal struct {
	around []nacos.Change // documents that stay as they are
	before []nacos.Change // those to be replaced, as they are
	after  []nacos.Change
	unread map[string]bool // groups that this user may not read
}

// verdict is what would become of a proposal.
type verdict struct {
	rejections []finding // those that are not there already
	warnings   []finding // of the proposed documents
	useless    []finding // documents of which nothing would be in force, though that is nothing new
	wanted     []want
}

// admit lets edits pass after which `check` finds nothing rejected that is not rejected already, and gives the warnings.
// What would become of them is found as `check` finds it, by the proxy's own catalog, in the source's documents with
// the edits laid over them.
func (p *program) admit(ctx context.Context, d *documents, edits ...unlessChanged) (map[nacos.Key][]string, error) {
	in, err := p.propose(ctx, d, edits)
	if err != nil {
		return nil, err
	}
	v, err := p.judge(ctx, d, in)
	if err != nil {
		return nil, err
	}
	warnings := map[nacos.Key][]string{}
	for _, f := range v.warnings {
		key := nacos.Key{Group: f.Group, DataID: f.DataID}
		warnings[key] = append(warnings[key], f.String())
		p.note("%s", f)
	}
	switch {
	case len(v.rejections) > 0:
		p.noteAll(v.rejections)
		p.adviseOnWanted(v.wanted, func(service string) advice { return adviceOf(edits, service) })
		if len(edits) == 1 {
			return warnings, fail(exitFailed, "%s would be rejected (see above); nothing was written", edits[0].before.Key)
		}
		return warnings, fail(exitFailed, "the proxy would reject this (see above); nothing was written")
	case len(v.useless) > 0:
		p.noteAll(v.useless)
		return warnings, fail(exitFailed, "%s/%s is rejected as it stands, before this edit: mend it first, in the console or a file; nothing was written",
			v.useless[0].Group, v.useless[0].DataID)
	}
	return warnings, nil
}

// propose reads what has a say in whether edits would be accepted.
func (p *program) propose(ctx context.Context, d *documents, edits []unlessChanged) (proposal, error) {
	in := proposal{unread: map[string]bool{}}
	groups := map[string]bool{}
	for _, e := range edits {
		key := e.before.Key
		if e.exists {
			in.before = append(in.before, changeOf(e.before))
		}
		in.after = append(in.after, nacos.Change{Key: key, Content: []byte(e.after), MD5: md5Of(e.after)})
		switch key.Group {
		case registry.GroupConsumers:
			groups[registry.GroupConsumers] = true // no key may be held twice
		case registry.GroupServices:
			groups[registry.GroupManifests] = true // a name may be taken there
			if err := in.addService(ctx, d, trimExtension(key.DataID), e.after, groups); err != nil {
				return in, err
			}
		}
	}
	err := in.readGroups(ctx, d, groups) // before in is copied
	return in, err
}

// readGroups reads groups whole.
func (in *proposal) readGroups(ctx context.Context, d *documents, groups map[string]bool) error {
	for group := range groups {
		changes, err := d.changes(ctx, group, nil)
		if err := in.read(group, changes, err); err != nil {
			return err
		}
	}
	return nil
}

// addService adds what a service's tools depend on.
func (in *proposal) addService(ctx context.Context, d *documents, service, content string, groups map[string]bool) error {
	upstream, exists, err := d.named(ctx, registry.GroupUpstreams, service)
	if exists {
		in.around = append(in.around, changeOf(upstream))
	}
	if err := in.read(registry.GroupUpstreams, nil, err); err != nil {
		return err
	}
	if strings.Contains(content+string(upstream.Content), "${") {
		groups[registry.GroupCredentials] = true
		for _, g := range d.config.Credentials.Groups {
			groups[g] = true
		}
	}
	return nil
}

// read adds what was read of a group, leaving out what is to be replaced. A group that may not be read is remembered.
func (in *proposal) read(group string, changes []nacos.Change, err error) error {
	switch {
	case errors.Is(err, nacos.ErrForbidden) && group != registry.GroupConsumers:
		in.unread[group] = true
		return nil
	case err != nil:
		return err
	}
	for _, c := range changes {
		same := func(o nacos.Change) bool { return o.Key == c.Key }
		if !slices.ContainsFunc(in.before, same) && !slices.ContainsFunc(in.after, same) {
			in.around = append(in.around, c)
		}
	}
	return nil
}

// judge finds what would become of a proposal.
func (p *program) judge(ctx context.Context, d *documents, in proposal) (verdict, error) {
	report := p.progress()
	defer report.end()
	var v verdict
	for group := range in.unread {
		if what := unreadMatters(group); what != "" {
			v.warnings = append(v.warnings, finding{Group: in.after[0].Key.Group, DataID: in.after[0].Key.DataID, Warning: true,
				Message: fmt.Sprintf("you may not read %s, so %s was not checked: nacos-mcp-proxy check, run by somebody who may, tells", group, what)})
		}
	}
	after, err := p.overlay(ctx, d, in, in.after, report)
	if err != nil {
		return v, err
	}
	defer after.Close()
	all := after.findings()
	proposed := func(f finding) bool {
		return slices.ContainsFunc(in.after, func(c nacos.Change) bool { return c.Key == nacos.Key{Group: f.Group, DataID: f.DataID} })
	}
	for _, f := range all {
		// That a service does not exist cannot be told here: services were not read for its grants.
		if f.Warning && proposed(f) && f.Group != registry.GroupGrants {
			v.warnings = append(v.warnings, f)
		}
	}
	rejected := slices.DeleteFunc(slices.Clone(all), func(f finding) bool { return f.Warning })
	if len(rejected) == 0 {
		return v, nil
	}
	before, err := p.overlay(ctx, d, in, in.before, report)
	if err != nil {
		return v, err
	}
	defer before.Close()
	there := before.findings()
	for _, f := range rejected {
		if !slices.ContainsFunc(there, f.sameAs) {
			v.rejections = append(v.rejections, f)
		} else if proposed(f) && f.Tool == "" && !after.inForce(f) {
			v.useless = append(v.useless, f)
		}
	}
	v.wanted = after.wanted.list
	return v, nil
}

// unreadMatters says what cannot be told without the documents of a group.
func unreadMatters(group string) string {
	switch group {
	case registry.GroupManifests:
		return "whether the name is taken in the Nacos MCP registry"
	case registry.GroupUpstreams:
		return "what it says of this service"
	}
	return "whether the credentials are there"
}

// overlay surveys what is around with documents laid over it, those that were there in the place where they were.
func (p *program) overlay(ctx context.Context, d *documents, in proposal, laid []nacos.Change, report *progress) (*survey, error) {
	all := slices.Concat(in.around, laid)
	slices.SortStableFunc(all, func(a, b nacos.Change) int { return strings.Compare(a.Key.DataID, b.Key.DataID) })
	return overlook(ctx, d.config, all, in.unread, d.past(), report)
}

// inForce tells whether anything of a rejected document is in force.
func (s *survey) inForce(f finding) bool {
	doc := s.Index().Document(nacos.Key{Group: f.Group, DataID: f.DataID})
	return doc != nil && (doc.State != catalog.Rejected || doc.GoodMD5 != "")
}

// sameAs tells whether two findings are of the same fault, wherever it stands by now.
func (f finding) sameAs(o finding) bool {
	f.Line, o.Line = 0, 0
	return f == o
}

// alike is how many tools with one and the same fault are named.
const alike = 3

// noteAll tells of findings; of many tools with the same fault the first few.
func (p *program) noteAll(list []finding) {
	seen := map[finding]int{}
	kind := func(f finding) finding { return finding{Group: f.Group, DataID: f.DataID, Message: f.Message} }
	for _, f := range list {
		if seen[kind(f)]++; f.Tool == "" || seen[kind(f)] <= alike {
			p.note("%s", f)
		}
	}
	for _, f := range list {
		if n := seen[kind(f)]; n > alike && f.Tool != "" {
			p.note("%s/%s: likewise %s more", f.Group, f.DataID, plural(n-alike, "tool"))
			seen[kind(f)] = 0
		}
	}
}

// advice is what is known of a service's credentials.
type advice struct {
	hosts    []string          // where they are sent
	comments map[string]string // by name: what they are
}

// adviseOnWanted gives the commands that make the credentials which are missing.
func (p *program) adviseOnWanted(list []want, of func(service string) advice) {
	if len(list) == 0 {
		return
	}
	p.note("These credentials are to be stored first; each secret is asked for, or read from standard input. Or write them\nin the Nacos console, group %s. Then run this again.", registry.GroupCredentials)
	for _, w := range list {
		known := of(w.service)
		line := fmt.Sprintf("  nacos-mcp-proxy credentials set %s %s --service %s", w.document, w.value, w.service)
		if len(known.hosts) == 0 {
			known.hosts = []string{"HOST"}
		}
		for _, h := range known.hosts {
			line += " --host " + shellWord(h)
		}
		if comment := known.comments[w.value]; comment != "" {
			line += "  # " + comment
		}
		p.note("%s", line)
	}
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if strings.ContainsAny(s, "[]*?{}$&;|<>()'\" \t") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func adviceOf(edits []unlessChanged, service string) advice {
	for _, e := range edits {
		if trimExtension(e.before.Key.DataID) == service {
			return advice{backendHosts(e.before.Key.DataID, []byte(e.after)), e.credentials}
		}
	}
	return advice{}
}

// backendHosts are where a service document sends its calls, as credentials name it.
func backendHosts(dataID string, document []byte) []string {
	def, _ := registry.ParseService(dataID, document)
	if def == nil {
		return nil
	}
	var hosts []string
	add := func(address string) {
		u, err := url.Parse(address)
		if err == nil && u.Host != "" && !strings.ContainsAny(u.Host, "{}") && !slices.Contains(hosts, u.Host) {
			hosts = append(hosts, u.Host)
		}
	}
	if ref := def.Backend.Ref; ref != nil {
		hosts = append(hosts, "nacos:"+strings.TrimPrefix(ref.Namespace+"/", "/")+ref.Group+"/"+ref.Service)
	}
	add(def.Backend.URL)
	for i := range def.Tools {
		if to := def.Tools[i].Request.URL; strings.Contains(to, "://") {
			add(to)
		}
	}
	return hosts
}
