package gateway

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ways to write a character of a key: as it is, percent-encoded (any number of times), as an escape of JSON, JavaScript, Python or
// C, behind any number of backslashes, or as a character reference of HTML or XML.
func spelled(c byte) string {
	const digits = "0123456789abcdef"
	either := func(d byte) string {
		if d < 'a' {
			return string(d)
		}
		return "[" + string(d) + string(d-'a'+'A') + "]"
	}
	hex := either(digits[c>>4]) + either(digits[c&15])
	decimal := string(digits[c/100]) + string(digits[c/10%10]) + string(digits[c%10])
	if c < 100 {
		decimal = decimal[1:]
	}
	return `(?:` + string(c) + `|%(?:25)*` + hex + `|\\+(?:u00` + hex + `|U000000` + hex + `|[ux]\{0*` + hex + `\}|x` + hex +
		`)|&(?:amp;)*#(?:0*` + decimal + `|[xX]0*` + hex + `);?)`
}

// ourKey finds keys that we made wherever somebody has put one, in a path, as a tool's name or among the arguments: spelled as it
// is or escaped, with whatever follows that may belong to it.
var ourKey = regexp.MustCompile(spelled('n') + spelled('m') + spelled('p') + spelled('_') +
	`(?:[A-Za-z0-9_.~%-]|\\+[uUx]\{?[0-9A-Fa-f]+\}?|&(?:amp;)*#[0-9A-Za-z]+;?)*`)

// inBase64 finds them in base64 at each of its three alignments, as in Basic.
var inBase64 = regexp.MustCompile(`[A-Za-z0-9+/_-]*(?:bm1wX[w-z0-9+/_-]|[GWm2]5tcF[89+/_-]|[BFJNRVZdhlptx159]ubXBf)[A-Za-z0-9+/_=-]*`)

// withoutKeys returns s with a mark in place of each key of ours.
func withoutKeys(s string) string {
	if strings.Contains(s, keyPrefix) || strings.ContainsAny(s, `%\&`) {
		s = ourKey.ReplaceAllLiteralString(s, keyPrefix+"…")
	}
	if strings.Contains(s, "bm1wX") || strings.Contains(s, "5tcF") || strings.Contains(s, "ubXBf") {
		s = inBase64.ReplaceAllLiteralString(s, keyPrefix+"…")
	}
	return s
}

// visible escapes, in the JSON that b has from there on, what a screen does not show or obeys: control characters that JSON allows
// (DEL, C1) and those that format, such as the ones that turn the direction of text around, join or separate without a width, or
// tag. The JSON means the same afterwards.
func visible(b []byte, from int) []byte {
	i := from
	for i < len(b) && b[i] < 0x7f {
		i++
	}
	var out []byte // nil as long as nothing was escaped
	start := from
	for i < len(b) {
		r, n := rune(b[i]), 1
		if b[i] >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(b[i:])
		}
		if hidden(r, n) {
			out = append(out, b[start:i]...)
			out = appendEscape(out, r)
			start = i + n
		}
		i += n
	}
	if start == from {
		return b
	}
	out = append(out, b[start:]...)
	return append(b[:from], out...)
}

// hidden reports whether r, of n bytes, is to be escaped; bytes that are no UTF-8 are, too.
func hidden(r rune, n int) bool {
	return r == 0x7f || r == utf8.RuneError && n == 1 ||
		r >= 0x80 && (unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) || r == 0x2800)
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	unit := func(u rune) {
		b = append(b, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	if r > 0xffff {
		r -= 0x10000
		unit(0xd800 + r>>10)
		unit(0xdc00 + r&0x3ff)
		return b
	}
	unit(r)
	return b
}
