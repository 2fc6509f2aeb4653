package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// survey is everything in the source, as the proxy would see it: the proxy's own catalog reads it, so that what a
// command says is what a replica does.
type survey struct {
	*catalog.Catalog
	documents int
	place     string // the keys of the boot configuration that say where
	grants    []nacos.Change
	wanted    *wanted
}

// groupsOf are the groups that the proxy reads.
func groupsOf(cfg config.Config) []string {
	groups := []string{registry.GroupManifests, registry.GroupSpecs, registry.GroupTools, registry.GroupServices,
		registry.GroupUpstreams, registry.GroupCredentials, registry.GroupConsumers, registry.GroupGrants}
	for _, g := range cfg.Credentials.Groups {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// take reads every document of these groups into a catalog of its own. Close it.
func (p *program) take(ctx context.Context, d *documents, groups []string) (*survey, error) {
	report := p.progress()
	defer report.end()
	var all []nacos.Change
	for _, g := range groups {
		changes, err := d.changes(ctx, g, report.read)
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
	}
	return overlook(ctx, d.config, all, nil, d.past(), report)
}

// past is what the source remembers, nil if it does not.
func (d *documents) past() catalog.Past {
	main, ok := d.main.(nacos.Historian)
	access, also := d.access.(nacos.Historian)
	if !ok || !also {
		return nil
	}
	return pasts{d, main, access}
}

// pasts asks the source that a document is of.
type pasts struct {
	d            *documents
	main, access nacos.Historian
}

func (p pasts) of(key nacos.Key) nacos.Historian {
	if p.d.of(key.Group) == p.d.access {
		return p.access
	}
	return p.main
}

func (p pasts) History(ctx context.Context, key nacos.Key, each func(nacos.Past) bool) (time.Time, error) {
	return p.of(key).History(ctx, key, each)
}

func (p pasts) Created(ctx context.Context, key nacos.Key) (uint64, error) {
	return p.of(key).Created(ctx, key)
}

// changes reads all documents of a group as the catalog takes them in: in the order of their names, so that which of
// two consumers with the same key is the newcomer stays the same.
func (d *documents) changes(ctx context.Context, group string, read func()) ([]nacos.Change, error) {
	docs, err := d.group(ctx, group, read)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(docs, func(a, b nacos.Document) int { return strings.Compare(a.Key.DataID, b.Key.DataID) })
	var all []nacos.Change
	for _, doc := range docs {
		all = append(all, changeOf(doc))
	}
	return all, nil
}

func changeOf(doc nacos.Document) nacos.Change {
	return nacos.Change{Key: doc.Key, Content: doc.Content, MD5: doc.MD5}
}

// overlook has the proxy's own catalog take these documents in. Credentials in groups that could not be read count as
// there. Close it.
func overlook(ctx context.Context, cfg config.Config, all []nacos.Change, unread map[string]bool, past catalog.Past, report *progress) (*survey, error) {
	var grants []nacos.Change
	kept := make([]catalog.Kept, 0, len(all))
	for _, c := range all {
		kept = append(kept, catalog.Kept{Change: c})
		if c.Key.Group == registry.GroupGrants {
			grants = append(grants, c)
		}
	}
	s := &survey{documents: len(all), place: "source and dir.path", grants: grants, wanted: &wanted{}}
	if cfg.Source == config.SourceNacos {
		s.place = "nacos.addresses, nacos.namespace and nacos.accessNamespace"
	}
	var err error
	s.Catalog, err = catalog.New(catalog.Options{
		Services:    1,
		DefaultOpen: cfg.Access.Default == registry.AuthDisabled,
		Convert: func(known convert.Secrets) convert.Options {
			return convert.Options{Secrets: noting{known, s.wanted, unread}, ForwardHeaders: cfg.Upstream.ForwardHeaders}
		},
		ForwardHeaders:   cfg.Upstream.ForwardHeaders,
		KeySources:       cfg.Access.Sources,
		TLSFiles:         upstream.TLSFilesFor(cfg.Upstream.TLSDir),
		CredentialGroups: cfg.Credentials.Groups,
		Env:              cfg.Credentials.Env,
		Files:            cfg.Credentials.Files,
		Past:             past,
		Log:              slog.New(slog.DiscardHandler),
	}, kept)
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx, report); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// settle waits until every definition was validated and what was found is in the index: validation runs beside the
// catalog's writer.
func (s *survey) settle(ctx context.Context, report *progress) error {
	for !s.Validated() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		report.validating(s.Pending())
	}
	return nil
}

// wanted are references to credentials that do not resolve.
type wanted struct {
	mu   sync.Mutex
	list []want
}

type want struct{ service, document, value string }

func (w *wanted) add(service, ref string) {
	document, value, ok := strings.Cut(strings.TrimPrefix(ref, "credential:"), "/")
	if !ok || !strings.HasPrefix(ref, "credential:") {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := (want{service, trimExtension(document), value}); !slices.Contains(w.list, one) {
		w.list = append(w.list, one)
	}
}

func trimExtension(dataID string) string {
	if name, ok := registry.NameOf(dataID); ok {
		return name
	}
	return dataID
}

// noting passes the look-up of credentials on and notes what is wanted and not there.
type noting struct {
	convert.Secrets
	wanted *wanted
	unread map[string]bool // groups that could not be read
}

func (n noting) Lookup(service, ref string) (convert.Secret, error) {
	s, err := n.Secrets.Lookup(service, ref)
	if err == nil {
		return s, nil
	}
	group := registry.GroupCredentials
	if dataID, ok := strings.CutPrefix(ref, "nacos."); ok {
		_, group, _ = strings.Cut(dataID, "/")
	} else if !strings.HasPrefix(ref, "credential:") {
		return s, err
	}
	if n.unread[group] {
		return convert.Secret{Value: secret.New("unread"), Path: true}, nil
	}
	n.wanted.add(service, ref)
	return s, err
}

// finding is one thing that `check` says.
type finding struct {
	Group   string `json:"group"`
	DataID  string `json:"dataId"`
	Line    int    `json:"line,omitempty"`
	Tool    string `json:"tool,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

func (f finding) String() string {
	return registry.Rejection{Group: f.Group, DataID: f.DataID, Tool: f.Tool, Field: f.Field, Line: f.Line, Message: f.Message, Warning: f.Warning}.Error()
}

// findings are all rejections and warnings, in the order of documents and lines.
func (s *survey) findings() []finding {
	found := []finding{}
	for _, doc := range s.DocumentStatuses() {
		said := false
		for _, f := range doc.Faults {
			found = append(found, finding{doc.Group, doc.DataID, f.Line, f.Tool, f.Field, f.Message, f.Warning})
			said = said || f.Message == doc.Error
		}
		if doc.Error != "" && !said { // of documents together: a name that is taken, say
			found = append(found, finding{Group: doc.Group, DataID: doc.DataID, Line: doc.Line, Message: doc.Error})
		}
		if doc.State == catalog.Ignored && doc.Comments != "" && ours(doc.Group) {
			found = append(found, finding{Group: doc.Group, DataID: doc.DataID, Message: doc.Comments, Warning: true})
		}
	}
	found = append(found, s.unknownNames()...)
	slices.SortStableFunc(found, func(a, b finding) int {
		if c := strings.Compare(a.Group+"/"+a.DataID, b.Group+"/"+b.DataID); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return slices.Compact(found)
}

func ours(group string) bool { return strings.HasPrefix(group, "proxy-") }

// unknownNames are consumers and groups in grants that nobody is.
func (s *survey) unknownNames() []finding {
	x := s.Index()
	consumers, groups := map[string]bool{}, map[string]bool{}
	for name, c := range x.Consumers() {
		consumers[name] = true
		for _, g := range c.Groups {
			groups[g] = true
		}
	}
	var found []finding
	for _, doc := range s.grants {
		g, _ := registry.ParseGrants(doc.Key.DataID, doc.Content)
		if g == nil {
			continue
		}
		for _, r := range registry.UnknownNames(doc.Key.DataID, g, consumers, groups) {
			found = append(found, finding{r.Group, r.DataID, r.Line, r.Tool, r.Field, r.Message, r.Warning})
		}
	}
	return found
}

// progress tells people that something goes on, once it takes longer than they like to wait.
type progress struct {
	p     *program
	start time.Time
	mu    sync.Mutex
	count int
	last  time.Time
}

const patience = 2 * time.Second

func (p *program) progress() *progress { return &progress{p: p, start: time.Now()} }

func (r *progress) read() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.say("%d documents read", r.count)
}

func (r *progress) validating(left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if left > 0 {
		r.say("%d documents read, %d services still to validate", r.count, left)
	}
}

func (r *progress) say(format string, args ...any) {
	if now := time.Now(); now.Sub(r.start) > patience && now.Sub(r.last) > time.Second/2 {
		r.last = now
		fmt.Fprintf(r.p.err, "\r"+format+" ...", args...)
	}
}

func (r *progress) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() {
		fmt.Fprintln(r.p.err)
	}
}
