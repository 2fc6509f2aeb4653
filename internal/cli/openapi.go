package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/openapi"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// importing is what `services publish --openapi` is told.
type importing struct {
	from      string // the description: a file or URL
	name      string
	upstream  string
	include   []string
	noOutputs bool
	registry  bool
	version   string // with registry
}

func (p *program) importFlags(cmd *cobra.Command, im *importing) {
	f := cmd.Flags()
	f.StringVar(&im.from, "openapi", "", "`file` or URL of an OpenAPI 3 or Swagger 2 description to make the service from; - is standard input")
	f.StringVar(&im.upstream, "upstream", "", "base `URL` of the API, path included; default: the description's own server")
	f.StringArrayVar(&im.include, "include", nil, "take only operations that the `glob` selects: by name, operationId, /path, \"GET /path\" or tag:NAME; may be repeated")
	f.BoolVar(&im.noOutputs, "no-output-schemas", false, "leave out what results look like, where the description is not exact about it")
	f.BoolVar(&im.registry, "registry", false, "publish into the Nacos MCP registry instead, where the Nacos console shows and edits it")
	f.StringVar(&im.version, "registry-version", "1.0.0", "`version` of the registry's entry")
}

// check refuses what does not go together.
func (im *importing) check(c *cobra.Command, files []string) error {
	if im.from == "" {
		for _, name := range []string{"upstream", "include", "no-output-schemas", "registry", "registry-version"} {
			if c.Flags().Changed(name) {
				return fail(exitUsage, "--%s goes with --openapi", name)
			}
		}
		return nil
	}
	switch {
	case len(files) > 0:
		return fail(exitUsage, "--openapi and FILE exclude each other")
	case im.name == "":
		return fail(exitUsage, "--openapi needs --name, the service's")
	case !registry.ValidName(im.name):
		return fail(exitUsage, "%q is no valid name: 1 to 128 letters, digits, '.', '_' and '-'", im.name)
	case !im.registry && c.Flags().Changed("registry-version"):
		return fail(exitUsage, "--registry-version goes with --registry")
	}
	return nil
}

// imported is what an import says in JSON.
type imported struct {
	outcome
	Service     string               `json:"service"`
	Title       string               `json:"title,omitempty"`
	Operations  int                  `json:"operations"`
	Tools       []string             `json:"tools"`
	Skipped     []importNote         `json:"skipped"`
	Notes       []importNote         `json:"notes"`
	Credentials []importedCredential `json:"credentials"`
	Content     string               `json:"content,omitempty"` // of the document, in a dry run
}

type importNote struct {
	Operation string `json:"operation,omitempty"`
	Text      string `json:"text"`
}

type importedCredential struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

func newImported(im *importing, r *openapi.Result) imported {
	out := imported{Service: im.name, Title: r.Title, Operations: r.Found, Tools: r.Tools, Skipped: []importNote{}, Notes: []importNote{}, Credentials: []importedCredential{}}
	for _, s := range r.Skipped {
		out.Skipped = append(out.Skipped, importNote(s))
	}
	for _, n := range r.Notes {
		out.Notes = append(out.Notes, importNote(n))
	}
	for _, c := range r.Credentials {
		out.Credentials = append(out.Credentials, importedCredential(c))
	}
	return out
}

// publishOpenAPI makes a service of an API description. A dry run needs no source: it prints the document.
func (p *program) publishOpenAPI(cmd *cobra.Command, im *importing) error {
	ctx := cmd.Context()
	d, err := p.openDescription(ctx, im.from)
	if err != nil {
		return err
	}
	defer d.close()
	o := openapi.Options{Name: im.name, UpstreamURL: im.upstream, Include: im.include, Source: d.source, Load: d.load, NoOutputSchemas: im.noOutputs}
	if im.registry {
		return p.publishRegistry(cmd, im, d.content, o)
	}
	r, err := openapi.Import(ctx, d.content, o)
	if err != nil {
		return fail(exitFailed, "%w", err)
	}
	out := newImported(im, r)
	key := nacos.Key{Group: registry.GroupServices, DataID: im.name + extensions[0]}
	if p.dryRun {
		return p.showImport(ctx, key, out, r)
	}
	docs, err := p.source(cmd)
	if err != nil {
		return err
	}
	defer docs.close()
	doc, exists, err := docs.named(ctx, registry.GroupServices, im.name)
	if err != nil {
		return err
	}
	if exists && doc.Key != key {
		return fail(exitFailed, "%s exists already and would compete with %s: remove it first (services remove %s)", doc.Key, key.DataID, im.name)
	}
	p.sayImport(p.say, out)
	e := unlessChanged{before: doc, exists: exists, after: string(r.Document), brief: true, credentials: out.comments()}
	w, err := p.write(ctx, docs, e)
	if err != nil {
		return err
	}
	out.outcome = p.outcome(w)
	return p.print(out, func() {
		p.adviseOnAccess(ctx, docs, []unlessChanged{e})
	})
}

// showImport prints a document that is not written; what there is to say of it goes beside it, so that it can be redirected.
// Without a source nothing is known of credentials: they count as there, and are named.
func (p *program) showImport(ctx context.Context, key nacos.Key, out imported, r *openapi.Result) error {
	in := proposal{
		after:  []nacos.Change{{Key: key, Content: r.Document, MD5: md5Of(string(r.Document))}},
		unread: map[string]bool{registry.GroupCredentials: true},
	}
	alone, err := p.overlay(ctx, &documents{}, in, in.after, p.progress())
	if err != nil {
		return err
	}
	defer alone.Close()
	found := alone.findings()
	p.noteAll(found)
	bad := slices.ContainsFunc(found, func(f finding) bool { return !f.Warning })
	out.outcome, out.Content = p.outcome(written{Document: key.String(), Action: "none"}), string(r.Document)
	p.sayImport(p.note, out)
	p.adviseOnWanted(out.wanted(), func(string) advice { return advice{backendHosts(key.DataID, r.Document), out.comments()} })
	if err := p.print(out, func() { fmt.Fprint(p.out, out.Content) }); err != nil {
		return err
	}
	if bad {
		return fail(exitFailed, "the proxy would reject this (see above)")
	}
	return nil
}

// wanted are the credentials that an import refers to.
func (out imported) wanted() []want {
	var all []want
	for _, c := range out.Credentials {
		all = append(all, want{out.Service, out.Service, c.Name})
	}
	return all
}

// comments say of each credential what it is.
func (out imported) comments() map[string]string {
	all := map[string]string{}
	for _, c := range out.Credentials {
		all[c.Name] = c.Description
	}
	return all
}

// sayImport tells what was converted and what was not.
func (p *program) sayImport(say func(string, ...any), out imported) {
	title := out.Title
	if title == "" {
		title = out.Service
	}
	say("%s: %d of %s converted to tools", title, len(out.Tools), plural(out.Operations, "operation"))
	for _, list := range []struct {
		head  string
		notes []importNote
	}{{"Not converted:", out.Skipped}, {"To be looked at:", out.Notes}} {
		if len(list.notes) > 0 {
			say("%s", list.head)
		}
		for _, n := range list.notes {
			say("  %s", openapi.Finding(n))
		}
	}
}

// endpointHosts is the host of an endpoint that Nacos is given directly.
func endpointHosts(endpoint []byte) []string {
	var e struct {
		Data struct{ Address, Port string }
	}
	if json.Unmarshal(endpoint, &e) != nil || e.Data.Address == "" {
		return nil
	}
	if e.Data.Port == "" || e.Data.Port == "443" || e.Data.Port == "80" {
		return []string{strings.TrimSuffix(net.JoinHostPort(e.Data.Address, ""), ":")}
	}
	return []string{net.JoinHostPort(e.Data.Address, e.Data.Port)}
}
