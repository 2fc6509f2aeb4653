package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/admin"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// fieldProbe shows what fields of documents do. Two services are published whose documents differ in @@ alone, which is a in
// one and b in the other. Then they must differ in what clients, the backend or operators see of them, without a fault
// told of either; or, with says, b must be refused or warned of in these words, and a not.
//
// In documents NAME stands for the service, KEY and DIGEST for the key of the consumer of the same name, BACKEND, TLS and
// CLIENTS for the origins of backends (plain, with TLS, and with TLS for clients with a certificate), ID for a registry
// entry. Where nothing else is said, the switch is off.
type fieldProbe struct {
	fields string            // as decoderFields has them, comma-separated
	docs   map[string]string // by group; a group of the registry holds what is put in, see stored
	a, b   string
	says   string

	arguments string            // of the call of tool t; {} if empty
	header    map[string]string // of the client
	version   string            // asked for
	times     int               // how often the tool is called, at the same time

	elsewhere string // instead of all this: "directory test", a test that shows it
}

// Documents of probes.
func own(service string) map[string]string { return map[string]string{"proxy-services": service} }

// also adds documents to those of a service.
func also(docs map[string]string, group, content string) map[string]string {
	docs[group] = content
	return docs
}

// tool is a service with one tool, of which the fields are given.
func tool(fields string) map[string]string {
	return own("server: {config: {who: ann}, securitySchemes: [{id: k, type: apiKey, in: header, name: X-Out, defaultCredential: secret}, {id: c, type: apiKey, in: header, name: X-User}]}\n" +
		"upstream: {url: \"BACKEND\"}\ntools:\n  - {name: t, " + fields + "}\n")
}

// arg is a tool with one argument.
func arg(fields string) map[string]string {
	return tool(`args: [{` + fields + `}], requestTemplate: {url: /x, method: POST, argsToJsonBody: true}`)
}

// request is a tool of which the requestTemplate is given.
func request(fields string) map[string]string {
	return tool(`args: [{name: a, default: "1"}], requestTemplate: {` + fields + `}`)
}

// passed is a service that is passed on to an MCP backend.
func passed(server, upstream string) map[string]string {
	return own("server: {" + server + "}\nupstream: {url: \"BACKEND/mcp\", transport: streamable, " + upstream + "}\n")
}

// stored is a service of the Nacos registry. Each part of its documents can be added to.
func stored(part, fields string) map[string]string { return map[string]string{part: fields} }

// granted is a service whose grants are given, and whose consumer has the key that the client presents.
func granted(grants string) map[string]string {
	docs := tool("requestTemplate: {url: /x}")
	docs["proxy-consumers"] = "keys: [{id: k1, sha256: DIGEST}]\ngroups: [team]\n"
	docs["proxy-grants"] = grants
	return docs
}

// consumed is a service for a consumer whose document is given.
func consumed(consumer string) map[string]string {
	docs := granted("consumers: [NAME, {group: team}]\n")
	docs["proxy-consumers"] = consumer
	return docs
}

// backed is a service whose credentials are given.
func backed(credentials string) map[string]string {
	docs := own("server: {config: {key: \"${credential:NAME/key}\"}}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, headers: [{key: X-Out, value: \"{{.config.key}}\"}]}}]\n")
	docs["proxy-credentials"] = credentials
	return docs
}

// added is a service to which a proxy-upstreams document adds.
func added(upstream string) map[string]string {
	return also(tool("requestTemplate: {url: /x}"), "proxy-upstreams", upstream)
}

const ended, lasting = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"

var fieldProbes = []fieldProbe{
	// proxy-services
	{fields: "ParseService description", docs: own("@@upstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), a: "description: one\n", b: "description: two\n"},
	{fields: "ParseService server,readServer server.config", docs: own("@@upstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: \"/x?{{.config.c}}\"}}]\n"), a: "server: {config: {c: one}}\n", b: "server: {config: {c: two}}\n"},
	{fields: "ParseService upstream,readBackend upstream.url", docs: own("upstream: {url: \"BACKEND@@\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), a: "/one", b: "/two"},
	{fields: "ParseService tools,readTool name", docs: own("upstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}, {name: @@, requestTemplate: {url: /x}}]\n"), a: "u", b: "w"},
	{fields: "ParseService allowTools", docs: own("@@upstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}, {name: u, requestTemplate: {url: /x}}]\n"), b: "allowTools: [t]\n"},
	{fields: "ParseService allowTools", docs: own("@@upstream: {url: \"BACKEND/mcp\", transport: streamable}\n"), b: "allowTools: [t]\n"},
	{fields: "ParseService toolSet", docs: own("@@upstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: "toolSet: {}\n", says: "composing a service"},
	{fields: "readServer server.allowTools", docs: passed("@@", ""), b: "allowTools: [t]"},
	{fields: "readServer server.name", docs: passed("@@", "") /* the backend names itself */, b: "name: [x]", says: "must be a string"},
	{fields: "readServer server.name", docs: own("server: {name: @@}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), a: "one", b: "two"},
	{fields: "readServer server.description", docs: own("server: {description: @@}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), a: "one", b: "two"},
	{fields: "readServer server.type,readServer server.mcpServerURL", docs: own("server: {@@}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: "type: mcp-proxy, mcpServerURL: \"BACKEND/mcp\"", says: "keep one"},
	{fields: "readServer server.mcpServerURL", docs: own("server: {type: mcp-proxy, mcpServerURL: \"BACKEND/mcp@@\"}\n"), b: "/none"},
	{fields: "readServer server.transport", docs: own("server: {type: mcp-proxy, mcpServerURL: \"BACKEND/mcp\"@@}\n"), b: ", transport: sse"},
	{fields: "readServer server.timeout", docs: own("server: {type: mcp-proxy, mcpServerURL: \"BACKEND/slow\"@@}\n"), b: ", timeout: 50"},
	{fields: "readServer server.version", docs: passed("@@", ""), b: "version: '1'", says: "ignored field"},
	{fields: "readServer server.protocolStrategy", docs: passed("@@", ""), b: "protocolStrategy: x", says: "ignored field"},
	{fields: "readServer server.passthroughAuthHeader", docs: passed("@@", ""), b: "passthroughAuthHeader: true", header: map[string]string{"Authorization": "Bearer own"}},
	{fields: "readServer server.securitySchemes", docs: own("server: {@@}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"),
		a: "securitySchemes: [{id: k, type: http, scheme: bearer, defaultCredential: c}]", b: "", says: `no security scheme has the id "k"`},
	{fields: "readServer server.defaultDownstreamSecurity,readServer defaultDownstreamSecurity.id,readServer defaultDownstreamSecurity.passthrough",
		docs: passed("securitySchemes: [{id: c, type: apiKey, in: header, name: X-User}, {id: d, type: apiKey, in: header, name: X-Other}], defaultDownstreamSecurity: {id: @@, passthrough: true}", ""), a: "c", b: "d", header: map[string]string{"X-User": "ann", "X-Other": "bob"}},
	{fields: "readServer defaultDownstreamSecurity.passthrough", docs: passed("securitySchemes: [{id: c, type: apiKey, in: header, name: X-User}], defaultDownstreamSecurity: {id: c, passthrough: @@}", ""), a: "true", b: "false", header: map[string]string{"X-User": "ann"}, says: "ignored without passthrough"},
	{fields: "readServer server.defaultUpstreamSecurity,readServer defaultUpstreamSecurity.id", docs: passed("securitySchemes: [{id: k, type: apiKey, in: header, name: X-Out, defaultCredential: s}, {id: l, type: apiKey, in: header, name: X-User, defaultCredential: s}], defaultUpstreamSecurity: {id: @@}", ""), a: "k", b: "l"},
	{fields: "readServer defaultUpstreamSecurity.credential", docs: passed("securitySchemes: [{id: k, type: apiKey, in: header, name: X-Out, defaultCredential: s}], defaultUpstreamSecurity: {id: k@@}", ""), b: ", credential: other"},
	{fields: "readServer server.defaultUpstreamSecurity", docs: own("server: {securitySchemes: [{id: k, type: http, scheme: bearer, defaultCredential: s}]@@}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", defaultUpstreamSecurity: {id: k}"},
	{fields: "readBackend upstream.nacos,readBackend nacos.service", docs: own("upstream: {nacos: {service: @@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), a: "plain", b: "none"},
	{fields: "readBackend nacos.group", docs: own("upstream: {nacos: {service: plain@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", group: OTHER"},
	{fields: "readBackend nacos.namespace", docs: own("upstream: {nacos: {service: plain@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", namespace: other"},
	{fields: "readBackend nacos.scheme", docs: own("upstream: {nacos: {service: plain@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", scheme: https"},
	{fields: "readBackend upstream.transport", docs: own("upstream: {url: \"BACKEND/mcp\", transport: @@}\n"), a: "streamable", b: "sse"},
	{fields: "readBackend upstream.path", docs: own("upstream: {nacos: {service: plain}, transport: streamable@@}\n"), b: ", path: /none"},
	{fields: "readBackend upstream.timeout", docs: own("upstream: {url: \"BACKEND\"@@}\ntools: [{name: t, requestTemplate: {url: /slow}}]\n"), b: ", timeout: 50ms"},
	{fields: "readBackend upstream.tls,readTLS tls.ca", docs: own("upstream: {url: \"TLS\", tls: {@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: "ca: ca.pem"},
	{fields: "readTLS tls.cert,readTLS tls.key", docs: own("upstream: {url: \"CLIENTS\", tls: {ca: ca.pem@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", cert: cert.pem, key: key.pem"},
	{fields: "readTLS tls.serverName", docs: own("upstream: {url: \"TLS\", tls: {ca: ca.pem, serverName: @@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), a: "example.com", b: "example.net"},
	{fields: "readTLS tls.skipVerify", docs: own("upstream: {url: \"TLS\", tls: {ca: ca.pem@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", skipVerify: true", says: "certificate is not checked"},
	{fields: "readBackend upstream.forwardHeaders", docs: own("upstream: {url: \"BACKEND\"@@}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", forwardHeaders: [X-User]", header: map[string]string{"X-User": "ann"}},
	{fields: "readBackend upstream.forwardHeaders", docs: passed("", "@@"), b: "forwardHeaders: [X-User]", header: map[string]string{"X-User": "ann"}},
	{fields: "readBackend upstream.security,readBackend security.id", docs: passed("securitySchemes: [{id: k, type: apiKey, in: header, name: X-Out, defaultCredential: s}, {id: l, type: apiKey, in: header, name: X-User, defaultCredential: s}]", "security: {id: @@}"), a: "k", b: "l"},
	{fields: "readBackend security.credential", docs: own("server: {securitySchemes: [{id: k, type: apiKey, in: header, name: X-Out, defaultCredential: s}]}\nupstream: {url: \"BACKEND\", security: {id: k@@}}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), b: ", credential: other"},

	// Tools.
	{fields: "readTool description", docs: tool("@@, requestTemplate: {url: /x}"), a: "description: one", b: "description: two"},
	{fields: "readTool title", docs: tool("@@, requestTemplate: {url: /x}"), a: "title: one", b: "title: two"},
	{fields: "readTool annotations", docs: tool("@@, requestTemplate: {url: /x}"), a: "annotations: {readOnlyHint: true}", b: "annotations: {readOnlyHint: false}"},
	{fields: "readTool icons", docs: tool("icons: [{src: \"https://example.com/@@\"}], requestTemplate: {url: /x}"), a: "one", b: "two"},
	{fields: "readTool _meta", docs: tool("@@, requestTemplate: {url: /x}"), a: "_meta: {a: 1}", b: "_meta: {a: 2}"},
	{fields: "readTool args,readArg name", docs: arg("name: @@"), a: "a", b: "b", arguments: `{"a":"1","b":"2"}`},
	{fields: "readTool inputSchema", docs: tool("@@, requestTemplate: {url: /x}"), a: "inputSchema: {type: object, properties: {a: {}}}", b: "inputSchema: {type: object, properties: {b: {}}}"},
	{fields: "readTool argsPosition", docs: tool("inputSchema: {type: object, properties: {a: {}}}@@, requestTemplate: {url: /x}"), b: ", argsPosition: {a: query}", arguments: `{"a":"1"}`},
	{fields: "readTool outputSchema", docs: tool("@@, requestTemplate: {url: /x}"), a: "description: d", b: "description: d, outputSchema: {type: object}"},
	{fields: "readTool security,readTool security.id", docs: tool("security: {id: @@, passthrough: true}, requestTemplate: {url: /x}"), a: "c", b: "k", header: map[string]string{"X-User": "ann", "X-Out": "bob"}},
	{fields: "readTool security.passthrough", docs: tool("security: {id: c, passthrough: @@}, requestTemplate: {url: /x}"), a: "true", b: "false", says: "ignored without passthrough"},
	{fields: "readTool requestTemplate,readRequest requestTemplate.url", docs: request("url: @@"), a: "/one", b: "/two"},
	{fields: "readRequest requestTemplate.method", docs: request("url: /x, method: @@"), a: "GET", b: "POST"},
	{fields: "readRequest requestTemplate.headers,readRequest key", docs: request("url: /x, headers: [{key: @@, value: v}]"), a: "X-Out", b: "X-User"},
	{fields: "readRequest value", docs: request("url: /x, headers: [{key: X-Out, value: @@}]"), a: "one", b: "two"},
	{fields: "readRequest requestTemplate.body", docs: request("url: /x, method: POST, body: @@"), a: "one", b: "two"},
	{fields: "readRequest requestTemplate.argsToJsonBody", docs: request("url: /x, method: POST@@"), b: ", argsToJsonBody: true"},
	{fields: "readRequest requestTemplate.argsToUrlParam", docs: request("url: /x, method: POST@@"), b: ", argsToUrlParam: true"},
	{fields: "readRequest requestTemplate.argsToFormBody", docs: request("url: /x, method: POST@@"), b: ", argsToFormBody: true"},
	{fields: "readRequest requestTemplate.security,readRequest security.id", docs: request("url: /x, security: {id: k}@@"), b: ", security: {id: none}", says: `duplicate field "security"`},
	{fields: "readRequest requestTemplate.security,readRequest security.id", docs: request("url: /x@@"), b: ", security: {id: k}"},
	{fields: "readRequest security.credential", docs: request("url: /x, security: {id: k, credential: @@}"), a: "one", b: "two"},
	{fields: "readTool responseTemplate,readTool responseTemplate.body", docs: tool("requestTemplate: {url: /x}, responseTemplate: {body: @@}"), a: "one", b: "two"},
	{fields: "readTool responseTemplate.prependBody", docs: tool("requestTemplate: {url: /x}, responseTemplate: {prependBody: @@}"), a: "one", b: "two"},
	{fields: "readTool responseTemplate.appendBody", docs: tool("requestTemplate: {url: /x}, responseTemplate: {appendBody: @@}"), a: "one", b: "two"},
	{fields: "readTool errorResponseTemplate", docs: tool("requestTemplate: {url: /fail}, errorResponseTemplate: @@"), a: "one", b: "two"},
	{fields: "readArg description", docs: arg("name: a, description: @@"), a: "one", b: "two"},
	{fields: "readArg type", docs: arg("name: a, type: @@"), a: "string", b: "integer", arguments: `{"a":"1"}`},
	{fields: "readArg required", docs: arg("name: a, required: @@"), a: "false", b: "true"},
	{fields: "readArg default", docs: arg("name: a, default: @@"), a: "one", b: "two"},
	{fields: "readArg enum", docs: arg("name: a, enum: [@@]"), a: "one", b: "two", arguments: `{"a":"one"}`},
	{fields: "readArg items", docs: arg("name: a, type: array, items: {type: @@}"), a: "string", b: "integer", arguments: `{"a":["one"]}`},
	{fields: "readArg properties", docs: arg("name: a, type: object, properties: {b: {type: @@}}"), a: "string", b: "integer", arguments: `{"a":{"b":"one"}}`},
	{fields: "readArg position", docs: arg("name: a, position: @@"), a: "query", b: "header", arguments: `{"a":"one"}`},
	{fields: "readArg multiSegment", docs: tool(`args: [{name: a, position: path, multiSegment: @@}], requestTemplate: {url: "/x/{a}"}`), a: "false", b: "true", arguments: `{"a":"b/c"}`},
	{fields: "readArg explode", docs: tool(`args: [{name: a, type: array, position: query, explode: @@}], requestTemplate: {url: "/x"}`), a: "false", b: "true", arguments: `{"a":["b","c"]}`},
	{fields: "readSchemes id", docs: own("server: {securitySchemes: [{id: @@, type: http, scheme: bearer, defaultCredential: c}]}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"), a: "k", b: "l", says: `no security scheme has the id "k"`},
	{fields: "readSchemes type,readSchemes scheme", docs: own("server: {securitySchemes: [{id: k, type: http, scheme: @@, defaultCredential: \"c:d\"}]}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"), a: "bearer", b: "basic"},
	{fields: "readSchemes type", docs: own("server: {securitySchemes: [{id: k, type: @@, scheme: bearer, in: header, name: X-Out, defaultCredential: c}]}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"), a: "http", b: "apiKey"},
	{fields: "readSchemes in", docs: own("server: {securitySchemes: [{id: k, type: apiKey, in: @@, name: X-Out, defaultCredential: c}]}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"), a: "header", b: "query"},
	{fields: "readSchemes name", docs: own("server: {securitySchemes: [{id: k, type: apiKey, in: header, name: @@, defaultCredential: c}]}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"), a: "X-Out", b: "X-User"},
	{fields: "readSchemes defaultCredential", docs: own("server: {securitySchemes: [{id: k, type: http, scheme: bearer, defaultCredential: @@}]}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: /x, security: {id: k}}}]\n"), a: "one", b: "two"},

	// proxy-upstreams
	{fields: "ParseUpstream securitySchemes,ParseUpstream security,ParseUpstream security.id", docs: added("securitySchemes: [{id: x, type: apiKey, in: header, name: X-Out, defaultCredential: one}, {id: y, type: apiKey, in: header, name: X-User, defaultCredential: two}]\nsecurity: {id: @@}\n"), a: "x", b: "y"},
	{fields: "ParseUpstream security.credential", docs: added("security: {id: k, credential: @@}\n"), a: "one", b: "two"},
	{fields: "ParseUpstream timeout", docs: also(tool("requestTemplate: {url: /slow}"), "proxy-upstreams", "timeout: @@\n"), a: "20s", b: "50ms"},
	{fields: "ParseUpstream tls", docs: also(own("upstream: {url: \"TLS\"}\ntools: [{name: t, requestTemplate: {url: /x}}]\n"), "proxy-upstreams", "tls: {@@}\n"), b: "ca: ca.pem"},
	{fields: "ParseUpstream forwardHeaders", docs: added("forwardHeaders: [@@]\n"), a: "X-User", b: "X-Other", header: map[string]string{"X-User": "ann"}},

	// proxy-consumers
	{fields: "ParseConsumer enabled", docs: consumed("keys: [{id: k1, sha256: DIGEST}]\nenabled: @@\n"), a: "true", b: "false"},
	{fields: "ParseConsumer description", docs: consumed("keys: [{id: k1, sha256: DIGEST}]\ndescription: @@\n"), a: "one", b: "two"},
	{fields: "ParseConsumer groups", docs: also(consumed("keys: [{id: k1, sha256: DIGEST}]\ngroups: [@@]\n"), "proxy-grants", "consumers: [{group: team}]\n"), a: "team", b: "other"},
	{fields: "ParseConsumer keys,readKey sha256", docs: consumed("keys: [@@]\n"), a: "{id: k1, sha256: DIGEST}", b: "{id: k1, sha256: 8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92}"},
	{fields: "readKey id", docs: consumed("keys: [{id: @@, sha256: DIGEST}]\n"), a: "k1", b: "k2"},
	{fields: "readKey value", docs: consumed("keys: [{id: k1, @@}]\n"), a: "sha256: DIGEST", b: "value: KEY", says: "key"},
	{fields: "readKey notAfter", docs: consumed("keys: [{id: k1, sha256: DIGEST, notAfter: @@}]\n"), a: lasting, b: ended},
	{fields: "readKey enabled", docs: consumed("keys: [{id: k1, sha256: DIGEST, enabled: @@}]\n"), a: "true", b: "false"},
	{fields: "ParseConsumer sources,readSource header", docs: consumed("keys: [{id: k1, sha256: DIGEST}]\nsources: [{header: @@}]\n"), a: "X-Team", b: "X-Squad", header: map[string]string{"X-Api-Key": "", "X-Team": "KEY"}},
	{fields: "readSource query", docs: consumed("keys: [{id: k1, sha256: DIGEST}]\nsources: [{query: @@}]\n"), a: "team", b: "squad", header: map[string]string{"X-Api-Key": ""}, version: "?team=KEY"},
	{fields: "ParseConsumer limits,readLimits rps", docs: consumed("keys: [{id: k1, sha256: DIGEST}]\n@@"), b: "limits: {rps: 0.001}\n", times: 3},
	{fields: "readLimits burst", docs: consumed("keys: [{id: k1, sha256: DIGEST}]\nlimits: {rps: 0.001, burst: @@}\n"), a: "4", b: "5", times: 3},
	{fields: "readLimits concurrent", docs: also(also(tool("requestTemplate: {url: /slow}"), "proxy-grants", "consumers: [NAME]\n"), "proxy-consumers", "keys: [{id: k1, sha256: DIGEST}]\nlimits: {concurrent: @@}\n"), a: "1", b: "2", times: 2},

	// proxy-grants
	{fields: "ParseGrants auth", docs: also(tool("requestTemplate: {url: /x}"), "proxy-grants", "auth: @@\n"), a: "required", b: "disabled"},
	{fields: "ParseGrants consumers,readGrant consumer", docs: granted("consumers: [{consumer: @@}]\n"), a: "NAME", b: "alice"},
	{fields: "readGrant group", docs: granted("consumers: [{group: @@}]\n"), a: "team", b: "other"},
	{fields: "readGrant notAfter", docs: granted("consumers: [{consumer: NAME, notAfter: @@}]\n"), a: lasting, b: ended},
	{fields: "ParseGrants registryId", docs: also(stored("", ""), "proxy-grants", "auth: disabled\nregistryId: @@\n"), a: "ID", b: "another"},
	{fields: "ParseGrants tools", docs: granted("tools: {@@: [NAME]}\n"), a: "t", b: "u", says: "the service offers no tool of the name"},
	{fields: "ParseGrants versions", docs: also(stored("", ""), "proxy-grants", "auth: disabled\nversions: [@@]\n"), a: "'1'", b: "'2'", version: "@2"},
	{fields: "ParseGrants limits,readGrantLimits limits.rps", docs: granted("consumers: [NAME]\n@@"), b: "limits: {rps: 0.001}\n", times: 3},
	{fields: "readGrantLimits limits.burst", docs: granted("consumers: [NAME]\nlimits: {rps: 0.001, burst: @@}\n"), a: "4", b: "5", times: 3},
	{fields: "readGrantLimits limits.concurrent", docs: also(also(tool("requestTemplate: {url: /slow}"), "proxy-grants", "consumers: [NAME]\nlimits: {concurrent: @@}\n"), "proxy-consumers", "keys: [{id: k1, sha256: DIGEST}]\n"), a: "1", b: "2", times: 2},
	{fields: "readGrantLimits limits.tools,readGrantLimits rps", docs: granted("consumers: [NAME]\nlimits: {tools: {t: {rps: @@}}}\n"), a: "1000", b: "0.001", times: 3},
	{fields: "readGrantLimits burst", docs: granted("consumers: [NAME]\nlimits: {tools: {t: {rps: 0.001, burst: @@}}}\n"), a: "1", b: "2", times: 3},
	{fields: "readGrantLimits concurrent", docs: also(also(tool("requestTemplate: {url: /slow}"), "proxy-grants", "consumers: [NAME]\nlimits: {tools: {t: {concurrent: @@}}}\n"), "proxy-consumers", "keys: [{id: k1, sha256: DIGEST}]\n"), a: "1", b: "2", times: 2},

	// proxy-credentials
	{fields: "ParseCredentials values", docs: backed("services: [NAME]\nhosts: [127.0.0.1]\nvalues: {key: @@}\n"), a: "one", b: "two"},
	{fields: "ParseCredentials hosts", docs: backed("services: [NAME]\nhosts: [@@]\nvalues: {key: one}\n"), a: "127.0.0.1", b: "example.com"},
	{fields: "ParseCredentials path", docs: also(own("server: {config: {key: \"${credential:NAME/key}\"}}\nupstream: {url: \"BACKEND\"}\ntools: [{name: t, requestTemplate: {url: \"/x/{{.config.key}}\"}}]\n"), "proxy-credentials", "services: [NAME]\nhosts: [127.0.0.1]\nvalues: {key: one}\npath: @@\n"), a: "true", b: "false", says: "path: true"},
	{fields: "ParseCredentials services", docs: backed("services: [@@]\nhosts: [127.0.0.1]\nvalues: {key: one}\n"), a: "NAME", b: "other", says: "its document does not list this service"},

	// The Nacos registry: manifest
	{fields: "ParseManifest id", docs: stored("manifest", "@@"), b: `,"id":"another"`, says: "the data id counts"},
	{fields: "ParseManifest name", docs: stored("manifest", "@@"), b: `,"name":"a b"`, says: "cannot be the name of a service"},
	{fields: "ParseManifest protocol", docs: stored("manifest", "@@"), b: `,"protocol":"stdio"`},
	{fields: "ParseManifest description", docs: stored("manifest", "@@"), b: `,"description":"two"`},
	{fields: "ParseManifest status", docs: stored("manifest", "@@"), b: `,"status":"deprecated"`},
	{fields: "ParseManifest enabled", docs: stored("manifest", "@@"), b: `,"enabled":false`},
	{fields: "ParseManifest latestPublishedVersion", docs: stored("manifest", "@@"), b: `,"latestPublishedVersion":"2"`},
	{fields: "ParseManifest versionDetails,ParseManifest version,ParseManifest is_latest", docs: stored("manifest", `,"latestPublishedVersion":null,"versionDetails":[{"version":"1"@@},{"version":"2"}]`), a: `,"is_latest":false`, b: `,"is_latest":true`},

	// spec
	{fields: "ParseSpec protocol", docs: stored("spec", "@@"), b: `,"protocol":"stdio"`},
	{fields: "ParseSpec description", docs: stored("spec", "@@"), b: `,"description":"two"`},
	{fields: "ParseSpec title", docs: stored("spec", `,"title":"@@"`), a: "one", b: "two"},
	{fields: "ParseSpec websiteUrl", docs: stored("spec", `,"websiteUrl":"https://example.com/@@"`), a: "one", b: "two"},
	{fields: "ParseSpec icons,readIcons src", docs: stored("spec", `,"icons":[{"src":"https://example.com/@@"}]`), a: "one", b: "two"},
	{fields: "ParseSpec status", docs: stored("spec", "@@"), b: `,"status":"deprecated"`},
	{fields: "ParseSpec enabled", docs: stored("spec", "@@"), b: `,"enabled":false`},
	{fields: "ParseSpec versionDetail,ParseSpec version", docs: stored("spec", `,"versionDetail":{"version":"@@"}`), a: "1", b: "3", says: "names this document for"},
	{fields: "ParseSpec remoteServerConfig,ParseSpec serviceRef,ParseSpec serviceName", docs: stored("remote", `"serviceName":"@@"`), a: "plain", b: "none"},
	{fields: "ParseSpec groupName", docs: stored("remote", `"serviceName":"plain","groupName":"@@"`), a: "DEFAULT_GROUP", b: "OTHER"},
	{fields: "ParseSpec namespaceId", docs: stored("remote", `"serviceName":"plain"@@`), b: `,"namespaceId":"other"`},
	{fields: "ParseSpec transportProtocol", docs: stored("remote", `"serviceName":"plain","transportProtocol":"@@"`), a: "http", b: "https"},
	{fields: "ParseSpec exportPath", docs: also(stored("export", "@@"), "manifest", `,"protocol":"mcp-streamable"`), a: "/mcp", b: "/none"},
	{fields: "ParseSpec toolsDescriptionRef", docs: stored("spec", "@@"), b: `,"toolsDescriptionRef":"ID-other-mcp-tools.json"`, says: "the tools of a version are read from"},

	{fields: "SwitchesOf enabled,SwitchesOf status,SwitchesOf toolsMeta", elsewhere: "../catalog TestWhatAFaultyDocumentSwitchesOff"},

	// tools
	{fields: "ParseTools tools,ParseTools name,readStoredTool name", docs: stored("tools", `,{"name":"@@"}`), a: "u", b: "w"},
	{fields: "ParseTools toolsMeta,ParseTools enabled", docs: stored("meta", `,"enabled":@@`), a: "true", b: "false"},
	{fields: "ParseTools securitySchemes,readStoredSchemes id", docs: also(stored("root", `,"securitySchemes":[{"id":"@@","type":"http","scheme":"bearer","defaultCredential":"c"}]`), "req", `,"security":{"id":"k"}`), a: "k", b: "l", says: `no security scheme has the id "k"`},
	{fields: "readStoredSchemes type", docs: also(stored("root", `,"securitySchemes":[{"id":"k","type":"@@","scheme":"bearer","in":"header","name":"X-Out","defaultCredential":"c"}]`), "req", `,"security":{"id":"k"}`), a: "http", b: "apiKey"},
	{fields: "readStoredSchemes scheme", docs: also(stored("root", `,"securitySchemes":[{"id":"k","type":"http","scheme":"@@","defaultCredential":"c:d"}]`), "req", `,"security":{"id":"k"}`), a: "bearer", b: "basic"},
	{fields: "readStoredSchemes in", docs: also(stored("root", `,"securitySchemes":[{"id":"k","type":"apiKey","in":"@@","name":"X-Out","defaultCredential":"c"}]`), "req", `,"security":{"id":"k"}`), a: "header", b: "query"},
	{fields: "readStoredSchemes name", docs: also(stored("root", `,"securitySchemes":[{"id":"k","type":"apiKey","in":"header","name":"@@","defaultCredential":"c"}]`), "req", `,"security":{"id":"k"}`), a: "X-Out", b: "X-User"},
	{fields: "readStoredSchemes defaultCredential", docs: also(stored("root", `,"securitySchemes":[{"id":"k","type":"http","scheme":"bearer","defaultCredential":"@@"}]`), "req", `,"security":{"id":"k"}`), a: "one", b: "two"},
	{fields: "ParseTools extensions,ParseTools server.defaultUpstreamSecurity,storedSecurity id", docs: stored("root", `,"securitySchemes":[{"id":"k","type":"apiKey","in":"header","name":"X-Out","defaultCredential":"c"},{"id":"l","type":"apiKey","in":"header","name":"X-User","defaultCredential":"c"}],"extensions":{"server.defaultUpstreamSecurity":{"id":"@@"}}`), a: "k", b: "l"},
	{fields: "storedSecurity credential", docs: stored("root", `,"securitySchemes":[{"id":"k","type":"apiKey","in":"header","name":"X-Out","defaultCredential":"c"}],"extensions":{"server.defaultUpstreamSecurity":{"id":"k"@@}}`), b: `,"credential":"other"`},
	{fields: "ParseTools server.defaultDownstreamSecurity,storedSecurity passthrough", docs: also(also(stored("root", `,"securitySchemes":[{"id":"c","type":"apiKey","in":"header","name":"X-User"}]@@`), "manifest", `,"protocol":"mcp-streamable"`), "export", "/mcp"), b: `,"extensions":{"server.defaultDownstreamSecurity":{"id":"c","passthrough":true}}`, header: map[string]string{"X-User": "ann"}},
	{fields: "ParseTools server.defaultDownstreamSecurity", docs: stored("root", `,"securitySchemes":[{"id":"c","type":"apiKey","in":"header","name":"X-User"}]@@`), b: `,"extensions":{"server.defaultDownstreamSecurity":{"id":"c","passthrough":true}}`, header: map[string]string{"X-User": "ann"}},
	{fields: "storedSecurity passthrough", docs: stored("root", `,"securitySchemes":[{"id":"c","type":"apiKey","in":"header","name":"X-User"}],"extensions":{"server.defaultDownstreamSecurity":{"id":"c","passthrough":@@}}`), a: "true", b: "false", says: "ignored without passthrough"},
	{fields: "readStoredTool title", docs: stored("tool", `,"title":"@@"`), a: "one", b: "two"},
	{fields: "readStoredTool description", docs: stored("tool", `,"description":"@@"`), a: "one", b: "two"},
	{fields: "readStoredTool annotations", docs: stored("tool", `,"annotations":{"readOnlyHint":@@}`), a: "true", b: "false"},
	{fields: "readStoredTool icons,readIcons src", docs: stored("tool", `,"icons":[{"src":"https://example.com/@@"}]`), a: "one", b: "two"},
	{fields: "readIcons mimeType", docs: stored("tool", `,"icons":[{"src":"https://example.com/","mimeType":"image/@@"}]`), a: "png", b: "webp"},
	{fields: "readIcons sizes", docs: stored("tool", `,"icons":[{"src":"https://example.com/","sizes":["@@"]}]`), a: "any", b: "48x48"},
	{fields: "readIcons theme", docs: stored("tool", `,"icons":[{"src":"https://example.com/","theme":"@@"}]`), a: "light", b: "dark"},
	{fields: "encrypted tools,encrypted encryptData,encrypted data,encrypted specificationType", elsewhere: "../registry TestEncryptedTools"},
	{fields: "readStoredTool _meta", docs: stored("tool", `,"_meta":{"a":@@}`), a: "1", b: "2"},
	{fields: "readStoredTool inputSchema", docs: stored("tool", `,"inputSchema":{"type":"object","properties":{"@@":{}}}`), a: "a", b: "b"},
	{fields: "readStoredTool outputSchema", docs: stored("tool", `@@`), b: `,"outputSchema":{"type":"object"}`},
	{fields: "readStoredTool security", docs: also(stored("tool", `@@`), "root", `,"securitySchemes":[{"id":"c","type":"apiKey","in":"header","name":"X-User"}]`), b: `,"security":{"id":"c","passthrough":true}`, header: map[string]string{"X-User": "ann"}},
	{fields: "readTemplate security", docs: also(stored("tpl", `@@`), "root", `,"securitySchemes":[{"id":"c","type":"apiKey","in":"header","name":"X-User"}]`), b: `,"security":{"id":"c","passthrough":true}`, header: map[string]string{"X-User": "ann"}},
	{fields: "readStoredTool templates,readStoredTool json-go-template", docs: stored("meta", `@@`), b: `,"templates":{}`, says: "has no json-go-template"},
	{fields: "readTemplate requestTemplate,readTemplate url", docs: stored("req", `,"url":"@@"`), a: "/one", b: "/two"},
	{fields: "readTemplate method", docs: stored("req", `,"method":"@@"`), a: "POST", b: "PUT"},
	{fields: "readTemplate body,body body", docs: stored("req", `,"body":"@@"`), a: "one", b: "two"},
	{fields: "body body", docs: stored("req", `,"body":{"n":"@@"}`), a: "one", b: "two"},
	{fields: "readTemplate headers,headers key", docs: stored("req", `,"headers":[{"key":"@@","value":"v"}]`), a: "X-Out", b: "X-User"},
	{fields: "headers value", docs: stored("req", `,"headers":[{"key":"X-Out","value":"@@"}]`), a: "one", b: "two"},
	{fields: "readTemplate argsToJsonBody", docs: stored("req", `,"argsToJsonBody":@@`), a: "false", b: "true", arguments: `{"a":"1"}`},
	{fields: "readTemplate argsToUrlParam", docs: stored("req", `,"argsToUrlParam":@@`), a: "false", b: "true", arguments: `{"a":"1"}`},
	{fields: "readTemplate argsToFormBody", docs: stored("req", `,"argsToFormBody":@@`), a: "false", b: "true", arguments: `{"a":"1"}`},
	{fields: "readTemplate argsPosition", docs: stored("tpl", `,"argsPosition":{"a":"@@"}`), a: "query", b: "body", arguments: `{"a":"1"}`},
	{fields: "readTemplate responseTemplate,readTemplate body", docs: stored("tpl", `,"responseTemplate":{"body":"@@"}`), a: "one", b: "two"},
	{fields: "readTemplate prependBody", docs: stored("tpl", `,"responseTemplate":{"prependBody":"@@"}`), a: "one", b: "two"},
	{fields: "readTemplate appendBody", docs: stored("tpl", `,"responseTemplate":{"appendBody":"@@"}`), a: "one", b: "two"},
	{fields: "readTemplate errorResponseTemplate", docs: also(stored("tpl", `,"errorResponseTemplate":"@@"`), "req", `,"url":"/fail"`), a: "one", b: "two"},
}

// schemaProbes are of the keywords of JSON Schema that an argument takes: they are shown, and checked by convert.
func schemaProbes() (all []fieldProbe) {
	for _, k := range [][3]string{
		{"title", "one", "two"}, {"format", "date", "uri"}, {"pattern", "a", "b"}, {"minLength", "1", "2"}, {"maxLength", "1", "2"},
		{"contentEncoding", "base64", "base32"}, {"contentMediaType", "text/plain", "text/html"}, {"contentSchema", "{type: string}", "{type: integer}"},
		{"minimum", "1", "2"}, {"maximum", "1", "2"}, {"exclusiveMinimum", "1", "2"}, {"exclusiveMaximum", "1", "2"}, {"multipleOf", "1", "2"},
		{"minItems", "1", "2"}, {"maxItems", "1", "2"}, {"uniqueItems", "true", "false"}, {"prefixItems", "[{type: string}]", "[{type: integer}]"},
		{"contains", "{type: string}", "{type: integer}"}, {"minContains", "1", "2"}, {"maxContains", "1", "2"}, {"unevaluatedItems", "true", "false"},
		{"minProperties", "1", "2"}, {"maxProperties", "1", "2"}, {"additionalProperties", "true", "false"}, {"patternProperties", "{a: {type: string}}", "{b: {type: string}}"},
		{"propertyNames", "{minLength: 1}", "{minLength: 2}"}, {"dependentRequired", "{a: [b]}", "{a: [c]}"}, {"dependentSchemas", "{a: {minProperties: 1}}", "{a: {minProperties: 2}}"},
		{"unevaluatedProperties", "true", "false"}, {"const", "one", "two"}, {"allOf", "[{minLength: 1}]", "[{minLength: 2}]"}, {"anyOf", "[{minLength: 1}]", "[{minLength: 2}]"},
		{"oneOf", "[{minLength: 1}]", "[{minLength: 2}]"}, {"not", "{minLength: 1}", "{minLength: 2}"}, {"if", "{minLength: 1}", "{minLength: 2}"},
		{"then", "{minLength: 1}", "{minLength: 2}"}, {"else", "{minLength: 1}", "{minLength: 2}"}, {"examples", "[one]", "[two]"},
		{"deprecated", "true", "false"}, {"readOnly", "true", "false"}, {"writeOnly", "true", "false"}, {"$comment", "one", "two"},
	} {
		all = append(all, fieldProbe{fields: "readArg " + k[0], docs: arg("name: a, " + k[0] + ": @@"), a: k[1], b: k[2]})
	}
	return all
}

// TestEveryFieldDoesSomething holds that no field is read and forgotten. It fails for a field that decoders of
// internal/registry know and no probe shows: whoever adds one says here what it does. It was seen to fail for allowTools
// and defaultDownstreamSecurity of services that are passed on, for a body that is a JSON object, and for descriptions,
// server.name and frontProtocol, before they did something or were no longer read.
func TestEveryFieldDoesSomething(t *testing.T) {
	fieldProbes := append(fieldProbes, schemaProbes()...)
	shown := map[string]bool{}
	for _, p := range fieldProbes {
		for f := range strings.SplitSeq(p.fields, ",") {
			shown[f] = true
		}
	}
	known := decoderFields(t)
	for _, f := range known {
		if !shown[f] {
			t.Errorf("%s: no probe shows what the field does", f)
		}
	}
	for f := range shown {
		if !slices.Contains(known, f) {
			t.Errorf("%s: the probe is of no field that is read", f)
		}
	}

	w := newFieldWorld(t)
	for i, p := range fieldProbes {
		if p.elsewhere != "" {
			directory, test, _ := strings.Cut(p.elsewhere, " ")
			if out, err := exec.Command("grep", "-rqF", "func "+test+"(t *testing.T)", "--include=*_test.go", directory).CombinedOutput(); err != nil {
				t.Errorf("%s: there is no test %s: %v %s", p.fields, p.elsewhere, err, out)
			}
			continue
		}
		for side, value := range map[string]string{"a": p.a, "b": p.b} {
			w.publish(t, fmt.Sprintf("p%03d%s", i, side), p.docs, value)
		}
	}
	w.proxy = start(t, w.source, func(c *config.Config) { c.Upstream.TLSDir = w.dir }).ready()
	// Definitions are validated in the background, in no order: those with a fault say when all were.
	for began := time.Now(); time.Since(began) < 60*time.Second; time.Sleep(50 * time.Millisecond) {
		if w.status = w.proxy.status(); w.status.Pending == 0 && w.allSaid(fieldProbes) {
			break
		}
	}
	for i, p := range fieldProbes {
		if p.elsewhere != "" {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", i, p.fields), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("p%03d", i)
			faultsA, faultsB := w.faults(name+"a"), w.faults(name+"b")
			if p.says != "" {
				if strings.Contains(faultsA, p.says) || !strings.Contains(faultsB, p.says) {
					t.Errorf("want %q of the second only, got\n%s\nand\n%s", p.says, faultsA, faultsB)
				}
				return
			}
			if faultsA != faultsB || strings.Contains(faultsA, "error") {
				t.Fatalf("one is told a fault of:\n%s\nand\n%s", faultsA, faultsB)
			}
			if a, b := w.observe(t, name+"a", p), w.observe(t, name+"b", p); a == b {
				t.Errorf("nobody can tell %q from %q:\n%s", p.a, p.b, a)
			}
		})
	}
}

// allSaid reports whether operators are told all that probes want said.
func (w *fieldWorld) allSaid(probes []fieldProbe) bool {
	for i, p := range probes {
		if p.says != "" && !strings.Contains(w.faults(fmt.Sprintf("p%03db", i)), p.says) {
			return false
		}
	}
	return true
}

// fieldWorld is a proxy with the services of all probes, and their backends.
type fieldWorld struct {
	source  *source
	dir     string // of TLS files
	proxy   *proxy
	status  admin.Status
	origins *strings.Replacer
}

func newFieldWorld(t *testing.T) *fieldWorld {
	w := &fieldWorld{source: directory(t), dir: t.TempDir()}
	s := mcp.NewServer(&mcp.Implementation{Name: "backend", Version: "1"}, nil)
	for _, name := range []string{"t", "u"} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: name}, func(_ context.Context, r *mcp.CallToolRequest, _ map[string]any) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: headersShown(r.Extra.Header)}}}, nil, nil
		})
	}
	handler := http.NewServeMux()
	handler.Handle("/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}))
	handler.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			time.Sleep(400 * time.Millisecond)
		}
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/fail") {
			rw.WriteHeader(http.StatusTeapot)
		}
		certificate := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
		_ = json.NewEncoder(rw).Encode(map[string]any{"request": r.Method + " " + r.URL.RequestURI(), "header": headersShown(r.Header), "body": string(body), "certificate": certificate})
	})
	plain := httptest.NewServer(handler)
	secure := httptest.NewTLSServer(handler)
	clients := httptest.NewUnstartedServer(handler)
	clients.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	clients.StartTLS()
	for _, srv := range []*httptest.Server{plain, secure, clients} {
		t.Cleanup(srv.Close)
	}
	w.origins = strings.NewReplacer("BACKEND", plain.URL, "TLS", secure.URL, "CLIENTS", clients.URL)
	w.source.instance(t, "DEFAULT_GROUP", "plain", plain.Listener.Addr().String())

	certificate := secure.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	for name, content := range map[string][]byte{"ca.pem": authority, "cert.pem": authority, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(w.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// headersShown is what is shown of a request's header.
func headersShown(h http.Header) string {
	var all []string
	for _, name := range []string{"Authorization", "Content-Type", "X-Out", "X-User", "X-Other", "A"} {
		if v := h[name]; v != nil {
			all = append(all, name+": "+strings.Join(v, ", "))
		}
	}
	return strings.Join(all, "; ")
}

func keyOf(name string) string { return "nmp_" + name + "_0123456789abcdefghijklmnopqrstuvwxyz" }

func idOf(name string) string { return "00000000-0000-4000-8000-0000000" + name }

// publish writes the documents of one side of a probe.
func (w *fieldWorld) publish(t *testing.T, name string, docs map[string]string, value string) {
	filled := map[string]string{}
	names := strings.NewReplacer("NAME", name, "KEY", keyOf(name), "DIGEST", digest(keyOf(name)), "ID", idOf(name))
	for group, content := range docs {
		content = names.Replace(strings.ReplaceAll(content, "@@", value))
		filled[group] = w.origins.Replace(content)
	}
	if filled["proxy-grants"] == "" {
		filled["proxy-grants"] = "auth: disabled\n"
	}
	isStored := filled["proxy-services"] == ""
	for group, content := range filled {
		if strings.HasPrefix(group, "proxy-") {
			w.source.put(t, group, name+".yaml", content)
		}
	}
	if !isStored {
		return
	}
	id := idOf(name)
	w.source.put(t, "mcp-server-versions", id+"-mcp-versions.json", fmt.Sprintf(`{"id":%q,"name":%q,"protocol":"http","enabled":true,"status":"active","latestPublishedVersion":"1","versionDetails":[{"version":"1"},{"version":"2"}]%s}`,
		id, name, filled["manifest"]))
	for _, version := range []string{"1", "2"} {
		w.source.put(t, "mcp-server", id+"-"+version+"-mcp-server.json", fmt.Sprintf(`{"id":%q,"name":%q,"enabled":true,"status":"active","remoteServerConfig":{"serviceRef":{%s},"exportPath":%q},"toolsDescriptionRef":"%s-%s-mcp-tools.json"%s}`,
			id, name, cmp.Or(filled["remote"], `"serviceName":"plain"`), cmp.Or(filled["export"], "/"), id, version, strings.ReplaceAll(filled["spec"], `"version":"1"`, `"version":"`+version+`"`)))
		w.source.put(t, "mcp-tools", id+"-"+version+"-mcp-tools.json", fmt.Sprintf(
			`{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}%s}%s],"toolsMeta":{"u":%s,"w":%s,"t":{"templates":{"json-go-template":{"requestTemplate":{"url":"/v%s","method":"POST"%s}%s}}%s}}%s}`,
			filled["tool"], filled["tools"], plainMeta, plainMeta, version, filled["req"], filled["tpl"], filled["meta"], filled["root"]))
	}
}

const plainMeta = `{"templates":{"json-go-template":{"requestTemplate":{"url":"/u"}}}}`

// faults is what operators are told of the documents of a service, one a line, with its name left out.
func (w *fieldWorld) faults(name string) string {
	var all []string
	for _, d := range w.status.Documents {
		if !strings.HasPrefix(d.DataID, name+".") && !strings.HasPrefix(d.DataID, idOf(name)+"-") {
			continue
		}
		for _, f := range d.Faults {
			if strings.Contains(f.Message, "sends none of the tool's arguments") {
				continue // most probes have a POST that sends nothing, until the field says so
			}
			kind := "error"
			if f.Warning {
				kind = "warning"
			}
			all = append(all, w.plain(name, fmt.Sprintf("%s in %s: %s: %s: %s", kind, d.Group, f.Tool, f.Field, f.Message)))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

var ports = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// plain leaves out of text what differs with the name.
func (w *fieldWorld) plain(name, text string) string {
	return ports.ReplaceAllString(strings.NewReplacer(keyOf(name), "KEY", idOf(name), "ID", name, "NAME").Replace(text), "HOST")
}

// observe returns all that clients and operators see of a service.
func (w *fieldWorld) observe(t *testing.T, name string, p fieldProbe) string {
	var b strings.Builder
	for _, s := range w.status.Services {
		if s.Name == name {
			s.Compiled, s.Instances, s.Tools = false, nil, nil // what clients see of tools counts
			_ = json.NewEncoder(&b).Encode(s)
		}
	}
	for _, c := range w.status.Consumers {
		if c.Name == name {
			_ = json.NewEncoder(&b).Encode(c)
		}
	}
	path := name + strings.ReplaceAll(p.version, "KEY", url.QueryEscape(keyOf(name)))
	c := w.proxy.client(path, "")
	c.header.Set("X-Api-Key", keyOf(name))
	for k, v := range p.header {
		if v = strings.ReplaceAll(v, "KEY", keyOf(name)); v == "" {
			c.header.Del(k)
		} else {
			c.header.Set(k, v)
		}
	}
	say := func(what string, a answer) { fmt.Fprintf(&b, "%s: %d %s\n", what, a.Status, a.Body) }
	say("initialize", c.initialize())
	say("tools", c.list())
	var answers []string
	var mu sync.Mutex
	var calls sync.WaitGroup
	for range max(1, p.times) {
		calls.Go(func() {
			a := c.call("t", cmp.Or(p.arguments, "{}"))
			mu.Lock()
			answers = append(answers, fmt.Sprintf("call: %d %s", a.Status, a.Body))
			mu.Unlock()
		})
	}
	calls.Wait()
	slices.Sort(answers)
	b.WriteString(strings.Join(answers, "\n"))
	return w.plain(name, b.String())
}
