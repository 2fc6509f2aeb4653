package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
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
	Value string
	Hosts []string // where it may be sent; empty: anywhere
}

// reference is a credential reference inside a string of config, which is no template.
var reference = regexp.MustCompile(`\$\{((?:credential:|nacos\.|env:|file:)[^{}\n]+)\}`)

// configuration is server.config: what templates see as .config.
type configuration struct {
	tree   map[string]any
	parts  []configPart   // its JSON, cut at credential references
	static template.Value // the whole with references as written: what templates see that read no credential by name
	live   bool
}

type configPart struct{ json, ref string }

func newConfiguration(tree map[string]any) (*configuration, error) {
	if tree == nil {
		tree = map[string]any{}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	c := &configuration{tree: tree}
	text := strings.TrimSpace(buf.String())
	last := 0
	for _, m := range reference.FindAllStringSubmatchIndex(text, -1) {
		c.parts = append(c.parts, configPart{json: text[last:m[0]]}, configPart{ref: text[m[2]:m[3]]})
		last = m[1]
	}
	c.parts = append(c.parts, configPart{json: text[last:]})
	c.live = len(c.parts) > 1
	var err error
	if c.static, err = template.ParseJSON([]byte(text)); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return c, nil
}

// value gives config with the references resolved that the tool uses; the others are left empty.
func (c *configuration) value(used map[string]bool, lookup func(ref string) (string, error)) (template.Value, error) {
	if !c.live || len(used) == 0 {
		return c.static, nil
	}
	var out []byte
	for _, p := range c.parts {
		if p.ref == "" {
			out = append(out, p.json...)
			continue
		}
		if !used[p.ref] {
			continue
		}
		s, err := lookup(p.ref)
		if err != nil {
			return template.Value{}, err
		}
		quoted := jsontext.AppendString(nil, s)
		out = append(out, quoted[1:len(quoted)-1]...)
	}
	return template.ParseJSON(out)
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
		v := c.static.Get(path...)
		s := v.Text()
		if strings.Contains(s, "{{") || strings.Contains(s, "${") || strings.ContainsRune(s, 0) {
			clean = false
		}
		return s
	})
	return folded, clean && !strings.Contains(folded, "{{") && !strings.Contains(folded, "${")
}

// reference notes a credential reference of the tool and checks that it resolves.
func (c *toolCompiler) reference(field string, line int, ref string) {
	c.refs[ref] = true
	if c.options.Secrets == nil {
		return
	}
	switch secret, err := c.options.Secrets.Lookup(c.service.Name, ref); {
	case err != nil:
		c.reject(field, line, "${%s}: %v", ref, err)
	case strings.TrimSpace(secret.Value) == "":
		c.warn(field, line, "${%s} is empty", ref)
	}
}
