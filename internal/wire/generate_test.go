package wire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// pick takes one of the choices.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// disguise spells a name as an attacker might: as it is mostly, else escaped, in another case, with something put in.
func disguise(r *rand.Rand, name string) string {
	at := r.IntN(len(name))
	switch r.IntN(60) {
	case 0:
		return name[:at] + fmt.Sprintf(`\u%04x`, name[at]) + name[at+1:]
	case 1:
		return name[:at] + strings.ToUpper(name[at:at+1]) + name[at+1:]
	case 2:
		return name[:at] + pick(r, "_", "-", `\u0000`, " ", `\ud800`, `\t`, "\ufeff", "é", "\xff") + name[at:]
	case 3:
		return strings.NewReplacer("s", "ſ", "k", "\u212a", "i", pick(r, "ı", "İ")).Replace(name)
	case 4:
		return strings.ToUpper(name)
	default:
		return name
	}
}

func generateValue(r *rand.Rand, depth int) string {
	if depth > 4 {
		return "1"
	}
	switch r.IntN(9) {
	case 0:
		return generateObject(r, depth, "name", "x", "tools", "method")
	case 1:
		var parts []string
		for range r.IntN(3) {
			parts = append(parts, generateValue(r, depth+1))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case 2:
		return pick(r, "null", "true", "false")
	case 3:
		return pick(r, "0", "-1", "9007199254740993", "1.5e3", "7", "1E-2", "01", "-")
	default:
		return `"` + pick(r, "allowed", "denied", `\u0064enied`, "tools/call", "ping", "", `a\"b`, `\ud83d\udc36`, `\udc36`, "ümlaut", "\xc3") + `"`
	}
}

func generateObject(r *rand.Rand, depth int, names ...string) string {
	var parts []string
	for range r.IntN(4) {
		parts = append(parts, `"`+disguise(r, pick(r, names...))+`"`+pick(r, ":", ":", " : ")+generateValue(r, depth+1))
	}
	return "{" + strings.Join(parts, pick(r, ",", ",", " ,\n")) + "}"
}

// generateMessage makes a message that is nearly right: what byte-wise mutation seldom reaches.
func generateMessage(r *rand.Rand) string {
	meta := pick(r, "", "", `{"progressToken":1,"`+disguise(r, MetaProtocolVersion)+`":"2026-07-28","`+disguise(r, MetaClientCapabilities)+`":{}}`,
		generateObject(r, 2, refMetaNames...), "null", "7")
	fields := []string{}
	if r.IntN(10) > 0 {
		fields = append(fields, `"`+disguise(r, "name")+`":"`+pick(r, "allowed", "denied", `\u0064enied`)+`"`)
	}
	if r.IntN(4) > 0 {
		fields = append(fields, `"arguments":`+generateValue(r, 2))
	}
	if meta != "" {
		fields = append(fields, `"`+disguise(r, "_meta")+`":`+meta)
	}
	for range r.IntN(6) / 3 {
		fields = append(fields, `"`+disguise(r, pick(r, refParamsNames...))+`":`+generateValue(r, 2))
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	params := "{" + strings.Join(fields, ",") + "}"
	parts := []string{
		`"` + disguise(r, "jsonrpc") + `":"2.0"`,
		`"` + disguise(r, "method") + `":"` + pick(r, "tools/call", "tools/call", "tools/call", "ping", "initialize", `tools\/call`, "TOOLS/call", "resources/read", "x/y", "notifications/initialized") + `"`,
		`"` + disguise(r, "params") + `":` + pick(r, params, params, params, params, params, "null", "[]"),
	}
	if r.IntN(8) > 0 {
		parts = append(parts, `"`+disguise(r, "id")+`":`+pick(r, "1", `"a"`, "null", "-0.5", "{}"))
	}
	for range r.IntN(6) / 3 {
		parts = append(parts, `"`+disguise(r, pick(r, "method", "params", "id", "result", "error", "trace", "x"))+`":`+generateValue(r, 1))
	}
	r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return pick(r, "", "", "", "", "", " ", " ", "\n", "\t", "\ufeff") + "{" + strings.Join(parts, ",") + "}" + pick(r, "", "", "", "", "", "", "", "\n", " ", pick(r, "}", "x", "\x00"))
}

// The generated half of assertions 19 and 26 at this level: whatever is generated, Scan and the reference agree, and what
// is accepted reads the same to every decoder. Both outcomes must really occur.
func TestA26_GeneratedMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 26))
	accepted, calls := 0, 0
	total := 100_000
	if testing.Short() {
		total = 10_000
	}
	for range total {
		body := []byte(generateMessage(r))
		agree(t, body)
		var e Envelope
		if Scan(body, &e) == nil {
			accepted++
			if e.Method == MethodToolsCall {
				calls++
			}
		}
	}
	t.Logf("%d of %d accepted, %d of them tool calls", accepted, total, calls)
	if accepted < total/100 || accepted > total/2 || calls < total/200 {
		t.Error("the generator is lopsided: too few or too many messages are accepted")
	}
}
