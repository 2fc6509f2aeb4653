package openapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

var (
	notInTool = regexp.MustCompile(`[^A-Za-z0-9_-]+`)
	notInArg  = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
)

// toolName makes a name of an operationId, or of method and path. Names are letters, digits, "_" and "-", at
// most 64: what every client and model takes.
func toolName(id, method, path string) string {
	name := strings.Trim(notInTool.ReplaceAllString(id, "_"), "_-")
	if name == "" {
		words := placeholder.ReplaceAllString(cleanPath(path), "by_$1")
		name = method + "_" + strings.Trim(notInTool.ReplaceAllString(words, "_"), "_-")
		name = strings.Trim(name, "_-")
	}
	return shorten(name, maxName)
}

// shorten cuts a name; a digest of the whole keeps it apart from others, and the same every time.
func shorten(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.TrimRight(name[:limit-9], "_-.") + "_" + hex.EncodeToString(sum[:4])
}

// unique numbers a name that another tool has.
func (im *importer) unique(name string) string {
	one := name
	for i := 2; im.names[one]; i++ {
		suffix := fmt.Sprintf("_%d", i)
		one = shorten(name, maxName-len(suffix)) + suffix
	}
	im.names[one] = true
	return one
}

// argName makes a name that every client takes for a property: letters, digits, "_", "." and "-", at most 64. What is
// left of names in other scripts says nothing: those are arg.
func argName(wire string) string {
	name := wire
	if notInArg.MatchString(wire) {
		name = strings.Trim(notInArg.ReplaceAllString(wire, "_"), "_.-")
	}
	if name == "" || name != wire && strings.Trim(name, "0123456789_.-") == "" {
		name = "arg"
	}
	return shorten(name, maxName)
}

// queryName writes a parameter's name into a query; brackets stay readable.
func queryName(name string) string {
	return strings.NewReplacer("%5B", "[", "%5D", "]", "%24", "$", "%3A", ":", "%40", "@", "%2C", ",").Replace(url.QueryEscape(name))
}

// selected tells whether Include has the operation.
func (im *importer) selected(t *tool, id, path string, op place) bool {
	if len(im.options.Include) == 0 {
		return true
	}
	candidates := []string{t.name, id, path, t.operation}
	for _, tag := range op.at("tags").each() {
		candidates = append(candidates, "tag:"+tag.str())
	}
	hit := false
	for _, pattern := range im.options.Include {
		for _, c := range candidates {
			if c != "" && glob(pattern, c) {
				im.matched[pattern], hit = true, true
			}
		}
	}
	return hit
}

// glob matches a pattern in which "*" stands for anything, without backtracking more than once per "*".
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}

var (
	// The first two are large, and most processes read no OpenAPI.
	htmlBreak = lazily(`(?i)</?(p|br|li|ul|ol|div|tr|table|h[1-6])(\s[^<>]{0,300})?/?>`)
	htmlTag   = lazily(`(?i)</?(a|b|i|em|strong|code|span|pre|td|th|tbody|thead|small|sup|sub|img|aside|blockquote)(\s[^<>]{0,300})?/?>`)
	blanks    = regexp.MustCompile(`[ \t]+\n`)
	newlines  = regexp.MustCompile(`\n{3,}`)
)

func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// clean makes text that people wrote fit for a document: HTML and control characters out, not longer than limit
// characters.
func clean(s string, limit int) string {
	if len(s) > 16*limit {
		s = strings.ToValidUTF8(s[:16*limit], "")
	}
	if strings.Contains(s, "<") {
		s = htmlTag().ReplaceAllString(htmlBreak().ReplaceAllString(s, "\n"), "")
	}
	if strings.Contains(s, "&") {
		s = html.UnescapeString(s)
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t' || r == '\u00a0':
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ReplaceAll(s, "\r\n", "\n"))
	s = strings.TrimSpace(newlines.ReplaceAllString(blanks.ReplaceAllString(s, "\n"), "\n\n"))
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	s = string(runes[:limit-1])
	if i := strings.LastIndexAny(s, " \n"); i > len(s)*3/4 {
		s = s[:i]
	}
	return strings.TrimRight(s, " \n.,;:") + "…"
}
