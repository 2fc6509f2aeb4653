package template

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// Documents and paths that cover GJSON's syntax page and the corners its code has.
var (
	gjsonDocuments = []string{
		`{"name":{"first":"Tom","last":"Anderson"},"age":37,"children":["Sara","Alex","Jack"],"fav.movie":"Deer Hunter",
		  "friends":[{"first":"Dale","last":"Murphy","age":44,"nets":["ig","fb","tw"],"ok":true},
		             {"first":"Roger","last":"Craig","age":68,"nets":["fb","tw"],"ok":false},
		             {"first":"Jane","last":"Murphy","age":47,"nets":["ig","tw"],"ok":null}],
		  "text":"{\"id\":1023,\"l\":[1,{\"a\":\"b\"}]}","@id":"7","a*b":1,"null":null,"e":"é\n","num":[1,2.50,-3e2,10],"s":["10","2","x"],
		  "deep":[1,[2],[3,[4,[5,"x"]]],[],[[]]],"objs":[{"a":1,"b":2},{"a":3},5,{"c":null}]}`,
		`[{"v":3,"n":"three"},{"v":7,"n":"seven"},[1,2,[3]],"text",12,true,false,null,{"v":9,"m":{"n":[{"k":"x"},{"k":"y"}]}}]`,
		`[[[1]],[[2,3]],[]]`, `"a \"quoted\" string"`, `12`, `true`, `null`, `[]`, `{}`,
	}
	gjsonPaths = []string{
		`name.last`, `age`, `children.#`, `children.1`, `child*.2`, `c?ildren.0`, `fav\.movie`, `friends.#.first`, `friends.1.last`,
		`friends.#(last=="Murphy").first`, `friends.#(last=="Murphy")#.first`, `friends.#(age>45)#.last`, `friends.#(first%"D*").last`,
		`friends.#(first!%"D*").last`, `friends.#(nets.#(=="fb"))#.first`, `friends.#(nets.#(=="ig"))#.age`, `friends.#(ok=~true)#.first`,
		`friends.#(ok=~false)#.first`, `friends.#(ok=~null)#.first`, `friends.#(none=~*)#.first`, `friends.#(ok=~*)#.first`, `friends.#(first)#`,
		`friends.#(age>=44)#|#`, `friends.#(age<45).nets|@reverse`, `friends.#.nets.#`, `friends.#.nets|#`, `friends.#.nets.0`, `friends.#.nets|0`,
		`friends|@reverse|0.first`, `friends.@reverse.0.first`, `children|@reverse`, `name|@keys`, `name.@values`, `name|@keys|@reverse`, `@this`,
		`@this|age`, `@reverse`, `@keys`, `@values`, `@ugly`, `@valid`, `@tostr`, `@tostr|@fromstr`, `name.@tostr`, `name|@tostr|@fromstr|first`,
		`text.@fromstr`, `text|@fromstr|l.1.a`, `text.@fromstr.id`, `age.@fromstr`, `null.@fromstr`, `children.@fromstr`, `e.@fromstr`,
		`{name.first,age}`, `{"n":name.first,"a":age}`, `{n:name.first,age,"x":none}`, `[name.first,age,none]`, `friends.#.{first,"a":age}`,
		`friends.#.[first,age]`, `{name.first,"l":friends.#.last}.l.1`, `[age,name].1.first`, `{"x":{age}}`, `[[age],[name.last]]|0|0`,
		`{friends.#.first|@reverse}`, `{age}|age`, `{age}x`, `{"lit":!"Hello","n":!12,"t":!true,"o":!{"a":1},"l":![1,2]}`, `!"x"`, `!true`, `!null`,
		`!{"a":[1,2]}|a.1`, `![1,2]|#`, `friends.#.!"x"`, `@id`, `@none`, `name.@none`, `none`, `none|@keys`, `none|@values`, `none|[age]`,
		`none.x|@keys`, `none|@tostr`, `a\*b`, `a*b`, `*`, `*.first`, `n*.f*`, `friends.#(age>100)#`, `friends.#(age>100)`, `friends.#(age>100)#.first|@keys`,
		`num.#(>1)#`, `num.#(<=2.5)`, `num.#(=10)`, `num.#(!=1)#`, `s.#(>"10")#`, `s.#(=="x")`, `s.#(%"?")#`, `num.@reverse`, `deep.@flatten`,
		`deep.@flatten:{"deep":true}`, `deep|@flatten:{"deep":true}|#`, `objs.@join`, `objs.@join:{"preserve":true}`, `objs.#.a`, `objs.#(a)#.b`,
		`objs.#(c=~null)#`, `..0.age`, `..#`, `..#.v`, `..1`, `0.v`, `#`, `#.v`, `#.n`, `#(v>5)#.n`, `#(v>5).n`, `#(v>5)#`, `2.2.0`, `2.#`, `3`, `#(=="text")`,
		`#(==true)`, `#(!=true)#`, `#(>=true)#`, `#(<true)#`, `#(==null)`, `#(v)#|#`, `8.m.n.#(k=="y").k`, `8.m.n.#.k`, `#.m.n.#.k`, `#.#`, `#.#.#`, `0.0.0`,
		`#.0.0`, `#(#)#`, `99`, `-1`, `01.n`, `x`, ``, `.`, `a.`, `#.`, `#()`, `#()#`, `[`, `{`, `@`, `!`, `friends.#(first=="a\"b")`, `name.first.x`,
		`friends.0.nets.-1`, `friends.#(last="Murphy")#.@this.first`, `friends.#(age>45)#.nets.@this.0`, `@this.name.@this.first`, `friends.#.@this|0.age`,
	}
)

// viaLibrary is what package gjson makes of a path, as compact JSON; empty where it finds nothing.
func viaLibrary(json, path string) string {
	r := gjson.Get(json, path)
	if !r.Exists() {
		return ""
	}
	v, err := parseJSON(r.Raw)
	if err != nil {
		return "no JSON"
	}
	return string(v.AppendJSON(nil))
}

func viaTemplate(t testing.TB, json, path string) (string, error) {
	t.Helper()
	v, err := parseJSON(json)
	if err != nil {
		t.Fatal(err)
	}
	e := &exec{t: &Template{}, root: v, steps: 1 << 20, memory: 1 << 20, limit: 1 << 20}
	v, err = e.gjson(e.root, path)
	if !v.Exists() {
		return "", err
	}
	return string(v.AppendJSON(nil)), err
}

// Seen red with each clause of gjson_path.go and of modify taken out in turn.
func TestGJSONPathsLeadWhereTheLibraryGoes(t *testing.T) {
	found := 0
	for _, json := range gjsonDocuments {
		for _, path := range gjsonPaths {
			got, err := viaTemplate(t, json, path)
			if want := viaLibrary(json, path); err != nil || got != want {
				t.Errorf("%.20s… %s\n got %s, %v\nwant %s", json, path, got, err, want)
			} else if want != "" {
				found++
			}
		}
	}
	t.Logf("%d paths found something", found)
}

// What the library takes from a path is what we take. It differs, on purpose, in what is no JSON, in names given twice,
// in paths that are malformed, and in what we do not run.
func FuzzGJSON(f *testing.F) {
	for i := range gjsonDocuments[:3] {
		for _, path := range gjsonPaths {
			f.Add(i, path)
		}
	}
	f.Fuzz(func(t *testing.T, doc int, path string) {
		if doc < 0 || doc >= len(gjsonDocuments) {
			return
		}
		if got, err := viaTemplate(t, gjsonDocuments[doc], path); err != nil && !errors.Is(err, ErrBudget) && !strings.Contains(err.Error(), "is not available") {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	})
}
