package template

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

// A function that nobody has thought about cannot be called, and one that is gone from the code is not on the list.
// Seen red with a function added to defineStrings, and with one taken out of costs.
func TestEveryFunctionHasACost(t *testing.T) {
	for name, f := range functions {
		if f.cost == 0 {
			t.Errorf("function %q has no cost: say in cost.go how its work grows", name)
		}
	}
	for name := range costs {
		if functions[name] == nil {
			t.Errorf("%q has a cost but is no function", name)
		}
	}
	for name := range sprig.GenericFuncMap() {
		_, out := removed[name]
		if functions[name] == nil && !out && !slices.Contains(keyMakers, name) && name != "and" && name != "or" {
			t.Errorf("sprig's function %q has no cost: say in cost.go how its work grows, or leave it out on purpose", name)
		}
	}
}

// hostileValues are large in each of the ways a value can be.
func hostileValues() map[string]Value {
	const n = 1 << 20
	shared := Array(String(strings.Repeat("a", 1000)))
	for range 60 {
		shared = Array(shared, shared, shared)
	}
	deep := Array()
	for range 100_000 {
		deep = Array(deep)
	}
	escapes := strings.Repeat(`\u0061`, n/6)
	return map[string]Value{
		"text":      String(strings.Repeat("a", n)),
		"words":     String(strings.Repeat("ab ", n/3)),
		"lines":     String(strings.Repeat("\n", n)),
		"angles":    String(strings.Repeat("<", n)),
		"escaped":   mustJSON(`"` + escapes + `"`),
		"brackets":  String(strings.Repeat("[", n)),
		"digits":    String(strings.Repeat("9", n)),
		"number":    mustJSON(strings.Repeat("9", n)),
		"exponent":  mustJSON("1e999999999"),
		"fraction":  mustJSON("0." + strings.Repeat("0", n) + "1"),
		"count":     mustJSON("2000000000"),
		"list":      mustJSON("[" + strings.Repeat("1,", n/2) + "1]"),
		"texts":     mustJSON("[" + strings.Repeat(`"`+strings.Repeat("a", 1000)+`",`, n/1000) + `""]`),
		"keys":      mustJSON("{" + strings.Repeat(`"`+escapes[:60_000]+`":1,`, n/60_000) + `"b":1}`),
		"members":   mustJSON("{" + wide(n/16) + `"last":1}`),
		"shared":    shared,
		"deep":      deep,
		"versions":  String(strings.Repeat("1.2.3-a.1 || ", n/13) + "1"),
		"date":      String(strings.Repeat("2006-01-02 ", n/11)),
		"nothing":   {},
		"small":     number("3"),
		"text few":  String(strings.Repeat("a ", 30_000)),
		"long few":  String(strings.Repeat("9", 60_000)),
		"lines few": String(strings.Repeat("a\n", 30_000)),
		"ver few":   String(strings.Repeat("1.2.3-a.1 || ", 4000) + "1"),
	}
}

// Each function gets each large value in each place, and in all of them. With few steps left it has to refuse before it
// works, which shows in what it allocates; with more it may work, within memory that the budget allows.
// Seen red with, in turn: grow after the work in randBytes, sortAlpha and format; the length check after SetString in
// bigArithmetic; the texts that printf lists behind uncounted; names uncounted in fields; json without measure.
func TestA33_FunctionsCountBeforeTheyWork(t *testing.T) {
	values := hostileValues()
	names := make([]string, 0, len(functions))
	for name := range functions {
		names = append(names, name)
	}
	slices.Sort(names)
	few, many := Budget{Steps: 2000, Output: 1 << 20}, Budget{Steps: 60_000, Output: 2 << 20}
	for _, fn := range names {
		if strings.HasPrefix(fn, "must") { // the same code as without
			continue
		}
		f := functions[fn]
		for args := max(f.min, min(f.max, 1)); args <= max(f.min, min(f.max, 4)); args++ {
			for name, v := range values {
				what := fmt.Sprintf("%s with %s among %d arguments", fn, name, args)
				callWithin(t, what, f, v, args, few, 512<<10)
				callWithin(t, what, f, v, args, many, 32<<20)
			}
		}
	}
}

// TestA33_BorrowedFunctionsCountTheirInput: 500 calls of a function that takes 6 ms for 64 kB are 3 s.
// Seen red without size in what is charged.
func TestA33_BorrowedFunctionsCountTheirInput(t *testing.T) {
	const n = maxVersions - 24
	long := String(strings.Repeat("aB_", n/3))
	for name, class := range costs {
		if f := functions[name]; class == costBorrowed && f.min > 0 {
			e := &exec{t: &Template{src: &source{}}, steps: 1 << 20, memory: 1 << 24, limit: 1 << 20}
			x := &expr{op: exprCall, fn: f, args: []*expr{{op: exprConst, val: long}}}
			for len(x.args) < f.min {
				x.args = append(x.args, &expr{op: exprConst, val: number("1")})
			}
			before := e.steps
			_, _ = e.apply(x, Value{})
			if took := before - e.steps; took < n {
				t.Errorf("%s counts %d steps for %d bytes", name, took, n)
			}
		}
	}
}

// callWithin calls a function, as apply does, with v in each place and in all of them.
func callWithin(t *testing.T, what string, f *function, v Value, args int, b Budget, most uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for at := range args + 1 {
		e := &exec{t: &Template{src: &source{}}, steps: b.Steps, memory: 4 * b.Output, limit: b.Output}
		x := &expr{op: exprCall, fn: f}
		for i := range args {
			arg := number("3")
			if i == at || at == args {
				arg = v
			}
			x.args = append(x.args, &expr{op: exprConst, val: arg})
		}
		_, _ = e.apply(x, Value{})
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > most && !bubble.Race {
		t.Errorf("%s made %d KiB within %d steps", what, made>>10, b.Steps)
	}
	if took > 5*time.Second { // by itself less than 0.1 s
		t.Errorf("%s took %v within %d steps", what, took, b.Steps)
	}
}

// Nothing that a string or an answer holds may grow the stack: a goroutine's overflow ends the process and cannot be
// recovered from. Seen red in a process of its own: with package gjson behind the function, the first two of these ended
// it ("goroutine stack exceeds 1000000000-byte limit").
func TestA33_DepthIsBoundedInAllThatIsDecoded(t *testing.T) {
	const n = 15 << 20
	data := Object(Member{"a", String(strings.Repeat("[", n))}, Member{"o", String(strings.Repeat(`{"a":`, n/5))},
		Member{"q", String(`"` + strings.Repeat("[", n) + `"`)}, Member{"closed", String(strings.Repeat("[", n/2) + strings.Repeat("]", n/2))})
	for _, text := range []string{
		`{{gjson "a.@fromstr.@valid"}}`,
		`{{gjson "a.@fromstr.@fromstr"}}`,
		`{{gjson "q.@fromstr.@fromstr.@valid"}}`,
		`{{gjson "closed.@fromstr.@flatten:{\"deep\":true}"}}`,
		`{{gjson "closed.@fromstr.@ugly.@tostr"}}`,
		`{{gjson "a.@fromstr.@tostr"}}`,
		`{{fromJson .a}}`, `{{fromJson .o}}`, `{{fromJson .closed | toJson}}`, `{{mustFromJson .a}}`, `{{toJson .a | fromJson | fromJson}}`,
	} {
		tmpl, err := Parse("x", text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := tmpl.Execute(nil, data, Env{}, Budget{Steps: 50_000_000, Output: 64 << 20})
		if len(out) > 10 {
			t.Errorf("%s: made %d bytes, %v", text, len(out), err)
		}
	}
	if _, err := ParseJSON([]byte(strings.Repeat("[", n))); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("an answer: %v", err)
	}
	for _, text := range []string{"{{" + strings.Repeat("(", 500_000), "{{1" + strings.Repeat(".a", 500_000) + "}}", "{{" + strings.Repeat("(1|", 300_000), strings.Repeat("{{define `x`}}", 70_000)} {
		if _, err := Parse("x", text, Options{}); err == nil {
			t.Errorf("%.10s…: parsed", text)
		}
	}
}

// What a GJSON path does is counted as it goes. Steps are what the test looks at, not time: with package gjson behind the
// function these ran, uncounted, for up to minutes or made gigabytes.
func TestA33_GJSONPathsAreCounted(t *testing.T) {
	nested := strings.Repeat("[1,", 500) + "2" + strings.Repeat("]", 500)
	data := mustJSON(fmt.Sprintf(`{"nested":[%s%s],"ones":[%s1],"a":%q,"empties":[%s[]],"wide":{%s"z":1},"str":%q}`,
		strings.Repeat(nested+",", 100), nested, strings.Repeat("1,", 500_000), strings.Repeat("a", 100_000), strings.Repeat("[],", 300_000),
		wide(20_000), "["+strings.Repeat("[1],", 60_000)+"1]"))
	long := strings.Repeat("x", 4000)
	quick := `ones.#(>` + strings.Repeat("1", 4000) + `)#` // the number was read for each element
	for _, path := range []string{
		quick,
		`ones.#.!"` + long + `"`,        // a literal for each element: 2 GB
		`empties.#.{"` + long + `":!1}`, // a name for each element
		`a.@tostr|@this|@fromstr|[@this,@this]|` + strings.Repeat(`[@this,@this]|`, 40) + `@this`,
		`[a].#(%"*` + strings.Repeat("a", 2000) + `b")`, // backtracking
		`empties.#(` + strings.Repeat("#(", 1300) + `x` + strings.Repeat(")", 1300) + `)#`,
		`nested.@flatten:{"deep":true}` + strings.Repeat(`|@reverse|@flatten:{"deep":true}`, 100),
		`ones.@this` + strings.Repeat(`|@reverse`, 400),
		`ones` + strings.Repeat(`|@keys`, 600),
		`..#.ones.#(>0)#|` + strings.Repeat(`#(>0)#|`, 500) + `#`,
		`[ones` + strings.Repeat(`,ones`, 500) + `]|@flatten`,
		`{a` + strings.Repeat(`,a`, 1000) + `}|@tostr`,
	} {
		e := &exec{t: &Template{src: &source{}}, root: data, steps: 1_000_000, memory: 4 << 20, limit: 1 << 20}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, err := e.gjson(data, path)
		if runtime.ReadMemStats(&after); err == nil {
			err = e.printText(v)
		}
		if !errors.Is(err, ErrBudget) && (path != quick || err != nil) {
			t.Errorf("%.60s…: %v, with %d steps left", path, err, e.steps)
		}
		if made := after.TotalAlloc - before.TotalAlloc; made > 32<<20 && !bubble.Race {
			t.Errorf("%.60s…: made %d KiB", path, made>>10)
		}
	}
	// and 240 kB flattened deeply is quick: less than a step a byte
	e := &exec{t: &Template{src: &source{}}, root: data, steps: 240_000, memory: 16 << 20, limit: 1 << 20}
	if v, err := e.gjson(data, `str.@fromstr.@flatten:{"deep":true}|#`); err != nil || v.Text() != "60001" {
		t.Errorf("flattened: %s, %v", v.Text(), err)
	}
}

// A search that comes back to a match it had long passed is counted for what it read: package regexp, which is linear for
// one match, then takes the square of the text for all of them. Seen red without countMatches: the first took 50 s.
func TestA33_RegularExpressionsAreCounted(t *testing.T) {
	data := Object(Member{"a", String(strings.Repeat("a", 200_000))}, Member{"l", String(strings.Repeat("<b", 100_000))},
		Member{"html", String(strings.Repeat("<p class='x'>some text, and more</p>\n", 3000))})
	for _, tc := range []struct {
		text string
		fits bool
	}{
		{`{{len (regexFindAll "(a.*b)|a" .a -1)}}`, false},
		{`{{len (regexReplaceAll "(a.*b)|a" .a "x")}}`, false},
		{`{{len (regexReplaceAllLiteral "<[^>]*>|b" .l "")}}`, false},
		{`{{len (regexSplit "\\B(a.*b)|a" .a -1)}}`, false},
		{`{{len (regexSplit "a{0,1000}b|a" .a -1)}}`, false},
		{`{{len (regexReplaceAll "<[^>]*>" .html "")}}`, true}, // what people do
		{`{{len (regexReplaceAll "\\s+" .html " ")}}`, true},
		{`{{len (regexFindAll "\\b[a-z]+\\b" .html -1)}}`, true},
		{`{{len (regexSplit "," .html -1)}}`, true},
		{`{{len (regexReplaceAll "(?m)^<p" .html "")}}`, true},
	} {
		tmpl, err := Parse("x", tc.text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := tmpl.Execute(nil, data, Env{}, Budget{Steps: 1_000_000})
		if fits := err == nil; fits != tc.fits || !fits && !errors.Is(err, ErrBudget) {
			t.Errorf("%s: %s, %v", tc.text, out, err)
		}
	}
	for _, pattern := range []string{"((a{100}){100}){100}", `(\\pL{1000}){20}`, "((((x?){9}){9}){9}){20}"} {
		if _, err := Parse("x", `{{regexMatch "`+pattern+`" .a}}`, Options{}); err == nil || !strings.Contains(err.Error(), "regular expression") {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

// The searches that are counted are those that package regexp makes, whatever stands before a match.
func TestCountedSearchesAreThoseOfTheLibrary(t *testing.T) {
	for _, pattern := range []string{`a+`, `\ba+`, `(?m)^a*`, `^a+`, `a*`, `\B.*?b`, `(a|b)*c|a`, `é+`, `\b`, `a*$`, `.`} {
		for _, s := range []string{"", "a", "aab aa", "ba\naa\nb", "éaé\xffa b", strings.Repeat("ab cé", 20)} {
			parsed, size, err := readRegex(pattern)
			if err != nil {
				t.Fatal(err)
			}
			r, err := compileRegex(pattern, parsed, size)
			if err != nil {
				t.Fatal(err)
			}
			r.longest = -1
			e := &exec{steps: 1 << 30}
			var got [][]int
			err = e.searches(r, s, func(from, to int) { got = append(got, []int{from, to}) })
			if err != nil {
				t.Fatal(err)
			}
			want := r.FindAllStringIndex(s, -1)
			for _, w := range want {
				if !slices.ContainsFunc(got, func(g []int) bool { return slices.Equal(g, w) }) {
					t.Errorf("%s in %q: searched %v, the library finds %v", pattern, s, got, want)
				}
			}
		}
	}
}
