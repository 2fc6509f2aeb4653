package nacos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// listShare is the part of the time that listing may take: an interval is at least 1/listShare times how long the
	// last lists of all groups took together.
	listShare       = 0.1
	maxListInterval = time.Minute
	// confirmAfter is when a list is taken again that lacked a document for the first time.
	confirmAfter = time.Second
	awayWait     = 500 * time.Millisecond

	minListTimeout = 3 * time.Second
	maxListTimeout = time.Minute
)

// groupList is how the listing of one group goes.
type groupList struct {
	done     bool // listed at least once
	usable   bool // the last attempt gave a whole list, or failed for want of a connection
	next     time.Time
	took     time.Duration // the last one
	interval time.Duration // the current one, grown where needed
	timeout  time.Duration // of the next attempt
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
	w.mu.Lock()
	// A server that is just starting may take a request and never answer it: that must not cost the time which a
	// list of 100,000 documents may take.
	timeout := max(minListTimeout, w.lists[group].timeout)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	entries, complete, err := w.c.list(ctx, group, "")
	took := time.Since(began)
	if w.ctx.Err() != nil {
		return
	}
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
	l := w.lists[group]
	var status *statusError
	switch {
	case err == nil:
		l.took = took
		l.interval = w.listInterval()
		l.timeout = min(5*took, maxListTimeout)
	case errors.Is(err, ErrForbidden):
		l.usable = false
		l.interval = forbiddenWait
	case !errors.As(err, &status): // away: its HTTP port opens some seconds after gRPC answers
		l.interval = awayWait
		if took >= timeout {
			l.timeout = min(2*timeout, maxListTimeout)
		}
	default: // busy
		l.interval = min(max(2*l.interval, w.c.cfg.ListInterval), 8*w.c.cfg.ListInterval)
	}
	if err != nil {
		w.c.log.Debug("nacos list failed", "group", group, "error", err)
	}
	l.again()
	if err != nil {
		return // tells nothing about any document
	}
	if !w.synced {
		// What the first list showed is still to be read, and the server should have its hands free for that.
		l.next = time.Now().Add(maxListInterval)
	}
	l.usable = complete
	l.done = true
	w.compare(group, entries, complete, began)
	poke(w.deliverNow)
}

// again has the group listed one interval from now, more or less.
func (l *groupList) again() { l.next = time.Now().Add(l.interval*9/10 + rand.N(l.interval/5)) }

// listInterval is the pause between two lists of a group; the caller holds mu.
func (w *watch) listInterval() time.Duration {
	var all time.Duration
	for _, l := range w.lists {
		all += l.took
	}
	return min(max(w.c.cfg.ListInterval, time.Duration(float64(all)/listShare)), maxListInterval)
}

// compare marks what a list shows to be new, changed or missing; the caller holds mu.
func (w *watch) compare(group string, entries []Entry, complete bool, began time.Time) {
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
			// asked for after the list was
		default:
			d.listMD5, d.reasks = e.MD5, 0
			if !d.fresh {
				w.mark(d, becauseCompared)
			}
		}
	}
	poke(w.listenNow)
	if !complete {
		return
	}
	for k, d := range w.docs {
		if k.Group != group || d.listed == w.listSerial || !d.exists || d.found.After(began) {
			continue
		}
		if d.misses++; d.misses >= 2 {
			w.mark(d, becauseMissing)
		} else if soon := time.Now().Add(confirmAfter); soon.Before(w.lists[group].next) {
			w.lists[group].next = soon
		}
	}
}
