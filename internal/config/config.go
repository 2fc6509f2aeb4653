// Package config reads the boot configuration: flags beat NMP_* environment variables, which beat the file, which beats
// the defaults. It must report every fault at once, and never print, or let anybody print, a secret.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// Config is the boot configuration. Load returns it complete and checked; nobody changes it afterwards.
type Config struct {
	Listen      string // host:port where clients come
	Admin       Admin
	Source      string // SourceDir or SourceNacos
	Dir         Dir
	Nacos       Nacos
	State       State
	Cache       Cache
	Access      Access
	Session     Session
	Limits      Limits
	Upstream    Upstream
	Credentials Credentials
	HTTP        HTTP
	Register    Register
	TLS         ServerTLS
	Log         Log
	Process     Process

	// Warnings are worth a line in the log and nothing more, such as an NMP_* variable that nobody reads.
	Warnings []string
}

// The two sources.
const (
	SourceDir   = "dir"
	SourceNacos = "nacos"
)

// Admin is the listener for health, metrics and status.
type Admin struct {
	Listen       string
	Token        Secret   // needed on any other address than loopback
	AllowedHosts []string // values of Host; empty: any, but on a loopback listener only loopback names
	Pprof        bool     // serve /debug/pprof/
}

// Dir is the directory source.
type Dir struct{ Path string }

// Nacos is the Nacos source.
type Nacos struct {
	Addresses         []string // host:port of the servers' HTTP side; gRPC is 1000 above
	ConsolePort       int      // of the servers' console, which is no backend; 0: it has no port of its own
	Namespace         string
	AccessNamespace   string   // of consumers and grants; never empty, Namespace by default
	BackendNamespaces []string // other namespaces whose naming services may be backends
	Username          string
	Password          Secret
	AccessKey         string
	SecretKey         Secret
	TLS               ClientTLS
	ListInterval      time.Duration
}

// ClientTLS is how servers are dialled. Paths are of PEM files.
type ClientTLS struct {
	Enabled       bool
	CA, Cert, Key string
}

// StateOff as State.Path means that nothing is kept on disk.
const StateOff = "off"

// State is the last-known-good store.
type State struct{ Path string } // a directory; empty for the user's state directory, or StateOff

// Cache bounds what is kept compiled.
type Cache struct{ Services int }

// Access says what holds where documents say nothing.
type Access struct {
	Default      registry.Auth        // of a service without grants document: AuthRequired or AuthDisabled
	Sources      []registry.KeySource // where keys may stand in a request
	MaxStale     time.Duration        // after so long without the source calls are refused; 0: never
	RevealDenied bool                 // tell callers that a tool exists which they may not call
}

// Session is about session ids.
type Session struct{ Secrets []Secret } // the first seals, all open; none: made at start

// Limits bound what one request may take. See design.md for what callTime and streamIdle measure.
type Limits struct {
	RequestBody  int64 // bytes
	ResponseBody int64 // bytes
	HeaderTime   time.Duration
	BodyTime     time.Duration
	CallTime     time.Duration // to the first byte of an answer
	StreamIdle   time.Duration // silence on a stream
	Sessions     int           // that hold a connection: with HTTP+SSE backends, and of HTTP+SSE clients, each
	SessionIdle  time.Duration // how long one with an HTTP+SSE backend may be unused
	Drain        time.Duration
	WriteTime    time.Duration // a client may leave what was sent to it unread, streams aside
	// Bounds of the whole process; 0: derived from what the process may have.
	Memory                int64 // bytes that messages above 64 KiB may hold
	Connections           int   // of clients
	ConnectionsPerAddress int   // of clients with one address; that of trusted proxies is not bound
}

// Upstream is about dialling backends.
type Upstream struct {
	Allow          []netip.Prefix // nothing given: everything but what is denied
	Deny           []netip.Prefix
	ForwardHeaders []string // of client requests, canonical or as written
	TLSDir         string   // absolute; documents may name TLS files below it. Empty: none.
}

// Credentials says where templates may read backend credentials from.
type Credentials struct {
	Groups []string
	Env    []string // names of environment variables
	Files  []string // paths
}

// HTTP is about who may ask, and how clients are seen through proxies.
type HTTP struct {
	AllowedHosts   []string
	AllowedOrigins []string
	TrustedProxies []netip.Prefix
}

// Register makes the proxy known in the naming service.
type Register struct {
	Enabled        bool
	Group, Service string
}

// ServerTLS is the client listener's. Paths are of PEM files; without Cert it speaks plain HTTP.
type ServerTLS struct{ Cert, Key, ClientCA string }

// Log is about log and audit log.
type Log struct {
	Level  slog.Level
	Format string // text or json
	Audit  string // stderr, off, or a file
	// AuditAllowed has allowed calls in the audit log too, not denials only.
	AuditAllowed bool
	// AuditRequired refuses calls while the audit log cannot be written.
	AuditRequired bool
	// AuditArguments has the arguments of calls in it, whatever they may hold.
	AuditArguments bool
}

// Process is about the process itself.
type Process struct {
	// CoreDumps lets the system write the process's memory, credentials and all, to core files when it crashes, and other
	// processes of the same user attach to it.
	CoreDumps bool
}

// Secret is a setting that nobody may print.
type Secret = secret.Text
