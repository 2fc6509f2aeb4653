package config

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// setting is one key of the boot configuration.
type setting struct {
	key    string // as in the file, with dots
	def    any    // as in the file
	use    string // what the flag's help says
	source bool   // about reaching documents: every command has the flag, not only serve
	secret bool   // has no flag, because flags are seen by everybody on the machine
	set    func(*Config, any) error
}

// flag is the key in words that flags are made of: nacos.listInterval is nacos-list-interval.
func (s setting) flag() string { return kebab(s.key) }

// env is the name of the environment variable: NMP_NACOS_LIST_INTERVAL.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(kebab(s.key), "-", "_"))
}

const envPrefix = "NMP_"

func kebab(key string) string {
	var b strings.Builder
	lower := false
	for _, r := range key {
		switch {
		case r == '.':
			r = '-'
		case unicode.IsUpper(r):
			if lower {
				b.WriteByte('-')
			}
			r = unicode.ToLower(r)
			lower = false
			b.WriteRune(r)
			continue
		}
		lower = r != '-'
		b.WriteRune(r)
	}
	return b.String()
}

// settings are all of them, in the order of the file.
func settings() []setting {
	return []setting{
		{key: "listen", def: "127.0.0.1:8800", use: "`host:port` where MCP clients come", set: address(func(c *Config) *string { return &c.Listen })},
		{key: "admin.listen", def: "127.0.0.1:8801", use: "`host:port` of health, metrics and status", source: true, set: address(func(c *Config) *string { return &c.Admin.Listen })},
		{key: "admin.token", def: "", secret: true, set: hidden(func(c *Config) *Secret { return &c.Admin.Token })},
		{key: "admin.allowedHosts", def: []any{}, use: "`names` under which operators may address it; default: any, but on a loopback listener only local ones", set: list(func(c *Config) *[]string { return &c.Admin.AllowedHosts }, nil)},
		{key: "admin.pprof", def: false, use: "serve profiles of the process at /debug/pprof/", set: boolean(func(c *Config) *bool { return &c.Admin.Pprof })},

		{key: "source", def: SourceDir, use: "where documents are: dir or nacos", source: true, set: choice(func(c *Config) *string { return &c.Source }, SourceDir, SourceNacos)},
		{key: "dir.path", def: "./registry", use: "`directory` of the directory source", source: true, set: needed(func(c *Config) *string { return &c.Dir.Path })},

		{key: "nacos.addresses", def: []any{"127.0.0.1:8848"}, use: "`host:port,…` of the Nacos servers", source: true, set: addresses(func(c *Config) *[]string { return &c.Nacos.Addresses })},
		{key: "nacos.consolePort", def: 8080, use: "`port` of the servers' console, which no backend may have on their hosts; 0: none", set: number(func(c *Config) *int { return &c.Nacos.ConsolePort }, 0, 65535)},
		{key: "nacos.namespace", def: "public", use: "`id` of the namespace with the services", source: true, set: needed(func(c *Config) *string { return &c.Nacos.Namespace })},
		{key: "nacos.accessNamespace", def: "", use: "`id` of the namespace with consumers and grants; default: the same", source: true, set: text(func(c *Config) *string { return &c.Nacos.AccessNamespace })},
		{key: "nacos.backendNamespaces", def: []any{}, use: "`ids` of other namespaces whose naming services may be backends", set: list(func(c *Config) *[]string { return &c.Nacos.BackendNamespaces }, nil)},
		{key: "nacos.username", def: "", use: "`name` of the Nacos user (password: " + envPrefix + "NACOS_PASSWORD)", source: true, set: text(func(c *Config) *string { return &c.Nacos.Username })},
		{key: "nacos.password", def: "", secret: true, source: true, set: hidden(func(c *Config) *Secret { return &c.Nacos.Password })},
		{key: "nacos.accessKey", def: "", use: "access `key` (secret key: " + envPrefix + "NACOS_SECRET_KEY)", source: true, set: text(func(c *Config) *string { return &c.Nacos.AccessKey })},
		{key: "nacos.secretKey", def: "", secret: true, source: true, set: hidden(func(c *Config) *Secret { return &c.Nacos.SecretKey })},
		{key: "nacos.tls.enabled", def: false, use: "speak TLS with Nacos", source: true, set: boolean(func(c *Config) *bool { return &c.Nacos.TLS.Enabled })},
		{key: "nacos.tls.ca", def: "", use: "PEM `file` with Nacos's authority; default: the system's", source: true, set: text(func(c *Config) *string { return &c.Nacos.TLS.CA })},
		{key: "nacos.tls.cert", def: "", use: "PEM `file` with our certificate for Nacos", source: true, set: text(func(c *Config) *string { return &c.Nacos.TLS.Cert })},
		{key: "nacos.tls.key", def: "", use: "PEM `file` with its key", source: true, set: text(func(c *Config) *string { return &c.Nacos.TLS.Key })},
		{key: "nacos.listInterval", def: "3s", use: "`time` between two lists that find new documents", set: duration(func(c *Config) *time.Duration { return &c.Nacos.ListInterval }, 100*time.Millisecond)},

		{key: "state.path", def: "", use: "`directory` of the last-known-good store, or off; default: in the user's state directory", set: text(func(c *Config) *string { return &c.State.Path })},
		{key: "cache.services", def: 1024, use: "`number` of services kept compiled", set: number(func(c *Config) *int { return &c.Cache.Services }, 1, 1<<24)},

		{key: "access.default", def: "required", use: "status switch of a service without grants document: required or disabled", set: auth},
		{key: "access.sources", def: []any{"bearer", map[string]any{"header": "X-API-Key"}}, use: "where keys may stand: `bearer,header:NAME,query:NAME`", set: sources},
		{key: "access.maxStale", def: "0s", use: "`time` without contact to the source after which calls are refused; 0s: never", set: duration(func(c *Config) *time.Duration { return &c.Access.MaxStale }, 0)},
		{key: "access.revealDenied", def: false, use: "tell callers of tools that exist but that they may not call", set: boolean(func(c *Config) *bool { return &c.Access.RevealDenied })},

		{key: "session.secrets", def: []any{}, secret: true, set: hiddenList(func(c *Config) *[]Secret { return &c.Session.Secrets })},

		{key: "limits.requestBody", def: "4MiB", use: "largest request body, as a `size`", set: size(func(c *Config) *int64 { return &c.Limits.RequestBody })},
		{key: "limits.responseBody", def: "16MiB", use: "largest body a backend may answer, as a `size`", set: size(func(c *Config) *int64 { return &c.Limits.ResponseBody })},
		{key: "limits.headerTime", def: "5s", use: "`time` a client has to send a request's head", set: duration(func(c *Config) *time.Duration { return &c.Limits.HeaderTime }, time.Millisecond)},
		{key: "limits.bodyTime", def: "30s", use: "`time` a client has to send a request's body", set: duration(func(c *Config) *time.Duration { return &c.Limits.BodyTime }, time.Millisecond)},
		{key: "limits.callTime", def: "60s", use: "`time` a backend has for the first byte of its answer", set: duration(func(c *Config) *time.Duration { return &c.Limits.CallTime }, time.Millisecond)},
		{key: "limits.streamIdle", def: "5m", use: "`time` a stream may be silent", set: duration(func(c *Config) *time.Duration { return &c.Limits.StreamIdle }, time.Millisecond)},
		{key: "limits.sessions", def: 4096, use: "`number` of sessions with HTTP+SSE backends, and of HTTP+SSE clients, each; the longest unused backend session makes room", set: number(func(c *Config) *int { return &c.Limits.Sessions }, 1, 1<<20)},
		{key: "limits.sessionIdle", def: "30m", use: "`time` a session with an HTTP+SSE backend may be unused", set: duration(func(c *Config) *time.Duration { return &c.Limits.SessionIdle }, time.Millisecond)},
		{key: "limits.drain", def: "20s", use: "`time` that calls in flight have to finish when the proxy ends", set: duration(func(c *Config) *time.Duration { return &c.Limits.Drain }, 0)},

		{key: "limits.writeTime", def: "30s", use: "`time` a client may leave what was sent to it unread, streams aside", set: duration(func(c *Config) *time.Duration { return &c.Limits.WriteTime }, time.Second)},
		{key: "limits.memory", def: "auto", use: "memory for all messages above 64 KiB together, as a `size`; auto: a quarter of GOMEMLIMIT or of the control group's limit, else 64MiB", set: auto(func(c *Config) { c.Limits.Memory = 0 }, size(func(c *Config) *int64 { return &c.Limits.Memory }))},
		{key: "limits.connections", def: "auto", use: "`number` of connections of clients; auto: three quarters of the files that may be open, less some that are kept", set: auto(func(c *Config) { c.Limits.Connections = 0 }, number(func(c *Config) *int { return &c.Limits.Connections }, 1, 1<<20))},
		{key: "limits.connectionsPerAddress", def: "auto", use: "`number` of them from one address, http.trustedProxies aside; auto: half of them", set: auto(func(c *Config) { c.Limits.ConnectionsPerAddress = 0 }, number(func(c *Config) *int { return &c.Limits.ConnectionsPerAddress }, 1, 1<<20))},

		{key: "upstream.allow", def: []any{}, use: "`networks` where backends may be; default: everywhere but what is denied", set: prefixes(func(c *Config) *prefixList { return &c.Upstream.Allow })},
		{key: "upstream.deny", def: []any{}, use: "`networks` where backends may not be", set: prefixes(func(c *Config) *prefixList { return &c.Upstream.Deny })},
		{key: "upstream.forwardHeaders", def: []any{"traceparent", "tracestate", "baggage"}, use: "`headers` of clients that backends get", set: list(func(c *Config) *[]string { return &c.Upstream.ForwardHeaders }, registry.CheckForwardHeader)},
		{key: "upstream.tlsDir", def: "", use: "`directory` below which services may name TLS files; default: none may be named", source: true, set: directory(func(c *Config) *string { return &c.Upstream.TLSDir })},

		{key: "credentials.groups", def: []any{registry.GroupCredentials}, use: "`groups` whose documents hold backend credentials", set: list(func(c *Config) *[]string { return &c.Credentials.Groups }, credentialGroup)},
		{key: "credentials.env", def: []any{}, use: "environment `variables` that services may use as credentials", set: list(func(c *Config) *[]string { return &c.Credentials.Env }, credentialEnv)},
		{key: "credentials.files", def: []any{}, use: "`files` that services may use as credentials", set: list(func(c *Config) *[]string { return &c.Credentials.Files }, nil)},

		{key: "http.allowedHosts", def: []any{}, use: "`names` under which clients may address the proxy; default: any, but on a loopback listener only local ones", set: list(func(c *Config) *[]string { return &c.HTTP.AllowedHosts }, nil)},
		{key: "http.allowedOrigins", def: []any{}, use: "`origins` of web pages that may call", set: list(func(c *Config) *[]string { return &c.HTTP.AllowedOrigins }, origin)},
		{key: "http.trustedProxies", def: []any{}, use: "`networks` of proxies whose X-Forwarded-For is believed", set: prefixes(func(c *Config) *prefixList { return &c.HTTP.TrustedProxies })},

		{key: "register.enabled", def: false, use: "register the proxy itself in the naming service", set: boolean(func(c *Config) *bool { return &c.Register.Enabled })},
		{key: "register.group", def: "DEFAULT_GROUP", use: "`group` to register in", set: needed(func(c *Config) *string { return &c.Register.Group })},
		{key: "register.service", def: "nacos-mcp-proxy", use: "`service` to register as", set: needed(func(c *Config) *string { return &c.Register.Service })},

		{key: "tls.cert", def: "", use: "PEM `file` with the certificate for clients", set: text(func(c *Config) *string { return &c.TLS.Cert })},
		{key: "tls.key", def: "", use: "PEM `file` with its key", set: text(func(c *Config) *string { return &c.TLS.Key })},
		{key: "tls.clientCA", def: "", use: "PEM `file` with the authority of clients' certificates, which are then required", set: text(func(c *Config) *string { return &c.TLS.ClientCA })},

		{key: "log.level", def: "info", use: "debug, info, warn or error", source: true, set: level},
		{key: "log.format", def: "text", use: "text or json", source: true, set: choice(func(c *Config) *string { return &c.Log.Format }, "text", "json")},
		{key: "log.audit", def: "stderr", use: "where decisions are logged: stderr, off or a `file`", set: needed(func(c *Config) *string { return &c.Log.Audit })},
		{key: "log.auditAllowed", def: false, use: "log allowed calls there too, not denials only", set: boolean(func(c *Config) *bool { return &c.Log.AuditAllowed })},
		{key: "log.auditRequired", def: false, use: "refuse calls while the audit log cannot be written", set: boolean(func(c *Config) *bool { return &c.Log.AuditRequired })},
		{key: "log.auditArguments", def: false, use: "log the arguments of calls there, whatever they may hold", set: boolean(func(c *Config) *bool { return &c.Log.AuditArguments })},

		{key: "process.coreDumps", def: false, use: "let the system write core dumps, which hold the credentials of all backends", set: boolean(func(c *Config) *bool { return &c.Process.CoreDumps })},
	}
}

// SourceFlags adds --config and the flags that every command needs to reach documents.
func SourceFlags(fs *pflag.FlagSet) { addFlags(fs, true) }

// ServeFlags adds the rest of the flags.
func ServeFlags(fs *pflag.FlagSet) { addFlags(fs, false) }

func addFlags(fs *pflag.FlagSet, source bool) {
	if source {
		fs.String("config", "", "boot configuration `file` (environment: "+envPrefix+"CONFIG)")
	}
	for _, s := range settings() {
		if s.secret || s.source != source {
			continue
		}
		if def, ok := s.def.(bool); ok {
			fs.Bool(s.flag(), def, s.use)
			continue
		}
		fs.String(s.flag(), shown(s.def), s.use)
	}
}

// shown is a default as a flag has it.
func shown(v any) string {
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, shown(e))
		}
		return strings.Join(parts, ",")
	case map[string]any:
		for k, e := range v {
			return k + ":" + shown(e)
		}
		return ""
	}
	return fmt.Sprint(v)
}

func credentialGroup(group string) error {
	if group == registry.GroupConsumers || group == registry.GroupGrants {
		return fmt.Errorf("%q cannot hold credentials: whoever publishes a service could read everybody's", group)
	}
	return nil
}

func credentialEnv(name string) error {
	if strings.HasPrefix(strings.ToUpper(name), envPrefix) {
		return fmt.Errorf("%q cannot be a credential: it belongs to the boot configuration", name)
	}
	return nil
}

func origin(o string) error {
	if o == "*" || o == "null" {
		return nil
	}
	if scheme, host, ok := strings.Cut(o, "://"); !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@") {
		return fmt.Errorf("%q is no origin (e.g. https://app.example.com, without a path)", o)
	}
	return nil
}

// sources reads access.sources: "bearer", "header:NAME" or {header: NAME}, "query:NAME" or {query: NAME}.
func sources(c *Config, v any) error {
	values, err := values(v)
	if err != nil {
		return err
	}
	c.Access.Sources = nil
	for _, v := range values {
		s := fmt.Sprint(v)
		if m, ok := v.(map[string]any); ok {
			if len(m) != 1 {
				return fmt.Errorf("an entry has %d fields; write bearer, {header: NAME} or {query: NAME}", len(m))
			}
			s = shown(m)
		}
		kind, name, _ := strings.Cut(s, ":")
		name = strings.TrimSpace(name)
		source := registry.KeySource{}
		switch kind {
		case "bearer":
			if name != "" {
				return fmt.Errorf("bearer takes no name")
			}
			source.Bearer = true
		case "header":
			if err := registry.CheckKeyHeader(name); err != nil {
				return err
			}
			source.Header = http.CanonicalHeaderKey(name)
		case "query":
			if err := registry.CheckKeyQuery(name); err != nil {
				return err
			}
			source.Query = name
		default:
			return fmt.Errorf("%q is none of bearer, header:NAME and query:NAME", s)
		}
		c.Access.Sources = append(c.Access.Sources, source)
	}
	if len(c.Access.Sources) == 0 {
		return fmt.Errorf("is empty, so that nobody could present a key")
	}
	return nil
}

func auth(c *Config, v any) error {
	switch v {
	case "required":
		c.Access.Default = registry.AuthRequired
	case "disabled":
		c.Access.Default = registry.AuthDisabled
	default:
		return fmt.Errorf("%q is neither required nor disabled", fmt.Sprint(v))
	}
	return nil
}
