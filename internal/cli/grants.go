package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func (p *program) grantsCommand() *cobra.Command {
	return group("grants", "Say who may call what",
		`A grant at service level lets a consumer call every tool of a service, now and in future, whatever stands at tool
level. A grant at tool level lets it call, and see, the named tools only. Grants add up; there are no denials.

Each service has a status switch. On (grants enable): only those who were granted something may call. Off (grants
disable): anybody may, without a key. Without a grants document it stands as access.default of the boot configuration
says: on, unless changed.`,
		p.grantsShow(), p.grantsExplain(), p.grantsSwitch("enable", "required"), p.grantsSwitch("disable", "disabled"), p.grantsAllow(), p.grantsRevoke())
}

const grantsHeader = `# Who may call the service of the same name.
#
#   auth       the status switch. required: only those named here; disabled: anybody, without a key
#   consumers  service level: every tool there is and every tool to come, whatever stands under tools
#   tools      tool level: the named tools and no others; * in a name matches anything
#   versions   optional: registry versions that may be asked for besides the latest
#   limits     optional, per replica, for all callers together: rps, burst, concurrent, and the same per tool under tools
#
# An entry is a consumer's name, or {consumer: NAME, notAfter: TIME}, or {group: NAME}. Grants add up, there are no
# denials, and an edit is in force within a second.
`

// principal is whom a grant is for.
type principal struct{ consumer, group string }

func (w principal) String() string {
	if w.group != "" {
		return "group " + w.group
	}
	return w.consumer
}

func (w principal) check() error {
	name := w.consumer + w.group
	switch {
	case (w.consumer == "") == (w.group == ""):
		return fail(exitUsage, "say for whom: either --consumer NAME or --group NAME")
	case !registry.ValidName(name):
		return fail(exitUsage, "%q is no valid name: 1 to 128 letters, digits, '.', '_' and '-'", name)
	}
	return nil
}

// is tells whether a grant's node is for w.
func (w principal) is(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return w.consumer != "" && n.Value == w.consumer
	}
	return text(n, "consumer") == w.consumer && text(n, "group") == w.group
}

// node writes a grant in the shortest form.
func (w principal) node(until time.Time) *yaml.Node {
	if w.group == "" && until.IsZero() {
		return scalar(w.consumer)
	}
	n := mapping(true, "consumer", scalar(w.consumer))
	if w.group != "" {
		n = mapping(true, "group", scalar(w.group))
	}
	if !until.IsZero() {
		setField(n, "notAfter", timeNode(until))
	}
	return n
}

// grantFlags adds the flags that say for whom and what.
func (p *program) grantFlags(cmd *cobra.Command, who *principal, tools *[]string) {
	cmd.Flags().StringVar(&who.consumer, "consumer", "", "`name` of the consumer")
	cmd.Flags().StringVar(&who.group, "group", "", "`name` of a group of consumers")
	cmd.Flags().StringArrayVar(tools, "tool", nil, "`name` of a tool, in which * matches anything; may be repeated; without it: the service level")
	_ = cmd.RegisterFlagCompletionFunc("consumer", p.completeNames(registry.GroupConsumers))
	_ = cmd.RegisterFlagCompletionFunc("group", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("tool", p.completeTools)
}

// editGrants edits a service's grants document, making it with the switch on if there is none.
func (p *program) editGrants(ctx context.Context, d *documents, service string, change func(*document) error) (written, error) {
	doc, exists, err := d.named(ctx, registry.GroupGrants, service)
	if err != nil {
		return written{}, err
	}
	if exists {
		return p.edit(ctx, d, doc, change)
	}
	return p.create(ctx, d, doc, grantsHeader+"auth: required\n", change)
}

func (p *program) grantsAllow() *cobra.Command {
	var who principal
	var tools []string
	var until string
	var create bool
	cmd := &cobra.Command{
		Use: "allow SERVICE --consumer NAME|--group NAME [--tool TOOL]…", Short: "Grant a service, or some of its tools", Args: exactly("SERVICE"),
		ValidArgsFunction: p.completeServices,
		Example: `  nacos-mcp-proxy grants allow petstore --consumer alice --create
  nacos-mcp-proxy grants allow petstore --consumer bob --tool get_pet --tool 'list_*'
  nacos-mcp-proxy grants allow petstore --group research --until 2026-12-31`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := who.check(); err != nil {
				return err
			}
			if create && who.consumer == "" {
				return fail(exitUsage, "--create makes a consumer: name it with --consumer")
			}
			end, err := parseUntil(until, p.now())
			if err != nil {
				return err
			}
			d, err := p.source(cmd)
			if err != nil {
				return err
			}
			defer d.close()
			return p.allow(cmd.Context(), d, args[0], who, tools, end, create)
		},
	}
	p.grantFlags(cmd, &who, &tools)
	cmd.Flags().StringVar(&until, "until", "", "`time` at which the grant ends by itself (2026-12-31, 2026-12-31T18:00:00Z, 30d)")
	cmd.Flags().BoolVar(&create, "create", false, "create the consumer if there is none, and print its key, once")
	return p.writing(cmd)
}

func (p *program) allow(ctx context.Context, d *documents, service string, who principal, tools []string, until time.Time, create bool) error {
	if !registry.ValidName(service) {
		return fail(exitUsage, "%q is no valid name of a service: 1 to 128 letters, digits, '.', '_' and '-'", service)
	}
	out := p.outcome()
	if who.consumer != "" {
		_, exists, err := d.named(ctx, registry.GroupConsumers, who.consumer)
		if err != nil {
			return err
		}
		if !exists && !create {
			return p.unknown(ctx, d, registry.GroupConsumers, "consumer", who.consumer, "consumers create "+who.consumer+" (or add --create)")
		}
		if !exists {
			// First the consumer, then the grant: a grant that fails leaves a consumer who may do nothing.
			if out, err = p.createConsumer(ctx, d, newConsumer{name: who.consumer}, true); err != nil {
				return err
			}
		}
	}
	w, err := p.editGrants(ctx, d, service, func(t *document) error { return addGrant(t.root(), who, tools, until) })
	if err != nil {
		if out.Key != "" && p.output == "json" {
			_ = p.print(out, nil) // the key would be lost
		}
		return err
	}
	out.Documents = append(out.Documents, w)
	p.adviseOnService(ctx, d, service)
	p.adviseOnGroup(ctx, d, who.group)
	return p.print(out, func() {
		if grants, _ := d.of(registry.GroupGrants).Get(ctx, nacos.Key{Group: registry.GroupGrants, DataID: service + ".yaml"}); !p.dryRun {
			if g, _ := registry.ParseGrants(service+".yaml", grants.Content); g != nil && g.Auth == registry.AuthDisabled {
				p.say("The status switch of %s is off, so anybody may call it, granted or not: nacos-mcp-proxy grants enable %s", service, service)
			}
		}
	})
}

// adviseOnService warns about a service that nobody published: often it is misspelt.
func (p *program) adviseOnService(ctx context.Context, d *documents, service string) {
	names, err := p.serviceNames(ctx, d)
	if err != nil || names[service] {
		return
	}
	p.note("warning: there is no service %q yet%s; the grants are kept for it", service, spelling.DidYouMean(service, keysOf(names)))
}

// adviseOnGroup warns about a group that nobody is in: often it is misspelt.
func (p *program) adviseOnGroup(ctx context.Context, d *documents, name string) {
	if name == "" {
		return
	}
	docs, err := d.group(ctx, registry.GroupConsumers, nil)
	if err != nil {
		return
	}
	var all []string
	for _, doc := range docs {
		if c, _ := registry.ParseConsumer(doc.Key.DataID, doc.Content); c != nil {
			all = append(all, c.Groups...)
		}
	}
	if !slices.Contains(all, name) {
		p.note("warning: nobody is in group %q yet%s; see consumers list", name, spelling.DidYouMean(name, all))
	}
}

// addGrant adds who to the service level, or to that of each tool. A grant that is there gets the new end.
func addGrant(root *yaml.Node, who principal, tools []string, until time.Time) error {
	if len(tools) == 0 {
		list, err := child(root, "consumers", yaml.SequenceNode)
		if err != nil {
			return err
		}
		addTo(list, who, until)
		return nil
	}
	levels, err := child(root, "tools", yaml.MappingNode)
	if err != nil {
		return err
	}
	for _, tool := range tools {
		fresh := field(levels, tool) == nil
		list, err := child(levels, tool, yaml.SequenceNode)
		if err != nil {
			return err
		}
		if fresh {
			list.Style = yaml.FlowStyle
		}
		addTo(list, who, until)
	}
	return nil
}

func addTo(list *yaml.Node, who principal, until time.Time) {
	for i, n := range list.Content {
		if !who.is(n) {
			continue
		}
		if n.Kind == yaml.MappingNode && !until.IsZero() {
			setField(n, "notAfter", timeNode(until))
			return
		}
		if n.Kind == yaml.MappingNode && field(n, "notAfter") == nil || n.Kind == yaml.ScalarNode && until.IsZero() {
			return
		}
		fresh := who.node(until)
		fresh.HeadComment, fresh.LineComment, fresh.FootComment = n.HeadComment, n.LineComment, n.FootComment
		list.Content[i] = fresh
		return
	}
	list.Content = append(list.Content, who.node(until))
}

func (p *program) grantsRevoke() *cobra.Command {
	var who principal
	var tools []string
	var all bool
	cmd := &cobra.Command{
		Use: "revoke SERVICE --consumer NAME|--group NAME [--tool TOOL]…", Short: "Take a grant away; it is refused within a second", Args: exactly("SERVICE"),
		ValidArgsFunction: p.completeServices,
		Long: `Take a grant away: the one at service level, with --tool those at tool level, with --all everything that the consumer
or group was granted on the service. What somebody is granted otherwise (through a group, say) stays, and is named.`,
		Example: `  nacos-mcp-proxy grants revoke petstore --consumer alice
  nacos-mcp-proxy grants revoke petstore --consumer bob --tool get_pet
  nacos-mcp-proxy grants revoke petstore --consumer bob --all`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := who.check(); err != nil {
				return err
			}
			if all && len(tools) > 0 {
				return fail(exitUsage, "--all and --tool exclude each other")
			}
			d, err := p.source(cmd)
			if err != nil {
				return err
			}
			defer d.close()
			return p.revoke(cmd.Context(), d, args[0], who, tools, all)
		},
	}
	p.grantFlags(cmd, &who, &tools)
	cmd.Flags().BoolVar(&all, "all", false, "at both levels, on every tool")
	return p.writing(cmd)
}

func (p *program) revoke(ctx context.Context, d *documents, service string, who principal, tools []string, all bool) error {
	doc, exists, err := d.named(ctx, registry.GroupGrants, service)
	if err != nil {
		return err
	}
	if !exists {
		return fail(exitNotFound, "%s has no grants: there is no document %s", service, doc.Key)
	}
	var left []string
	w, err := p.edit(ctx, d, doc, func(t *document) error {
		removed := 0
		if len(tools) == 0 {
			removed += takeFrom(t.root(), "consumers", who)
		}
		levels := field(t.root(), "tools")
		for _, tool := range toolsToTake(levels, tools, all) {
			removed += takeFrom(levels, tool, who)
		}
		if levels != nil && levels.Kind == yaml.MappingNode && len(levels.Content) == 0 {
			dropField(t.root(), "tools")
		}
		left = grantsOf(t.root(), who)
		if removed == 0 {
			hint := ""
			if len(left) > 0 {
				hint = "; it is granted " + strings.Join(left, ", ")
			}
			return fail(exitNotFound, "%s has no such grant on %s%s (see grants show %s)", who, service, hint, service)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.print(p.outcome(w), func() {
		if len(left) > 0 {
			p.say("%s is still granted %s; --all takes that away too.", who, strings.Join(left, ", "))
		}
		if who.consumer != "" {
			p.sayGroups(ctx, d, service, who.consumer)
		}
	})
}

// sayGroups tells of groups through which a consumer may still call.
func (p *program) sayGroups(ctx context.Context, d *documents, service, consumer string) {
	c, _, err := d.named(ctx, registry.GroupConsumers, consumer)
	if err != nil {
		return
	}
	parsed, _ := registry.ParseConsumer(c.Key.DataID, c.Content)
	grants, _, err := d.named(ctx, registry.GroupGrants, service)
	if err != nil || parsed == nil {
		return
	}
	tree, err := openDocument(grants.Key.DataID, string(grants.Content))
	if err != nil {
		return
	}
	for _, g := range parsed.Groups {
		if left := grantsOf(tree.root(), principal{group: g}); len(left) > 0 {
			p.say("%s is in group %s, which is granted %s.", consumer, g, strings.Join(left, ", "))
		}
	}
}

// toolsToTake are the entries under tools that a revocation is about.
func toolsToTake(levels *yaml.Node, tools []string, all bool) []string {
	if !all {
		return tools
	}
	var every []string
	for i := 0; levels != nil && i+1 < len(levels.Content); i += 2 {
		every = append(every, levels.Content[i].Value)
	}
	return every
}

// takeFrom removes who from the list in a field, and the field if that empties it and it is a tool's.
func takeFrom(n *yaml.Node, name string, who principal) (removed int) {
	list := field(n, name)
	if list == nil || list.Kind != yaml.SequenceNode {
		return 0
	}
	for i := len(list.Content) - 1; i >= 0; i-- {
		if who.is(list.Content[i]) {
			removeItem(list, i)
			removed++
		}
	}
	if removed > 0 && len(list.Content) == 0 {
		dropField(n, name)
	}
	return removed
}

// grantsOf names what a document grants who.
func grantsOf(root *yaml.Node, who principal) []string {
	var granted []string
	has := func(list *yaml.Node) bool {
		for i := 0; list != nil && i < len(list.Content) && list.Kind == yaml.SequenceNode; i++ {
			if who.is(list.Content[i]) {
				return true
			}
		}
		return false
	}
	if has(field(root, "consumers")) {
		granted = append(granted, "the whole service")
	}
	levels := field(root, "tools")
	for i := 0; levels != nil && i+1 < len(levels.Content); i += 2 {
		if has(levels.Content[i+1]) {
			granted = append(granted, "tool "+levels.Content[i].Value)
		}
	}
	return granted
}

func (p *program) grantsSwitch(verb, auth string) *cobra.Command {
	short := "Turn the status switch on: only those granted may call"
	if auth == "disabled" {
		short = "Turn the status switch off: anybody may call, without a key"
	}
	return p.writing(&cobra.Command{
		Use: verb + " SERVICE", Short: short, Args: exactly("SERVICE"), ValidArgsFunction: p.completeServices,
		Example: "  nacos-mcp-proxy grants " + verb + " petstore",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := p.source(cmd)
			if err != nil {
				return err
			}
			defer d.close()
			w, err := p.editGrants(cmd.Context(), d, args[0], func(t *document) error {
				if text(t.root(), "auth") != auth {
					setField(t.root(), "auth", scalar(auth))
				}
				return nil
			})
			if err != nil {
				return err
			}
			p.adviseOnService(cmd.Context(), d, args[0])
			return p.print(p.outcome(w), func() {
				if auth == "disabled" && !p.dryRun {
					p.say("Anybody who reaches the proxy may now call every tool of %s.", args[0])
				}
			})
		},
	})
}

// grantView is a line of `grants show`.
type grantView struct {
	Level    string     `json:"level"` // service or tool
	Tool     string     `json:"tool,omitempty"`
	Consumer string     `json:"consumer,omitempty"`
	Group    string     `json:"group,omitempty"`
	NotAfter *time.Time `json:"notAfter,omitempty"`
	Expired  bool       `json:"expired,omitempty"`
}

type grantsView struct {
	Service  string      `json:"service"`
	Document string      `json:"document,omitempty"`
	Auth     string      `json:"auth"`
	Grants   []grantView `json:"grants"`
	Versions []string    `json:"versions,omitempty"`
	Rejected string      `json:"rejected,omitempty"`
}

func (p *program) grantsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SERVICE", Short: "Show the grants of a service", Args: exactly("SERVICE"), ValidArgsFunction: p.completeServices,
		Example: "  nacos-mcp-proxy grants show petstore",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := p.source(cmd)
			if err != nil {
				return err
			}
			defer d.close()
			doc, exists, err := d.named(cmd.Context(), registry.GroupGrants, args[0])
			if err != nil {
				return err
			}
			v := grantsView{Service: args[0], Auth: "required", Grants: []grantView{}}
			if d.config.Access.Default == registry.AuthDisabled {
				v.Auth = "disabled"
			}
			if exists {
				p.viewGrants(&v, doc)
			}
			p.adviseOnService(cmd.Context(), d, args[0])
			return p.print(v, func() { p.sayGrants(v, exists) })
		},
	}
}

func (p *program) viewGrants(v *grantsView, doc nacos.Document) {
	v.Document = doc.Key.String()
	g, found := registry.ParseGrants(doc.Key.DataID, doc.Content)
	if g == nil {
		v.Auth = "required"
		v.Rejected = firstRejection(found)
		return
	}
	switch g.Auth {
	case registry.AuthDisabled:
		v.Auth = "disabled"
	case registry.AuthRequired:
		v.Auth = "required"
	}
	v.Versions = g.Versions
	add := func(level, tool string, list []registry.Grant) {
		for _, e := range list {
			line := grantView{Level: level, Tool: tool, Consumer: e.Consumer, Group: e.Group}
			if !e.NotAfter.IsZero() {
				t := e.NotAfter
				line.NotAfter, line.Expired = &t, !t.After(p.now())
			}
			v.Grants = append(v.Grants, line)
		}
	}
	add("service", "", g.Consumers)
	for _, t := range g.Tools {
		add("tool", t.Pattern, t.Grants)
	}
}

func (p *program) sayGrants(v grantsView, exists bool) {
	switch {
	case v.Rejected != "":
		p.say("%s: the grants document is rejected. Replicas keep the grants they had, with the switch on.\n  %s", v.Service, v.Rejected)
		return
	case v.Auth == "disabled":
		p.say("%s: switch off, anybody may call", v.Service)
	default:
		p.say("%s: switch on, only those granted may call", v.Service)
	}
	if !exists {
		p.say("There is no grants document (%s is access.default).", v.Auth)
	}
	if len(v.Grants) == 0 {
		p.say("Nobody is granted anything: nacos-mcp-proxy grants allow %s --consumer NAME", v.Service)
		return
	}
	var rows [][]any
	for _, g := range v.Grants {
		what, who, until := "every tool", g.Consumer, ""
		if g.Level == "tool" {
			what = g.Tool
		}
		if g.Group != "" {
			who = "group " + g.Group
		}
		if g.NotAfter != nil {
			until = g.NotAfter.UTC().Format(time.RFC3339)
			if g.Expired {
				until += " (over)"
			}
		}
		rows = append(rows, []any{who, g.Level, what, until})
	}
	p.table([]any{"WHO", "LEVEL", "TOOLS", "UNTIL"}, rows)
	if len(v.Versions) > 0 {
		p.say("Versions besides the latest: %s", strings.Join(v.Versions, ", "))
	}
}
