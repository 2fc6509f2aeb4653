package template

import (
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// AppendJSON appends the value as compact JSON; missing and what JSON cannot say become null or a string.
func (v Value) AppendJSON(dst []byte) []byte {
	dst, _ = v.appendJSON(dst, 0, -1)
	return dst
}

// AppendText appends the value as a Text template prints it; see Text.
func (v Value) AppendText(dst []byte) []byte {
	switch v.kind {
	case KindMissing:
		return dst
	case KindString:
		if v.flags&escaped != 0 {
			return appendUnescaped(dst, v.s)
		}
		return append(dst, v.s...)
	case KindOther, KindSecret:
		return append(dst, v.goString()...)
	}
	return v.AppendJSON(dst)
}

// appendJSON stops with ok false where the result would pass max bytes (max < 0: no limit) or nest too deeply, which
// only objects made by functions can.
func (v Value) appendJSON(dst []byte, depth, max int) (out []byte, ok bool) {
	if max >= 0 && len(dst) > max || depth > maxJSONDepth {
		return dst, false
	}
	switch v.kind {
	case KindMissing, KindNull:
		return append(dst, "null"...), true
	case KindBool:
		if v.n == 1 {
			return append(dst, "true"...), true
		}
		return append(dst, "false"...), true
	case KindNumber:
		return append(dst, v.s...), true
	case KindString:
		dst = append(dst, '"')
		return append(v.appendLiteral(dst), '"'), true
	case KindOther, KindSecret:
		dst = append(dst, '"')
		return append(jsontext.AppendEscaped(dst, v.goString()), '"'), true
	}
	switch p := v.p.(type) {
	case *document:
		raw := p.text(v.n)
		if max >= 0 && len(raw) > max { // the compact text is what counts, but this bounds the work too
			return dst, false
		}
		return appendCompact(dst, raw), true
	case *list:
		dst = append(dst, '[')
		for i, item := range p.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, ok = item.appendJSON(dst, depth+1, max); !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	case *object:
		dst = append(dst, '{')
		for i, key := range p.keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(jsontext.AppendEscaped(append(dst, '"'), key), '"', ':')
			if dst, ok = p.vals[i].appendJSON(dst, depth+1, max); !ok {
				return dst, false
			}
		}
		return append(dst, '}'), true
	}
	return append(dst, "null"...), true
}

// appendLiteral appends what stands between the quotes of the string's literal.
func (v Value) appendLiteral(dst []byte) []byte {
	if v.flags&escaped != 0 {
		return append(dst, v.s...)
	}
	return jsontext.AppendEscaped(dst, v.s)
}

// appendCompact copies valid JSON without the white space between its tokens.
func appendCompact(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case ' ', '\t', '\n', '\r':
			dst = append(dst, s[start:i]...)
			i = skipSpace(s, i)
			start = i
			i--
		}
	}
	return append(dst, s[start:]...)
}
