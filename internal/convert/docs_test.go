package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

const docFile = "../../docs/conversion.md"

// Every example of docs/conversion.md is run: "yaml service" blocks are compiled, "json call" blocks called, "http
// response" blocks answered, and what the "http request", "json result" and "text check" blocks show must be what comes
// of it. -update writes those.
func TestDocumentedExamplesAreTrue(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash(docFile))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var s *Service
	var check, tool, sent string
	var c Call
	examples := 0
	blocks := strings.Split(string(text), "```")
	for i, block := range blocks {
		if i > 0 {
			out.WriteString("```")
		}
		if i%2 == 0 {
			out.WriteString(block)
			continue
		}
		info, body, _ := strings.Cut(block, "\n")
		want := ""
		switch info {
		case "yaml service":
			s, check = compileExample(body)
		case "json call":
			tool, c = callOf(t, []byte(body))
			sent = outcome(s, tool, c)
		case "http response":
			status, h, content := responseOf(t, []byte(body))
			sent = "result: " + string(s.Tools[tool].Result(c, status, h, content)) + "\n"
		case "http request":
			want = sent
		case "json result":
			want = strings.TrimPrefix(sent, "result: ")
		case "text check":
			want = check
		}
		if want == "" {
			out.WriteString(block)
			continue
		}
		examples++
		if diff := cmp.Diff(want, body); diff != "" && !*update {
			t.Errorf("example under %q differs (-is +says):\n%s", heading(blocks[:i]), diff)
		}
		out.WriteString(info + "\n" + want)
	}
	if examples < 20 {
		t.Errorf("only %d examples were run", examples)
	}
	if *update {
		if err := os.WriteFile(filepath.FromSlash(docFile), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// heading is the last heading before an example.
func heading(blocks []string) string {
	last := ""
	for i := 0; i < len(blocks); i += 2 {
		for line := range strings.SplitSeq(blocks[i], "\n") {
			if strings.HasPrefix(line, "#") {
				last = line
			}
		}
	}
	return last
}

// compileExample compiles a service that may have faults, and says what `check` would.
func compileExample(text string) (*Service, string) {
	def, found := registry.ParseService("petstore.yaml", []byte(text))
	var s *Service
	if def != nil {
		var more []registry.Rejection
		s, more = Compile(def, Options{Secrets: testVault, ForwardHeaders: []string{"traceparent", "tracestate", "baggage"}})
		found = append(found, more...)
	}
	var check strings.Builder
	for _, r := range found {
		r.Group, r.DataID = registry.GroupServices, "petstore.yaml"
		fmt.Fprintln(&check, r)
	}
	return s, check.String()
}
