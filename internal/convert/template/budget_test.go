package template

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

// Each of these would run for hours or fill the machine without the budget. Seen to fail (by the test's timeout or its
// memory) with charge and grow returning nil at once.
func TestA33_HostileTemplatesAreStopped(t *testing.T) {
	data := mustJSON(fmt.Sprintf(`{"big":%q,"l":[%s1],"n":9000000000000000000,"wide":{%s"last":1}}`,
		strings.Repeat("x ", 200_000), strings.Repeat("1,", 100_000), wide(20_000)))
	for _, text := range []string{
		`{{range 9000000000000000000}}{{end}}`,
		`{{range .n}}x{{end}}`,
		`{{range .l}}{{range $.l}}{{end}}{{end}}`,
		`{{range .l}}{{range $.l}}{{$.wide.last}}{{end}}{{end}}`,
		`{{define "x"}}{{template "x" .}}{{end}}{{template "x" .}}`,
		`{{define "x"}}{{template "x" .}}{{template "x" .}}{{end}}{{template "x" .}}`,
		`{{$x := "ab"}}{{range 100}}{{$x = print $x $x}}{{end}}`,
		`{{$x := "ab"}}{{range 100}}{{$x = printf "%[1]s%[1]s" $x}}{{end}}`,
		`{{$x := "ab"}}{{range 100}}{{$x = replace "a" $x $x}}{{end}}`,
		`{{$x := "ab"}}{{range 100}}{{$x = join $x (list $x $x $x)}}{{end}}`,
		`{{$x := "ab"}}{{range 100}}{{$x = regexReplaceAll "." $x "$0$0$0"}}{{end}}`,
		`{{$x := list 1}}{{range 100}}{{$x = concat $x $x}}{{end}}`,
		`{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{$x}}`,
		`{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{eq $x $x}}`,
		`{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{len $x}}`,
		`{{$x := dict}}{{range 100}}{{$x = dict "a" $x "b" $x}}{{end}}{{kindOf $x}}{{len $x}}`,
		`{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{join "," $x}}`,
		`{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{title $x}}`,
		`{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{shuffle $x}}`,
		`{{$d := dict}}{{$_ := set $d "a" $d}}{{$_ = set $d "b" $d}}{{$d}}`,
		`{{$d := dict}}{{$_ := set $d "a" $d}}{{$_ = set $d "b" $d}}{{toJson $d}}`,
		`{{$d := dict}}{{$_ := set $d "a" $d}}{{$_ = set $d "b" $d}}{{eq $d (dict "a" $d "b" $d)}}`,
		`{{$d := dict "x" (dict)}}{{range $i, $_ := until 1000000}}{{$_ := set $d (print $i) $i}}{{end}}`,
		`{{repeat 1000000000 "x"}}`,
		`{{repeat 1000000000000000000 "x"}}`,
		`{{until 1000000000}}`,
		`{{untilStep -9000000000000000000 9000000000000000000 1}}`,
		`{{seq 1000000000}}`,
		`{{indent 100000000 "x"}}`,
		`{{indent 100000 (replace " " "\n" .big)}}`,
		`{{range .l}}{{range $.l}}{{printf "%4000d" 1}}{{end}}{{end}}`,
		`{{range .l}}{{upper $.big}}{{end}}`,
		`{{range .l}}{{regexMatch "(x ?){900}y" $.big}}{{end}}`,
		`{{range .l}}{{regexFindAll "." $.big -1}}{{end}}`,
		`{{range .l}}{{gjson "big"}}{{end}}`,
		`{{gjson "[@this,@this,@this,@this]|[@this,@this,@this,@this]|[@this,@this,@this,@this]|[@this,@this,@this,@this]"}}`,
		`{{range .l}}{{gjson "l.#(>5)#"}}{{end}}`,
		`{{range .l}}{{range $.l}}{{$_ := dateInZone "2006" now "Nowhere/Land"}}{{end}}{{end}}`,
		`{{range .l}}{{range $.l}}{{$_ := mulf 1.5e300 1.5e-300 3.3 4.4 5.5}}{{end}}{{end}}`,
		`{{range .l}}{{$_ := wrapWith 1 (repeat 2000 "a") (repeat 2000 "b")}}{{end}}`,
		`{{gjson (print "wide" (repeat 100 "|@tostr"))}}`,
		`{{range .l}}{{toJson $}}{{end}}`,
		`{{range .l}}{{$}}{{end}}`,
		`{{range .l}}{{$x := fromJson "[1,2,3]"}}{{$y := sortAlpha $.l}}{{end}}`,
		`{{range .l}}{{uniq $.l}}{{end}}`,
		`{{$x := "1"}}{{range 100000}}{{$x = mul $x 10}}{{end}}`,
		`{{$x := .big}}{{range .l}}{{$x = splitList " " $.big}}{{end}}`,
		`{{range .l}}{{bad_unknown_is_a_parse_error}}{{end}}`,
	} {
		tmpl, err := Parse("x", text, Options{})
		if err != nil {
			if !strings.Contains(text, "unknown") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		out, err := tmpl.Execute(nil, data, Env{}, Budget{Steps: 1_000_000, Output: 1 << 20})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: ran through with %d bytes", text, len(out))
		} else if !errors.Is(err, ErrBudget) && !strings.Contains(err.Error(), "range") && !strings.Contains(err.Error(), "nested") && !strings.Contains(err.Error(), "arguments over") {
			t.Errorf("%s: %v", text, err)
		}
		if len(out) != 0 {
			t.Errorf("%s: an error with output", text)
		}
		if took > 10*time.Second { // takes well under a second by itself
			t.Errorf("%s: took %v", text, took)
		}
		if made := after.TotalAlloc - before.TotalAlloc; made > 256<<20 && !bubble.Race {
			t.Errorf("%s: allocated %d MiB", text, made>>20)
		}
		t.Logf("%7.1fms %6d KiB %s: %v", float64(took.Microseconds())/1000, (after.TotalAlloc-before.TotalAlloc)>>10, text, err)
	}
}

func wide(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	return b.String()
}

func TestA33_HostileTextIsRefused(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{strings.Repeat("x", 10<<20), "x:1:1: template of 10485760 bytes is over the limit of 1048576"},
		{strings.Repeat("{{if .x}}", 100_000), "x:1:1801: blocks nested deeper than 200"},
		{"{{if .x}}" + strings.Repeat("{{else if .x}}", 70_000) + "{{end}}", "x:1:2796: blocks nested deeper than 200"},
		{"{{" + strings.Repeat("(", 9_000) + "1" + strings.Repeat(")", 9_000) + "}}", "x:1:203: expression nested deeper than 200"},
		{"{{1" + strings.Repeat("|print", 100_000) + "}}", "x:1:3: pipeline longer than 200"},
		{strings.Repeat("{{", 500_000), ""},
		{strings.Repeat("{{.a}}", 170_000) + "\n{{.a.0}}", `x:2:1: unexpected ".0" in operand (for an array position use index, as in {{index .list 0}}, or gjson)`},
		{strings.Repeat("${nacos.a/b}", 80_000), ""},
		{strings.Repeat(`{{"`, 300_000), ""},
	} {
		start := time.Now()
		_, err := Parse("x", tc.text, Options{})
		if tc.want != "" && (err == nil || err.Error() != tc.want) {
			t.Errorf("%.20s…: %v\nwant %s", tc.text, err, tc.want)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%.20s…: took %v", tc.text, took)
		} else {
			t.Logf("%7.1fms %.20s…: %v", float64(took.Microseconds())/1000, tc.text, err)
		}
	}
}

// Depth is a limit of its own: with steps alone a template that calls itself would use up the stack first.
func TestA33_RecursionIsStoppedByDepth(t *testing.T) {
	tmpl, err := Parse("x", `{{define "x"}}{{add 1 .}} {{if lt . 1000}}{{template "x" (add 1 .)}}{{end}}{{end}}{{template "x" 0}}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Execute(nil, Null(), Env{}, Budget{}); !errors.Is(err, errDepth) {
		t.Errorf("error %v, want %v", err, errDepth)
	}
	if _, err := tmpl.Execute(nil, Null(), Env{}, Budget{Depth: 1001}); err != nil {
		t.Errorf("within the depth: %v", err)
	}
}

// A small budget holds exactly: what fits passes, one more byte does not.
func TestOutputBudgetCountsOwnBytesOnly(t *testing.T) {
	for mode := Text; mode <= Header; mode++ {
		tmpl, err := Parse("x", `/ab{{.args.x}}`, Options{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		data := request(`{}`, `{"x":5}`)
		prefix := []byte("before")
		if out, err := tmpl.Execute(prefix, data, Env{}, Budget{Output: 4}); err != nil || string(out) != "before/ab5" {
			t.Errorf("mode %d: %q, %v", mode, out, err)
		}
		if out, err := tmpl.Execute(prefix, data, Env{}, Budget{Output: 3}); !errors.Is(err, ErrBudget) || string(out) != "before" {
			t.Errorf("mode %d: %q, %v", mode, out, err)
		}
	}
}
