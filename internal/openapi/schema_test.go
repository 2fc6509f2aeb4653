package openapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// written gives the schema that comes of one, as JSON.
func written(t *testing.T, schema string, way direction) string {
	t.Helper()
	src := `{"openapi":"3.0.0","servers":[{"url":"https://example.com"}],"s":` + schema + `,
		"Pet":{"type":"object","description":"a pet","required":["name","id"],"properties":{"name":{"type":"string"},"id":{"type":"integer","readOnly":true},"pin":{"type":"string","writeOnly":true}}},
		"Tree":{"type":"object","properties":{"left":{"$ref":"#/Tree"},"size":{"type":"integer"}}}}`
	s, err := open(t.Context(), []byte(src), Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	im := &importer{sources: s, root: place{s.main.root, s.main}, work: maxWork, levels: map[sized]int{}, detail: details[0]}
	n, err := im.schema(im.root.at("s"), way)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(n.appendJSON(nil))
}

func TestSchemas(t *testing.T) {
	tests := []struct {
		name, schema, want string
	}{
		{"plain", `{"type":"string","maxLength":3}`, `{"type":"string","maxLength":3}`},
		{"noise is left out", `{"title":"T","type":"string","example":"x","xml":{},"x-y":1,"externalDocs":{},"discriminator":{}}`, `{"type":"string"}`},
		{"type comes first", `{"description":"d","type":"string"}`, `{"type":"string","description":"d"}`},
		{"type that is not said", `{"properties":{"a":{}}}`, `{"type":"object","properties":{"a":{}}}`},
		{"types of other worlds", `{"type":"object","properties":{"a":{"type":"double"},"b":{"type":"long","format":"int64"},"c":{"type":"date-time"},"d":{"type":"nonsense"}}}`,
			`{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"integer"},"c":{"type":"string","format":"date-time"},"d":{}}}`},
		{"nullable", `{"type":"string","nullable":true,"enum":["a"]}`, `{"type":["string","null"],"enum":["a",null]}`},
		{"nullable choice", `{"nullable":true,"oneOf":[{"type":"string"},{"type":"integer"}]}`, `{"anyOf":[{"type":"string"},{"type":"integer"},{"type":"null"}]}`},
		{"exclusive limits of 3.0", `{"type":"number","minimum":1,"exclusiveMinimum":true,"maximum":5,"exclusiveMaximum":false}`, `{"type":"number","maximum":5,"exclusiveMinimum":1}`},
		{"exclusive limits of 3.1", `{"type":"number","exclusiveMinimum":1.50}`, `{"type":"number","exclusiveMinimum":1.50}`},
		{"numbers keep their digits", `{"type":"integer","maximum":12345678901234567890,"default":1e3}`, `{"type":"integer","maximum":12345678901234567890,"default":1e3}`},
		{"default as text", `{"type":"integer","default":"10"}`, `{"type":"integer","default":10}`},
		{"default of another type", `{"type":"integer","default":"many"}`, `{"type":"integer"}`},
		{"boolean default as text", `{"type":"boolean","default":"true"}`, `{"type":"boolean","default":true}`},
		{"enum of numbers as text", `{"type":"integer","enum":["1",2]}`, `{"type":"integer","enum":[1,2]}`},
		{"enum of text as numbers", `{"type":"string","enum":[1.0,true]}`, `{"type":"string","enum":["1.0","true"]}`},
		{"nullable enum of another spelling", `{"type":"string","nullable":true,"enum":[0,true]}`, `{"type":["string","null"],"enum":["0","true",null]}`},
		{"nullable default of another spelling", `{"type":"integer","nullable":true,"default":"10"}`, `{"type":["integer","null"],"default":10}`},
		{"types of 3.1 with an enum of another spelling", `{"type":["integer","null"],"enum":["1",2]}`, `{"type":["integer","null"],"enum":[1,2]}`},
		{"default null", `{"type":"string","nullable":true,"default":null}`, `{"type":["string","null"],"default":null}`},
		{"enum of a list's elements", `{"type":"array","enum":["red",1],"items":{"type":"string"}}`, `{"type":"array","items":{"type":"string","enum":["red","1"]}}`},
		{"enum of a list's elements that are not described", `{"type":"array","nullable":true,"enum":["red"]}`, `{"type":["array","null"],"items":{"enum":["red"]}}`},
		{"enum of lists", `{"type":"array","enum":[["red"],[]]}`, `{"type":"array","enum":[["red"],[]]}`},
		{"enum of both", `{"type":"array","enum":["red"],"items":{"type":"string","enum":["blue"]}}`, `{"type":"array","items":{"type":"string","enum":["blue"]}}`},
		{"limits as text, and no limits", `{"type":"string","maxLength":"5","minLength":-1,"minItems":1.5}`, `{"type":"string","maxLength":5}`},
		{"pattern that cannot be run", `{"type":"string","pattern":"^(?!a)b"}`, `{"type":"string"}`},
		{"pattern", `{"type":"string","pattern":"^a\\d+$"}`, `{"type":"string","pattern":"^a\\d+$"}`},
		{"tuple", `{"type":"array","items":[{"type":"string"},{"type":"integer"}]}`, `{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}]}`},
		{"map", `{"type":"object","additionalProperties":{"$ref":"#/Tree/properties/size"}}`, `{"type":"object","additionalProperties":{"type":"integer"}}`},
		{"anything else is what nothing means", `{"type":"object","additionalProperties":true}`, `{"type":"object"}`},
		{"required as a boolean", `{"type":"string","required":true}`, `{"type":"string"}`},
		{"schema that is none", `{"type":"array","items":"string"}`, `{"type":"array"}`},
		{"reference", `{"$ref":"#/Pet"}`, `{"type":"object","description":"a pet","required":["name"],"properties":{"name":{"type":"string"},"pin":{"type":"string"}}}`},
		{"reference with a description of its own", `{"$ref":"#/Pet","description":"mine"}`, `{"type":"object","description":"mine","required":["name"],"properties":{"name":{"type":"string"},"pin":{"type":"string"}}}`},
		{"reference to nothing", `{"type":"array","items":{"$ref":"#/Nobody"}}`, `error: follow "#/Nobody": there is no "Nobody"`},
		{"one alternative", `{"oneOf":[{"$ref":"#/Tree/properties/size"}],"description":"d"}`, `{"type":"integer","description":"d"}`},
		{"alternatives", `{"anyOf":[{"$ref":"#/Tree/properties/size"},{"type":"null"}]}`, `{"anyOf":[{"type":"integer"},{"type":"null"}]}`},
		{"one of overlapping alternatives", `{"oneOf":[{"type":"integer"},{"type":"number"}]}`, `{"anyOf":[{"type":"integer"},{"type":"number"}]}`},
		{"two choices", `{"oneOf":[{"minimum":1},{"minimum":2}],"anyOf":[{"maximum":3},{"maximum":4}]}`, `{"anyOf":[{"minimum":1},{"minimum":2}],"allOf":[{"anyOf":[{"maximum":3},{"maximum":4}]}]}`},
		{"discriminator with a mapping", `{"oneOf":[{"$ref":"#/Pet"},{"$ref":"#/Tree"},{"type":"string"}],"discriminator":{"propertyName":"name","mapping":{"pet":"#/Pet","p":"Pet","tree":"#/Tree"}}}`,
			`{"anyOf":[{"type":"object","description":"a pet","required":["name"],"properties":{"name":{"type":"string","enum":["pet","p"]},"pin":{"type":"string"}}},` +
				`{"type":"object","properties":{"left":{"type":"object","description":"nested further in the same way"},"size":{"type":"integer"},"name":{"type":"string","enum":["tree"]}},"required":["name"]},{"type":"string"}]}`},
		{"discriminator without one", `{"anyOf":[{"$ref":"#/Pet"},{"$ref":"#/Tree"}],"discriminator":{"propertyName":"name"}}`,
			`{"anyOf":[{"type":"object","description":"a pet","required":["name"],"properties":{"name":{"type":"string","description":"\"Pet\" in this form."},"pin":{"type":"string"}}},` +
				`{"type":"object","properties":{"left":{"type":"object","description":"nested further in the same way"},"size":{"type":"integer"},"name":{"type":"string","description":"\"Tree\" in this form."}},"required":["name"]}]}`},
		{"loop is cut", `{"$ref":"#/Tree"}`, `{"type":"object","properties":{"left":{"type":"object","description":"nested further in the same way"},"size":{"type":"integer"}}}`},
		{"allOf adds up", `{"allOf":[{"$ref":"#/Tree"},{"type":"object","required":["x"],"properties":{"x":{"type":"string"}}}]}`,
			`{"type":"object","properties":{"left":{"type":"object","description":"nested further in the same way"},"size":{"type":"integer"},"x":{"type":"string"}},"required":["x"]}`},
		{"allOf takes the stricter", `{"minimum":1,"allOf":[{"type":"number","minimum":3,"maximum":9},{"type":"integer","maximum":7}]}`, `{"type":"integer","minimum":3,"maximum":7}`},
		{"allOf of one property", `{"allOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"a":{"maxLength":2}}}]}`, `{"type":"object","properties":{"a":{"type":"string","maxLength":2}}}`},
		{"allOf of enums", `{"allOf":[{"enum":["a","b"]},{"enum":["b","c"]}]}`, `{"enum":["b"]}`},
		{"allOf that no single schema can say", `{"allOf":[{"type":"string","pattern":"a"},{"pattern":"b"}]}`, `{"type":"string","pattern":"a","allOf":[{"pattern":"b"}]}`},
		{"allOf of closed parts", `{"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}},"additionalProperties":false}]}`, `{"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, written(t, test.schema, request)); diff != "" {
				t.Errorf("schema (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("what is received", func(t *testing.T) {
		want := `{"type":"object","description":"a pet","required":["name","id"],"properties":{"name":{"type":"string"},"id":{"type":"integer"}}}`
		if diff := cmp.Diff(want, written(t, `{"$ref":"#/Pet"}`, response)); diff != "" {
			t.Errorf("schema (-want +got):\n%s", diff)
		}
	})
}

func TestOperations(t *testing.T) {
	tests := []struct {
		name, operation string
		has, lacks      []string // in the document
		finding         string
	}{
		{"security: first of several", `{"security":[{"a":[]},{"b":[]}]}`, []string{"security: {id: a}"}, []string{"id: b"}, ""},
		{"security: one rather than two", `{"security":[{"a":[],"b":[]},{"b":[]}]}`, []string{"security: {id: b}"}, []string{"id: a"}, ""},
		{"security: what can be followed", `{"security":[{"mutual":[]},{"b":[]}]}`, []string{"security: {id: b}"}, nil, ""},
		{"security: nothing can be followed", `{"security":[{"mutual":[]}]}`, nil, []string{"security"}, "calls are sent without credentials: mutual is of type mutualTLS, which is not supported"},
		{"security: a cookie", `{"security":[{"sid":[]}],"parameters":[{"name":"sid","in":"cookie","schema":{"type":"string"}}]}`,
			[]string{"security: {id: sid}", "{id: sid, type: apiKey, in: cookie, name: sid, defaultCredential: '{{.config.sid}}'}"}, []string{"position: cookie"}, ""},
		{"security: two cookies", `{"security":[{"a":[],"sid":[],"lang":[]}]}`, []string{"security: {id: a}", "{key: Cookie, value: 'sid={{.config.sid}}; lang={{.config.lang}}'}"}, nil, ""},
		{"security: not needed", `{"security":[]}`, nil, []string{"security"}, ""},
		{"security: perhaps needed", `{"security":[{},{"b":[]}]}`, []string{"security: {id: b}"}, nil, ""},
		{"security: two in one header", `{"security":[{"basic":[],"bearer":[],"a":[]}]}`, []string{"security: {id: basic}", "key: X-A"}, []string{"id: bearer"}, "POST /x/{id}: bearer is not sent: another credential stands where it belongs"},
		{"security: rather one than two in one header", `{"security":[{"basic":[],"bearer":[]},{"a":[]}]}`, []string{"security: {id: a}"}, []string{"basic"}, ""},
		{"result of one schema", `{"responses":{"200":` + body(`"num":{"type":"integer"}`) + `,"404":` + body(`"e":{}`) + `}}`, []string{"outputSchema: {type: object, properties: {num: {type: integer}}}"}, nil, ""},
		{"results of two schemas", `{"responses":{"200":` + body(`"n":{"type":"integer"}`) + `,"201":` + body(`"m":{"type":"integer"}`) + `}}`, nil, []string{"outputSchema"}, ""},
		{"results with and without a body", `{"responses":{"200":` + body(`"n":{"type":"integer"}`) + `,"204":{}}}`, nil, []string{"outputSchema"}, ""},
		{"result that is a list", `{"responses":{"200":{"content":{"application/json":{"schema":{"type":"array"}}}}}}`, nil, []string{"outputSchema"}, ""},
		{"path parameter not described", `{}`, []string{"{name: id, type: string, required: true, position: path}"}, nil, "the description leaves out the path parameter id; it is taken for text"},
		{"path parameter too many", `{"parameters":[{"name":"x","in":"path"}]}`, nil, []string{"name: x,"}, "the path parameter x is left out: the path does not hold it"},
		{"parameter of content", `{"parameters":[{"name":"f","in":"query","content":{"application/json":{"schema":{"type":"object"}}}}]}`, []string{"{name: f, type: object, position: query}"}, nil, ""},
		{"parameter of no place", `{"parameters":[{"name":"f","in":"air"}]}`, nil, nil, `parameter f: there is no place "air"`},
		{"own server", `{"servers":[{"url":"https://other.example.com/v2/"}]}`, []string{"url: 'https://other.example.com/v2/x/{id}'"}, nil, "it is sent to a server of its own, https://other.example.com/v2"},
		{"same names in several places", `{"parameters":[{"name":"id","in":"path"},{"name":"id","in":"query"},{"name":"id","in":"header"}]}`, []string{"name: query_id", "name: header_id", `{{if hasKey .args "query_id"}}id={{.args.query_id}}{{end}}`}, nil, ""},
		{"long name", `{"operationId":"` + strings.Repeat("name", 30) + `"}`, []string{"name: namenamenamenamenamenamenamenamenamenamenamenamenamenam_"}, nil, ""},
		{"JSON of a vendor", `{"requestBody":{"content":{"application/vnd.api+json":{"schema":{"type":"object","properties":{"a":{"type":"string"}}}}}}}`, []string{"value: application/vnd.api+json", "name: a,"}, nil, ""},
		{"JSON rather than a form", `{"requestBody":{"content":{"application/x-www-form-urlencoded":{},"application/json":{"schema":{"type":"object","properties":{"a":{"type":"string"}}}}}}}`, []string{"name: a,"}, []string{"form"}, ""},
		{"body of any kind", `{"requestBody":{"required":true,"content":{"application/json":{}}}}`, []string{"body: {}", "required: [id, body]"}, nil, ""},
		{"words that were booleans", `{"parameters":[{"name":"f","in":"query","schema":{"type":"string","enum":["yes","off"]}}]}`, []string{`enum: ["yes", "off"]`}, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src := fmt.Sprintf(`{"openapi":"3.0.0","servers":[{"url":"https://example.com"}],"paths":{"/x/{id}":{"post":%s},"/other":{"get":{}}},"components":{"securitySchemes":{
				"a":{"type":"apiKey","in":"header","name":"X-A"},"b":{"type":"http","scheme":"Bearer"},"mutual":{"type":"mutualTLS"},"sid":{"type":"apiKey","in":"cookie","name":"sid"},"lang":{"type":"apiKey","in":"cookie","name":"lang"},"basic":{"type":"http","scheme":"basic"},"bearer":{"type":"openIdConnect"}}}}`, test.operation)
			r, err := Import(t.Context(), []byte(src), Options{Name: "demo"})
			if err != nil {
				t.Fatal(err)
			}
			service := compiled(t, r.Document)
			if len(service.Order) != len(r.Tools) {
				t.Errorf("%d of %d tools can be called", len(service.Order), len(r.Tools))
			}
			text := string(r.Document)
			for _, s := range test.has {
				if !strings.Contains(text, s) {
					t.Errorf("no %q in\n%s", s, text)
				}
			}
			for _, s := range test.lacks {
				if strings.Contains(text, s) {
					t.Errorf("%q in\n%s", s, text)
				}
			}
			found := fmt.Sprint(r.Skipped, r.Notes)
			if !strings.Contains(found, test.finding) {
				t.Errorf("findings %s, want %q", found, test.finding)
			}
		})
	}
}

// body is a response of a JSON object with properties.
func body(properties string) string {
	return `{"content":{"application/json":{"schema":{"type":"object","properties":{` + properties + `}}}}}`
}
