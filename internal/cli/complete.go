package cli

import (
	"context"
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
		d, _, err := p.source(cmd)
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
		names, err := d.names(ctx, group)
		if err != nil {
			return nil
		}
		var all []string
		for n := range names {
			all = append(all, n)
		}
		return all
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
		names, err := p.serviceNames(ctx, d)
		if err != nil {
			return nil
		}
		var all []string
		for n := range names {
			all = append(all, n)
		}
		return all
	})(cmd, args, prefix)
}

// completeTools completes tools of the service in the first argument, where its document is ours.
func (p *program) completeTools(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return p.complete(1, func(ctx context.Context, d *documents, args []string) []string {
		doc, exists, err := d.named(ctx, registry.GroupServices, args[0])
		if err != nil || !exists {
			return nil
		}
		def, _ := registry.ParseService(doc.Key.DataID, doc.Content)
		if def == nil {
			return nil
		}
		var all []string
		for i := range def.Tools {
			all = append(all, def.Tools[i].Name)
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
		doc, exists, err := d.named(ctx, registry.GroupConsumers, args[0])
		if err != nil || !exists {
			return nil
		}
		c, _ := registry.ParseConsumer(doc.Key.DataID, doc.Content)
		if c == nil {
			return nil
		}
		var all []string
		for i := range c.Keys {
			all = append(all, c.Keys[i].ID)
		}
		return all
	})(cmd, args, prefix)
}

// similar gives the name that is most like the one given, if any is.
func similar(name string, names []string) string {
	best, far := "", max(2, len(name)/3+1)
	slices.Sort(names)
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < far {
			best, far = n, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
