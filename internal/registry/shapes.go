package registry

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// shape is what kind of value a field of the Nacos registry holds.
type shape uint8

const (
	textual  shape = iota // text, or what reads like it: a number or boolean
	mapping               // an object
	sequence              // a list
)

func (k shape) String() string { return [...]string{"text", "an object", "a list"}[k] }

func (k shape) of(v gjson.Result) bool {
	switch k {
	case mapping:
		return v.IsObject()
	case sequence:
		return v.IsArray()
	}
	return v.Type != gjson.JSON
}

// expect rejects members that hold something else than what is read from them, which would be passed over in silence.
// Empty text stands for nothing: some clients write it for every field that has no value.
func (s *stored) expect(m members, path string, want shape, names ...string) {
	for _, name := range names {
		if v, ok := m[name]; ok && !want.of(v) && v.Raw != `""` {
			s.reject(path+name, "must be %s", want)
		}
	}
}

// expectOrLeave warns of members that hold something else than what is read from them, and only describe.
func (s *stored) expectOrLeave(m members, want shape, names ...string) {
	for _, name := range names {
		if v, ok := m[name]; ok && !want.of(v) && v.Raw != `""` {
			s.warn(name, "ignored: must be %s", want)
		}
	}
}

// body reads a body template. One that is written as a JSON object or list, and not as the text of one, means that JSON: with
// the templates in its texts as they are read, not as JSON escapes them.
func (s *stored) body(q members, headers []KeyValue) string {
	v := q["body"]
	if v.Type != gjson.JSON {
		return q.text("body")
	}
	for _, h := range headers {
		if strings.EqualFold(h.Key, "Content-Type") && !strings.Contains(strings.ToLower(h.Value), "json") {
			s.reject("requestTemplate.body", "is JSON, but the header Content-Type says %q: write the body as text", shown(h.Value))
			return ""
		}
	}
	return string(appendTemplate(nil, v))
}

func appendTemplate(dst []byte, v gjson.Result) []byte {
	switch {
	case v.IsObject(), v.IsArray():
		open, shut := byte('{'), byte('}')
		if v.IsArray() {
			open, shut = '[', ']'
		}
		dst = append(dst, open)
		first := true
		v.ForEach(func(key, value gjson.Result) bool {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			if open == '{' {
				dst = append(appendTemplateText(dst, key.Str), ':')
			}
			dst = appendTemplate(dst, value)
			return true
		})
		return append(dst, shut)
	case v.Type == gjson.String:
		return appendTemplateText(dst, v.Str)
	}
	return append(dst, v.Raw...)
}

// appendTemplateText appends text as a JSON string whose {{…}} stay as they are.
func appendTemplateText(dst []byte, text string) []byte {
	quoted := func(s string) []byte {
		b := jsontext.AppendString(nil, s)
		return b[1 : len(b)-1]
	}
	dst = append(dst, '"')
	for text != "" {
		before, rest, found := strings.Cut(text, "{{")
		dst = append(dst, quoted(before)...)
		if !found {
			break
		}
		action, after, closed := strings.Cut(rest, "}}")
		dst = append(append(dst, "{{"...), action...)
		if closed {
			dst = append(dst, "}}"...)
		}
		text = after
	}
	return append(dst, '"')
}
