package registry

import "strings"

// usual are values that stand in most documents of the Nacos registry; those of one document need no memory of their own.
var usual = map[string]string{}

func init() {
	for _, s := range []string{
		"http", "https", "mcp-sse", "mcp-streamable", "active", "deprecated", "public", "DEFAULT_GROUP", "/", "/mcp", "/sse", "1.0.0",
	} {
		usual[s] = s
	}
}

// together has strings that live as long as one another lie in one piece of memory. What the readers of YAML and JSON give
// is a piece for each, and of tens of thousands of documents the garbage collector looks at every piece.
func together(all ...*string) {
	size := 0
	for _, s := range all {
		if known, ok := usual[*s]; ok {
			*s = known
		} else {
			size += len(*s)
		}
	}
	var b strings.Builder
	b.Grow(size)
	for _, s := range all {
		if _, ok := usual[*s]; !ok {
			b.WriteString(*s)
		}
	}
	piece := b.String()
	for _, s := range all {
		if _, ok := usual[*s]; !ok {
			*s, piece = piece[:len(*s)], piece[len(*s):]
		}
	}
}

func each(list []string) []*string {
	all := make([]*string, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}
