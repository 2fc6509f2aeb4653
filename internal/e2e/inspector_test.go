package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// checkInspector goes through the services with the Inspector's command line, one process per call.
func checkInspector(t *testing.T, p *proxy) {
	cases := []struct {
		name, service, key, era string
		args                    string
		want                    string // part of the result, or of the error
		fails                   bool
	}{
		{"list", "everything", aliceKey, "auto", "tools/list", `"get-sum"`, false},
		{"call", "everything", aliceKey, "legacy", "tools/call --tool-name echo --tool-arg message=hi", "Echo: hi", false},
		{"denied tool", "everything", bobKey, "auto", "tools/call --tool-name get-sum", "get-sum", true},
		{"read", "everything", aliceKey, "auto", "resources/read --uri demo://resource/static/document/features.md", "Everything Server", false},
		{"prompt", "everything", aliceKey, "auto", "prompts/get --prompt-name simple-prompt", "simple prompt", false},
		{"list", "modern", aliceKey, "modern", "tools/list", `"test_simple_text"`, false},
		{"call", "modern", aliceKey, "auto", "tools/call --tool-name test_simple_text", "simple text response", false},
		{"error", "modern", aliceKey, "auto", "tools/call --tool-name test_error_handling", "intentionally", true},
		{"denied tool", "modern", bobKey, "modern", "tools/call --tool-name test_error_handling", "test_error_handling", true},
		{"call", "overSSE", aliceKey, "auto", "tools/call --tool-name echo --tool-arg message=hi", "Echo: hi", false},
		{"list", "converted", aliceKey, "modern", "tools/list", `"get_item"`, false},
		{"call", "converted", aliceKey, "modern", "tools/call --tool-name get_item --tool-arg id=7", "Lamp costs 12.50", false},
		{"call", "converted", aliceKey, "legacy", "tools/call --tool-name get_item --tool-arg id=7", "Lamp costs 12.50", false},
		{"denied tool", "converted", bobKey, "auto", "tools/call --tool-name list_items", "list_items", true},
		{"unknown key", "converted", "nmp_x_unknown", "auto", "tools/list", "auth", true},
	}
	home := t.TempDir()
	for _, c := range cases {
		t.Run(c.service+" "+c.era+" "+c.name, func(t *testing.T) {
			out, ok := inspect(t, home, append([]string{
				p.URL + "/mcp/" + c.service, "--transport", "http", "--protocol-era", c.era, "--format", "json",
				"--header", "X-API-Key: " + c.key, "--method",
			}, strings.Fields(c.args)...)...)
			if ok == c.fails || !strings.Contains(out, c.want) {
				t.Errorf("worked: %v, want %v with %q in %s", ok, !c.fails, c.want, out)
			}
		})
	}
}

// inspect gives the Inspector's result, compacted, or its error, and whether it succeeded.
func inspect(t *testing.T, home string, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := typescript(t)
	cmd := exec.CommandContext(ctx, dir+"/node", append([]string{dir + "/node_modules/.bin/mcp-inspector", "--cli"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home) // it keeps files there
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("the Inspector did not end: %s%s", stdout.String(), stderr.String())
	}
	var compact bytes.Buffer
	if json.Compact(&compact, stdout.Bytes()) != nil {
		compact = stdout
	}
	return compact.String() + stderr.String(), err == nil
}
