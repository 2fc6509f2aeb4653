package gateway

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

const authorization = "Authorization"

// Why a caller's Authorization goes to no backend. The texts are for callers.
const (
	sentTwice     = "it was sent more than once"
	holdsSeveral  = "it holds more than one credential"
	looksLikeOurs = "something in it begins with " + keyPrefix + " as the proxy's own keys do"
	isOurs        = "it is, or once was, a key of the proxy's own"
)

// withheld says why the caller's Authorization, of which these are the values, must not reach a backend that asks for it;
// "" if it may. That the caller may use the service without it is known by then: admit found a valid key, and wherever
// that stood it is not what would be sent, or the service's switch is off.
//
// Whoever may write services decides which backends ask. So that no such person collects keys of the proxy, anything
// that could be one stays here, however it is wrapped.
func (g *Gateway) withheld(values []string, x *catalog.Index) string {
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		return sentTwice
	}
	v := strings.TrimSpace(values[0])
	if scheme, rest, _ := cutWord(v); strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "basic") {
		// Of other schemes parameters in a list are usual (RFC 9110, 11.6.2).
		if strings.ContainsAny(rest, " \t,") {
			return either(keyInside(v, x), holdsSeveral)
		}
	}
	return keyInside(v, x)
}

func either(given, otherwise string) string {
	if given != "" {
		return given
	}
	return otherwise
}

// keyInside says which kind of key of the proxy stands in v; "" for none.
func keyInside(v string, x *catalog.Index) (why string) {
	secrets(v, maxWrapped, func(s string) bool {
		switch {
		case holdsKey(s):
			why = looksLikeOurs
		case x.Known(digest(s)):
			why = isOurs
		}
		return why == ""
	})
	return why
}

// maxWrapped is how many encodings within each other are undone: a token in a user's name in Basic is in one.
const maxWrapped = 3

// secrets yields all that a reader could take for a credential in v, until yield returns false, which it then returns too:
// v itself, what stands behind its first words, each of its words, both sides of the first and the last colon and equals
// sign in v and its words, and all of these of what the parts decode to. Its time is linear in v.
func secrets(v string, depth int, yield func(string) bool) bool {
	v = strings.TrimSpace(v)
	if v == "" {
		return true
	}
	if !yield(v) || depth > 0 && !decoded(v, depth, yield) {
		return false
	}
	rest := v
	for range maxWrapped { // "Bearer Bearer x y": keys may hold blanks
		var ok bool
		if _, rest, ok = cutWord(rest); !ok {
			break
		}
		if !yield(rest) {
			return false
		}
	}
	inside := func(word string) bool {
		for part := range sides(word) {
			if part != v && (!yield(part) || depth > 0 && !decoded(part, depth, yield)) {
				return false
			}
		}
		return true
	}
	if !inside(v) {
		return false
	}
	for word := range strings.FieldsFuncSeq(v, isBetween) {
		if word != v && !inside(word) {
			return false
		}
	}
	return true
}

// cutWord cuts at the first run of blanks.
func cutWord(v string) (word, rest string, ok bool) {
	i := strings.IndexAny(v, " \t")
	if i < 0 {
		return v, "", false
	}
	return v[:i], strings.TrimLeft(v[i:], " \t"), true
}

// isBetween reports whether c stands between the words of an Authorization value.
func isBetween(c rune) bool {
	return c <= ' ' || c == ',' || c == ';' || c == '"' || c == '\'' || c == 0x7f
}

// sides yields a word and what stands before and behind its first and last colon and equals sign.
func sides(word string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if !yield(word) {
			return
		}
		for _, separator := range []string{":", "="} {
			first, last := strings.Index(word, separator), strings.LastIndex(word, separator)
			if first < 0 {
				continue
			}
			around := []string{word[:first], word[first+1:], word[:last], word[last+1:]}
			if first == last {
				around = around[:2]
			}
			for _, side := range around {
				if side != "" && !yield(side) {
					return
				}
			}
		}
	}
}

// decoded yields the secrets of what v is an encoding of: base64 in each of its forms, or percent-encoding.
func decoded(v string, depth int, yield func(string) bool) bool {
	if strings.Contains(v, "%") {
		if text, err := url.PathUnescape(v); err == nil && text != v && !secrets(text, depth-1, yield) {
			return false
		}
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(v, "-_") {
		encoding = base64.RawURLEncoding
	}
	text, err := encoding.DecodeString(strings.TrimRight(v, "="))
	return err != nil || len(text) == 0 || secrets(string(text), depth-1, yield) // names in Basic may be Latin-1
}

// advice follows the reason for which an Authorization was withheld: what to do about it.
func (g *Gateway) advice(why string, c *registry.Consumer) string {
	if why != looksLikeOurs && why != isOurs {
		return why
	}
	sources := g.options.Sources
	if c != nil && len(c.Sources) > 0 {
		sources = c.Sources
	}
	for _, s := range sources {
		switch {
		case s.Header != "":
			return why + "; send that in the header " + s.Header + ", and your own credential in Authorization"
		case s.Query != "":
			return why + "; send that in the query parameter " + s.Query + ", and your own credential in Authorization"
		}
	}
	return why
}

// withheld says, for the caller, why its Authorization stayed here; "" where there is none, or it may be sent.
func (c *call) withheld() string {
	values := c.r.Header[authorization]
	if len(values) == 0 {
		return ""
	}
	why := c.g.withheld(values, c.index)
	if why == "" {
		return ""
	}
	return c.g.advice(why, c.identity.consumer)
}
