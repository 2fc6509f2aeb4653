package convert

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Options are what compiling and calling need from outside.
type Options struct {
	// Secrets resolves credential references, at each call anew. With nil, references are not resolved: good enough to
	// validate a document away from its registry, not to call its tools.
	Secrets Secrets
	// ForwardHeaders are the client's headers that go to every backend (the boot configuration's list); the service's
	// own come on top.
	ForwardHeaders []string
	// Budget bounds each template's execution; the zero value means the template package's defaults.
	Budget template.Budget
}

// Service is a converted service ready for calls. It is immutable and safe for concurrent use.
type Service struct {
	Tools map[string]*Tool
	Order []*Tool // as tools/list shows them
	// References are the credential references that the service's tools use, as written, sorted. A tool whose
	// reference did not resolve was rejected: compile again when what it names appears.
	References []string
}

// Tool is one tool of a converted service.
type Tool struct {
	Name  string
	Entry []byte // what tools/list shows: one JSON object on one line

	service string
	args    []arg
	index   map[string]int
	nested  int  // how deep the deepest default is in the arguments
	open    bool // arguments that are not declared are allowed, and go where argsTo* says
	input   *lateSchema
	quick   *quickCheck // nil where only input can tell
	params  []paramHeader

	method   string // empty: the tool answers without a backend
	url      urlPlan
	headers  []headerPlan
	rest     position // where argsTo* sends what has no position
	inQuery  bool     // some argument goes into the query
	forward  []string
	body     bodyPlan
	security []securityPlan
	response responsePlan

	data       *configuration
	secrets    Secrets
	budget     template.Budget
	lastMasker *atomic.Pointer[masker] // nil where the tool has no credentials
}

type headerPlan struct {
	name  string // canonical
	value *text
}

// toolCompiler compiles one tool and collects what is wrong with it.
type toolCompiler struct {
	service  *registry.Definition
	def      *registry.Tool
	options  *Options
	tool     *Tool
	input    *schema
	found    []registry.Rejection
	rejected bool
	secret   bool            // the tool has credential references
	refs     map[string]bool // of the whole service
	spent    *schemaSize     // by the schemas of the whole service
}

// Compile makes a service's tools ready for calls. A tool with a fault is left out and reported, the others are not
// touched by it. Rejections name tool, field and line; the document's group and data id are the caller's to fill in.
func Compile(def *registry.Definition, o Options) (*Service, []registry.Rejection) {
	s := &Service{Tools: make(map[string]*Tool, len(def.Tools))}
	var found []registry.Rejection
	refs := map[string]bool{}
	var spent schemaSize
	config, err := newConfiguration(def.Config)
	if err != nil {
		return s, []registry.Rejection{{Field: "server.config", Message: err.Error()}}
	}
	forward := forwarded(o.ForwardHeaders, def.Backend.ForwardHeaders)
	for i := range def.Tools {
		c := &toolCompiler{service: def, def: &def.Tools[i], options: &o, refs: refs, spent: &spent}
		c.compile(config, forward)
		found = append(found, c.found...)
		if c.rejected {
			continue
		}
		if s.Tools[c.tool.Name] != nil {
			found = append(found, registry.Rejection{Tool: c.tool.Name, Field: "name", Line: c.def.Line, Message: "another tool has this name already"})
			continue
		}
		s.Tools[c.tool.Name] = c.tool
		s.Order = append(s.Order, c.tool)
	}
	for ref := range refs {
		s.References = append(s.References, ref)
	}
	slices.Sort(s.References)
	return s, found
}

// maxMessage bounds a message about a document in bytes: it may quote what the author wrote.
const maxMessage = 2 << 10

func (c *toolCompiler) add(field string, line int, warning bool, format string, args ...any) {
	if line == 0 {
		line = c.def.Line
	}
	c.found = append(c.found, registry.Rejection{Tool: c.def.Name, Field: field, Line: line, Message: shortened(fmt.Sprintf(format, args...), maxMessage), Warning: warning})
	c.rejected = c.rejected || !warning
}

func (c *toolCompiler) reject(field string, line int, format string, args ...any) {
	c.add(field, line, false, format, args...)
}

func (c *toolCompiler) warn(field string, line int, format string, args ...any) {
	c.add(field, line, true, format, args...)
}

func (c *toolCompiler) compile(config *configuration, forward []string) {
	c.tool = &Tool{
		Name: c.def.Name, service: c.service.Name, input: new(lateSchema),
		data: config, secrets: c.options.Secrets, budget: c.options.Budget,
	}
	c.schemas()
	c.paramHeaders()
	c.declare()
	c.request()
	c.securities()
	c.responses()
	c.entry()
	c.tool.forward = forward
	if c.secret || len(c.tool.security) > 0 {
		c.tool.lastMasker = new(atomic.Pointer[masker])
	}
}

// schemas compiles what arguments must be, and checks that the output schema is one.
func (c *toolCompiler) schemas() {
	input, warnings, err := compileSchemaWithin(c.def.InputSchema, c.spent)
	if err != nil {
		c.reject("inputSchema", 0, "%v", err)
		return
	}
	for _, w := range warnings {
		c.warn("inputSchema", 0, "%s", w)
	}
	if types := input.root.Types; types != nil && !slices.Contains(types.ToStrings(), "object") {
		c.reject("inputSchema", 0, "must have the type object, not %s", strings.Join(types.ToStrings(), " or "))
		return
	}
	root := input.root
	c.input = input
	c.tool.open = (root.AdditionalProperties != nil && root.AdditionalProperties != false) || len(root.PatternProperties) > 0 ||
		root.Ref != nil || len(root.AllOf)+len(root.AnyOf)+len(root.OneOf) > 0
}

// forwarded gives the headers of clients that go to the backend.
func forwarded(everywhere, here []string) (names []string) {
	for _, name := range slices.Concat(everywhere, here) {
		name = http.CanonicalHeaderKey(name)
		if !slices.Contains(names, name) && !ownHeader(name) && name != "Accept-Encoding" {
			names = append(names, name)
		}
	}
	return names
}

// ownHeader tells the headers that belong to one connection or message, and those by which clients speak to us: they
// are never set by a tool nor forwarded (RFC 9110 7.6.1).
func ownHeader(canonical string) bool {
	switch canonical {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "X-Higress-Mcpserver-Config":
		return true
	}
	return strings.HasPrefix(canonical, "Mcp-")
}
