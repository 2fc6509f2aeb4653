package convert

import (
	"bytes"
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// mask stands for a credential.
const mask = "***"

// Preview writes the request as HTTP text for a person to read, with every credential masked. Base is the address of
// the service's backend, put before a relative URL; it may be empty.
func (r *Request) Preview(base string) string {
	var b strings.Builder
	address := r.URL
	if !r.Absolute {
		address = strings.TrimSuffix(base, "/") + address
	}
	b.WriteString(r.Method + " " + r.conceal(address) + "\n")
	if r.Host != "" {
		b.WriteString("Host: " + r.conceal(r.Host) + "\n")
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
			b.WriteString(name + ": " + r.conceal(v) + "\n")
		}
	}
	if len(r.Body) > 0 {
		b.WriteString("\n" + r.conceal(string(bytes.ToValidUTF8(r.Body, []byte("\uFFFD")))))
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

// conceal masks the credentials of the request wherever they stand, in any of the ways they may have been escaped.
func (r *Request) conceal(s string) string {
	secrets := slices.Clone(r.secrets)
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the longest first
	for _, secret := range secrets {
		if len(secret) < 3 {
			continue // would mask the text round it and tell nobody anything
		}
		quoted := jsontext.AppendString(nil, secret)
		for _, form := range []string{
			secret, string(queryEscape(nil, secret)), string(appendFormValue(nil, secret)), url.QueryEscape(secret),
			url.PathEscape(secret), string(quoted[1 : len(quoted)-1]),
		} {
			s = strings.ReplaceAll(s, form, mask)
		}
	}
	return s
}
