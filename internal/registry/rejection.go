package registry

import (
	"fmt"
	"regexp"
	"strings"
)

// Rejection says what of a document was not taken, and why, to the person who wrote it.
//
// With an empty Tool the whole document is rejected, else that tool alone. A Warning rejects nothing.
// Messages never hold the value of a key, a credential or a digest.
type Rejection struct {
	Group   string `json:"group"`
	DataID  string `json:"dataId"`
	Tool    string `json:"tool,omitempty"`   // name of the tool, or "tools[i]" where it has none
	Field   string `json:"field,omitempty"`  // path of the field, inside the tool if Tool is set; empty for the document
	Line    int    `json:"line,omitempty"`   // from 1; 0 where unknown
	Column  int    `json:"column,omitempty"` // from 1; 0 where unknown
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

// Error gives the form that `check` prints:
//
//	proxy-grants/petstore.yaml:4: unknown field "tool" (did you mean "tools"?)
func (r Rejection) Error() string {
	var b strings.Builder
	b.WriteString(r.Group)
	b.WriteByte('/')
	b.WriteString(r.DataID)
	if r.Line > 0 {
		fmt.Fprintf(&b, ":%d", r.Line)
	}
	b.WriteString(": ")
	if r.Warning {
		b.WriteString("warning: ")
	}
	if r.Tool != "" {
		if strings.HasPrefix(r.Tool, "tools[") {
			b.WriteString(r.Tool)
		} else {
			fmt.Fprintf(&b, "tool %q", r.Tool)
		}
		b.WriteString(": ")
	}
	field := r.Field
	if quotesItsField(r.Message) {
		field = parentPath(field)
	}
	if field != "" {
		b.WriteString(field)
		b.WriteString(": ")
	}
	b.WriteString(r.Message)
	return b.String()
}

// quotesItsField tells the messages that name the last element of their Field themselves.
func quotesItsField(message string) bool {
	return strings.HasPrefix(message, "unknown field ") ||
		strings.HasPrefix(message, "duplicate field ") ||
		strings.HasPrefix(message, "missing field ") ||
		strings.HasPrefix(message, "ignored field ")
}

func parentPath(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

// Rejects tells whether found holds a fault that rejects the whole document.
func Rejects(found []Rejection) bool {
	for _, r := range found {
		if !r.Warning && r.Tool == "" {
			return true
		}
	}
	return false
}

var nameText = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// ValidName tells whether s can be the name of a service, a consumer or a group.
// Nacos takes little else in a data id.
func ValidName(s string) bool { return len(s) <= 128 && nameText.MatchString(s) }

// NameOf gives the name that a document of ours carries in its data id, which is <name>.yaml, <name>.yml or
// <name>.json. It answers false where the extension is another one or the name is not valid.
func NameOf(dataID string) (string, bool) {
	for _, ext := range []string{".yaml", ".yml", ".json"} {
		if name, ok := strings.CutSuffix(dataID, ext); ok {
			return name, ValidName(name)
		}
	}
	return "", false
}
