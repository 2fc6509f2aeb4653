package store

import (
	"encoding/binary"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// The index holds, in pages of its own, the name and checksum of every record that a start goes by. What of a record is
// damaged shows in its checksum; that it is missing, or an old one that a damaged page led to, shows here. So one fault, be it
// in a record, in its name or in the pages above, is known for what it is: something that was there and cannot be read.

// indexed reports whether the index covers a slot.
func indexed(at slot) bool {
	return at.bucket == bucketDocuments || at.bucket == bucketRefused || at.bucket == bucketVersions
}

// entryOf is the slot in the index that is for another slot.
func entryOf(at slot) slot { return slot{bucketIndex, at.bucket + "\x00" + at.key} }

// enter puts into the index what was put into a slot; nil: it was deleted.
func enter(tx *bolt.Tx, at slot, value []byte) error {
	b, entry := tx.Bucket([]byte(bucketIndex)), entryOf(at)
	switch {
	case b == nil:
		return fmt.Errorf("bucket %s is missing", bucketIndex)
	case value == nil:
		return b.Delete([]byte(entry.key))
	case len(value) < sumSize:
		return fmt.Errorf("%w: cut off", errDamaged)
	}
	return b.Put([]byte(entry.key), pack(entry, value[:sumSize]))
}

// ledger is what a walk found of the records that the index covers, and of the index.
type ledger struct {
	whole  map[slot]uint32 // by checksum
	torn   map[slot]bool   // damaged: the slot's name may be, too
	index  map[slot]uint32
	broken map[string]bool // buckets whose pages or entries are damaged; "": all of them
	there  map[string]bool // buckets
	format string
}

func newLedger() *ledger {
	return &ledger{whole: map[slot]uint32{}, torn: map[slot]bool{}, index: map[slot]uint32{}, broken: map[string]bool{}, there: map[string]bool{}}
}

// note takes down a record; body is nil if it is damaged.
func (l *ledger) note(at slot, value, body []byte) {
	switch {
	case indexed(at) && body == nil:
		l.torn[at] = true
	case indexed(at):
		l.whole[at] = binary.BigEndian.Uint32(value)
	case at.bucket == bucketIndex && len(body) == sumSize:
		bucket, key, _ := strings.Cut(at.key, "\x00")
		l.index[slot{bucket, key}] = binary.BigEndian.Uint32(body)
	case at.bucket == bucketIndex:
		l.broken[bucketIndex] = true
	case at == slot{bucketMeta, keyFormat}:
		l.format = string(body)
	case at.bucket == bucketMeta && body == nil && at.key != keyIdentity && at.key != keyContact:
		l.broken[bucketMeta] = true
	}
}

// lost returns the records that were there and cannot be read, or are not what was put last. unsure says that there may be
// more of them whose names are not known.
func (l *ledger) lost() (lost map[slot]bool, unsure bool) {
	damaged := func(bucket string) bool { return l.broken[""] || l.broken[bucket] }
	lost = map[slot]bool{}
	for at := range l.torn {
		lost[at] = true
	}
	if l.format == "" && !l.there[bucketIndex] && l.there[bucketMeta] && !damaged(bucketMeta) { // it is of before there was an index
		return lost, len(lost) > 0 || damaged(bucketDocuments)
	}
	partial := damaged(bucketIndex) || !l.there[bucketIndex]
	unsure = partial || damaged(bucketMeta) || !l.there[bucketMeta]
	for at, sum := range l.whole {
		// Where the index is the one that is damaged, what it lacks is believed.
		if want, ok := l.index[at]; ok && want != sum || !ok && !partial {
			lost[at] = true
		}
	}
	for at := range l.index {
		if _, ok := l.whole[at]; !ok {
			lost[at] = true
		}
	}
	return lost, unsure
}
