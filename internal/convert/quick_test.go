package convert

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
)

// What the quick check accepts, the schema library accepts; and it is used at all.
func TestQuickCheckAgreesWithTheLibrary(t *testing.T) {
	properties := []string{
		`{"type":"string"}`, `{"type":"integer"}`, `{"type":"number","description":"d"}`, `{"type":"boolean"}`, `{"type":"object"}`, `{}`, `{"type":"string","enum":["a","b"]}`,
		`{"enum":["a"]}`, `{"type":"array","items":{"type":"integer"}}`, `{"type":"array","items":{"type":"array","items":{"enum":["a"]}}}`, `{"type":"array"}`,
		`{"type":["string","null"]}`, `{"type":"string","minLength":2}`, `{"items":{"type":"string"}}`, `{"enum":[1,"a"]}`, `true`, `{"type":"integer","default":7}`,
	}
	values := []string{`"a"`, `"b"`, `"ab"`, `"42"`, `1`, `1.0`, `1.5`, `1e2`, `-0`, `true`, `null`, `[]`, `[1]`, `[1,"a"]`, `[["a"]]`, `[["b"]]`, `{}`, `{"a":1}`}
	r := rand.New(rand.NewPCG(5, 6))
	quick, valid := 0, 0
	for range 5000 {
		doc := fmt.Sprintf(`{"type":"object","properties":{"x":%s,"y":%s}`, properties[r.IntN(len(properties))], properties[r.IntN(len(properties))])
		if r.IntN(2) == 0 {
			doc += `,"required":["x"]`
		}
		if r.IntN(2) == 0 {
			doc += `,"additionalProperties":false`
		}
		doc += "}"
		args := `{}`
		switch r.IntN(4) {
		case 0:
			args = fmt.Sprintf(`{"x":%s}`, values[r.IntN(len(values))])
		case 1:
			args = fmt.Sprintf(`{"y":%s}`, values[r.IntN(len(values))])
		case 2:
			args = fmt.Sprintf(`{"x":%s,"y":%s}`, values[r.IntN(len(values))], values[r.IntN(len(values))])
		}
		q := newQuickCheck([]byte(doc), map[string]int{"x": 0, "y": 1})
		s, _, err := compileSchema([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if q == nil {
			continue
		}
		members, _, err := parseObject(nil, []byte(args), nil)
		if err != nil {
			t.Fatal(err)
		}
		vals, all := make([]value, 2), map[string]any{}
		for _, m := range members {
			vals[map[string]int{"x": 0, "y": 1}[m.name]] = newValue(m.raw, m.value)
			all[m.name] = m.value
		}
		quick++
		if !q.valid(vals) {
			continue
		}
		valid++
		if faults := s.validate(all, 2, len(args)); faults != nil {
			t.Fatalf("%s against %s: %v", args, doc, faults)
		}
	}
	if quick < 1000 || valid < 500 {
		t.Errorf("the quick check took %d schemas and accepted %d calls", quick, valid)
	}
}

// The reader and encoding/json see the same members, in the same order.
func TestMembersAreReadInOrder(t *testing.T) {
	members, depth, err := parseObject(nil, []byte(` { "b" : [ 1 , {"c":2} ] , "a\u0062" : "x" } `), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range members {
		names = append(names, m.name+"="+string(m.raw))
	}
	got, _ := json.Marshal(names)
	if want := `["b=[ 1 , {\"c\":2} ]","ab=\"x\""]`; string(got) != want || depth != 3 {
		t.Errorf("read %s of depth %d, want %s of depth 3", got, depth, want)
	}
}
