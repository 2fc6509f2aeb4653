package cli

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// change is a line of a difference: ' ' in both, '-' only before, '+' only after.
type change struct {
	kind byte
	text string
}

// compare gives the shortest edit from before to after, by the longest common subsequence. Documents are small; very
// long ones are not worth its quadratic cost and count as replaced between the lines that differ.
func compare(before, after []string) []change {
	var edit []change
	start := 0
	for start < len(before) && start < len(after) && before[start] == after[start] {
		edit = append(edit, change{' ', before[start]})
		start++
	}
	a, b := before[start:], after[start:]
	var tail []change
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, change{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a)*len(b) > 4_000_000 {
		for _, line := range a {
			edit = append(edit, change{'-', line})
		}
		for _, line := range b {
			edit = append(edit, change{'+', line})
		}
		a, b = nil, nil
	}
	common := make([][]int, len(a)+1) // common[i][j]: of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = 1 + common[i+1][j+1]
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			edit = append(edit, change{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			edit = append(edit, change{'-', a[i]})
			i++
		default:
			edit = append(edit, change{'+', b[j]})
			j++
		}
	}
	for k := len(tail) - 1; k >= 0; k-- {
		edit = append(edit, tail[k])
	}
	return edit
}

// around is how many unchanged lines are shown around changed ones.
const around = 2

// diff shows what changes, with a little around it.
func diff(before, after string) string {
	edit := compare(lines(before), lines(after))
	show := make([]bool, len(edit))
	for i, c := range edit {
		if c.kind != ' ' {
			for j := max(0, i-around); j < min(len(edit), i+around+1); j++ {
				show[j] = true
			}
		}
	}
	var b strings.Builder
	for i, c := range edit {
		if show[i] {
			fmt.Fprintf(&b, "%c %s\n", c.kind, mask(c.text))
		} else if i > 0 && show[i-1] || i == 0 && len(edit) > 0 {
			b.WriteString("  ...\n")
		}
	}
	return b.String()
}

// difference is what is shown of a change of a document: of backends' credentials without their values and comments.
func difference(key nacos.Key, before, after string) string {
	if key.Group == registry.GroupCredentials {
		before, after = withoutSecrets(before), withoutSecrets(after)
	}
	return diff(before, after)
}

// withoutSecrets gives a credentials document without its values, and without comments, in which people keep old ones.
// Nothing is left of what is no such document.
func withoutSecrets(text string) string {
	var node yaml.Node
	if yaml.Unmarshal([]byte(text), &node) != nil || len(node.Content) != 1 || node.Content[0].Kind != yaml.MappingNode {
		return ""
	}
	var strip func(n *yaml.Node, secret bool)
	strip = func(n *yaml.Node, secret bool) {
		n.HeadComment, n.LineComment, n.FootComment = "", "", ""
		for i, c := range n.Content {
			field := n.Kind == yaml.MappingNode && i%2 == 0
			strip(c, !field && (secret || n == node.Content[0] && n.Content[i-1].Value != "services" && n.Content[i-1].Value != "hosts"))
		}
		if secret && n.Kind != yaml.MappingNode {
			*n = *scalar("••••")
		}
	}
	strip(&node, false)
	shown, err := encode(&node)
	if err != nil {
		return ""
	}
	return shown
}

func lines(s string) []string {
	s = strings.TrimSuffix(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

var (
	plainValue = regexp.MustCompile(`("?\bvalue"?\s*:\s*)("[^"]*"|'[^']*'|[^\s,}]+)`)
	ownKey     = regexp.MustCompile(`nmp_[A-Za-z0-9._-]*`)
)

// mask hides keys in a line that is shown: those that people wrote into a document plainly, and anything like ours.
func mask(line string) string {
	return ownKey.ReplaceAllString(plainValue.ReplaceAllString(line, "${1}••••"), "nmp_••••")
}
