package catalog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Past is what a source remembers of documents. Both of its methods may take as long as the source does.
type Past interface {
	History(ctx context.Context, key nacos.Key, each func(nacos.Past) bool) (created time.Time, err error)
	Created(ctx context.Context, key nacos.Key) (uint64, error)
}

// Questions about the past are asked beside the writer, some at once. What is not answered is asked again.
const (
	questionPlaces = 4
	questionTime   = 15 * time.Second
	askAgain       = 5 * time.Second
	askAgainLater  = time.Minute // what is not permitted, say
)

// question is about one version of a document.
type question struct {
	key nacos.Key
	md5 string
	// name is whose bearer the document, a manifest, is: since when? Empty: which good version came before this one, a
	// rejected grants document?
	name string
}

// asked is how a question stands.
type asked struct {
	failed bool
	open   bool      // it is being asked
	again  time.Time // when to ask it anew; zero: it is answered
}

// answer is what a source says to a question.
type answer struct {
	question
	err   error
	good  *nacos.Change // the last good version; nil if none is remembered
	since time.Time     // when that was replaced
	claim claim
}

// claim is what tells entries of the registry apart that carry the same name.
type claim struct {
	since   time.Time // from when on it has carried the name; zero: longer than the source remembers
	created uint64    // orders documents by their creation
}

// before reports whether a carried the name before o did. Of two that carry it for longer than is remembered, the one that was
// created first counts.
func (a claim) before(o claim) bool {
	switch {
	case a.since.Equal(o.since):
		return a.created < o.created
	case a.since.IsZero() || o.since.IsZero():
		return a.since.IsZero()
	}
	return a.since.Before(o.since)
}

// past asks a source, and keeps what it answers until the writer takes it.
type past struct {
	source Past
	read   func(nacos.Change) reading

	mu       sync.Mutex
	waiting  []question
	open     int // asked for the first time, or again after a failure, and not answered
	answered []answer
	wake     chan struct{}
	done     func() // something was answered
}

func (p *past) ask(q question) {
	p.mu.Lock()
	p.waiting = append(p.waiting, q)
	p.open++
	p.mu.Unlock()
	signal(p.wake)
}

// asking reports whether something is being asked.
func (p *past) asking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open > 0 || len(p.answered) > 0
}

func (p *past) take() []answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.answered
	p.answered = nil
	return all
}

// run asks until ctx ends.
func (p *past) run(ctx context.Context) {
	var places sync.WaitGroup
	defer places.Wait()
	free := make(chan struct{}, questionPlaces)
	for {
		p.mu.Lock()
		all := p.waiting
		p.waiting = nil
		p.mu.Unlock()
		for _, q := range all {
			select {
			case <-ctx.Done():
				return
			case free <- struct{}{}:
			}
			places.Go(func() {
				a := p.answer(ctx, q)
				p.mu.Lock()
				p.open--
				p.answered = append(p.answered, a)
				p.mu.Unlock()
				<-free
				p.done()
			})
		}
		if len(all) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
	}
}

func (p *past) answer(ctx context.Context, q question) answer {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	a := answer{question: q}
	if q.name == "" {
		_, a.err = p.source.History(ctx, q.key, func(v nacos.Past) bool {
			change := nacos.Change{Key: q.key, Content: v.Content, MD5: v.MD5}
			if p.read(change).value == nil {
				return true
			}
			a.good, a.since = &change, v.Until
			return false
		})
		return a
	}
	if a.claim.created, a.err = p.source.Created(ctx, q.key); a.err != nil {
		return a
	}
	var renamed time.Time
	created, err := p.source.History(ctx, q.key, func(v nacos.Past) bool {
		m, _ := p.read(nacos.Change{Key: q.key, Content: v.Content, MD5: v.MD5}).value.(*registry.Manifest)
		if m == nil || m.Name == q.name { // what is rejected changes nothing
			return true
		}
		renamed = v.Until
		return false
	})
	a.err = err
	if a.claim.since = created; !renamed.IsZero() {
		a.claim.since = renamed
	}
	return a
}

// ask has a question asked, unless it was already.
func (b *build) ask(q question) {
	w := b.w
	if w.past == nil {
		return
	}
	state, known := w.asked[q]
	if known && (state.open || state.again.IsZero() || b.now.Before(state.again)) {
		return
	}
	w.asked[q] = asked{open: true, failed: state.failed}
	w.past.ask(q)
}

// nextQuestion is when a question is to be asked again; zero if none is.
func (w *writer) nextQuestion() (first time.Time) {
	for _, state := range w.asked {
		first = earlier(first, state.again)
	}
	return first
}

// learn takes in what the source has answered, and asks again what is due.
func (b *build) learn() {
	w := b.w
	if w.past == nil {
		return
	}
	for _, a := range w.past.take() {
		before, state := w.asked[a.question], asked{failed: a.err != nil}
		switch {
		case a.err == nil, errors.Is(a.err, nacos.ErrNotFound):
		case errors.Is(a.err, nacos.ErrUnavailable), errors.Is(a.err, context.DeadlineExceeded):
			state.again = b.now.Add(askAgain)
		default:
			state.again = b.now.Add(askAgainLater)
		}
		doc, _ := b.docs.get(a.key)
		if doc == nil || doc.MD5 != a.md5 {
			delete(w.asked, a.question)
			continue
		}
		w.asked[a.question] = state
		switch {
		case a.name != "":
			w.claims[a.question] = a
			b.dirty[a.name] = true
		case a.err != nil && before.failed:
		case a.err != nil:
			w.options.Log.Warn("the history of a rejected document cannot be read", "document", a.key.String(), "error", a.err, "again", state.again)
		case a.good != nil:
			b.goodOnce(doc, a)
		}
	}
	for q, state := range w.asked {
		doc, _ := b.docs.get(q.key)
		switch {
		case state.open:
		case doc == nil || doc.MD5 != q.md5, q.name != "" && len(w.manifests[q.name]) < 2:
			delete(w.asked, q)
			delete(w.claims, q)
		case !state.again.IsZero() && !b.now.Before(state.again):
			b.ask(q)
		}
	}
}

// askForGood asks which version of a grants document was good before the one of now, which was rejected: this process may never
// have seen it, or only an earlier one.
func (b *build) askForGood(doc *Document) {
	if doc != nil && doc.State == Rejected && !doc.lost && doc.MD5 != "" {
		b.ask(question{key: doc.Key, md5: doc.MD5})
	}
}

// goodOnce puts the last good version of a rejected grants document in force, with its switch on as that of any.
func (b *build) goodOnce(doc *Document, a answer) {
	if doc.State != Rejected || doc.GoodMD5 == a.good.MD5 {
		return
	}
	r := b.w.options.read(*a.good)
	if r.value == nil {
		return
	}
	next := *doc
	next.GoodMD5, next.GoodSince, next.good, next.value = a.good.MD5, a.since, r.content, r.value
	b.docs.set(doc.Key, &next)
	b.changed = append(b.changed, &next)
	b.follow(doc.Key, &next)
	b.w.options.Log.Info("the last good version of a rejected document was found in the source's history", "document", doc.Key.String(), "md5", next.GoodMD5)
}
