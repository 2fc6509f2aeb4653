package nacos

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// dirWatchBatch bounds how many documents are in memory at once while a Watch begins.
const dirWatchBatch = 256

// dirWatch reads what the follower marks and delivers what is new. It has one goroutine, so calls are serialised.
type dirWatch struct {
	dir    *Dir
	cfg    WatchConfig
	groups map[string]bool
	stop   chan struct{}
	done   chan struct{}
	woken  chan struct{}
	once   sync.Once

	mu      sync.Mutex
	pending map[Key]bool
	all     bool // everything followed is pending
	wanted  map[Key]bool
	dropped map[Key]bool // no longer wanted; run forgets what it delivered of them

	delivered map[Key]string // MD5 by key; of run alone
	synced    bool
	progress  Progress // what OnProgress was told last; of run alone
}

// Watch begins to follow documents. Neither OnChange nor OnSynced may call Close.
func (d *Dir) Watch(cfg WatchConfig) (Watch, error) {
	w := &dirWatch{
		dir:       d,
		cfg:       cfg,
		groups:    map[string]bool{},
		stop:      make(chan struct{}),
		done:      make(chan struct{}),
		woken:     make(chan struct{}, 1),
		pending:   map[Key]bool{},
		wanted:    map[Key]bool{},
		dropped:   map[Key]bool{},
		delivered: maps.Clone(cfg.Known),
	}
	if w.delivered == nil {
		w.delivered = map[Key]string{}
	}
	for _, g := range cfg.Groups {
		if err := checkDirName("group", g, maxGroup); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		w.groups[g] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("watch: %w: closed", ErrUnavailable)
	}
	d.watches[w] = true
	if d.scanned {
		w.markAll()
	}
	d.start()
	go w.run()
	return w, nil
}

// Want implements Watch. Names that no document can have are left out.
func (w *dirWatch) Want(more, less []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range more {
		if checkDirKey(k) == nil && !w.wanted[k] {
			w.wanted[k] = true
			w.pending[k] = true
		}
	}
	for _, k := range less {
		if !w.wanted[k] {
			continue
		}
		delete(w.wanted, k)
		if !w.follows(k) {
			w.dropped[k] = true
			w.pending[k] = true
		}
	}
	w.wake()
}

// Unread implements Watch: what a directory holds is known at once.
func (*dirWatch) Unread() int { return 0 }

// Close stops following.
func (w *dirWatch) Close() {
	w.once.Do(func() {
		w.dir.mu.Lock()
		delete(w.dir.watches, w)
		w.dir.mu.Unlock()
		close(w.stop)
	})
	<-w.done
}

func (w *dirWatch) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func (w *dirWatch) mark(key Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.follows(key) {
		w.pending[key] = true
		w.wake()
	}
}

func (w *dirWatch) markAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = true
	w.wake()
}

func (w *dirWatch) follows(key Key) bool { return w.groups[key.Group] || w.wanted[key] }

func (w *dirWatch) run() {
	defer close(w.done)
	w.tell(Away)
	var retry <-chan time.Time
	for {
		select {
		case <-w.stop:
			return
		case <-w.woken:
		case <-retry:
		}
		retry = nil
		keys, whole := w.take()
		if whole {
			w.tell(CatchingUp)
		}
		if !w.deliver(keys) {
			// The directory went away, perhaps so shortly that the follower never sees it.
			w.tell(Away)
			w.mu.Lock()
			w.all = w.all || whole
			w.mu.Unlock()
			retry = time.After(dirPoll)
			continue
		}
		if whole && !w.synced {
			w.synced = true
			if w.cfg.OnSynced != nil {
				w.cfg.OnSynced()
			}
		}
		if w.progress != Current && !w.moving() {
			w.tell(Current)
		}
	}
}

// moving tells whether there is more of what this watch follows than was delivered: files that changed, or went and are not
// believed to be gone yet, while others that changed later may have been delivered.
func (w *dirWatch) moving() bool {
	w.dir.mu.Lock()
	defer w.dir.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dir.scanned || w.dir.blind || w.all || len(w.pending) > 0 {
		return true
	}
	for file := range w.dir.moving {
		if file.half == dirConfig && w.follows(Key{file.group, file.name}) {
			return true
		}
	}
	return false
}

func (w *dirWatch) tell(p Progress) {
	w.progress = p
	if w.cfg.OnProgress != nil {
		w.cfg.OnProgress(p)
	}
}

// take empties pending; whole tells that it was everything.
func (w *dirWatch) take() (keys []Key, whole bool) {
	w.dir.mu.Lock() // before w.mu, as everywhere
	defer w.dir.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dir.scanned {
		return nil, false
	}
	if whole = w.all; whole {
		for file := range w.dir.files {
			if key := (Key{file.group, file.name}); file.half == dirConfig && w.follows(key) {
				w.pending[key] = true
			}
		}
		for key := range w.delivered {
			w.pending[key] = true
		}
		for key := range w.wanted {
			w.pending[key] = true
		}
	}
	for key := range w.pending {
		keys = append(keys, key)
	}
	clear(w.pending)
	w.all = false
	return keys, whole
}

// deliver reads the documents and hands on those that differ from what was delivered before. It returns false if
// the directory went away or the Watch was closed: then what it did not deliver is pending again.
func (w *dirWatch) deliver(keys []Key) bool {
	for start := 0; start < len(keys); start += dirWatchBatch {
		batch := keys[start:min(start+dirWatchBatch, len(keys))]
		changes, err := w.read(batch)
		select {
		case <-w.stop:
			return false
		default:
		}
		if err != nil {
			w.mu.Lock()
			for _, key := range keys[start:] {
				w.pending[key] = true
			}
			w.mu.Unlock()
			return false
		}
		if len(changes) > 0 && w.moving() {
			w.tell(CatchingUp)
		}
		if len(changes) > 0 && w.cfg.OnChange != nil {
			w.cfg.OnChange(changes)
		}
	}
	return true
}

func (w *dirWatch) read(keys []Key) ([]Change, error) {
	var changes []Change
	for _, key := range keys {
		w.mu.Lock()
		follows, dropped := w.follows(key), w.dropped[key]
		delete(w.dropped, key)
		w.mu.Unlock()
		if dropped {
			delete(w.delivered, key)
		}
		if !follows {
			continue // what is Known may be wanted later
		}
		file := configFile(key)
		content, err := w.dir.read(file)
		before, had := w.delivered[key]
		switch {
		case err == nil:
			w.dir.problem(w.dir.path(file), nil)
			if sum := dirMD5(content); sum != before {
				w.delivered[key] = sum
				changes = append(changes, Change{Key: key, Content: content, MD5: sum})
			}
		case !errors.Is(err, ErrNotFound):
			w.dir.problem(w.dir.path(file), err)
		case had && w.dir.believes(file):
			// In the midst of an edit, or of a removal that the follower does not believe yet; it marks the key again.
		case had:
			if err := w.dir.available(); err != nil {
				w.forget(changes)
				return nil, err
			}
			delete(w.delivered, key)
			changes = append(changes, Change{Key: key, Deleted: true})
		}
	}
	return changes, nil
}

// forget undoes what read noted as delivered but does not return.
func (w *dirWatch) forget(changes []Change) {
	for _, c := range changes {
		if !c.Deleted {
			delete(w.delivered, c.Key)
		} else {
			w.delivered[c.Key] = "" // differs from any content, and is there to be deleted
		}
	}
}
