package convert

import (
	"encoding/json"
	"fmt"
	"regexp/syntax"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// schemaTools is a service of tools with these input schemas, named t00, t01, …
func schemaTools(schemas ...string) *registry.Definition {
	def := &registry.Definition{Name: "s", Backend: registry.Backend{URL: "https://api.example.com"}}
	for i, schema := range schemas {
		t := registry.Tool{Name: fmt.Sprintf("t%02d", i), InputSchema: []byte(schema), Request: registry.RequestTemplate{URL: "/x", Method: "GET"}}
		var root struct{ Properties map[string]json.RawMessage }
		_ = json.Unmarshal(t.InputSchema, &root)
		for name := range root.Properties {
			t.Args = append(t.Args, registry.Arg{Name: name})
		}
		def.Tools = append(def.Tools, t)
	}
	return def
}

// allocated reports how many bytes f allocates, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// list is a JSON array of n elements.
func list(n int, element func(i int) string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(element(i))
	}
	return b.String() + "]"
}

func numbered(format string) func(int) string {
	return func(i int) string { return fmt.Sprintf(format, i) }
}

// TestSchemasOverABoundRejectTheirTool: what a schema takes to compile is bounded before it is compiled, and its tool alone
// is rejected. The bounds on time and memory are generous; without those on schemas most of these take minutes or gigabytes.
//
// What each would cost without its bound follows from its size and was not measured.
func TestSchemasOverABoundRejectTheirTool(t *testing.T) {
	nested := `{"type":"string"}`
	for range 25 {
		nested = `{"properties":{"` + strings.Repeat("n", 20_000) + `":` + nested + `}}`
	}
	chain := `{"$ref":"#/$defs/d0","$defs":{`
	for i := range 900 {
		chain += fmt.Sprintf(`"d%d":{"$ref":"#/$defs/d%d"},`, i, i+1)
	}
	chain += `"d900":{"type":"object"}}}`
	for _, test := range []struct{ name, schema, want string }{
		{"patterns", `{"type":"object","properties":{"x":{"allOf":` + list(900, numbered(`{"pattern":"^(?:[a-f]?%d?){400}$"}`)) + `}}}`, "too large together"},
		{"one pattern", `{"type":"object","properties":{"x":{"pattern":"^(?:` + strings.Repeat("[a-z]?", 60) + `){1000}$"}}}`, "repetitions multiply"},
		{"long pattern", `{"type":"object","properties":{"x":{"pattern":"` + strings.Repeat(`\\pL`, 5_000) + `"}}}`, "pattern of 15000 bytes"},
		{"classes", `{"type":"object","properties":{"x":{"allOf":` + list(500, numbered(`{"pattern":"\\pL\\pL%d"}`)) + `}}}`, "too large together"},
		{"pattern of property names", `{"type":"object","patternProperties":{"(?:` + strings.Repeat("[a-z]?", 60) + `){1000}":{}}}`, "repetitions multiply"},
		{"pattern in what is not used", `{"type":"object","$defs":{"x":{"pattern":"(?:` + strings.Repeat("[a-z]?", 60) + `){1000}"}},"properties":{"y":{"$ref":"#/$defs/x"}}}`, "repetitions multiply"},
		{"subschemas", `{"type":"object","anyOf":` + list(300_000, func(int) string { return "{}" }) + `}`, "subschemas"},
		{"booleans", `{"type":"object","anyOf":` + list(100_000, func(int) string { return "true" }) + `}`, "subschemas"},
		{"values", `{"type":"object","properties":{"x":{"enum":` + list(60_000, numbered("%d")) + `}}}`, "values"},
		{"enum of lists", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"x":{"enum":` + list(20_000, numbered("[%d]")) + `}}}`, "list of 20000 objects or arrays"},
		{"pointers", `{"type":"object","properties":{"x":` + strings.Replace(nested, `{"type":"string"}`, `{"anyOf":`+list(900, numbered(`{"minLength":%d}`))+`}`, 1) + `}}`, "names that are too long"},
		{"ids", `{"type":"object","allOf":` + list(900, numbered(`{"$id":"x%d","type":"object"}`)) + `}`, "$id"},
		{"references", `{"type":"object","default":` + list(900, numbered(`{"a":%d}`)) + `,"allOf":` + list(900, numbered(`{"$ref":"#/default/%d"}`)) + `,"anyOf":` + list(900, numbered(`{"$ref":"#/default/%d/a"}`)) + `}`, "different $ref"},
		{"chain of references", chain, "one to the next"},
		{"bytes", `{"type":"object","description":"` + strings.Repeat("x", 2<<20) + `"}`, "at most 1048576"},
		{"minimum", `{"type":"object","properties":{"x":{"minimum":1e999999999}}}`, "exponent"},
		{"multipleOf", `{"type":"object","properties":{"x":{"multipleOf":1e-999999999}}}`, "exponent"},
		{"dynamic references", `{"type":"object","$dynamicAnchor":"n","properties":{"c":{"$ref":"inner"}},"$defs":{"i":{"$id":"inner","$dynamicAnchor":"n","anyOf":[{"$dynamicRef":"#n"}]}}}`, "$dynamicAnchor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			var s *Service
			var found []registry.Rejection
			bytes := allocated(func() { s, found = Compile(schemaTools(`{"type":"object"}`, test.schema), Options{}) })
			if len(found) != 1 || found[0].Tool != "t01" || found[0].Field != "inputSchema" || !strings.Contains(found[0].Message, test.want) {
				t.Errorf("got %.300v, want tool t01 rejected: %s", found, test.want)
			}
			if len(s.Order) != 1 || s.Order[0].Name != "t00" {
				t.Error("the other tool is not served")
			}
			if took := time.Since(start); took > 10*time.Second || bytes > 300<<20 {
				t.Errorf("took %v and %d MB", took, bytes>>20)
			}
		})
	}
}

// TestSchemasOfAServiceTogether: one tool with as much as a tool may have is served, a thousand of them are not. Those that
// are left out cost nothing either. Seen red without the check of what was spent: 40 tools were served.
func TestSchemasOfAServiceTogether(t *testing.T) {
	for name, schema := range map[string]string{
		"subschemas":   `{"type":"object","properties":{"x":{"anyOf":` + list(300, numbered(`{"minLength":%d,"prefixItems":[{},{},{},{}]}`)) + `}}}`,
		"instructions": `{"type":"object","properties":{"x":{"pattern":"^(?:` + strings.Repeat("[a-z]?", 20) + `){1000}$"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			schemas := make([]string, 50)
			for i := range schemas {
				schemas[i] = schema
			}
			schemas[49] = `{"type":"object","properties":{"q":{"type":"string"}}}`
			s, found := Compile(schemaTools(schemas...), Options{})
			if n := len(s.Order); n < 5 || n > 45 {
				t.Errorf("%d tools are served", n)
			}
			if len(found) != 50-len(s.Order) {
				t.Errorf("%d tools are served and %d rejected", len(s.Order), len(found))
			}
			for _, r := range found {
				if r.Tool == "" || !strings.Contains(r.Message, "too large together") {
					t.Errorf("%v", r)
				}
			}
		})
	}
}

// TestProgramsAreBuiltWhenMatched: validating a document, which happens to all of them whether or not anybody calls, takes no
// memory for programs.
func TestProgramsAreBuiltWhenMatched(t *testing.T) {
	def := schemaTools(`{"type":"object","properties":{"x":{"type":"string","allOf":` + list(12, numbered(`{"pattern":"^(?:[a-z]?[%d]?){300}$"}`)) + `}}}`)
	var s *Service
	var found []registry.Rejection
	if n := allocated(func() { s, found = Compile(def, Options{}) }); len(found) > 0 || n > 2<<20 {
		t.Fatalf("compiling took %d kB, found %v", n>>10, found)
	}
	for arg, want := range map[string]string{"abc": "", "0": `does not match pattern`} {
		_, result, _ := s.Tools["t00"].Request(Call{Arguments: []byte(`{"x":"` + arg + `"}`)})
		if !strings.Contains(string(result), want) || want == "" && result != nil {
			t.Errorf("%s: %s, want %q", arg, result, want)
		}
	}
}

// TestArgumentsOverABoundAreRefused: a call takes bounded time and memory whatever its arguments and the tool's schema are to
// each other, and its answer is short. What is within the bounds is served.
//
// What each would cost without its bound follows from its size and was not measured.
func TestArgumentsOverABoundAreRefused(t *testing.T) {
	const large, inexact = "too large for their schema", "too large to say where"
	property := func(schema string) string { return `{"type":"object","properties":{"x":` + schema + `}}` }
	text := func(n int) string { return `"` + strings.Repeat("a", n) + `"` }
	// Lists of strings that the library's hash does not tell apart: where one string ends and the next begins.
	alike := func(i int) string {
		var b strings.Builder
		b.WriteString(`["`)
		for bit := range 13 {
			b.WriteString("a")
			if i>>bit&1 == 1 {
				b.WriteString(`","`)
			} else {
				b.WriteString(`\u0004`)
			}
		}
		return b.String() + `"]`
	}
	for _, test := range []struct{ name, schema, x, want string }{
		{"pattern and length", property(`{"type":"string","pattern":"(?:[a-z]?){900}$"}`), text(100_000), large},
		{"pattern, short", property(`{"type":"string","pattern":"(?:[a-z]?){900}$"}`), text(800), ""},
		{"short pattern and length", property(`{"type":"string","pattern":"^[A-Za-z0-9+/]*={0,2}$"}`), text(1_000_000), ""},
		{"patterns elsewhere", `{"type":"object","properties":{"x":{"type":"string"},"y":{"type":"string","pattern":"(?:[a-z]?){900}$"}}}`, text(1_000_000), ""},
		{"many patterns", property(`{"allOf":` + list(300, numbered(`{"pattern":"^[a-z]*%d?$"}`)) + `}`), text(100_000), large},
		{"patterns of names", property(`{"type":"object","patternProperties":{"(?:[a-z]?){900}$":{}}}`), `{` + text(100_000) + `:1}`, large},
		{"names of properties", property(`{"type":"object","propertyNames":{"pattern":"(?:[a-z]?){900}$"}}`), `{` + text(100_000) + `:1}`, large},
		{"format regex", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"x":{"type":"string","format":"regex","minLength":1}}}`, `"` + strings.Repeat("((a?){1000}|b)", 5_000) + `"`, ""},
		{"long enum", property(`{"type":"array","items":{"enum":` + list(20_000, numbered(`"v%d"`)) + `}}`), list(20_000, func(int) string { return `"v"` }), large},
		{"long enum, plain", property(`{"type":"array","items":{"type":"string","enum":` + list(20_000, numbered(`"v%d"`)) + `}}`), list(20_000, numbered(`"v%d"`)), ""},
		{"message of a long enum", property(`{"type":"array","items":{"type":"string","enum":` + list(1_000, numbered(`"value %d"`)) + `}}`), list(90, numbered(`"%d"`)), "must be one of"},
		{"required of each", property(`{"type":"array","items":{"required":` + list(5_000, numbered(`"n%d"`)) + `}}`), list(5_000, func(int) string { return "{}" }), large},
		{"unique lists", property(`{"type":"array","uniqueItems":true}`), list(8_000, alike), large},
		{"unique texts", property(`{"type":"array","uniqueItems":true,"minItems":1}`), list(30_000, numbered(`"%d"`)), ""},
		{"numbers", property(`{"type":"array","items":{"type":"number","minimum":0,"multipleOf":1e-400}}`), list(100_000, func(int) string { return "1e9999" }), "exponent"},
		{"wrong elements", property(`{"type":"array","items":{"type":"string"}}`), list(300_000, func(int) string { return "1" }), inexact},
		{"right elements", property(`{"type":"array","items":{"type":"string","minLength":1}}`), list(200_000, func(int) string { return `"a"` }), ""},
		{"wrong names", `{"type":"object","additionalProperties":false,"properties":{"x":{"type":"object","additionalProperties":false}}}`, `{` + strings.Trim(list(90_000, numbered(`"n%d":1`)), "[]") + `}`, `is not known`},
		{"a long name", property(`{"type":"object","additionalProperties":false}`), `{` + text(100_000) + `:1}`, `is not known`},
		{"a long text", property(`{"type":"string","pattern":"^b"}`), text(100_000), `does not match pattern '^b'`},
		{"recursive reference", `{"type":"object","$recursiveAnchor":true,"$schema":"https://json-schema.org/draft/2019-09/schema","properties":{"x":{"anyOf":[{"$recursiveRef":"#"},{"type":"array"}]}}}`, list(400_000, numbered("%d")), large},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, found := Compile(schemaTools(test.schema), Options{})
			if len(found) > 0 {
				t.Fatalf("%.300v", found)
			}
			start := time.Now()
			var result []byte
			bytes := allocated(func() { _, result, _ = s.Tools["t00"].Request(Call{Arguments: []byte(`{"x":` + test.x + `}`)}) })
			if got := string(result); !strings.Contains(got, test.want) || test.want == "" && result != nil {
				t.Errorf("got %.300s, want %q", got, test.want)
			}
			if took := time.Since(start); took > 10*time.Second || bytes > 400<<20 || len(result) > 4<<10 {
				t.Errorf("took %v and %d MB, and the answer has %d bytes", took, bytes>>20, len(result))
			}
			t.Logf("took %v and %d MB", time.Since(start), bytes>>20)
		})
	}
}

// TestDefaultsAreBoundedToo: they are held against their schemas when the document is read, and are part of the arguments when
// somebody calls.
func TestDefaultsAreBoundedToo(t *testing.T) {
	start := time.Now()
	def := schemaTools(`{"type":"object","properties":{"x":{"type":"string"}}}`, `{"type":"object","properties":{"x":{"type":"string","pattern":"(?:[a-z]?){900}$"}}}`)
	def.Tools[1].Args[0].Default = json.RawMessage(`"` + strings.Repeat("a", 100_000) + `"`)
	s, found := Compile(def, Options{})
	if len(s.Order) != 1 || len(found) != 1 || found[0].Tool != "t01" || !strings.Contains(found[0].Message, "default is too large") {
		t.Errorf("got %.300v", found)
	}

	doubling := `{"anyOf":[{"properties":{"c":{"$ref":"#/$defs/n"},"a":{"type":"string"}}},{"properties":{"c":{"$ref":"#/$defs/n"},"b":{"type":"string"}}}]}`
	def = schemaTools(`{"type":"object","properties":{"x":{"type":"object"}},"allOf":[{"properties":{"x":{"$ref":"#/$defs/n"}}}],"$defs":{"n":` + doubling + `}}`)
	def.Tools[0].Args[0].Default = json.RawMessage(strings.Repeat(`{"c":`, 50) + `{"a":1,"b":1}` + strings.Repeat(`}`, 50))
	if s, found = Compile(def, Options{}); len(found) > 0 {
		t.Fatalf("got %.300v", found)
	}
	if _, result, _ := s.Tools["t00"].Request(Call{Arguments: []byte(`{}`)}); !strings.Contains(string(result), "nested too deeply") {
		t.Errorf("got %.300s", result)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestManyArguments: the names of a call's arguments are compared in no more than a moment: not each with
// each of the others.
func TestManyArguments(t *testing.T) {
	names := strings.Trim(list(200_000, numbered(`"n%06d":1`)), "[]")
	start := time.Now()
	if members, _, err := parseObject(nil, []byte(`{`+names+`}`), nil); err != nil || len(members) != 200_000 {
		t.Errorf("read %d: %v", len(members), err)
	}
	if _, _, err := parseObject(nil, []byte(`{`+names+`,"n000007":2}`), nil); err == nil || !strings.Contains(err.Error(), `"n000007" is given twice`) {
		t.Errorf("a name given twice: %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestProgramSize compares the estimate with what the expressions compile to. Seen red with OpRepeat counted once.
func TestProgramSize(t *testing.T) {
	for _, source := range []string{``, `a`, `abc`, `a*b+c?`, `^(a|b|cd)$`, `[a-z]{3}`, `[a-z]{1,30}`, `(x{2,}){5}`, `(?:a{0,10}b{3}){20}`, `((a|b)*c){7}`, `(?:a?b?){900}`, `a{0}`, `(|a)*`, `\pL{3}`, `(?i)straße`, `(?:(?:a{1,10}){1,10}){1,10}`} {
		p, err := newPattern(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if n := instructions(t, source); p.program < n || p.program > 2*n+8 {
			t.Errorf("%s: estimated %d, has %d", source, p.program, n)
		}
	}
}

// instructions is the size of the program that source is compiled to.
func instructions(t *testing.T, source string) int {
	t.Helper()
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	return len(program.Inst)
}
