package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// bbolt maps its file into memory and trusts what it finds there: a page that is cut off or altered ends the process, or
// a loop never ends. So before it sees the file, inspect walks the tree of pages with every bound checked. The layout is
// that of bbolt's internal/common (page.go, meta.go, bucket.go), version 2, in the machine's byte order.
const (
	pageHeader  = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	elemSize    = 16
	leafBucket  = 0x01
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	maxDepth    = 64
)

var order = binary.NativeEndian

// inspect looks the file over. If it is whole there is nothing to do. Otherwise it is set aside, and what could be read
// of it and has its checksum is returned, to be put into a new one.
func (s *Store) inspect() (map[slot]op, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(s.path, 0o600); err != nil {
			return nil, fmt.Errorf("others may read it: %w", err)
		}
	}
	if st.Size() == 0 {
		return nil, nil // made, but never written
	}
	w := s.examine(f, st.Size())
	if w == nil {
		return nil, nil
	}
	aside := s.path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(s.path, aside); err != nil {
		return nil, fmt.Errorf("set the damaged store aside: %w", err)
	}
	for _, d := range w.damage {
		s.damaged(d)
	}
	s.damaged(fmt.Sprintf("set aside as %s; %d records were taken over", aside, w.taken))
	return w.kept, nil
}

// examine looks a file over. It returns nil if it is whole, else what is to be kept, with what is wrong.
func (s *Store) examine(f io.ReaderAt, size int64) *walker {
	w := &walker{f: f, size: size}
	w.whole()
	lost, unsure := w.lost()
	if len(w.damage) == 0 && len(lost) == 0 && !unsure {
		return nil
	}
	w = &walker{f: f, size: size, kept: map[slot]op{}}
	w.whole()
	for at := range lost {
		delete(w.kept, at)
	}
	w.taken = len(w.kept)
	for _, at := range slices.SortedFunc(maps.Keys(lost), compareSlots) {
		if !w.torn[at] {
			w.fault(bucketNone, "%s: is missing, or not what was written last; left out", recordName(at))
		}
		w.kept[at] = op{s.lost(at)}
	}
	if s.unsure = unsure; unsure {
		w.fault(bucketNone, "more may be missing: until the source has been read, a service without a grants document is closed")
	}
	return w
}

// walker reads a database file without trusting it.
type walker struct {
	f        io.ReaderAt
	size     int64
	pageSize int64
	limit    uint64 // page ids are below
	seen     map[uint64]bool
	damage   []string
	kept     map[slot]op // nil: only look
	taken    int         // of kept: what could be read
	*ledger
}

const bucketNone = "none" // of faults that lose nothing

// span is where the keys of a page must lie: from min, and below max unless that is empty.
type span struct{ min, max string }

func (s span) has(key string) bool { return key >= s.min && (s.max == "" || key < s.max) }

// fault notes damage of pages or entries of a bucket; "" is all of them.
func (w *walker) fault(bucket, format string, args ...any) {
	w.broken[bucket] = true
	const most = 100
	switch n := len(w.damage); {
	case n < most:
		w.damage = append(w.damage, fmt.Sprintf(format, args...))
	case n == most:
		w.damage = append(w.damage, "and more")
	}
}

// whole walks from the newer valid meta page, as bbolt does.
func (w *walker) whole() {
	w.seen, w.ledger = map[uint64]bool{}, newLedger()
	root, ok := w.meta()
	if !ok {
		w.fault("", "no valid header")
		return
	}
	if have, want := w.size, int64(w.limit)*w.pageSize; have < want {
		w.fault(bucketNone, "cut off: %d of %d bytes are there", have, want)
	}
	w.walk(root, "", span{}, 0)
}

// meta finds the newer of the two headers. Either is valid at all times but during its own write, so when only one is,
// what was written last may be lost.
func (w *walker) meta() (root uint64, ok bool) {
	var newest uint64
	try := func(off int64) bool {
		b := make([]byte, pageHeader+metaSize)
		if _, err := w.f.ReadAt(b, off); err != nil {
			return false
		}
		m := b[pageHeader:]
		h := fnv.New64a()
		h.Write(m[:metaSize-8])
		if order.Uint32(m) != metaMagic || order.Uint32(m[4:]) != metaVersion || order.Uint64(m[56:]) != h.Sum64() {
			return false
		}
		size, txid := int64(order.Uint32(m[8:])), order.Uint64(m[48:])
		if size < 512 || size > 1<<20 {
			return false
		}
		if ok && txid < newest {
			return true
		}
		ok, newest = true, txid
		w.pageSize, root, w.limit = size, order.Uint64(m[16:]), order.Uint64(m[40:])
		return true
	}
	if try(0) {
		if !try(w.pageSize) {
			w.fault(bucketNone, "header 1 is invalid")
		}
		return root, ok
	}
	for size := int64(1024); size <= 1<<16 && !ok; size *= 2 {
		if try(size) {
			w.fault(bucketNone, "header 0 is invalid")
		}
	}
	return root, ok
}

// walk reads a page and those below it. bucket is empty in the root, whose entries are buckets.
func (w *walker) walk(id uint64, bucket string, keys span, depth int) {
	page, ok := w.page(id, bucket, depth)
	if ok {
		w.entries(page, fmt.Sprintf("page %d", id), bucket, keys, depth)
	}
}

// page reads a page with its overflow.
func (w *walker) page(id uint64, bucket string, depth int) ([]byte, bool) {
	switch {
	case id < 2 || id >= w.limit:
		w.fault(bucket, "page %d: is not in the file", id)
		return nil, false
	case w.seen[id]:
		w.fault(bucket, "page %d: is referred to twice", id)
		return nil, false
	case depth > maxDepth:
		w.fault(bucket, "page %d: too deep", id)
		return nil, false
	}
	w.seen[id] = true
	page := make([]byte, w.pageSize)
	if _, err := w.f.ReadAt(page, int64(id)*w.pageSize); err != nil {
		w.fault(bucket, "page %d: %v", id, err)
		return nil, false
	}
	if order.Uint64(page) != id {
		w.fault(bucket, "page %d: says it is %d", id, order.Uint64(page))
		return nil, false
	}
	overflow := uint64(order.Uint32(page[12:]))
	if overflow == 0 {
		return page, true
	}
	if id+overflow >= w.limit {
		w.fault(bucket, "page %d: too long", id)
		return nil, false
	}
	for i := range overflow {
		w.seen[id+1+i] = true
	}
	page = make([]byte, int64(1+overflow)*w.pageSize)
	if _, err := w.f.ReadAt(page, int64(id)*w.pageSize); err != nil {
		w.fault(bucket, "page %d: %v", id, err)
		return nil, false
	}
	return page, true
}

// entries reads what a page holds: other pages, buckets or records.
func (w *walker) entries(page []byte, where, bucket string, keys span, depth int) {
	flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if flags != pageBranch && flags != pageLeaf {
		w.fault(bucket, "%s: has no known type", where)
		return
	}
	if pageHeader+count*elemSize > len(page) || flags == pageBranch && count == 0 {
		w.fault(bucket, "%s: cannot have %d entries", where, count)
		return
	}
	if flags == pageBranch {
		w.branches(page, where, bucket, keys, depth)
		return
	}
	last := ""
	for i := range count {
		at := pageHeader + i*elemSize
		elem := page[at:]
		pos, ksize, vsize := uint64(order.Uint32(elem[4:])), uint64(order.Uint32(elem[8:])), uint64(order.Uint32(elem[12:]))
		key, ok := cut(page, at, pos, ksize)
		value, ok2 := cut(page, at, pos+ksize, vsize)
		if !ok || !ok2 || !keys.has(string(key)) || i > 0 && string(key) <= last {
			w.fault(bucket, "%s: entry %d is out of place", where, i)
			continue
		}
		last = string(key)
		w.entry(order.Uint32(elem), last, value, where, bucket, depth)
	}
}

// branches goes through the pages below one, each of which holds the keys from its own first to the next one's.
func (w *walker) branches(page []byte, where, bucket string, keys span, depth int) {
	count := int(order.Uint16(page[10:]))
	key := func(i int) (string, bool) {
		elem := page[pageHeader+i*elemSize:]
		b, ok := cut(page, pageHeader+i*elemSize, uint64(order.Uint32(elem)), uint64(order.Uint32(elem[4:])))
		return string(b), ok
	}
	for i := range count {
		first, ok := key(i)
		below := span{min: first, max: keys.max}
		if i+1 < count {
			var ok2 bool
			below.max, ok2 = key(i + 1)
			ok = ok && ok2 && first < below.max
		}
		if !ok || !keys.has(first) {
			w.fault(bucket, "%s: entry %d is out of place", where, i)
			continue
		}
		w.walk(order.Uint64(page[pageHeader+i*elemSize+8:]), bucket, below, depth+1)
	}
}

func (w *walker) entry(flags uint32, key string, value []byte, where, bucket string, depth int) {
	isBucket := flags&leafBucket != 0
	if isBucket && bucket == "" {
		w.there[key] = true
	}
	switch {
	case flags&^leafBucket != 0 || isBucket != (bucket == ""):
		w.fault(bucket, "%s: entry %q is of the wrong type", where, key)
	case !isBucket:
		w.record(slot{bucket, key}, value)
	case !slices.Contains(buckets, key):
		w.fault("", "%s: unknown bucket %q", where, key)
	case len(value) < 16:
		w.fault(key, "%s: bucket %q is cut off", where, key)
	case order.Uint64(value) != 0:
		w.walk(order.Uint64(value), key, span{}, depth+1)
	case len(value) < 16+pageHeader:
		w.fault(key, "%s: bucket %q is cut off", where, key)
	case order.Uint16(value[24:]) != pageLeaf:
		w.fault(key, "%s: bucket %q is not a leaf", where, key)
	default: // a small bucket lies inside its entry
		w.entries(value[16:], where+", bucket "+key, key, span{}, depth+1)
	}
}

// record keeps what has its checksum, and names what has not.
func (w *walker) record(at slot, value []byte) {
	body, err := unpack(at, value)
	w.note(at, value, body)
	if err != nil {
		w.fault(bucketNone, "%s: %v; left out", recordName(at), err)
		return
	}
	if w.kept != nil && at.bucket != bucketIndex {
		w.kept[at] = op{append([]byte{}, value...)}
	}
}

func recordName(at slot) string {
	switch at.bucket {
	case bucketDocuments:
		return fmt.Sprintf("document %q", at.name())
	case bucketRefused:
		return fmt.Sprintf("rejected version of %q", at.name())
	case bucketVersions:
		return fmt.Sprintf("version %q", at.name())
	case bucketInstances:
		return fmt.Sprintf("instances of %q", at.name())
	}
	return fmt.Sprintf("entry %q", at.name())
}

// cut gives page[at+pos:][:size] if it is inside the page.
func cut(page []byte, at int, pos, size uint64) ([]byte, bool) {
	from := uint64(at) + pos
	if from+size > uint64(len(page)) {
		return nil, false
	}
	return page[from : from+size], true
}
