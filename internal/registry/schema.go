package registry

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// argsOfSchema derives the arguments from an input schema, in its order, and positions from where. An argument
// without a position whose {name} stands in the path of the URL goes there.
func argsOfSchema(schema []byte, where map[string]string, url string) []Arg {
	var list []Arg
	root := gjson.ParseBytes(schema)
	required := map[string]bool{}
	member(root, "required").ForEach(func(_, v gjson.Result) bool {
		required[v.String()] = true
		return true
	})
	path, _, _ := strings.Cut(url, "?")
	at := map[string]int{}
	add := func(a Arg) {
		if i, ok := at[a.Name]; ok {
			list[i] = a
			return
		}
		at[a.Name] = len(list)
		list = append(list, a)
	}
	if properties := member(root, "properties"); properties.IsObject() {
		properties.ForEach(func(k, v gjson.Result) bool {
			a := Arg{Name: k.String(), Description: member(v, "description").String(), Required: required[k.String()], Position: where[k.String()]}
			switch t := member(v, "type"); {
			case t.Type == gjson.String:
				a.Type = t.String()
			case t.IsArray(): // ["integer", "null"]
				t.ForEach(func(_, one gjson.Result) bool {
					a.Type = one.String()
					return a.Type == "null"
				})
			}
			if d := member(v, "default"); d.Exists() {
				a.Default = json.RawMessage(strings.Clone(d.Raw))
			}
			if a.Position == "" && strings.Contains(path, "{"+a.Name+"}") && !strings.Contains(path, "{{"+a.Name+"}}") {
				a.Position = InPath
			}
			add(a)
			return true
		})
	}
	return list
}

// member gives the value of an object's member by its exact name, the last one where it comes twice.
func member(object gjson.Result, name string) (found gjson.Result) {
	if !object.IsObject() {
		return found
	}
	object.ForEach(func(k, v gjson.Result) bool {
		if k.String() == name {
			found = v
		}
		return true
	})
	return found
}
