package nacos

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How long a Dir waits before it believes what it sees. Editors write in several steps, and a removal of the whole
// tree looks like the removal of one file after the other until it is done. The first four are times during which the
// follower looked: see lived.
const (
	dirQuiet       = 40 * time.Millisecond  // without an event, then edits are taken
	dirImpatience  = 300 * time.Millisecond // then edits are taken in the midst of events
	dirSettled     = 250 * time.Millisecond // without an event, then removals are believed
	dirUnsettled   = 3 * time.Second        // then removals are believed in the midst of events
	dirRescan      = 10 * time.Second       // everything is looked at again, in case an event was lost,
	dirRescanShare = 100                    // but that may take no more than one part in so many of the time
	dirPoll        = time.Second            // the same while the directory is away or cannot be followed,
	dirPollShare   = 10                     // where it is all there is
	dirRacy        = 2 * time.Second        // a file changed this shortly before it was looked at may change unseen
	dirTopicNotify = "\x00fsnotify"
)

// dirSig tells whether a file changed without reading it.
type dirSig struct {
	size  int64
	mtime time.Time
	seen  time.Time
}

func (s dirSig) changed(now dirSig) bool {
	return s.size != now.size || !s.mtime.Equal(now.mtime) || s.seen.Sub(s.mtime) < dirRacy
}

// start runs follow, once.
func (d *Dir) start() {
	if !d.started {
		d.started = true
		go d.follow()
	}
}

// dirFollower is the state of the one goroutine that looks at the files.
type dirFollower struct {
	*Dir
	notify *fsnotify.Watcher // nil where the system has none left
	dirty  map[dirFile]bool  // Dir.moving: written with mu held, by the follower alone
	rescan bool
	moved  bool          // something has moved since calm woke anybody
	took   time.Duration // to look at everything, the last time

	// lived is how long the follower has been looking, which is what silence is measured by. While the machine gives it no
	// turn, events wait unseen, and its timer runs out all the same: a wall clock would take that for silence. So no turn
	// counts for more than the timer's pause.
	lived time.Duration
	woke  time.Time     // up to when lived has counted
	first time.Duration // lived at the first of the events not yet dealt with
	last  time.Duration // and at the last one
}

// follow turns events of the file system into changes until the Dir is closed.
func (d *Dir) follow() {
	defer close(d.done)
	f := &dirFollower{Dir: d, dirty: d.moving}
	var events chan fsnotify.Event
	var errs chan error
	if n, err := fsnotify.NewWatcher(); err != nil {
		d.problem(dirTopicNotify, err)
	} else {
		defer n.Close()
		f.notify, events, errs = n, n.Events, n.Errors
	}
	began := time.Now()
	f.scan()
	f.took = time.Since(began)
	f.touch()
	f.settle(slices.Collect(maps.Keys(f.dirty)), false) // a file that has gone since may be on its way back
	lastScan := time.Now()
	timer := time.NewTimer(f.next(lastScan))
	defer timer.Stop()
	for {
		select {
		case <-d.stop:
			return
		case ev := <-events:
			f.event(ev)
		case <-errs: // an overflow: something was not told
			f.touch()
			f.lookAnew()
		case file := <-d.poke:
			f.settle([]dirFile{file}, true)
		case <-timer.C:
			f.drain(events)
		}
		f.wake()
		if time.Since(lastScan) >= f.pause() {
			f.rescan = true
		}
		if (f.rescan || len(f.dirty) > 0) && (f.lived-f.last >= dirQuiet || f.lived-f.first >= dirImpatience) {
			// Events may also be late: that nothing more has gone has to be seen before a removal is believed.
			if f.rescan || f.settled() && f.anyGone() {
				lastScan = time.Now()
				f.scan()
				f.took = time.Since(lastScan)
			}
			f.settle(slices.Collect(maps.Keys(f.dirty)), f.settled())
		}
		f.calm()
		timer.Reset(f.next(lastScan))
	}
}

// lookAnew has everything looked at, as something changed that is not known.
func (f *dirFollower) lookAnew() {
	f.rescan = true
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blind = true
}

// calm wakes those who wait for nothing to move any more.
func (f *dirFollower) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rescan || len(f.dirty) > 0 || !f.scanned || !f.moved {
		f.moved = f.moved || len(f.dirty) > 0 || f.blind || !f.scanned
		return
	}
	f.moved = false
	for w := range f.watches {
		w.wake()
	}
}

// wake counts the time since it was called before, but no more than the pause of a follower that gets its turns.
func (f *dirFollower) wake() {
	now := time.Now()
	f.lived += min(now.Sub(f.woke), dirQuiet)
	f.woke = now
}

// settled tells whether removals may be believed.
func (f *dirFollower) settled() bool {
	return !f.rescan && (f.lived-f.last >= dirSettled || f.lived-f.first >= dirUnsettled)
}

// anyGone tells whether a file that changed is there no more.
func (f *dirFollower) anyGone() bool {
	for file := range f.dirty {
		if _, ok := f.stat(file); !ok {
			return true
		}
	}
	return false
}

// drain takes the events that wait already. The timer may have run out while they did: silence it is not.
func (f *dirFollower) drain(events <-chan fsnotify.Event) {
	for {
		select {
		case ev := <-events:
			f.event(ev)
		default:
			return
		}
	}
}

// pause is the time between two looks at everything.
func (f *dirFollower) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.notify == nil || !f.connected {
		return max(dirPoll, dirPollShare*f.took)
	}
	return max(dirRescan, dirRescanShare*f.took)
}

// next is when to look again if nothing happens.
func (f *dirFollower) next(lastScan time.Time) time.Duration {
	if f.rescan || len(f.dirty) > 0 {
		return dirQuiet
	}
	return max(time.Until(lastScan.Add(f.pause())), time.Millisecond)
}

func (f *dirFollower) touch() {
	f.wake()
	if !f.rescan && len(f.dirty) == 0 {
		f.first = f.lived
	}
	f.last = f.lived
}

// event notes what has to be looked at.
func (f *dirFollower) event(ev fsnotify.Event) {
	if ev.Op == fsnotify.Chmod {
		return // Spotlight and the like; a change of rights is found by the next scan
	}
	rel, err := filepath.Rel(f.root, ev.Name)
	if err != nil {
		return
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) != 3 {
		if name := parts[len(parts)-1]; name == ".lock" {
			return
		}
		f.touch()
		f.lookAnew() // a group, a half or the root itself came or went
		return
	}
	file := dirFile{parts[0], parts[1], parts[2]}
	switch {
	case strings.HasPrefix(file.name, ".."):
		// Kubernetes mounts a ConfigMap as links through a hidden "..data", and swaps only that.
		f.touch()
		f.lookAnew()
	case file.valid():
		f.touch()
		f.mu.Lock()
		f.dirty[file] = true
		f.mu.Unlock()
	}
}

// valid tells documents and naming files from temporary files and the like.
func (file dirFile) valid() bool {
	switch file.half {
	case dirConfig:
		return checkDirKey(Key{file.group, file.name}) == nil
	case dirNaming:
		return file.name != "" && file.name[0] != '.' && strings.HasSuffix(file.name, ".yaml") &&
			checkDirName("group", file.group, maxGroup) == nil
	}
	return false
}

// scan looks at every file, and marks what changed as dirty.
func (f *dirFollower) scan() {
	f.rescan = false
	err := f.available()
	f.mu.Lock()
	was := f.connected && f.scanned
	f.mu.Unlock()
	f.saw(err)
	f.listen(f.root)
	if err != nil {
		f.mu.Lock()
		clear(f.dirty) // they are away with everything else; all is looked at when it is back
		f.scanned = false
		f.mu.Unlock()
		return
	}
	found := map[dirFile]dirSig{}
	for _, half := range []string{dirConfig, dirNaming} {
		f.scanHalf(half, found)
	}
	if f.available() != nil {
		f.rescan = true // it went while it was being read: what was found is not the whole
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blind = false
	for file, sig := range found {
		if old, ok := f.files[file]; !ok || old.changed(sig) {
			f.dirty[file] = true
		}
	}
	for file := range f.files {
		if _, ok := found[file]; !ok && !f.dirty[file] {
			f.touch() // no event told of it, so more may be on the way
			f.dirty[file] = true
		}
	}
	if !was {
		for file, sig := range f.files {
			if _, ok := found[file]; !ok {
				found[file] = sig // not come back yet, perhaps: dirty, like every removal
			}
		}
		f.files = found
		f.scanned = true
		f.markAll()
	}
}

// scanHalf adds the files of one half to found, and follows its directories.
func (f *dirFollower) scanHalf(half string, found map[dirFile]dirSig) {
	top := filepath.Join(f.root, half)
	groups, err := os.ReadDir(top)
	if err != nil {
		return
	}
	f.listen(top)
	for _, group := range groups {
		dir := filepath.Join(top, group.Name())
		if checkDirName("group", group.Name(), maxGroup) != nil {
			continue
		}
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			continue
		}
		f.listen(dir) // before reading it: what comes in between is told
		names, err := os.ReadDir(dir)
		f.problem(dir, err)
		if err != nil {
			f.keep(half, group.Name(), found)
			continue
		}
		for _, name := range names {
			file := dirFile{half, group.Name(), name.Name()}
			if !file.valid() {
				continue
			}
			if sig, ok := f.stat(file); ok {
				found[file] = sig
			}
		}
	}
}

// keep takes over what is known of a group that cannot be read: unreadable is not deleted.
func (f *dirFollower) keep(half, group string, found map[dirFile]dirSig) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, sig := range f.files {
		if file.half == half && file.group == group {
			found[file] = sig
		}
	}
}

func (f *dirFollower) stat(file dirFile) (dirSig, bool) {
	st, err := os.Stat(f.path(file))
	if err != nil {
		// Unreadable is not absent.
		return dirSig{}, !os.IsNotExist(err)
	}
	return dirSig{size: st.Size(), mtime: st.ModTime(), seen: time.Now()}, st.Mode().IsRegular()
}

// listen follows a directory; repeating it is how one that was made anew is followed again.
func (f *dirFollower) listen(dir string) {
	if f.notify == nil {
		return
	}
	if err := f.notify.Add(dir); err != nil && !os.IsNotExist(err) {
		f.problem(dirTopicNotify, err)
	}
}

// settle hands changed files on to those who follow them. Files that are gone stay dirty unless removals are believed.
func (f *dirFollower) settle(files []dirFile, removals bool) {
	if len(files) == 0 {
		return
	}
	if err := f.available(); err != nil {
		f.rescan = true
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range files {
		sig, ok := f.stat(file)
		if !ok && !removals {
			f.dirty[file] = true
			continue
		}
		delete(f.dirty, file)
		if ok {
			f.files[file] = sig
		} else {
			delete(f.files, file)
			delete(f.problems, f.path(file))
		}
		f.mark(file)
	}
}

// believes tells whether a file exists as far as the follower knows.
func (d *Dir) believes(file dirFile) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.files[file]
	return ok
}

// mark tells those who follow a file to read it. The caller holds mu.
func (d *Dir) mark(file dirFile) {
	if file.half == dirConfig {
		key := Key{file.group, file.name}
		for w := range d.watches {
			w.mark(key)
		}
		return
	}
	for s := range d.subs {
		if s.file == file {
			s.wake()
		}
	}
}

// markAll tells everybody to read everything. The caller holds mu.
func (d *Dir) markAll() {
	for w := range d.watches {
		w.markAll()
	}
	for s := range d.subs {
		s.wake()
	}
}
