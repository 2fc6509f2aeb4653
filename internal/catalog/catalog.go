package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Backends opens the way to a service's backend.
type Backends interface {
	Open(service string, b registry.Backend) (*upstream.Backend, error)
}

// Options of a Catalog.
type Options struct {
	Services    int      // how many compiled services are kept
	DefaultOpen bool     // what a service without grants document is
	Backends    Backends // nil: none, for those who look at services but do not call them
	Convert     func(secrets convert.Secrets) convert.Options
	// ForwardHeaders of clients go to every MCP backend; those that a service adds come on top.
	ForwardHeaders []string
	// KeySources are where clients present keys (boot setting access.sources).
	KeySources []registry.KeySource
	// CredentialGroups are the groups whose documents templates may refer to.
	CredentialGroups []string
	// TLSFiles are the files that documents may name. It holds for Backends too.
	TLSFiles upstream.TLSFiles
	// Secrets given by boot configuration, besides those in documents.
	Env, Files []string
	// OnKeep hands over what is to be kept for the next start, all of it at once or nothing. It must not block.
	OnKeep func(Keep)
	// Past is what the source remembers; nil: nothing. Ask for it only once the source is there.
	Past Past
	// Holders are the entries of the registry that have names which several carry, by name, as they were kept.
	Holders map[string]string
	// Unsure says that documents may have been kept of which not even the name is known. Until the source has been read, no
	// service counts as one without a grants document.
	Unsure bool
	// Retired are digests of keys that nobody held any more in an earlier run; see Index.Known.
	Retired [][32]byte
	// OnWants hands over which documents are to be watched besides the groups from now on, and which no more.
	OnWants func(more, less []nacos.Key)
	// OnSwap runs after every published Index, on the writer's goroutine.
	OnSwap func(Delta)
	Log    *slog.Logger

	logged map[nacos.Key]logged
	lines  chan line // for the log
	lost   *atomic.Int64
	// Patience, if not zero, replaces the time after which a compilation counts as stuck: for tests.
	Patience time.Duration
}

func (o *Options) patience() time.Duration { return cmp.Or(o.Patience, patience) }

// logged is how much of what is wrong with a document was logged, so that each fault of a version is one line.
type logged struct {
	md5    string
	faults int
}

// Delta names what differs between two Indexes.
type Delta struct {
	Index     *Index
	Services  map[string]bool
	Consumers map[string]bool
}

// Catalog follows documents. Make one with New, feed it with Apply and Synced, end it with Close.
type Catalog struct {
	options  Options
	current  atomic.Pointer[Index]
	compiled *lru.Cache[*Variant, *Compiled]
	secrets  *secrets
	writer   *writer

	lane        *lane         // reads what would keep the writer
	readAside   chan struct{} // it has read something
	compiler    *aside        // for calls and upgrades
	checker     *aside        // for validation
	compiling   compilations
	compileWait time.Duration // of a call: longer than a compilation takes that is not stuck
	compiledOne chan struct{} // a compilation has ended or become late
	unready     atomic.Int64  // upgrades that will be done soon

	cancel  context.CancelFunc
	done    sync.WaitGroup
	stopLog context.CancelFunc
	logging sync.WaitGroup // the log of rejections

	intake     intake
	mu         sync.Mutex // guards what is below; never held while building
	queue      []nacos.Change
	collected  collected // what is to be known of the queue
	fed        time.Time // when a change last came
	building   bool      // the writer is at work on what it took from the queue
	checked    []checkedVariant
	synced     bool
	keepAll    bool
	references map[string]map[string]bool // by name of a credential document: services that refer to it
	renewed    map[string]uint64          // by name of a credential document: serial of the Index that it last changed with
	wake       chan struct{}

	checks  []*Variant    // definitions to validate
	unread  chan struct{} // there are checks
	pending atomic.Int64  // definitions not validated yet
}

// Keep is what a change makes of what is to be known at the next start.
type Keep struct {
	All      bool // nothing else is to be known
	Changed  []*Document
	Deleted  []nacos.Key
	Whole    []Whole           // instead of what was kept under their keys
	Holders  map[string]string // by name; "": what was kept is to be forgotten
	NotWhole []WholeKey        // of which what was kept is to be forgotten
	Retired  []Retired         // instead of what was kept under the same First
}

// Retired are the digests, with the same first byte, of keys that nobody holds any more; the oldest first.
type Retired struct {
	First   byte
	Digests [][32]byte
}

// Whole is a version of a service that is served though newer documents of it are known. Its documents are kept together, so
// that after a restart it is served again as it was.
type Whole struct {
	WholeKey
	Latest    bool // it is what clients get who do not ask for a version
	Documents []*Document
}

// WholeKey names a version of a service; the version of one of our own documents is empty.
type WholeKey struct{ Service, Version string }

// Kept is a version of a document that a store kept from an earlier run.
type Kept struct {
	nacos.Change
	Since   time.Time // when it was accepted or rejected
	Refused bool      // it was rejected when it came
	Lost    bool      // it cannot be read any more: only its name is known
	// Switches are what a version that was refused switches off whose content was not kept.
	Switches *registry.Switches
	Barred   []string // of a consumer that was refused: ids of keys that another one held
	Whole    *Whole   // it was part of this version, whose Documents are nil here; nil: it was kept for itself
}

// New gives a Catalog that knows nothing but what a store kept: that is in force when New returns.
func New(o Options, initial []Kept) (*Catalog, error) {
	if o.Services <= 0 {
		return nil, fmt.Errorf("make catalog: cache.services must be positive, is %d", o.Services)
	}
	o.logged, o.lines, o.lost = map[nacos.Key]logged{}, make(chan line, logQueue), new(atomic.Int64)
	c := &Catalog{
		options: o, wake: make(chan struct{}, 1), unread: make(chan struct{}, 1), compiledOne: make(chan struct{}, 1),
		readAside:  make(chan struct{}, 1),
		references: map[string]map[string]bool{}, renewed: map[string]uint64{}, compileWait: o.patience() + time.Second,
	}
	c.lane = newLane(c.options.read, func() { signal(c.readAside) })
	c.compiling.byVariant = map[*Variant]*compilation{}
	c.compiler = newAside(max(8, 2*runtime.GOMAXPROCS(0)), min(stay, o.patience()), o.patience(), func() { signal(c.compiledOne) })
	c.checker = newAside(1, o.patience(), o.patience(), func() {}) // nobody waits for it
	c.intake.catalog = c
	c.secrets = &secrets{catalog: c, groups: o.CredentialGroups, env: o.Env, files: o.Files}
	var err error
	c.compiled, err = lru.NewWithEvict(o.Services, func(_ *Variant, x *Compiled) { x.release() })
	if err != nil {
		return nil, fmt.Errorf("make catalog: %w", err)
	}
	c.current.Store(newIndex())
	w := &writer{
		options: &c.options, catalog: c, manifests: map[string][]nacos.Key{},
		sources: map[registry.KeySource]int{}, disputed: map[nacos.Key]bool{}, holds: map[heldKey]hold{},
		wants: newWants(), whole: map[string]map[string]Whole{}, holders: map[string]holder{}, keptHolders: map[string]string{}, lostManifests: map[nacos.Key]bool{}, guessed: map[string]bool{},
		asked: map[question]asked{}, claims: map[question]answer{}, badGrants: map[string]bool{},
		unsure: o.Unsure, lostWhole: map[heldKey]bool{}, lostConsumers: map[nacos.Key]bool{}, upgrades: map[place]*upgrade{},
	}
	remembered := w.begin(c.Index(), time.Time{})
	remembered.retire(o.Retired...)
	c.Index().retired = remembered.retired.current() // nobody reads this Index yet
	for name, id := range o.Holders {
		w.holders[name], w.keptHolders[name] = holder{id: id, firm: true}, id
	}
	if o.Past != nil {
		w.past = &past{source: o.Past, read: c.options.read, wake: make(chan struct{}, 1), done: func() { signal(c.wake) }}
	}
	c.writer = w
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() { c.runChecks(ctx) })
	logging, stopLogging := context.WithCancel(context.Background())
	c.stopLog = stopLogging
	c.logging.Go(func() { c.log(logging) })
	if len(initial) > 0 {
		// Specs and tools find their manifest's service only once it is known.
		slices.SortStableFunc(initial, func(a, b Kept) int { return rank(a.Key.Group) - rank(b.Key.Group) })
		w.load(initial)
	}
	c.done.Go(func() { w.run(ctx) })
	if w.past != nil {
		c.done.Go(func() { w.past.run(ctx) })
	}
	return c, nil
}

func rank(group string) int {
	switch group {
	case registry.GroupSpecs, registry.GroupTools:
		return 0
	}
	return 1
}

// Close ends the writer and gives compiled services back. It waits for compilations, but not for those that are stuck.
func (c *Catalog) Close() {
	c.intake.close()
	c.cancel()
	c.done.Wait()
	c.lane.close()
	c.checker.close()
	c.compiler.close()
	for _, u := range c.writer.upgrades {
		c.disown(u.k)
	}
	c.compiling.Lock()
	c.compiling.closed = true // what ends from now on is not kept
	c.compiling.Unlock()
	c.compiled.Purge()
	c.stopLog()
	c.logging.Wait()
}

// Index gives the current Index; never nil, never waits.
func (c *Catalog) Index() *Index { return c.current.Load() }

// Apply queues changes; they are in force about 50 ms later.
func (c *Catalog) Apply(changes []nacos.Change) {
	c.mu.Lock()
	c.queue = append(c.queue, changes...)
	c.fed = time.Now()
	c.mu.Unlock()
	signal(c.wake)
}

// collected are changes that were collected, to be applied as one.
type collected struct {
	read     []readChange
	foreseen []nacos.Key // watched already for the manifests among them
}

// grants reports whether access documents are among them.
func (c *collected) grants() bool {
	return slices.ContainsFunc(c.read, func(r readChange) bool {
		return r.Key.Group == registry.GroupGrants || r.Key.Group == registry.GroupConsumers
	})
}

// applyCollected queues them. They are newer than whatever else is known of their documents.
func (c *Catalog) applyCollected(more collected) {
	keys := make(map[nacos.Key]bool, len(more.read))
	for _, r := range more.read {
		keys[r.Key] = true
	}
	c.mu.Lock()
	c.queue = slices.DeleteFunc(c.queue, func(ch nacos.Change) bool { return keys[ch.Key] })
	c.lane.supersede(keys)
	c.collected.read = append(c.collected.read, more.read...)
	c.collected.foreseen = append(c.collected.foreseen, more.foreseen...)
	c.mu.Unlock()
	signal(c.wake)
}

// unforesee has those of the documents watched no more that no manifest refers to once what is queued is in force.
func (c *Catalog) unforesee(keys []nacos.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collected.foreseen = append(c.collected.foreseen, keys...)
}

// Synced says that the source has been read whole.
func (c *Catalog) Synced() {
	c.mu.Lock()
	c.synced = true
	c.mu.Unlock()
	signal(c.wake)
}

// KeepAll has OnKeep be handed everything, as if the store were new.
func (c *Catalog) KeepAll() {
	c.mu.Lock()
	c.keepAll = true
	c.mu.Unlock()
	signal(c.wake)
}

// takeKeepAll reports whether everything is to be handed over.
func (c *Catalog) takeKeepAll() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.keepAll
	c.keepAll = false
	return all
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Busy tells whether changes are queued or being built into an Index.
func (c *Catalog) Busy() bool {
	if c.intake.waiting() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.building || len(c.queue)+len(c.collected.read) > 0 || c.unready.Load() > 0 || c.lane.busy()
}

// Settled tells whether the Catalog is not busy and nothing that manifests refer to is still missing.
func (c *Catalog) Settled() bool {
	if c.Busy() || c.asking() {
		return false
	}
	for _, s := range c.Index().Services() {
		if s.NotServed == incomplete {
			return false
		}
	}
	return true
}

// asking reports whether the source is being asked for what it remembers.
func (c *Catalog) asking() bool { return c.writer.past != nil && c.writer.past.asking() }

// Validated tells whether all that was applied is in the Index, and what validating definitions found is too.
func (c *Catalog) Validated() bool {
	if c.intake.waiting() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.building && !c.asking() && len(c.queue)+len(c.collected.read) == 0 && !c.lane.busy() && c.unready.Load() == 0 && len(c.checked) == 0 && c.pending.Load() == 0
}

func (c *Catalog) take() (changes []nacos.Change, checked []checkedVariant, synced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes, c.queue = c.queue, nil
	checked, c.checked = c.checked, nil
	c.writer.collected, c.collected = c.collected, collected{}
	c.building = true
	return changes, checked, c.synced
}

// isSynced reports whether the source has been read whole, though perhaps what it holds is not in force yet.
func (c *Catalog) isSynced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}

// takeRead takes what was read aside.
func (c *Catalog) takeRead() (all []readChange, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.building = true // before the lane counts as idle
	return c.lane.take()
}

// built says that what was taken is in the Index.
func (c *Catalog) built() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.building = false
}

// publish swaps the Index and lets everybody know.
func (c *Catalog) publish(next *Index, b *build) {
	old := c.Index()
	for _, u := range b.ready {
		c.compiled.Add(u.next.root(), u.k.x) // so that no call waits
	}
	c.current.Store(next)
	for name := range b.touched {
		for _, v := range old.Service(name).variants() {
			if !c.serves(v.root()) {
				c.compiled.Remove(v.root())
			}
		}
	}
	if c.options.OnKeep != nil && !b.loading {
		c.options.OnKeep(Keep{Changed: b.changed, Deleted: b.removed, Whole: b.whole, NotWhole: b.notWhole, Holders: b.holders, Retired: b.retiredNow()})
	}
	if more, less := b.wanted(old); c.options.OnWants != nil && len(more)+len(less) > 0 {
		c.options.OnWants(more, less)
	}
	if c.options.OnSwap != nil {
		c.options.OnSwap(Delta{Index: next, Services: b.touched, Consumers: b.people})
	}
	again := c.referring(b.credentials, next)
	for _, v := range again {
		c.forget(v.root()) // a tool whose credential did not resolve was left out: compile it anew
	}
	for _, u := range b.begun {
		c.writer.compile(u) // now, that it sees what is in force
		b.fresh = append(b.fresh, u.next)
	}
	c.mu.Lock()
	c.checks = append(append(c.checks, b.fresh...), again...)
	c.pending.Store(int64(len(c.checks)))
	c.mu.Unlock()
	signal(c.unread)
}

var errNoDefinition = errors.New("no definition")

func firstError(rejections []registry.Rejection) error {
	for _, r := range rejections {
		if !r.Warning {
			return r
		}
	}
	return nil
}

// maxLogged bounds how much of what is wrong with one version of a document is logged.
const maxLogged = 20

// logRejected logs what is wrong with a document, once per version. It does not wait for the log.
func (o *Options) logRejected(doc *Document) {
	faults, before := 0, o.logged[doc.Key]
	if before.md5 != doc.MD5 {
		before = logged{md5: doc.MD5}
		delete(o.logged, doc.Key)
	}
	what := "document rejected"
	if doc.State != Rejected {
		what = "part of a document rejected"
	}
	for _, r := range doc.Rejections {
		if r.Warning {
			continue
		}
		if faults++; faults <= before.faults || faults > maxLogged {
			continue
		}
		o.warn(what, "reason", r.Error(), "inForce", doc.GoodMD5 != "")
	}
	if faults > before.faults {
		o.logged[doc.Key] = logged{doc.MD5, faults}
		if faults > maxLogged {
			o.warn("more is wrong with a document: see /status", "document", doc.Key.String(), "faults", faults)
		}
	}
}

// logQueue is how many lines may wait for the log.
const logQueue = 1024

// warn logs a line, without waiting: what is in the way of the log, a full pipe, must not be in the writer's way.
func (o *Options) warn(text string, args ...any) {
	select {
	case o.lines <- line{text, args}:
	default:
		o.lost.Add(1)
	}
}

// line is one of the log.
type line struct {
	text string
	args []any
}

// log writes lines that wait, until ctx ends, and then those that still do.
func (c *Catalog) log(ctx context.Context) {
	for {
		select {
		case l := <-c.options.lines:
			c.options.Log.Warn(l.text, l.args...)
			if n := c.options.lost.Swap(0); n > 0 {
				c.options.Log.Warn("the log was too slow: lines on rejected documents are missing", "lines", n)
			}
			continue
		default:
		}
		select {
		case l := <-c.options.lines:
			c.options.Log.Warn(l.text, l.args...)
		case <-ctx.Done():
			if len(c.options.lines) == 0 {
				return
			}
		}
	}
}

// referring gives the variants of the services that refer to one of these credential documents.
func (c *Catalog) referring(credentials map[string]bool, x *Index) []*Variant {
	if len(credentials) == 0 {
		return nil
	}
	names := map[string]bool{}
	c.mu.Lock()
	for name := range credentials {
		c.renewed[name] = x.serial
		for service := range c.references[name] {
			names[service] = true
		}
	}
	c.mu.Unlock()
	var all []*Variant
	for name := range names {
		all = append(all, x.Service(name).variants()...)
	}
	for at, u := range c.writer.upgrades {
		if names[at.service] {
			all = append(all, u.next)
		}
	}
	return all
}

// renewedSince reports whether one of the credential documents that are referred to changed after the Index with this
// serial: what was compiled meanwhile may have seen it as it was before.
func (c *Catalog) renewedSince(serial uint64, references []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(references, func(ref string) bool { return c.renewed[credentialDocument(ref)] > serial })
}

// noteReferences remembers which credential documents a service refers to. References that are gone stay: they cost
// one needless compilation.
func (c *Catalog) noteReferences(service string, references []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ref := range references {
		name := credentialDocument(ref)
		if c.references[name] == nil {
			c.references[name] = map[string]bool{}
		}
		c.references[name][service] = true
	}
}

// credentialDocument is the name, without extension, of the document that a reference points to.
func credentialDocument(ref string) string {
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "credential:"), "nacos.")
	name, _, _ := strings.Cut(ref, "/")
	return trimExtension(name)
}
