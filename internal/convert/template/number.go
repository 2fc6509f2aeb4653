package template

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

func intValue(n int64) Value {
	if n >= 0 && n < int64(len(smallInts)) {
		return number(smallInts[n])
	}
	return number(strconv.FormatInt(n, 10))
}

// smallInts spares the positions of a range an allocation.
var smallInts = func() (s [1024]string) {
	for i := range s {
		s[i] = strconv.Itoa(i)
	}
	return s
}()

// floatValue spells a float as JSON does: without an exponent up to 1e21.
func floatValue(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}, errors.New("the result is no number")
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return number(strconv.FormatFloat(f, format, -1, 64)), nil
}

// numeral gives the spelling of what counts as a number: numbers, strings that hold one, booleans, and 0 for nothing,
// as sprig's cast has it. Its error for the rest names the kind only.
func numeral(v Value) (string, error) {
	switch v.kind {
	case KindMissing, KindNull:
		return "0", nil
	case KindBool:
		return smallInts[v.n], nil
	case KindNumber:
		return v.s, nil
	case KindString:
		s := strings.TrimPrefix(strings.TrimSpace(v.Text()), "+")
		if s == "" {
			return "0", nil
		}
		if isNumber(s) {
			return s, nil
		}
		if len(s) <= 64 {
			if n, err := strconv.ParseInt(s, 10, 64); err == nil { // leading zeros
				return strconv.FormatInt(n, 10), nil
			}
		}
		return "", errors.New("a string is no number")
	}
	return "", fmt.Errorf("%s is no number", v.kind)
}

// toInt gives a number's integer part where it fits 64 bits.
func toInt(v Value) (int64, bool) {
	s, err := numeral(v)
	if err != nil {
		return 0, false
	}
	if len(s) <= 20 { // the longest that fits; of others ParseInt would make a copy, for its error
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, true
		}
	}
	if !strings.ContainsAny(s, ".eE") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// integer is toInt with the error that a function returns.
func integer(v Value) (int64, error) {
	if n, ok := toInt(v); ok {
		return n, nil
	}
	if _, err := numeral(v); err != nil {
		return 0, err
	}
	return 0, errors.New("a number does not fit 64 bits")
}

// small is integer for positions, counts and widths.
func small(v Value) (int, error) {
	n, err := integer(v)
	if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
		err = errors.New("a number is out of range")
	}
	return int(n), err
}

func float(v Value) (float64, error) {
	s, err := numeral(v)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errors.New("a number is out of range")
	}
	return f, nil
}

// arithmetic folds the integer parts of the arguments, in 64 bits as far as they do, else with as many digits as needed.
func arithmetic(exact func(a, b int64) (int64, bool), large func(z, a, b *big.Int) *big.Int) body {
	return func(e *exec, args []Value) (Value, error) {
		acc, err := integer(args[0])
		if err != nil {
			return bigArithmetic(e, args, large)
		}
		for _, arg := range args[1:] {
			n, err := integer(arg)
			if err != nil {
				return bigArithmetic(e, args, large)
			}
			var ok bool
			if acc, ok = exact(acc, n); !ok {
				return bigArithmetic(e, args, large)
			}
		}
		return intValue(acc), nil
	}
}

// maxBigDigits bounds what arithmetic takes on beyond 64 bits.
const maxBigDigits = 1000

func bigArithmetic(e *exec, args []Value, fold func(z, a, b *big.Int) *big.Int) (Value, error) {
	acc := new(big.Int)
	for i, arg := range args {
		s, err := numeral(arg)
		if err != nil {
			return Value{}, err
		}
		n, ok := new(big.Int), false
		if v, fits := toInt(arg); fits {
			n.SetInt64(v)
		} else if len(s) > maxBigDigits { // reading digits takes their square
			return Value{}, errors.New("a number is out of range")
		} else if n, ok = n.SetString(s, 10); !ok {
			return Value{}, errors.New("a number is out of range")
		}
		if i == 0 {
			acc = n
			continue
		}
		if acc = fold(acc, acc, n); acc == nil || acc.BitLen() > 4*maxBigDigits {
			return Value{}, errors.New("the result is out of range")
		}
		if err := e.charge(acc.BitLen() / 64); err != nil {
			return Value{}, err
		}
	}
	return number(acc.String()), nil
}

func addExact(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subExact(a, b int64) (int64, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func mulExact(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	c := a * b
	return c, c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64)
}

// compareNumbers orders two JSON numbers exactly, whatever their size, in time linear to their spelling.
func compareNumbers(a, b string) int {
	if a == b {
		return 0
	}
	x, y := readDecimal(a), readDecimal(b)
	if x.sign != y.sign {
		return x.sign - y.sign
	}
	if x.sign == 0 {
		return 0
	}
	if x.point != y.point {
		if x.point < y.point {
			return -x.sign
		}
		return x.sign
	}
	for i := 0; ; i++ {
		c, okx := x.digit(i)
		d, oky := y.digit(i)
		switch {
		case !okx && !oky:
			return 0
		case c < d:
			return -x.sign
		case c > d:
			return x.sign
		}
	}
}

// decimal is 0.digits × 10^point with no zero in front.
type decimal struct {
	sign   int
	before string // digits before the decimal point
	after  string
	point  int
}

func (d *decimal) digit(i int) (byte, bool) {
	if i < len(d.before) {
		return d.before[i], true
	}
	if i -= len(d.before); i < len(d.after) {
		return d.after[i], true
	}
	return '0', false
}

func readDecimal(s string) (d decimal) {
	d.sign = 1
	if strings.HasPrefix(s, "-") {
		d.sign, s = -1, s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exp := strings.TrimPrefix(s[i+1:], "+")
		n, err := strconv.Atoi(exp)
		if n = min(max(n, -1<<40), 1<<40); err != nil && n == 0 {
			n = 1 << 40
		}
		exponent, s = n, s[:i]
	}
	d.before, d.after, _ = strings.Cut(s, ".")
	d.before = strings.TrimLeft(d.before, "0")
	d.point = len(d.before)
	if d.before == "" {
		trimmed := strings.TrimLeft(d.after, "0")
		d.point = len(trimmed) - len(d.after)
		if d.after = trimmed; trimmed == "" {
			d.sign = 0
			return d
		}
	}
	d.point += exponent
	return d
}
