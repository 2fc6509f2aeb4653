// Package store keeps on disk the last good bytes of every document, and the last known instances of naming services,
// so that a proxy started while its source is away can serve what it knew.
// It must never delay or fail an edit, nor hand out a record that is not whole and exactly what was put.
package store

import (
	"context"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrLocked says that another process has the store open. A proxy goes on without one.
	ErrLocked = errors.New("store is in use by another process")
	// ErrNotFound says that no such record is known.
	ErrNotFound = errors.New("no such record")
)

// Record is what is kept of one document.
type Record struct {
	// Lost says that the document was kept and cannot be read any more. Nothing else but its name is known then, and perhaps
	// what was refused.
	Lost bool

	Group   string
	DataID  string
	Content []byte    // the last good version, as it is to be loaded; nil if there never was one
	MD5     string    // of that version as the source says it; Content may be a reduced form of it
	Since   time.Time // when it was accepted; orders consumers that claim the same key
	// Refused is the newest version if it was not accepted. Nil if the version above is the newest.
	Refused *Refused
	// Sealed has Content encrypted on disk, with a key that lies beside the store. For secrets such as credentials:
	// a copy of the store alone, in a backup or a bug report, does not give them away.
	Sealed bool
	// Barred are ids of keys of a consumer that was refused: another one held them.
	Barred []string
	// Off and Disabled are what a refused version switches off that is too large to be kept itself.
	Off      string
	Disabled []string
}

// Refused is a version that was rejected.
type Refused struct {
	Lost    bool `json:"-"` // it was kept, and cannot be read any more
	MD5     string
	Since   time.Time
	Content []byte `json:"-"` // nil if it is not kept; sealed like the Record's
}

// Instance mirrors nacos.Instance; one converts to the other.
type Instance struct {
	Host     string
	Port     int
	Weight   float64
	Healthy  bool
	Enabled  bool
	Metadata map[string]string

	Persistent bool `json:",omitempty"`
}

// Service names a service of the naming side.
type Service struct{ Namespace, Group, Service string }

// Options of a Store.
type Options struct {
	// Dir is where stores lie; empty means DefaultDir. It is made, for its owner only, if it does not exist.
	Dir      string
	Identity Identity
	Log      *slog.Logger
	// QueueBytes bounds what waits in memory while the disk is slow or fails; 0 means 64 MiB. Beyond it, records are
	// forgotten rather than kept old.
	QueueBytes int
	// Disk is asked before each write, which its error fails; nil: the disk itself decides.
	Disk func() error
}

// Status is how a Store stands.
type Status struct {
	Path      string
	Queued    int       // records waiting to be written
	Forgotten int       // records given up because too many were waiting
	Failing   string    // why writing fails at present; empty if it does not
	Since     time.Time // since when it fails
	LastWrite time.Time
	Damage    []string // what was found damaged when it was opened, and what became of it
}

// Store is open until Close. All methods may be called from any goroutine.
type Store struct {
	path   string
	log    *slog.Logger
	lock   *fileLock
	db     *bolt.DB
	seal   cipher.AEAD
	limit  int
	commit func(map[slot]op) error // writes a batch; replaced by tests of failing disks

	snapshot map[slot]op // of a store that is another process's; nil: this one is open

	mu       sync.Mutex
	pending  map[slot]op // newest wins
	inflight map[slot]op // being written; still to be read from here
	bytes    int         // in pending
	status   Status
	closing  bool
	idle     chan struct{} // closed and renewed whenever a batch ended
	wake     chan struct{}
	done     chan struct{}
	contact  time.Time
	unsure   bool
	refused  map[slot]bool // slots of the bucket that hold something
	newest   time.Time     // when what is kept was accepted last, as far as Load has seen
}

// slot is a place in the database: bucket and key.
type slot struct{ bucket, key string }

// op is what is to be in a slot; a nil value deletes.
type op struct{ value []byte }

const (
	bucketDocuments = "documents"
	bucketInstances = "instances"
	bucketRefused   = "refused"  // what was refused of documents
	bucketVersions  = "versions" // of services, kept as a whole
	bucketIndex     = "index"    // what there is in the buckets above
	bucketMeta      = "meta"
	keyContact      = "contact"
	keyIdentity     = "identity"
	keyFormat       = "format"
	keyUnsure       = "unsure"
)

var buckets = []string{bucketDocuments, bucketRefused, bucketVersions, bucketIndex, bucketInstances, bucketMeta}

// Open opens the store of one source and namespace, and makes it if there is none. A damaged one is set aside and
// what can still be trusted of it is taken over; see Status for what was lost. ErrLocked names the process that has it.
func Open(o Options) (*Store, error) {
	s, dir, err := newStore(o)
	if err != nil {
		return nil, err
	}
	s.commit = s.write
	if o.Disk != nil {
		s.commit = func(batch map[slot]op) error {
			if err := o.Disk(); err != nil {
				return err
			}
			return s.write(batch)
		}
	}
	if err := s.open(dir, o.Identity); err != nil {
		return nil, fmt.Errorf("open store %s: %w", s.path, err)
	}
	go s.run()
	return s, nil
}

// newStore returns a Store that is not open yet, and the directory that it lies in.
func newStore(o Options) (*Store, string, error) {
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, "", fmt.Errorf("open store: %w", err)
		}
	}
	path := filepath.Join(dir, o.Identity.fileName())
	s := &Store{
		path:     path,
		log:      o.Log,
		limit:    o.QueueBytes,
		pending:  map[slot]op{},
		inflight: map[slot]op{},
		refused:  map[slot]bool{},
		idle:     make(chan struct{}),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.limit <= 0 {
		s.limit = 64 << 20
	}
	s.status.Path = path
	return s, dir, nil
}

func (s *Store) open(dir string, id Identity) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = lockFile(s.path + ".lock"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if s.db != nil {
				s.db.Close()
			}
			s.lock.unlock()
		}
	}()
	if s.seal, err = openSeal(s.path + ".key"); err != nil {
		return err
	}
	kept, err := s.inspect()
	if err != nil {
		return err
	}
	if s.db, err = openBolt(s.path); err != nil {
		return err
	}
	if err := s.db.Update(func(tx *bolt.Tx) error { return prepare(tx, id) }); err != nil {
		return err
	}
	if _, err := s.lookup(slot{bucketMeta, keyUnsure}); err == nil {
		s.unsure = true
	}
	if s.unsure {
		if kept == nil {
			kept = map[slot]op{}
		}
		kept[slot{bucketMeta, keyUnsure}] = op{pack(slot{bucketMeta, keyUnsure}, []byte("1"))}
	}
	if len(kept) > 0 {
		if err := s.write(kept); err != nil {
			return err
		}
	}
	return s.load(bucketRefused, func(at slot, _ []byte) { s.refused[at] = true })
}

func openBolt(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: time.Second,
		// A freelist on disk could be damaged unnoticed, and then live pages would be overwritten.
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		NoStatistics:   true,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, ErrLocked
	}
	return db, err
}

// prepare makes the buckets and makes sure that the store is the one meant. One of before there was an index gets it.
func prepare(tx *bolt.Tx, id Identity) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	meta := tx.Bucket([]byte(bucketMeta))
	want := id.String()
	if b := meta.Get([]byte(keyIdentity)); b != nil {
		if have, err := unpack(slot{bucketMeta, keyIdentity}, b); err == nil && string(have) != want {
			return fmt.Errorf("it belongs to %s, not to %s; move it away or set state.path to another directory", have, want)
		}
	}
	if meta.Get([]byte(keyFormat)) == nil {
		documents := tx.Bucket([]byte(bucketDocuments))
		if err := documents.ForEach(func(k, v []byte) error { return enter(tx, slot{bucketDocuments, string(k)}, v) }); err != nil {
			return err
		}
		if err := meta.Put([]byte(keyFormat), pack(slot{bucketMeta, keyFormat}, []byte("2"))); err != nil {
			return err
		}
	}
	return meta.Put([]byte(keyIdentity), pack(slot{bucketMeta, keyIdentity}, []byte(want)))
}

// Batch is what is written together: after a crash all of it is there or nothing.
type Batch struct {
	Put            []Record
	Delete         []Name // documents that were deleted in the source
	PutVersions    []Version
	DeleteVersions []VersionName
}

// Name names a document.
type Name struct{ Group, DataID string }

// VersionName names a version of a service.
type VersionName struct{ Service, Version string }

// Version is a version of a service, kept as a whole besides its documents.
type Version struct {
	VersionName
	Lost   bool `json:"-"` // it was kept and cannot be read any more; there are no Parts then
	Latest bool
	Parts  []Part
}

// Part is a document that a Version is made of.
type Part struct {
	Group   string
	DataID  string
	MD5     string
	Since   time.Time
	Content []byte
}

// Write keeps a batch, each record of it instead of what was kept under its name. It only queues.
func (s *Store) Write(b Batch) { s.add(b, map[slot]op{}) }

// add queues ops and, instead of those for the same slots, a batch.
func (s *Store) add(b Batch, ops map[slot]op) {
	for _, name := range b.Delete {
		ops[documentSlot(name.Group, name.DataID)] = op{}
		s.refuse(ops, name.Group, name.DataID, nil)
	}
	for _, name := range b.DeleteVersions {
		ops[versionSlot(name)] = op{}
	}
	put := func(at slot, r Record) {
		value, err := s.encode(at, r)
		if err != nil { // cannot happen: the record is plain data
			s.log.Error("record not stored", "record", recordName(at), "error", err)
			return
		}
		ops[at] = op{value}
	}
	for _, r := range b.Put {
		refused := r.Refused
		r.Refused = nil
		if refused != nil {
			put(refusedSlot(r.Group, r.DataID), Record{
				Lost: refused.Lost, Content: refused.Content, MD5: refused.MD5, Since: refused.Since, Sealed: r.Sealed,
				Barred: r.Barred, Off: r.Off, Disabled: r.Disabled,
			})
		}
		s.refuse(ops, r.Group, r.DataID, refused)
		if ops[documentSlot(r.Group, r.DataID)] = (op{}); r.Content != nil || r.Lost || refused == nil {
			put(documentSlot(r.Group, r.DataID), r)
		}
	}
	for _, v := range b.PutVersions {
		content, err := json.Marshal(v)
		if err != nil {
			s.log.Error("version not stored", "service", v.Service, "version", v.Version, "error", err)
			continue
		}
		put(versionSlot(v.VersionName), Record{Content: content, Sealed: true})
	}
	s.queue(ops)
}

// Replace keeps a batch, and nothing of documents and versions besides. It reads the disk, and only queues.
func (s *Store) Replace(b Batch) error {
	gone := map[slot]op{}
	for _, bucket := range []string{bucketDocuments, bucketRefused, bucketVersions} {
		if err := s.load(bucket, func(at slot, _ []byte) { gone[at] = op{} }); err != nil {
			return fmt.Errorf("replace what store %s holds: %w", s.path, err)
		}
	}
	s.mu.Lock()
	for at := range gone {
		delete(s.refused, at)
	}
	s.mu.Unlock()
	s.add(b, gone)
	return nil
}

// refuse keeps account of what is refused, and clears what is no more.
func (s *Store) refuse(ops map[slot]op, group, dataID string, refused *Refused) {
	at := refusedSlot(group, dataID)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case refused != nil:
		s.refused[at] = true
	case s.refused[at]:
		delete(s.refused, at)
		ops[at] = op{}
	}
}

// Put keeps records, each instead of what was kept under its name. It only queues.
func (s *Store) Put(records ...Record) { s.Write(Batch{Put: records}) }

// Delete forgets a document that was deleted in the source. It only queues.
func (s *Store) Delete(group, dataID string) { s.Write(Batch{Delete: []Name{{group, dataID}}}) }

// Get gives one record, as last put whether it is on disk yet or not; else ErrNotFound, or what is wrong with it.
func (s *Store) Get(group, dataID string) (Record, error) {
	var all [2]*Record
	for i, at := range []slot{documentSlot(group, dataID), refusedSlot(group, dataID)} {
		value, err := s.lookup(at)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		var r Record
		if err == nil {
			r, err = s.decode(at, value)
		}
		if err != nil {
			return Record{}, fmt.Errorf("get %s/%s from store: %w", group, dataID, err)
		}
		all[i] = &r
	}
	if all[0] == nil && all[1] == nil {
		return Record{}, fmt.Errorf("get %s/%s from store: %w", group, dataID, ErrNotFound)
	}
	return join(all[0], all[1]), nil
}

// join makes one record of the good version and of what was refused; one of them may be nil.
func join(good, refused *Record) Record {
	var r Record
	if good != nil {
		r = *good
	}
	if refused != nil {
		r.Group, r.DataID, r.Sealed = refused.Group, refused.DataID, refused.Sealed
		r.Barred, r.Off, r.Disabled = refused.Barred, refused.Off, refused.Disabled
		r.Refused = &Refused{Lost: refused.Lost, MD5: refused.MD5, Since: refused.Since, Content: refused.Content}
	}
	return r
}

// Load calls each for every record on disk, in the order of their names. Damaged ones are named in Status, and given as Lost:
// what was there must not be taken for what never was. It is meant for the start; records put since may be missing.
func (s *Store) Load(each func(Record)) error {
	read := func(at slot, value []byte) *Record {
		r, err := s.decode(at, value)
		if err != nil {
			s.damaged(fmt.Sprintf("%s: %v; left out", recordName(at), err))
			r = Record{Lost: true}
			r.Group, r.DataID, _ = strings.Cut(at.key, "\x00")
			s.queue(map[slot]op{at: {s.lost(at)}})
		}
		s.mu.Lock()
		if r.Since.After(s.newest) {
			s.newest = r.Since
		}
		s.mu.Unlock()
		return &r
	}
	refused := map[string]*Record{}
	err := s.load(bucketRefused, func(at slot, value []byte) { refused[at.key] = read(at, value) })
	if err == nil {
		err = s.load(bucketDocuments, func(at slot, value []byte) {
			each(join(read(at, value), refused[at.key]))
			delete(refused, at.key)
		})
	}
	for _, key := range slices.Sorted(maps.Keys(refused)) {
		each(join(nil, refused[key]))
	}
	if err != nil {
		return fmt.Errorf("load store %s: %w", s.path, err)
	}
	return nil
}

// Unsure reports whether, after damage, documents may have been kept of which not even the name is known any more.
func (s *Store) Unsure() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsure
}

// Sure ends Unsure: the source has been read whole. It only queues.
func (s *Store) Sure() {
	s.mu.Lock()
	was := s.unsure
	s.unsure = false
	s.mu.Unlock()
	if was {
		s.queue(map[slot]op{{bucketMeta, keyUnsure}: {}})
	}
}

// LoadVersions calls each for every version of a service that is kept as a whole, as Load does for documents.
func (s *Store) LoadVersions(each func(Version)) error {
	err := s.load(bucketVersions, func(at slot, value []byte) {
		var v Version
		r, err := s.decode(at, value)
		if err == nil && !r.Lost {
			err = json.Unmarshal(r.Content, &v)
		}
		if err != nil {
			s.damaged(fmt.Sprintf("%s: %v; left out", recordName(at), err))
			s.queue(map[slot]op{at: {s.lost(at)}})
		}
		if err != nil || r.Lost {
			v = Version{Lost: true}
			v.Service, v.VersionName.Version, _ = strings.Cut(at.key, "\x00")
		}
		each(v)
	})
	if err != nil {
		return fmt.Errorf("load store %s: %w", s.path, err)
	}
	return nil
}

// PutInstances keeps the instances of a naming service; none is kept as none. It only queues.
func (s *Store) PutInstances(of Service, instances []Instance) {
	at := instanceSlot(of)
	b, err := json.Marshal(instances)
	if err != nil { // a weight of NaN
		s.log.Error("instances not stored", "service", at.name(), "error", err)
		return
	}
	s.queue(map[slot]op{at: {pack(at, b)}})
}

// Instances gives what was last put for a service, or ErrNotFound.
func (s *Store) Instances(of Service) ([]Instance, error) {
	at := instanceSlot(of)
	var instances []Instance
	value, err := s.lookup(at)
	if err == nil {
		var b []byte
		if b, err = unpack(at, value); err == nil {
			err = json.Unmarshal(b, &instances)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("get instances of %s from store: %w", at.name(), err)
	}
	return instances, nil
}

// Contact notes that the source was heard of. Notes less than a few seconds after the last are dropped.
func (s *Store) Contact(t time.Time) {
	s.mu.Lock()
	skip := t.Sub(s.contact) < 5*time.Second
	if !skip {
		s.contact = t
	}
	s.mu.Unlock()
	if skip {
		return
	}
	at := slot{bucketMeta, keyContact}
	b, _ := t.UTC().MarshalText()
	s.queue(map[slot]op{at: {pack(at, b)}})
}

// LastContact is when the source was last heard of, in this run or an earlier one; zero if never.
func (s *Store) LastContact() time.Time {
	at := slot{bucketMeta, keyContact}
	var t time.Time
	if value, err := s.lookup(at); err == nil {
		if b, err := unpack(at, value); err == nil {
			_ = t.UnmarshalText(b)
		}
	}
	if t.IsZero() { // lost: it was heard of when what was loaded was accepted, at least
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.newest
	}
	return t
}

// Status never blocks on the disk.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Queued = len(s.pending) + len(s.inflight)
	st.Damage = slices.Clone(st.Damage)
	return st
}

// Flush waits until everything queued so far is on disk. While the disk fails it waits for ctx.
func (s *Store) Flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		empty := len(s.pending) == 0 && len(s.inflight) == 0
		idle, failing := s.idle, s.status.Failing
		s.mu.Unlock()
		if empty {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			if failing != "" {
				return fmt.Errorf("flush store %s: %s", s.path, failing)
			}
			return fmt.Errorf("flush store %s: %w", s.path, ctx.Err())
		}
	}
}

// Close writes what is queued, if the disk lets it, and gives the store free. Calls after it find nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closing = true
	s.mu.Unlock()
	s.signal()
	<-s.done
	s.mu.Lock()
	left, failing := len(s.pending)+len(s.inflight), s.status.Failing
	s.mu.Unlock()
	err := s.db.Close()
	s.lock.unlock()
	if left > 0 {
		return fmt.Errorf("close store %s: %d records could not be written: %s", s.path, left, failing)
	}
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.path, err)
	}
	return nil
}

// damaged notes something that was found damaged.
func (s *Store) damaged(what string) {
	s.mu.Lock()
	s.status.Damage = append(s.status.Damage, what)
	s.mu.Unlock()
	s.log.Warn("store is damaged", "path", s.path, "damage", what)
}
