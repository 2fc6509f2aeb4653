package catalog

import (
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// wants knows who needs which documents to be watched, and what of that changed since it was last asked.
type wants struct {
	byOwner map[string][]nacos.Key
	byKey   map[nacos.Key][]string // owners; of most documents there is one
	before  map[nacos.Key]bool     // of the keys touched since differences: whether they were wanted then
}

func newWants() wants {
	return wants{byOwner: map[string][]nacos.Key{}, byKey: map[nacos.Key][]string{}, before: map[nacos.Key]bool{}}
}

// set replaces what owner wants.
func (w *wants) set(owner string, keys []nacos.Key) {
	before := w.byOwner[owner]
	if slices.Equal(before, keys) {
		return
	}
	for _, k := range before {
		w.touch(k)
		owners := w.byKey[k]
		if i := slices.Index(owners, owner); i >= 0 {
			owners = slices.Delete(owners, i, i+1)
		}
		if len(owners) == 0 {
			delete(w.byKey, k)
		} else {
			w.byKey[k] = owners
		}
	}
	for _, k := range keys {
		w.touch(k)
		if !slices.Contains(w.byKey[k], owner) {
			w.byKey[k] = append(w.byKey[k], owner)
		}
	}
	if len(keys) == 0 {
		delete(w.byOwner, owner)
	} else {
		w.byOwner[owner] = keys
	}
}

func (w *wants) touch(k nacos.Key) {
	if _, ok := w.before[k]; !ok {
		w.before[k] = len(w.byKey[k]) > 0
	}
}

// differences gives what is wanted now and was not when it was last asked, and the other way round. It takes time for
// what was touched only, however much is wanted.
func (w *wants) differences() (more, less []nacos.Key) {
	for k, was := range w.before {
		switch is := len(w.byKey[k]) > 0; {
		case is && !was:
			more = append(more, k)
		case was && !is:
			less = append(less, k)
		}
	}
	if len(w.before) > 0 {
		w.before = map[nacos.Key]bool{} // not cleared: it may have been large once
	}
	return more, less
}

func (w *wants) owners(key nacos.Key) []string { return w.byKey[key] }
