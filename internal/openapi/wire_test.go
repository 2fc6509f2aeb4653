package openapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
)

// TestAsksForWhatItTakes was seen to fail without accept: backends that offer XML first sent that, and the tools that
// promise JSON had none.
func TestAsksForWhatItTakes(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"JSON among others", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"200":{"content":{"application/xml":{},"application/json":{}}}}}}}`, "application/json"},
		{"JSON of a vendor", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"404":{"content":{"application/json":{}}},"200":{"content":{"application/xml":{},"application/vnd.x+json;charset=utf-8":{}}}}}}}`, "application/vnd.x+json"},
		{"a parameter that matters", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"200":{"content":{"application/json;odata=verbose":{}}}}}}}`, "application/json;odata=verbose"},
		{"only XML", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"2XX":{"content":{"application/xml":{}}}}}}}`, "application/xml"},
		{"an image", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"200":{"content":{"image/png":{}}}}}}}`, "image/png"},
		{"anything", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"200":{"content":{"*/*":{}}}}}}}`, ""},
		{"nothing", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"204":{"description":"gone"}}}}}`, ""},
		{"a template", `"openapi":"3.0.3","paths":{"/x":{"get":{"responses":{"200":{"content":{"application/{{.config.x}}":{},"application/${credential:x/y}":{}}}}}}}`, ""},
		{"Swagger", `"swagger":"2.0","produces":["text/xml","application/json"],"paths":{"/x":{"get":{}}}`, "application/json"},
		{"Swagger of the operation", `"swagger":"2.0","produces":["application/json"],"paths":{"/x":{"get":{"produces":["text/csv"]}}}`, "text/csv"},
		{"Swagger that does not say", `"swagger":"2.0","paths":{"/x":{"get":{}}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, service := range forms(t, `{"host":"example.com","servers":[{"url":"https://example.com"}],`+c.src+`}`) {
				request, result, err := service.Order[0].Request(convert.Call{Header: http.Header{}})
				if err != nil || request == nil {
					t.Fatalf("no request: %v %s", err, result)
				}
				if got := request.Header.Get("Accept"); got != c.want {
					t.Errorf("%s asks for %q, want %q", form, got, c.want)
				}
			}
		})
	}
}

// TestStylesAreWrittenAsTheySay goes through the styles of OpenAPI 3 (3.0.3, "Style Examples") for lists and objects. Lists
// by matrix with explode, and objects in paths, headers and without explode, were seen to be JSON text or one value.
func TestStylesAreWrittenAsTheySay(t *testing.T) {
	const list, object = `{"type":"array","items":{"type":"string"}}`, `{"type":"object","properties":{"R":{"type":"integer"},"G":{"type":"string"}}}`
	const values, members = `["a","b,c"]`, `{"R":1,"G":"2/3"}`
	for _, c := range []struct{ in, style, explode, schema, value, want string }{
		{"path", "simple", "false", list, values, "/x/a,b%2Cc/y"},
		{"path", "simple", "true", list, values, "/x/a,b%2Cc/y"},
		{"path", "label", "false", list, values, "/x/.a,b%2Cc/y"},
		{"path", "label", "true", list, values, "/x/.a.b%2Cc/y"},
		{"path", "matrix", "false", list, values, "/x/;c=a,b%2Cc/y"},
		{"path", "matrix", "true", list, values, "/x/;c=a;c=b%2Cc/y"},
		{"path", "simple", "false", object, members, "/x/R,1,G,2%2F3/y"},
		{"path", "simple", "true", object, members, "/x/R=1,G=2%2F3/y"},
		{"path", "label", "false", object, members, "/x/.R,1,G,2%2F3/y"},
		{"path", "label", "true", object, members, "/x/.R=1.G=2%2F3/y"},
		{"path", "matrix", "false", object, members, "/x/;c=R,1,G,2%2F3/y"},
		{"path", "matrix", "true", object, members, "/x/;R=1;G=2%2F3/y"},
		{"path", "label", "false", `{"type":"string"}`, `"a/b"`, "/x/.a%2Fb/y"},
		{"path", "matrix", "true", `{"type":"string"}`, `"a"`, "/x/;c=a/y"},
		{"query", "form", "false", object, members, "/x?c=R,1,G,2%2F3"},
		{"query", "form", "true", object, members, "/x?R=1&G=2%2F3"},
		{"query", "form", "false", object, `{}`, "/x"},
		{"query", "deepObject", "true", object, members, "/x?c[R]=1&c[G]=2%2F3"},
		{"header", "simple", "false", object, members, "/x C: R,1,G,2/3"},
		{"header", "simple", "true", object, members, "/x C: R=1,G=2/3"},
		{"header", "simple", "false", list, values, "/x C: a,b,c"},
	} {
		t.Run(strings.Join([]string{c.in, c.style, c.explode, c.value}, " "), func(t *testing.T) {
			path := map[string]string{"path": "/x/{c}/y"}[c.in]
			if path == "" {
				path = "/x"
			}
			src := fmt.Sprintf(`{"openapi":"3.0.3","servers":[{"url":"https://example.com"}],"paths":{%q:{"get":{"operationId":"x","parameters":[{"name":"c","in":%q,"required":%t,"style":%q,"explode":%s,"schema":%s}]}}}}`,
				path, c.in, c.in == "path", c.style, c.explode, c.schema)
			for form, service := range forms(t, src) {
				request, result, err := service.Tools["x"].Request(convert.Call{Arguments: []byte(`{"c":` + c.value + `}`), Header: http.Header{}})
				if err != nil || request == nil {
					t.Fatalf("no request: %v %s", err, result)
				}
				got := request.URL
				if v, ok := request.Header["C"]; ok {
					got += " C: " + v[0]
				}
				if got != c.want {
					t.Errorf("%s sends %s, want %s", form, got, c.want)
				}
			}
		})
	}
}

// TestSwaggerFormsAndBodies was seen to fail while every list in a form was repeated, whatever collectionFormat says, and
// the last of several JSON types was taken.
func TestSwaggerFormsAndBodies(t *testing.T) {
	const src = `{"swagger":"2.0","host":"example.com","paths":{
		"/form":{"post":{"operationId":"form","consumes":["application/x-www-form-urlencoded"],"parameters":[
			{"name":"csv","in":"formData","type":"array","items":{"type":"string"}},
			{"name":"multi","in":"formData","type":"array","collectionFormat":"multi","items":{"type":"string"}},
			{"name":"pipes","in":"formData","type":"array","collectionFormat":"pipes","items":{"type":"string"}}]}},
		"/plain":{"post":{"operationId":"plain","consumes":["application/x-www-form-urlencoded"],"parameters":[{"name":"a","in":"formData","type":"array","collectionFormat":"multi","items":{"type":"string"}}]}},
		"/json":{"post":{"operationId":"json","consumes":["application/xml","application/json","application/vnd.api+json"],"parameters":[{"name":"body","in":"body","schema":{"type":"object","properties":{"x":{"type":"string"}}}}]}},
		"/vendor":{"post":{"operationId":"vendor","consumes":["text/plain","application/vnd.a+json","application/vnd.b+json"],"parameters":[{"name":"body","in":"body","schema":{"type":"object","properties":{"x":{"type":"string"}}}}]}}}}`
	for form, service := range forms(t, src) {
		for _, c := range []struct{ tool, arguments, want string }{
			{"form", `{"csv":["a","b"],"multi":["c","d"],"pipes":["e","f"]}`, "POST /form?\nContent-Type: application/x-www-form-urlencoded\n\ncsv=a%2Cb&multi=c&multi=d&pipes=e%7Cf"},
			{"plain", `{"a":["b","c"]}`, "POST /plain?\nContent-Type: application/x-www-form-urlencoded\n\na=b&a=c"},
			{"json", `{"x":"1"}`, "POST /json?\nContent-Type: application/json; charset=utf-8\n\n" + `{"x":"1"}`},
			{"vendor", `{"x":"1"}`, "POST /vendor?\nContent-Type: application/vnd.a+json\n\n" + `{"x":"1"}`},
		} {
			if diff := cmp.Diff(c.want, normal(sent(t, service, c.tool, c.arguments))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", form, diff)
			}
		}
	}
}

// TestPathGivenTwice was seen to fail while the last of two was all that counted, without a word.
func TestPathGivenTwice(t *testing.T) {
	for name, src := range map[string]string{
		"JSON": `{"openapi":"3.0.3","servers":[{"url":"https://example.com"}],"paths":{"/x":{"get":{"operationId":"first"},"put":{"operationId":"put"}},"/y":{"get":{"operationId":"lost"},"get":{"operationId":"kept"}},"/x":{"get":{"operationId":"second"},"post":{"operationId":"post"}}}}`,
		"YAML": "openapi: 3.0.3\nservers: [{url: 'https://example.com'}]\npaths:\n  /x: {get: {operationId: first}, put: {operationId: put}}\n  /y: {get: {operationId: lost}, get: {operationId: kept}}\n  /x: {get: {operationId: second}, post: {operationId: post}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Import(t.Context(), []byte(src), Options{Name: "demo"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"second", "post", "put", "kept"}, r.Tools); diff != "" {
				t.Errorf("tools (-want +got):\n%s", diff)
			}
			want := []string{"/x is given more than once: all of its operations are taken, the last one where they have the same method", "GET /y: it is given more than once: the last one is taken"}
			var notes []string
			for _, n := range r.Notes {
				notes = append(notes, n.String())
			}
			if diff := cmp.Diff(want, notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestListsWhereObjectsBelong was seen to panic for a path item, and for responses and contents that are lists.
func TestListsWhereObjectsBelong(t *testing.T) {
	for name, paths := range map[string]string{
		"path item":  `{"/x":[{"get":{}}],"/y":{"get":{}}}`,
		"operation":  `{"/x":{"get":[{}]},"/y":{"get":{}}}`,
		"responses":  `{"/y":{"get":{"responses":[{"description":"ok"}]}}}`,
		"content":    `{"/y":{"get":{"responses":{"200":{"content":[{}]}}}}}`,
		"body":       `{"/x":{"post":{"requestBody":{"content":[{}]}}},"/y":{"get":{}}}`,
		"parameters": `{"/x":{"get":{"parameters":{"a":{}}}},"/y":{"get":{}}}`,
		"security":   `{"/y":{"get":{"security":{"a":[]}}}}`,
		"properties": `{"/y":{"get":{"parameters":[{"name":"q","in":"query","schema":{"properties":[{}],"discriminator":[],"oneOf":[{},{}]}}]}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Import(t.Context(), []byte(`{"openapi":"3.0.3","servers":[{"url":"https://example.com","variables":[{}]}],"paths":`+paths+`}`), Options{Name: "demo"})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Tools) == 0 || r.Tools[len(r.Tools)-1] != "get_y" {
				t.Errorf("tools %q, skipped %v", r.Tools, r.Skipped)
			}
		})
	}
	if _, err := Import(t.Context(), []byte(`{"openapi":"3.0.3","servers":[{"url":"https://example.com"}],"paths":[{"/x":{}}]}`), Options{Name: "demo"}); err == nil || !strings.Contains(err.Error(), "it has no operations") {
		t.Errorf("paths that are a list: %v", err)
	}
}

// TestHeaderNamesEveryHost was seen to fail while the comment named the host of the description's server alone: calls to the
// other one were refused their credential.
func TestHeaderNamesEveryHost(t *testing.T) {
	const src = `{"openapi":"3.0.3","servers":[{"url":"https://one.example.com"}],"security":[{"k":[]}],"paths":{"/a":{"get":{}},"/b":{"get":{"servers":[{"url":"https://two.example.com:8443/v2"}]}},
		"/c":{"get":{"security":[],"servers":[{"url":"https://open.example.com"}]}}},"components":{"securitySchemes":{"k":{"type":"apiKey","in":"header","name":"X-Key"}}}}`
	r, err := Import(t.Context(), []byte(src), Options{Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "#   hosts: [one.example.com, two.example.com:8443]\n"; !strings.Contains(string(r.Document), want) {
		t.Errorf("no %q in\n%s", want, r.Document)
	}
}

// TestPairsStandApart leaves every set of arguments out of a query and of a form: what is sent is the pairs of those given, with
// one "&" between each two. Seen red with "&" behind each pair that is given.
func TestPairsStandApart(t *testing.T) {
	const parts = `{"name":"list","in":"query","style":"form","explode":false,"schema":{"type":"array","items":{"type":"string"}}},
		{"name":"deep","in":"query","style":"deepObject","schema":{"type":"object"}},
		{"name":"flat","in":"query","style":"form","explode":false,"schema":{"type":"object"}},
		{"name":"sort[by]","in":"query","schema":{"type":"string"}},
		{"name":"each[]","in":"query","schema":{"type":"array","items":{"type":"string"}}},
		{"name":"plain","in":"query","schema":{"type":"integer"}}`
	const form = `"list":{"type":"array","items":{"type":"string"}},"deep":{"type":"object"},"sort[by]":{"type":"string"},"each[]":{"type":"array","items":{"type":"string"}},"plain":{"type":"integer"}`
	const encoding = `"list":{"style":"form","explode":false},"deep":{"style":"deepObject"}`
	src := `{"openapi":"3.0.3","servers":[{"url":"https://example.com"}],"paths":{
		"/q":{"get":{"operationId":"query","parameters":[` + parts + `]}},
		"/a":{"get":{"operationId":"after","parameters":[` + parts + `,{"name":"must","in":"query","required":true,"schema":{"type":"string","enum":["m"]}}]}},
		"/f":{"post":{"operationId":"form","requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{` + form + `}},"encoding":{` + encoding + `}}}}}}}}`
	given := []struct {
		argument string
		sent     []string
	}{
		{`"list":["a","b"]`, []string{"list=a,b"}},
		{`"deep":{"x":1,"y":2}`, []string{"deep[x]=1", "deep[y]=2"}},
		{`"sort_by":"r"`, []string{"sort[by]=r"}},
		{`"each":["c","d"]`, []string{"each[]=c", "each[]=d"}},
		{`"plain":7`, []string{"plain=7"}},
		{`"flat":{"z":3}`, []string{"flat=z,3"}},
	}
	for name, service := range forms(t, src) {
		for tool, n := range map[string]int{"query": 6, "after": 6, "form": 5} {
			for set := range 1 << n {
				var arguments, want []string
				if tool == "after" {
					want = append(want, "must=m")
				}
				for i, g := range given[:n] {
					if set&(1<<i) != 0 {
						arguments, want = append(arguments, g.argument), append(want, g.sent...)
					}
				}
				request, result, err := service.Tools[tool].Request(convert.Call{Arguments: []byte("{" + strings.Join(arguments, ",") + "}"), Header: http.Header{}})
				if err != nil || request == nil {
					t.Fatalf("%s, %s: no request: %v %s", name, arguments, err, result)
				}
				text := string(request.Body)
				if tool != "form" {
					_, text, _ = strings.Cut(request.URL, "?")
				}
				var got []string
				if text != "" {
					got = strings.Split(strings.NewReplacer("%5B", "[", "%5D", "]", "%2C", ",").Replace(text), "&")
				}
				slices.Sort(got)
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("%s of %s with %s sends %s (-want +got):\n%s", tool, name, arguments, text, diff)
				}
			}
		}
	}
}
