package registry

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// object is a mapping whose fields are known by name.
type object struct {
	r    *reader
	path string
	node *yaml.Node
	at   map[string]*yaml.Node
}

// resolve follows an alias; the tree is known to be free of loops.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// object reads a mapping that may hold the fields known and no other. It is nil if n is no mapping; faults
// of single fields are noted and the rest can be read.
func (r *reader) object(n *yaml.Node, path string, known ...string) *object {
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		if path == "" && r.tool == "" {
			r.reject(n, path, "document must be a mapping of fields, not %s", kindOf(n))
		} else {
			r.reject(n, path, "must be a mapping of fields, not %s", kindOf(n))
		}
		return nil
	}
	o := &object{r: r, path: path, node: n, at: make(map[string]*yaml.Node, len(n.Content)/2)}
	for _, f := range r.fields(n, path) {
		if !contains(known, f.name) {
			r.reject(f.key, join(path, r.shown(f.name)), "unknown field %q%s", r.shown(f.name), spelling.DidYouMean(f.name, known))
			continue
		}
		o.at[f.name] = f.value
	}
	return o
}

type field struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// fields gives the fields of a mapping in document order, YAML's merge keys ("<<") resolved. Names that are
// not scalars and names that come twice are rejected and left out.
func (r *reader) fields(n *yaml.Node, path string) []field {
	list := make([]field, 0, len(n.Content)/2)
	seen := make(map[string]int, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		if key.Kind != yaml.ScalarNode || isNull(key) {
			r.reject(n.Content[i], path, "field name must be text, not %s", kindOf(key))
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if first, ok := seen[key.Value]; ok {
			r.reject(n.Content[i], join(path, r.shown(key.Value)), "duplicate field %q (first on line %d)", r.shown(key.Value), first)
			continue
		}
		seen[key.Value] = n.Content[i].Line
		list = append(list, field{key.Value, n.Content[i], value})
	}
	for _, m := range merged {
		sources := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			sources = m.Content
		}
		for _, source := range sources {
			if source = resolve(source); source.Kind != yaml.MappingNode {
				r.reject(source, join(path, "<<"), "must be a mapping or a list of mappings")
				continue
			}
			for _, f := range r.fields(source, path) {
				if _, ok := seen[f.name]; !ok {
					seen[f.name] = f.key.Line
					list = append(list, f)
				}
			}
		}
	}
	return list
}

// ignore notes a field that is accepted for the sake of files written for another gateway, and has no effect.
func (o *object) ignore(name, why string) {
	if n := o.at[name]; n != nil && !isNull(n) {
		o.r.warn(n, join(o.path, name), "ignored field %q: %s", name, why)
	}
}

func (o *object) has(name string) bool { return o != nil && o.at[name] != nil }

// line returns the line of a field, 0 if it is absent.
func (o *object) line(name string) int {
	if n := o.at[name]; n != nil {
		return n.Line
	}
	return 0
}

// reject notes a fault of a field.
func (o *object) reject(name, format string, args ...any) {
	n := o.at[name]
	if n == nil {
		n = o.node
	}
	o.r.reject(n, join(o.path, name), format, args...)
}

// require notes the absence of a field.
func (o *object) require(name string) bool {
	if o.has(name) {
		return true
	}
	o.r.reject(o.node, join(o.path, name), "missing field %q", name)
	return false
}

// object reads a field that holds a mapping; nil if it is absent or blank.
func (o *object) object(name string, known ...string) *object {
	if n := o.at[name]; !isNull(n) {
		return o.r.object(n, join(o.path, name), known...)
	}
	return nil
}

// each calls fn for every element of a list; a blank one is empty.
func (o *object) each(name string, fn func(path string, n *yaml.Node)) {
	n := o.at[name]
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		o.reject(name, "must be a list, not %s", kindOf(n))
		return
	}
	for i, child := range n.Content {
		fn(fmt.Sprintf("%s[%d]", join(o.path, name), i), resolve(child))
	}
}

// eachField calls fn for every field of a mapping with free names; a blank one is empty.
func (o *object) eachField(name string, fn func(f field, path string)) {
	n := o.at[name]
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		o.reject(name, "must be a mapping, not %s", kindOf(n))
		return
	}
	for _, f := range o.r.fields(n, join(o.path, name)) {
		fn(f, join(o.path, name)+"."+o.r.shown(f.name))
	}
}

// text reads a string; a blank field is empty. Numbers and booleans need quotes: what they would be turned
// into is not always what was written.
func (o *object) text(name string) string {
	n := o.at[name]
	if isNull(n) {
		return ""
	}
	s, _ := o.r.str(n, join(o.path, name))
	return s
}

// str reads a string that must say something where the field is present.
func (o *object) str(name string) string {
	n := o.at[name]
	if n == nil {
		return ""
	}
	s, ok := o.r.str(n, join(o.path, name))
	if ok && s == "" {
		o.reject(name, "must not be empty")
	}
	return s
}

func (r *reader) str(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!str", "!!timestamp": // an unquoted date is taken as it is written
			return n.Value, true
		case "!!int", "!!float", "!!bool":
			r.reject(n, path, "must be a string, not %s: put it in quotes", kindOf(n))
			return "", false
		}
	}
	r.reject(n, path, "must be a string, not %s", kindOf(n))
	return "", false
}

// spelled reads a scalar as it is written, whatever YAML takes it for: a digest may be all digits, a version 1.0.
func (r *reader) spelled(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return n.Value, true
	}
	r.reject(n, path, "must be a string, not %s", kindOf(n))
	return "", false
}

// strings reads a list of strings.
func (o *object) strings(name string) []string {
	var list []string
	o.each(name, func(path string, n *yaml.Node) {
		if s, ok := o.r.str(n, path); ok {
			list = append(list, s)
		}
	})
	return list
}

// boolean reads true or false; fallback where the field is absent.
func (o *object) boolean(name string, fallback bool) bool {
	n := o.at[name]
	if n == nil {
		return fallback
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		return strings.EqualFold(n.Value, "true")
	}
	o.reject(name, "must be true or false, not %s", kindOf(n))
	return fallback
}

// number reads a number from 0 to limit.
func (o *object) number(name string, limit float64) float64 {
	n := o.at[name]
	if n == nil {
		return 0
	}
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" {
		o.reject(name, "must be a number, not %s", kindOf(n))
		return 0
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > limit {
		o.reject(name, "must be a number from 0 to %g", limit)
		return 0
	}
	return v
}

// integer reads a whole number from 0 to limit.
func (o *object) integer(name string, limit int) int {
	n := o.at[name]
	if n == nil {
		return 0
	}
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || v < 0 || v > limit {
		o.reject(name, "must be a whole number from 0 to %d", limit)
		return 0
	}
	return v
}

const maxTimeout = time.Hour

// duration reads a time span with its unit.
func (o *object) duration(name string) time.Duration {
	n := o.at[name]
	if n == nil {
		return 0
	}
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d <= 0 || d > maxTimeout {
		o.reject(name, "must be a duration with its unit, such as 10s, above 0 and at most %dh", int(maxTimeout.Hours()))
		return 0
	}
	return d
}

// instant reads a point in time. A date alone would leave open which time zone ends it.
func (o *object) instant(name string) time.Time {
	n := o.at[name]
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		o.reject(name, "must be a time as RFC 3339 writes it, such as 2026-12-31T00:00:00Z")
		return time.Time{}
	}
	return t
}

// oneOf reads a word out of a small set; "" where the field is absent or wrong.
func (o *object) oneOf(name string, words ...string) string {
	n := o.at[name]
	if n == nil {
		return ""
	}
	s, ok := o.r.str(n, join(o.path, name))
	if !ok {
		return ""
	}
	if contains(words, s) {
		return s
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	list := strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
	o.reject(name, "must be %s, not %q%s", list, shown(s), spelling.DidYouMean(s, words))
	return ""
}
