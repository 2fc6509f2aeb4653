// Package jsontext writes JSON strings, for everybody here who does: into a buffer, without garbage.
// It must never write what is not JSON, whatever bytes it is given.
package jsontext

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// AppendString appends s as a JSON string, byte for byte as encoding/json writes it without HTML escaping: invalid UTF-8
// becomes U+FFFD, U+2028 and U+2029 are escaped for JavaScript's sake, "<", ">" and "&" stay as they are.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	return append(AppendEscaped(append(dst, '"'), s), '"')
}

// AppendEscaped appends what AppendString puts between the quotes.
func AppendEscaped[T string | []byte](dst []byte, s T) []byte {
	b := unsafe.Slice(unsafe.StringData(*(*string)(unsafe.Pointer(&s))), len(s)) // a slice begins like a string; b is only read
	start := 0
	for i := plainLen(b); i < len(b); {
		c := b[i]
		if plain[c] {
			i++
			if i&15 == 0 { // nothing odd for a while
				i += plainLen(b[i:])
			}
			continue
		}
		if c >= utf8.RuneSelf {
			switch {
			case c >= 0xc2 && c < 0xe0 && len(b)-i >= 2 && b[i+1]&0xc0 == 0x80:
				i += 2
			case c > 0xe2 && c < 0xed && len(b)-i >= 3 && b[i+1]&0xc0 == 0x80 && b[i+2]&0xc0 == 0x80:
				i += 3
			default:
				r, n := utf8.DecodeRune(b[i:])
				switch {
				case r == utf8.RuneError && n == 1:
					dst = append(append(dst, b[start:i]...), `\ufffd`...)
					start = i + n
				case r == '\u2028' || r == '\u2029':
					dst = append(append(dst, b[start:i]...), '\\', 'u', '2', '0', '2', hexDigits[r&15])
					start = i + n
				}
				i += n
			}
			continue
		}
		dst = append(append(dst, b[start:i]...), '\\')
		switch c {
		case '"', '\\':
			dst = append(dst, c)
		case '\b':
			dst = append(dst, 'b')
		case '\f':
			dst = append(dst, 'f')
		case '\n':
			dst = append(dst, 'n')
		case '\r':
			dst = append(dst, 'r')
		case '\t':
			dst = append(dst, 't')
		default:
			dst = append(dst, 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(dst, b[start:]...)
}

const hexDigits = "0123456789abcdef"

// plain are the bytes that stand for themselves.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainLen is how many bytes at the beginning of b stand for themselves. It looks at eight at a time.
func plainLen(b []byte) int {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := x^ones*'"', x^ones*'\\'
		// A byte's top bit stays 0 in all four where it is ASCII, not below space, no quote and no backslash; a borrow from the
		// byte below can only set one too many, and that byte's own is set then.
		if (x|(x-ones*' ')|(quote-ones)|(backslash-ones))&tops != 0 {
			break
		}
	}
	for i < len(b) && plain[b[i]] {
		i++
	}
	return i
}
