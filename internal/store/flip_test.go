package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// aged makes a store in which every document was written twice, some were deleted and some refused, so that its free pages
// hold what is not to come back.
func aged(t *testing.T) (s *Store, file []byte, want map[slot]string) {
	t.Helper()
	s = open(t, t.TempDir())
	want = map[slot]string{}
	for _, version := range []string{"old", "new"} {
		for i := range 70 {
			r := record(fmt.Sprintf("doc%03d", i), fmt.Sprintf("%s %d %s", version, i, noise(i%50)))
			if i%7 == 0 {
				r.Refused = &Refused{MD5: version, Content: []byte("refused " + version)}
			}
			s.Put(r)
			if i%10 == 3 {
				s.Write(Batch{PutVersions: []Version{{VersionName: VersionName{r.DataID, "1"}, Parts: []Part{{Group: "g", DataID: r.DataID, MD5: version}}}}})
			}
		}
		flush(t, s)
	}
	for i := range 70 {
		if i%3 == 1 {
			s.Delete("g", fmt.Sprintf("doc%03d", i))
			s.Write(Batch{DeleteVersions: []VersionName{{fmt.Sprintf("doc%03d", i), "1"}}})
		}
	}
	flush(t, s)
	s.Close()
	file, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{f: bytes.NewReader(file), size: int64(len(file)), kept: map[slot]op{}}
	w.whole()
	for at, o := range w.kept {
		if indexed(at) {
			want[at] = string(o.value)
		}
	}
	if len(want) < 50 || len(w.damage) > 0 {
		t.Fatalf("%d records, damage %q", len(want), w.damage)
	}
	return s, file, want
}

// survives checks that nothing that a damaged file gives is old, and that what it does not give is known to be lost.
func survives(t *testing.T, s *Store, name string, file []byte, want map[slot]string) {
	t.Helper()
	w := s.examine(bytes.NewReader(file), int64(len(file)))
	if w == nil { // then bbolt reads it as it is
		w = &walker{f: bytes.NewReader(file), size: int64(len(file)), kept: map[slot]op{}}
		w.whole()
		s.unsure = false
	}
	for at, o := range w.kept {
		if !indexed(at) {
			continue
		}
		r, err := s.decode(at, o.value)
		if err != nil {
			t.Errorf("%s: %s is kept and cannot be read: %v", name, recordName(at), err)
		}
		if was, ok := want[at]; !r.Lost && (!ok || was != string(o.value)) {
			t.Errorf("%s: %s is old", name, recordName(at))
		}
	}
	for at := range want {
		if _, known := w.kept[at]; !known && !s.unsure {
			t.Errorf("%s: %s is lost, and nobody knows", name, recordName(at))
		}
	}
}

// TestNoFlippedByteBringsOldRecordsBack flips bytes all over a file. Seen red without the index (what a page above leads to
// is old, and what is lost nobody knows) and without the second header.
func TestNoFlippedByteBringsOldRecordsBack(t *testing.T) {
	s, file, want := aged(t)
	survives(t, s, "undamaged", file, want)
	if w := s.examine(bytes.NewReader(file), int64(len(file))); w != nil {
		t.Fatalf("the undamaged file: %q", w.damage)
	}
	random := rand.New(rand.NewPCG(7, 8))
	step := 5
	if testing.Short() {
		step = 53
	}
	for at := 0; at < len(file); at += step {
		if in := at % os.Getpagesize(); in > 64 && random.IntN(8) > 0 {
			continue // all of where the structure is, some of the rest
		}
		bad := bytes.Clone(file)
		bad[at] ^= byte(1 + random.IntN(255))
		survives(t, s, fmt.Sprintf("byte %d", at), bad, want)
	}
}

// TestNoPageLeadsToOldRecords has each reference to a page lead to each other page.
func TestNoPageLeadsToOldRecords(t *testing.T) {
	s, file, want := aged(t)
	pages := uint64(len(file) / os.Getpagesize())
	step := uint64(1)
	if testing.Short() {
		step = 5
	}
	for at := 0; at+8 <= len(file); at += 8 {
		if id := order.Uint64(file[at:]); id < 2 || id >= pages {
			continue
		}
		for id := uint64(at/8) % step; id < pages; id += step {
			bad := bytes.Clone(file)
			order.PutUint64(bad[at:], id)
			survives(t, s, fmt.Sprintf("page %d in place of another at %d", id, at), bad, want)
		}
	}
}

// TestLostHeadersLoseNothing: whichever header is damaged, the other one leads to what was written last.
func TestLostHeadersLoseNothing(t *testing.T) {
	s, file, want := aged(t)
	for header := range 2 {
		bad := bytes.Clone(file)
		bad[header*os.Getpagesize()+pageHeader+20] ^= 1
		w := s.examine(bytes.NewReader(bad), int64(len(bad)))
		if w == nil {
			t.Fatal("a damaged header is not noticed")
		}
		survives(t, s, fmt.Sprint("header ", header), bad, want)
		for at, value := range want {
			if string(w.kept[at].value) != value {
				t.Errorf("header %d: %s is lost", header, recordName(at))
			}
		}
	}
}

// TestCutFilesNeverGiveOldRecords cuts a file at many places.
func TestCutFilesNeverGiveOldRecords(t *testing.T) {
	s, file, want := aged(t)
	for size := len(file) - 1; size > 0; size -= 997 {
		survives(t, s, fmt.Sprintf("cut to %d", size), file[:size], want)
	}
}

// TestMissingBucketsAndRecordsAreKnown takes away what a program might that knows nothing of the index, all pages being whole.
func TestMissingBucketsAndRecordsAreKnown(t *testing.T) {
	take := map[string]func(*bolt.Tx) error{
		"a record":         func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketDocuments)).Delete([]byte("g\x00doc005")) },
		"a refused record": func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketRefused)).Delete([]byte("g\x00doc000")) },
		"a version":        func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketVersions)).Delete([]byte("doc003\x001")) },
		"an entry of the index": func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(bucketIndex)).Delete([]byte(bucketDocuments + "\x00g\x00doc005"))
		},
		"index and documents": func(tx *bolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte(bucketDocuments)), tx.DeleteBucket([]byte(bucketIndex)))
		},
	}
	for _, name := range buckets {
		take["bucket "+name] = func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(name)) }
	}
	for name, f := range take {
		t.Run(name, func(t *testing.T) {
			s, _, want := aged(t)
			db, err := bolt.Open(s.path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(f)
			db.Close()
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(s.path)
			if err != nil {
				t.Fatal(err)
			}
			survives(t, s, name, file, want)
			for range 2 { // what is known to be lost must be known at the next start, too
				s = open(t, filepath.Dir(s.path))
				if name != "bucket "+bucketInstances && !s.Unsure() && len(lost(t, s))+len(lostVersions(t, s)) == 0 {
					t.Error("nothing is known to be lost")
				}
				s.Close()
			}
		})
	}
}

func lostVersions(t *testing.T, s *Store) (names []VersionName) {
	t.Helper()
	if err := s.LoadVersions(func(v Version) {
		if v.Lost {
			names = append(names, v.VersionName)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// TestStoreOfBeforeThereWasAnIndex is taken over whole; damaged, it is unsure.
func TestStoreOfBeforeThereWasAnIndex(t *testing.T) {
	before := func(t *testing.T) *Store {
		s := open(t, t.TempDir())
		s.Put(record("a", "content"), record("b", "content"))
		flush(t, s)
		s.Close()
		db, err := bolt.Open(s.path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(tx *bolt.Tx) error {
			meta := tx.Bucket([]byte(bucketMeta))
			return errors.Join(tx.DeleteBucket([]byte(bucketIndex)), tx.DeleteBucket([]byte(bucketRefused)), tx.DeleteBucket([]byte(bucketVersions)),
				meta.Delete([]byte(keyFormat)))
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for range 2 {
		s := before(t)
		for range 2 {
			s = open(t, filepath.Dir(s.path))
			if got := loaded(t, s); len(got) != 2 || s.Unsure() || len(s.Status().Damage) > 0 {
				t.Errorf("%d records, unsure %v, damage %q", len(got), s.Unsure(), s.Status().Damage)
			}
			s.Close()
		}
	}
	s := before(t)
	file, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	file[bytes.LastIndex(file, []byte("content"))] ^= 1
	if err := os.WriteFile(s.path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = open(t, filepath.Dir(s.path))
		if got := loaded(t, s); len(got) != 1 || !s.Unsure() || len(lost(t, s)) != 1 {
			t.Errorf("%d records, unsure %v, lost %q", len(got), s.Unsure(), lost(t, s))
		}
		s.Close()
	}
	s = open(t, filepath.Dir(s.path))
	s.Sure()
	s.Close()
	if s = open(t, filepath.Dir(s.path)); s.Unsure() {
		t.Error("unsure though the source has been read")
	}
}
