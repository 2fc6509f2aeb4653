package template

import (
	"errors"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// place is where the output stands: what of JSON or of a URL the next byte continues. It follows the bytes that were
// written, so it is right for whatever way through the template was taken.
type place struct {
	from      int // where this execution's output begins
	inString  bool
	backslash bool
	last      byte // of JSON, outside literals: the last byte that is no white space

	part    urlPart
	segment int  // where the current path segment begins
	client  bool // a tainted value stands in the current segment
}

type urlPart uint8

const (
	urlStart     urlPart = iota
	urlSlash             // one leading slash
	urlColon             // scheme:
	urlColon1            // scheme:/
	urlAuthority         // after //
	urlOpaque            // after a scheme without //
	urlPath
	urlQuery
	urlFragment
)

var (
	errHost      = errors.New("an argument stands in the scheme, host or port of the URL")
	errNoSegment = errors.New("an argument is empty where a path segment stands")
	errPercent   = errors.New("an argument stands directly after a percent sign")
	errDots      = errors.New("an argument holds . or .. as a path segment")
	errControl   = errors.New("a value holds a line break or another control character")
)

func (e *exec) checkOutput() error {
	if len(e.dst) > e.limit {
		return errOutput
	}
	return nil
}

// author writes the author's own text.
func (e *exec) author(s string) error {
	if len(e.dst)+len(s) > e.limit {
		return errOutput
	}
	switch e.t.opts.Mode {
	case JSONBody:
		e.place.followJSON(s)
	case URL:
		return e.authorURL(s)
	}
	e.dst = append(e.dst, s...)
	return nil
}

// print writes a value as the mode wants it in this place.
func (e *exec) print(v Value) error {
	switch e.t.opts.Mode {
	case Text:
		return e.printText(v)
	case JSONBody:
		return e.printJSON(v)
	case Header:
		from := len(e.dst)
		if err := e.printText(v); err != nil {
			return err
		}
		for _, c := range e.dst[from:] {
			if c < ' ' && c != '\t' || c == 0x7f {
				return errControl
			}
		}
		return nil
	}
	if !e.isTainted(&v, 0) {
		s, err := e.text(v)
		if err != nil {
			return err
		}
		return e.author(s)
	}
	s, err := e.text(v)
	if err != nil {
		return err
	}
	if e.t.opts.Mode == URL {
		return e.argumentURL(s, v.flags)
	}
	if v.flags&urlSafe != 0 {
		e.dst = append(e.dst, s...)
	} else {
		e.dst = AppendQuery(e.dst, s)
	}
	return e.checkOutput()
}

func (e *exec) printText(v Value) error {
	switch v.kind {
	case KindMissing:
		return nil
	case KindString, KindNumber:
		if len(e.dst)+len(v.s) > e.limit {
			return errOutput
		}
		e.steps -= len(v.s) >> 10
		e.dst = v.AppendText(e.dst)
		return nil
	case KindArray, KindObject:
		return e.appendValue(v)
	}
	e.dst = v.AppendText(e.dst)
	return e.checkOutput()
}

// appendValue writes the value's JSON.
func (e *exec) appendValue(v Value) error {
	if d, ok := v.p.(*document); ok {
		raw := d.text(v.n)
		if err := e.charge(len(raw) >> 8); err != nil {
			return err
		}
		if len(raw) > e.limit-len(e.dst) && len(raw)/8 > e.limit { // mostly white space is the only way to still fit
			return errOutput
		}
		e.dst = appendCompact(e.dst, raw)
		return e.checkOutput()
	}
	if _, err := e.measure(&v, 0); err != nil { // credentials within it, for one
		return err
	}
	dst, ok := v.appendJSON(e.dst, 0, e.limit)
	if !ok {
		return errOutput
	}
	made := len(dst) - len(e.dst)
	e.dst = dst
	if err := e.checkOutput(); err != nil {
		return err
	}
	return e.charge(made >> 8)
}

// printJSON writes a value into a JSON text.
func (e *exec) printJSON(v Value) error {
	p := &e.place
	if p.inString {
		if p.backslash { // the author's lone backslash must not swallow what follows
			e.dst, p.backslash = append(e.dst, '\\'), false
		}
		if v.kind == KindString {
			if len(e.dst)+len(v.s) > e.limit {
				return errOutput
			}
			e.steps -= len(v.s) >> 10
			e.dst = v.appendLiteral(e.dst)
			return e.checkOutput()
		}
		s, err := e.text(v)
		if err != nil {
			return err
		}
		e.dst = jsontext.AppendEscaped(e.dst, s)
		return e.checkOutput()
	}
	switch v.kind {
	case KindMissing:
		if p.last == ':' || p.last == ',' || p.last == '[' {
			e.dst, p.last = append(e.dst, "null"...), 'l'
		}
		return e.checkOutput()
	case KindString:
		if v.flags&asJSON != 0 || v.flags&(tainted|inert) == tainted|inert || v.flags&tainted == 0 {
			s, err := e.text(v)
			if err != nil {
				return err
			}
			return e.author(s)
		}
	}
	if err := e.appendValue(v); err != nil {
		return err
	}
	p.last = 'v'
	return nil
}

// followJSON notes whether s leaves the output inside a string literal.
func (p *place) followJSON(s string) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if p.inString {
			switch {
			case p.backslash:
				p.backslash = false
			case c == '\\':
				p.backslash = true
			case c == '"':
				p.inString, p.last = false, '"'
			}
			continue
		}
		switch c {
		case '"':
			p.inString = true
		case ' ', '\t', '\r', '\n':
		default:
			p.last = c
		}
	}
}

// authorURL writes the author's part of a URL and follows it.
func (e *exec) authorURL(s string) error {
	p := &e.place
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch p.part {
		case urlStart:
			switch c {
			case '/':
				p.part = urlPath
				if len(e.dst) == p.from {
					p.part = urlSlash
				}
			case ':':
				p.part = urlColon
			}
		case urlSlash:
			if c == '/' {
				p.part = urlAuthority
			} else {
				p.part = urlPath
			}
		case urlColon:
			p.part = urlOpaque
			if c == '/' {
				p.part = urlColon1
			}
		case urlColon1:
			p.part = urlOpaque
			if c == '/' {
				p.part = urlAuthority
			}
		case urlAuthority:
			if c == '/' {
				p.part = urlPath
			}
		case urlPath:
			if c == '/' {
				if err := e.endSegment(false); err != nil {
					return err
				}
			}
		}
		switch {
		case c == '?' && p.part != urlFragment && p.part != urlQuery:
			if err := e.endSegment(true); err != nil {
				return err
			}
			p.part = urlQuery
		case c == '#' && p.part != urlFragment:
			if err := e.endSegment(true); err != nil {
				return err
			}
			p.part = urlFragment
		}
		e.dst = append(e.dst, c)
		if c == '/' {
			p.segment, p.client = len(e.dst), false
		}
	}
	return e.checkOutput()
}

// endSegment looks at the path segment that ends here: an argument must not have made it a dot segment, nor left it
// empty within the path.
func (e *exec) endSegment(last bool) error {
	p := &e.place
	if p.part != urlPath || !p.client {
		return nil
	}
	if len(e.dst) == p.segment && !last {
		return errNoSegment
	}
	if DotSegment(e.dst[p.segment:]) {
		return errDots
	}
	return nil
}

// argumentURL writes a client's text into a URL.
func (e *exec) argumentURL(s string, f flags) error {
	p := &e.place
	if f&multi != 0 && (p.part == urlAuthority || p.part == urlStart && len(e.dst) == p.from) {
		// Directly after the host, or in its place where the host is the service's, a path begins.
		e.dst = append(e.dst, '/')
		p.part, p.segment = urlPath, len(e.dst)
	}
	switch p.part {
	case urlStart, urlColon, urlColon1, urlAuthority, urlOpaque:
		return errHost
	case urlSlash:
		p.part = urlPath
	}
	if out := e.dst[p.from:]; len(out) > 0 && (out[len(out)-1] == '%' || len(out) > 1 && out[len(out)-2] == '%') {
		if s != "" {
			return errPercent
		}
	}
	if p.part != urlPath {
		if f&urlSafe != 0 {
			e.dst = append(e.dst, s...)
		} else {
			e.dst = AppendQuery(e.dst, s)
		}
		return e.checkOutput()
	}
	p.client = true
	switch {
	case f&urlSafe != 0:
		e.dst = append(e.dst, s...)
	case f&multi != 0:
		var err error
		if e.dst, p.segment, err = AppendSegments(e.dst, p.segment, s); err != nil {
			return err
		}
	default:
		e.dst = appendUnreserved(e.dst, s)
	}
	return e.checkOutput()
}

// finish looks at what only the end decides.
func (e *exec) finish() error {
	if e.t.opts.Mode != URL {
		return nil
	}
	if err := e.endSegment(true); err != nil {
		return e.fail(0, err)
	}
	return nil
}
