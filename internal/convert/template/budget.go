package template

import (
	"errors"
	"time"
)

// ErrBudget is what an execution's error wraps when a limit ended it.
var ErrBudget = errors.New("template budget exceeded")

// Budget bounds an execution. A zero field means the default; time is bounded through Steps, which also count the
// bytes that functions go through, and memory through Output.
type Budget struct {
	Steps  int // actions, iterations, and each 64 bytes or 4 elements that a function handles; default 5,000,000
	Output int // bytes written; what functions make on the way may take four times as much; default 16 MiB
	Depth  int // templates within templates; default 100
}

// DefaultBudget is what zero fields of a Budget mean.
var DefaultBudget = Budget{Steps: 5_000_000, Output: 16 << 20, Depth: 100}

func (b Budget) orDefault() Budget {
	if b.Steps <= 0 {
		b.Steps = DefaultBudget.Steps
	}
	if b.Output <= 0 {
		b.Output = DefaultBudget.Output
	}
	if b.Depth <= 0 {
		b.Depth = DefaultBudget.Depth
	}
	return b
}

// Env is what an execution may know of the world outside its data.
type Env struct {
	ClientIP string           // getRealIP
	Now      func() time.Time // nil: time.Now
	// Secret looks up ${ref}, and the fields selected from it, when it is printed. inPath says that it may stand in the
	// path of a URL. With nil every reference is an error. The texts of its errors are shown.
	Secret func(ref string, path []string) (v Value, inPath bool, err error)
}

var (
	errSteps  = budgetError("template takes too many steps")
	errOutput = budgetError("template's output is over its limit")
	errMemory = budgetError("template makes too much text on the way")
	errDepth  = budgetError("templates call each other too deeply")
	errDeep   = budgetError("a value is nested too deeply")
)

type budgetError string

func (e budgetError) Error() string { return string(e) }
func (budgetError) Unwrap() error   { return ErrBudget }

// charge counts n steps.
func (e *exec) charge(n int) error {
	if e.steps -= n; e.steps < 0 || n < 0 {
		e.steps = 0
		return errSteps
	}
	return nil
}

// grow counts n bytes about to be made, and the work of making them.
func (e *exec) grow(n int) error {
	if n < 0 || n > e.memory {
		return errMemory
	}
	e.memory -= n
	return e.charge(n / 64)
}
