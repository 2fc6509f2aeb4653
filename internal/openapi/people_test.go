package openapi

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
)

// TestNothingIsSentThatWasNotGiven imports the descriptions named in NMP_TEST_DESCRIPTIONS, a list of paths as in PATH,
// and calls every PATCH and PUT tool with what its schema requires: the body must hold that and no more. GitHub's
// (npm package @octokit/openapi, generated/api.github.com.json) and Docker's (moby/moby, api/swagger.yaml) are what it
// was made for. While defaults became arguments' defaults it failed for dozens of tools.
func TestNothingIsSentThatWasNotGiven(t *testing.T) {
	paths := os.Getenv("NMP_TEST_DESCRIPTIONS")
	if paths == "" {
		t.Skip("NMP_TEST_DESCRIPTIONS names no API descriptions")
	}
	for _, path := range filepath.SplitList(paths) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src := read(t, path)
			services := map[string]*convert.Service{}
			for _, method := range []string{"PATCH", "PUT"} {
				o := Options{Name: "demo", UpstreamURL: "https://example.com", Include: []string{method + " *"}}
				r, err := Import(t.Context(), src, o)
				if err != nil && strings.Contains(err.Error(), "selects no operation") {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d of %d operations became tools", method, len(r.Tools), r.Found)
				services[method+" document"] = compiled(t, r.Document)
				stored, err := ImportRegistry(t.Context(), src, "", o)
				if err != nil {
					t.Fatal(err)
				}
				services[method+" registry"] = assembled(t, stored)
			}
			for form, service := range services {
				tools, bodies := 0, 0
				for _, tool := range service.Order {
					given := minimal(t, tool)
					request, result, err := tool.Request(convert.Call{Arguments: given.appendJSON(nil), Header: http.Header{}})
					if err != nil || request == nil {
						t.Errorf("%s %s: no request for %s: %v %s", form, tool.Name, given.appendJSON(nil), err, result)
						continue
					}
					tools++
					if len(request.Body) > 0 {
						bodies++
					}
					for _, name := range added(t, given, request) {
						if !slices.Contains(asked(t, tool), name) {
							t.Logf("%s %s: %s is a constant: %s", form, tool.Name, name, request.Body)
							continue
						}
						t.Errorf("%s %s: %s was not given: %s", form, tool.Name, name, request.Body)
					}
				}
				t.Logf("%s: %d tools called, %d with a body", form, tools, bodies)
			}
		})
	}
}

// added lists the members of a body that are not among the arguments.
func added(t *testing.T, given *node, request *convert.Request) (names []string) {
	t.Helper()
	if len(request.Body) == 0 {
		return nil
	}
	if strings.HasPrefix(request.Header.Get("Content-Type"), mediaForm) {
		form, err := url.ParseQuery(string(request.Body))
		if err != nil {
			t.Fatal(err)
		}
		for name := range form {
			if given.get(strings.TrimSuffix(name, "[]")) == nil {
				names = append(names, name)
			}
		}
		return names
	}
	body, err := parseJSON(request.Body)
	whole := given.get("body")
	if whole.is(text) && whole.text == string(request.Body) || err == nil && equal(whole, body) {
		return nil
	}
	if err != nil || !body.is(object) {
		return []string{"body"}
	}
	for i, name := range body.keys {
		if !equal(given.get(name), body.items[i]) {
			names = append(names, name)
		}
	}
	return names
}

// minimal makes the smallest arguments that the tool's schema takes.
func minimal(t *testing.T, tool *convert.Tool) *node {
	t.Helper()
	return least(inputSchema(t, tool))
}

func least(schema *node) *node {
	if v := schema.get("const"); v != nil {
		return v
	}
	if e := schema.get("enum"); e != nil {
		return e.items[0]
	}
	types := typesOf(schema.get("type"))
	for _, key := range []string{"oneOf", "anyOf"} {
		if choice := schema.get(key); choice != nil {
			one := least(choice.items[0])
			if len(types) == 0 || types[0] != "object" {
				return one
			}
			made := leastObject(schema)
			for i := range itemsOf(one) {
				if one.is(object) {
					made.set(one.keys[i], one.items[i])
				}
			}
			// {required: [a]} beside properties of its own: the value comes from there.
			for _, name := range itemsOf(choice.items[0].get("required")) {
				if p := schema.get("properties").get(name.text); p != nil {
					made.set(name.text, least(p))
				}
			}
			return made
		}
	}
	switch kind := append(types, "string")[0]; kind {
	case "object":
		return leastObject(schema)
	case "array":
		made := newList()
		if n := schema.get("minItems"); n != nil && n.text != "0" && schema.get("items") != nil {
			made.items = append(made.items, least(schema.get("items")))
		}
		return made
	case "integer", "number":
		if n := schema.get("minimum"); n != nil {
			return n
		}
		return &node{kind: number, text: "7"}
	case "boolean":
		return newBool(true)
	}
	length := 4 // also base64
	if n := schema.get("maxLength"); n != nil && len(n.text) == 1 {
		length = min(length, int(n.text[0]-'0'))
	}
	return newText(strings.Repeat("a", length))
}

func leastObject(schema *node) *node {
	made := newObject()
	for _, name := range itemsOf(schema.get("required")) {
		if p := schema.get("properties").get(name.text); p.is(object) {
			made.set(name.text, least(p))
		} else {
			made.set(name.text, newText("a"))
		}
	}
	return made
}
