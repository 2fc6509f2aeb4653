package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPeekWhileAnotherWrites: a store that another process writes all the time is read whole, nothing of it counts as lost,
// and what is put into the copy goes nowhere.
func TestPeekWhileAnotherWrites(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const n = 200
	put := func(version int) {
		for i := range n {
			r := record(fmt.Sprint("doc", i), fmt.Sprint("version ", version))
			r.Sealed = true
			s.Put(r)
		}
	}
	put(0)
	flush(t, s)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for version := 1; ; version++ {
			select {
			case <-stop:
				return
			default:
				put(version)
				time.Sleep(time.Millisecond)
			}
		}
	}()
	o := Options{Dir: dir, Identity: testIdentity}
	for range 15 {
		_, locked := Open(o)
		if !errors.Is(locked, ErrLocked) {
			t.Fatal(locked)
		}
		copied, err := Peek(o, locked)
		if err != nil {
			t.Fatal(err)
		}
		if got, missing := loaded(t, copied), lost(t, copied); len(got) != n || len(missing) > 0 || copied.Unsure() {
			t.Errorf("%d records, lost %q, damage %q", len(got), missing, copied.Status().Damage)
		}
		copied.Put(record("doc0", "put into a copy"))
		if got, err := copied.Get("g", "doc0"); err != nil || string(got.Content) == "put into a copy" {
			t.Errorf("%q %v", got.Content, err)
		}
		if copied.Status().Failing == "" {
			t.Error("the copy does not say that it keeps nothing")
		}
		if err := copied.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
}

func TestPeekAtWhatIsNotThereYet(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "none"), Identity: testIdentity}
	if _, err := Peek(o, ErrLocked); err == nil {
		t.Error("a store without its key")
	}
	s := None(o, ErrLocked)
	if got := loaded(t, s); len(got) > 0 || !s.LastContact().IsZero() {
		t.Errorf("%v", got)
	}
	s.Put(record("a", "x"))
	flush(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplaceForgetsTheRest: what is not put is gone, on disk and from what waits.
func TestReplaceForgetsTheRest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	old := record("old", "x")
	old.Refused = &Refused{MD5: "m", Content: []byte("bad")}
	kept := record("kept", "was")
	kept.Refused = &Refused{MD5: "m", Content: []byte("bad")}
	s.Put(old, kept, record("waits", "x"))
	s.Write(Batch{PutVersions: []Version{{VersionName: VersionName{"s", "1"}}, {VersionName: VersionName{"s", "2"}}}})
	flush(t, s)
	if err := s.Replace(Batch{Put: []Record{record("kept", "is"), record("new", "is")}, PutVersions: []Version{{VersionName: VersionName{"s", "2"}}}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	if diff := cmp.Diff(map[string]string{"g/kept": "is", "g/new": "is"}, loaded(t, s)); diff != "" {
		t.Error(diff)
	}
	if got, err := s.Get("g", "kept"); err != nil || got.Refused != nil {
		t.Errorf("%+v %v", got.Refused, err)
	}
	var versions []VersionName
	if err := s.LoadVersions(func(v Version) { versions = append(versions, v.VersionName) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]VersionName{{"s", "2"}}, versions); diff != "" || len(s.Status().Damage) > 0 {
		t.Error(diff, s.Status().Damage)
	}
}
