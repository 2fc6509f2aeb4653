package registry

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindOf(n *yaml.Node) string {
	switch {
	case n == nil:
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str":
		return "a string"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "a date"
	}
	return "a value with a YAML tag"
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

var hexDigest = regexp.MustCompile(`^[0-9A-Fa-f]{40,}$`)

// looksLikeKey tells what must not be repeated in a message.
func looksLikeKey(s string) bool { return strings.HasPrefix(s, "nmp_") || hexDigest.MatchString(s) }

// shown is s as a message may repeat it: never something like a key, never long.
func shown(s string) string {
	if looksLikeKey(s) {
		return "…"
	}
	const longest = 60
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return s
}

// suggest gives ` (did you mean "tools"?)` where a known name is close to the one written.
func suggest(written string, known []string) string {
	best, distance := "", 3
	if len(written) <= 4 {
		distance = 2
	}
	if len(written) > 60 {
		return ""
	}
	for _, k := range known {
		if strings.EqualFold(k, written) {
			best = k
			break
		}
		if d := editDistance(written, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours.
func editDistance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
