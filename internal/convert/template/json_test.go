package template

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseJSONRefusesWhatIsNoJSON(t *testing.T) {
	for _, tc := range []struct{ raw, want string }{
		{``, `read JSON: text ends too early`},
		{` `, `read JSON: text ends too early`},
		{`{`, `read JSON: text ends too early`},
		{`{"a"`, `read JSON: text ends too early`},
		{`{"a":`, `read JSON: text ends too early`},
		{`{"a":1`, `read JSON: text ends too early`},
		{`{"a":1,}`, `read JSON: unexpected '}' at byte 7`},
		{`{a:1}`, `read JSON: unexpected 'a' at byte 1`},
		{`[1,]`, `read JSON: unexpected ']' at byte 3`},
		{`[1 2]`, `read JSON: unexpected '2' at byte 3`},
		{`[1}`, `read JSON: unexpected '}' at byte 2`},
		{`{"a":1]`, `read JSON: unexpected ']' at byte 6`},
		{`{} x`, `read JSON: unexpected 'x' at byte 3`},
		{`01`, `read JSON: unexpected '0' at byte 0`},
		{`1.`, `read JSON: unexpected '1' at byte 0`},
		{`-`, `read JSON: unexpected '-' at byte 0`},
		{`1e`, `read JSON: unexpected '1' at byte 0`},
		{`+1`, `read JSON: unexpected '+' at byte 0`},
		{`nul`, `read JSON: unexpected 'n' at byte 0`},
		{`"a`, `read JSON: text ends too early`},
		{`"\`, `read JSON: text ends too early`},
		{`"\x"`, `read JSON: unexpected 'x' at byte 2`},
		{`"\u12"`, `read JSON: text ends too early`},
		{`"\u12g4"`, `read JSON: unexpected 'u' at byte 2`},
		{"\"a\nb\"", `read JSON: unexpected '\n' at byte 2`},
		{"\ufeff{}", `read JSON: unexpected 'ï' at byte 0`},
		{strings.Repeat("[", 513) + strings.Repeat("]", 513), `read JSON: nested deeper than 512`},
	} {
		_, err := ParseJSON([]byte(tc.raw))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%.30s: %v, want %s", tc.raw, err, tc.want)
		}
	}
	if _, err := ParseJSON([]byte("[" + strings.Repeat("1,", maxNodes) + "1]")); err == nil {
		t.Error("an array over the limit was read")
	}
}

func TestValuesAreReadAsWritten(t *testing.T) {
	v := mustJSON(` { "a" : [ 1.50 , { "b" : null } , "x\ty\ud83d\ude00\ud800" ] , "\u0063" : true, "a" : 2 } `)
	var got []string
	v.Members(func(name string, m Value) bool {
		got = append(got, name+"="+m.Text())
		return true
	})
	if d := cmp.Diff([]string{`a=[1.50,{"b":null},"x\ty\ud83d\ude00\ud800"]`, "c=true", "a=2"}, got); d != "" {
		t.Errorf("members (-want +got)\n%s", d)
	}
	for _, tc := range []struct {
		path []string
		kind Kind
		want string
	}{
		{nil, KindObject, `{"a":[1.50,{"b":null},"x\ty\ud83d\ude00\ud800"],"\u0063":true,"a":2}`},
		{[]string{"a"}, KindArray, `[1.50,{"b":null},"x\ty\ud83d\ude00\ud800"]`},
		{[]string{"a", "0"}, KindNumber, "1.50"},
		{[]string{"a", "1", "b"}, KindNull, "null"},
		{[]string{"a", "2"}, KindString, "x\ty😀\ufffd"},
		{[]string{"c"}, KindBool, "true"},
		{[]string{"a", "3"}, KindMissing, ""},
		{[]string{"a", "x"}, KindMissing, ""},
		{[]string{"none"}, KindMissing, ""},
	} {
		got := v.Get(tc.path...)
		if got.Kind() != tc.kind || got.Text() != tc.want {
			t.Errorf("%v: %v %s, want %v %s", tc.path, got.Kind(), got.Text(), tc.kind, tc.want)
		}
	}
	with := v.With("_headers", mustJSON(`{":status":404}`)).With("a", Null())
	if got, want := with.Text(), `{"c":true,"_headers":{":status":404},"a":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	g, err := FromGo(map[string]any{"z": []any{1, 2.5, 1e6, "s", nil, true, json.Number("1.50")}, "a": map[string]string{"k": "v"}})
	if got, want := g.Text(), `{"a":{"k":"v"},"z":[1,2.5,1000000,"s",null,true,1.50]}`; err != nil || got != want {
		t.Errorf("got %s, want %s; %v", got, want, err)
	}
}

// What encoding/json takes we take, but for depth, and with the same meaning; what it refuses we refuse.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{sample, `[]`, `{"a":{}}`, `"\ud83d\ude00"`, `-0.5e+10`, `[[[[]]]]`, ` null `, `{"a":1,"a":2}`, "[\"\xff\"]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := ParseJSON(raw)
		if valid := json.Valid(raw); valid != (err == nil) {
			if err != nil && strings.Contains(err.Error(), "deeper") {
				return
			}
			t.Fatalf("%q: %v, but valid %v", raw, err, valid)
		}
		if err != nil {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, raw); err != nil {
			t.Fatal(err)
		}
		if got := v.AppendJSON(nil); utf8.Valid(raw) && !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("got %s, want %s", got, want.Bytes())
		}
		if v.Kind() == KindString && utf8.Valid(raw) {
			var s string
			if err := json.Unmarshal(raw, &s); err != nil || s != v.Text() {
				t.Fatalf("got %q, want %q", v.Text(), s)
			}
		}
	})
}

func TestNumbersAreComparedExactly(t *testing.T) {
	ordered := []string{"-1e400", "-12345678901234567891", "-12345678901234567890", "-10", "-9.99", "-1e-400", "0", "1e-400", "0.001", "0.01",
		"0.011", "0.1", "1", "1.5", "9", "10", "10.01", "99", "1e2", "100.1", "12345678901234567890", "12345678901234567891", "1e400", "1e99999999999999999999"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := compareNumbers(a, b), i-j; (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	for _, same := range [][2]string{{"1", "1.0"}, {"1e2", "100"}, {"100e-2", "1"}, {"0", "-0"}, {"0.0", "0e9"}, {"1.50", "15e-1"}, {"0.001e3", "1"}} {
		if compareNumbers(same[0], same[1]) != 0 {
			t.Errorf("%s is not %s", same[0], same[1])
		}
	}
}
