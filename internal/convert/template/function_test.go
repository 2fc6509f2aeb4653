package template

import (
	"testing"
)

func TestFunctionsWorkOnJSONValues(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		// builtins
		{`{{and .n .s}} {{and .z .s}} {{or .z .s}} {{or .z .e .nul}} {{not .z}}`, `text 0 text null true`},
		{`{{eq .n 4.0}} {{eq .n "4"}} {{eq .n "5"}} {{eq .s "text"}} {{eq .s "a" "text"}} {{eq .none nil}} {{eq .nul nil}} {{eq .l .l}} {{eq .o .eo}}`, `true true false true true true true true false`},
		{`{{eq .big 12345678901234567890}} {{eq .big 12345678901234567891}} {{ne .n 4}} {{eq .exp 1000000}} {{eq .zf 0}}`, `true false false true true`},
		{`{{lt .n 5}} {{le .n 4}} {{gt .n 4}} {{ge .n 4}} {{lt .price 1.6}} {{lt .neg 0}} {{gt .big 12345678901234567889}} {{lt "a" "b"}} {{gt .n "3"}}`, `true true false true true true true true true`},
		{`{{lt .none 5}}{{gt .none 5}}{{gt .nul 0}}`, `falsefalsefalse`},
		{`{{gt .l 3}}`, `run: tool get_pet:1:3: gt: an array and a number have no order`},
		{`{{len .s}} {{len .o}} {{len .none}} {{len .esc}}`, `4 3 0 12`},
		{`{{index .l 9}}{{index .l -1}}{{index .o "none"}}{{index .none 1}} {{index .o "a" 1}} {{(index .arr 0).n}} {{index .l "1"}}`, ` x y three 7`},
		{`{{slice .l 1}} {{slice .l 1 2}} {{slice .s 1 3}} {{slice .l 5 9}}`, `[7,12] [7] ex []`},
		{`{{print .n .s .l}} {{print .n .n}} {{println .s .n}}`, "4text[3,7,12] 4 4 text 4\n"},
		{`{{printf "%s|%d|%v|%5.2f|%05d|%q|%t|%x" .s .n .price .price .n .s .yes .n}}`, `text|4|1.50| 1.50|00004|"text"|true|4`},
		{`{{printf "%v %+v %s" .o .l .big}}`, `{"b":1,"a":[1.0,"x y"],"c":{"d":null}} [3,7,12] 12345678901234567890`},
		{`{{html "<a>"}} {{js "a'b"}} {{urlquery "a b&"}}`, `&lt;a&gt; a\'b a+b%26`},
		// arithmetic
		{`{{add .n .n 1}} {{add1 .n}} {{sub .n 6}} {{mul .n 2 3}} {{div 7 2}} {{mod 7 4}} {{max 1 .n 3}} {{min 1 .n}} {{add "3" .n}} {{add .none 1}} {{add 1.9 1}}`, `9 5 -2 24 3 3 4 1 7 1 2`},
		{`{{add .big 1}} {{mul .big .big}} {{sub 0 .big}} {{add 9223372036854775807 1}}`, `12345678901234567891 152415787532388367501905199875019052100 -12345678901234567890 9223372036854775808`},
		{`{{div 1 0}}`, `run: tool get_pet:1:3: div: the result is out of range`},
		{`{{add .s 1}}`, `run: tool get_pet:1:3: add: a string is no number`},
		{`{{addf 1.5 .price}} {{mulf .price 2}} {{divf 1 4}} {{round .price 1}} {{floor .price}} {{ceil .price}} {{int .price}} {{float64 .exp}} {{toString .million}}`, `3 3 0.25 1.5 1 2 1 1000000 1000000`},
		{`{{atoi "42"}} {{int64 "42"}} {{until 3}} {{seq 1 2 7}} {{seq 3}} {{untilStep 0 10 4}}`, `42 42 [0,1,2] 1 3 5 7 1 2 3 [0,4,8]`},
		// choice
		{`{{default "d" .e}} {{default "d" .z}} {{.none | default "d"}} {{default "d" .s}} {{coalesce .none .e .n}} {{ternary "y" "n" .yes}} {{.no | ternary "y" "n"}}`, `d d d text 4 y n`},
		{`{{if empty .none}}e{{end}}{{if empty .z}}e{{end}}{{if not (empty .s)}}f{{end}} {{all .n .s}} {{any .z .e}}`, `eef true false`},
		{`{{kindOf .l}} {{kindIs "map" .o}} {{typeOf .s}} {{kindOf .none}}`, `slice true string invalid`},
		// text
		{`{{upper .s}} {{.s | title}} {{trunc 2 .s}} {{substr 1 3 .s}} {{repeat 3 "ab"}} {{replace "t" "T" .s}} {{trim "  x "}} {{trimPrefix "te" .s}} {{nospace "a b"}}`, `TEXT Text te ex ababab TexT x xt ab`},
		{`{{contains "ex" .s}} {{hasPrefix "te" .s}} {{hasSuffix "x" .s}} {{quote .s .n}} {{squote .s}} {{cat .s .n .none}} {{indent 2 "a\nb"}}`, "true true false \"text\" \"4\" 'text' text 4   a\n  b"},
		{`{{snakecase "FirstName"}} {{camelcase "first_name"}} {{abbrev 5 "abcdefgh"}} {{plural "pet" "pets" .n}} {{wrap 3 "ab cd"}}`, "first_name FirstName ab... pets ab\ncd"},
		{`{{b64enc .s}} {{b64enc .s | b64dec}} {{sha256sum "a" | trunc 8}} {{b64enc .n}}`, `dGV4dA== text ca978112 NA==`},
		{`{{regexMatch "^t.x" .s}} {{regexReplaceAll "(t)e" .s "${1}E"}} {{regexFind "[ex]+" .s}} {{regexFindAll "." .s 2}} {{regexSplit "," "a,b" -1}}`, `true tExt ex ["t","e"] ["a","b"]`},
		{`{{trunc 3 "é€"}}`, `é`},
		// lists
		{`{{join "," .words}} {{.words | join ","}} {{.words | join ','}} {{join .words ", "}} {{join "," .none}} {{join "-" .o.a}}`, `x,y,z x,y,z x,y,z x, y, z  1.0-x y`},
		{`{{first .l}} {{last .l}} {{rest .l}} {{initial .l}} {{reverse .l}} {{append .l 1}} {{prepend .l 1}} {{concat .l .words}} {{uniq (list 1 1.0 "a")}} {{without .l 7}} {{has 7 .l}} {{compact (list 0 1 "")}} {{chunk 2 .l}}`,
			`3 12 [7,12] [3,7] [12,7,3] [3,7,12,1] [1,3,7,12] [3,7,12,"x","y","z"] [1,"a"] [3,12] true [1] [[3,7],[12]]`},
		{`{{sortAlpha (list "b" "a")}} {{splitList "," "a,b"}} {{(split "," "a,b")._1}} {{toStrings .l}} {{len (list)}} {{first .none}}`, `["a","b"] ["a","b"] b ["3","7","12"] 0 `},
		// objects
		{`{{dict "b" 1 "a" .price}} {{keys .o}} {{values .o.c}} {{hasKey .o "b"}} {{get .o "b"}} {{pick .o "b"}} {{omit .o "a" "c"}} {{dig "c" "x" "none" .o}} {{pluck "n" (index .arr 0) (index .arr 1)}}`,
			`{"b":1,"a":1.50} ["b","a","c"] [null] true 1 {"b":1} {"b":1} none ["three","seven"]`},
		{`{{$d := dict "a" 1}}{{$_ := set $d "b" 2}}{{$d}} {{merge $d (dict "a" 9 "c" (dict "x" 1))}} {{mergeOverwrite $d (dict "a" 9)}} {{unset $d "a"}}`,
			`{"a":1,"b":2} {"a":1,"b":2,"c":{"x":1}} {"a":9,"b":2,"c":{"x":1}} {"b":2,"c":{"x":1}}`},
		{`{{set .o "b" 2}} {{.o.b}}`, `{"b":2,"a":[1.0,"x y"],"c":{"d":null}} 1`},
		// JSON
		{`{{(fromJson "{\"a\":1.50}").a}} {{fromJson "nonsense"}} {{toPrettyJson .o.c}} {{toRawJson "<&>"}}`, "1.50  {\n  \"d\": null\n} \"<&>\""},
		{`{{(mustFromJson "x").a}}`, `run: tool get_pet:1:4: mustFromJson: its argument is no JSON`},
		// dates
		{`{{now | date "2006"}} {{dateInZone "20060102" now "Asia/Shanghai"}} {{dateInZone "15:04" now .none}} {{dateInZone "2006" 0 "UTC"}} {{dateInZone "15:04" "2026-01-02T03:04:05Z" "UTC"}}`, `2026 20261124 20:30 1970 03:04`},
		{`{{now.Year}} {{now.Unix}} {{(now).Format "Jan"}} {{unixEpoch now}} {{dateInZone "15" (dateModify "-1h" now) "UTC"}} {{(now.AddDate 0 0 1).Day}} {{(toDate "2006-01-02" "2026-05-06").Month}}`, `2026 1795465800 Nov 1795465800 19 24 May`},
		{`{{date "2006" "gibberish"}}`, `run: tool get_pet:1:3: date: not a time: give a number of seconds, RFC 3339 text or the result of now or toDate`},
		// others of sprig
		{`{{semverCompare "^1.2.0" "1.3.0"}} {{(urlParse "http://a/b?c").host}} {{base "a/b.c"}} {{ext "b.c"}} {{len uuidv4}} {{len (randAlphaNum 5)}} {{getRealIP}}`, `true a b.c .c 36 5 203.0.113.7`},
		{`{{fail "no such pet"}}`, `run: tool get_pet:1:3: fail: no such pet`},
		{`{{semver "not a version"}}`, `run: tool get_pet:1:3: semver: it cannot work on its arguments`},
	} {
		if got := run(t, Options{}, tc.text, mustJSON(sample)); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestGrammarIsThatOfGoTemplates(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`{{define "x"}}<{{.}}>{{end}}{{template "x" .n}}{{template "x"}}{{block "y" .s}}[{{.}}]{{end}}`, `<4><>[text]`},
		{`{{range .l}}{{if eq . 7}}{{continue}}{{end}}{{.}}{{if eq . 12}}{{break}}{{end}},{{end}}`, `3,12`},
		{`{{range $i := .l}}{{$i}}{{end}} {{range 3}}{{.}}{{end}} {{range $i := 2}}{{$i}}{{end}} {{range .n}}x{{end}} {{range 0}}x{{else}}none{{end}}`, `3712 012 01 xxxx none`},
		{`{{with .o}}{{.b}}{{$.n}}{{else}}x{{end}}{{with .none}}x{{else with .s}}{{.}}{{else}}y{{end}}`, `14text`},
		{`{{$x := 1}}{{range .l}}{{$x = add $x .}}{{end}}{{$x}} {{if $y := .s}}{{$y}}{{end}}`, `23 text`},
		{`{{if .z}}a{{else if .n}}b{{else}}c{{end}}`, `b`},
		{"a \n {{- .n -}} \n b {{/* comment */}}c", `a4b c`},
		{"{{`raw`}} {{\"q\\\"\"}} {{'x'}} {{0x10}} {{1_000}} {{true}} {{1.5}} {{1e3}}", `raw q" x 16 1000 true 1.5 1e3`},
		{`{{(index .weather0).description}}{{if not $.n.last}}ok{{end}}{{$.args.city}}`, `ok`},
		{`{{range $k, $v := .o}}{{if eq $k "a"}}{{range $i, $w := $v}}{{$k}}{{$i}}{{$w}} {{end}}{{end}}{{end}}`, `a01.0 a1x y `},
		{`{{.esc}} {{gjson "esc"}}`, "tab\tquote\"é tab\tquote\"é"},
		{`{{range .s}}x{{end}}`, `run: tool get_pet:1:9: range over a string`},
		{`{{.n | .s}}`, `parse: tool get_pet:1:8: .s is no function: nothing can be piped into it`},
		{`{{.n 1}}`, `parse: tool get_pet:1:3: .n is no function and takes no argument`},
		{`{{jion "," .l}}`, `parse: tool get_pet:1:3: function "jion" not defined (did you mean "join"?)`},
		{"line\n  {{.l | tojson}}", `parse: tool get_pet:2:10: function "tojson" not defined (did you mean "toJson"?)`},
		{`{{env "HOME"}}`, `parse: tool get_pet:1:3: function "env" not available: templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it`},
		{`{{genPrivateKey "rsa"}}`, `parse: tool get_pet:1:3: function "genPrivateKey" not available: templates make no keys or password hashes`},
		{`{{trunc 1}}`, `parse: tool get_pet:1:3: function "trunc" takes 2 arguments, not 1`},
		{`{{template "no"}}`, `parse: tool get_pet:1:12: template "no" not defined`},
		{"{{if .n}}\nx", `parse: tool get_pet:1:1: {{if}} has no {{end}}`},
		{"a{{end}}", `parse: tool get_pet:1:2: unexpected {{end}}`},
		{"a\nb {{.n", `parse: tool get_pet:2:3: unclosed action`},
		{`{{$x}}`, `parse: tool get_pet:1:3: undefined variable "$x"`},
		{`{{break}}`, `parse: tool get_pet:1:1: {{break}} outside {{range}}`},
		{`{{regexMatch "(" .s}}`, `parse: tool get_pet:1:14: not a regular expression: missing closing )`},
	} {
		if got := run(t, Options{}, tc.text, mustJSON(sample)); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}
