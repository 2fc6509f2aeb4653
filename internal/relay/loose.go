package relay

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Some backends keep a request's id, or its progress token, in a variable of another type than it came in: they answer to
// 1 with "1" or 1.0. The clients of the official SDKs take that for 1, so a proxy in between must.

// maxLoose is the length up to which ids are compared loosely; those that anybody makes are shorter.
const maxLoose = 256

// sameLoosely reports whether two raw ids are the same but for their type and spelling.
func sameLoosely(a, b string) bool {
	if a == b {
		return true
	}
	x, ok := meant(a)
	if !ok {
		return false
	}
	y, ok := meant(b)
	return ok && x == y
}

// meant returns the text or number that a raw id stands for.
func meant(raw string) (string, bool) {
	if raw == "" || len(raw) > maxLoose {
		return "", false
	}
	switch v := gjson.Parse(raw); v.Type {
	case gjson.String:
		if v.Str == "" || !isNumber(v.Str) {
			return "text " + v.Str, true
		}
		raw = v.Str
	case gjson.Number:
	default:
		return "", false
	}
	if !strings.ContainsAny(raw, ".eE") {
		return "number " + raw, true // of any size
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil || f != f || f > 1<<53 || f < -1<<53 {
		return "number " + raw, true
	}
	return "number " + strconv.FormatFloat(f, 'f', -1, 64), true
}

// isNumber reports whether text is spelled as a number of JSON.
func isNumber(text string) bool {
	return strings.Trim(text, "+-.0123456789eE") == "" && gjson.Valid(text)
}

// withMember returns a message in which the value at path, which is there once, is raw instead; nil where it is there in
// another way than a reader must take it. The bytes around it stay.
func withMember(message []byte, path, raw string) []byte {
	v := gjson.GetBytes(message, path)
	end := v.Index + len(v.Raw)
	if v.Index <= 0 || end > len(message) || string(message[v.Index:end]) != v.Raw {
		return nil
	}
	at, name := gjson.ParseBytes(message), path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		at, name = at.Get(path[:i]), path[i+1:]
	}
	n := 0
	at.ForEach(func(key, _ gjson.Result) bool {
		if strings.EqualFold(key.Str, name) {
			n++
		}
		return true
	})
	if n != 1 {
		return nil
	}
	return slices.Concat(message[:v.Index], []byte(raw), message[end:])
}
