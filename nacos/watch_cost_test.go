package nacos

import (
	"fmt"
	"testing"
	"time"
)

// TestCostOfAnEditInAWatch: what a watch does for one edit, one removal and one wish does not depend on how many
// documents it follows. Seen red with the search for what is to be listened to, and with Want, going through all.
func TestCostOfAnEditInAWatch(t *testing.T) {
	few, many := editsInWatch(100), editsInWatch(100_000)
	t.Logf("an edit of one of %7d documents: %s", 100, few)
	t.Logf("an edit of one of %7d documents: %s", 100_000, many)
	// Going through 100,000 documents once takes a thousand times as long as what there is to do; memory that is in no
	// cache a few times.
	if many > 20*few+10*time.Microsecond {
		t.Errorf("%s with 100,000 documents, %s with 100", many, few)
	}
}

// editsInWatch gives the least time that one of many rounds took, in a watch of n documents without a server: what
// would be asked is answered at once.
func editsInWatch(n int) time.Duration {
	w := &watch{
		c:      &Client{link: &link{}, problems: map[string]string{}},
		groups: map[string]bool{"g": true}, docs: map[Key]*followed{}, lists: map[string]*groupList{"g": {done: true, usable: true}},
		listenNow: make(chan struct{}, 1), listNow: make(chan struct{}, 1), deliverNow: make(chan struct{}, 1),
		querying: parallelQueries, // what is marked stays in the queue
	}
	key := func(i int) Key { return Key{"g", fmt.Sprintf("d%d.yaml", i)} }
	for i := range n {
		d := w.follow(key(i))
		d.know("md5")
		d.listening, d.fresh = true, false
		w.resolve(d)
	}
	w.due(false, false)
	least := time.Hour
	for round := range 200 {
		began := time.Now()
		edited, gone, wished := key(round%n), key((round+7)%n), Key{"other", fmt.Sprintf("w%d", round)}
		w.Want([]Key{wished}, []Key{{"other", fmt.Sprintf("w%d", round-1)}})
		w.pushed(edited, becausePushed)
		w.pushed(gone, becausePushed)
		w.mu.Lock()
		for range 2 {
			d := w.take()
			why := d.why
			d.dirty, d.why = false, 0
			if d.key == gone {
				w.answered(d, why, began, Document{}, ErrNotFound)
			} else {
				w.answered(d, why, began, Document{Key: d.key, MD5: fmt.Sprint(round), Content: []byte("x")}, nil)
			}
		}
		due := w.due(false, false)
		changes := newest(w.out)
		w.out, w.unlisten = nil, nil
		w.mu.Unlock()
		took := time.Since(began)
		least = min(least, took)
		if len(changes) != 2 || len(due["other"]) != 1 {
			panic(fmt.Sprintf("round %d: %d changes, %v due", round, len(changes), due))
		}
		d := w.follow(gone) // created again
		d.know("md5")
		d.listening, d.fresh = true, false
		w.resolve(d)
	}
	return least
}
