package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// standard is what encoding/json writes.
func standard(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func check(t *testing.T, s string) {
	t.Helper()
	want := standard(t, s)
	if got := AppendString([]byte("before "), s); string(got) != "before "+want {
		t.Fatalf("string %q: got %s, want %s", s, got, want)
	}
	if got := AppendString(nil, []byte(s)); string(got) != want {
		t.Fatalf("bytes %q: got %s, want %s", s, got, want)
	}
	if got := AppendEscaped(nil, s); string(got) != want[1:len(want)-1] {
		t.Fatalf("escaped %q: got %s, want %s", s, got, want)
	}
}

// TestEveryByteInEveryPlace: alone, and on each side of the blocks of eight that are looked at at once.
func TestEveryByteInEveryPlace(t *testing.T) {
	check(t, "")
	for c := range 256 {
		for before := range 18 {
			for _, after := range []int{0, 1, 7, 8, 9} {
				check(t, strings.Repeat("a", before)+string([]byte{byte(c)})+strings.Repeat("z", after))
			}
		}
	}
	for _, s := range []string{"é", "\u2028", "\u2029", "\u2027", "😀", "\ufffd", "\xe2\x80", "\xed\xa0\x80", "<&>", "\x7f"} {
		for before := range 10 {
			check(t, strings.Repeat("a", before)+s+s+"z")
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"plain", "with \"quotes\" and \\", "line\nline\r\n\ttab", "\x00\x1f\x7f\x80\xff", "grüße \u2028 <b>", "\xf0\x9f\x98"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { check(t, s) })
}

func TestAppendStringDoesNotAllocate(t *testing.T) {
	s, dst := "some \"text\" that is \xff odd\n", make([]byte, 0, 200)
	b := []byte(s)
	if n := testing.AllocsPerRun(100, func() { dst = AppendString(AppendString(dst[:0], s), b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
