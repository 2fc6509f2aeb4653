package openapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"path"
	"strings"
)

// Loader reads the document that a $ref names. Where Options.Source is a URL, or the reference itself is one,
// ref is an absolute URL; else it is a slash-separated path relative to where Source is relative to. The
// loader decides what may be read; it should bound the size of what it returns.
type Loader func(ctx context.Context, ref string) ([]byte, error)

// Files is a Loader for the files below a directory: no reference leads out of it, and none to a network.
func Files(fsys fs.FS) Loader {
	return func(_ context.Context, ref string) ([]byte, error) {
		if !fs.ValidPath(ref) {
			return nil, errors.New("lies outside the directory of the description")
		}
		return fs.ReadFile(fsys, ref)
	}
}

// document is one file of a description.
type document struct {
	base string // URL or path; "" if unknown
	root *node
}

// place is a node and the document it stands in, against which its references are resolved.
type place struct {
	*node
	doc *document
}

func (p place) at(key string) place { return place{p.get(key), p.doc} }

// each gives the elements of a list or the values of an object; none of anything else.
func (p place) each() []place {
	if p.node == nil {
		return nil
	}
	list := make([]place, len(p.items))
	for i, n := range p.items {
		list[i] = place{n, p.doc}
	}
	return list
}

// fields iterates over the keys and values of an object. There are none where something else stands in its place: a list,
// usually.
func (p place) fields() iter.Seq2[string, place] {
	return func(yield func(string, place) bool) {
		if !p.is(object) {
			return
		}
		for i, n := range p.items {
			if !yield(p.keys[i], place{n, p.doc}) {
				return
			}
		}
	}
}

// ref is the reference that p is; "" if it is none. A property may be named $ref: its value is no text.
func (p place) ref() string { return p.get("$ref").str() }

// sources holds the documents of a description, loaded once each.
type sources struct {
	ctx   context.Context
	load  Loader
	main  *document
	docs  map[string]*document
	errs  map[string]error
	bytes int

	cleaned map[*node]string
}

// prose gives the description of a schema made clean, which is costly, once for all who share it.
func (s *sources) prose(n *node) string {
	clear, ok := s.cleaned[n]
	if !ok {
		clear = clean(n.str(), maxArgDescription)
		s.cleaned[n] = clear
	}
	return clear
}

// follow gives what p refers to, through as many references as it takes; p itself if it is no reference.
func (s *sources) follow(p place) (place, error) {
	for range maxChain {
		ref := p.ref()
		if ref == "" {
			return p, nil
		}
		next, err := s.target(p, ref)
		if err != nil {
			return place{}, err
		}
		p = next
	}
	return place{}, fmt.Errorf("follow %q: more than %d references in a row", p.ref(), maxChain)
}

// target gives the node that a reference standing at p names.
func (s *sources) target(p place, ref string) (place, error) {
	file, pointer, _ := strings.Cut(ref, "#")
	doc := p.doc
	if file != "" {
		var err error
		if doc, err = s.document(p.doc, file); err != nil {
			return place{}, fmt.Errorf("follow %q: %w", ref, err)
		}
	}
	n, err := lookUp(doc.root, pointer)
	if err != nil {
		return place{}, fmt.Errorf("follow %q: %w", ref, err)
	}
	return place{n, doc}, nil
}

// lookUp walks a JSON pointer (RFC 6901) in its URI fragment form.
func lookUp(n *node, pointer string) (*node, error) {
	if pointer == "" {
		return n, nil
	}
	plain, err := url.PathUnescape(pointer)
	if err != nil {
		plain = pointer // a bare % in a name, written by hand
	}
	if plain[0] != '/' {
		return nil, errors.New("anchors are not supported: refer to a path such as #/components/schemas/Pet")
	}
	for _, step := range strings.Split(plain[1:], "/") {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		next := n.get(step)
		if n.kind == list {
			var i int
			if _, err := fmt.Sscanf(step, "%d", &i); err == nil && i >= 0 && i < len(n.items) {
				next = n.items[i]
			}
		}
		if next == nil {
			return nil, fmt.Errorf("there is no %q", step)
		}
		n = next
	}
	return n, nil
}

// document loads the file that from refers to as file.
func (s *sources) document(from *document, file string) (*document, error) {
	name, err := resolve(from.base, file)
	if err != nil {
		return nil, err
	}
	if doc := s.docs[name]; doc != nil {
		return doc, nil
	}
	if err := s.errs[name]; err != nil {
		return nil, err
	}
	doc, err := s.read(name)
	if err != nil {
		s.errs[name] = err
		return nil, err
	}
	s.docs[name] = doc
	return doc, nil
}

func (s *sources) read(name string) (*document, error) {
	switch {
	case s.load == nil:
		return nil, errors.New("references to other documents cannot be loaded here")
	case len(s.docs)+len(s.errs) >= maxDocuments:
		return nil, fmt.Errorf("more than %d documents are referred to", maxDocuments)
	}
	src, err := s.load(s.ctx, name)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	if s.bytes += len(src); s.bytes > maxBytes {
		return nil, fmt.Errorf("load %s: the description is larger than %d MiB in all", name, maxBytes>>20)
	}
	root, err := parse(src)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return &document{base: name, root: root}, nil
}

// resolve gives the name of file as seen from base. A path never becomes a URL, nor a URL a path: a description
// from the network must not reach files.
func resolve(base, file string) (string, error) {
	if u, err := url.Parse(file); err == nil && u.Scheme != "" && len(u.Scheme) > 1 {
		if u.Scheme != "http" && u.Scheme != "https" {
			return "", fmt.Errorf("scheme %q is not supported", u.Scheme)
		}
		return u.String(), nil
	}
	if b, err := url.Parse(base); err == nil && (b.Scheme == "http" || b.Scheme == "https") {
		u, err := b.Parse(file)
		if err != nil {
			return "", err
		}
		return u.String(), nil
	}
	plain, err := url.PathUnescape(file)
	if err != nil {
		plain = file
	}
	if path.IsAbs(plain) {
		return path.Clean(plain), nil
	}
	return path.Join(path.Dir(base), plain), nil
}
