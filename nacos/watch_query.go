package nacos

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// pushed is told by the server that a document changed. It runs while nothing else is received.
func (w *watch) pushed(k Key, why reason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.docs[k]
	if d == nil {
		if !w.groups[k.Group] || w.closed {
			return
		}
		d = w.follow(k)
		poke(w.listenNow)
		if why == becauseHinted {
			return // listened to first, then queried
		}
	}
	w.mark(d, why)
}

// mark puts a document into the queue; the caller holds mu.
func (w *watch) mark(d *followed, why reason) {
	parked := !d.parkedUntil.IsZero()
	d.why |= why
	if why&becausePushed != 0 {
		d.pushedOn = w.connection()
	}
	d.parkedUntil = time.Time{}
	if d.dirty && !parked { // is in a queue, or will be when its query ends
		if !d.busy && why == becausePushed {
			w.urgent = append(w.urgent, d.key) // overtakes its own place in the bulk
			w.pump()
		}
		return
	}
	d.dirty = true
	if !d.busy {
		w.enqueue(d)
	}
}

func (w *watch) enqueue(d *followed) {
	if d.why&becausePushed != 0 {
		w.urgent = append(w.urgent, d.key)
	} else {
		w.bulk = append(w.bulk, d.key)
	}
	w.pump()
}

// pump keeps enough goroutines at the queue; the caller holds mu.
func (w *watch) pump() {
	for w.querying < parallelQueries && w.querying < len(w.urgent)+len(w.bulk) && !w.closed {
		w.querying++
		w.wg.Go(w.queryLoop)
	}
}

// take gives the next document to be queried; the caller holds mu.
func (w *watch) take() *followed {
	for {
		var k Key
		switch {
		case len(w.urgent) > 0:
			k, w.urgent = w.urgent[0], w.urgent[1:]
		case len(w.bulk) > 0:
			k, w.bulk = w.bulk[0], w.bulk[1:]
		default:
			return nil
		}
		// It may have been forgotten, or been in both queues.
		if d := w.docs[k]; d != nil && d.dirty && !d.busy {
			return d
		}
	}
}

func (w *watch) queryLoop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() {
		if w.querying--; w.querying == 0 {
			poke(w.deliverNow)
		}
	}()
	for !w.closed {
		d := w.take()
		if d == nil {
			return
		}
		why, began := d.why, time.Now()
		d.dirty, d.busy, d.why = false, true, 0
		w.mu.Unlock()
		doc, err := w.c.query(w.ctx, d.key)
		w.mu.Lock()
		d.busy = false
		if w.docs[d.key] != d || w.closed {
			continue
		}
		w.allowed(d, missingRight(err))
		w.answered(d, why, began, doc, err)
		if d.dirty && d.parkedUntil.IsZero() {
			w.enqueue(d)
		}
	}
}

// allowed notes whether a document may be read. One that may be again is news of what is past; and one that may not be any
// more, perhaps only until there is another token, has news that is not known. The caller holds mu.
func (w *watch) allowed(d *followed, forbidden bool) {
	if d.forbidden != forbidden {
		w.lack()
	}
	d.forbidden = forbidden
}

// answered takes in the answer to a query; the caller holds mu.
func (w *watch) answered(d *followed, why reason, began time.Time, doc Document, err error) {
	switch {
	case err == nil:
		w.present(d, began, doc)
	case errors.Is(err, ErrNotFound):
		w.absent(d, why)
	default:
		if !d.forbidden {
			w.lack()
		}
		wait := 300 * time.Millisecond
		if errors.Is(err, ErrForbidden) {
			wait = forbiddenWait
		}
		if missingRight(err) {
			w.c.problem("read "+d.key.Group, fmt.Sprintf("reading %s is not permitted: %v: grant it action r on %s",
				d.key.Group, err, w.c.resource(d.key.Group)))
		}
		d.why |= why
		w.park(d, jitter(wait))
	}
}

func (w *watch) present(d *followed, began time.Time, doc Document) {
	w.c.problem("read "+d.key.Group, "")
	d.found, d.misses, d.notFound = began, 0, 0
	if !d.exists || d.md5 != doc.MD5 {
		d.exists, d.md5 = true, doc.MD5
		w.emit(Change{Key: d.key, Content: doc.Content, MD5: doc.MD5})
	}
	w.resolve(d)
	// A query is answered from a copy that lags behind the database, which lists read.
	if d.listMD5 != "" && d.listMD5 != doc.MD5 && d.reasks < maxReasks && !d.dirty {
		w.askAgain(d)
		return
	}
	d.listMD5, d.reasks = "", 0
}

// absent decides what "not found" means: a server that has just started answers so before it has loaded its
// documents. Gone is what the server pushed as changed, over the connection that there is, or what two lists in a row lacked; and,
// where no list tells, what two answers a list interval apart did not find.
func (w *watch) absent(d *followed, why reason) {
	d.notFound++
	if d.notFound == 1 {
		d.notFirst = time.Now()
	}
	listed := w.groups[d.key.Group] && w.lists[d.key.Group].usable
	if d.pushedOn != w.connection() {
		why &^= becausePushed // by a server that may be another one by now, or have restarted
	}
	gone := d.exists && (why&(becausePushed|becauseMissing) != 0 ||
		!listed && d.notFound > 1 && time.Since(d.notFirst) >= w.c.cfg.ListInterval)
	switch {
	case d.listMD5 != "" && d.reasks < maxReasks && !gone: // a list has it, the copy not yet
		w.askAgain(d)
	case !d.exists || gone:
		if gone {
			d.exists, d.md5, d.misses, d.notFound = false, "", 0, 0
			w.emit(Change{Key: d.key, Deleted: true})
		}
		d.listMD5, d.reasks = "", 0
		w.resolve(d)
		if !d.wanted && !d.dirty {
			w.forget(d)
		}
	case !listed:
		w.park(d, w.c.cfg.ListInterval)
	default:
		d.listMD5, d.reasks = "", 0
		w.listWithin(w.lists[d.key.Group], listSoon)
	}
}

// askAgain queries a document anew whose copy lags behind what a list showed. The caller holds mu.
func (w *watch) askAgain(d *followed) {
	d.reasks++
	w.park(d, min(100*time.Millisecond<<d.reasks, mostReask))
}

// park leaves a dirty document for later; the caller holds mu.
func (w *watch) park(d *followed, wait time.Duration) {
	if !d.dirty || d.parkedUntil.IsZero() {
		w.parked = append(w.parked, d.key)
	}
	d.dirty, d.parkedUntil = true, time.Now().Add(wait)
}

// unpark queues what waited long enough.
func (w *watch) unpark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.parked = slices.DeleteFunc(w.parked, func(k Key) bool {
		d := w.docs[k]
		if d == nil || d.parkedUntil.IsZero() {
			return true // forgotten, or queued by something more recent
		}
		if now.Before(d.parkedUntil) {
			return false
		}
		d.parkedUntil = time.Time{}
		if d.dirty && !d.busy {
			w.enqueue(d)
		}
		return true
	})
}

// connection names the connection that there is; 0: none.
func (w *watch) connection() uint64 {
	if cn := w.c.link.current(); cn != nil {
		return cn.generation
	}
	return 0
}
