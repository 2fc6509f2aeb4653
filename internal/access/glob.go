package access

import (
	"slices"
	"strings"
)

// glob is a compiled pattern in which "*" matches anything, nothing included.
type glob struct {
	first, last string   // before the first and behind the last "*"
	middle      []string // between them, in order
	exact       bool     // no "*" at all: first is the name
}

// Matches reports whether a pattern of tool names ("*" matches anything) matches one of names.
func Matches(pattern string, names []string) bool {
	g := compileGlob(pattern)
	return slices.ContainsFunc(names, func(name string) bool { return g.match([]byte(name)) })
}

func compileGlob(pattern string) glob {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return glob{first: pattern, exact: true}
	}
	g := glob{first: parts[0], last: parts[len(parts)-1]}
	for _, p := range parts[1 : len(parts)-1] {
		if p != "" {
			g.middle = append(g.middle, p)
		}
	}
	return g
}

// match takes time proportional to the name for each part of the pattern: the leftmost place for each part is
// always the best one, so nothing is tried twice.
func (g *glob) match(name []byte) bool {
	if g.exact {
		return string(name) == g.first
	}
	if len(name) < len(g.first)+len(g.last) || string(name[:len(g.first)]) != g.first || string(name[len(name)-len(g.last):]) != g.last {
		return false
	}
	rest := name[len(g.first) : len(name)-len(g.last)]
	for _, part := range g.middle {
		i := index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return true
}

// index is bytes.Index without a conversion of part.
func index(s []byte, part string) int {
	for i := 0; i+len(part) <= len(s); i++ {
		if string(s[i:i+len(part)]) == part {
			return i
		}
	}
	return -1
}
