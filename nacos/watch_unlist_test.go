package nacos

import (
	"testing"
	"time"
)

// TestDeletedBeforeItWasRead: a list has a document, the next one lacks it, and only then it is queried. "Not found" settles it.
// Seen red without unlist: the query was repeated as if its copy lagged behind the list.
func TestDeletedBeforeItWasRead(t *testing.T) {
	k := Key{"g", "doc"}
	w := &watch{
		c:         &Client{link: &link{}},
		groups:    map[string]bool{"g": true},
		lists:     map[string]*groupList{"g": {usable: true}},
		docs:      map[Key]*followed{},
		listenNow: make(chan struct{}, 1), listNow: make(chan struct{}, 1), deliverNow: make(chan struct{}, 1),
	}
	w.compare("g", []Entry{{k, "1"}}, true, time.Now())
	d := w.docs[k]
	w.absent(d, 0)
	if w.unresolved != 1 || d.parkedUntil.IsZero() {
		t.Fatal("one answer settles a document that the list has")
	}
	w.compare("g", nil, true, time.Now())
	if time.Until(d.parkedUntil) > 0 {
		t.Error("waits for a copy that does not lag behind")
	}
	w.absent(d, 0)
	if w.unresolved != 0 {
		t.Error("still waited for, though neither list nor query has it")
	}
}
