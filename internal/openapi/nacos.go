package openapi

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// RegistryResult is an import for the Nacos MCP registry: the form fields of Nacos's admin API
// (POST /nacos/v3/admin/ai/mcp), each a JSON text.
type RegistryResult struct {
	Result                       // its Document is empty
	ServerSpecification   []byte // what the server is and which version
	ToolSpecification     []byte // tools, request templates and security schemes
	EndpointSpecification []byte // where the backend is, entered directly
}

// ImportRegistry converts an API description as Import does, for publishing into the Nacos MCP registry, so that it
// shows in Nacos's own console. version is that of the registry entry, "1.0.0" if empty. The registry keeps
// a backend's host and port only, so the path of the upstream's URL goes into each tool's URL, and all calls
// go to one backend.
func ImportRegistry(ctx context.Context, src []byte, version string, o Options) (*RegistryResult, error) {
	if version == "" {
		version = "1.0.0"
	}
	r := &RegistryResult{}
	im, err := shrink(ctx, src, o, func(im *importer) (int, error) {
		u, err := url.Parse(im.upstream)
		if err != nil {
			return 0, err
		}
		r.ServerSpecification = im.serverSpecification(u, version).appendJSON(nil)
		r.ToolSpecification = im.toolSpecification(u).appendJSON(nil)
		r.EndpointSpecification = endpointSpecification(u).appendJSON(nil)
		return len(r.ToolSpecification), nil
	})
	if err != nil {
		return nil, err
	}
	r.Result = im.result
	return r, nil
}

func (im *importer) serverSpecification(u *url.URL, version string) *node {
	description := im.result.Title
	if description == "" {
		description = im.options.Name
	}
	remote := newObject().set("exportPath", newText("/")) // where clients reach it; nothing of the backend's
	return newObject().
		set("protocol", newText(u.Scheme)).
		set("frontProtocol", newText("mcp-streamable")).
		set("name", newText(im.options.Name)).
		set("description", newText(description)).
		set("versionDetail", newObject().set("version", newText(version))).
		set("enabled", newBool(true)).
		set("capabilities", newList(newText("TOOL"))).
		set("remoteServerConfig", remote)
}

func (im *importer) toolSpecification(u *url.URL) *node {
	tools, meta, schemes := newList(), newObject(), newList()
	for _, t := range im.tools {
		t.templateAll()
		if t.base != "" {
			im.note(t.operation, "that server cannot be had: a service of the registry has one backend")
			t.base = ""
		}
		for _, a := range t.args {
			if a.multi {
				im.note(t.operation, fmt.Sprintf("slashes in %s are escaped: the registry cannot say that they stay", a.name))
			}
		}
		t.path = u.EscapedPath() + t.path
		entry := newObject().set("name", newText(t.name))
		if t.title != "" {
			entry.set("title", newText(t.title))
		}
		entry.set("description", newText(t.description)).set("inputSchema", t.inputSchema())
		if t.output != nil {
			entry.set("outputSchema", t.output)
		}
		if a := t.annotations(); a != nil {
			entry.set("annotations", a)
		}
		tools.items = append(tools.items, entry)

		im.withoutConfig(t)
		template := newObject().set("requestTemplate", t.request()).set("responseTemplate", newObject())
		if p := t.positions(); len(p.keys) > 0 {
			template.set("argsPosition", p)
		}
		meta.set(t.name, newObject().
			set("enabled", newBool(true)).
			set("templates", newObject().set("json-go-template", template)))
	}
	for _, s := range im.schemes {
		one := newObject()
		for _, f := range s.fields("${credential:" + im.options.Name + "/" + s.id + "}") {
			one.set(f[0], newText(f[1]))
		}
		schemes.items = append(schemes.items, one)
	}
	return newObject().set("tools", tools).set("toolsMeta", meta).set("securitySchemes", schemes)
}

// withoutConfig names credentials themselves where the template of a second one reads the config, which services of
// the registry do not have.
func (im *importer) withoutConfig(t *tool) {
	var pairs []string
	for _, s := range im.schemes {
		ref := "${credential:" + im.options.Name + "/" + s.id + "}"
		pairs = append(pairs, "{{.config."+s.id+"}}", ref, "{{b64enc .config."+s.id+"}}", "{{b64enc "+quote(ref)+"}}")
	}
	plain := strings.NewReplacer(pairs...)
	for i := range t.headers {
		t.headers[i][1] = plain.Replace(t.headers[i][1])
	}
	for i := range t.query {
		t.query[i].text = plain.Replace(t.query[i].text)
	}
}

// endpointSpecification enters the backend's address directly; Nacos makes a naming service of it.
func endpointSpecification(u *url.URL) *node {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	number, _ := strconv.Atoi(port) // url.Parse lets nothing but digits through
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return newObject().set("type", newText("DIRECT")).set("data", newObject().
		set("address", newText(host)).
		set("port", newText(strconv.Itoa(number))).
		set("transportProtocol", newText(u.Scheme)))
}
