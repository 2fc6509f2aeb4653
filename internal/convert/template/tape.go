package template

// after is the node that follows the value at i.
func (d *document) after(i uint32) uint32 {
	if c := d.raw[d.nodes[i].off]; c == '{' || c == '[' {
		return d.nodes[i].end + 1
	}
	return i + 1
}

func (d *document) count(i uint32) int { return int(d.nodes[d.nodes[i].end].end) }

// text is the JSON text of the value at i.
func (d *document) text(i uint32) string {
	n := d.nodes[i]
	if c := d.raw[n.off]; c == '{' || c == '[' {
		return d.raw[n.off : d.nodes[n.end].off+1]
	}
	return d.raw[n.off : n.end&^hasEscape]
}

func (d *document) value(i uint32, carry flags) Value {
	n := d.nodes[i]
	switch d.raw[n.off] {
	case '{':
		return Value{kind: KindObject, flags: carry, n: i, p: d}
	case '[':
		return Value{kind: KindArray, flags: carry, n: i, p: d}
	case '"':
		if n.end&hasEscape != 0 {
			return Value{kind: KindString, flags: carry | escaped, s: d.raw[n.off+1 : n.end&^hasEscape-1]}
		}
		return Value{kind: KindString, flags: carry, s: d.raw[n.off+1 : n.end-1]}
	case 't':
		return Value{kind: KindBool, flags: carry, n: 1}
	case 'f':
		return Value{kind: KindBool, flags: carry}
	case 'n':
		return Value{kind: KindNull, flags: carry}
	}
	return Value{kind: KindNumber, flags: carry, s: d.raw[n.off:n.end]}
}

// member returns a member and the work of finding it: see Value.member. A name that is written with escapes is decoded
// only where its length leaves it a chance.
func (d *document) member(obj uint32, name string, carry flags) (Value, int) {
	work := 0
	end := d.nodes[obj].end
	for i := obj + 1; i < end; work++ {
		k := d.nodes[i]
		same := false
		if k.end&hasEscape == 0 {
			if int(k.end-k.off)-2 == len(name) {
				work += len(name) / 4
				same = d.raw[k.off+1:k.end-1] == name
			}
		} else if raw := d.raw[k.off+1 : k.end&^hasEscape-1]; len(raw) > len(name) && len(raw) <= 6*len(name) {
			work += len(raw) / 2
			same = unescape(raw) == name
		}
		if same {
			return d.value(i+1, carry), work
		}
		i = d.after(i + 1)
	}
	return Value{flags: carry}, work
}

func (d *document) element(arr uint32, want int, carry flags) (Value, int) {
	if want < 0 || want >= d.count(arr) {
		return Value{flags: carry}, 0
	}
	i := arr + 1
	for range want {
		i = d.after(i)
	}
	return d.value(i, carry), want
}
