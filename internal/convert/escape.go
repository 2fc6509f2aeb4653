package convert

import "errors"

// bytesOf tells which bytes stand for themselves.
func bytesOf(chars string) (t [256]bool) {
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, c := range []byte(alnum + chars) {
		t[c] = true
	}
	return t
}

var (
	unreserved = bytesOf("-._~")                        // RFC 3986 2.3
	formBytes  = bytesOf("-._*")                        // WHATWG URL, application/x-www-form-urlencoded
	cookieByte = bytesOf("!#$&'()*+-./:<=>?@[]^_`{|}~") // RFC 6265 cookie-octet, without "%", which escapes
	urlBytes   = bytesOf("-._~:/?#[]@!$&'()*+,;=%")     // RFC 3986: what a URL may hold at all
	tokenBytes = bytesOf("!#$%&'*+-.^_`|~")             // RFC 9110 5.6.2
)

const upperHex = "0123456789ABCDEF"

func appendEscaped(dst []byte, s string, plain *[256]bool) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; plain[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// appendSegment appends an argument as one path segment, or part of one.
func appendSegment(dst []byte, s string) []byte { return appendEscaped(dst, s, &unreserved) }

var (
	errSegments = errors.New(`must not hold "." or ".." as a path segment`)
	errEmpty    = errors.New("must not be empty")
)

// appendFormValue escapes for a form body, where a space is "+".
func appendFormValue(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ':
			dst = append(dst, '+')
		case formBytes[c]:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// appendLiteral appends what the author wrote of a URL: escapes stay, bytes that no URL may hold are escaped.
func appendLiteral(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !urlBytes[c] || c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// fieldValue tells whether s may be a header's value: no CR, LF, NUL or other control character (RFC 9110 5.5).
func fieldValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
