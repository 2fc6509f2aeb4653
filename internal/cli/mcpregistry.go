package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/openapi"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// adminAPI is what sends requests to Nacos's own admin API.
type adminAPI interface {
	Admin(ctx context.Context, method, path string, query, form url.Values) ([]byte, error)
}

const mcpPath = "/nacos/v3/admin/ai/mcp"

// publishRegistry publishes through Nacos's MCP admin API, as the Nacos console does. That API has no compare-and-set.
func (p *program) publishRegistry(cmd *cobra.Command, im *importing, content []byte, o openapi.Options) error {
	ctx := cmd.Context()
	r, err := openapi.ImportRegistry(ctx, content, im.version, o)
	if err != nil {
		return fail(exitFailed, "%w", err)
	}
	out := newImported(im, &r.Result)
	entry := written{Document: "the Nacos MCP registry: " + im.name + " " + im.version, Action: "none"}
	if p.dryRun {
		in := proposal{after: registryDocuments(im, r), unread: map[string]bool{registry.GroupCredentials: true}}
		if err := p.admitRegistry(ctx, &documents{}, in, out, r); err != nil {
			return err
		}
		out.outcome, out.Content = p.outcome(entry), string(r.ToolSpecification)
		p.sayImport(p.note, out)
		p.adviseOnWanted(out.wanted(), func(string) advice { return advice{endpointHosts(r.EndpointSpecification), out.comments()} })
		return p.print(out, func() { p.say("%s\n%s\n%s", r.ServerSpecification, r.EndpointSpecification, r.ToolSpecification) })
	}
	docs, err := p.source(cmd)
	if err != nil {
		return err
	}
	defer docs.close()
	api, ok := docs.main.(adminAPI)
	if !ok {
		return fail(exitUsage, "--registry needs a Nacos: add --source nacos (a directory has no MCP registry)")
	}
	own, taken, err := docs.named(ctx, registry.GroupServices, im.name)
	if err != nil {
		return err
	}
	if taken {
		return fail(exitFailed, "%s has the same name and would be served instead: remove it first (services remove %s)", own.Key, im.name)
	}
	p.sayImport(p.say, out)
	in, err := proposeRegistry(ctx, docs, im, r)
	if err != nil {
		return err
	}
	if err := p.admitRegistry(ctx, docs, in, out, r); err != nil {
		return err
	}
	if entry.Action, err = postRegistry(ctx, api, docs.config.Nacos.Namespace, im, r); err != nil {
		if errors.Is(err, nacos.ErrForbidden) {
			err = fmt.Errorf("%w: user %q may not: grant it action rw on %s:*:ai/*", err, docs.config.Nacos.Username, docs.config.Nacos.Namespace)
		}
		return err
	}
	if err := p.onlyEndpoint(ctx, api, docs.config.Nacos.Namespace, im, r.EndpointSpecification); err != nil {
		return err
	}
	out.outcome = p.outcome(entry)
	return p.print(out, func() {
		p.say("%s: %s, as %s; the Nacos console shows it under MCP", im.name, entry.Action, im.version)
		p.adviseOnAccess(ctx, docs, []unlessChanged{{before: own}})
	})
}

// postRegistry creates the entry, or updates the one of that name.
func postRegistry(ctx context.Context, api adminAPI, namespace string, im *importing, r *openapi.RegistryResult) (action string, err error) {
	named := url.Values{"namespaceId": {namespace}, "mcpName": {im.name}}
	form := url.Values{
		"namespaceId": {namespace}, "mcpName": {im.name}, "serverSpecification": {string(r.ServerSpecification)},
		"toolSpecification": {string(r.ToolSpecification)}, "endpointSpecification": {string(r.EndpointSpecification)},
	}
	_, err = api.Admin(ctx, http.MethodGet, mcpPath, named, nil)
	switch {
	case errors.Is(err, nacos.ErrNotFound):
		_, err := api.Admin(ctx, http.MethodPost, mcpPath, nil, form)
		if err == nil {
			return "created", nil
		}
		// Nacos looks an entry up by its spec and refuses to create one that has a manifest: a publish that failed between
		// the two leaves what is neither there nor absent. An update writes what is missing.
		if !errors.Is(err, nacos.ErrConflict) {
			return "", fmt.Errorf("publish %s: %w", im.name, doubt(err, again))
		}
	case err != nil:
		return "", fmt.Errorf("look %s up in the Nacos MCP registry: %w", im.name, err)
	}
	form.Set("latest", "true")
	if _, err := api.Admin(ctx, http.MethodPut, mcpPath, nil, form); err != nil {
		return "", fmt.Errorf("publish %s: %w", im.name, doubt(err, again))
	}
	return "updated", nil
}

// registryDocuments are the documents that Nacos will make of an entry, as far as the proxy's judgement depends on them.
func registryDocuments(im *importing, r *openapi.RegistryResult) []nacos.Change {
	const id = "00000000-0000-0000-0000-000000000000"
	manifest := fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","enabled":true,"latestPublishedVersion":%q,"versionDetails":[{"version":%q}]}`, id, im.name, im.version, im.version)
	spec := fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","enabled":true,"versionDetail":{"version":%q},"toolsDescriptionRef":"%s-%s-mcp-tools.json",`+
		`"remoteServerConfig":{"serviceRef":{"namespaceId":"public","groupName":"mcp-endpoints","serviceName":"x","transportProtocol":"http"}}}`, id, im.name, im.version, id, im.version)
	var all []nacos.Change
	for _, doc := range []struct{ group, dataID, content string }{
		{registry.GroupTools, id + "-" + im.version + "-mcp-tools.json", string(r.ToolSpecification)},
		{registry.GroupSpecs, id + "-" + im.version + "-mcp-server.json", spec},
		{registry.GroupManifests, id + "-mcp-versions.json", manifest},
	} {
		all = append(all, nacos.Change{Key: nacos.Key{Group: doc.group, DataID: doc.dataID}, Content: []byte(doc.content), MD5: md5Of(doc.content)})
	}
	return all
}

// proposeRegistry reads what has a say in whether an entry would be accepted.
func proposeRegistry(ctx context.Context, d *documents, im *importing, r *openapi.RegistryResult) (proposal, error) {
	in := proposal{after: registryDocuments(im, r), unread: map[string]bool{}}
	groups := map[string]bool{}
	if err := in.addService(ctx, d, im.name, string(r.ToolSpecification), groups); err != nil {
		return in, err
	}
	err := in.readGroups(ctx, d, groups) // before in is copied
	return in, err
}

// admitRegistry refuses what `check` would reject once Nacos has stored it.
func (p *program) admitRegistry(ctx context.Context, d *documents, in proposal, out imported, r *openapi.RegistryResult) error {
	v, err := p.judge(ctx, d, in)
	if err != nil {
		return err
	}
	for _, f := range v.warnings {
		p.note("%s: %s", strings.TrimSpace(out.Service+" "+f.Tool), f.Message)
	}
	for i := range v.rejections { // the names under which Nacos will store them are not known yet
		v.rejections[i].Group, v.rejections[i].DataID, v.rejections[i].Line = "the Nacos MCP registry", out.Service, 0
	}
	if p.noteAll(v.rejections); len(v.rejections) == 0 {
		return nil
	}
	p.adviseOnWanted(v.wanted, func(string) advice { return advice{endpointHosts(r.EndpointSpecification), out.comments()} })
	return fail(exitFailed, "the proxy would reject this (see above); nothing was written")
}

// endpointGroup is where Nacos keeps the addresses that were entered directly.
const endpointGroup = "mcp-endpoints"

// endpointWait bounds how long Nacos takes to show an address that was entered.
const endpointWait = 10 * time.Second

// endpoint is an address in Nacos's naming service.
type endpoint struct {
	IP          string
	Port        int
	ClusterName string
}

// onlyEndpoint takes away the other addresses of an entry. Nacos (3.1.0) adds the address of a publication to those that
// it has for the version, and keeps those of a deleted entry: calls, with their credentials, would go to all of them.
func (p *program) onlyEndpoint(ctx context.Context, api adminAPI, namespace string, im *importing, specification []byte) error {
	var want struct {
		Data struct{ Address, Port string }
	}
	if err := json.Unmarshal(specification, &want); err != nil {
		return err
	}
	service := url.Values{"namespaceId": {namespace}, "groupName": {endpointGroup}}
	for began := time.Now(); ; {
		name, err := endpointService(ctx, api, namespace, im.name)
		if err != nil {
			return fmt.Errorf("look up where %s is called: %w", im.name, err)
		}
		service.Set("serviceName", name)
		list, err := endpoints(ctx, api, service)
		ours := slices.IndexFunc(list, func(e endpoint) bool { return e.IP == want.Data.Address && strconv.Itoa(e.Port) == want.Data.Port })
		if err == nil && ours >= 0 {
			return p.removeEndpoints(ctx, api, service, slices.Delete(list, ours, ours+1))
		}
		if time.Since(began) > endpointWait {
			return fail(exitFailed, "%s is published, but Nacos does not list its address: look at %s in %s in the console, where a former one may be left", im.name, name, endpointGroup)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// endpointService is the naming service that Nacos made for an entry.
func endpointService(ctx context.Context, api adminAPI, namespace, name string) (string, error) {
	body, err := api.Admin(ctx, http.MethodGet, mcpPath, url.Values{"namespaceId": {namespace}, "mcpName": {name}}, nil)
	if err != nil {
		return "", err
	}
	var entry struct {
		Data struct {
			RemoteServerConfig struct {
				ServiceRef struct{ GroupName, ServiceName string }
			}
		}
	}
	if err := json.Unmarshal(body, &entry); err != nil {
		return "", err
	}
	ref := entry.Data.RemoteServerConfig.ServiceRef
	if ref.GroupName != endpointGroup || ref.ServiceName == "" {
		return "", fmt.Errorf("it is called at %q in %q, which Nacos did not make", ref.ServiceName, ref.GroupName)
	}
	return ref.ServiceName, nil
}

const instancePath = "/nacos/v3/admin/ns/instance"

func endpoints(ctx context.Context, api adminAPI, service url.Values) ([]endpoint, error) {
	body, err := api.Admin(ctx, http.MethodGet, instancePath+"/list", service, nil)
	if err != nil {
		return nil, err
	}
	var list struct{ Data []endpoint }
	return list.Data, json.Unmarshal(body, &list)
}

func (p *program) removeEndpoints(ctx context.Context, api adminAPI, service url.Values, former []endpoint) error {
	for _, e := range former {
		one := maps.Clone(service)
		one.Set("ip", e.IP)
		one.Set("port", strconv.Itoa(e.Port))
		one.Set("clusterName", e.ClusterName)
		one.Set("ephemeral", "false")
		at := net.JoinHostPort(e.IP, strconv.Itoa(e.Port))
		if _, err := api.Admin(ctx, http.MethodDelete, instancePath, one, nil); err != nil {
			return fmt.Errorf("take the former address %s out of %s/%s, which is called too as long as it is there: %w", at, endpointGroup, service.Get("serviceName"), doubt(err, again))
		}
		p.say("The former address %s is not called any more.", at)
	}
	return nil
}

var _ adminAPI = (*nacos.Client)(nil)
