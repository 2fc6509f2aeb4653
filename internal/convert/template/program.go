package template

import (
	"text/template/parse"
)

// A template is compiled to procedures of statements and expressions: variables become slots and names of functions
// their code, so that running it neither looks anything up nor allocates.

// procedure is a main or {{define}}d template. Slot 0 is $.
type procedure struct {
	body  []stmt
	slots int
}

type stmtOp uint8

const (
	stmtText stmtOp = iota
	stmtPrint
	stmtEval // a pipeline that only sets variables
	stmtIf
	stmtWith
	stmtRange
	stmtTemplate
	stmtBreak
	stmtContinue
)

type stmt struct {
	op       stmtOp
	pos      parse.Pos
	text     string
	e        *expr
	key, val int // slots of range variables; -1: none
	body     []stmt
	els      []stmt
	proc     *procedure
}

type exprOp uint8

const (
	exprConst exprOp = iota
	exprDot          // . and its fields
	exprVar          // a slot and its fields
	exprChain        // fields of args[0]
	exprCall
	exprAnd
	exprOr
	exprSet // sets slots to args[0]
)

type expr struct {
	op   exprOp
	pos  parse.Pos
	val  Value
	path []string
	slot int
	fn   *function
	args []*expr
}

// function is what templates may call. Arguments are already evaluated; they must not be kept or changed.
type function struct {
	name     string
	min, max int // arguments; max -1: any number
	call     body
	cost     cost
	// own says that the result carries its own provenance (functions that choose among or take apart their
	// arguments); otherwise it is tainted when any argument was.
	own bool
	// plain says that of numbers and booleans the function makes text that only shows them: it may stand bare in JSON.
	plain bool
}
