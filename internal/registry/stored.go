package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// Endings of the data ids of the Nacos MCP registry (nacos, "The MCP registry, as stored").
const (
	manifestSuffix = "-mcp-versions.json"
	specSuffix     = "-mcp-server.json"
	toolsSuffix    = "-mcp-tools.json"
)

// stored reads one document of the Nacos MCP registry. Nacos has written duplicate keys, left nulls out or in,
// and adds fields with every version: the last of two keys counts, unknown ones are passed over, and a value of
// another type is taken for what it says where that is clear.
type stored struct {
	group  string
	dataID string
	tool   string
	found  []Rejection

	doc  *source // nil where the bytes are not at hand
	line int     // of the tool, else 0

	faulty bool // something was rejected
}

// source counts lines; going forward it counts each of them once.
type source struct {
	content []byte
	several bool // more than one line
	at      int
	line    int
}

func newSource(content []byte) *source {
	return &source{content: content, several: bytes.IndexByte(bytes.TrimSpace(content), '\n') >= 0, line: 1}
}

// lineOf gives the line of an offset; 0 where the document stands on one line, as Nacos writes it.
func (s *source) lineOf(offset int) int {
	if s == nil || !s.several {
		return 0
	}
	offset = min(offset, len(s.content))
	if offset < s.at {
		s.at, s.line = 0, 1
	}
	s.line += bytes.Count(s.content[s.at:offset], []byte{'\n'})
	s.at = offset
	return s.line
}

// lineOf returns the line of a member; 0 where it is absent or the document stands on one line.
func (s *stored) lineOf(m members, name string) int {
	if v, ok := m[name]; ok {
		return s.doc.lineOf(v.Index)
	}
	return 0
}

func (s *stored) add(field, message string, warning bool) {
	if len(s.found) >= maxListed && (warning || s.faulty) {
		return
	}
	s.faulty = s.faulty || !warning
	s.found = append(s.found, Rejection{Group: s.group, DataID: s.dataID, Tool: s.tool, Field: field, Line: s.line, Message: message, Warning: warning})
}

func (s *stored) reject(field, format string, args ...any) {
	s.add(field, fmt.Sprintf(format, args...), false)
}

func (s *stored) warn(field, format string, args ...any) {
	s.add(field, fmt.Sprintf(format, args...), true)
}

// open gives the document's root object; ok is false where there is nothing to go on with.
func (s *stored) open(content []byte) (root members, ok bool) {
	if len(content) > MaxStored {
		s.reject("", "document is too large: %d bytes, at most %d are taken", len(content), MaxStored)
		return nil, false
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(content)) == 0 {
		s.reject("", "document is empty")
		return nil, false
	}
	var whole json.RawMessage
	if err := json.Unmarshal(content, &whole); err != nil {
		s.reject("", "malformed JSON: %s", err)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			last := &s.found[len(s.found)-1]
			last.Line, last.Column = position(content, int(syntax.Offset)-1)
		}
		return nil, false
	}
	s.doc = newSource(content)
	parsed := gjson.ParseBytes(content)
	if !parsed.IsObject() {
		s.reject("", "document must be a JSON object")
		return nil, false
	}
	return membersOf(parsed), true
}

// members are an object's, nulls left out; the last of two with one name counts.
type members map[string]gjson.Result

func membersOf(object gjson.Result) members {
	if !object.IsObject() {
		return nil
	}
	m := members{}
	object.ForEach(func(k, v gjson.Result) bool {
		if v.Type == gjson.Null {
			delete(m, k.String())
		} else {
			m[k.String()] = v
		}
		return true
	})
	return m
}

// text gives a string, or what a number or boolean reads like; "" for anything else.
func (m members) text(name string) string { return textOf(m[name]) }

func textOf(v gjson.Result) string {
	switch v.Type {
	case gjson.String:
		return strings.Clone(v.Str)
	case gjson.Number, gjson.True, gjson.False:
		return strings.Clone(v.Raw)
	}
	return ""
}

func (m members) object(name string) members { return membersOf(m[name]) }

// flag reads a boolean that may be written as a string; what cannot be read is rejected, since the safe side
// of an unreadable "enabled" is not to serve.
func (s *stored) flag(m members, name, path string, fallback bool) bool {
	v, ok := m[name]
	if !ok {
		return fallback
	}
	switch strings.ToLower(strings.Trim(v.Raw, `"`)) {
	case "true":
		return true
	case "false":
		return false
	case "":
		return fallback
	}
	line := s.line
	s.line = s.doc.lineOf(v.Index)
	s.reject(path, "must be true or false")
	s.line = line
	return false
}

// raw gives a copy of an object's bytes as stored; nil if it is absent or no object.
func (m members) raw(name string) json.RawMessage {
	if v := m[name]; v.IsObject() {
		return json.RawMessage(strings.Clone(v.Raw))
	}
	return nil
}
