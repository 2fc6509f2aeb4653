package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func (p *program) consumersCommand() *cobra.Command {
	return group("consumers", "Manage consumers and their keys",
		`A consumer is whoever presents a key: a person, a team or an agent. Its document is proxy-consumers/<name>.yaml.
What it may call stands in the grants documents: see "grants".`,
		p.consumersCreate(), p.consumersList(), p.consumersShow(), p.consumersSwitch("enable", true), p.consumersSwitch("disable", false),
		p.consumersDelete(),
		group("keys", "Manage the keys of a consumer", "A consumer may have several keys, so that a new one can be handed out before the old one is revoked.",
			p.keysAdd(), p.keysRevoke()))
}

const consumerHeader = `# A consumer: whoever presents one of these keys. The name is that of the document.
#
#   enabled      false refuses all keys at once
#   description  for people
#   groups       grants can name a group instead of a consumer
#   keys         any number: id (for people), sha256 of the key (the key itself is kept nowhere), notAfter (optional:
#                when it expires), enabled (optional: false refuses this key)
#   sources      optional: where the keys may stand in a request: bearer, {header: NAME}, {query: NAME}
#   limits       optional, per replica: rps, burst, concurrent
#
# An edit is in force within a second. What the consumer may call stands in the group proxy-grants.
`

// newConsumer is what a new consumer's document says.
type newConsumer struct {
	name, description, keyID, digest string
	groups                           []string
	until                            time.Time
}

func (c newConsumer) text() (string, error) {
	root := mapping(false, "enabled", literal("!!bool", "true"))
	if c.description != "" {
		setField(root, "description", scalar(c.description))
	}
	if len(c.groups) > 0 {
		groups := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, g := range c.groups {
			groups.Content = append(groups.Content, scalar(g))
		}
		setField(root, "groups", groups)
	}
	keys := &yaml.Node{Kind: yaml.SequenceNode}
	if c.digest != "" {
		keys.Content = append(keys.Content, keyNode(c.keyID, c.digest, c.until))
	} else {
		keys.Style = yaml.FlowStyle
	}
	setField(root, "keys", keys)
	body, err := encode(&yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}})
	return consumerHeader + body, err
}

func keyNode(id, digest string, until time.Time) *yaml.Node {
	n := mapping(false, "id", scalar(id), "sha256", scalar(digest))
	if !until.IsZero() {
		setField(n, "notAfter", timeNode(until))
	}
	return n
}

// createConsumer writes a new consumer's document, with a key unless there is to be none.
func (p *program) createConsumer(ctx context.Context, d *documents, c newConsumer, withKey bool) (outcome, error) {
	doc, exists, err := d.named(ctx, registry.GroupConsumers, c.name)
	if err != nil {
		return outcome{}, err
	}
	if exists {
		return outcome{}, fail(exitFailed, "consumer %s exists already: see consumers show %s, or consumers keys add %s for another key", c.name, c.name, c.name)
	}
	key := ""
	if withKey {
		if c.keyID == "" {
			c.keyID = freeKeyID(c.name, nil)
		}
		key, c.digest = newKey(c.keyID)
	}
	after, err := c.text()
	if err != nil {
		return outcome{}, err
	}
	w, err := p.write(ctx, d, unlessChanged{before: doc, after: after})
	if err != nil && withKey {
		err = doubtKey(err, c.name, c.keyID)
	}
	if err != nil {
		return outcome{}, err
	}
	out := p.outcome(w)
	out.Consumer = c.name
	if withKey {
		out.KeyID = c.keyID
		p.showKey(&out, key)
	}
	return out, nil
}

// showKey shows a new key, the only time it is shown anywhere. A dry run stored no digest, so it has no key to show.
func (p *program) showKey(out *outcome, key string) {
	if p.dryRun {
		return
	}
	out.Key = key
	p.unseen = out
	if p.output == "text" {
		p.say("\nThe new key, shown only this once:\n\n  %s\n", key)
		if p.printing.err == nil {
			p.unseen = nil
		}
	}
}

func (p *program) consumersCreate() *cobra.Command {
	c := newConsumer{}
	var noKey bool
	var until string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a consumer and print its first key, once",
		Example: `  nacos-mcp-proxy consumers create alice --description "Alice's agents" --group research
  nacos-mcp-proxy consumers create nightly --until 30d`,
		Args: exactly("NAME"),
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			c.name = args[0]
			var err error
			if c.until, err = parseUntil(until, p.now()); err != nil {
				return err
			}
			out, err := p.createConsumer(cmd.Context(), d, c, !noKey)
			if err != nil {
				return err
			}
			return p.print(out, func() {
				p.say("Next: nacos-mcp-proxy grants allow SERVICE --consumer %s", c.name)
			})
		}),
	}
	cmd.Flags().StringVar(&c.description, "description", "", "what people should know about it")
	cmd.Flags().StringSliceVar(&c.groups, "group", nil, "`group` it is in; may be repeated")
	cmd.Flags().StringVar(&c.keyID, "key-id", "", "`id` of the key; default: made from the name")
	cmd.Flags().StringVar(&until, "until", "", "`time` at which the key expires (2026-12-31, 30d)")
	cmd.Flags().BoolVar(&noKey, "no-key", false, "make no key yet")
	return p.writing(cmd)
}

// editConsumer edits an existing consumer's document.
func (p *program) editConsumer(ctx context.Context, d *documents, name string, change func(*document) error) (outcome, error) {
	doc, err := p.consumer(ctx, d, name)
	if err != nil {
		return outcome{}, err
	}
	w, err := p.edit(ctx, d, doc, change)
	out := p.outcome(w)
	out.Consumer = name
	return out, err
}

func (p *program) consumer(ctx context.Context, d *documents, name string) (nacos.Document, error) {
	doc, exists, err := d.named(ctx, registry.GroupConsumers, name)
	if err != nil {
		return doc, err
	}
	if !exists {
		return doc, p.unknown(ctx, d, registry.GroupConsumers, "consumer", name, "consumers create "+name)
	}
	return doc, nil
}

// unknown says that something does not exist, what is spelled like it, and how to make it.
func (p *program) unknown(ctx context.Context, d *documents, group, what, name, create string) error {
	hint := ""
	if names, err := d.names(ctx, group); err == nil {
		hint = spelling.DidYouMean(name, keysOf(names))
	}
	return fail(exitNotFound, "there is no %s %q%s; create it: nacos-mcp-proxy %s", what, name, hint, create)
}

func (p *program) consumersSwitch(verb string, on bool) *cobra.Command {
	short := "Refuse all keys of a consumer at once"
	if on {
		short = "Accept the keys of a consumer again"
	}
	return p.writing(&cobra.Command{
		Use: verb + " NAME", Short: short, Args: exactly("NAME"), ValidArgsFunction: p.completeNames(registry.GroupConsumers),
		Example: "  nacos-mcp-proxy consumers " + verb + " alice",
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			out, err := p.editConsumer(cmd.Context(), d, args[0], func(t *document) error {
				if have := text(t.root(), "enabled"); have == fmt.Sprint(on) || on && have == "" {
					return nil
				}
				setField(t.root(), "enabled", literal("!!bool", fmt.Sprint(on)))
				return nil
			})
			if err != nil {
				return err
			}
			return p.print(out, func() {})
		}),
	})
}

func (p *program) consumersDelete() *cobra.Command {
	return p.writing(&cobra.Command{
		Use: "delete NAME", Short: "Delete a consumer and with it all its keys", Args: exactly("NAME"),
		ValidArgsFunction: p.completeNames(registry.GroupConsumers),
		Long: `Delete a consumer and with it all its keys. Grants that name it stay, and would be in force again for a new consumer
of the same name. Nacos has no compare-and-set for deleting: an edit made at the same moment is deleted too.`,
		Example: "  nacos-mcp-proxy consumers delete alice",
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			doc, err := p.consumer(cmd.Context(), d, args[0])
			if err != nil {
				return err
			}
			w, err := p.remove(cmd.Context(), d, doc)
			if err != nil {
				return err
			}
			out := p.outcome(w)
			out.Consumer = args[0]
			return p.print(out, func() {
				p.say("Grants that name %s stay: nacos-mcp-proxy check lists them as warnings.", args[0])
			})
		}),
	})
}

// consumerView is what is shown of a consumer: no digests.
type consumerView struct {
	Name        string    `json:"name"`
	Document    string    `json:"document"`
	Enabled     bool      `json:"enabled"`
	Description string    `json:"description,omitempty"`
	Groups      []string  `json:"groups,omitempty"`
	Keys        []keyView `json:"keys"`
	Rejected    string    `json:"rejected,omitempty"`
}

type keyView struct {
	ID       string     `json:"id"`
	State    string     `json:"state"`
	NotAfter *time.Time `json:"notAfter,omitempty"`
	Plain    bool       `json:"plain,omitempty"`
}

func (p *program) viewConsumer(doc nacos.Document) consumerView {
	name, _ := registry.NameOf(doc.Key.DataID)
	v := consumerView{Name: name, Document: doc.Key.String(), Keys: []keyView{}}
	c, found := registry.ParseConsumer(doc.Key.DataID, doc.Content)
	if c == nil {
		v.Rejected = firstRejection(found)
		return v
	}
	v.Enabled, v.Description, v.Groups = c.Enabled, c.Description, c.Groups
	for i := range c.Keys {
		k := &c.Keys[i]
		kv := keyView{ID: k.ID, State: access.KeyState(c, k, p.now().UnixNano()).String(), Plain: k.Plain}
		if !k.NotAfter.IsZero() {
			t := k.NotAfter
			kv.NotAfter = &t
		}
		v.Keys = append(v.Keys, kv)
	}
	return v
}

func (v consumerView) state() string {
	switch {
	case v.Rejected != "":
		return "rejected"
	case !v.Enabled:
		return "disabled"
	}
	return "enabled"
}

func (p *program) consumersList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the consumers", Args: exactly(), Example: "  nacos-mcp-proxy consumers list -o json",
		RunE: p.run(func(cmd *cobra.Command, d *documents, _ []string) error {
			docs, err := d.group(cmd.Context(), registry.GroupConsumers, nil)
			if err != nil {
				return err
			}
			views := []consumerView{}
			for _, doc := range docs {
				views = append(views, p.viewConsumer(doc))
			}
			slices.SortFunc(views, func(a, b consumerView) int { return strings.Compare(a.Document, b.Document) })
			return p.print(struct {
				Consumers []consumerView `json:"consumers"`
			}{views}, func() {
				if len(views) == 0 {
					p.say("There are no consumers. Create one: nacos-mcp-proxy consumers create NAME")
					return
				}
				var rows [][]any
				for _, v := range views {
					usable := 0
					for _, k := range v.Keys {
						if k.State == "ok" {
							usable++
						}
					}
					rows = append(rows, []any{v.Name, v.state(), fmt.Sprintf("%d of %d", usable, len(v.Keys)), strings.Join(v.Groups, ","), v.Description})
				}
				p.table([]any{"NAME", "STATE", "KEYS IN FORCE", "GROUPS", "DESCRIPTION"}, rows)
			})
		}),
	}
}

func (p *program) consumersShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a consumer and the state of its keys", Args: exactly("NAME"),
		ValidArgsFunction: p.completeNames(registry.GroupConsumers),
		Example:           "  nacos-mcp-proxy consumers show alice",
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			doc, err := p.consumer(cmd.Context(), d, args[0])
			if err != nil {
				return err
			}
			v := p.viewConsumer(doc)
			return p.print(v, func() {
				p.say("%s: %s", v.Name, v.state())
				if v.Rejected != "" {
					p.say("  %s", v.Rejected)
				}
				if v.Description != "" {
					p.say("  %s", v.Description)
				}
				if len(v.Groups) > 0 {
					p.say("  groups: %s", strings.Join(v.Groups, ", "))
				}
				for _, k := range v.Keys {
					line := "  key " + k.ID + ": " + k.State
					if k.NotAfter != nil {
						line += ", until " + k.NotAfter.UTC().Format(time.RFC3339)
					}
					if k.Plain {
						line += ", stands in the document in plain text"
					}
					p.say("%s", line)
				}
				if len(v.Keys) == 0 && v.Rejected == "" {
					p.say("  no keys: nacos-mcp-proxy consumers keys add %s", v.Name)
				}
			})
		}),
	}
}

func (p *program) keysAdd() *cobra.Command {
	var id, until string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a key to a consumer and print it, once", Args: exactly("NAME"),
		ValidArgsFunction: p.completeNames(registry.GroupConsumers),
		Example: `  nacos-mcp-proxy consumers keys add alice --id laptop
  nacos-mcp-proxy consumers keys add alice --until 2027-06-30`,
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			end, err := parseUntil(until, p.now())
			if err != nil {
				return err
			}
			var key string
			out, err := p.editConsumer(cmd.Context(), d, args[0], func(t *document) error {
				keys, err := child(t.root(), "keys", yaml.SequenceNode)
				if err != nil {
					return err
				}
				if id == "" {
					id = freeKeyID(args[0], keys)
				}
				for _, k := range keys.Content {
					if text(k, "id") == id {
						return fail(exitFailed, "%s has a key %q already: choose another --id, or revoke that one first", args[0], id)
					}
				}
				var digest string
				key, digest = newKey(id)
				keys.Content = append(keys.Content, keyNode(id, digest, end))
				return nil
			})
			if err != nil {
				return doubtKey(err, args[0], id)
			}
			out.KeyID = id
			p.showKey(&out, key)
			return p.print(out, func() {})
		}),
	}
	cmd.Flags().StringVar(&id, "id", "", "`id` of the key; default: the consumer's name with a number")
	cmd.Flags().StringVar(&until, "until", "", "`time` at which it expires (2026-12-31, 30d)")
	return p.writing(cmd)
}

func (p *program) keysRevoke() *cobra.Command {
	return p.writing(&cobra.Command{
		Use: "revoke NAME KEY-ID", Short: "Remove a key from a consumer; it is refused within a second", Args: exactly("NAME", "KEY-ID"),
		ValidArgsFunction: p.completeKeys,
		Example:           "  nacos-mcp-proxy consumers keys revoke alice laptop",
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			out, err := p.editConsumer(cmd.Context(), d, args[0], func(t *document) error {
				keys := field(t.root(), "keys")
				var ids []string
				for i := 0; keys != nil && i < len(keys.Content); i++ {
					id := text(keys.Content[i], "id")
					if id == args[1] {
						removeItem(keys, i)
						return nil
					}
					ids = append(ids, id)
				}
				return fail(exitNotFound, "%s has no key %q; it has %s", args[0], args[1], oneOf(ids))
			})
			if err != nil {
				return err
			}
			out.KeyID = args[1]
			return p.print(out, func() {})
		}),
	})
}

func oneOf(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// removeItem takes an item out of a list; an emptied list is written as [].
func removeItem(list *yaml.Node, i int) {
	list.Content = slices.Delete(list.Content, i, i+1)
	if len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	}
}
