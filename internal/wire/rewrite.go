package wire

import (
	"errors"
	"slices"
	"sync"
)

// Errors of a Rewriter. The message must then not reach a client for whom something was to be left out.
var (
	ErrMessage   = errors.New("rewrite message: not valid JSON")
	ErrAmbiguous = errors.New("rewrite message: a name that decides what is left out occurs twice or in another spelling")
	ErrTools     = errors.New("rewrite message: result.tools is not an array")
)

// Rewriter changes messages on their way from a backend to a client, by shape, since an answer may come on any stream.
// Bytes that need no change stay as they are: order, white space, unknown fields, spelling of numbers.
// The zero Rewriter changes nothing but still tells tool lists. It holds no state and may be used concurrently.
type Rewriter struct {
	// See tells which tools stay in result.tools; nil: all. An entry that is no object, or has no name, an ambiguous one
	// or one that decoders disagree on, goes. The name is valid only during the call.
	See func(name []byte) bool
	// Private makes result.cacheScope "private" (SEP-2549) and adds it where result.ttlMs stands without it, as an
	// absent one means public.
	Private bool
	// DropInstructions removes result.instructions (initialize and server/discover).
	DropInstructions bool
}

// Idle tells whether the rewriter would leave every message as it is.
func (r Rewriter) Idle() bool { return r.See == nil && !r.Private && !r.DropInstructions }

// Apply gives msg with what r says changed: msg itself if nothing had to be, else room's memory, grown where needed and
// written from its start. Both are valid until the caller reuses them. isToolList tells whether result.tools is an array.
// msg is one message, or an array of them as 2025-03-26 allows. A byte order mark before it is left out.
func (r Rewriter) Apply(room, msg []byte) (out []byte, isToolList bool, err error) {
	msg = WithoutMark(msg)
	p := splicers.Get().(*splicer)
	p.lexer, p.r, p.out = lexer{b: msg}, r, room[:0]
	defer p.recycle()
	i := p.space(0)
	if i < len(msg) && msg[i] == '[' {
		i = p.batch(i)
	} else {
		i = p.message(i)
	}
	if i >= 0 && p.space(i) != len(msg) {
		i = -1
	}
	if i < 0 {
		if p.refused == nil {
			p.refused = ErrMessage
		}
		return nil, false, p.refused
	}
	if !p.changed {
		return msg, p.list, nil
	}
	return append(p.out, msg[p.done:]...), p.list, nil
}

// FilterTools leaves in a message's result.tools the entries that see allows, and everything else as it is. See
// Rewriter.Apply for room and what is returned.
func FilterTools(room, msg []byte, see func(name []byte) bool) (out []byte, isToolList bool, err error) {
	return Rewriter{See: see}.Apply(room, msg)
}

// IsToolList tells whether msg is an answer with result.tools.
func IsToolList(msg []byte) bool {
	_, list, err := Rewriter{}.Apply(nil, msg)
	return err == nil && list
}

// StripInstructions removes result.instructions. See Rewriter.Apply.
func StripInstructions(room, msg []byte) ([]byte, error) {
	out, _, err := Rewriter{DropInstructions: true}.Apply(room, msg)
	return out, err
}

// PrivateCache makes result.cacheScope "private". See Rewriter.Apply.
func PrivateCache(room, msg []byte) ([]byte, error) {
	out, _, err := Rewriter{Private: true}.Apply(room, msg)
	return out, err
}

// splicers are used again: what Apply gives is memory of its caller's, and names are lent to See for the call alone.
var splicers = sync.Pool{New: func() any { return new(splicer) }}

func (p *splicer) recycle() {
	*p = splicer{}
	splicers.Put(p)
}

const addedScope = `,"cacheScope":"private"`

type splicer struct {
	lexer
	r       Rewriter
	out     []byte
	done    int // how much of the message is in out, or was cut
	changed bool
	list    bool
	refused error
	name    [256]byte // room for decoded names
}

// cut replaces b[from:to]; calls come in order.
func (p *splicer) cut(from, to int, with string) {
	if !p.changed {
		p.out = slices.Grow(p.out, len(p.b)+len(addedScope))
	}
	p.out = append(p.out, p.b[p.done:from]...)
	p.out = append(p.out, with...)
	p.done = to
	p.changed = true
}

func (p *splicer) refuse(err error) int {
	p.refused = err
	return -1
}

// parts walks the comma-separated parts of the array or object whose opening bracket is at i. part reads one, from its
// first byte, and tells whether it stays; what goes takes one comma along.
func (p *splicer) parts(i int, part func(i int) (end int, keep bool)) int {
	b := p.b
	closing := b[i] + 2
	begin := i + 1 // where this part begins, white space included
	comma := -1    // the comma before it
	kept := false
	if i = p.space(begin); i < len(b) && b[i] == closing {
		return i + 1
	}
	for {
		i = p.space(begin)
		end, keep := part(i)
		if end < 0 {
			return -1
		}
		bare := end
		if end = p.space(end); end >= len(b) {
			return p.fail(end, whyEnd)
		}
		last := b[end] == closing
		if !last && b[end] != ',' {
			return p.fail(end, whyComma)
		}
		switch {
		case keep:
			kept = true
		case kept && last:
			p.cut(comma, bare, "") // the closing bracket stays on its line
		case kept:
			p.cut(comma, end, "")
		case last:
			p.cut(begin, end, "")
		default:
			p.cut(begin, end+1, "")
		}
		if last {
			return end + 1
		}
		comma, begin = end, end+1
	}
}

func (p *splicer) batch(i int) int {
	return p.parts(i, func(i int) (int, bool) { return p.message(i), true })
}

// member reads the name and colon at i. name is the name of ours that it is, "" for none; variant is the one that only a
// lenient decoder would take it for.
func (p *splicer) member(i int, names func([]byte) string) (value int, name, variant string) {
	if i >= len(p.b) || p.b[i] != '"' {
		return p.fail(i, whyName), "", ""
	}
	end, escaped := p.str(i + 1)
	if end < 0 {
		return -1, "", ""
	}
	raw, ok := p.b[i+1:end-1], true
	if escaped {
		raw, ok = appendDecoded(p.name[:0], raw)
	}
	if !ok || escaped && slices.Contains(raw, 0) {
		return p.colon(end), "", "?" // decoders disagree on what it says
	}
	if name = names(raw); name == "" {
		var buf [maxFolded]byte
		if f, short := fold(&buf, raw); short {
			if variant = foldedMember(f); variant != "" && names([]byte(variant)) == "" {
				variant = "" // one of ours, but not at this level
			}
		}
	}
	return p.colon(end), name, variant
}

func messageNames(n []byte) string {
	if string(n) == "result" {
		return "result"
	}
	return ""
}

func resultNames(n []byte) string {
	switch string(n) {
	case "tools":
		return "tools"
	case "cacheScope":
		return "cacheScope"
	case "instructions":
		return "instructions"
	case "ttlMs":
		return "ttlMs"
	}
	return ""
}

func entryNames(n []byte) string {
	if string(n) == "name" {
		return "name"
	}
	return ""
}

func foldedMember(f []byte) string {
	switch string(f) {
	case "result":
		return "result"
	case "tools":
		return "tools"
	case "cachescope":
		return "cacheScope"
	case "instructions":
		return "instructions"
	case "ttlms":
		return "ttlMs"
	case "name":
		return "name"
	}
	return ""
}

func (p *splicer) message(i int) int {
	if i >= len(p.b) || p.b[i] != '{' {
		return p.fail(i, whyValue)
	}
	seen := false
	return p.parts(i, func(i int) (int, bool) {
		v, name, variant := p.member(i, messageNames)
		if v < 0 {
			return -1, true
		}
		if variant != "" && !p.r.Idle() {
			return p.refuse(ErrAmbiguous), true
		}
		if name != "result" {
			return p.value(v, 2), true
		}
		if seen && !p.r.Idle() {
			return p.refuse(ErrAmbiguous), true
		}
		seen = true
		if v < len(p.b) && p.b[v] == '{' {
			return p.result(v), true
		}
		return p.value(v, 2), true
	})
}

// result reads the object of a result.
func (p *splicer) result(i int) int {
	var tools, scope, ttl bool
	end := p.parts(i, func(i int) (int, bool) {
		v, name, variant := p.member(i, resultNames)
		switch {
		case v < 0:
			return -1, true
		case variant != "" && p.r.See != nil:
			return p.refuse(ErrAmbiguous), true
		case variant != "":
			return p.value(v, 3), !p.hides(variant)
		}
		switch name {
		case "tools":
			if tools && p.r.See != nil {
				return p.refuse(ErrAmbiguous), true
			}
			tools = true
			return p.tools(v), true
		case "cacheScope":
			if p.r.Private {
				scope = true
				return p.private(v), true
			}
		case "ttlMs":
			ttl = true
		}
		return p.value(v, 3), !p.hides(name) || name == "cacheScope"
	})
	if end >= 0 && p.r.Private && ttl && !scope {
		p.cut(end-1, end-1, addedScope)
	}
	return end
}

// hides tells whether the client may not see what stands under a name, or what a lenient client takes for it.
func (p *splicer) hides(name string) bool {
	return name == "instructions" && p.r.DropInstructions || name == "cacheScope" && p.r.Private
}

// private reads the value of cacheScope and makes it "private" whatever it was.
func (p *splicer) private(v int) int {
	end := p.value(v, 3)
	if end >= 0 && string(p.b[v:end]) != `"private"` {
		p.cut(v, end, `"private"`)
	}
	return end
}

// tools reads the value of result.tools.
func (p *splicer) tools(i int) int {
	if i < len(p.b) && p.b[i] == '[' {
		p.list = true
		if p.r.See == nil {
			return p.value(i, 3)
		}
		return p.parts(i, p.entry)
	}
	end := p.value(i, 3)
	if end >= 0 && p.r.See != nil && p.b[i] != 'n' {
		return p.refuse(ErrTools)
	}
	return end
}

// entry reads one tool and tells whether the client may see it.
func (p *splicer) entry(i int) (end int, keep bool) {
	if i >= len(p.b) || p.b[i] != '{' {
		return p.value(i, 4), false
	}
	var found, doubt, allowed bool
	end = p.parts(i, func(i int) (int, bool) {
		v, name, variant := p.member(i, entryNames)
		if v < 0 {
			return -1, true
		}
		doubt = doubt || variant != "" || name != "" && found
		end := p.value(v, 5)
		if end < 0 || name == "" {
			return end, true
		}
		found = true
		if p.b[v] == '"' {
			decoded, ok := appendDecoded(p.name[:0], p.b[v+1:end-1])
			allowed = ok && p.r.See(decoded)
		}
		return end, true
	})
	return end, found && !doubt && allowed
}
