package registry

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// Groups of documents, as they are named in Nacos.
const (
	GroupManifests   = "mcp-server-versions" // Nacos MCP registry: one manifest per server
	GroupSpecs       = "mcp-server"          // Nacos MCP registry: one spec per server version
	GroupTools       = "mcp-tools"           // Nacos MCP registry: the tools of a server version
	GroupServices    = "proxy-services"
	GroupUpstreams   = "proxy-upstreams"
	GroupConsumers   = "proxy-consumers"
	GroupGrants      = "proxy-grants"
	GroupCredentials = "proxy-credentials"
)

// Kind is the way a service got in.
type Kind uint8

// The four ways in.
const (
	ConvertedDocument   Kind = 1 // our own document with HTTP tools
	PassthroughDocument Kind = 2 // our own document with an upstream MCP server
	ConvertedRegistry   Kind = 3 // Nacos MCP registry, protocol http or https
	PassthroughRegistry Kind = 4 // Nacos MCP registry, protocol mcp-streamable or mcp-sse
)

// Converted tells whether tool calls become HTTP requests (else they are passed through to an MCP server).
func (k Kind) Converted() bool { return k == ConvertedDocument || k == ConvertedRegistry }

// Transport is how an MCP backend is spoken to.
type Transport string

// Transports of MCP backends.
const (
	Streamable Transport = "streamable" // Streamable HTTP
	SSE        Transport = "sse"        // HTTP+SSE of revision 2024-11-05
)

// Definition is what a service is, read from its documents. It is immutable once returned.
type Definition struct {
	Name            string
	Kind            Kind
	Version         string // registry services; empty for our own documents
	Title           string `json:",omitzero"` // what a document of ours calls itself, if not Name; for people to read
	Description     string
	Protocol        string // as the registry says it; "http", "mcp-streamable" or "mcp-sse" for our own documents
	Transport       Transport
	Backend         Backend
	Config          map[string]any // server.config: values templates see as .config
	SecuritySchemes []SecurityScheme
	Unusable        map[string]string `json:",omitempty"` // registry services: the schemes that were left out, by id, and what is wrong with them
	Tools           []Tool            // converted services: in document order, enabled ones only
	Hidden          map[string]bool   // tools disabled for everyone (toolsMeta.enabled false)
	AllowTools      map[string]bool   // Higress's allowTools: the only tools that anybody sees and calls; nil means all
	Deprecated      bool
	// Downstream is where callers have a credential of their own for an MCP backend, which is handed on to it; nil: none
	// is. Tools of converted services have it in their Security.
	Downstream *SecurityRef `json:",omitzero"`
}

// Disabled reports whether a tool is off for everyone, whatever grants say.
func (d *Definition) Disabled(tool []byte) bool {
	return d.Hidden[string(tool)] || d.AllowTools != nil && !d.AllowTools[string(tool)]
}

// Backend says where a service's calls go.
type Backend struct {
	URL            string        // absolute base URL; for passthrough the MCP endpoint. Empty if Ref is set or every tool has an absolute URL.
	Ref            *BackendRef   // naming service, instead of URL
	Path           string        // with Ref, passthrough: path (and query) of the MCP endpoint (exportPath)
	Timeout        time.Duration // 0: the boot configuration's callTime
	TLS            *TLS
	ForwardHeaders []string     // client headers forwarded besides the boot configuration's, canonical
	Security       *SecurityRef // proxy-upstreams: credential sent with every request to the backend
}

// BackendRef names a backend in the naming service.
type BackendRef struct {
	Namespace string // empty: the source's own
	Group     string
	Service   string
	Scheme    string // http or https; empty leaves it to each instance's port: see SchemeAt
	Version   string // when set, instances whose metadata _mcp_server_version is set and differs are left out
}

// SchemeAt returns the scheme by which an instance on a port is called. Where the documents name none it is what the port is
// for, as Nacos's console and nacos-mcp-router have it: https on 443, http on any other.
func (r *BackendRef) SchemeAt(port int) string {
	switch {
	case r.Scheme != "":
		return r.Scheme
	case port == 443:
		return "https"
	}
	return "http"
}

// TLS is how a service's backend is dialled over TLS. CA, Cert and Key name files below the boot configuration's
// upstream.tlsDir; whether they do is for others to check.
type TLS struct {
	CA, Cert, Key string
	ServerName    string
	SkipVerify    bool

	CALine, CertLine, KeyLine int `json:",omitzero"` // of the fields in their document; 0 where absent
}

// TLSFile is a file that a document names.
type TLSFile struct {
	Field string // ca, cert or key
	Name  string
	Line  int // of the field in its document; 0 where unknown
}

// Files returns the files that t names; t may be nil.
func (t *TLS) Files() []TLSFile {
	if t == nil {
		return nil
	}
	all := []TLSFile{{"ca", t.CA, t.CALine}, {"cert", t.Cert, t.CertLine}, {"key", t.Key, t.KeyLine}}
	return slices.DeleteFunc(all, func(f TLSFile) bool { return f.Name == "" })
}

// SecurityScheme is a way a credential travels (conversion, "Security").
type SecurityScheme struct {
	ID                string
	Type              string // http | apiKey
	Scheme            string // basic | bearer, for http
	In                string // header | query | cookie, for apiKey
	Name              string // for apiKey
	DefaultCredential string // template over config
	Line              int
}

// SecurityRef points at a scheme by id.
type SecurityRef struct {
	ID          string
	Credential  string // template over config; empty: the scheme's default
	Passthrough bool   // on a tool: the caller's own credential is handed on
}

// Tool is one HTTP tool of a converted service.
type Tool struct {
	Name          string
	Title         string
	Description   string
	Annotations   json.RawMessage
	Meta          json.RawMessage // _meta
	Icons         json.RawMessage `json:",omitempty"` // as tools/list shows them
	Args          []Arg           // what positions and defaults are read from; derived from InputSchema and argsPosition for registry tools
	InputSchema   json.RawMessage // always set: given, or made from Args, property order as written
	OutputSchema  json.RawMessage
	Security      *SecurityRef // client to gateway (passthrough)
	Request       RequestTemplate
	Response      ResponseTemplate
	ErrorResponse string
	Line          int // where the tool begins in its document; 0 where the document is JSON on one line
}

// Positions of arguments; the empty one leaves the choice to argsTo*.
const (
	InPath   = "path"
	InQuery  = "query"
	InHeader = "header"
	InCookie = "cookie"
	InBody   = "body"
)

// Arg is one argument of a tool.
type Arg struct {
	Name         string
	Description  string
	Type         string
	Required     bool
	Default      json.RawMessage
	Position     string
	MultiSegment bool // path arguments whose "/" stay
	Explode      bool // arrays in a query: name=a&name=b instead of JSON text
	Line         int
}

// KeyValue is a header template.
type KeyValue struct{ Key, Value string }

// RequestTemplate makes the HTTP request. The strings are templates over {config, args}.
type RequestTemplate struct {
	URL            string
	Method         string
	Headers        []KeyValue
	Body           string
	ArgsToJSONBody bool
	ArgsToURLParam bool
	ArgsToFormBody bool
	Security       *SecurityRef
	// Lines of the fields in the document, for messages; 0 where unknown.
	URLLine, BodyLine int
}

// ResponseTemplate shapes the backend's answer.
type ResponseTemplate struct {
	Body        string
	PrependBody string
	AppendBody  string
	BodyLine    int
}

// Upstream is a proxy-upstreams document: what is added to any service's backend.
type Upstream struct {
	Service         string
	SecuritySchemes []SecurityScheme
	Security        *SecurityRef
	Timeout         time.Duration
	TLS             *TLS
	ForwardHeaders  []string

	securityLine int // 0 where unknown
}

// Consumer is who presents a key.
type Consumer struct {
	Name        string
	Enabled     bool
	Description string
	Groups      []string
	Keys        []Key
	Sources     []KeySource // empty: the boot configuration's
	Limits      *Limits
}

// Key is one API key of a consumer; of the key itself only the digest is kept.
type Key struct {
	ID       string
	Digest   [32]byte  // SHA-256
	NotAfter time.Time // zero: never expires
	Disabled bool
	Plain    bool // the document held the key itself: flagged in /status
	Line     int
}

// KeySource is a place in a request where a key may stand.
type KeySource struct {
	Bearer bool
	Header string // canonical
	Query  string
}

// Grants is a proxy-grants document.
type Grants struct {
	Service   string
	Auth      Auth
	Consumers []Grant      // service level
	Tools     []ToolGrants // tool level, in document order
	Versions  []string
	// RegistryID is the id of the entry of the Nacos registry that alone may carry the service's name; empty: any.
	RegistryID string
	Limits     *GrantLimits
}

// Auth is the status switch of a service.
type Auth uint8

// Switch positions. AuthDefault stands where the document does not say: the boot configuration's access.default.
const (
	AuthDefault Auth = iota
	AuthRequired
	AuthDisabled
)

// Grant names a consumer or a group, perhaps for a limited time.
type Grant struct {
	Consumer string // or
	Group    string
	NotAfter time.Time // zero: no end
	Line     int
}

// ToolGrants are the grants on the tools whose name matches Pattern ("*" matches anything).
type ToolGrants struct {
	Pattern string
	Grants  []Grant
	Line    int
}

// Limits bound what one consumer may do in one replica. Zero fields do not limit.
type Limits struct {
	RPS        float64
	Burst      int
	Concurrent int
}

// GrantLimits are limits of a service: over all tools per consumer, and per tool.
type GrantLimits struct {
	Limits                   // per consumer on this service
	Tools  map[string]Limits // per consumer and tool pattern
	Line   int
}

// Credentials is a proxy-credentials document: secrets that only these services may use, towards these hosts only.
type Credentials struct {
	Name     string
	Services []string
	Hosts    []string
	Path     bool                   // they may stand in the path of a URL
	Values   map[string]secret.Text // never logged, printed or forwarded elsewhere
}
