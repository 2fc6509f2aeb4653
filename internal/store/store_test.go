package store

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_CRASH_DIR"); dir != "" {
		crashWriter(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var testIdentity = Identity{Kind: "dir", Addresses: []string{"/x"}, Namespace: "public"}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Identity: testIdentity})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func record(id, content string) Record {
	sum := md5.Sum([]byte(content))
	return Record{Group: "g", DataID: id, Content: []byte(content), MD5: hex.EncodeToString(sum[:]), Since: time.Unix(1700000000, 5).UTC()}
}

// noise gives n bytes that no compression makes fewer.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(b)
	return string(b)
}

func loaded(t *testing.T, s *Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := s.Load(func(r Record) {
		if !r.Lost {
			got[r.Group+"/"+r.DataID] = string(r.Content)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// lost returns the names of what was kept and cannot be read.
func lost(t *testing.T, s *Store) (names []string) {
	t.Helper()
	if err := s.Load(func(r Record) {
		if r.Lost || r.Refused != nil && r.Refused.Lost {
			names = append(names, r.Group+"/"+r.DataID)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func flush(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestStoreGivesBackWhatWasPut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "anew")
	s := open(t, dir)
	records := []Record{
		record("plain", "content"),
		record("empty", ""),
		{Group: "g", DataID: "only-refused", Refused: &Refused{MD5: "m", Since: time.Unix(5, 0).UTC(), Content: []byte("bad")}},
		{Group: "g", DataID: "refused-sealed", Content: []byte("good"), Sealed: true, Refused: &Refused{MD5: "m", Content: []byte("canary-secret")}},
		{Group: "g", DataID: "only-refused-sealed", Sealed: true, Refused: &Refused{MD5: "m", Content: []byte("canary-secret")}},
		{Group: "g", DataID: "refused-later", Content: []byte("good"), MD5: "a", Refused: &Refused{MD5: "b", Since: time.Unix(5, 0).UTC()}},
		{Group: "proxy-credentials", DataID: "c.yaml", Content: []byte("canary-secret"), Sealed: true},
		record("big", strings.Repeat("0123456789", 300_000)),
		{Group: "g", DataID: "big-sealed", Content: []byte(strings.Repeat("tool ", 1000)), Sealed: true,
			Refused: &Refused{MD5: "m", Content: []byte(strings.Repeat("too ", 999))}},
		{Group: "g", DataID: "big-refused", Refused: &Refused{MD5: "m", Content: []byte(strings.Repeat("too ", 999))}},
		record("noise", noise(5000)),
	}
	s.Put(records...)
	s.Put(record("deleted", "x"))
	s.Delete("g", "deleted")
	s.Delete("g", "never there")
	check := func(when string) {
		t.Helper()
		for _, want := range records {
			got, err := s.Get(want.Group, want.DataID)
			if err != nil {
				t.Errorf("%s: %v", when, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: Get %s (-want +got):\n%s", when, want.DataID, diff)
			}
		}
		if _, err := s.Get("g", "deleted"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: Get of a deleted one: %v", when, err)
		}
	}
	check("queued")
	flush(t, s)
	check("on disk")
	s.Close()
	s = open(t, dir)
	check("opened again")
	if n := len(loaded(t, s)); n != len(records) {
		t.Errorf("%d records loaded, %d put", n, len(records))
	}
	if d := s.Status().Damage; len(d) > 0 {
		t.Errorf("damage: %q", d)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, _ := f.Info()
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", f.Name(), st.Mode())
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("canary-secret")) {
			t.Errorf("%s holds the sealed content", f.Name())
		}
	}
	if st, _ := os.Stat(dir); st.Mode().Perm() != 0o700 {
		t.Errorf("directory: mode %v", st.Mode())
	}
}

func TestStoreKeepsInstancesAndContact(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	of := Service{"public", "g", "a::1"}
	if _, err := s.Instances(of); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if !s.LastContact().IsZero() {
		t.Error("contact before any")
	}
	want := []Instance{{Host: "h", Port: 1, Weight: 0.5, Healthy: true, Metadata: map[string]string{"a": "b"}}}
	s.PutInstances(of, want)
	s.PutInstances(Service{"", "g", "none"}, []Instance{})
	at := time.Now()
	s.Contact(at)
	s.Contact(at.Add(time.Second)) // too soon to be worth a write
	s.Close()
	s = open(t, dir)
	got, err := s.Instances(of)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got, err := s.Instances(Service{"", "g", "none"}); err != nil || got == nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
	if got := s.LastContact(); !got.Equal(at) {
		t.Errorf("contact %v, want %v", got, at)
	}
}

func TestStoreSecondProcessIsToldWhoHasIt(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := Open(Options{Dir: dir, Identity: testIdentity})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("store is in use by another process: process %d on ", os.Getpid())) ||
		!strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	other := testIdentity
	other.Namespace = "other"
	o, err := Open(Options{Dir: dir, Identity: other})
	if err != nil {
		t.Fatalf("another namespace has a store of its own: %v", err)
	}
	o.Close()
	s.Close()
	open(t, dir)
}

func TestIdentity(t *testing.T) {
	a := Identity{Kind: "nacos", Addresses: []string{"b:1", "a:1"}, Namespace: "public", AccessNamespace: "public"}
	if got, want := a.String(), "nacos a:1,b:1 namespace public"; got != want {
		t.Errorf("got %q want %q", got, want)
	}
	seen := map[string]bool{}
	for _, i := range []Identity{a, {Kind: "nacos", Addresses: []string{"a:1"}, Namespace: "public"}, {Kind: "nacos", Addresses: []string{"a:1"}, Namespace: "../x"},
		{Kind: "nacos", Addresses: []string{"a:1"}, Namespace: "public", AccessNamespace: "acl"}} {
		name := i.fileName()
		if seen[name] || filepath.Base(name) != name {
			t.Errorf("file name %q", name)
		}
		seen[name] = true
	}
}

// With the bound taken out of queue, everything waits and Forgotten stays 0.
func TestA06_StoreGoesOnWhenTheDiskFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.Put(record("before", "old"), record("other", "kept"))
	flush(t, s)
	var mu sync.Mutex
	failing := true
	real := s.commit
	s.commit = func(b map[slot]op) error { // run waits for its next batch meanwhile
		mu.Lock()
		defer mu.Unlock()
		if failing {
			return errors.New("no space left on device")
		}
		return real(b)
	}
	s.limit = 1 << 20
	s.Put(record("after", "new"))
	for range 500 {
		if s.Status().Failing != "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if st := s.Status(); st.Failing != "no space left on device" || st.Since.IsZero() || st.Queued == 0 {
		t.Fatalf("status %+v", st)
	}
	start := time.Now()
	s.Put(record("before", noise(900_000)))
	for i := range 300 {
		s.Put(record(fmt.Sprint("many", i), noise(10_000)))
	}
	s.Put(record("other", noise(900_000)))
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("puts took %v", d)
	}
	if got, err := s.Get("g", "after"); err != nil || string(got.Content) != "new" {
		t.Errorf("Get of what waits: %v", err)
	}
	if got, err := s.Get("g", "other"); err != nil || !got.Lost || got.Content != nil {
		t.Errorf("what was given up answers with the old version: %v", err)
	}
	if st := s.Status(); st.Forgotten == 0 {
		t.Errorf("status %+v", st)
	}
	mu.Lock()
	failing = false
	mu.Unlock()
	flush(t, s)
	if st := s.Status(); st.Failing != "" || !st.Since.IsZero() || st.Queued != 0 {
		t.Errorf("status %+v", st)
	}
	s.Close()
	s = open(t, dir)
	got := loaded(t, s)
	if got["g/after"] != "new" || len(got["g/before"]) != 900_000 {
		t.Errorf("after recovery: %d documents", len(got))
	}
	if _, ok := got["g/other"]; ok {
		t.Error("the old version came back")
	}
	if names := lost(t, s); !slices.Contains(names, "g/other") {
		t.Errorf("what was given up is not known any more: %q", names)
	}
}

func TestA06_StoreThatCannotBeMadeIsAnErrorNotAPanic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Open(Options{Dir: file, Identity: testIdentity}); err == nil {
		t.Error("a store in a file")
	}
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o500)
	if _, err := Open(Options{Dir: dir, Identity: testIdentity}); err == nil {
		t.Error("a store in a read-only directory")
	}
}

func TestStoreClosesWhileTheDiskFails(t *testing.T) {
	s := open(t, t.TempDir())
	s.commit = func(map[slot]op) error { return errors.New("read-only file system") }
	s.Put(record("a", "x"))
	err := s.Close()
	if err == nil || !strings.HasSuffix(err.Error(), "1 records could not be written: read-only file system") {
		t.Errorf("got %v", err)
	}
	s.Put(record("b", "x")) // nothing happens
}

func TestStoreWritesDoNotWaitForTheDisk(t *testing.T) {
	s := open(t, t.TempDir())
	release := make(chan struct{})
	real := s.commit
	s.commit = func(b map[slot]op) error { <-release; return real(b) }
	s.Put(record("a", "0"))
	time.Sleep(3 * gather) // now the disk hangs with it
	for i := range 1000 {
		s.Put(record("a", fmt.Sprint(i)))
		s.Put(record(fmt.Sprint("b", i), "x"))
	}
	if got, err := s.Get("g", "a"); err != nil || string(got.Content) != "999" {
		t.Errorf("%q %v", got.Content, err)
	}
	if q := s.Status().Queued; q != 1002 {
		t.Errorf("%d records wait; edits of one document should be one", q)
	}
	close(release)
	flush(t, s)
	if got := loaded(t, s); got["g/a"] != "999" || len(got) != 1001 {
		t.Errorf("%q, %d documents", got["g/a"], len(got))
	}
}

func TestStoreIsUsedByManyAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				id := fmt.Sprint(w, "-", i%20)
				s.Put(record(id, fmt.Sprint(i)))
				if got, err := s.Get("g", id); err != nil || string(got.Content) != fmt.Sprint(i) {
					t.Errorf("%q %v", got.Content, err)
					return
				}
				if i%50 == 0 {
					s.Status()
					s.Load(func(Record) {})
				}
			}
		})
	}
	wg.Wait()
}

func TestStoreWithLostKeyLosesSealedRecordsOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	r := record("secret", "x")
	r.Sealed = true
	s.Put(r, record("plain", "y"))
	s.Close()
	os.Remove(s.path + ".key")
	s = open(t, dir)
	if diff := cmp.Diff(map[string]string{"g/plain": "y"}, loaded(t, s)); diff != "" {
		t.Error(diff)
	}
	want := []string{`document "g/secret": sealed with another key than the one beside the store; left out`}
	if diff := cmp.Diff(want, s.Status().Damage); diff != "" {
		t.Error(diff)
	}
}

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
