package template

import (
	"fmt"
	"slices"
	"strings"
)

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// removed are functions that people may know and why they are not here.
var removed = map[string]string{
	"env":           "templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it",
	"expandenv":     "templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it",
	"getHostByName": "templates cannot use the network",
}

func unknownFunction(name string) string {
	if why := removed[name]; why != "" {
		return fmt.Sprintf("function %q not available: %s", name, why)
	}
	if slices.Contains(keyMakers, name) {
		return fmt.Sprintf("function %q not available: templates make no keys or password hashes", name)
	}
	return fmt.Sprintf("function %q not defined%s", name, suggest(name, functionNames))
}

// suggest names the nearest known word, if one is near.
func suggest(name string, known []string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		if strings.Contains(k, ".") || k == treeName {
			continue
		}
		d := editDistance(strings.ToLower(name), strings.ToLower(k), least)
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is the Damerau-Levenshtein distance (adjacent swaps count one) as far as it stays under limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 {
		return limit
	}
	var before, prev []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
