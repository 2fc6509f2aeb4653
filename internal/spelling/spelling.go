// Package spelling guesses what somebody meant who misspelt a name.
// It is pure, and bounded in time whatever it is given.
package spelling

import (
	"fmt"
	"strings"
)

// longest is the length up to which known names are compared, and with it what is written: the work grows with its
// square, and what people type is shorter.
const longest = 64

// DidYouMean gives ` (did you mean "tools"?)` with the known name that Nearest gives, and nothing where there is
// none. It is to be put behind the name in a message.
func DidYouMean(written string, known []string) string {
	if best := Nearest(written, known); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return ""
}

// Nearest gives the known name that is most like the one written, of several the first in the alphabet; "" where none
// is within a third of its letters, two at least (one for two to four letters, none for a single one). Upper and lower case count as the same.
func Nearest(written string, known []string) string {
	most := max(2, len(written)/3)
	if len(written) <= 4 {
		most = min(1, len(written)/2)
	}
	best := ""
	name := strings.ToLower(written)
	for _, k := range known {
		if len(k) > longest || len(k)-len(written) > most || len(written)-len(k) > most {
			continue
		}
		if d := distance(name, strings.ToLower(k)); d < most || d == most && (best == "" || k < best) {
			best, most = k, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
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
