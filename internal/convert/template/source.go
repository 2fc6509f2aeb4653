package template

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode"
	"unicode/utf8"
)

// treeName names the main template for the parser, secretFunc the function that ${…} is rewritten to.
const (
	treeName   = "\x00main"
	secretFunc = "secret_reference"
)

// maxNesting bounds blocks within blocks, else-ifs in a row counted too: the parser and the evaluator recurse on them.
const maxNesting = 200

// source is a template's text made readable for text/template/parse, which knows neither ${…} nor .args.X-Request-Id.
type source struct {
	name    string
	orig    string
	text    string // with every ${…} and .args.a-b rewritten to a call
	edits   []edit
	actions []span // in text
	open    []span // blocks that were never closed
}

type span struct{ start, end int }

// edit says that the bytes at is in text came from the bytes was in orig.
type edit struct{ is, was span }

// readSource rewrites ${…} and .args.a-b, and bounds the nesting.
func readSource(name, text string) (*source, error) {
	s := &source{name: name, orig: text, text: text}
	if strings.Contains(text, "${") || dashedArg.MatchString(text) {
		s.rewrite()
	}
	var blocks []block
	depth := 0
	for i := 0; ; {
		start := strings.Index(s.text[i:], "{{")
		if start < 0 {
			break
		}
		start += i
		end := actionEnd(s.text, start)
		s.actions = append(s.actions, span{start, end})
		switch word, rest := firstWord(s.text[start:end]); word {
		case "if", "range", "with", "block", "define":
			blocks = append(blocks, block{span{start, end}, 1})
			depth++
		case "else":
			if len(blocks) > 0 && (strings.HasPrefix(rest, "if") || strings.HasPrefix(rest, "with")) {
				blocks[len(blocks)-1].depth++
				depth++
			}
		case "end":
			if len(blocks) > 0 {
				depth -= blocks[len(blocks)-1].depth
				blocks = blocks[:len(blocks)-1]
			}
		}
		if depth > maxNesting {
			return nil, s.errorAt(parse.Pos(start), nil, "blocks nested deeper than %d", maxNesting)
		}
		i = end
	}
	for _, b := range blocks {
		s.open = append(s.open, b.at)
	}
	return s, nil
}

type block struct {
	at    span
	depth int
}

// firstWord gives an action's first word and what follows it.
func firstWord(action string) (word, rest string) {
	a := strings.TrimPrefix(strings.TrimPrefix(action, "{{"), "-")
	a = strings.TrimLeft(a, " \t\r\n")
	n := 0
	for n < len(a) && (a[n] == '_' || a[n] >= 'a' && a[n] <= 'z' || a[n] >= 'A' && a[n] <= 'Z' || a[n] >= '0' && a[n] <= '9') {
		n++
	}
	return a[:n], strings.TrimLeft(a[n:], " \t\r\n")
}

// actionEnd gives the position after the }} of the action at start, or the end of the text.
func actionEnd(s string, start int) int {
	i := start + 2
	body := strings.TrimLeft(strings.TrimPrefix(s[i:], "-"), " \t\r\n")
	if strings.HasPrefix(body, "/*") {
		i = len(s) - len(body)
		n := strings.Index(body, "*/")
		if n < 0 {
			return len(s)
		}
		i += n + 2
	}
	for i < len(s) {
		switch s[i] {
		case '}':
			if strings.HasPrefix(s[i:], "}}") {
				return i + 2
			}
			i++
		case '"', '\'', '`':
			i = quoteEnd(s, i)
		default:
			i++
		}
	}
	return len(s)
}

// quoteEnd gives the position after the quoted string or character at i. One that is not closed ends with its line.
func quoteEnd(s string, i int) int {
	q := s[i]
	for i++; i < len(s); i++ {
		switch {
		case s[i] == q:
			return i + 1
		case q == '`':
		case s[i] == '\\':
			i++
		case s[i] == '\n':
			return i
		}
	}
	return len(s)
}

// secretKinds begin what counts as a reference in plain text; inside an action anything in ${…} is one.
var secretKinds = []string{"nacos.", "credential:", "env:", "file:"}

// dashedArg is an argument whose name has dashes. Nacos's console writes those of an OpenAPI document this way, which is in
// no case a template that the parser takes.
var (
	dashedArg   = regexp.MustCompile(`\.args\.([_\pL\p{Nd}]+(?:-+[_\pL\p{Nd}]+)+)`)
	isDashedArg = regexp.MustCompile(`^` + dashedArg.String())
)

// dashedArgAt returns the name of the argument with dashes that is read at o[i], and the position after it; "" for none.
// Only the root's .args counts: it follows nothing, or the $ that stands for the root.
func dashedArgAt(o string, i int) (name string, end int) {
	before, size := utf8.DecodeLastRuneInString(o[:i])
	if size > 0 && (before == '_' || before == ')' || before == '.' || unicode.IsLetter(before) || unicode.IsDigit(before)) {
		return "", i
	}
	m := isDashedArg.FindStringSubmatchIndex(o[i:])
	if m == nil {
		return "", i
	}
	return o[i+m[2] : i+m[3]], i + m[1]
}

// rewrite turns ${…} into calls of secretFunc, .args.a-b into calls of index, and keeps the positions.
func (s *source) rewrite() {
	var b strings.Builder
	o := s.orig
	replace := func(at int, before, after string, inAction bool) (next int, ok bool) {
		n := strings.IndexAny(o[at+2:], "}{\n") + 2
		if n < 3 || o[at+n] != '}' {
			return at, false
		}
		ref := o[at+2 : at+n]
		known := inAction
		for _, kind := range secretKinds {
			known = known || strings.HasPrefix(ref, kind)
		}
		if !known {
			return at, false
		}
		is := span{start: b.Len()}
		b.WriteString(before + secretFunc + " " + strconv.Quote(ref) + after)
		is.end = b.Len()
		s.edits = append(s.edits, edit{is, span{at, at + n + 1}})
		return at + n + 1, true
	}
	for i := 0; i < len(o); {
		switch {
		case strings.HasPrefix(o[i:], "{{"):
			i = s.rewriteAction(&b, i, replace)
		case strings.HasPrefix(o[i:], "${"):
			next, ok := replace(i, "{{", "}}", false)
			if !ok {
				next = i + 1
				b.WriteByte('$')
			}
			i = next
		default:
			b.WriteByte(o[i])
			i++
		}
	}
	s.text = b.String()
}

func (s *source) rewriteAction(b *strings.Builder, start int, replace func(int, string, string, bool) (int, bool)) int {
	o := s.orig
	if word := strings.TrimLeft(strings.TrimPrefix(o[start+2:], "-"), " \t\r\n"); strings.HasPrefix(word, "/*") {
		end := actionEnd(o, start)
		b.WriteString(o[start:end])
		return end
	}
	b.WriteString("{{")
	for i := start + 2; i < len(o); {
		switch {
		case strings.HasPrefix(o[i:], "}}"):
			b.WriteString("}}")
			return i + 2
		case strings.HasPrefix(o[i:], "${"):
			next, ok := replace(i, "(", ")", true)
			if !ok {
				next = i + 1
				b.WriteByte('$')
			}
			i = next
		case o[i] == '"' || o[i] == '\'' || o[i] == '`':
			end := quoteEnd(o, i)
			b.WriteString(o[i:end])
			i = end
		case strings.HasPrefix(o[i:], "$.args.") || strings.HasPrefix(o[i:], ".args."):
			i = s.rewriteArg(b, i)
		default:
			b.WriteByte(o[i])
			i++
		}
	}
	return len(o)
}

// rewriteArg writes the argument that is read at i as the parser wants it, and returns the position after what it wrote.
func (s *source) rewriteArg(b *strings.Builder, i int) int {
	root := len(s.orig[i:]) - len(strings.TrimPrefix(s.orig[i:], "$"))
	name, end := dashedArgAt(s.orig, i+root)
	if name == "" {
		b.WriteByte(s.orig[i])
		return i + 1
	}
	is := span{start: b.Len()}
	b.WriteString("(index " + s.orig[i:i+root] + ".args " + strconv.Quote(name) + ")")
	is.end = b.Len()
	s.edits = append(s.edits, edit{is, span{i, end}})
	return end
}

// locate turns a position in text into line and column of the original.
func (s *source) locate(pos int) (line, column int) {
	if n := sort.Search(len(s.edits), func(i int) bool { return s.edits[i].is.start > pos }); n > 0 {
		if e := s.edits[n-1]; pos < e.is.end {
			pos = e.was.start
		} else {
			pos += e.was.end - e.is.end
		}
	}
	pos = min(max(pos, 0), len(s.orig))
	before := s.orig[:pos]
	return 1 + strings.Count(before, "\n"), pos - strings.LastIndexByte(before, '\n')
}

// parse runs the standard parser. Functions are checked by the compiler, which knows where they stand.
func (s *source) parse() (map[string]*parse.Tree, error) {
	trees, message := parseText(s.text)
	if message == "" {
		return trees, nil
	}
	return nil, s.errorAt(parse.Pos(s.faultAt(message)), nil, "%s", s.explain(message))
}

// parseText gives the parser's trees, or its message with the line number still before it.
func parseText(text string) (trees map[string]*parse.Tree, message string) {
	trees = map[string]*parse.Tree{}
	tree := parse.New(treeName)
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		return nil, strings.TrimPrefix(err.Error(), "template: "+treeName+":")
	}
	return trees, ""
}

// bare takes the line number off.
func bare(message string) string {
	if _, rest, ok := strings.Cut(message, ": "); ok {
		return strings.TrimPrefix(rest, "template: ")
	}
	return message
}

func (s *source) explain(message string) string {
	m := bare(message)
	switch {
	case m == "unexpected EOF" && len(s.open) > 0:
		word, _ := firstWord(s.text[s.open[len(s.open)-1].start:])
		return "{{" + word + "}} has no {{end}}"
	case strings.Contains(m, "bad number syntax"), strings.HasPrefix(m, `unexpected ".`):
		return m + ` (for an array position use index, as in {{index .list 0}}, or gjson)`
	case strings.Contains(m, "bad character"):
		return m + ` (for a name with such a character use index, as in {{index .args "a-b"}})`
	}
	return m
}

// faultAt finds where the parser's complaint arises: it only tells the line, but the shortest run of actions that
// gives the same complaint ends with the faulty one.
func (s *source) faultAt(message string) int {
	m := bare(message)
	if m == "unexpected EOF" && len(s.open) > 0 {
		return s.open[len(s.open)-1].start
	}
	if len(s.text) > maxSearched {
		return s.lineStart(message)
	}
	n := sort.Search(len(s.actions), func(i int) bool {
		_, got := parseText(s.text[:s.actions[i].end])
		return got == message
	})
	if n == len(s.actions) {
		return len(s.text)
	}
	at := s.actions[n]
	action := s.text[at.start:at.end]
	if i := strings.Index(action, offender(m)); i > 0 {
		return at.start + i
	}
	return at.start
}

// maxSearched bounds the texts in which the faulty action is searched for; in larger ones its line has to do.
const maxSearched = 64 << 10

// lineStart is where the line begins that the message tells.
func (s *source) lineStart(message string) int {
	number, _, _ := strings.Cut(message, ":")
	line, _ := strconv.Atoi(number)
	at := 0
	for ; line > 1; line-- {
		n := strings.IndexByte(s.text[at:], '\n')
		if n < 0 {
			break
		}
		at += n + 1
	}
	return at
}

// offender is the piece of text that the parser's message quotes, if any.
func offender(m string) string {
	if i := strings.IndexByte(m, '"'); i >= 0 {
		if q, err := strconv.QuotedPrefix(m[i:]); err == nil {
			text, _ := strconv.Unquote(q)
			return strings.TrimSpace(text)
		}
	}
	if _, after, ok := strings.Cut(m, "bad character U+"); ok {
		hex, _, _ := strings.Cut(after, " ")
		if r, err := strconv.ParseInt(hex, 16, 32); err == nil && r < unicode.MaxRune && r >= ' ' {
			return string(utf8.AppendRune(nil, rune(r)))
		}
	}
	return "\x00"
}
