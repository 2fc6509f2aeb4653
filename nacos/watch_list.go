package nacos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// listShare is the part of the time that listing may take: an interval is at least 1/listShare times what the lists
	// of all groups take together.
	listShare = 0.1
	// What a list takes is told from its rows, which is the server's work whatever the way to it is like just now. Where
	// it took longer than that, the next one is put off too, but by mostPutOff only: it may be quick again by then.
	rowCost         = 20 * time.Microsecond
	maxListInterval = time.Minute
	mostPutOff      = 5 * time.Second
	// confirmAfter is when a list is taken again that lacked a document for the first time.
	confirmAfter = time.Second
	// listSoon is when a list is taken to tell whether a document that was not found is gone.
	listSoon = 100 * time.Millisecond
	awayWait = 500 * time.Millisecond

	// A list is given up after a silence, not after a time: a large one over a slow link is on its way. The silence is
	// doubled where nothing came, up to the longest that a server was seen to take for the first byte.
	minListSilence = 3 * time.Second
	maxListSilence = 15 * time.Second
	// staleList is the age from which a list under way is given up when everything is asked for anew.
	staleList = time.Second
)

// groupList is how the listing of one group goes.
type groupList struct {
	done      bool // listed at least once
	usable    bool // the last attempt gave a whole list, or failed for want of a connection
	next      time.Time
	took      time.Duration // the last one
	rows      int           // in it
	clean     streak
	forbidden bool          // there is no right to list it
	partial   bool          // the last list was not the whole
	interval  time.Duration // the current one, grown where needed
	silence   time.Duration // after which the next attempt is given up
}

// listLoop lists each group at once when connected, then again and again.
func (w *watch) listLoop() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.listNow:
		case <-ticker.C:
		}
		for _, group := range w.cfg.Groups {
			w.mu.Lock()
			due := !time.Now().Before(w.lists[group].next)
			w.mu.Unlock()
			if due && w.c.link.current() != nil && w.ctx.Err() == nil {
				w.listGroup(group)
			}
		}
	}
}

func (w *watch) listGroup(group string) {
	began := time.Now()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.mu.Lock()
	// A server that is just starting may take a request and never answer it: that must not cost the time which a
	// list of 100,000 documents may take.
	silence := max(minListSilence, w.lists[group].silence, time.Duration(w.lists[group].rows)*rowCost*10)
	w.listing, w.listingSince, w.listAnew = cancel, began, false
	w.mu.Unlock()
	entries, complete, err := w.c.list(ctx, group, "", silence)
	took := time.Since(began)
	if w.ctx.Err() != nil {
		return
	}
	givenUp := ctx.Err() != nil
	switch {
	case err == nil && complete:
		w.c.problem("list "+group, "")
	case err == nil:
		w.c.problem("list "+group, fmt.Sprintf("group %s has more documents than a list can hold (%d): removals are not noticed", group, pageSize))
	case missingRight(err):
		w.c.problem("list "+group, fmt.Sprintf("listing %s is not permitted: %s", group, w.c.listPermission(group)))
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.listing = nil
	l := w.lists[group]
	var status *statusError
	switch {
	case err == nil:
		if l.forbidden {
			l.forbidden = false
			w.fallBehind() // what happened in the group meanwhile is about to come
		}
		l.took, l.rows = took, len(entries)
		l.interval = w.listInterval()
		l.silence = 0
		if took > minListSilence {
			l.silence = min(2*took, maxListSilence)
		}
	case givenUp: // to be taken anew
		l.interval, l.silence = 0, 0
	case errors.Is(err, ErrForbidden):
		l.usable = false
		l.forbidden = missingRight(err)
		l.interval = forbiddenWait
	case !errors.As(err, &status): // away: its HTTP port opens some seconds after gRPC answers
		l.interval = awayWait
		if errors.Is(err, errSilent) {
			l.silence = min(2*silence, maxListSilence)
		}
	default: // busy
		l.interval = min(max(2*l.interval, w.c.cfg.ListInterval), max(mostPutOff, w.c.cfg.ListInterval))
	}
	if err != nil {
		w.c.log.Debug("nacos list failed", "group", group, "error", err)
	}
	w.again(l, err == nil)
	if w.listAnew {
		l.next = time.Time{} // its rows may be of before
	}
	if err != nil {
		return // tells nothing about any document
	}
	if !w.synced && !w.listAnew {
		// What the first list showed is still to be read, and the server should have its hands free for that.
		l.next = time.Now().Add(maxListInterval)
	}
	l.usable, l.partial = complete, !complete
	l.done = true
	if clean := w.compare(group, entries, complete, began); !clean || w.listAnew {
		l.clean = streak{}
	} else {
		if l.clean.first.IsZero() {
			l.clean.first = time.Now()
		}
		l.clean.last = began
	}
	poke(w.deliverNow)
}

// again has the group listed within an interval from now, and sooner while the watch catches up and lists are answered. The
// caller holds mu.
func (w *watch) again(l *groupList, answered bool) {
	l.next = time.Now().Add(l.interval - rand.N(l.interval/5+1))
	switch work := time.Duration(l.rows) * rowCost; {
	case !answered || !w.catchUp.behind:
	case time.Since(w.catchUp.since) < behindMost:
		w.listWithin(l, max(behindPace, 2*work))
	default:
		w.listWithin(l, max(behindLater, 20*work))
	}
}

// listWithin has a group listed that soon, if it is not anyway. The caller holds mu.
func (w *watch) listWithin(l *groupList, d time.Duration) {
	if soon := time.Now().Add(d); soon.Before(l.next) {
		l.next = soon
	}
}

// listInterval is the pause between two lists of a group; the caller holds mu.
func (w *watch) listInterval() time.Duration {
	var all, work time.Duration
	for _, l := range w.lists {
		all += l.took
		work += time.Duration(l.rows) * rowCost
	}
	share := func(d time.Duration) time.Duration { return time.Duration(float64(d) / listShare) }
	return max(w.c.cfg.ListInterval, min(share(work), maxListInterval), min(share(all), mostPutOff))
}

// compare marks what a list shows to be new, changed or missing, and reports whether nothing was. The caller holds mu.
func (w *watch) compare(group string, entries []Entry, complete bool, began time.Time) (clean bool) {
	clean = true
	w.listSerial++
	for _, e := range entries {
		if e.Key.check() != nil {
			continue
		}
		d := w.follow(e.Key)
		d.misses, d.listed = 0, w.listSerial
		switch {
		case d.exists && d.md5 == e.MD5:
			d.listMD5 = ""
			w.resolve(d)
		case d.found.After(began):
			clean = false // asked for after the list was
		default:
			clean = false
			d.listMD5, d.reasks = e.MD5, 0
			if !d.fresh {
				w.mark(d, becauseCompared)
			}
		}
	}
	poke(w.listenNow)
	if !complete {
		return clean
	}
	for k, d := range w.docs {
		if k.Group != group || d.listed == w.listSerial {
			continue
		}
		if !d.exists {
			w.unlist(d)
			continue
		}
		clean = false
		if d.found.After(began) {
			continue
		}
		if d.misses == 0 {
			d.missed = began
		}
		// Lists that follow upon each other at once are as good as one.
		if d.misses++; d.misses >= 2 && began.Sub(d.missed) >= confirmAfter {
			w.mark(d, becauseMissing)
		} else {
			w.listWithin(w.lists[group], max(confirmAfter-time.Since(d.missed), behindPace))
		}
	}
	return clean
}

// unlist notes that a list lacks a document which was never read: if an earlier one had it, it was deleted before the query, and
// "not found" no longer means that the copy lags behind. The caller holds mu.
func (w *watch) unlist(d *followed) {
	if d.listMD5 == "" {
		return
	}
	if d.reasks > 0 && !d.parkedUntil.IsZero() {
		d.parkedUntil = time.Now()
	}
	d.listMD5, d.reasks = "", 0
}
