package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func (p *program) servicesCommand() *cobra.Command {
	return group("services", "Publish and look at services",
		`A service is a name under which clients find tools, at /mcp/<name>. Ours are documents in the group proxy-services;
those of the Nacos MCP registry are listed too, and published and removed in the Nacos console.`,
		p.servicesList(), p.servicesShow(), p.servicesPublish(), p.servicesRemove())
}

// surveyServices reads what services are made of. Credentials decide which tools can be called, so they are read too.
func (p *program) surveyServices(cmd *cobra.Command) (*survey, error) {
	d, err := p.source(cmd)
	if err != nil {
		return nil, err
	}
	defer d.close()
	groups := slices.DeleteFunc(groupsOf(d.config), func(g string) bool { return g == registry.GroupConsumers })
	return p.take(cmd.Context(), d, groups)
}

func (p *program) servicesList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all services, served or not", Args: exactly(), Example: "  nacos-mcp-proxy services list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.surveyServices(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			all := s.ServiceStatuses()
			return p.print(struct {
				Services []catalog.ServiceStatus `json:"services"`
			}{all}, func() {
				if len(all) == 0 {
					p.say("There are no services. Publish one: nacos-mcp-proxy services publish FILE")
					return
				}
				var rows [][]any
				for _, v := range all {
					rows = append(rows, []any{v.Name, v.Protocol, v.Version, toolCount(v), "switch " + onOff(v.Auth), served(v)})
				}
				p.table([]any{"NAME", "PROTOCOL", "VERSION", "TOOLS", "ACCESS", "STATE"}, rows)
			})
		},
	}
}

func toolCount(v catalog.ServiceStatus) string {
	if !v.Kind.Converted() && len(v.Tools) == 0 {
		return "the backend's"
	}
	return fmt.Sprint(len(v.Tools))
}

func onOff(auth string) string {
	if auth == "disabled" {
		return "off"
	}
	return "on"
}

func served(v catalog.ServiceStatus) string {
	switch {
	case v.NotServed != "":
		return "not served: " + v.NotServed
	case v.Deprecated:
		return "served, deprecated"
	}
	return "served"
}

func (p *program) servicesShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a service and its tools", Args: exactly("NAME"), ValidArgsFunction: p.completeServices,
		Example: "  nacos-mcp-proxy services show petstore",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.surveyServices(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			var names []string
			for _, v := range s.ServiceStatuses() {
				if v.Name == args[0] {
					return p.print(v, func() { p.sayService(v) })
				}
				names = append(names, v.Name)
			}
			hint := spelling.DidYouMean(args[0], names)
			return fail(exitNotFound, "there is no service %q%s; see services list, and check for rejected documents", args[0], hint)
		},
	}
}

func (p *program) sayService(v catalog.ServiceStatus) {
	p.say("%s: %s, protocol %s", v.Name, served(v), v.Protocol)
	if v.Description != "" {
		p.say("  %s", v.Description)
	}
	if v.Version != "" {
		p.say("  version: %s", v.Version)
	}
	if len(v.Versions) > 0 {
		p.say("  also: %s", strings.Join(v.Versions, ", "))
	}
	p.say("  switch: %s", onOff(v.Auth))
	p.say("  tools: %s", toolCount(v))
	for _, t := range v.Tools {
		p.say("    %s", t)
	}
	p.say("Who may call it: nacos-mcp-proxy grants show %s", v.Name)
}

func (p *program) servicesPublish() *cobra.Command {
	var im importing
	cmd := &cobra.Command{
		Use: "publish FILE…", Short: "Publish service documents, or make one from an OpenAPI description",
		Long: `Publish service documents into the group proxy-services. The service's name is the file's, without extension; - reads
standard input and needs --name. A document that is there already is replaced, unless somebody else changes it at the
same moment.

With --openapi the document is made from an API description: a tool for each operation. What could not be converted is
listed. With --dry-run as well, the document alone goes to standard output, to be edited and published as FILE. With
--registry it goes into the Nacos MCP registry, through Nacos's admin API, which has no compare-and-set.`,
		Example: `  nacos-mcp-proxy services publish petstore.yaml
  nacos-mcp-proxy services publish services/*.yaml --dry-run
  generate | nacos-mcp-proxy services publish - --name petstore
  nacos-mcp-proxy services publish --openapi petstore.json --name petstore --upstream https://petstore.example.com/v2
  nacos-mcp-proxy services publish --openapi openapi.yaml --name api --include 'GET /pets*' --dry-run >api.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if err := im.check(c, args); err != nil || im.from != "" {
				return err
			}
			name := im.name
			switch {
			case len(args) == 0:
				return fail(exitUsage, "FILE is missing (see %s --help)", c.CommandPath())
			case name != "" && len(args) > 1:
				return fail(exitUsage, "--name goes with one FILE")
			case name == "" && slices.Contains(args, "-"):
				return fail(exitUsage, "standard input has no name: give --name")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if im.from != "" {
				return p.publishOpenAPI(cmd, &im)
			}
			d, err := p.source(cmd)
			if err != nil {
				return err
			}
			defer d.close()
			edits, err := p.readServices(cmd.Context(), d, args, im.name)
			if err != nil {
				return err
			}
			warnings, err := p.admit(cmd.Context(), d, edits...)
			if err != nil {
				return err
			}
			out := p.outcome()
			for i, e := range edits {
				w, err := p.put(cmd.Context(), d, e, warnings[e.before.Key])
				if err != nil {
					for _, left := range edits[i+1:] {
						p.note("%s: not written either", left.before.Key)
					}
					if len(out.Documents) > 0 && p.output == "json" {
						_ = p.print(out, nil) // those are written
					}
					return err
				}
				out.Documents = append(out.Documents, w)
			}
			return p.print(out, func() { p.adviseOnAccess(cmd.Context(), d, edits) })
		},
	}
	cmd.Flags().StringVar(&im.name, "name", "", "`name` of the service; default: the file's")
	p.importFlags(cmd, &im)
	return p.writing(cmd)
}

// readServices reads every file before the first is written.
func (p *program) readServices(ctx context.Context, d *documents, files []string, name string) ([]unlessChanged, error) {
	var edits []unlessChanged
	for _, file := range files {
		content, dataID, err := p.readService(file, name)
		if err != nil {
			return nil, err
		}
		service, ok := registry.NameOf(dataID)
		if !ok {
			return nil, fail(exitUsage, "%s: the file's name is the service's: letters, digits, '.', '_' and '-', then .yaml, .yml or .json (or give --name)", file)
		}
		doc, exists, err := d.named(ctx, registry.GroupServices, service)
		if err != nil {
			return nil, err
		}
		if exists && doc.Key.DataID != dataID {
			return nil, fail(exitFailed, "%s exists already and would compete with %s: remove it first (services remove %s)", doc.Key, dataID, service)
		}
		doc.Key.DataID = dataID
		edits = append(edits, unlessChanged{before: doc, exists: exists, after: string(content)})
	}
	return edits, nil
}

func (p *program) readService(file, name string) (content []byte, dataID string, err error) {
	if file == "-" {
		content, err = io.ReadAll(io.LimitReader(p.in, registry.MaxDocument+1))
		return content, name + extensions[0], err
	}
	content, err = os.ReadFile(file)
	if err != nil {
		return nil, "", fail(exitNotFound, "%w", err)
	}
	dataID = filepath.Base(file)
	if name != "" {
		dataID = name + filepath.Ext(file)
	}
	return content, dataID, nil
}

// adviseOnAccess names the next step for services that nobody may call.
func (p *program) adviseOnAccess(ctx context.Context, d *documents, edits []unlessChanged) {
	for _, e := range edits {
		service, _ := registry.NameOf(e.before.Key.DataID)
		_, exists, err := d.named(ctx, registry.GroupGrants, service)
		switch {
		case errors.Is(err, nacos.ErrForbidden):
			p.say("Ask those who own access: you may not read who may call %s.", service)
		case err != nil || exists:
		case d.config.Access.Default == registry.AuthDisabled:
			p.say("Anybody may call %s, since it has no grants document and access.default is disabled: nacos-mcp-proxy grants enable %s", service, service)
		default:
			p.say("Nobody may call %s yet: nacos-mcp-proxy grants allow %s --consumer NAME --create", service, service)
		}
	}
}

func (p *program) servicesRemove() *cobra.Command {
	return p.writing(&cobra.Command{
		Use: "remove NAME", Short: "Remove a service document", Args: exactly("NAME"), ValidArgsFunction: p.completeNames(registry.GroupServices),
		Long: `Remove a service's document. Its grants stay, and would be in force again for a new service of the same name. Nacos has
no compare-and-set for deleting: an edit made at the same moment is removed too.`,
		Example: "  nacos-mcp-proxy services remove petstore",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := p.source(cmd)
			if err != nil {
				return err
			}
			defer d.close()
			doc, exists, err := d.named(cmd.Context(), registry.GroupServices, args[0])
			if err != nil {
				return err
			}
			if !exists {
				if names, err := p.serviceNames(cmd.Context(), d); err == nil && names[args[0]] {
					return fail(exitFailed, "%s is in the Nacos MCP registry: remove it in the Nacos console", args[0])
				}
				return p.unknown(cmd.Context(), d, registry.GroupServices, "service", args[0], "services publish "+args[0]+".yaml")
			}
			w, err := p.remove(cmd.Context(), d, doc)
			if err != nil {
				return err
			}
			return p.print(p.outcome(w), func() {
				if grants, exists, err := d.named(cmd.Context(), registry.GroupGrants, args[0]); err == nil && exists {
					p.say("Its grants stay in %s.", grants.Key)
				}
			})
		},
	})
}

// serviceNames are the names of all services, of the registry's too.
func (p *program) serviceNames(ctx context.Context, d *documents) (map[string]bool, error) {
	own, err := d.names(ctx, registry.GroupServices)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for n := range own {
		names[n] = true
	}
	manifests, err := d.group(ctx, registry.GroupManifests, nil)
	if err != nil {
		return nil, err
	}
	for _, doc := range manifests {
		if m, _ := registry.ParseManifest(doc.Key.DataID, doc.Content); m != nil {
			names[m.Name] = true
		}
	}
	return names, nil
}
