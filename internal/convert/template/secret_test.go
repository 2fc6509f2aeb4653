package template

import (
	"slices"
	"strings"
	"testing"
)

// holding is a config whose key and list hold credentials.
func holding(path []string) Holding {
	switch strings.Join(path, ".") {
	case "", "config", "config.o":
		return HoldsInside
	case "config.key", "config.o.key", "config.list", "config.doc", "config.doc.token":
		return HoldsSecret
	}
	return HoldsNone
}

func secretData() Value {
	key := Secret(SecretPart{Text: "K "}, SecretPart{Ref: "credential:petstore/key"})
	return Object(Member{"config", Object(Member{"key", key}, Member{"o", Object(Member{"key", key}, Member{"plain", String("p")})},
		Member{"list", Array(key)}, Member{"doc", Secret(SecretPart{Ref: "nacos.key/credentials"})}, Member{"plain", String("p")})},
		Member{"args", mustJSON(`{"x":"x","n":1}`).Tainted()})
}

// What authors may do with a credential, and what it prints.
func TestCredentialsArePrinted(t *testing.T) {
	for _, tc := range []struct {
		mode       Mode
		text, want string
	}{
		{Text, `{{.config.key}}`, `K k3y`},
		{Header, `Bearer {{.config.key}} {{$.config.plain}}`, `Bearer K k3y p`},
		{Text, `{{.config.key | b64enc}} {{b64enc .config.doc.token}}`, `SyBrM3k= czNjcmV0`},
		{Text, `{{.config.doc.token}} {{index .config.doc "token"}} {{index .config "key"}} {{gjson "config.key"}} {{.config.doc.hosts}}`, `s3cret s3cret K k3y K k3y ["a"]`},
		{Text, `{{with .config}}{{.key}}{{.plain}}{{end}} {{$k := .config.key}}{{$k}} {{with .config.o}}{{.key}}{{if .plain}}!{{end}}{{end}}`, `K k3yp K k3y K k3y!`},
		{Text, `{{if .config.plain}}{{.config.key}}{{else}}-{{end}}{{if .args.x}}${credential:petstore/key}{{end}}`, `K k3yk3y`},
		{Text, `{{define "x"}}<{{.config.key}}>{{end}}{{template "x" .}}`, `<K k3y>`},
		{Text, `{{upper .config.plain}} {{toJson .args}}`, `P {"x":"x","n":1}`},
		{JSONBody, `{"a": "{{.config.key}}", "b": {{.config.key}}, "c": {{.config.doc}}, "d": {{.config.doc.none}}}`,
			`{"a": "K k3y", "b": "K k3y", "c": {"token":"s3cret","hosts":["a"]}, "d": null}`},
		{URL, `/x?k={{.config.key}}&i=${credential:petstore/id}`, `/x?k=K%20k3y&i=i%2Fd`},
		{URL, `/x/${credential:petstore/id}/y`, `/x/i%2Fd/y`},
		{Form, `k={{.config.key}}`, `k=K%20k3y`},
	} {
		if got := run(t, Options{Mode: tc.mode, Holding: holding}, tc.text, secretData()); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

// What authors may not do is rejected when the template is compiled, and where the compiler cannot see it, fails when it
// runs: without Options.Holding it sees none of what stands in config. Neither shows a byte of the credential.
// Seen red, line by line, with HoldsNone for all; and in the second run with the checks of KindSecret taken out of exec.go,
// functions.go and govalue.go in turn.
func TestCredentialsAreNeverAskedAbout(t *testing.T) {
	const uses = "a credential can only be printed, joined to the text around it, selected from (.field) or piped to b64enc"
	for _, tc := range []struct{ text, want string }{
		{`{{fail %s}}`, `function "fail" over a credential`},
		{`{{%s | upper}}`, `function "upper" over a credential`},
		{`{{if %s}}a{{end}}`, `condition over a credential`},
		{`{{if .args.none}}{{else if %s}}a{{end}}`, `condition over a credential`},
		{`{{with %s}}a{{end}}`, `condition over a credential`},
		{`{{range %s}}a{{end}}`, `range over a credential`},
		{`{{and %s 1}}`, `function "and" over a credential`},
		{`{{or .args.none %s}}`, `function "or" over a credential`},
		{`{{eq %s "a"}}`, `function "eq" over a credential`},
		{`{{eq "a" %s}}`, `function "eq" over a credential`},
		{`{{eq (list %s) (list "a")}}`, `function "list" over a credential`},
		{`{{default "a" %s}}`, `function "default" over a credential`},
		{`{{ternary "a" "b" %s}}`, `function "ternary" over a credential`},
		{`{{index .args %s}}`, `function "index" over a credential`},
		{`{{index (list 1 2) %s}}`, `function "index" over a credential`},
		{`{{hasPrefix "s" %s}}`, `function "hasPrefix" over a credential`},
		{`{{len %s}}`, `function "len" over a credential`},
		{`{{not %s}}`, `function "not" over a credential`},
		{`{{empty %s}}`, `function "empty" over a credential`},
		{`{{substr 0 1 %s}}`, `function "substr" over a credential`},
		{`{{print "Bearer " %s}}`, `function "print" over a credential: ` + uses + `; write the text around it`},
		{`{{%s | urlquery}}`, `function "urlquery" over a credential: ` + uses + `; in a query it is escaped without it`},
		{`{{%s | b64enc | upper}}`, `function "upper" over a credential`},
		{`{{%s | b64enc | b64enc}}`, `function "b64enc" over a credential`},
		{`{{$x := %s}}{{if $x}}a{{end}}`, `condition over a credential`},
		{`{{$x := 1}}{{$x = %s}}{{$x}}`, `assignment over a credential`},
		{`{{template "x" %s}}{{define "x"}}{{if .}}a{{end}}{{end}}`, `template over a credential`},
		{`{{gjson %s}}`, `function "gjson" over a credential`},
		{`{{dict "a" %s}}`, `function "dict" over a credential`},
		{`{{toDecimal %s}}`, `function "toDecimal" over a credential`},
		{`{{(%s).Format "a"}}`, `function "Format" over a credential`},
		{`{{index %s .args.x}}`, `function "index" over a credential`},
	} {
		for _, secret := range []string{"${credential:petstore/key}", "${nacos.key/credentials}.token", ".config.key", "$.config.o.key", "(index .config \"key\")", "(gjson \"config.key\")"} {
			text := strings.ReplaceAll(tc.text, "%s", secret)
			got := run(t, Options{Holding: holding}, text, secretData())
			if !strings.HasPrefix(got, "parse: ") || !strings.Contains(got, tc.want) || !strings.Contains(got, uses) {
				t.Errorf("%s\n got %s\nwant %s", text, got, tc.want)
			}
			got = run(t, Options{}, text, secretData())
			allowed := []string{`{{$x := 1}}{{$x = %s}}{{$x}}`} // prints it
			if !strings.Contains(got, uses) && !strings.Contains(got, "range over a credential") && !slices.Contains(allowed, tc.text) || strings.Contains(got, "k3y") && !slices.Contains(allowed, tc.text) {
				t.Errorf("at run time: %s\n got %s", text, got)
			}
		}
	}
	for _, tc := range []struct{ text, want string }{
		{`{{.config}}`, `there are credentials within this value`},
		{`{{.}}`, `there are credentials within this value`},
		{`{{toJson .config}}`, `function "toJson" over a value with credentials in it`},
		{`{{range .config}}{{.}}{{end}}`, `range over a credential`},
		{`{{range $k, $v := .config.o}}{{if $v}}{{end}}{{end}}`, `range over a credential`},
		{`{{define "x"}}{{toJson .}}{{end}}{{template "x" .}}`, uses},
		{`{{define "x"}}{{.}}{{end}}{{template "x" .config}}`, uses},
		{`{{define "x"}}{{eq .config.o .config.o}}{{end}}{{template "x" .}}`, uses},
		{`{{gjson (print "config" ".key") | upper}}`, uses},
		{`{{gjson (print "config" ".o.@tostr")}}`, uses},
		{`{{gjson (print "config" ".list.#(%\"K*\")#")}}`, `[]`},
		{`{{gjson (print "config" ".list.#(=~true)#")}}`, `[]`},
		{`{{gjson (print "config" ".list.@flatten") | join ","}}`, uses},
	} {
		if got := run(t, Options{Holding: holding}, tc.text, secretData()); !strings.Contains(got, tc.want) || strings.Contains(got, "k3y") {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestCredentialsStayOutOfURLs(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`/x/{{.config.key}}`, `a credential stands in the URL's path: only one whose document says "path: true" may`},
		{`/{{.config.doc.token}}`, `a credential stands in the URL's path`},
		{`https://h/a/${credential:petstore/id}${credential:petstore/key}`, `a credential stands in the URL's path`},
		{`https://${credential:petstore/id}/a`, `a credential stands in the scheme, host or port of the URL`},
		{`${credential:petstore/id}://h/a`, `a credential stands in the scheme, host or port of the URL`},
		{`{{.config.key}}`, `a credential stands in the scheme, host or port of the URL`},
		{`//${credential:petstore/id}`, `a credential stands in the scheme, host or port of the URL`},
	} {
		if got := run(t, Options{Mode: URL, Holding: holding}, tc.text, secretData()); !strings.Contains(got, tc.want) || strings.Contains(got, "k3y") {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

// In Go code a credential is opaque, too.
func TestCredentialsPrintAsAMask(t *testing.T) {
	v := Secret(SecretPart{Text: "a"}, SecretPart{Ref: "credential:x/y"})
	for _, got := range []string{v.Text(), string(v.AppendJSON(nil)), string(v.AppendText(nil)), Array(v).Text(), v.Get("a").Text(), v.goString()} {
		if strings.Contains(got, "credential") {
			t.Errorf("got %s", got)
		}
	}
}
