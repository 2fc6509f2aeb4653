package wire

// Member gives the raw value under a name in a raw object, or false if raw is no valid object or the name does not occur
// exactly once in it. Names are compared decoded and with case. It reads the whole object: not for hot paths.
func Member(raw []byte, name string) (value []byte, ok bool) {
	p := splicer{lexer: lexer{b: raw}}
	i := p.space(0)
	if i == len(raw) || raw[i] != '{' {
		return nil, false
	}
	count := 0
	end := p.parts(i, func(i int) (int, bool) {
		if i >= len(raw) || raw[i] != '"' {
			return p.fail(i, whyName), true
		}
		end, _ := p.str(i + 1)
		if end < 0 {
			return -1, true
		}
		v := p.colon(end)
		if v < 0 {
			return -1, true
		}
		last := p.value(v, 1)
		if last < 0 {
			return -1, true
		}
		if key, ok := appendDecoded(p.name[:0], raw[i+1:end-1]); ok && string(key) == name {
			count++
			value = raw[v:last:last]
		}
		return last, true
	})
	if end < 0 || p.space(end) != len(raw) || count != 1 {
		return nil, false
	}
	return value, true
}

// Text gives the text of a raw JSON string, or false if raw is none or holds lone surrogates.
func Text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	l := lexer{b: raw}
	if end, _ := l.str(1); end != len(raw) {
		return "", false
	}
	text, ok := appendDecoded(nil, raw[1:len(raw)-1])
	return string(text), ok
}
