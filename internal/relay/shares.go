package relay

import (
	"container/heap"
	"container/list"
)

// owner is whose share something is. Callers without a consumer, on services whose switch is off, have one share together,
// in which each address has its own.
type owner struct{ consumer, address string }

// shares holds what callers keep open, in fair shares: when all places are taken, whoever holds most has to give one up. So
// a caller who holds no more than its part of the places, counted by those who hold any, never loses one to another, and
// whoever is alone may have all. It is not safe for concurrent use; each operation takes logarithmic time.
type shares[T any] struct {
	root party[T]
	tick uint64
}

// party is a consumer, an address within the share of those that are none, or all together.
type party[T any] struct {
	n      int    // places that it holds
	used   uint64 // when one of them was used last
	name   string
	parent *party[T]
	place  int // in the parent's most

	parts map[string]*party[T]
	most  parties[T]
	held  list.List // *holding[T]; the longest unused comes first
}

// holding is one taken place.
type holding[T any] struct {
	of      *party[T] // nil: given up
	what    T
	element *list.Element
}

// len returns how many places are taken.
func (s *shares[T]) len() int { return s.root.n }

// take takes a place for o.
func (s *shares[T]) take(o owner, what T) *holding[T] {
	p := s.root.part(o.consumer)
	if o.consumer == "" {
		p = p.part(o.address)
	}
	h := &holding[T]{of: p, what: what}
	h.element = p.held.PushBack(h)
	s.tick++
	for ; p != nil; p = p.parent {
		p.n++
		p.used = s.tick
		p.moved()
	}
	return h
}

// use notes that what is held was used.
func (s *shares[T]) use(h *holding[T]) {
	if h.of == nil {
		return
	}
	h.of.held.MoveToBack(h.element)
	s.tick++
	for p := h.of; p != nil; p = p.parent {
		p.used = s.tick
		p.moved()
	}
}

// giveUp frees the place of h. Doing it twice is harmless.
func (s *shares[T]) giveUp(h *holding[T]) {
	p := h.of
	if p == nil {
		return
	}
	h.of = nil
	p.held.Remove(h.element)
	for ; p != nil; p = p.parent {
		p.n--
		if p.n == 0 && p.parent != nil {
			heap.Remove(&p.parent.most, p.place)
			delete(p.parent.parts, p.name)
			continue
		}
		p.moved()
	}
}

// loser returns what has to go for a place of o's: the longest unused of whoever holds most. fair is false where o itself
// would hold as many as that then: what goes may be o's own, or that of another who holds one place like everybody.
func (s *shares[T]) loser(o owner) (h *holding[T], fair bool) {
	at, names := &s.root, []string{o.consumer, o.address}
	if o.consumer != "" {
		names = names[:1]
	}
	for _, name := range names {
		if len(at.most) == 0 {
			break
		}
		most, own := at.most[0], at.parts[name]
		if own == nil {
			own = &party[T]{}
		}
		if fair = own.n+1 < most.n; fair || own.n == 0 {
			return most.oldest(), fair
		}
		at = own
	}
	return at.oldest(), false
}

// oldest returns the longest unused of what p holds, or of what the part that holds most does.
func (p *party[T]) oldest() *holding[T] {
	for len(p.most) > 0 {
		p = p.most[0]
	}
	if front := p.held.Front(); front != nil {
		return front.Value.(*holding[T])
	}
	return nil
}

// part returns the part of a name, made where there is none.
func (p *party[T]) part(name string) *party[T] {
	part := p.parts[name]
	if part == nil {
		part = &party[T]{name: name, parent: p}
		if p.parts == nil {
			p.parts = map[string]*party[T]{}
		}
		p.parts[name] = part
		heap.Push(&p.most, part)
	}
	return part
}

// moved puts p where it belongs among those who hold most.
func (p *party[T]) moved() {
	if p.parent != nil {
		heap.Fix(&p.parent.most, p.place)
	}
}

// parties is a heap: who holds most comes first, and of those who hold as many, who used them least recently.
type parties[T any] []*party[T]

func (ps parties[T]) Len() int { return len(ps) }

func (ps parties[T]) Less(i, j int) bool {
	if ps[i].n != ps[j].n {
		return ps[i].n > ps[j].n
	}
	return ps[i].used < ps[j].used
}

func (ps parties[T]) Swap(i, j int) {
	ps[i], ps[j] = ps[j], ps[i]
	ps[i].place, ps[j].place = i, j
}

// Push is the heap's.
func (ps *parties[T]) Push(p any) {
	part := p.(*party[T])
	part.place = len(*ps)
	*ps = append(*ps, part)
}

// Pop is the heap's.
func (ps *parties[T]) Pop() any {
	last := len(*ps) - 1
	part := (*ps)[last]
	(*ps)[last] = nil
	*ps = (*ps)[:last]
	return part
}
