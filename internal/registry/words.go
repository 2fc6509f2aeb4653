package registry

import (
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

// shown is s, a name in the document, as a message may repeat it. In a document of credentials a secret may stand anywhere by
// mistake, as a name too: its line tells where.
func (r *reader) shown(s string) string {
	if r.group == GroupCredentials && !contains(credentialFields, s) {
		return "…"
	}
	return shown(s)
}

// Shown is s, from a document, as a message may repeat it: never something like a key, never long.
func Shown(s string) string { return shown(s) }

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
