package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNameOf(t *testing.T) {
	long := strings.Repeat("n", 128)
	cases := []struct {
		dataID, name string
		ok           bool
	}{
		{"petstore.yaml", "petstore", true}, {"petstore.yml", "petstore", true}, {"petstore.json", "petstore", true},
		{"a.b_c-1.yaml", "a.b_c-1", true}, {long + ".yaml", long, true},
		{long + "n.yaml", "", false}, {"petstore", "", false}, {".yaml", "", false}, {"pet store.yaml", "", false},
		{"../x.yaml", "", false}, {"a\n.yaml", "", false}, {"é.yaml", "", false}, {"a@1.yaml", "", false},
	}
	for _, c := range cases {
		name, ok := NameOf(c.dataID)
		if ok != c.ok || ok && name != c.name {
			t.Errorf("NameOf(%q) = %q, %v, want %q, %v", c.dataID, name, ok, c.name, c.ok)
		}
	}
}

func TestDocumentsThatAreNoText(t *testing.T) {
	cases := []struct{ name, dataID, content, want string }{
		{"empty", "a.yaml", "", "proxy-grants/a.yaml: document is empty"},
		{"blanks", "a.json", " \n\t", "proxy-grants/a.json: document is empty"},
		{"BOM alone", "a.yaml", "\xef\xbb\xbf", "proxy-grants/a.yaml: document is empty"},
		{"invalid UTF-8", "a.yaml", "auth: required\nconsumers: [\xff]\n", "proxy-grants/a.yaml:2: document is not UTF-8 text"},
		{"UTF-16", "a.yaml", "\xff\xfea\x00", "proxy-grants/a.yaml:1: document is not UTF-8 text"},
		{"NUL", "a.yaml", "auth: required\x00\n", "proxy-grants/a.yaml:1: malformed YAML: control characters are not allowed"},
		{"too large", "a.yaml", "auth: required\n#" + strings.Repeat("x", MaxDocument), fmt.Sprintf("proxy-grants/a.yaml: document is too large: %d bytes, at most 1048576 are taken", MaxDocument+16)},
		{"text", "a.yaml", "hello", "proxy-grants/a.yaml:1: document must be a mapping of fields, not a string"},
		{"deep", "a.yaml", "consumers: " + strings.Repeat("[", 200) + strings.Repeat("]", 200), "proxy-grants/a.yaml:1: values are nested deeper than 100 levels"},
		{"deep JSON", "a.json", `{"consumers": ` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}", "proxy-grants/a.json:1: values are nested deeper than 100 levels"},
		{"JSON and more", "a.json", "{}\n{}", "proxy-grants/a.json:2: malformed JSON: invalid character '{' after top-level value"},
		{"mapping as a name", "a.yaml", "{auth: required, {a: b}: c}", "proxy-grants/a.yaml:1: field name must be text, not a mapping"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g, found := ParseGrants(c.dataID, []byte(c.content))
			if g != nil {
				t.Errorf("taken: %+v", g)
			}
			if len(found) == 0 {
				t.Fatal("nothing is rejected")
			}
			if got := found[0].Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDocumentOfTheLargestSizeIsTaken(t *testing.T) {
	content := "auth: required\n#"
	content += strings.Repeat("x", MaxDocument-len(content))
	if g, found := ParseGrants("a.yaml", []byte(content)); g == nil {
		t.Error(found)
	}
}

func TestByteOrderMarkIsPassedOver(t *testing.T) {
	for _, content := range []string{"\xef\xbb\xbfauth: disabled\n", "\xef\xbb\xbf{\"auth\": \"disabled\"}"} {
		for _, dataID := range []string{"a.yaml", "a.json"} {
			g, found := ParseGrants(dataID, []byte(content))
			if isJSON := content[3] == '{'; dataID == "a.json" && !isJSON {
				continue
			}
			if g == nil || g.Auth != AuthDisabled {
				t.Errorf("%s: %q: %v %v", dataID, content, g, found)
			}
		}
	}
}

// JSON has escapes that YAML refuses, and names longer than YAML's 1024 characters.
func TestJSONIsReadAsJSON(t *testing.T) {
	name := strings.Repeat("n", 2000)
	doc := "{\r\n\t\"server\": {\"config\": {\"a\\/b\": \"\\ud83d\\ude00\", \"" + name + "\": 1}},\r\n\t\"tools\": [{\"name\": \"a\", \"responseTemplate\": {\"bdoy\": \"x\"}}, {\"name\": \"b\", \"responseTemplate\": {\"body\": \"x\"}}]}"
	for _, dataID := range []string{"a.json", "a.yaml"} {
		def, found := ParseService(dataID, []byte(doc))
		if def == nil {
			t.Fatal(found)
		}
		want := map[string]any{"a/b": "😀", name: json.Number("1")}
		if diff := cmp.Diff(want, def.Config); diff != "" {
			t.Errorf("%s: -want +got:\n%s", dataID, diff)
		}
		wanted := []Rejection{{Group: GroupServices, DataID: dataID, Tool: "a", Field: "responseTemplate.bdoy", Line: 3, Column: 47, Message: `unknown field "bdoy" (did you mean "body"?)`}}
		if diff := cmp.Diff(wanted, found); diff != "" {
			t.Errorf("%s: -want +got:\n%s", dataID, diff)
		}
	}
}

func TestNumbersKeepTheirSpelling(t *testing.T) {
	cases := []struct{ written, want string }{
		{"1.50", "1.50"}, {"1e6", "1e6"}, {"1E+2", "1E+2"}, {"-0", "-0"}, {"-0.0", "-0.0"}, {"12345678901234567890123", "12345678901234567890123"},
		{"0x1F", "31"}, {"0o17", "15"}, {"1_000", "1000"}, {"+7", "7"}, {".5", "0.5"}, {"1.", "1"}, {"0b11", "3"},
		{"true", "true"}, {"True", "true"}, {"~", "null"}, {"2026-11-23", `"2026-11-23"`}, {"1.2.3", `"1.2.3"`}, {`"1"`, `"1"`},
		{`"a\u0001\t\"\\é<"`, `"a\u0001\t\"\\é<"`}, {"{b: 1, a: [x, {}]}", `{"b":1,"a":["x",{}]}`},
	}
	for _, c := range cases {
		t.Run(c.written, func(t *testing.T) {
			def, found := ParseService("a.yaml", fmt.Appendf(nil, "tools: [{name: a, responseTemplate: {body: x}, args: [{name: n, enum: [%s]}]}]\n", c.written))
			if len(found) > 0 {
				t.Fatal(found)
			}
			want := `{"type":"object","properties":{"n":{"type":"string","enum":[` + c.want + `]}}}`
			if got := string(def.Tools[0].InputSchema); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if !json.Valid(def.Tools[0].InputSchema) {
				t.Error("not JSON")
			}
		})
	}
}

func TestFaultsAreListedUpToABound(t *testing.T) {
	doc := "auth: required\nconsumers:\n" + strings.Repeat("  - 7\n", 5000)
	g, found := ParseGrants("a.yaml", []byte(doc))
	if g != nil {
		t.Error("taken")
	}
	if len(found) != maxListed+1 {
		t.Fatalf("%d faults are listed, want %d and a last word", len(found), maxListed)
	}
	if got := found[maxListed].Message; got != "there are more faults: mend these first" {
		t.Errorf("last word: %q", got)
	}
	// A fault beyond those listed still rejects.
	doc = strings.Repeat("# x\n", 3) + "consumers: [a]\ntools: {a: [b]}\n"
	doc = "keys:\n" + strings.Repeat("  - {id: a, value: aaaaaaaaaaaaaaaaaaaaaaaaaa}\n", 200) + "enabled: maybe\n" + doc
	if c, _ := ParseConsumer("a.yaml", []byte(doc)); c != nil {
		t.Error("a document with faults beyond the listed ones is taken")
	}
}

// Of everything that may stand for a secret, nothing may come back in a message.
func TestMessagesHoldNoSecrets(t *testing.T) {
	const secret = "hunter2hunter2hunter2hunter2"
	const digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7"
	for _, value := range []string{secret, digest, "nmp_alice_" + secret} {
		shapes := []string{
			"keys: [{id: a, sha256: %s}]", "keys: [{id: a, value: [%s]}]", "keys: [{id: a, sha256: {%s: 1}}]", "keys: %s", "keys: [%s]",
			"keys: [{id: a, sha256: x%s}]", "keys: [{id: a, value: *%s}]", "keys: [{id: a, value: &%s}]", "keys: [{id: a, value: !%s x}]",
			"keys: [{id: a, value: %s, value: %[1]s}]", "keys: [{id: a, value: \"%s\\q\"}]", "keys: [{id: a, value: '%s}]", "keys: [{id: a, value: %s: %[1]s}]",
			"keys: [{id: a, notAfter: %s, value: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}]", "keys: [{id: a, enabled: %s}]", "values: {a: [%s]}", "values: %s",
			"{\"keys\": [{\"id\": \"a\", \"value\": %s}]}", "services: [a]\nhosts: [b]\nvalues: {a: {b: %s}}", "upstream: {url: \"https://u:%s@h/\"}", "upstream: {url: \"https://u:%s@h:x/%%zz\"}",
			"server: {securitySchemes: [{id: a, type: http, scheme: bearer, defaultCredential: [%s]}]}", "security: {id: a, credential: {%s: 1}}",
		}
		for _, shape := range shapes {
			content := fmt.Appendf(nil, shape, value)
			for _, dataID := range []string{"a.yaml", "a.json"} {
				var found []Rejection
				_, f1 := ParseConsumer(dataID, content)
				_, f2 := ParseCredentials(dataID, content)
				_, f3 := ParseService(dataID, content)
				_, f4 := ParseUpstream(dataID, content)
				for _, f := range append(append(append(append(found, f1...), f2...), f3...), f4...) {
					if strings.Contains(f.Error(), value) && !plainFieldName(shape, value) {
						t.Errorf("%q: message repeats the secret: %s", shape, f.Error())
					}
				}
			}
		}
	}
}

// TestNamesInACredentialDocumentAreQuotedNowhere: who takes the two columns for one another writes a secret as a name.
// Seen red with the names of unknown, doubled and invalid fields shown, and those of services.
func TestNamesInACredentialDocumentAreQuotedNowhere(t *testing.T) {
	const secret = "sk-live-hunter2"
	for _, shape := range []string{
		"values: {%s: }", "values: {%s: [a]}", "values: {%s: a, %[1]s: b}", "values: {'%s ': a}", "values: {%s: !x y}", "values:\n  ? [%s]\n  : a",
		"%s: a", "%s: a\n%[1]s: b", "<<: {%s: a}\nvalues: {a: b}", "services: ['%s /']", "services: [%s, %[1]s]", "hosts: ['%s /']",
		`{"%s": 1}`, `{"values": {"%s": 1, "%[1]s": 2}}`,
	} {
		content := "services: [a]\nhosts: [b]\n" + fmt.Sprintf(shape, secret)
		if strings.HasPrefix(shape, "{") || strings.HasPrefix(shape, "services") || strings.HasPrefix(shape, "hosts") {
			content = fmt.Sprintf(shape, secret)
		}
		_, found := ParseCredentials("a.yaml", []byte(content))
		if len(found) == 0 {
			t.Errorf("%q: no fault is found", shape)
		}
		for _, f := range found {
			if strings.Contains(f.Error(), secret) || f.Line == 0 {
				t.Errorf("%q: %s", shape, f.Error())
			}
		}
	}
	if _, found := ParseCredentials("a.yaml", []byte("services: [a]\nhosts: [b]\nvalues: {a: b}\nvalue: {c: d}\nhosts: [c]")); len(found) != 2 ||
		!strings.Contains(found[0].Message, `did you mean "values"`) || !strings.Contains(found[1].Message, `duplicate field "hosts"`) {
		t.Errorf("a slip is not told of: %v", found)
	}
}

// plainFieldName is the one thing that is repeated: a word without the marks of a key where a field's name stands.
func plainFieldName(shape, value string) bool {
	return !looksLikeKey(value) && strings.Contains(shape, "{%s: 1}")
}

// No document may cost more than its size: it arrives from whoever may publish. A document of eight times the
// size may take some eight times as long, not sixty-four times.
func TestA33_DocumentsTakeBoundedTime(t *testing.T) {
	if testing.Short() {
		t.Skip("parses many megabytes")
	}
	const whole, part = MaxDocument - 200, MaxDocument / 8
	for name, shape := range costlyShapes() {
		t.Run(name, func(t *testing.T) {
			growsLikeItsSize(t, func(size int) { parseAll("a.yaml", []byte(shape(size))) }, part, whole)
		})
	}
}

// growsLikeItsSize compares the processor time of work on an eighth with that on the whole: a busy machine may
// take any time by the clock. Below ten seconds, many times what is usual, nothing is concluded.
func growsLikeItsSize(t *testing.T, work func(size int), part, whole int) {
	t.Helper()
	began := cpuTime()
	work(part)
	small := cpuTime() - began
	began = cpuTime()
	work(whole)
	if large := cpuTime() - began; large > 10*time.Second && large > 30*small {
		t.Errorf("%v for an eighth, %v for the whole", small, large)
	}
}

// costlyShapes are documents of about a given size that tempt a parser into more work than that.
func costlyShapes() map[string]func(size int) string {
	fill := func(head, element, tail string) func(int) string {
		return func(size int) string { return head + strings.Repeat(element, size/len(element)) + tail }
	}
	numbered := func(head, format, tail string) func(int) string {
		return func(size int) string {
			var b strings.Builder
			b.WriteString(head)
			for i := 0; b.Len() < size; i++ {
				fmt.Fprintf(&b, format, i)
			}
			return b.String() + tail
		}
	}
	bomb := "a0: &a0 [x,x]\n"
	for i := 1; i < 90; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d,*a%d]\n", i, i, i-1, i-1)
	}
	const direct = "{name: a, responseTemplate: {body: x}"
	return map[string]func(int) string{
		"brackets":       fill("", "[", ""),
		"braces":         fill("", "{", ""),
		"dashes":         fill("", "- ", ""),
		"questions":      fill("", "? ", ""),
		"colons":         fill("a", ": a", ""),
		"bomb":           func(int) string { return bomb },
		"aliases":        fill("a: &a [x]\nconsumers: [", "*a,", "]"),
		"anchors":        numbered("consumers: [", "&a%d x,", "]"),
		"quotes":         fill("a: \"", "\\x41", "\""),
		"comments":       fill("", "#\n", ""),
		"blank lines":    fill("", "\n", ""),
		"groups":         numbered("groups: [", "g%d,", "]"),
		"sources":        numbered("sources: [", "{query: q%d},", "]"),
		"keys":           numbered("keys: [", "{id: k%d, value: 'kkkkkkkkkkkkkkkkkkkkkkkkk'},", "]"),
		"fields":         numbered("{", "f%d: 1,", "}"),
		"forwardHeaders": numbered("forwardHeaders: [", "h%d,", "]"),
		"schemes":        numbered("tools: ["+direct+"}]\nserver: {securitySchemes: [", "{id: s%d, type: http, scheme: basic},", "]}"),
		"tools":          numbered("tools: [", "{name: t%d, responseTemplate: {body: x}, security: {id: y}},", "]"),
		"arguments":      numbered("tools: ["+direct+", args: [", "{name: a%d, type: int},", "]}]"),
		"merges":         fill("m: &m {auth: required}\n<<: [", "*m,", "]"),
		"grants":         numbered("consumers: [", "{consumer: c%d, notAfter: 2026-12-31T00:00:00Z},", "]"),
		"allow": func(size int) string {
			return numbered("tools: [", "{name: a%d, responseTemplate: {body: x}},", "]\n")(size/2) + numbered("allowTools: [", "b%d,", "]")(size/2-100)
		},
	}
}

func parseAll(dataID string, content []byte) {
	ParseService(dataID, content)
	ParseUpstream(dataID, content)
	ParseConsumer(dataID, content)
	ParseGrants(dataID, content)
	ParseCredentials(dataID, content)
}

// Aliases within aliases nest as deeply as values within values: 12 kB came to 5,500 levels, whose paths took seconds to
// write. Seen red with the height of what is measured already left out.
func TestDepthIsBoundedThroughAliases(t *testing.T) {
	document := func(levels int) []byte {
		var b strings.Builder
		b.WriteString("server:\n  name: x\n  config:\n    x0: &x0 [1]\n")
		for i := 1; i < 5; i++ {
			fmt.Fprintf(&b, "    x%d: &x%d %s*x%d %s\n", i, i, strings.Repeat("[", levels), i-1, strings.Repeat("]", levels))
		}
		b.WriteString("tools: [{name: t, description: d, requestTemplate: {url: https://a.example/x, method: GET}}]\n")
		return []byte(b.String())
	}
	if def, found := ParseService("x.yaml", document(5)); def == nil {
		t.Error(found)
	}
	def, found := ParseService("x.yaml", document(80))
	if def != nil || len(found) == 0 || !strings.Contains(found[0].Message, "nested deeper than") {
		t.Errorf("%v, %v", def != nil, found)
	}
}
