package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/openapi"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

const bookAPI = `openapi: 3.0.3
info: {title: Books, version: "2"}
servers: [{url: https://books.example.com/api}]
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key}
security: [{key: []}]
paths:
  /books/{id}:
    get:
      operationId: getBook
      summary: One book
      parameters: [{$ref: "parts/id.yaml#/id"}]
      responses: {"200": {description: ok}}
  /covers:
    post:
      operationId: addCover
      requestBody: {content: {multipart/form-data: {schema: {type: object, properties: {f: {type: string}}}}}}
      responses: {"200": {description: ok}}
`

const bookKey = "services: [books]\nhosts: [books.example.com, 127.0.0.1]\nvalues: {key: s3cret-of-books}\n"

const bookID = "id: {name: id, in: path, required: true, schema: {type: integer}}\n"

// books writes the description and what it refers to, and gives its path.
func books(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "parts"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "parts", "id.yaml"), bookID)
	path := filepath.Join(dir, "books.yaml")
	writeFile(t, path, bookAPI)
	return path
}

// Seen red with the notes, the credentials or the upstream's flag not handed on.
func TestPublishOpenAPITellsWhatBecameOfIt(t *testing.T) {
	s := newShell(t)
	publish := []string{"services", "publish", "--openapi", books(t), "--name", "books", "--upstream", "http://127.0.0.1:9/v1"}
	s.fails(exitFailed, `: there is no such credential, or its document does not list this service
These credentials are to be stored first; each secret is asked for, or read from standard input. Or write them
in the Nacos console, group proxy-credentials. Then run this again.
  nacos-mcp-proxy credentials set books key --service books --host 127.0.0.1:9  # API key, sent in the header X-Key
nacos-mcp-proxy: proxy-services/books.yaml would be rejected (see above); nothing was written
`, publish...)
	s.in = "s3cret-of-books\n"
	s.must("credentials", "set", "books", "key", "--service", "books", "--host", "127.0.0.1:9")
	out := s.must(publish...)
	want := `Books: 1 of 2 operations converted to tools
Not converted:
  POST /covers: it needs a body of type multipart/form-data, which arguments cannot fill
proxy-services/books.yaml: created
Nobody may call books yet: nacos-mcp-proxy grants allow books --consumer NAME --create
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if out := s.must("check"); !strings.Contains(out, "1 service: 0 documents and 0 tools rejected, 0 warnings") {
		t.Errorf("check of what was published:\n%s", out)
	}
	if out := s.must("call", "books", "getBook", "id=7", "--dry-run"); out != "GET http://127.0.0.1:9/v1/books/7\nX-Key: ***\n" {
		t.Errorf("preview: %q", out)
	}

	// Published again, for another backend: what changes is shown, and credentials that are there are not asked for.
	out = s.must("services", "publish", "--openapi", books(t), "--name", "books", "--upstream", "http://127.0.0.1:9/v2")
	if !strings.Contains(out, "+   url: http://127.0.0.1:9/v2") || strings.Contains(out+s.err, "credentials set") {
		t.Errorf("published again:\n%s", out)
	}
}

// Seen red with the summary on standard output.
func TestPublishOpenAPIDryRunPrintsTheDocumentAndNeedsNoSource(t *testing.T) {
	s := newShell(t)
	s.root = filepath.Join(s.root, "absent")
	out := s.must("services", "publish", "--openapi", books(t), "--name", "books", "--include", "getBook", "--dry-run")
	def, found := registry.ParseService("books.yaml", []byte(out))
	if def == nil || len(found) > 0 || def.Backend.URL != "https://books.example.com/api" {
		t.Fatalf("no service: %v\n%s", found, out)
	}
	if !strings.Contains(s.err, "Books: 1 of 1 operation converted to tools") {
		t.Errorf("beside the document: %s", s.err)
	}
	var said imported
	if err := json.Unmarshal([]byte(s.must("services", "publish", "--openapi", books(t), "--name", "books", "--dry-run", "-o", "json")), &said); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"getBook"}, said.Tools); diff != "" || len(said.Skipped) != 1 || len(said.Credentials) != 1 || !said.DryRun {
		t.Errorf("JSON: %+v", said)
	}
}

// Seen red with a loader that reads any path, with os.DirFS in place of os.Root (the link), and without the dialer's check.
func TestPublishOpenAPIFollowsReferencesOnlyWhereTheyMayLead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/books.yaml":
			_, _ = w.Write([]byte(bookAPI))
		case "/api/parts/id.yaml":
			_, _ = w.Write([]byte(bookID))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, tc := range []struct{ name, ref, want string }{
		{"below the description", "parts/id.yaml#/id", ""},
		{"on the web", server.URL + "/api/parts/id.yaml#/id", ""},
		{"above it", "../secret.yaml#/id", "lies outside the directory of the description"},
		{"an absolute path", "{outside}#/id", "lies outside the directory of the description"},
		{"a link that leads out", "link.yaml#/id", "path escapes from parent"},
		{"not there", server.URL + "/nowhere.yaml#/id", "answers 404 Not Found"},
		{"cloud metadata", "http://169.254.169.254/latest#/id", "may not be read from"},
		{"a password in it", "http://u:pass@127.0.0.1/x.yaml#/id", "has a password in its URL"},
		{"another scheme", "ftp://127.0.0.1/x.yaml#/id", `scheme "ftp" is not supported`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newShell(t)
			path := books(t)
			outside := filepath.Join(t.TempDir(), "secret.yaml")
			writeFile(t, outside, bookID)
			if err := os.Symlink(outside, filepath.Join(filepath.Dir(path), "link.yaml")); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, strings.Replace(bookAPI, "parts/id.yaml#/id", strings.Replace(tc.ref, "{outside}", outside, 1), 1))
			code := s.run("services", "publish", "--openapi", path, "--name", "books", "--dry-run")
			if tc.want == "" {
				if code != 0 || !strings.Contains(s.out, "url: '/books/{id}'") {
					t.Errorf("exit %d\n%s%s", code, s.out, s.err)
				}
				return
			}
			if code != exitFailed || !strings.Contains(s.err, tc.want) || strings.Contains(s.err, "pass@") && tc.ref[0] != 'h' {
				t.Errorf("exit %d, want %q in\n%s", code, tc.want, s.err)
			}
		})
	}
	t.Run("of a description on the web", func(t *testing.T) {
		s := newShell(t)
		s.put("proxy-credentials/books.yaml", bookKey)
		s.must("services", "publish", "--openapi", server.URL+"/api/books.yaml", "--name", "books")
		if !strings.Contains(s.get("proxy-services/books.yaml"), "url: '/books/{id}'") {
			t.Error("the relative reference was not followed")
		}
	})
}

// Seen red without the check of the scheme.
func TestDescriptionsAreNotRedirectedToPlainHTTP(t *testing.T) {
	parse := func(s string) *http.Request {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{URL: u}
	}
	check := newWeb().client.CheckRedirect
	if err := check(parse("http://a.example/x"), []*http.Request{parse("https://a.example/")}); err == nil {
		t.Error("https to http was followed")
	}
	if err := check(parse("https://b.example/x"), []*http.Request{parse("http://a.example/")}); err != nil {
		t.Error(err)
	}
}

// Seen red with the bound of limited off by a lot.
func TestDescriptionsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	writeFile(t, path, "")
	if err := os.Truncate(path, maxDescription+1); err != nil {
		t.Fatal(err)
	}
	newShell(t).fails(exitNotFound, "is larger than 64 MiB", "services", "publish", "--openapi", path, "--name", "x")
}

// Seen red, each, with its check taken out.
func TestPublishOpenAPIRefuses(t *testing.T) {
	s := newShell(t)
	file := books(t)
	notAPI := filepath.Join(t.TempDir(), "x.yaml")
	writeFile(t, notAPI, "a: 1\n")
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"--openapi " + file, exitUsage, "--openapi needs --name"},
		{"--openapi " + file + " --name a/b --dry-run", exitUsage, `"a/b" is no valid name`},
		{"--openapi " + file + " --name b x.yaml", exitUsage, "exclude each other"},
		{"x.yaml --include a", exitUsage, "--include goes with --openapi"},
		{"x.yaml --registry", exitUsage, "--registry goes with --openapi"},
		{"--openapi " + file + " --name b --registry-version 2", exitUsage, "--registry-version goes with --registry"},
		{"--openapi " + file + " --name b --registry", exitUsage, "--registry needs a Nacos"},
		{"--openapi " + file + " --name b --include nothing", exitFailed, `include "nothing" selects no operation`},
		{"--openapi " + file + " --name b --upstream ftp://x", exitFailed, "the upstream must be a URL"},
		{"--openapi " + notAPI + " --name b", exitFailed, "it is no API description"},
		{"--openapi absent.yaml --name b", exitNotFound, "absent.yaml"},
	} {
		s.fails(tc.code, tc.want, append([]string{"services", "publish"}, strings.Fields(tc.args)...)...)
	}
	s.put("proxy-services/b.json", "{}")
	s.fails(exitFailed, "exists already and would compete with b.yaml", "services", "publish", "--openapi", file, "--name", "b")
}

// Seen red with expect set to nacos.AnyMD5.
func TestPublishOpenAPILosesNobodysEdit(t *testing.T) {
	s := newShell(t)
	s.put("proxy-credentials/books.yaml", bookKey)
	s.must("services", "publish", "--openapi", books(t), "--name", "books")
	key := nacos.Key{Group: registry.GroupServices, DataID: "books.yaml"}
	s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
		d, err := openSources(ctx, cfg, log)
		if err == nil {
			d.main = &racing{d.main, key, func() { s.put("proxy-services/books.yaml", "# theirs\n") }}
		}
		return d, err
	}
	s.fails(exitConflict, "nothing was written", "services", "publish", "--openapi", books(t), "--name", "books", "--upstream", "http://127.0.0.1:1")
	s.want("proxy-services/books.yaml", "# theirs\n")
}

// fakeAdmin is a Nacos whose admin API refuses; the real one is used in internal/e2e.
type fakeAdmin struct {
	source
	err error
}

func (f fakeAdmin) Admin(context.Context, string, string, url.Values, url.Values) ([]byte, error) {
	return nil, f.err
}

// Seen red with the error swallowed.
func TestPublishRegistryReportsWhatNacosSays(t *testing.T) {
	s := newShell(t)
	s.put("proxy-credentials/books.yaml", bookKey)
	s.open = func(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
		d, err := openSources(ctx, cfg, log)
		if err == nil {
			d.main = fakeAdmin{d.main, fmt.Errorf("GET: %w", nacos.ErrForbidden)}
		}
		return d, err
	}
	s.fails(exitUnavailable, "look books up", "services", "publish", "--openapi", books(t), "--name", "books", "--registry")
	s.put("proxy-services/books.yaml", service)
	s.fails(exitFailed, "has the same name and would be served instead", "services", "publish", "--openapi", books(t), "--name", "books", "--registry")
}

// halfWay is a Nacos whose entry has a manifest and no spec.
type halfWay struct{ asked []string }

func (h *halfWay) Admin(_ context.Context, method, path string, _, form url.Values) ([]byte, error) {
	h.asked = append(h.asked, strings.TrimSpace(method+" "+form.Get("latest")))
	switch method {
	case http.MethodGet:
		return nil, fmt.Errorf("GET: %w", nacos.ErrNotFound)
	case http.MethodPost:
		return nil, fmt.Errorf("POST: %w", nacos.ErrConflict)
	}
	return nil, nil
}

// TestPublishRegistryRepairsWhatFailedHalfWay is the same on the real Nacos. Seen red with the conflict handed on.
func TestPublishRegistryUpdatesWhatItCannotCreate(t *testing.T) {
	h := &halfWay{}
	action, err := postRegistry(t.Context(), h, "public", &importing{name: "books", version: "1.0.0"}, &openapi.RegistryResult{})
	if diff := cmp.Diff([]string{"GET", "POST", "PUT true"}, h.asked); action != "updated" || err != nil || diff != "" {
		t.Errorf("%q %v, asked (-want +got):\n%s", action, err, diff)
	}
}
