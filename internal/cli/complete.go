package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// completeWait bounds how long somebody waits after pressing Tab.
const completeWait = 2 * time.Second

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete makes a completion of what names gives; whatever goes wrong, there is just nothing to choose from.
func (p *program) complete(arg int, names func(context.Context, *documents, []string) []string) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if arg >= 0 && len(args) != arg {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completeWait)
		defer cancel()
		cmd.SetContext(ctx)
		d, err := p.source(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer d.close()
		all := names(ctx, d, args)
		all = slices.DeleteFunc(all, func(n string) bool { return !strings.HasPrefix(n, prefix) })
		slices.Sort(all)
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeNames completes the names of a group's documents, as first argument or in a flag.
func (p *program) completeNames(group string) completion {
	list := func(ctx context.Context, d *documents, _ []string) []string {
		names, _ := d.names(ctx, group)
		return keysOf(names)
	}
	first, any := p.complete(0, list), p.complete(-1, list)
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if cmd.Flags().Lookup("consumer") != nil { // the flag of a command whose arguments are services
			return any(cmd, args, prefix)
		}
		return first(cmd, args, prefix)
	}
}

func (p *program) completeServices(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return p.complete(0, func(ctx context.Context, d *documents, _ []string) []string {
		names, _ := p.serviceNames(ctx, d)
		return keysOf(names)
	})(cmd, args, prefix)
}

// completeTools completes tools of the service in the first argument, where its document is ours.
func (p *program) completeTools(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return p.complete(1, func(ctx context.Context, d *documents, args []string) []string {
		var all []string
		doc, _, _ := d.named(ctx, registry.GroupServices, args[0])
		if def, _ := registry.ParseService(doc.Key.DataID, doc.Content); def != nil {
			for i := range def.Tools {
				all = append(all, def.Tools[i].Name)
			}
		}
		return all
	})(cmd, args, prefix)
}

// completeCall completes a service's name, then a tool of it.
func (p *program) completeCall(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return p.completeServices(cmd, args, prefix)
	}
	return p.completeTools(cmd, args, prefix)
}

// completeKeys completes a consumer's name, then the ids of its keys.
func (p *program) completeKeys(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return p.completeNames(registry.GroupConsumers)(cmd, args, prefix)
	}
	return p.complete(1, func(ctx context.Context, d *documents, args []string) []string {
		var all []string
		doc, _, _ := d.named(ctx, registry.GroupConsumers, args[0])
		if c, _ := registry.ParseConsumer(doc.Key.DataID, doc.Content); c != nil {
			for i := range c.Keys {
				all = append(all, c.Keys[i].ID)
			}
		}
		return all
	})(cmd, args, prefix)
}

func keysOf[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }
