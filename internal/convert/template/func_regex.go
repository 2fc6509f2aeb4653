package template

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxPattern bounds a regular expression's text; its program's size counts into the work of each match.
const maxPattern = 1000

// regex is a compiled pattern and the size of its program, to which matching is proportional (RE2).
type regex struct {
	*regexp.Regexp
	size int
}

func compileRegex(pattern string) (*regex, error) {
	if len(pattern) > maxPattern {
		return nil, errors.New("a regular expression over 1000 bytes")
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var at *syntax.Error
		if errors.As(err, &at) {
			return nil, errors.New("not a regular expression: " + at.Code.String())
		}
		return nil, errors.New("not a regular expression")
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, errors.New("not a regular expression")
	}
	r, err := regexp.Compile(pattern)
	if err != nil {
		return nil, errors.New("not a regular expression")
	}
	return &regex{r, len(program.Inst)}, nil
}

// regex gives the pattern, compiled, and counts matching it against s.
func (e *exec) regex(pattern, s string) (*regex, error) {
	r := e.t.regexes[pattern]
	if r == nil {
		if err := e.charge(2000); err != nil {
			return nil, err
		}
		var err error
		if r, err = compileRegex(pattern); err != nil {
			return nil, err
		}
		if err := e.charge(10 * r.size); err != nil {
			return nil, err
		}
	}
	return r, e.charge((len(s)/32 + 1) * (r.size/8 + 1))
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
		n, err := e.pieces(s, a[2])
		if err != nil {
			return Value{}, err
		}
		return stringList(r.FindAllString(s, n)), nil
	}))
	define("regexSplit mustRegexSplit", 3, 3, made, patternFunc(1, func(e *exec, r *regex, s string, a []Value) (Value, error) {
		n, err := e.pieces(s, a[2])
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

// pieces counts a list of as many pieces as s may fall into, and reads how many are wanted.
func (e *exec) pieces(s string, wanted Value) (int, error) {
	n, err := small(wanted)
	if err != nil {
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
