package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// Secrets resolves credential references. It is asked at every call, so that an edited credential holds from the next
// one on, and must be quick and safe for concurrent use.
type Secrets interface {
	// Lookup gives what a reference stands for, if the service may read it. ref is as written between "${" and "}":
	// "credential:petstore/key", "nacos.key/credentials", "env:TOKEN", "file:/run/token". Errors must hold no secrets.
	Lookup(service, ref string) (Secret, error)
}

// Secret is a credential.
type Secret struct {
	Value secret.Text
	Hosts []string // where it may be sent; empty: anywhere
	Path  bool     // it may stand in the path of a URL, which backends tell to others more readily than the rest
}

// reference is a credential reference inside a string of config, which is no template.
var reference = regexp.MustCompile(`\$\{((?:credential:|nacos\.|env:|file:)[^{}\n]+)\}`)

// configuration is server.config: what templates see as .config.
type configuration struct {
	tree  map[string]any
	value template.Value // the same, with credentials where references stand
}

func newConfiguration(tree map[string]any) (*configuration, error) {
	if tree == nil {
		tree = map[string]any{}
	}
	v, err := configValue(tree)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return &configuration{tree: tree, value: v}, nil
}

// configValue makes what templates see of a part of config.
func configValue(part any) (template.Value, error) {
	if len(references(part)) == 0 {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(part); err != nil {
			return template.Value{}, err
		}
		return template.ParseJSON(buf.Bytes())
	}
	switch part := part.(type) {
	case map[string]any:
		var members []template.Member
		for _, name := range slices.Sorted(maps.Keys(part)) {
			v, err := configValue(part[name])
			if err != nil {
				return template.Value{}, err
			}
			members = append(members, template.Member{Name: name, Value: v})
		}
		return template.Object(members...), nil
	case []any:
		var items []template.Value
		for _, item := range part {
			v, err := configValue(item)
			if err != nil {
				return template.Value{}, err
			}
			items = append(items, v)
		}
		return template.Array(items...), nil
	}
	text, last := part.(string), 0
	var parts []template.SecretPart
	for _, m := range reference.FindAllStringSubmatchIndex(text, -1) {
		parts = append(parts, template.SecretPart{Text: text[last:m[0]], Ref: text[m[2]:m[3]]})
		last = m[1]
	}
	if last < len(text) {
		parts = append(parts, template.SecretPart{Text: text[last:]})
	}
	return template.Secret(parts...), nil
}

// holding says where what a template reads at a path holds credentials.
func (c *configuration) holding(path []string) template.Holding {
	if len(path) > 0 {
		if path[0] != "config" {
			return template.HoldsNone
		}
		path = path[1:]
	}
	v, ok := c.at(path)
	switch {
	case !ok || len(references(v)) == 0:
		return template.HoldsNone
	case isText(v):
		return template.HoldsSecret
	}
	return template.HoldsInside
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

// at gives the part of config that a path leads to.
func (c *configuration) at(path []string) (any, bool) {
	var v any = c.tree
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return v, true // an element of a list, or a method of a value: cannot be told
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

func (c *configuration) has(path []string) bool {
	_, ok := c.at(path)
	return ok
}

func (c *configuration) blank(path []string) bool {
	v, _ := c.at(path)
	return v == ""
}

func (c *configuration) names() []string {
	names := make([]string, 0, len(c.tree))
	for name := range c.tree {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// references lists the credential references in the part of config that a path leads to.
func (c *configuration) references(path []string) []string {
	v, ok := c.at(path)
	if !ok {
		return nil
	}
	return references(v)
}

// references lists the credential references in the strings of v.
func references(v any) []string {
	var out []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			for _, m := range reference.FindAllStringSubmatch(v, -1) {
				out = append(out, m[1])
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	slices.Sort(out)
	return slices.Compact(out)
}

var bareConfig = regexp.MustCompile(`\{\{\s*\.config((?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*\}\}`)

// fold replaces bare {{.config.x}} by fixed values; ok tells that no template is left.
func (c *configuration) fold(text string) (folded string, ok bool) {
	if blocks.MatchString(text) {
		return text, false
	}
	clean := true
	folded = bareConfig.ReplaceAllStringFunc(text, func(m string) string {
		path := strings.Split(bareConfig.FindStringSubmatch(m)[1][1:], ".")
		s := c.value.Get(path...).Text()
		if len(c.references(path)) > 0 || strings.Contains(s, "{{") || strings.Contains(s, "${") || strings.ContainsRune(s, 0) {
			clean = false
		}
		return s
	})
	return folded, clean && !strings.Contains(folded, "{{") && !strings.Contains(folded, "${")
}

// reference notes a credential reference of the tool and checks that it resolves.
func (c *toolCompiler) reference(field string, line int, ref string) {
	c.refs[ref], c.secret = true, true
	if c.options.Secrets == nil {
		return
	}
	switch found, err := c.options.Secrets.Lookup(c.service.Name, ref); {
	case err != nil:
		c.reject(field, line, "${%s}: %v", ref, err)
	case strings.TrimSpace(found.Value.Reveal()) == "":
		where := ""
		if strings.HasPrefix(ref, "env:") {
			where = " in the environment of this process"
		}
		c.warn(field, line, "${%s} is empty%s", ref, where)
	}
}
