package registry

import (
	"strings"

	"github.com/tidwall/gjson"
)

// maxSearched bounds the URLs that are searched for {name}.
const maxSearched = 8192

// argsOfSchema derives the arguments from an input schema, in its order, and positions from where. An argument
// without a position whose {name} stands in the path of the URL goes there. A default in the schema tells what the
// backend assumes and stays out of the arguments: sent, it would count as said by the caller.
func argsOfSchema(schema []byte, where map[string]string, url string) []Arg {
	var list []Arg
	root := gjson.ParseBytes(schema)
	required := map[string]bool{}
	member(root, "required").ForEach(func(_, v gjson.Result) bool {
		required[v.String()] = true
		return true
	})
	path, _, _ := strings.Cut(url, "?")
	if len(path) > maxSearched {
		path = ""
	}
	at := map[string]int{}
	if properties := member(root, "properties"); properties.IsObject() {
		properties.ForEach(func(k, v gjson.Result) bool {
			a := Arg{Name: strings.Clone(k.String()), Description: strings.Clone(member(v, "description").String()), Required: required[k.String()], Position: where[k.String()]}
			switch t := member(v, "type"); {
			case t.Type == gjson.String:
				a.Type = strings.Clone(t.String())
			case t.IsArray(): // ["integer", "null"]
				t.ForEach(func(_, one gjson.Result) bool {
					a.Type = strings.Clone(one.String())
					return a.Type == "null"
				})
			}
			if a.Position == "" && !strings.ContainsAny(a.Name, "{}/?#") && strings.Contains(path, "{"+a.Name+"}") && !strings.Contains(path, "{{"+a.Name+"}}") {
				a.Position = InPath
			}
			if i, ok := at[a.Name]; ok {
				list[i] = a // of two with one name the last one counts
				return true
			}
			at[a.Name] = len(list)
			list = append(list, a)
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
