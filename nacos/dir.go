package nacos

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Names of the two halves of a directory source.
const (
	dirConfig = "config"
	dirNaming = "naming"
)

// maxDirDocument is the largest document a Dir takes; it is about what Nacos takes over gRPC.
const maxDirDocument = 10 << 20

// Dir is a directory that stands in for a Nacos: one namespace, with documents in config/<group>/<dataId> and the
// instances of naming services in naming/<group>/<service>.yaml. People edit the files with whatever they like, and
// other processes may write through a Dir of their own: writing is guarded by a lock file.
//
// Names are those that Nacos takes. Files with other names, and hidden ones, are no documents. A file that is
// removed is a deleted document; the whole directory (or its config half) missing means that the source is
// unavailable, and then nothing counts as deleted. An empty file is a document with empty content, although Nacos
// would not hold one: whoever parses it says what is wrong with it.
type Dir struct {
	root string
	log  *slog.Logger

	writing sync.Mutex // serialises writers of this process; the lock file those of others

	mu        sync.Mutex
	started   bool               // follow runs
	scanned   bool               // files is what a complete scan found
	files     map[dirFile]dirSig // config and naming files last seen
	watches   map[*dirWatch]bool // open ones
	subs      map[*dirSub]bool   // open ones
	problems  map[string]string  // path or topic to what is wrong with it
	connected bool               // the directory was there when last looked at
	since     time.Time          // since when connected is what it is
	contact   time.Time          // last time it was there
	moving    map[dirFile]bool   // files that changed, or went, and were not handed on yet
	blind     bool               // more may have changed than moving tells
	closed    bool
	stop      chan struct{}
	done      chan struct{}
	poke      chan dirFile // files written through this Dir
}

var _ Source = (*Dir)(nil)

// OpenDir opens the directory source at path. Nothing is followed, and no goroutine runs, before the first Watch or
// Subscribe. A directory that does not exist (yet) is no error here, like a Nacos that is not up: calls answer
// ErrUnavailable and a Watch waits for it. A path that is something else than a directory is an error.
func OpenDir(path string, logger *slog.Logger) (*Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	if st, err := os.Stat(root); err == nil && !st.IsDir() {
		return nil, fmt.Errorf("open directory %s: it is a file, not a directory", path)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	d := &Dir{
		root:     root,
		log:      logger,
		files:    map[dirFile]dirSig{},
		moving:   map[dirFile]bool{},
		watches:  map[*dirWatch]bool{},
		subs:     map[*dirSub]bool{},
		problems: map[string]string{},
		since:    time.Now(),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		poke:     make(chan dirFile, 64),
	}
	d.saw(d.available())
	return d, nil
}

// Get reads a document.
func (d *Dir) Get(ctx context.Context, key Key) (Document, error) {
	if err := d.ready(ctx, key); err != nil {
		return Document{}, fmt.Errorf("get %s: %w", key, err)
	}
	content, err := d.read(configFile(key))
	if err != nil {
		return Document{}, fmt.Errorf("get %s: %w", key, err)
	}
	return Document{Key: key, Content: content, MD5: dirMD5(content), Type: dirType(key.DataID)}, nil
}

// List gives every document of a group. A group without a directory has none.
func (d *Dir) List(ctx context.Context, group string) ([]Entry, error) {
	if err := d.ready(ctx, Key{group, "x"}); err != nil {
		return nil, fmt.Errorf("list %s: %w", group, err)
	}
	names, err := os.ReadDir(filepath.Join(d.root, dirConfig, group))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", group, dirError(err))
	}
	var entries []Entry
	for _, name := range names {
		key := Key{group, name.Name()}
		if checkDirKey(key) != nil {
			continue
		}
		content, err := d.read(configFile(key))
		switch {
		case err == nil:
			entries = append(entries, Entry{Key: key, MD5: dirMD5(content)})
		case errors.Is(err, ErrNotFound): // removed meanwhile, or a directory
		default:
			return nil, fmt.Errorf("list %s: %w", group, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list %s: %w", group, err)
		}
	}
	return entries, nil
}

// Publish writes a document whole or not at all: into a hidden file that is synced and then renamed.
func (d *Dir) Publish(ctx context.Context, doc Document, expect string) error {
	if err := d.publish(ctx, doc, expect); err != nil {
		return fmt.Errorf("publish %s: %w", doc.Key, err)
	}
	return nil
}

func (d *Dir) publish(ctx context.Context, doc Document, expect string) error {
	switch {
	case len(doc.Content) == 0:
		return fmt.Errorf("%w: content is empty", ErrInvalid)
	case len(doc.Content) > maxDirDocument:
		return fmt.Errorf("%w: content of %d bytes is longer than %d", ErrInvalid, len(doc.Content), maxDirDocument)
	}
	if err := d.ready(ctx, doc.Key); err != nil {
		return err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	file := configFile(doc.Key)
	if expect != AnyMD5 {
		have := AbsentMD5
		switch content, err := d.read(file); {
		case err == nil:
			have = dirMD5(content)
		case !errors.Is(err, ErrNotFound):
			return err
		}
		if have != expect {
			return ErrConflict
		}
	}
	return d.write(file, doc.Content)
}

// Remove deletes a document.
func (d *Dir) Remove(ctx context.Context, key Key) error {
	if err := d.ready(ctx, key); err != nil {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	defer unlock()
	file := configFile(key)
	if err := os.Remove(d.path(file)); err != nil {
		return fmt.Errorf("remove %s: %w", key, dirError(err))
	}
	syncDir(filepath.Dir(d.path(file)))
	d.wrote(file)
	return nil
}

// Status tells whether the directory is there and what in it cannot be read.
func (d *Dir) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Kind: "dir", Connected: d.connected, Since: d.since, LastContact: d.contact}
	for _, p := range d.problems {
		s.Problems = append(s.Problems, p)
	}
	sort.Strings(s.Problems)
	return s
}

// Close ends every Watch and subscription. It must not be called from their callbacks.
func (d *Dir) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.stop)
	started := d.started
	var stops []func()
	for w := range d.watches {
		stops = append(stops, w.Close)
	}
	for s := range d.subs {
		stops = append(stops, s.close)
	}
	d.mu.Unlock()
	if started {
		<-d.done
	}
	for _, stop := range stops {
		stop()
	}
	return nil
}

// ready says whether a call about key can be answered at all.
func (d *Dir) ready(ctx context.Context, key Key) error {
	if err := checkDirKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.available()
	d.saw(err)
	return err
}

// available is nil while the config half is there. A root without one is what an unmounted volume leaves behind, so
// it must not be taken for a source with no documents.
func (d *Dir) available() error {
	path := filepath.Join(d.root, dirConfig)
	switch st, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist (create it with mkdir -p, or mend dir.path)", ErrUnavailable, path)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !st.IsDir():
		return fmt.Errorf("%w: %s is not a directory", ErrUnavailable, path)
	}
	return nil
}

// saw notes the outcome of a look at the directory.
func (d *Dir) saw(err error) {
	const topic = "\x00available"
	d.mu.Lock()
	now := time.Now()
	if connected := err == nil; connected != d.connected {
		d.connected, d.since = connected, now
	}
	if err == nil {
		d.contact = now
	}
	d.mu.Unlock()
	d.problem(topic, err)
}

// problem remembers and logs once what is wrong with a file; nil clears it.
func (d *Dir) problem(topic string, err error) {
	d.mu.Lock()
	before, had := d.problems[topic]
	if err == nil {
		delete(d.problems, topic)
		d.mu.Unlock()
		return
	}
	text := err.Error()
	d.problems[topic] = text
	d.mu.Unlock()
	if !had || before != text {
		d.log.Warn("directory source has a problem", "error", text)
	}
}

// path is where a file of the source lies.
func (d *Dir) path(f dirFile) string { return filepath.Join(d.root, f.half, f.group, f.name) }

// read gives a file's content. What is no regular file does not exist.
func (d *Dir) read(f dirFile) ([]byte, error) {
	path := d.path(f)
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait for a writer
	if err != nil {
		return nil, dirError(err)
	}
	defer file.Close()
	st, err := file.Stat()
	switch {
	case err != nil:
		return nil, dirError(err)
	case !st.Mode().IsRegular():
		return nil, ErrNotFound
	}
	var b bytes.Buffer
	if size := st.Size(); size <= maxDirDocument {
		b.Grow(int(size) + bytes.MinRead) // growing would leave half of it unused, for as long as the document is kept
	}
	if _, err := io.Copy(&b, io.LimitReader(file, maxDirDocument+1)); err != nil {
		return nil, dirError(err)
	}
	if b.Len() > maxDirDocument {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalid, path, maxDirDocument)
	}
	return b.Bytes(), nil
}

// write replaces a file by way of a hidden one beside it, so that a reader (or a crash) finds the old content or the new.
func (d *Dir) write(f dirFile, content []byte) (err error) {
	path := d.path(f)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dirError(err)
	}
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
	}
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return dirError(err)
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
			err = dirError(err)
		}
	}()
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	syncDir(dir)
	d.wrote(f)
	return nil
}

// wrote tells the follower at once what it would otherwise hear from the file system.
func (d *Dir) wrote(f dirFile) {
	select {
	case d.poke <- f:
	default: // nobody follows, or much is being written: the file system tells of it
	}
}

// syncDir makes a rename or removal in dir last through a power cut, where the file system can.
func syncDir(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync()
		f.Close()
	}
}

// dirError puts the errors of the file system into the words of the contract.
func dirError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

func dirMD5(content []byte) string {
	sum := md5.Sum(content)
	return hex.EncodeToString(sum[:])
}

// dirType is the content type that a data id's extension stands for, in Nacos's words.
func dirType(dataID string) string {
	switch strings.ToLower(filepath.Ext(dataID)) {
	case ".yaml", ".yml":
		return "yaml"
	case ".json":
		return "json"
	case ".properties":
		return "properties"
	case ".xml":
		return "xml"
	case ".toml":
		return "toml"
	default:
		return "text"
	}
}
