package template

import (
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
)

// Mode is what a template's output is, and so how tainted values are escaped in it.
type Mode uint8

const (
	// Text escapes nothing.
	Text Mode = iota
	// JSONBody follows the JSON that is being written. Inside a string literal every value is escaped for it (a missing
	// one is empty). Elsewhere a tainted string becomes a literal, results of toJson and quote stay as they are, and a
	// missing value is null where a value must stand. The author's own strings outside a literal are printed bare.
	JSONBody
	// URL follows the URL that is being written: tainted values become one path segment or query component, and are an
	// error in scheme, host and port or as an empty segment within the path. The author's values are printed as they are.
	URL
	// Form escapes tainted values as components of application/x-www-form-urlencoded.
	Form
	// Header makes control characters in any value an error.
	Header
)

// Options say what a template is for.
type Options struct {
	Mode Mode
	// MultiSegment names members of .args that keep their "/" in a URL's path; their empty segments are dropped and
	// `.` and `..` are errors.
	MultiSegment []string
	// Holding says which paths from the data's root lead to credentials; nil: none do.
	Holding func(path []string) Holding
	// MaxBytes bounds the template's text; 0 means 1 MiB.
	MaxBytes int
}

const defaultMaxBytes = 1 << 20

// Template is a compiled template, safe for concurrent use.
type Template struct {
	name    string
	src     *source
	opts    Options
	main    *procedure
	refs    []Ref
	secrets []string
}

// Ref is a path from the data's root that the template reads, and where it stands in the template's text.
type Ref struct {
	Path         []string
	Line, Column int // from 1; columns count bytes
}

// Parse compiles text. Errors are *Error and name the template, line and column.
func Parse(name, text string, o Options) (*Template, error) {
	limit := o.MaxBytes
	if limit <= 0 {
		limit = defaultMaxBytes
	}
	if len(text) > limit {
		return nil, &Error{Name: name, Line: 1, Column: 1, Message: fmt.Sprintf("template of %d bytes is over the limit of %d", len(text), limit)}
	}
	src, err := readSource(name, text)
	if err != nil {
		return nil, err
	}
	trees, err := src.parse()
	if err != nil {
		return nil, err
	}
	t := &Template{name: name, src: src, opts: o}
	t.opts.MultiSegment = slices.Clone(o.MultiSegment)
	c := &compiler{t: t, trees: trees, procs: map[string]*procedure{}}
	if err := c.compile(trees[treeName]); err != nil {
		return nil, err
	}
	return t, nil
}

// Name is the name given to Parse.
func (t *Template) Name() string { return t.name }

// Literal gives the template's text when it has no actions, so that nothing needs to be executed.
func (t *Template) Literal() (string, bool) {
	b := t.main.body
	if slices.ContainsFunc(b, func(s stmt) bool { return s.op != stmtText }) {
		return "", false
	}
	if len(b) == 1 {
		return b[0].text, true
	}
	var text strings.Builder
	for i := range b { // what stands round a comment
		text.WriteString(b[i].text)
	}
	return text.String(), true
}

// Refs are the paths that the template reads from the root of its data, as far as they can be told without running it.
// {{index .args "a-b"}}, {{with .args}}{{.x}}{{end}} and {{gjson "args.x"}} are seen through.
func (t *Template) Refs() []Ref { return t.refs }

// Secrets are the references written as ${…}, in the order of their first use, without the brackets.
func (t *Template) Secrets() []string { return t.secrets }

// Error is a fault of a template or of its execution. It holds no value but what {{fail}} was given.
type Error struct {
	Name         string // as given to Parse
	Line, Column int    // in the template's text, from 1; columns count bytes
	Message      string
	cause        error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Column, e.Message)
}

// Unwrap gives ErrBudget where a limit ended the execution, and what Env.Secret returned.
func (e *Error) Unwrap() error { return e.cause }

// errorAt makes an error at a position of the parsed text.
func (s *source) errorAt(pos parse.Pos, cause error, format string, args ...any) *Error {
	line, column := s.locate(int(pos))
	return &Error{Name: s.name, Line: line, Column: column, Message: fmt.Sprintf(format, args...), cause: cause}
}
