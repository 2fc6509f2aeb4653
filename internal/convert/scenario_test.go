package convert

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

var update = flag.Bool("update", false, "write the golden files")

// vault holds the credentials that tests may refer to.
type vault map[string]Secret

func (v vault) Lookup(service, ref string) (Secret, error) {
	s, ok := v[ref]
	if !ok {
		return Secret{}, fmt.Errorf("%s may not read it, or it is not there", service)
	}
	return s, nil
}

var testVault = vault{
	"credential:petstore/key":   {Value: secret.New("s3cret-key"), Hosts: []string{"petstore.example.com"}},
	"credential:petstore/basic": {Value: secret.New("ann:pa55 word")},
	"credential:petstore/odd":   {Value: secret.New(`a&b="c d"+/`)},
	"credential:petstore/path":  {Value: secret.New("p4th/secret"), Path: true},
	"nacos.key/credentials":     {Value: secret.New(`{"token":"t0ken-of-nacos","nested":{"id":12345678901234567890}}`)},
	"env:API_BASE":              {Value: secret.New("https://env.example.com/base")},
	"env:BLANK":                 {},
}

// parse reads a service document; what the registry finds wrong with it fails the test.
func parse(t testing.TB, text string) *registry.Definition {
	t.Helper()
	def, found := registry.ParseService("petstore.yaml", []byte(text))
	for _, r := range found {
		if !r.Warning {
			t.Fatalf("parse document: %v", r)
		}
	}
	return def
}

// compileText compiles a service document that has no faults.
func compileText(t testing.TB, text string) *Service {
	t.Helper()
	s, found := Compile(parse(t, text), Options{Secrets: testVault, ForwardHeaders: []string{"traceparent"}})
	for _, r := range found {
		if !r.Warning {
			t.Fatalf("compile document: %v", r)
		}
	}
	return s
}

// callOf reads a call: JSON with tool, arguments and perhaps header, query and clientIP.
func callOf(t testing.TB, text []byte) (tool string, c Call) {
	t.Helper()
	var in struct {
		Tool      string
		Arguments json.RawMessage
		Header    map[string]string
		Query     string
		ClientIP  string
	}
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatalf("read call: %v", err)
	}
	c = Call{Arguments: in.Arguments, Header: http.Header{}, Query: in.Query, ClientIP: in.ClientIP}
	for name, v := range in.Header {
		c.Header.Set(name, v)
	}
	return in.Tool, c
}

// dump writes a request as text, credentials and all.
func dump(r *Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
	if r.Host != "" {
		fmt.Fprintf(&b, "Host: %s\n", r.Host)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	if r.Body != nil {
		fmt.Fprintf(&b, "\n%s\n", r.Body)
	}
	if len(r.SecretHosts) > 0 {
		fmt.Fprintf(&b, "(only to %v)\n", r.SecretHosts)
	}
	return b.String()
}

// outcome is what comes of a call: the request, or the result where nothing is sent.
func outcome(s *Service, tool string, c Call) string {
	t := s.Tools[tool]
	if t == nil {
		return "no such tool\n"
	}
	r, result, err := t.Request(c)
	switch {
	case err != nil:
		return "error: " + err.Error() + "\n"
	case r == nil:
		return "result: " + string(result) + "\n"
	}
	return dump(r)
}

// responseOf reads a response: status, headers, blank line, body.
func responseOf(t testing.TB, text []byte) (status int, h http.Header, body []byte) {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(text)))
	line, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "%d", &status); err != nil {
		t.Fatalf("read response: %q is no status", line)
	}
	mime, err := r.ReadMIMEHeader()
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	body, err = io.ReadAll(r.R)
	if err != nil {
		t.Fatal(err)
	}
	return status, http.Header(mime), bytes.TrimSuffix(body, []byte("\n"))
}

// Every testdata/calls/*.txtar holds a service and calls of its tools: NAME.call leads to NAME.out, and with NAME.response
// to NAME.result. -update writes the .out and .result files, to be read before they are committed.
func TestCalls(t *testing.T) {
	files, err := filepath.Glob("testdata/calls/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScenario(t, archive)
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(got))); diff != "" {
				t.Errorf("golden file differs (-want +got):\n%s", diff)
			}
		})
	}
}

func runScenario(t *testing.T, in *txtar.Archive) *txtar.Archive {
	t.Helper()
	out := &txtar.Archive{Comment: in.Comment}
	var s *Service
	var tool string
	var c Call
	for _, f := range in.Files {
		base, ext, _ := strings.Cut(f.Name, ".")
		switch ext {
		case "yaml":
			s = compileText(t, string(f.Data))
		case "call":
			tool, c = callOf(t, f.Data)
			out.Files = append(out.Files, f, txtar.File{Name: base + ".out", Data: []byte(outcome(s, tool, c))})
			continue
		case "response":
			status, h, body := responseOf(t, f.Data)
			result := s.Tools[tool].Result(c, status, h, body)
			if !json.Valid(result) {
				t.Errorf("%s: result is no JSON: %s", base, result)
			}
			out.Files = append(out.Files, f, txtar.File{Name: base + ".result", Data: append(result, '\n')})
			continue
		case "out", "result":
			continue
		default:
			t.Fatalf("unknown file %s", f.Name)
		}
		out.Files = append(out.Files, f)
	}
	return out
}
