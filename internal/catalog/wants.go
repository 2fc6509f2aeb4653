package catalog

import (
	"iter"
	"slices"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// wants knows which services' manifests refer to which documents, and what of that changed since it was last asked.
type wants struct {
	byOwner map[string][]nacos.Key
	byKey   map[nacos.Key]owners
	before  map[nacos.Key]bool // of the keys touched since differences: whether they were wanted then
}

// owners are the services that want a document: nearly always one.
type owners struct {
	first string // "": none
	more  []string
}

func newWants() wants {
	return wants{byOwner: map[string][]nacos.Key{}, byKey: map[nacos.Key]owners{}, before: map[nacos.Key]bool{}}
}

// set replaces what owner wants.
func (w *wants) set(owner string, keys []nacos.Key) {
	before := w.byOwner[owner]
	if slices.Equal(before, keys) {
		return
	}
	for _, k := range before {
		w.touch(k)
		if left := w.byKey[k].without(owner); left.first == "" {
			delete(w.byKey, k)
		} else {
			w.byKey[k] = left
		}
	}
	for _, k := range keys {
		w.touch(k)
		w.byKey[k] = w.byKey[k].with(owner)
	}
	if len(keys) == 0 {
		delete(w.byOwner, owner)
	} else {
		w.byOwner[owner] = keys
	}
}

func (o owners) with(name string) owners {
	switch {
	case o.first == "":
		o.first = name
	case o.first != name && !slices.Contains(o.more, name):
		o.more = append(o.more, name)
	}
	return o
}

func (o owners) without(name string) owners {
	all := slices.DeleteFunc(append([]string{o.first}, o.more...), func(s string) bool { return s == name })
	if len(all) == 0 {
		return owners{}
	}
	return owners{all[0], all[1:]}
}

func (w *wants) touch(k nacos.Key) {
	if _, ok := w.before[k]; !ok {
		w.before[k] = w.byKey[k].first != ""
	}
}

// differences gives what is wanted now and was not when it was last asked, and the other way round. It takes time for
// what was touched only, however much is wanted.
func (w *wants) differences() (more, less []nacos.Key) {
	for k, was := range w.before {
		switch is := w.byKey[k].first != ""; {
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

// owners gives the services that want a document.
func (w *wants) owners(key nacos.Key) iter.Seq[string] {
	return func(yield func(string) bool) {
		o := w.byKey[key]
		if o.first == "" || !yield(o.first) {
			return
		}
		for _, name := range o.more {
			if !yield(name) {
				return
			}
		}
	}
}

// wanted gives which documents are to be watched from now on besides the groups, and which no more: those that manifests
// refer to, and those that services may get. The latter need no memory: they follow from the services' names.
func (b *build) wanted(old *Index) (more, less []nacos.Key) {
	more, less = b.w.wants.differences()
	for name := range b.touched {
		_, is := b.services.get(name)
		switch was := old.Service(name) != nil; {
		case is && !was:
			more = append(more, foretold(name)...)
		case was && !is:
			less = append(less, foretold(name)...)
		}
	}
	for _, k := range b.w.collected.foreseen {
		if b.w.wants.byKey[k].first == "" { // its manifest was refused, say
			less = append(less, k)
		}
	}
	return more, less
}
