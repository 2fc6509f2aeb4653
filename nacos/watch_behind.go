package nacos

import "time"

const (
	// behindPace is the pause between two lists of a group while the watch is behind, for behindMost; behindLater is the pause
	// after that: a link that was slow may be quick again, and a document that cannot be read must not cost a list forever.
	behindPace  = 200 * time.Millisecond
	behindMost  = 5 * time.Second
	behindLater = 2 * time.Second
	// unlistedQuiet is for how long nothing may have changed before documents that no list covers count as known: longer
	// than the copy that queries are answered from usually lags behind.
	unlistedQuiet = 300 * time.Millisecond
	// readTogether is for how long what was read waits for what is known to have changed too, so that edits which followed
	// upon each other are not delivered in another order.
	readTogether = 150 * time.Millisecond
)

// catchUp is how a watch finds out that it has missed nothing any more.
type catchUp struct {
	behind  bool
	away    bool      // there is no connection
	serial  int       // counts what OnProgress is to be told
	since   time.Time // when it fell behind
	emitted time.Time // of the first change in out
	changed time.Time // of the last change at all
	hearing int       // requests to listen that are under way
}

// streak is of lists of a group that showed nothing but what was known, with no change between them.
type streak struct {
	first time.Time // end of the first one; zero: there is none
	last  time.Time // begin of the last one
}

// fallBehind has the watch catch up once more. The caller holds mu, or is alone.
func (w *watch) fallBehind() {
	if !w.catchUp.behind {
		w.catchUp.serial++
	}
	w.catchUp.behind, w.catchUp.since = true, time.Now()
	for _, l := range w.lists {
		l.clean = streak{}
		w.listWithin(l, behindPace)
	}
	poke(w.deliverNow)
}

// lack is told that something which has changed cannot be read just now. The caller holds mu.
func (w *watch) lack() {
	if !w.catchUp.behind {
		w.fallBehind()
	}
}

// mayHaveMissed is told of trouble with the connection, or that there is none.
func (w *watch) mayHaveMissed(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if away && !w.catchUp.away {
		w.catchUp.away = true
		w.catchUp.serial++
	}
	w.fallBehind()
}

// ripe tells whether what was read may be delivered: nothing else is known to have changed, or it has waited long enough. The
// caller holds mu.
func (w *watch) ripe() bool {
	return !w.reading() || time.Since(w.catchUp.emitted) >= readTogether
}

// reading tells whether documents wait for being queried. The caller holds mu.
func (w *watch) reading() bool { return w.synced && w.querying > 0 }

// caughtUp notes and reports that nothing is missing any more.
//
// Documents are read one by one, and others may have changed meanwhile. So all lists are taken twice: where neither round
// showed anything but what is known, the groups held just that together, at the moment between the two.
func (w *watch) caughtUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.catchUp.behind {
		return true
	}
	cn := w.c.link.current()
	switch {
	case cn == nil || w.generation != cn.generation || w.c.troubled.Load() || !w.synced:
		return false
	case len(w.out) > 0 || w.querying > 0 || w.catchUp.hearing > 0 || w.relisten || w.unheardOf():
		return false
	}
	for _, k := range w.parked {
		if d := w.docs[k]; d != nil && !d.parkedUntil.IsZero() && !d.forbidden {
			return false
		}
	}
	var first, last time.Time
	forbidden := 0
	for _, l := range w.lists {
		switch {
		case l.forbidden:
			forbidden++
		case l.partial:
		case l.clean.first.IsZero():
			return false
		default:
			if l.clean.first.After(first) {
				first = l.clean.first
			}
			if last.IsZero() || l.clean.last.Before(last) {
				last = l.clean.last
			}
		}
	}
	if forbidden > 0 && forbidden == len(w.lists) {
		return false // it is the token, rather, than a right
	}
	if last.Before(first) || time.Since(w.catchUp.changed) < unlistedQuiet && w.unlisted() {
		return false
	}
	w.catchUp.behind = false
	return true
}

// unheardOf tells whether documents that may be read are not listened to yet. The caller holds mu.
func (w *watch) unheardOf() bool {
	for _, d := range w.unheard {
		if w.docs[d.key] == d && !d.listening && !d.forbidden {
			return true
		}
	}
	return false
}

// unlisted tells whether there are documents that no list covers. The caller holds mu.
func (w *watch) unlisted() bool {
	for _, l := range w.lists {
		if !l.usable {
			return true
		}
	}
	for k, d := range w.docs {
		if d.wanted && !w.groups[k.Group] {
			return true
		}
	}
	return false
}

func (w *watch) tell(p Progress) {
	if w.cfg.OnProgress != nil && w.ctx.Err() == nil {
		w.cfg.OnProgress(p)
	}
}
