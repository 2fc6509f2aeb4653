package template

import (
	"errors"
	"io"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Bounds of a regular expression: its text in bytes, and the instructions of its program, which the work of compiling and
// of matching is proportional to (RE2).
const (
	maxPattern = 1000
	maxProgram = 10_000
)

// regex is a compiled pattern. It is immutable.
type regex struct {
	*regexp.Regexp
	size    int            // of its program, as weigh estimates it
	longest int            // match, in runes; -1 where there is no bound
	later   *regexp.Regexp // finds the pattern, as group 1, in text that begins with the rune before it; nil where that rune does not matter
}

// readRegex reads a pattern and reports what is wrong with it, without compiling it.
func readRegex(pattern string) (parsed *syntax.Regexp, size int, err error) {
	if len(pattern) > maxPattern {
		return nil, 0, errors.New("a regular expression over 1000 bytes")
	}
	parsed, err = syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var at *syntax.Error
		if errors.As(err, &at) {
			return nil, 0, errors.New("not a regular expression: " + at.Code.String())
		}
		return nil, 0, errors.New("not a regular expression")
	}
	if size = weigh(parsed); size > maxProgram {
		return nil, 0, errors.New("a regular expression that is too large: its repetitions multiply")
	}
	return parsed, size, nil
}

// weigh estimates the size of the program that a pattern is compiled to.
func weigh(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/16
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpConcat:
		n = 0
	case syntax.OpAlternate:
		n = len(re.Sub)
	case syntax.OpCapture:
		n = 2
	}
	for _, sub := range re.Sub {
		n = min(n+weigh(sub), maxProgram+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxProgram+1)
}

// longestMatch returns how many runes a pattern can match at most, or -1 where there is no bound.
func longestMatch(re *syntax.Regexp) int {
	total, most := 0, 0
	for _, sub := range re.Sub {
		n := longestMatch(sub)
		if n < 0 {
			return -1
		}
		total, most = total+n, max(most, n)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpStar, syntax.OpPlus:
		return -1
	case syntax.OpRepeat:
		if re.Max < 0 {
			return -1
		}
		return total * re.Max
	case syntax.OpAlternate:
		return most
	}
	return total
}

// looksBack reports whether a pattern asks what stands before it.
func looksBack(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpBeginText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	}
	return slices.ContainsFunc(re.Sub, looksBack)
}

func compileRegex(pattern string, parsed *syntax.Regexp, size int) (*regex, error) {
	r, err := regexp.Compile(pattern)
	if err != nil {
		return nil, errors.New("not a regular expression")
	}
	out := &regex{Regexp: r, size: size, longest: longestMatch(parsed)}
	if looksBack(parsed) {
		if out.later, err = regexp.Compile(`\A(?s:.)(?s:.*?)(` + pattern + `)`); err != nil {
			return nil, errors.New("not a regular expression")
		}
	}
	return out, nil
}

// maxCompiled bounds the compiled patterns that are kept, of all templates together, in instructions: a document may hold
// any number of patterns, and clients may make some.
const maxCompiled = 200_000

var regexes = struct {
	sync.Mutex
	byPattern map[string]*regex
	size      int
}{byPattern: map[string]*regex{}}

// compiledRegex returns the pattern, compiled.
func (e *exec) compiledRegex(pattern string) (*regex, error) {
	regexes.Lock()
	r := regexes.byPattern[pattern]
	regexes.Unlock()
	if r != nil {
		return r, nil
	}
	if err := e.charge(1000); err != nil {
		return nil, err
	}
	parsed, size, err := readRegex(pattern)
	if err != nil {
		return nil, err
	}
	if err := e.charge(10 * size); err != nil {
		return nil, err
	}
	if r, err = compileRegex(pattern, parsed, size); err != nil {
		return nil, err
	}
	regexes.Lock()
	defer regexes.Unlock()
	if other := regexes.byPattern[pattern]; other != nil {
		return other, nil
	}
	for name, other := range regexes.byPattern { // in no order
		if regexes.size+size <= maxCompiled {
			break
		}
		delete(regexes.byPattern, name)
		regexes.size -= other.kept()
	}
	regexes.byPattern[pattern] = r
	regexes.size += r.kept()
	return r, nil
}

// kept is what the pattern counts for while it is kept.
func (r *regex) kept() int {
	if r.later != nil {
		return 2*r.size + 50
	}
	return r.size + 50
}

// stepsFor is the work of going over n bytes once.
func (r *regex) stepsFor(n int) int { return (n/8 + 1) * (r.size/8 + 1) }

// regex returns the pattern, compiled, and counts looking for it once in s.
func (e *exec) regex(pattern, s string) (*regex, error) {
	r, err := e.compiledRegex(pattern)
	if err != nil {
		return nil, err
	}
	return r, e.charge(r.stepsFor(len(s)))
}

// countMatches counts the work of looking for all matches. A search may go on to the end of the text before it comes back
// to a match that ends earlier, as (a.*b)|a does where no b follows, and so may the search for every match after it.
func (e *exec) countMatches(r *regex, s string) error {
	if r.longest >= 0 && r.longest <= 8 {
		return e.charge(r.longest * r.stepsFor(len(s)))
	}
	if worst := (len(s) + 1) * r.stepsFor(len(s)); worst < 2000 {
		return e.charge(worst)
	}
	return e.searches(r, s, nil)
}

// searches makes the searches that finding all matches takes, each from where the one before ended, and shows what they
// find.
func (e *exec) searches(r *regex, s string, show func(from, to int)) error {
	in := &countedText{e: e, r: r}
	for pos := 0; pos <= len(s); {
		in.s, in.at = s[pos:], 0
		var found []int
		if back := 0; r.later != nil && pos > 0 {
			_, back = utf8.DecodeLastRuneInString(s[:pos])
			in.s = s[pos-back:]
			if found = r.later.FindReaderSubmatchIndex(in); found != nil {
				found = []int{found[2] - back, found[3] - back}
			}
		} else {
			found = r.FindReaderIndex(in)
		}
		if err := e.charge(1 + r.size/8); err != nil || found == nil {
			return err
		}
		if show != nil {
			show(pos+found[0], pos+found[1])
		}
		if end := pos + found[1]; end > pos {
			pos = end
		} else if _, n := utf8.DecodeRuneInString(s[pos:]); n > 0 {
			pos += n
		} else {
			return nil
		}
	}
	return nil
}

// countedText is text for a regular expression that counts what is read of it, and ends where the steps do.
type countedText struct {
	e  *exec
	r  *regex
	s  string
	at int
}

func (c *countedText) ReadRune() (rune, int, error) {
	if c.at >= len(c.s) {
		return 0, 0, io.EOF
	}
	r, n := utf8.DecodeRuneInString(c.s[c.at:])
	if (c.at == 0 || c.at>>3 != (c.at+n)>>3) && c.e.charge(c.r.size/8+1) != nil {
		return 0, 0, io.EOF
	}
	c.at += n
	return r, n, nil
}

// patternFunc is a function of a pattern and, at place at, the text it goes over.
func patternFunc(at int, f func(e *exec, r *regex, s string, a []Value) (Value, error)) body {
	return func(e *exec, a []Value) (Value, error) {
		pattern, err := e.text(a[0])
		if err != nil {
			return Value{}, err
		}
		s, err := e.text(a[at])
		if err != nil {
			return Value{}, err
		}
		r, err := e.regex(pattern, s)
		if err != nil {
			return Value{}, err
		}
		return f(e, r, s, a)
	}
}

func defineRegexes(define definer) {
	define("regexMatch mustRegexMatch", 2, 2, made, patternFunc(1, func(_ *exec, r *regex, s string, _ []Value) (Value, error) {
		return Bool(r.MatchString(s)), nil
	}))
	define("regexFind mustRegexFind", 2, 2, made, patternFunc(1, func(_ *exec, r *regex, s string, _ []Value) (Value, error) {
		return String(r.FindString(s)), nil
	}))
	define("regexFindAll mustRegexFindAll", 3, 3, made, patternFunc(1, func(e *exec, r *regex, s string, a []Value) (Value, error) {
		n, err := e.pieces(r, s, a[2])
		if err != nil {
			return Value{}, err
		}
		return stringList(r.FindAllString(s, n)), nil
	}))
	define("regexSplit mustRegexSplit", 3, 3, made, patternFunc(1, func(e *exec, r *regex, s string, a []Value) (Value, error) {
		n, err := e.pieces(r, s, a[2])
		if err != nil {
			return Value{}, err
		}
		return stringList(r.Split(s, n)), nil
	}))
	replace := func(literal bool) func(e *exec, r *regex, s string, a []Value) (Value, error) {
		return func(e *exec, r *regex, s string, a []Value) (Value, error) {
			with, err := e.text(a[2])
			if err != nil {
				return Value{}, err
			}
			refs := 0
			if !literal {
				refs = strings.Count(with, "$")
			}
			if err := e.countMatches(r, s); err != nil {
				return Value{}, err
			}
			// At most one match a byte and one at the end; what $1 stands for adds up to the text at most.
			most := len(s)*(1+refs) + (len(s)+1)*len(with)
			if most > e.memory/8 {
				matches := 0
				r.ReplaceAllStringFunc(s, func(string) string { matches++; return "" })
				most = len(s)*(1+refs) + matches*len(with)
			}
			if err := e.grow(most); err != nil {
				return Value{}, err
			}
			if literal {
				return String(r.ReplaceAllLiteralString(s, with)), nil
			}
			return String(r.ReplaceAllString(s, with)), nil
		}
	}
	define("regexReplaceAll mustRegexReplaceAll", 3, 3, made, patternFunc(1, replace(false)))
	define("regexReplaceAllLiteral mustRegexReplaceAllLiteral", 3, 3, made, patternFunc(1, replace(true)))
	define("regexQuoteMeta", 1, 1, made, stringFunc(2, regexp.QuoteMeta))
}

// pieces counts the search for all matches and a list of as many pieces as s may fall into, and reads how many are
// wanted.
func (e *exec) pieces(r *regex, s string, wanted Value) (int, error) {
	n, err := small(wanted)
	if err != nil {
		return 0, err
	}
	if err := e.countMatches(r, s); err != nil {
		return 0, err
	}
	most := len(s) + 1
	if n >= 0 {
		most = min(most, n)
	}
	// A match takes a list element and some bookkeeping of package regexp.
	if most > 1<<16 && n < 0 {
		most = 1<<16 + most/16
	}
	return n, e.growList(2 * most)
}
