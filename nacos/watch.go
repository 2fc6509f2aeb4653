package nacos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// parallelQueries of one watch. Over one connection 64 take a quarter less of Nacos's time than 32, as answers share
	// packets; several connections take more.
	parallelQueries = 64
	// relistenEvery repeats all listening. A lost push is found sooner, by the next list; this is for servers
	// that do not let us list.
	relistenEvery = 30 * time.Second
	relistenShare = 0.05 // of the time may go into that
	listenChunk   = 3000 // documents per listen request: 10 MB is the limit, 150 bytes each are usual
	forbiddenWait = 2 * time.Second
	maxReasks     = 6
	mostReask     = time.Second
)

// Why a document is to be queried. Only some reasons make "not found" mean "deleted": see answered.
type reason uint8

const (
	becausePushed   reason = 1 << iota // the server said that it changed
	becauseMissing                     // two lists in a row lack it
	becauseCompared                    // its MD5 differs in a list or in the answer to listening
	becauseHinted                      // a fuzzy watch named it
)

// watch follows documents of one Client.
//
// Everything that hints at a change (a push, a list, the answer to listening, a fuzzy watch) only marks the document
// as dirty; what it is now is always asked for, with one query per document at a time. So hints may be lost, doubled
// or reordered, and the last answer is the newest.
type watch struct {
	c      *Client
	cfg    WatchConfig
	groups map[string]bool // read only
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	listenNow  chan struct{} // capacity 1: there is something in unheard
	listNow    chan struct{} // capacity 1: list groups that are due
	deliverNow chan struct{} // capacity 1: there is something in out

	mu         sync.Mutex
	docs       map[Key]*followed
	unheard    []*followed // not listened to on the connection of the moment
	urgent     []Key       // pushed: before the bulk of a first load
	bulk       []Key
	parked     []Key // dirty, waiting for connection or time
	querying   int
	unresolved int
	out        []Change
	lists      map[string]*groupList
	listSerial uint64 // counts lists that were compared
	synced     bool
	generation uint64 // of the connection that the listening belongs to
	unlisten   []Key
	refused    map[string]time.Time // groups that may not be listened to, until they are tried again
	relisten   bool                 // listen to everything anew
	closed     bool

	catchUp catchUp

	listing      context.CancelFunc // ends the list under way; nil if there is none
	listingSince time.Time
	listAnew     bool // the list under way is to be repeated
}

// followed is what is known of one document.
type followed struct {
	key    Key
	wanted bool
	exists bool   // delivered, or known to the caller
	md5    string // if exists

	dirty, busy bool
	why         reason
	parkedUntil time.Time
	pushedOn    uint64 // the connection over which it was last said to have changed

	resolved  bool // for OnSynced
	listening bool // on the current connection
	fresh     bool // to be queried as soon as it is listened to
	listMD5   string
	listed    uint64 // serial of the last list that had it
	reasks    int
	misses    int // lists in a row that lack it
	notFound  int // answers in a row, for documents that no list covers
	notFirst  time.Time
	missed    time.Time // when the first of those lists was taken
	forbidden bool      // the last answer; parked because of that
	found     time.Time // begin of the last query that found it
}

var _ Watch = (*watch)(nil)

// Watch follows documents. It needs the right to read them; where listing is refused, documents that are known
// or wanted are followed all the same.
func (c *Client) Watch(cfg WatchConfig) (Watch, error) {
	if cfg.OnChange == nil {
		return nil, errors.New("watch: OnChange is missing")
	}
	w := &watch{
		c: c, cfg: cfg,
		groups:     make(map[string]bool),
		lists:      make(map[string]*groupList),
		docs:       make(map[Key]*followed),
		refused:    make(map[string]time.Time),
		listenNow:  make(chan struct{}, 1),
		listNow:    make(chan struct{}, 1),
		deliverNow: make(chan struct{}, 1),
	}
	for _, g := range cfg.Groups {
		if err := (Key{g, "x"}).check(); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		w.groups[g] = true
		w.lists[g] = &groupList{}
	}
	for k, md5 := range cfg.Known {
		if w.groups[k.Group] {
			w.follow(k).know(md5)
		}
	}
	w.fallBehind()
	w.catchUp.away = c.link.current() == nil
	w.ctx, w.cancel = context.WithCancel(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		w.cancel()
		return nil, fmt.Errorf("watch: %w: client is closed", ErrUnavailable)
	}
	c.watches[w] = struct{}{}
	w.wg.Go(w.deliver)
	w.wg.Go(w.listenLoop)
	w.wg.Go(w.listLoop)
	poke(w.listenNow)
	poke(w.deliverNow) // a watch of nothing is in sync at once
	return w, nil
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// know records what the caller has from elsewhere.
func (d *followed) know(md5 string) { d.exists, d.md5 = true, md5 }

// follow gives the record of a document, making one. The caller holds mu (or is alone).
func (w *watch) follow(k Key) *followed {
	d := w.docs[k]
	if d == nil {
		d = &followed{key: k, fresh: true}
		w.docs[k] = d
		w.unheard = append(w.unheard, d)
		w.unresolved++
	}
	return d
}

// forget ends following; the caller holds mu.
func (w *watch) forget(d *followed) {
	w.resolve(d)
	delete(w.docs, d.key)
	if d.listening {
		w.unlisten = append(w.unlisten, d.key)
		poke(w.listenNow)
	}
}

func (w *watch) resolve(d *followed) {
	if !d.resolved {
		d.resolved = true
		w.unresolved--
		if w.unresolved == 0 {
			poke(w.deliverNow)
		}
	}
}

// Want implements Watch.
func (w *watch) Want(more, less []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range more {
		if k.check() != nil {
			continue // nothing of that name can come to exist
		}
		d := w.docs[k]
		if d == nil {
			d = w.follow(k)
			if md5, ok := w.cfg.Known[k]; ok && !w.groups[k.Group] {
				d.know(md5)
			}
		}
		d.wanted = true
	}
	for _, k := range less {
		if d := w.docs[k]; d != nil && d.wanted {
			d.wanted = false
			if !w.groups[k.Group] || !d.exists {
				w.forget(d)
			}
		}
	}
	poke(w.listenNow)
}

// Unread implements Watch.
func (w *watch) Unread() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unresolved
}

// Close implements Watch.
func (w *watch) Close() {
	w.c.mu.Lock()
	delete(w.c.watches, w)
	w.c.mu.Unlock()
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.cancel()
	}
	var listened []Key
	for k, d := range w.docs {
		if d.listening {
			listened = append(listened, k)
		}
	}
	w.mu.Unlock()
	w.wg.Wait()
	if len(listened) > 0 && w.c.ctx.Err() == nil {
		w.c.closing.Go(func() { w.c.stopListening(listened) })
	}
}

// askAnew lists and listens to everything once more: there is a new connection, or what was refused or slow no longer is.
func (w *watch) askAnew() {
	w.mu.Lock()
	w.fallBehind()
	w.catchUp.away = false
	w.catchUp.serial++
	for _, l := range w.lists {
		l.next = time.Time{}
	}
	w.listAnew = w.listing != nil
	if w.listing != nil && time.Since(w.listingSince) > staleList {
		w.listing() // it may never end
	}
	w.relisten = true
	clear(w.refused)
	now := time.Now()
	for _, k := range w.parked {
		if d := w.docs[k]; d != nil && !d.parkedUntil.IsZero() {
			d.parkedUntil = now
		}
	}
	w.mu.Unlock()
	poke(w.listenNow)
	poke(w.listNow)
}

func (w *watch) emit(ch Change) {
	if len(w.out) == 0 {
		w.catchUp.emitted = time.Now()
	}
	w.out = append(w.out, ch)
	if l := w.lists[ch.Key.Group]; l != nil {
		l.clean = streak{}
	}
	w.catchUp.changed = time.Now()
	poke(w.deliverNow)
}

// deliver is the only goroutine that calls back.
func (w *watch) deliver() {
	told, serial := false, 0
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.deliverNow:
		}
		w.mu.Lock()
		tell := w.catchUp.behind && w.catchUp.serial != serial
		serial = w.catchUp.serial
		progress := CatchingUp
		if w.catchUp.away {
			progress = Away
		}
		var changes []Change
		if w.ripe() {
			changes, w.out = newest(w.out), nil
		}
		w.mu.Unlock()
		if tell {
			told = true
			w.tell(progress)
		}
		if len(changes) > 0 && w.ctx.Err() == nil {
			w.cfg.OnChange(changes)
		}
		if w.inSync() && w.cfg.OnSynced != nil && w.ctx.Err() == nil {
			w.cfg.OnSynced()
		}
		if told && w.caughtUp() {
			told = false
			w.tell(Current)
		}
	}
}

// newest keeps the last change of each document, in the order of those last ones.
func newest(changes []Change) []Change {
	last := make(map[Key]int, len(changes))
	for i, ch := range changes {
		last[ch.Key] = i
	}
	if len(last) == len(changes) {
		return changes
	}
	kept := changes[:0]
	for i, ch := range changes {
		if last[ch.Key] == i {
			kept = append(kept, ch)
		}
	}
	return kept
}

// inSync is true once.
func (w *watch) inSync() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.synced || w.unresolved > 0 || len(w.out) > 0 {
		return false
	}
	for _, l := range w.lists {
		if !l.done {
			return false
		}
	}
	w.synced = true
	for _, l := range w.lists {
		w.again(l, true)
	}
	return true
}
