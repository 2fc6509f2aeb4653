package upstream

import (
	"errors"
	"net/url"
	"strings"
)

// parseTarget reads an absolute http or https URL so that what goes out on the wire is what was written: path bytes are
// neither decoded nor cleaned, and what may not stand in a request line is percent-encoded.
func parseTarget(raw string) (*url.URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return nil, errors.New("must begin with http:// or https://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	if strings.ContainsAny(authority, "@\\") {
		return nil, errors.New("must not hold a user name or backslash before the path")
	}
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil || u.Hostname() == "" || u.Host != authority {
		return nil, errors.New("has no valid host")
	}
	if err := setPath(u, "", "", rest[end:]); err != nil {
		return nil, err
	}
	return u, nil
}

// isAbsolute tells an absolute URL from a path.
func isAbsolute(path string) bool {
	scheme, _, ok := strings.Cut(path, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// join puts path (path?query, or ?query alone) behind base's own, into u. An empty one is base itself, unchanged.
func join(base *url.URL, path string, u *url.URL) (*url.URL, error) {
	if path == "" {
		return base, nil
	}
	*u = *base
	prefix := base.EscapedPath()
	if path[0] != '?' {
		prefix = strings.TrimSuffix(prefix, "/")
		path = ensureSlash(path)
	}
	if err := setPath(u, prefix, base.RawQuery, path); err != nil {
		return nil, err
	}
	return u, nil
}

func setPath(u *url.URL, prefix, query, rest string) error {
	if strings.IndexByte(rest, '#') >= 0 {
		return errors.New("must not hold a fragment")
	}
	path, more, has := strings.Cut(rest, "?")
	raw := prefix + escape(path, pathByte)
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return errors.New("has a bad escape in its path")
	}
	u.Path, u.RawPath = decoded, raw
	if has {
		more = escape(more, queryByte)
		if query != "" && more != "" {
			query += "&"
		}
		query += more
	}
	u.RawQuery = query
	if u.EscapedPath() != raw {
		return errors.New("has a path that cannot be sent as written")
	}
	return nil
}

// escape percent-encodes the bytes that ok refuses, and any % that begins no escape.
func escape(s string, ok func(byte) bool) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		keep := ok(c)
		if c == '%' {
			keep = i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
		}
		if keep {
			if b != nil {
				b = append(b, c)
			}
			continue
		}
		if b == nil {
			b = append(make([]byte, 0, len(s)+16), s[:i]...)
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	if b == nil {
		return s
	}
	return string(b)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// pathByte: what RFC 3986 allows in a path, and [ ] which net/url passes.
func pathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-._~!$&'()*+,;=:@[]", c) >= 0
}

// queryByte: anything visible that does not end the query or the request line.
func queryByte(c byte) bool {
	return c > ' ' && c < 0x7f && c != '#' && c != '"' && c != '<' && c != '>'
}
