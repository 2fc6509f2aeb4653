package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Revisions that clients and backends agree on.
const (
	modernRevision = "2026-07-28"
	legacyRevision = "2025-11-25"
)

// backend is a service of the client matrix, reached through the proxy and, where that is possible, directly.
type backend struct {
	service string
	direct  string // URL; empty for a converted service, which is nothing without the proxy
	sse     bool   // the direct URL speaks HTTP+SSE
	server  string // the name it tells
	modern  bool   // it speaks the newest revision
	tool    string // what bob may call
	checks  []check
}

// check is a step with what must come of it. Text and Message are parts of what must be there.
type check struct {
	step
	want   outcome
	varies bool // the text differs from call to call: it is not held against the direct one
}

var everythingChecks = []check{
	{step: step{Op: "tools"}, want: outcome{Names: []string{"echo", "get-sum", "trigger-elicitation-request", "trigger-long-running-operation"}}},
	{step: step{Op: "call", Name: "echo", Arguments: map[string]any{"message": "hi"}}, want: outcome{Text: "Echo: hi"}},
	{step: step{Op: "call", Name: "echo", Arguments: map[string]any{}}, want: outcome{Text: "Input validation error", IsError: true}},
	{step: step{Op: "call", Name: "get-tiny-image"}, want: outcome{Text: "(image)"}},
	{step: step{Op: "call", Name: "trigger-long-running-operation", Arguments: map[string]any{"duration": 0.2, "steps": 2}}, want: outcome{Text: "completed", Progress: 2}},
	{step: step{Op: "call", Name: "trigger-elicitation-request"}, want: outcome{Text: "Ada", Asked: 1}},
	{step: step{Op: "call", Name: "no-such-tool"}, want: outcome{Text: "not found", IsError: true}},
	{step: step{Op: "resources"}, want: outcome{Names: []string{"demo://resource/static/document/features.md"}}},
	{step: step{Op: "templates"}, want: outcome{Names: []string{"demo://resource/dynamic/text/{resourceId}"}}},
	{step: step{Op: "read", Name: "demo://resource/static/document/features.md"}, want: outcome{Text: "Everything Server"}},
	{step: step{Op: "read", Name: "demo://resource/static/document/none.md"}, want: outcome{Error: -32602.0}},
	{step: step{Op: "prompts"}, want: outcome{Names: []string{"args-prompt", "simple-prompt"}}},
	{step: step{Op: "prompt", Name: "args-prompt", Arguments: map[string]any{"city": "Oslo"}}, want: outcome{Text: "weather in Oslo"}},
}

// fixtureChecks ask with a tool of each era's own way of asking.
func fixtureChecks(ask, asked string) []check {
	return []check{
		{step: step{Op: "tools"}, want: outcome{Names: []string{"test_error_handling", "test_simple_text"}}},
		{step: step{Op: "call", Name: "test_simple_text"}, want: outcome{Text: "simple text response"}},
		{step: step{Op: "call", Name: "test_multiple_content_types"}, want: outcome{Text: "(image)"}},
		{step: step{Op: "call", Name: "test_error_handling"}, want: outcome{Text: "intentionally", IsError: true}},
		{step: step{Op: "call", Name: "test_tool_with_progress"}, want: outcome{Progress: 3}, varies: true}, // tells its token
		{step: step{Op: "call", Name: ask, Arguments: map[string]any{"message": "who?"}}, want: outcome{Text: asked, Asked: 1}},
		{step: step{Op: "call", Name: "no-such-tool"}, want: outcome{Error: -32602.0, Message: "unknown tool"}},
		{step: step{Op: "resources"}, want: outcome{Names: []string{"test://static-text"}}},
		{step: step{Op: "templates"}, want: outcome{Names: []string{"test://template/{id}/data"}}},
		{step: step{Op: "read", Name: "test://static-text"}, want: outcome{Text: "static text resource"}},
		{step: step{Op: "read", Name: "test://none"}, want: outcome{Error: -32602.0}},
		{step: step{Op: "prompts"}, want: outcome{Names: []string{"test_simple_prompt"}}},
		{step: step{Op: "prompt", Name: "test_prompt_with_arguments", Arguments: map[string]any{"arg1": "a", "arg2": "b"}}, want: outcome{Text: "arg1='a'"}},
	}
}

var convertedChecks = []check{
	{step: step{Op: "tools"}, want: outcome{Names: []string{"get_item", "list_items"}}},
	{step: step{Op: "call", Name: "get_item", Arguments: map[string]any{"id": 7}}, want: outcome{Text: "Lamp costs 12.50"}},
	{step: step{Op: "call", Name: "get_item", Arguments: map[string]any{"id": 8}}, want: outcome{Text: "call failed, status: 404", IsError: true}},
	{step: step{Op: "call", Name: "get_item", Arguments: map[string]any{}}, want: outcome{Text: "id", IsError: true}},
	{step: step{Op: "call", Name: "no-such-tool"}, want: outcome{Error: -32602.0, Message: "Unknown tool: no-such-tool"}},
	{step: step{Op: "resources"}, want: outcome{}},
	{step: step{Op: "templates"}, want: outcome{}},
	{step: step{Op: "read", Name: "test://none"}, want: outcome{Error: -32601.0}},
	{step: step{Op: "prompts"}, want: outcome{}},
	{step: step{Op: "prompt", Name: "none"}, want: outcome{Error: -32601.0}},
}

// matrix starts the backends and a proxy in front of them, with alice who may do everything and bob who may call one tool.
func matrix(t *testing.T) (*source, *proxy, []backend) {
	t.Helper()
	bin := buildFixture(t)
	streamable, sse := everything(t, "streamableHttp"), everything(t, "sse")
	stateless, stateful := fixture(t, bin), fixture(t, bin, "-stateless=false")
	backends := []backend{
		{service: "everything", direct: "http://" + streamable + "/mcp", server: "mcp-servers/everything", tool: "echo", checks: everythingChecks},
		{service: "modern", direct: "http://" + stateless + "/", server: "mcp-conformance-test-server", modern: true, tool: "test_simple_text",
			checks: fixtureChecks("test_input_required_result_elicitation", "Ada")},
		{service: "overSSE", direct: "http://" + sse + "/sse", sse: true, server: "mcp-servers/everything", tool: "echo", checks: everythingChecks},
		{service: "converted", server: "converted", modern: true, tool: "get_item", checks: convertedChecks},
		{service: "legacy", direct: "http://" + stateful + "/", server: "mcp-conformance-test-server", tool: "test_simple_text",
			checks: fixtureChecks("test_elicitation", "action=accept")},
	}
	s := directory(t)
	for _, b := range backends {
		transport := "streamable"
		if b.sse {
			transport = "sse"
		}
		doc := fmt.Sprintf("upstream: {url: %q, transport: %s}\n", b.direct, transport)
		if b.direct == "" {
			doc = storeDocument(newRecorder(t, shop).URL)
		}
		s.put(t, "proxy-services", b.service+".yaml", doc)
		s.put(t, "proxy-grants", b.service+".yaml", "consumers: [alice]\ntools: {"+b.tool+": [bob]}\n")
		s.put(t, "proxy-services", "told-"+b.service+".yaml", doc)
		s.put(t, "proxy-grants", "told-"+b.service+".yaml", "consumers: [alice]\n")
	}
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-consumers", "carol.yaml", consumer(carolKey))
	return s, start(t, s).ready(), backends
}

func storeDocument(api string) string {
	return `
upstream: {url: "` + api + `"}
tools:
  - name: get_item
    description: one item
    args: [{name: id, type: integer, required: true, position: path}]
    requestTemplate: {url: "/items/{id}", method: GET}
    responseTemplate: {body: "{{.name}} costs {{.price}}"}
  - name: list_items
    description: all items
    requestTemplate: {url: /items, method: GET}
`
}

// realClient is one of the official clients in one of its modes.
type realClient struct {
	name, client, mode string
	transport          string // towards the proxy
	program            []string
	library            bool // the client of an agent library, which lists and calls tools and no more
}

func realClients(t testing.TB) []realClient {
	dir := typescript(t)
	hook, err := filepath.Abs("testdata/clients/modules.mjs")
	if err != nil {
		t.Fatal(err)
	}
	ts := []string{dir + "/node", "--import", hook, "testdata/clients/typescript.mjs"}
	python := func(set, program string) []string {
		script(t, "../../scripts/clients/python", set, "-c", "")
		return []string{"../../scripts/clients/python", set, "testdata/clients/" + program}
	}
	py := python("mcp", "python.py")
	clients := []realClient{
		{"python auto", "", "auto", "streamable", py, false},
		{"python legacy", "", "legacy", "streamable", py, false},
		{"python over SSE", "", "legacy", "sse", py, false},
		{"typescript sdk", "v1", "legacy", "streamable", ts, false},
		{"typescript sdk over SSE", "v1", "legacy", "sse", ts, false},
		{"typescript client auto", "v2", "auto", "streamable", ts, false},
		{"typescript client legacy", "v2", "legacy", "streamable", ts, false},
		{"typescript client over SSE", "v2", "legacy", "sse", ts, false},
	}
	for _, library := range []string{"fastmcp", "openai-agents", "pydantic-ai"} {
		program := python(library, "libraries.py")
		clients = append(clients,
			realClient{library, library, "auto", "streamable", program, true},
			realClient{library + " over SSE", library, "legacy", "sse", program, true})
	}
	return clients
}

// limit leaves of a backend's checks those that c can take.
func (c realClient) limit(b backend) backend {
	if !c.library {
		return b
	}
	var checks []check
	var asking []string // listed to clients that can be asked
	for _, k := range b.checks {
		switch {
		case k.Op != "tools" && k.Op != "call":
			continue
		case k.want.Asked > 0:
			asking = append(asking, k.Name)
			continue
		case c.client == "openai-agents" && k.want.IsError && k.Arguments != nil && len(k.Arguments) == 0:
			k.want = outcome{Error: "UserError", Message: "missing required parameters"} // it checks arguments itself
		}
		k.want.Progress = 0
		checks = append(checks, k)
	}
	for i, k := range checks {
		checks[i].want.Names = slices.DeleteFunc(slices.Clone(k.want.Names), func(name string) bool { return slices.Contains(asking, name) })
	}
	b.checks = checks
	return b
}

// TestClientMatrix lets every official client go through every kind of service in one process, so that what a client
// remembers of one service of an origin meets the others, too. What it sees through the proxy must be what it sees of the
// backend itself, and for bob, who may call one tool, nothing but that tool.
func TestClientMatrix(t *testing.T) {
	clients := realClients(t)
	s, p, backends := matrix(t)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkMatrix(t, c, p, backends)
			checkRefused(t, c, p, backends)
		})
	}
	t.Run("told of changes", func(t *testing.T) {
		t.Parallel()
		checkTold(t, clients, s, p, backends)
	})
	t.Run("inspector", func(t *testing.T) { t.Parallel(); checkInspector(t, p) })
	t.Run("plain SSE client", func(t *testing.T) {
		t.Parallel()
		checkPlainSSE(t, p, backends)
	})
}

func checkMatrix(t *testing.T, c realClient, p *proxy, backends []backend) {
	path := "/mcp/"
	if c.transport == "sse" {
		path = "/sse/"
	}
	limited := make([]backend, len(backends))
	for i, b := range backends {
		limited[i] = c.limit(b)
	}
	backends = limited
	var visits []visit
	for _, b := range backends {
		var steps []step
		for _, k := range b.checks {
			steps = append(steps, k.step)
		}
		through := visit{Client: c.client, Mode: c.mode, Transport: c.transport, URL: p.URL + path + b.service, Key: aliceKey, Steps: steps}
		bob := through
		bob.Key, bob.Steps = bobKey, bobSteps(c, b)
		visits = append(visits, through, bob)
		if b.direct != "" {
			direct := through
			direct.URL, direct.Key, direct.Transport = b.direct, "none", "streamable"
			if b.sse {
				direct.Transport = "sse"
			}
			visits = append(visits, direct)
		}
	}
	saw := runVisits(t, visits, c.program...)
	for _, b := range backends {
		through, bob := saw[0], saw[1]
		saw = saw[2:]
		var direct []outcome
		if b.direct != "" {
			direct, saw = saw[0], saw[1:]
		}
		t.Run(b.service, func(t *testing.T) {
			era := legacyRevision
			if b.modern && c.mode == "auto" {
				era = modernRevision
			}
			if c.transport == "sse" && through[0].Version == "" {
				era = "" // that client does not tell it of that transport
			}
			checkAlice(t, b, era, through)
			if direct != nil && c.library && c.transport == "sse" {
				direct[0].Version = "" // it cannot be told an era: directly it speaks the newest
			}
			if direct != nil {
				same(t, b, direct, through)
			}
			checkBob(t, c, b, bob)
		})
	}
}

// checkRefused has clients connect without a key that counts, and without a grant. What they show people must have our own
// words, where they show anything of an answer's body.
func checkRefused(t *testing.T, c realClient, p *proxy, backends []backend) {
	path := "/mcp/"
	if c.transport == "sse" {
		path = "/sse/"
	}
	keys := map[string]string{key("nobody"): "Unauthorized: a valid API key is needed", carolKey: "Forbidden: this key has no grant on this service"}
	var visits []visit
	for _, b := range backends {
		for key := range keys {
			visits = append(visits, visit{Client: c.client, Mode: c.mode, Transport: c.transport, URL: p.URL + path + b.service, Key: key, Steps: []step{}})
		}
	}
	for i, saw := range runVisits(t, visits, c.program...) {
		want := keys[visits[i].Key]
		switch {
		case c.transport == "sse":
			want = "" // a stream that does not open: the status is all that they tell
		case c.client == "v2" && visits[i].Key == carolKey:
			want = "Insufficient scope" // what it makes of the challenge, whatever the body says
		case c.client == "v2" && c.mode == "auto":
			want = "Version negotiation failed: the server"
		}
		if len(saw) != 1 || saw[0].Error == nil || !strings.Contains(saw[0].Message, want) {
			t.Errorf("%s: saw %+v, want %q", visits[i].URL, saw, want)
		}
	}
}

func checkAlice(t *testing.T, b backend, era string, saw []outcome) {
	if len(saw) != len(b.checks)+1 {
		t.Fatalf("could not connect: %+v", saw)
	}
	if saw[0].Server != b.server || saw[0].Version != era {
		t.Errorf("connected to %q in revision %s, want %q in %s", saw[0].Server, saw[0].Version, b.server, era)
	}
	for i, k := range b.checks {
		if b.service == "modern" && era != modernRevision && k.want.Asked > 0 {
			continue // that backend keeps no session to ask in; its complaint must be the same as its own
		}
		if diff := k.want.missing(saw[i+1]); diff != "" {
			t.Errorf("%s %s: %s\nin %+v", k.Op, k.Name, diff, saw[i+1])
		}
	}
}

// missing tells what of an expectation did not come true. Of the progress some must come, not all: a client may drop what
// arrives together with the result. Some clients tell of progress by themselves.
func (want outcome) missing(got outcome) string {
	for _, name := range want.Names {
		if !slices.Contains(got.Names, name) {
			return name + " is not listed"
		}
	}
	switch {
	case got.IsError != want.IsError, !cmp.Equal(got.Error, want.Error):
		return "it failed, or failed in another way"
	case !strings.Contains(got.Text, want.Text) || !strings.Contains(got.Message, want.Message):
		return fmt.Sprintf("want %q", want.Text+want.Message)
	case want.Progress > 0 && (got.Progress == 0 || got.Progress > want.Progress) || got.Asked != want.Asked:
		return fmt.Sprintf("want %d progress notifications, %d questions", want.Progress, want.Asked)
	}
	return ""
}

// same holds what was seen through the proxy against what was seen directly.
func same(t *testing.T, b backend, direct, through []outcome) {
	if len(direct) != len(through) {
		t.Fatalf("directly %+v", direct)
	}
	for i := range direct {
		opts := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(outcome{}, "Progress")}
		if direct[i].Version == "" || through[i].Version == "" {
			opts = append(opts, cmpopts.IgnoreFields(outcome{}, "Version")) // not told of HTTP+SSE
		}
		if i > 0 && b.checks[i-1].varies {
			opts = append(opts, cmpopts.IgnoreFields(outcome{}, "Text"))
		}
		if diff := cmp.Diff(direct[i], through[i], opts); diff != "" {
			t.Errorf("step %d is another one through the proxy (-direct +through):\n%s", i, diff)
		}
	}
}

// bobSteps are a call that bob may make, one that he may not, and one that nobody can.
func bobSteps(c realClient, b backend) []step {
	allowed := step{Op: "call", Name: b.tool}
	for _, k := range b.checks {
		if k.Op == "call" && k.Name == b.tool {
			allowed = k.step
			break
		}
	}
	denied := b.checks[0].want.Names[0]
	if denied == b.tool {
		denied = b.checks[0].want.Names[1]
	}
	steps := []step{{Op: "tools"}, allowed, {Op: "call", Name: denied}, {Op: "call", Name: "no-such-tool"}}
	if c.library {
		return steps
	}
	return append(steps, step{Op: "resources"}, step{Op: "prompts"}, step{Op: "prompt", Name: "simple-prompt"})
}

func checkBob(t *testing.T, c realClient, b backend, saw []outcome) {
	steps := bobSteps(c, b)
	if len(saw) != len(steps)+1 {
		t.Fatalf("bob could not connect: %+v", saw)
	}
	unknown := func(i int) outcome { return outcome{Error: -32602.0, Message: "Unknown tool: " + steps[i].Name} }
	want := []outcome{{Names: []string{b.tool}}, saw[2], unknown(2), unknown(3), {}, {}, {Error: -32601.0, Message: "Method not found: prompts/get"}}
	if diff := cmp.Diff(want[:len(steps)], saw[1:], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("bob saw (-want +got):\n%s", diff)
	}
	if saw[2].IsError || saw[2].Error != nil || saw[2].Text == "" {
		t.Errorf("bob's own call: %+v", saw[2])
	}
}
