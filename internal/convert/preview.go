package convert

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// Preview writes the request as HTTP text for a person to read, with every credential masked. Base is the address of
// the service's backend, put before a relative URL; it may be empty.
func (r *Request) Preview(base string) string {
	var b strings.Builder
	m := newMasker(r.secrets, minShown)
	address := r.URL
	if !r.Absolute {
		address = strings.TrimSuffix(base, "/") + address
	}
	b.WriteString(r.Method + " " + m.string(address) + "\n")
	if r.Host != "" {
		b.WriteString("Host: " + m.string(r.Host) + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			if slices.Contains(r.masked, name) || secretive(name) {
				word, _, two := strings.Cut(v, " ")
				v = mask
				if name == "Authorization" && two {
					v = word + " " + mask
				}
			}
			b.WriteString(name + ": " + m.string(v) + "\n")
		}
	}
	if len(r.Body) > 0 {
		b.WriteString("\n" + m.string(string(bytes.ToValidUTF8(r.Body, []byte("\uFFFD")))))
		b.WriteString("\n")
	}
	return b.String()
}

// secretive tells the headers that hold a credential by their name, for those that authors write into templates.
func secretive(name string) bool {
	name = strings.ToLower(name)
	if name == "authorization" || name == "cookie" || name == "proxy-authorization" {
		return true
	}
	for _, word := range []string{"-key", "apikey", "token", "secret", "password", "signature"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
