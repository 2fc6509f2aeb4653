package convert

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of regular expressions in schemas. Their authors decide how large the programs are that they compile to:
// (a{1000}){1000} is 14 bytes and a million instructions.
const (
	maxPattern       = 8 << 10   // bytes of one expression; \pL alone is 5 kB of ranges once parsed
	maxSchemaProgram = 50_000    // instructions of all expressions of one schema
	maxToolsProgram  = 500_000   // and of all schemas of one service
	maxRanges        = 512 << 10 // bounds of character classes in one schema, of four bytes each
)

// pattern is a regular expression of a schema. Its program is built when something is first matched against it:
// validating a document that nobody calls must not take the memory of its programs.
type pattern struct {
	source  string
	program int // instructions, an estimate from above; 0 if Go cannot express the pattern: it then matches anything
	ranges  int // bounds of its character classes
	compile func() *regexp.Regexp
}

// newPattern measures an expression without compiling it. The error says why it is not enforced, a sizeError why the
// schema cannot be accepted.
func newPattern(source string) (*pattern, error) {
	p := &pattern{source: source}
	if len(source) > maxPattern {
		return p, sizeError(fmt.Sprintf("pattern of %d bytes: at most %d are accepted", len(source), maxPattern))
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if fault := (*syntax.Error)(nil); errors.As(err, &fault) && fault.Code == syntax.ErrLarge {
		return p, sizeError("pattern " + inQuotes(source) + " is too large")
	} else if err != nil {
		return p, err // look-arounds, back references, repetitions over 1000
	}
	p.program, p.ranges = programSize(tree)
	if p.program > maxSchemaProgram {
		return p, sizeError(fmt.Sprintf("pattern %s: its repetitions multiply to more than %d steps", inQuotes(source), maxSchemaProgram))
	}
	p.compile = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(source) })
	return p, nil
}

func (p *pattern) MatchString(s string) bool { return p.program == 0 || p.compile().MatchString(s) }

func (p *pattern) String() string { return p.source }

// sizeError tells a schema that is too large from one that is wrong.
type sizeError string

func (e sizeError) Error() string { return string(e) }

// programSize bounds from above the instructions that an expression compiles to, and counts what its character classes
// hold; copies of a class share that. It saturates at programLimit.
func programSize(re *syntax.Regexp) (program, ranges int) {
	const overhead = 3 // the loop before an unanchored match, and the match itself
	program, ranges = treeSize(re)
	return min(program+overhead, programLimit), ranges
}

// programLimit is where programSize stops counting: far beyond what is accepted, far from overflow.
const programLimit = 1 << 30

func treeSize(re *syntax.Regexp) (program, ranges int) {
	for _, sub := range re.Sub {
		n, r := treeSize(sub)
		program, ranges = min(program+n, programLimit), ranges+r
	}
	switch re.Op {
	case syntax.OpLiteral:
		program = max(1, len(re.Rune))
	case syntax.OpCharClass:
		program, ranges = 1, len(re.Rune)
	case syntax.OpAlternate:
		program += len(re.Sub)
	case syntax.OpPlus, syntax.OpQuest:
		program++
	case syntax.OpCapture, syntax.OpStar:
		program += 2
	case syntax.OpRepeat:
		times := re.Max
		if times < 0 {
			times = re.Min + 1
		}
		program = min(programLimit, (program+1)*max(1, times)+2)
	default: // OpConcat has what its parts have
		program = max(1, program)
	}
	return min(program, programLimit), ranges
}

// programOf is the size of the program of a compiled schema's pattern. Those of the library's own metaschemas are small.
func programOf(re jsonschema.Regexp) int {
	if p, ok := re.(*pattern); ok {
		return p.program
	}
	if re == nil {
		return 0
	}
	return 64
}
