package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/store"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// keeper hands what is to be known at the next start to the store, beside the catalog's writer: documents are compressed and
// sealed for it. The zero keeper keeps nothing.
type keeper struct {
	current  atomic.Pointer[store.Store] // nil: there is none
	borrowed bool                        // at the start the store was another process's
	log      *slog.Logger

	mu      sync.Mutex
	waiting []catalog.Keep
	busy    bool // with what was waiting
	closing bool
	wake    chan struct{}
	done    chan struct{}
}

func (k *keeper) open() bool { return k.current.Load() != nil }

func (k *keeper) store() *store.Store { return k.current.Load() }

// start has s keep what is put from now on.
func (k *keeper) start(s *store.Store, log *slog.Logger) {
	k.log, k.wake, k.done = log, make(chan struct{}, 1), make(chan struct{})
	k.current.Store(s)
	go k.run()
}

// put queues what the catalog hands over. It never waits.
func (k *keeper) put(one catalog.Keep) {
	if !k.open() {
		return
	}
	k.mu.Lock()
	k.waiting = append(k.waiting, one)
	k.mu.Unlock()
	k.signal()
}

func (k *keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	defer close(k.done)
	for {
		k.mu.Lock()
		all, closing := k.waiting, k.closing
		k.waiting, k.busy = nil, len(all) > 0
		k.mu.Unlock()
		if len(all) == 0 {
			if closing {
				return
			}
			<-k.wake
			continue
		}
		for _, one := range all {
			k.write(one)
		}
	}
}

func (k *keeper) write(one catalog.Keep) {
	s := k.store()
	if !one.All {
		s.Write(batchOf(one))
		return
	}
	if err := s.Replace(batchOf(one)); err != nil {
		k.log.Error("what the last-known-good store holds could not be replaced: the next start may find old documents", "error", err)
		s.Write(batchOf(one))
	}
}

// flush waits until all that was put is on disk.
func (k *keeper) flush(ctx context.Context) error {
	for {
		k.mu.Lock()
		idle := len(k.waiting) == 0 && !k.busy
		k.mu.Unlock()
		if idle {
			return k.store().Flush(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// close writes what waits and gives the store free.
func (k *keeper) close() {
	if !k.open() {
		return
	}
	k.mu.Lock()
	k.closing = true
	k.mu.Unlock()
	k.signal()
	<-k.done
	_ = k.store().Close()
}

// openStore opens the last-known-good store. One that another process has open is read, and taken over once that one has
// ended; one that cannot be had is said and done without.
func (a *App) openStore() {
	o := store.Options{Dir: a.config.State.Path, Identity: a.identity(), Log: a.log, Disk: a.host.Disk}
	if o.Dir == config.StateOff {
		return
	}
	s, err := store.Open(o)
	if errors.Is(err, store.ErrLocked) {
		a.kept.borrowed = true
		a.log.Warn("the last-known-good store is another process's: it is read now, and taken over once that one has ended", "owner", err)
		s, err = store.Peek(o, err)
	}
	if err != nil {
		a.log.Error("no last-known-good store: this proxy could not start during an outage of its source", "error", err)
		if !a.kept.borrowed {
			return
		}
		s = store.None(o, err) // it may be had later
	}
	a.kept.start(s, a.log)
}

// takeStore takes the store over from the process that has it, once that one has ended.
func (a *App) takeStore(ctx context.Context) {
	const pause = 500 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		s, err := store.Open(store.Options{Dir: a.config.State.Path, Identity: a.identity(), Log: a.log, Disk: a.host.Disk})
		if errors.Is(err, store.ErrLocked) {
			continue
		}
		if err != nil {
			a.log.Error("no last-known-good store: this proxy could not start during an outage of its source", "error", err)
			return
		}
		a.kept.current.Store(s)
		a.catalog.KeepAll() // what was put meanwhile went nowhere
		a.log.Info("the last-known-good store is this process's now")
		return
	}
}

// retiredGroup is where the store keeps the digests of keys that nobody holds any more, in a record for each first byte.
// It is no group of the source: a dot cannot begin one.
const retiredGroup = ".retired-keys"

// holdersGroup is where the store keeps which entry of the registry has a name that several carry, in a record for each name.
const holdersGroup = ".registry-names"

// lostMD5 is what the source is told of a document that cannot be read: it has another one, or none at all.
const lostMD5 = "lost"

// memory is what a store kept.
type memory struct {
	documents []catalog.Kept // the oldest first, so that whoever came first holds a disputed key
	known     map[nacos.Key]string
	retired   [][32]byte // digests of keys that nobody held any more
	holders   map[string]string
}

func (k *keeper) load() memory {
	m := memory{known: map[nacos.Key]string{}, holders: map[string]string{}}
	if !k.open() {
		return m
	}
	var records []store.Record
	if err := k.store().Load(func(r store.Record) { records = append(records, r) }); err != nil {
		k.log.Error("the last-known-good store could not be read whole", "error", err)
	}
	slices.SortStableFunc(records, func(x, y store.Record) int { return x.Since.Compare(y.Since) })
	for _, r := range records {
		switch r.Group {
		case retiredGroup:
			for digest := range slices.Chunk(r.Content, sha256.Size) {
				if len(digest) == sha256.Size {
					m.retired = append(m.retired, [32]byte(digest))
				}
			}
		case holdersGroup:
			if !r.Lost { // else the source tells who was first
				m.holders[r.DataID] = string(r.Content)
			}
		default:
			versions, md5 := keptOf(r)
			m.documents = append(m.documents, versions...)
			m.known[nacos.Key{Group: r.Group, DataID: r.DataID}] = md5
		}
	}
	if err := k.store().LoadVersions(func(v store.Version) { m.documents = append(m.documents, wholeOf(v)...) }); err != nil {
		k.log.Error("the last-known-good store could not be read whole", "error", err)
	}
	return m
}

// keptOf returns what a record holds: the good version first, then what was refused; and the MD5 of the newest one.
func keptOf(r store.Record) (all []catalog.Kept, md5 string) {
	key := nacos.Key{Group: r.Group, DataID: r.DataID}
	add := func(k catalog.Kept, content []byte, newest string) {
		k.Key, k.Content, k.MD5 = key, content, newest
		all, md5 = append(all, k), newest
	}
	if r.Lost {
		add(catalog.Kept{Lost: true}, nil, lostMD5)
	}
	if r.Content != nil {
		add(catalog.Kept{Since: r.Since}, r.Content, r.MD5)
	}
	switch refused := r.Refused; {
	case refused == nil:
	case refused.Lost:
		add(catalog.Kept{Refused: true, Lost: true}, nil, lostMD5)
	case refused.Content != nil:
		add(catalog.Kept{Refused: true, Since: refused.Since, Barred: r.Barred}, refused.Content, refused.MD5)
	default: // it is too large to be kept: the source is asked for it again
		add(catalog.Kept{Refused: true, Since: refused.Since, Switches: &registry.Switches{Off: r.Off, Tools: r.Disabled}}, nil, refused.MD5)
		md5 = lostMD5
	}
	return all, md5
}

func wholeOf(v store.Version) (all []catalog.Kept) {
	whole := &catalog.Whole{WholeKey: catalog.WholeKey(v.VersionName), Latest: v.Latest}
	if v.Lost {
		return []catalog.Kept{{Whole: whole, Lost: true}}
	}
	for _, p := range v.Parts {
		change := nacos.Change{Key: nacos.Key{Group: p.Group, DataID: p.DataID}, Content: p.Content, MD5: p.MD5}
		all = append(all, catalog.Kept{Change: change, Since: p.Since, Whole: whole})
	}
	return all
}

func (a *App) keep(k catalog.Keep) {
	a.lastChange.Store(time.Now().UnixNano())
	a.kept.put(k)
}

// batchOf is what the store makes of a Keep. All is sealed: service documents hold credentials of backends, too.
func batchOf(k catalog.Keep) (b store.Batch) {
	for _, d := range k.Changed {
		b.Put = append(b.Put, recordOf(d))
	}
	for _, key := range k.Deleted {
		b.Delete = append(b.Delete, store.Name(key))
	}
	for _, w := range k.Whole {
		v := store.Version{VersionName: store.VersionName(w.WholeKey), Latest: w.Latest}
		for _, d := range w.Documents {
			v.Parts = append(v.Parts, store.Part{Group: d.Key.Group, DataID: d.Key.DataID, MD5: d.GoodMD5, Since: d.GoodSince, Content: d.Content()})
		}
		b.PutVersions = append(b.PutVersions, v)
	}
	for _, key := range k.NotWhole {
		b.DeleteVersions = append(b.DeleteVersions, store.VersionName(key))
	}
	for name, id := range k.Holders {
		if id == "" {
			b.Delete = append(b.Delete, store.Name{Group: holdersGroup, DataID: name})
		} else {
			b.Put = append(b.Put, store.Record{Group: holdersGroup, DataID: name, Content: []byte(id), Since: time.Now()})
		}
	}
	for _, r := range k.Retired {
		b.Put = append(b.Put, store.Record{
			Group: retiredGroup, DataID: hex.EncodeToString([]byte{r.First}), Content: slices.Concat(asSlices(r.Digests)...), Since: time.Now(), Sealed: true,
		})
	}
	return b
}

func recordOf(d *catalog.Document) store.Record {
	r := store.Record{
		Group: d.Key.Group, DataID: d.Key.DataID, Content: d.Content(), MD5: d.GoodMD5, Since: d.GoodSince, Sealed: true, Lost: d.Lost(),
	}
	if d.State == catalog.Rejected && !r.Lost {
		r.Refused = &store.Refused{MD5: d.MD5, Since: d.Since, Content: d.Rejected(), Lost: d.LostNewest()}
		if s := d.Switches(); s != nil && r.Refused.Content == nil {
			r.Off, r.Disabled = s.Off, s.Tools
		}
	}
	if barred := d.Barred(); len(barred) > 0 {
		// What is in force of it must not be read as if nobody else held its keys.
		r.Content, r.MD5, r.Since = nil, "", time.Time{}
		r.Refused.Content, r.Barred = d.Content(), barred
	}
	return r
}

func asSlices(digests [][32]byte) [][]byte {
	all := make([][]byte, len(digests))
	for i := range digests {
		all[i] = digests[i][:]
	}
	return all
}
