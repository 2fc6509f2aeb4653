package registry

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

var (
	oneSlash = regexp.MustCompile(`^(?i:(https?):/?)([^/?#].*)?$`)
	hostText = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)
	hostPort = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]+)?$`)
)

// usualDomains tell example.com/x, which lacks its scheme, from index.php/x, which is a path.
var usualDomains = []string{"com", "net", "org", "io", "cn", "dev", "ai", "app", "local", "internal"}

// usualFiles tell a.min.js/x from a host with as many parts.
var usualFiles = []string{"js", "css", "json", "xml", "html", "htm", "php", "jsp", "asp", "aspx", "action", "yaml", "txt", "csv", "pdf", "png"}

// NoScheme reports what is wrong with a URL that names a host but has no "://" before it, which would otherwise be taken
// for a path; "" if that is not so. Nacos 3.0 wrote https:/host/path, and people write host:port/path.
func NoScheme(url string) string {
	if m := oneSlash.FindStringSubmatch(url); m != nil {
		return fmt.Sprintf(`begins with %q, which is no scheme: write %s://%s`, url[:len(url)-len(m[2])], strings.ToLower(m[1]), shown(m[2]))
	}
	first := url
	if i := strings.IndexAny(url, "/?#"); i >= 0 {
		first = url[:i]
	}
	if i := strings.IndexByte(first, '{'); i >= 0 {
		first = first[:i]
	}
	switch {
	case strings.HasPrefix(url[len(first):], "//"), first == "":
		return ""
	case hostPort.MatchString(first):
		return fmt.Sprintf(`begins with %q, a host and port without a scheme: write http://%s or https://%[2]s`, shown(first), shown(url))
	case strings.Contains(first, ":"): // RFC 3986 4.2: not in the first segment of a relative path
		return fmt.Sprintf(`begins with %q: a path begins with "/", a whole URL with http:// or https://`, shown(first))
	case isHost(first):
		return fmt.Sprintf(`begins with %q, a host without a scheme: write https://%s, or "/%[2]s" if it is a path`, shown(first), shown(url))
	}
	return ""
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || strings.EqualFold(s, "localhost") {
		return true
	}
	labels := strings.Split(strings.ToLower(s), ".")
	last := labels[len(labels)-1]
	return hostText.MatchString(s) && !slices.Contains(usualFiles, last) &&
		(slices.Contains(usualDomains, last) || labels[0] == "www" || len(labels) > 2 && len(last) > 1 && !strings.ContainsAny(last, "0123456789"))
}
