// Package openapi turns API descriptions (OpenAPI 3.0 and 3.1, Swagger 2; YAML or JSON) into service
// documents: one tool per operation, written so that a person would be glad to go on editing. It must never
// read a file or dial by itself, and never drop in silence what it cannot convert.
//
// The description is read as a tree, not into the types of an OpenAPI library: order of properties and spelling
// of numbers are kept, a fault costs one operation instead of the whole, and every step has a bound.
package openapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// Bounds. A description may come from anywhere; none of them is met by those that large companies publish.
const (
	maxBytes     = 64 << 20             // of all documents of a description
	maxDocuments = 5000                 // that references lead to
	maxDocument  = registry.MaxDocument // of what comes of it
	maxDepth     = 500                  // of nesting in a document
	maxChain     = 50                   // references in a row
	maxTools     = 10000                // in a service
	maxWork      = 20_000_000           // keywords of schemas looked at

	maxLevels = 8 // to which the properties of a schema nest before they are cut

	maxName            = 64 // characters of a tool's name: what every client takes
	maxTitle           = 100
	maxDescription     = 2000
	maxArgDescription  = 600
	maxStubDescription = 120
)

// errTooLarge ends an attempt that is going to be too large.
var errTooLarge = errors.New("too large")

// nodeSize is what a node of a schema takes in a document, at the very least.
const nodeSize = 6

var errTooMuch = errors.New("the description's schemas are too large or too intertwined")

// Options say what to make of a description.
type Options struct {
	// Name of the service: it names the document and the credentials. Needed.
	Name string
	// UpstreamURL replaces the description's servers, their path included. Empty: the first server that is
	// named absolutely, or relative to Source.
	UpstreamURL string
	// Include selects operations; empty selects all. A pattern, in which * stands for anything, is held against
	// the tool's name, the operationId, the path, "METHOD /path" and "tag:" with each tag.
	Include []string
	// Source is where the description came from, a URL or a path: references to other documents are relative
	// to it. Load reads those; nil loads none.
	Source string
	Load   Loader
	// NoOutputSchemas leaves out what the results look like. Clients hold results against it, which hurts
	// where a description is not exact.
	NoOutputSchemas bool
}

// Result is what came of a description.
type Result struct {
	Document    []byte       // proxy-services document, YAML
	Title       string       // of the description
	Version     string       // of the description
	Found       int          // operations that Include selected
	Tools       []string     // names of those that were converted, in order
	Skipped     []Finding    // operations that could not be converted
	Notes       []Finding    // what was converted with a loss, or wants attention
	Credentials []Credential // what the backend wants, to be put into a proxy-credentials document
}

// Finding is something to tell about an operation.
type Finding struct {
	Operation string // "GET /pets/{id}"; empty where it is about the whole
	Text      string
}

func (f Finding) String() string {
	if f.Operation == "" {
		return f.Text
	}
	return f.Operation + ": " + f.Text
}

// Credential is a secret that the tools refer to as ${credential:<service>/<Name>}.
type Credential struct {
	Name        string
	Description string // what it is: "API key, sent in the header X-API-Key"
}

// Import converts an API description into a service document. It fails only where nothing could come of it:
// src is no description, no operation is selected, there is no URL to send calls to, or the document would be
// larger than a registry takes. Remote references are loaded under ctx.
func Import(ctx context.Context, src []byte, o Options) (*Result, error) {
	im, err := shrink(ctx, src, o, func(im *importer) (int, error) {
		doc, err := im.document()
		im.result.Document = doc
		return len(doc), err
	})
	if err != nil {
		return nil, err
	}
	return &im.result, nil
}

// detail is how much of a description's schemas is taken over.
type detail struct {
	nodes   [2]int // at most in a schema, by direction
	outputs bool
	note    string
}

// details are tried in turn until the outcome is small enough. A model should not have to read more than the
// first, and Nacos takes a document of 1 MiB.
var details = []detail{
	{nodes: [2]int{request: 1500, response: 400}, outputs: true},
	{nodes: [2]int{request: 1500}, note: "output schemas are left out"},
	{nodes: [2]int{request: 250}, note: "output schemas are left out and large input schemas cut"},
	{nodes: [2]int{request: 50}, note: "output schemas are left out and input schemas cut to their first levels"},
}

// shrink imports with less and less detail, until what render makes of it is small enough.
func shrink(ctx context.Context, src []byte, o Options, render func(*importer) (int, error)) (*importer, error) {
	sources, err := open(ctx, src, o)
	if err != nil {
		return nil, fmt.Errorf("import description: %w", err)
	}
	size := 0
	for i, d := range details {
		im, err := collect(sources, o, d)
		if errors.Is(err, errTooLarge) {
			size = im.made * nodeSize
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("import description: %w", err)
		}
		if i > 0 {
			im.note("", d.note+", to stay below the 1 MiB that Nacos takes: include fewer operations to have more of each")
		}
		if size, err = render(im); err != nil {
			return nil, fmt.Errorf("import description: %w", err)
		}
		if size <= maxDocument {
			return im, nil
		}
	}
	return nil, fmt.Errorf("import description: %.1f MiB would come of it, and 1 MiB is what Nacos takes: include fewer operations", float64(size)/(1<<20))
}

// importer is the state of one import.
type importer struct {
	ctx     context.Context
	options Options
	detail  detail
	sources *sources
	root    place
	swagger bool // Swagger 2
	levels  map[sized]int
	work    int // keywords that may still be looked at
	made    int // nodes of schemas

	upstream string
	tools    []*tool
	names    map[string]bool // of tools
	matched  map[string]bool // patterns of Include that selected something
	schemes  []*scheme       // used ones
	result   Result
}

// open reads the description itself.
func open(ctx context.Context, src []byte, o Options) (*sources, error) {
	if o.Name == "" {
		return nil, errors.New("a name for the service is needed")
	}
	if len(src) > maxBytes {
		return nil, fmt.Errorf("it is larger than %d MiB", maxBytes>>20)
	}
	root, err := parse(src)
	if err != nil {
		return nil, fmt.Errorf("it %w", err)
	}
	s := &sources{ctx: ctx, load: o.Load, main: &document{base: o.Source, root: root}, docs: map[string]*document{}, errs: map[string]error{},
		bytes: len(src), cleaned: map[*node]string{}}
	if o.Source != "" {
		s.docs[o.Source] = s.main
	}
	return s, nil
}

func collect(s *sources, o Options, d detail) (*importer, error) {
	im := &importer{
		ctx: s.ctx, options: o, detail: d, sources: s, root: place{s.main.root, s.main}, work: maxWork,
		levels: map[sized]int{}, names: map[string]bool{}, matched: map[string]bool{},
	}
	if err := im.checkVersion(); err != nil {
		return nil, err
	}
	var err error
	if im.upstream, err = im.findUpstream(); err != nil {
		return nil, err
	}
	info := im.root.at("info")
	im.result.Title, im.result.Version = clean(info.get("title").str(), maxTitle), info.get("version").scalar()
	if err := im.operations(); err != nil {
		return im, err
	}
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	for _, pattern := range o.Include {
		if !im.matched[pattern] {
			return nil, fmt.Errorf("include %q selects no operation", pattern)
		}
	}
	if len(im.tools) == 0 {
		reason := "it has no operations"
		if len(im.result.Skipped) > 0 {
			reason = "none of its operations can be converted, the first because: " + im.result.Skipped[0].String()
		}
		return nil, errors.New(reason)
	}
	im.result.Credentials = im.credentials()
	return im, nil
}

// checkVersion tells the formats apart, and other documents from them.
func (im *importer) checkVersion() error {
	if im.root.kind != object {
		return fmt.Errorf("it must be an object, not %s", im.root.kind)
	}
	if v := im.root.get("swagger").scalar(); v != "" {
		if v != "2.0" && v != "2" {
			return fmt.Errorf("version %s of Swagger is not supported: convert it to OpenAPI 3 first", v)
		}
		im.swagger = true
		return nil
	}
	v := im.root.get("openapi").scalar()
	switch {
	case v == "":
		return errors.New(`it is no API description: neither "openapi" nor "swagger" is in it`)
	case !strings.HasPrefix(v, "3."):
		return fmt.Errorf("version %s of OpenAPI is not supported: 3.0 and 3.1 are", v)
	case !strings.HasPrefix(v, "3.0") && !strings.HasPrefix(v, "3.1"):
		im.note("", fmt.Sprintf("OpenAPI %s is read as 3.1", v))
	}
	return nil
}

func (im *importer) note(operation, text string) {
	im.result.Notes = append(im.result.Notes, Finding{operation, text})
}

// findUpstream gives the base URL of calls.
func (im *importer) findUpstream() (string, error) {
	if im.options.UpstreamURL != "" {
		u, err := url.Parse(im.options.UpstreamURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", errors.New("the upstream must be a URL that begins with http:// or https://")
		}
		return strings.TrimRight(im.options.UpstreamURL, "/"), nil
	}
	var candidates []string
	if im.swagger {
		candidates = im.swaggerServers()
	} else {
		for _, server := range im.root.at("servers").each() {
			candidates = append(candidates, im.serverURL(server))
		}
	}
	if len(candidates) == 0 {
		candidates = []string{"/"} // the default of OpenAPI 3
	}
	for _, c := range candidates {
		if absolute := im.absolute(c); absolute != "" {
			return absolute, nil
		}
	}
	return "", fmt.Errorf("it does not say where the API is (%s): give the upstream's URL", candidates[0])
}

// absolute resolves a server's URL against where the description came from; "" if that leads to no host.
func (im *importer) absolute(server string) string {
	u, err := url.Parse(server)
	if err != nil || registry.NoScheme(server) != "" {
		return ""
	}
	if base, err := url.Parse(im.options.Source); err == nil && base.Host != "" {
		u = base.ResolveReference(u)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	u.RawQuery, u.Fragment = "", ""
	return strings.TrimRight(u.String(), "/")
}

// serverURL fills in the defaults of a Server Object's variables.
func (im *importer) serverURL(server place) string {
	s := server.get("url").str()
	variables := server.at("variables")
	for name, v := range variables.fields() {
		value := v.get("default").scalar()
		if !strings.Contains(s, "{"+name+"}") {
			continue
		}
		s = strings.ReplaceAll(s, "{"+name+"}", value)
		text := fmt.Sprintf("server variable %s is %q", clean(name, maxTitle), clean(value, maxTitle))
		if options := v.at("enum").each(); len(options) > 1 {
			var names []string
			for _, o := range options[:min(len(options), 10)] {
				if o.scalar() != value {
					names = append(names, clean(o.scalar(), maxTitle))
				}
			}
			text += " (others: " + strings.Join(names, ", ") + ")"
		}
		if im.upstream == "" {
			im.note("", text+"; edit upstream.url for another")
		}
	}
	return s
}

func (im *importer) swaggerServers() []string {
	host, path := im.root.get("host").str(), im.root.get("basePath").str()
	if host == "" {
		if path == "" {
			return nil
		}
		return []string{path}
	}
	scheme := ""
	for _, s := range im.root.at("schemes").each() {
		if v := s.str(); v == "https" || v == "http" && scheme == "" {
			scheme = v
		}
	}
	if scheme == "" {
		scheme = "https"
		if base, err := url.Parse(im.options.Source); err == nil && base.Scheme == "http" {
			scheme = "http"
		}
	}
	return []string{scheme + "://" + host + "/" + strings.TrimPrefix(path, "/")}
}
